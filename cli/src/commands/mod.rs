//! One file for each subcommand.

mod catalog;
mod compare;
mod import;
mod init;
mod manual;
mod map;
mod plot;
mod report;
mod results;
mod run;
mod schema;
mod sweep;
mod validate;

use banksia_experiments::Error;

use crate::args::{Cli, Command};
use crate::output::print;

/// Does what the command line says.
///
/// # Errors
/// Bad input, or a run that failed.
pub fn execute(cli: &Cli) -> Result<(), Error> {
    match &cli.command {
        Command::Run(args) => run::execute(args),
        Command::Sweep(args) => sweep::execute(args),
        Command::Results(args) => results::execute(args),
        Command::Plot(args) => plot::execute(args),
        Command::Net(args) => print(&crate::net::output(args)?),
        Command::Map(args) => map::execute(args),
        Command::Compare(args) => compare::execute(args),
        Command::Memory(args) if args.device.contains(',') => print(&crate::memory::compare::output(args)?),
        Command::Memory(args) => print(&crate::memory::output(args)?),
        Command::Pim(args) => print(&crate::pim::output(args)?),
        Command::Validate(args) => validate::execute(args),
        Command::List(args) => catalog::list(args),
        Command::Show(args) => catalog::show(args),
        Command::Import(args) => import::execute(args),
        Command::Report(args) => report::execute(args),
        Command::Init(args) => init::execute(args),
        Command::Schema(args) => schema::execute(args),
        Command::Completions(args) => manual::completions(args),
        Command::Man(args) => manual::pages(args),
    }
}
