//! The command line as a library: everything `banksia` does, callable from tests.

pub mod args;
pub mod commands;
mod error;
pub mod experiment;
pub mod memory;
pub mod pim;
mod progress;
pub mod run;
pub mod sweep;
pub mod validate;
pub mod versus;

pub use error::CliError;

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
