//! The `banksia` command.

use std::process::ExitCode;

use banksia::args::Cli;
use clap::Parser;

fn main() -> ExitCode {
    match banksia::commands::execute(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
