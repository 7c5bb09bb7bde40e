//! One file for each subcommand.

mod catalog;
mod import;
mod map;
mod plot;
mod run;
mod sweep;
mod validate;

use std::io::{IsTerminal, Write};

use crate::CliError;
use crate::args::{Cli, Command};

/// Does what the command line says.
///
/// # Errors
/// Bad input, or a run that failed.
pub fn execute(cli: &Cli) -> Result<(), CliError> {
    match &cli.command {
        Command::Run(args) => run::execute(args),
        Command::Sweep(args) => sweep::execute(args),
        Command::Plot(args) => plot::execute(args),
        Command::Map(args) => map::execute(args),
        Command::Memory(args) => print(&crate::memory::output(args)?),
        Command::Pim(args) => print(&crate::pim::output(args)?),
        Command::Validate(args) => validate::execute(args),
        Command::List(args) => catalog::list(args),
        Command::Show(args) => catalog::show(args),
        Command::Import(args) => import::execute(args),
    }
}

/// Whether to colour what goes to standard output.
fn color() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Columns of the terminal that standard output is; none where it is none.
fn width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0)).filter(|&w| w > 0)
}

/// Prints to standard output. A reader that has gone away (`| head`) is not an error.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::Failed(format!("standard output cannot be written: {e}")))
        }
        _ => Ok(()),
    }
}

/// Says something on standard error; whether anyone listens does not change the result.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Any record as JSON.
fn json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String, CliError> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|e| CliError::Failed(format!("the {what} cannot be written as JSON: {e}")))
}
