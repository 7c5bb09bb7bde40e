//! The command line as a library: everything `banksia` does, callable from tests.

pub mod args;
pub mod commands;
pub mod memory;
pub mod pim;
mod progress;

pub use banksia_experiments::Error as CliError;

use std::process::ExitCode;

use clap::Parser;

/// The `banksia` command: parses the process's arguments, does what they say, and prints an error if that fails.
pub fn main() -> ExitCode {
    match commands::execute(&args::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
