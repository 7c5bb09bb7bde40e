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
pub mod versus;

pub use error::CliError;
