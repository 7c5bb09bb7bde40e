//! The command line as a library: everything `banksia` does, callable from tests.

mod error;
pub mod experiment;
pub mod run;

pub use error::CliError;
