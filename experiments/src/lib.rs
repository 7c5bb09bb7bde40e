//! Experiments: files that say which model runs on which machine, mapped how; sweeps of them; and the loop that runs them
//! and makes their reports. Prints nothing.

mod about;
pub mod assumed;
pub mod cache;
pub mod comparison;
pub mod cxl;
mod error;
pub mod experiment;
mod kept;
mod published;
pub mod run;
pub mod schema;
pub mod search;
pub mod serving;
pub mod shipped;
pub mod slurm;
pub mod store;
pub mod sweep;
mod training;
mod training_gpu;
pub mod training_step;
pub mod versus;

pub use error::Error;
pub use experiment::Experiment;
pub use kept::build;
