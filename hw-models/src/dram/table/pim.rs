//! What a device file says of processing in memory: `[isa]` and its `[[instruction]]` entries, and `[kernel]`.
//!
//! Every key may come from a base: a file writes those that it changes. Which of them a device needs is checked where the tables are
//! used (`IsaSet`, `HostKernel`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The instruction set of a PIM device.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawIsa {
    /// The word with which every instruction of a trace begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Channels of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// The command that goes before the first of another kind: register accesses, and everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode_change: Option<String>,
    /// Commands that a channel takes in ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Elements of a row over one bank, for `gemv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_elements: Option<u32>,
    /// Elements of a column access, for `gemv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column_elements: Option<u32>,
    /// Vectors that the units multiply what they read by at once, for `gemv`: each is loaded and its sums are read by itself. One where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<u32>,
    /// The instructions of a matrix-vector product, where the device has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemv: Option<RawGemv>,
}

/// The instructions of a matrix-vector product.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGemv {
    /// Puts a part of the input where the units read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<String>,
    /// Sets the sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<String>,
    /// Multiplies a row and adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiply: Option<String>,
    /// Reads the sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
}

/// PIM units that are driven by ordinary accesses (Samsung HBM-PIM).
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawKernel {
    /// Pseudo-channels of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// PIM blocks of a pseudo-channel; `kernel_blocks` in expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<u32>,
    /// Vector registers of each of a block's two files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registers: Option<u32>,
    /// Numbers of an access; `kernel_lanes` in expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lanes: Option<u32>,
    /// The row of the registers and of the PIM mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register_row: Option<u32>,
    /// The row that takes the banks from single-bank to all-bank mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enter_row: Option<u32>,
    /// The row that takes them back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leave_row: Option<u32>,
    /// A row of memory that every bank opens before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub park_row: Option<u32>,
    /// The command as which an activation in the all-bank modes is counted: it opens a row in a bank of every block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activate_all: Option<String>,
    /// As which a read in PIM mode is counted: every block takes an access of its bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_all: Option<String>,
    /// As which a read in PIM mode is counted that the blocks multiply and add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiply_all: Option<String>,
    /// As which a write in PIM mode is counted: every block writes an access to its bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_all: Option<String>,
    /// As which a write of a reserved row is counted: it goes to registers, and to no bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_register: Option<String>,
}

/// One instruction.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawInstruction {
    /// Its name.
    pub name: String,
    /// Its operands in the order of the trace: `columns`, `channels` (a mask), `bank`, `row`, `register`.
    pub operands: Vec<String>,
    /// The command that it is unrolled into, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// It accesses registers and buffers, not banks.
    #[serde(default)]
    pub registers: bool,
    /// The next instruction waits for its data.
    #[serde(default)]
    pub blocks: bool,
    /// It waits for everything before it.
    #[serde(default)]
    pub waits: bool,
    /// It ends the trace.
    #[serde(default)]
    pub ends: bool,
    /// The row that it uses, where that is no operand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_row: Option<u32>,
}

/// Writes the keys that one table gives over another's.
macro_rules! keys_over {
    ($ours:ident, $base:ident: $($key:ident),+) => {
        Self { $($key: $ours.$key.or($base.$key)),+ }
    };
}

impl RawIsa {
    /// This file's keys written over a base's.
    pub(crate) fn over(self, base: Self) -> Self {
        let (ours, mut base) = (self, base);
        let gemv = match (ours.gemv, base.gemv.take()) {
            (Some(ours), Some(base)) => Some(ours.over(base)),
            (ours, base) => ours.or(base),
        };
        let ours = Self { gemv, ..ours };
        keys_over!(ours, base: prefix, channels, mode_change, queue, row_elements, column_elements, vectors, gemv)
    }
}

impl RawGemv {
    fn over(self, base: Self) -> Self {
        keys_over!(self, base: load, bias, multiply, read)
    }
}

impl RawKernel {
    /// This file's keys written over a base's.
    pub(crate) fn over(self, base: Self) -> Self {
        keys_over!(
            self, base:
            channels, blocks, registers, lanes, register_row, enter_row, leave_row, park_row, activate_all, read_all, multiply_all,
            write_all, write_register
        )
    }
}
