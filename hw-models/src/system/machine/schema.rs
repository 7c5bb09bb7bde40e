//! What editors know of machines: the JSON schemas of a machine's file, and of keys that are written over one.

use banksia_input::schema::{of_file, of_overlay, put};
use schemars::{JsonSchema, Schema, json_schema};

use super::super::cluster;
use super::SystemFile;
use crate::dram::table::RawDevice;
use crate::gpu::GpuSpec;
use crate::machines;
use crate::pim::PimFile;

/// A machine's file, of whichever kind.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code)] // it is there to be described
enum MachineFile {
    /// Channels of DRAM that compute, the link to them, and a vector unit.
    Pim(PimFile),
    /// One GPU with its memory.
    Gpu(Box<GpuSpec>),
    /// Several devices, and links between them.
    System(SystemFile),
}

/// What a table is based on.
fn base() -> Schema {
    let names: Vec<&str> = machines::names().chain(crate::gpu::CATALOG.iter().map(|(name, _)| *name)).collect();
    json_schema!({
        "type": "string",
        "description": "The machine that this one builds on: one of `banksia list hardware`, or a TOML file beside this one. Other keys are written over its own.",
        "examples": names,
    })
}

/// The keys of a kind of machine with a `base`, which gives those that are left out.
fn based<T: JsonSchema>() -> Schema {
    with_key(of_overlay::<T>(), "base", base(), true)
}

fn with_key(mut table: Schema, key: &str, what: Schema, required: bool) -> Schema {
    if let Some(properties) = table.pointer_mut("/properties").and_then(|p| p.as_object_mut()) {
        properties.insert(key.to_owned(), what.to_value());
    }
    if required {
        table.insert("required".to_owned(), vec![key].into());
    }
    table
}

/// `[devices.NAME]` of a system: a machine of one device, and what is written over its memory device.
fn part() -> Schema {
    let mut device = of_overlay::<RawDevice>();
    device.insert("description".to_owned(), "Keys written over those of its DRAM device's file.".into());
    let pim = with_key(based::<PimFile>(), "device", device, false);
    json_schema!({ "anyOf": [pim, based::<GpuSpec>()] })
}

/// The keys of a system with a `base`.
fn based_system() -> Schema {
    let mut table = based::<SystemFile>();
    put(&mut table, "/properties/devices/additionalProperties", loosened(part()));
    table
}

/// A device of a system that is written over has its base already.
fn loosened(mut part: Schema) -> Schema {
    let kinds = part.pointer_mut("/anyOf").and_then(|a| a.as_array_mut());
    for kind in kinds.into_iter().flatten().filter_map(|k| k.as_object_mut()) {
        kind.remove("required");
    }
    part
}

/// The schema of a machine's file: of kind `pim`, `gpu` or `system`; or one that builds on another by `base`.
pub fn schema() -> Schema {
    let mut whole = of_file::<MachineFile>("Banksia: a machine");
    put(&mut whole, "/$defs/SystemFile/properties/devices/additionalProperties", part());
    if let Some(kinds) = whole.pointer_mut("/anyOf").and_then(|a| a.as_array_mut()) {
        kinds.extend([based::<PimFile>(), based::<GpuSpec>(), based_system()].map(Schema::to_value));
    }
    whole
}

/// The schema of `[machine]` in an experiment: a `base`, and keys that are written over those of its file.
pub fn overlay_schema() -> Schema {
    let kinds = [based::<PimFile>(), based::<GpuSpec>(), based_system(), cluster::overlay_schema()];
    json_schema!({ "type": "object", "anyOf": kinds })
}
