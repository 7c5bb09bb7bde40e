//! What editors know of a sweep's file: its JSON schema.

use banksia_input::schema::{of_file, put};
use schemars::Schema;

use super::file::SweepFile;
use crate::slurm::SlurmOptions;

/// The schema of a sweep's file.
pub fn schema() -> Schema {
    let mut whole = of_file::<SweepFile>("Banksia: a sweep");
    put(&mut whole, "/properties/slurm", of_file::<SlurmOptions>("[slurm]"));
    whole
}
