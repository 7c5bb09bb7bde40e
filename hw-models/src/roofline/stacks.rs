//! Stacks of memory with processing in them, beside a node's GPUs: what their file says.

use banksia_input::{InputError, Source};
use serde::{Deserialize, Serialize};

/// PIM devices beside GPUs, as AttAcc has them: each of some stacks, with units at one level and a softmax unit in the buffer die.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PimStacks {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Where the figures come from.
    pub source: String,
    /// Where the units are: `bank`, `bank-group` or `buffer`.
    pub units: String,
    /// The DRAM device of a channel, under the limit on power and without one.
    pub device: ByPower<String>,
    /// The units' rate over that of the pins.
    pub gain: ByPower<f64>,
    /// Devices; each serves one of the node's GPUs or more.
    pub devices: u32,
    /// Stacks of a device.
    pub stacks: u32,
    /// Channels of a stack.
    pub channels: u32,
    /// Requests that a channel's controller holds.
    pub queue: u32,
    /// Bytes of a stack.
    pub stack_gib: f64,
    /// Rate of a stack's pins.
    pub stack_gb_per_s: f64,
    /// Rate of a device's link, both ways together.
    pub link_gb_per_s: f64,
    /// A device's softmax units: bytes and operations.
    pub softmax_gb_per_s: f64,
    /// See `softmax_gb_per_s`.
    pub softmax_tflop_per_s: f64,
    /// Picojoules by byte and by operation.
    pub energy: StackEnergy,
    /// Numbers as the public simulator has them, where it is known to be wrong.
    #[serde(default)]
    pub reference: bool,
}

/// A value under the limit on power, and one without.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ByPower<T> {
    /// Under the limit.
    pub limited: T,
    /// Without.
    pub unlimited: T,
}

impl<T> ByPower<T> {
    /// One of the two.
    pub fn of(&self, limited: bool) -> &T {
        if limited { &self.limited } else { &self.unlimited }
    }
}

/// Energy of the stacks.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StackEnergy {
    /// From a bank's cells to a unit.
    pub cell_pj_per_bit: f64,
    /// Column decoder to the bank group's multiplexer.
    pub bank_pj_per_bit: f64,
    /// From there to the global one.
    pub global_pj_per_bit: f64,
    /// Through the stack.
    pub tsv_pj_per_bit: f64,
    /// Over the interposer.
    pub interposer_pj_per_bit: f64,
    /// The softmax unit's memory.
    pub sram_pj_per_byte: f64,
    /// A multiplication and an addition.
    pub mac_pj: f64,
    /// The link.
    pub link_pj_per_byte: f64,
}

impl PimStacks {
    /// The stacks of a file's text.
    ///
    /// # Errors
    /// The file is not one of stacks, or a figure is out of range.
    pub fn read(source: &Source) -> Result<Self, InputError> {
        let stacks: Self = source.parse()?;
        for (key, value) in [("devices", stacks.devices), ("stacks", stacks.stacks), ("channels", stacks.channels)] {
            source.check(key, value, 1..=4096)?;
        }
        source.check("queue", stacks.queue, 2..=4096)?;
        for (key, value) in [
            ("link_gb_per_s", stacks.link_gb_per_s),
            ("softmax_gb_per_s", stacks.softmax_gb_per_s),
            ("softmax_tflop_per_s", stacks.softmax_tflop_per_s),
            ("stack_gb_per_s", stacks.stack_gb_per_s),
        ] {
            source.check(key, value, 1e-9..=1e12)?;
        }
        Ok(stacks)
    }
}
