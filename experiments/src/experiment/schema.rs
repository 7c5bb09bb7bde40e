//! What editors know of an experiment's file: its JSON schema.

use banksia_hw::dram::table::RawDevice;
use banksia_hw::system::machine_overlay_schema;
use banksia_input::schema::{of_file, of_overlay, put};
use schemars::Schema;

use super::unmapped::ExperimentFile;

/// The schema of an experiment's file. Keys of `[machine]` and `[device]` are those of the files that they are written over.
pub fn schema() -> Schema {
    let mut whole = of_file::<ExperimentFile>("Banksia: an experiment");
    put(&mut whole, "/properties/machine", machine_overlay_schema());
    put(&mut whole, "/properties/device", of_overlay::<RawDevice>());
    if let Some(definitions) = whole.pointer_mut("/$defs").and_then(|d| d.as_object_mut()) {
        definitions.remove("MachineTable");
    }
    whole
}
