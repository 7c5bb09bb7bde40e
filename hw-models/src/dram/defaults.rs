//! What a device asks of a memory controller: the address map, the queues and the refresh that suit it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An address map as a file writes it.
///
/// `bits` lists fields from the least significant bit of the transaction index (byte address over access size) upwards: names
/// of levels, `row` and `column`, each with all that is left of it or, as `column:3`, with the next three bits of it. A field
/// of which there are no power of two (12 channels, three stacked dies) is cut off by division. `levels` stands for
/// every level between channel and row that is not named before, in order. The reference map is
/// `["channel", "column", "levels", "row"]`; `["device"]` stands for the device's own, or that where it has none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapSpec {
    /// Fields from the least significant bit up.
    pub bits: Vec<String>,
    /// Bits of fields that take further bits of the index in by XOR.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xor: Vec<XorSpec>,
}

/// One bit of a field, and the bits of the index that are XORed into it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XorSpec {
    /// The field.
    pub field: String,
    /// Which bit of it.
    pub bit: u32,
    /// Bits of the transaction index. A field that is cut off by division counts for as many bits as its numbers need.
    pub with: Vec<u32>,
}

impl Default for MapSpec {
    /// `RoBaRaCoCh`: channel lowest, then column, the levels in tree order, row.
    fn default() -> Self {
        Self { bits: ["channel", "column", "levels", "row"].map(String::from).to_vec(), xor: Vec::new() }
    }
}

impl MapSpec {
    /// The map of the device at hand, whatever it is.
    pub fn of_the_device() -> Self {
        Self { bits: vec!["device".into()], xor: Vec::new() }
    }
}

/// Which refreshes are issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshPolicy {
    /// None at all.
    Off,
    /// All banks of a rank (or pseudo-channel) at once.
    #[default]
    AllBank,
    /// One bank after the other.
    PerBank,
    /// The same bank of every bank group (DDR5).
    SameBank,
    /// What suits the device ([`ControllerDefaults::refresh`]).
    Device,
}

/// What a device's file says of the controller that suits it. A controller that leaves a setting to the device takes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ControllerDefaults {
    /// The address map; the reference map where there is none.
    pub map: Option<MapSpec>,
    /// Entries of each queue, 1 to 64; 32 where there is none.
    pub queue: Option<u32>,
    /// Which refreshes; all-bank where there is none. Never [`RefreshPolicy::Device`].
    pub refresh: Option<RefreshPolicy>,
}
