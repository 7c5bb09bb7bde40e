//! The command line as a library: everything `banksia` does, callable from tests.

pub mod args;
pub mod commands;
mod format;
pub mod memory;
pub mod net;
mod output;
pub mod pim;
mod progress;

pub use banksia_experiments::Error as CliError;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// The `banksia` command: parses the process's arguments, does what they say, and prints an error if that fails.
pub fn main() -> ExitCode {
    match commands::execute(&args::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may listen; the exit code says it all the same.
            let _ = writeln!(std::io::stderr().lock(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
