//! A device as its TOML file writes it, before anything is checked or compiled.

use std::collections::BTreeMap;

use banksia_input::schema::of_file;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

mod pim;
mod row_hammer;

use super::defaults::{MapSpec, RefreshPolicy};
pub use pim::{RawGemv, RawInstruction, RawIsa, RawKernel};
pub use row_hammer::RawRowHammer;

/// One device file. A file with `base` takes every table of that file and writes its own entries over them: scalar
/// entries replace, commands of the same name replace, other commands, timing rows and energy rows are added.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDevice {
    /// The device's name.
    pub name: String,
    /// What it is, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Where the numbers come from.
    pub source: String,
    /// The device that this one builds on: a name of the catalog, or a TOML file beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The simulator whose preset this is: its numbers are kept to agree with it, and the standard's minima do not hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset_of: Option<String>,
    /// Timings and currents that the source lists and no row here uses; any other such is taken for a mistake in its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused: Vec<String>,
    /// Every file that this one builds on, from the nearest.
    #[serde(skip)]
    pub bases: Vec<String>,
    /// Timings that a new clock over a base made shorter.
    #[serde(skip)]
    pub reclocked: Vec<Reclocked>,
    /// Period of the command clock, picoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ps: Option<f64>,
    /// Ticks of the simulation in one cycle of the command clock: 2 where row commands move by half clocks (HBM3, HBM4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticks_per_clock: Option<u32>,
    /// Levels, counts and sizes.
    #[serde(default)]
    pub organization: RawOrganization,
    /// Timings in cycles of the command clock (`nRCD`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timing_cycles: BTreeMap<String, u64>,
    /// Timings in nanoseconds (`tRCD`), rounded up to whole cycles and known to expressions as `nRCD`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timing_ns: BTreeMap<String, f64>,
    /// Timings computed from others (`nBL = "ceil(...)"`), in the order of their names' dependencies.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timing_expressions: BTreeMap<String, String>,
    /// Supply currents, milliamperes per device (`IDD0`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub currents_ma: BTreeMap<String, f64>,
    /// Other named quantities for energy expressions, unit in the name (`mac_unit_mw`, `io_pj_per_bit`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, f64>,
    /// Its commands.
    #[serde(default, rename = "command", skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<RawCommand>,
    /// The timing rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<RawConstraint>,
    /// How it is refreshed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<RawRefresh>,
    /// What it offers against RowHammer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_hammer: Option<RawRowHammer>,
    /// Which commands a memory controller uses for what.
    #[serde(default)]
    pub controller: RawController,
    /// The instruction set, where the device has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isa: Option<RawIsa>,
    /// How the host drives the PIM units, where it does so by ordinary accesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<RawKernel>,
    /// Its instructions.
    #[serde(default, rename = "instruction", skip_serializing_if = "Vec::is_empty")]
    pub instructions: Vec<RawInstruction>,
    /// Energy of commands and of standing still.
    #[serde(default)]
    pub energy: RawEnergy,
}

impl RawDevice {
    /// The JSON schema of a device's file.
    pub fn schema() -> Schema {
        of_file::<Self>("Banksia: a DRAM device")
    }
}

/// A timing that a base gives in cycles, under a clock that is not its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Reclocked {
    /// The base.
    pub base: String,
    /// Its clock, picoseconds.
    pub clock_ps: f64,
    /// The timing.
    pub name: String,
    /// Its cycles.
    pub cycles: u64,
}

/// The path of the `i`-th entry of a merged list, in the file that wrote it where that is not a base.
pub(crate) fn entry_path(list: &str, i: usize, own: Option<usize>) -> String {
    match own {
        Some(own) => format!("{list}[{own}]"),
        None => format!("base.{list}[{i}]"),
    }
}

/// Levels, counts and sizes of one channel.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawOrganization {
    /// Names of the levels from the outermost (`channel`) to the innermost (`bank`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<String>,
    /// How many of each level are in one of the level above (the outermost is one).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub count: BTreeMap<String, u32>,
    /// Rows per bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
    /// Column accesses per row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<u32>,
    /// Bytes of one column access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_bytes: Option<u32>,
    /// Data pins of the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_pins: Option<u32>,
    /// Pins beside them that carry the bits of an error-correcting code: they hold no data of a request and add no bandwidth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecc_pins: Option<u32>,
    /// Data rate of a pin, gigabits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_gbps: Option<f64>,
    /// DRAM devices that work in step on this channel (the currents are of one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<u32>,
    /// The level whose banks share a standby state for background energy (`rank`, or `channel`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby_level: Option<String>,
}

/// One command.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCommand {
    /// Its name.
    pub name: String,
    /// The level that it addresses: it acts on every bank below.
    pub scope: String,
    /// What state the banks in its scope must be in.
    #[serde(default)]
    pub needs: RawNeeds,
    /// What it does to them.
    #[serde(default)]
    pub effect: RawEffect,
    /// Which way data goes.
    #[serde(default)]
    pub data: RawData,
    /// Bytes over the pins, an expression; the column access size for `read` and `write` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_bytes: Option<String>,
    /// Bytes between the banks and their compute units, over all banks in scope, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_bytes: Option<String>,
    /// Multiply-accumulates done, over all banks in scope, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs: Option<String>,
    /// Cycles from issue until its effect is complete (the last data beat, for a read), an expression.
    #[serde(default = "zero")]
    pub latency: String,
    /// Cycles for which it holds its command bus; halves where a clock has two ticks.
    #[serde(default = "one_cycle")]
    pub bus_cycles: f64,
    /// The bus that it goes over; commands of different buses issue side by side.
    #[serde(default)]
    pub bus: RawBus,
    /// It may issue on the falling edge too, where a clock has two ticks; every other command waits for the rising edge.
    #[serde(default)]
    pub falling_edge: bool,
    /// It acts on the same bank of every node of that level at once (`bankgroup`, for a same-bank refresh); its node is
    /// counted without that level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub across: Option<String>,
    /// Of the nodes of that level only so many, evenly apart (2 for LPDDR5's REFpb, which takes a bank and the one half the
    /// banks further on); all of them where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub across_nodes: Option<u32>,
    /// The row buffers of its banks that it acts on, from 0, where a bank has several (NeuPIMs: 0 for ordinary accesses, 1 for those of
    /// the compute units): it needs its state in each of them, and changes no other. The first, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_buffers: Option<Vec<u8>>,
    /// The command that opens the row for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_with: Option<String>,
    /// The command that closes what stands in its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_with: Option<String>,
    /// Which entry of its list this is in the file at hand; none where a base wrote it.
    #[serde(skip)]
    pub own: Option<usize>,
}

fn zero() -> String {
    "0".into()
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

fn one_cycle() -> f64 {
    1.0
}

/// A command bus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawBus {
    /// The only one, or the one of row commands.
    #[default]
    Row,
    /// The second one, of column commands (HBM, GDDR7).
    Column,
}

/// The state that a command needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawNeeds {
    /// Any.
    #[default]
    Any,
    /// The addressed row is open in every bank of the scope.
    Open,
    /// Every bank of the scope is closed.
    Closed,
    /// The first half of an activation was given to every bank of the scope.
    Opening,
}

/// What a command does to the banks of its scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawEffect {
    /// Nothing.
    #[default]
    None,
    /// Opens the row.
    Open,
    /// Names the row that a second command will open (LPDDR5's ACT-1).
    OpenFirst,
    /// Closes.
    Close,
    /// Closes once its access is done (auto-precharge).
    AccessAndClose,
    /// Refreshes.
    Refresh,
    /// Takes the banks into power-down; they keep their rows and take no command but the one that wakes them.
    PowerDown,
    /// Takes the banks into self-refresh.
    SelfRefresh,
    /// Wakes the banks.
    Wake,
}

/// Which way a command's data goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawData {
    /// No data.
    #[default]
    None,
    /// From the device over the pins.
    Read,
    /// To the device over the pins.
    Write,
    /// Between banks and compute units, inside.
    Internal,
}

/// One timing row: after a command of `from`, a command of `to` at the same node of `level` waits `cycles`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawConstraint {
    /// The level at whose nodes the row holds.
    pub level: String,
    /// Names of the earlier command, separated by spaces.
    pub from: String,
    /// Names of the later command, separated by spaces.
    pub to: String,
    /// The wait, an expression in cycles.
    pub cycles: String,
    /// The wait counts from the `window`-th last earlier command (4 for tFAW).
    #[serde(default = "one")]
    pub window: u32,
    /// The row holds between different nodes of the level, under the same parent (rank-to-rank turn-around).
    #[serde(default)]
    pub sibling: bool,
    /// The simulator that the reference controller agrees with has the row too. A row that physics needs and that simulator lacks
    /// says `reference = false`: every controller keeps it but that one.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    #[schemars(extend("default" = true))]
    pub reference: bool,
    /// Which entry of its list this is in the file at hand; none where a base wrote it.
    #[serde(skip)]
    pub own: Option<usize>,
}

/// Refresh of a device.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRefresh {
    /// The command.
    pub command: String,
    /// Interval between two of them at one node of its scope, an expression in cycles.
    pub interval: String,
    /// The command that refreshes one bank, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_command: Option<String>,
    /// Interval between two of these under one node of the all-bank command's scope, an expression in cycles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_interval: Option<String>,
    /// The command that refreshes the same bank of every bank group, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_bank_command: Option<String>,
    /// Interval between two of these under one node of the all-bank command's scope, an expression in cycles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_bank_interval: Option<String>,
    /// How many all-bank refreshes the standard lets a controller postpone.
    #[serde(default)]
    pub max_postponed: u32,
}

/// Which commands a memory controller uses for what, and what suits the device. A command that is not given is the command of the customary name (`ACT`, `PREpb`,
/// `PREab`, `RD`, `WR`, `RDA`, `WRA`), where the device has it.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawController {
    /// Opens a row (or begins to).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activate: Option<String>,
    /// Completes what `activate` began (LPDDR5's ACT-2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activate_second: Option<String>,
    /// Cycles after the first by which the second must have issued, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activate_deadline: Option<String>,
    /// Closes a bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precharge: Option<String>,
    /// Closes every bank of the all-bank refresh's scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precharge_all: Option<String>,
    /// Reads a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// Writes a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<String>,
    /// Reads a column and closes the bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_precharge: Option<String>,
    /// Writes a column and closes the bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_precharge: Option<String>,
    /// Starts the data clock right before a read, when it has stopped (LPDDR5's CAS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_read: Option<String>,
    /// As `sync_read`, before a write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_write: Option<String>,
    /// Cycles after a read for which the data clock still runs, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_read_keeps: Option<String>,
    /// As `sync_read_keeps`, after a write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_write_keeps: Option<String>,
    /// Takes a rank into power-down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_down: Option<String>,
    /// Takes a rank into self-refresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_refresh: Option<String>,
    /// Ends power-down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_up: Option<String>,
    /// Ends self-refresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_refresh_exit: Option<String>,
    /// The address map of a controller that leaves it to the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<MapSpec>,
    /// Entries of each queue of such a controller, 1 to 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Which refreshes such a controller issues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_refresh: Option<RefreshPolicy>,
}

/// Energy of a device.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEnergy {
    /// Supply voltage, volts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vdd_v: Option<f64>,
    /// Current of one device with some row open, milliamperes, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_standby_ma: Option<String>,
    /// Current of one device with every row closed, milliamperes, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precharge_standby_ma: Option<String>,
    /// Current of one device in power-down with some row open, milliamperes, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_power_down_ma: Option<String>,
    /// Current of one device in power-down with every row closed, milliamperes, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precharge_power_down_ma: Option<String>,
    /// Current of one device in self-refresh, milliamperes, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_refresh_ma: Option<String>,
    /// Voltage of the word lines' own supply (VPP), volts, where the device has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpp_v: Option<f64>,
    /// Current of one device from that supply whatever it does, milliamperes, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby_vpp_ma: Option<String>,
    /// Clock at which the currents were given, picoseconds; the device's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currents_at_ps: Option<f64>,
    /// Parts that the device takes and that no figure is given for: a total without them is a lower bound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// Figures that are another device's, or a guess.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<RawAssumed>,
    /// Energy by command.
    #[serde(default, rename = "command", skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<RawCommandEnergy>,
}

/// A figure of the energy that is not known of this device.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAssumed {
    /// The part of the energy that it goes into.
    pub part: String,
    /// Its name under `[currents_ma]` or `[parameters]`.
    pub figure: String,
    /// Whose it is: a device, or a source.
    pub of: String,
}

/// The energy that each issue of some commands adds to one part. Either `current_ma` or `current_vpp_ma` and `cycles` (times
/// the voltage of that supply and the number of devices), or `pj`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCommandEnergy {
    /// Names of the commands, separated by spaces.
    pub commands: String,
    /// The part of the energy that it counts towards (`activate`, `read`, `mac`, `refresh`, `io`).
    pub part: String,
    /// Current above the background, milliamperes per device, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_ma: Option<String>,
    /// As `current_ma`, from the supply of the word lines (`vpp_v`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_vpp_ma: Option<String>,
    /// The current goes with the clock, as that of a burst does: at another clock than `currents_at_ps` it is scaled in proportion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_clock: bool,
    /// For how many cycles that current flows, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycles: Option<String>,
    /// Energy in picojoules, an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pj: Option<String>,
    /// Which entry of its list this is in the file at hand; none where a base wrote it.
    #[serde(skip)]
    pub own: Option<usize>,
}
