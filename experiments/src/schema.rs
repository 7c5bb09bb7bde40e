//! JSON schemas of the files of users, for editors: one a format.

use banksia_hw::dram::controller::ControllerConfig;
use banksia_hw::dram::table::RawDevice;
use banksia_input::schema::of_file;
use schemars::Schema;

pub use crate::experiment::schema::schema as experiment;
pub use crate::sweep::schema::schema as sweep;
pub use banksia_hw::net::fabric::collective_file::schema as collective;
pub use banksia_hw::net::fabric::file::schema as fabric;
pub use banksia_hw::net::fabric::machine::schema as cluster;
pub use banksia_hw::net::noc::schema as net;
pub use banksia_hw::system::machine_schema as machine;
pub use banksia_workloads::schema::schema as model;

use crate::published::file::PublishedFile;
use crate::training::TrainingFile;

/// The schema of a DRAM device's file.
pub fn device() -> Schema {
    RawDevice::schema()
}

/// The schema of an experiment that trains.
pub fn training() -> Schema {
    of_file::<TrainingFile>("Banksia: a training experiment")
}

/// The schema of an experiment on a published system.
pub fn published() -> Schema {
    of_file::<PublishedFile>("Banksia: an experiment on a published system")
}

/// The schema of a memory controller's file.
pub fn controller() -> Schema {
    ControllerConfig::schema()
}
