//! A device table compiled to dense integer arrays.

mod command;
mod compile;
mod hammer;
mod organization;

pub use command::{Command, CommandId, LevelId};
pub(super) use compile::Compiler;
pub use hammer::{RefreshManagement, RowCounting, RowHammer};

use super::Cycle;
use super::defaults::ControllerDefaults;
use super::energy::EnergyModel;
use super::expr::{Symbols, evaluate};
pub use super::table::{RawBus as Bus, RawData as DataDirection, RawEffect as Effect, RawNeeds as Needs};

/// A level of the hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Its name.
    pub name: String,
    /// How many there are in one node of the level above.
    pub per_parent: u32,
    /// How many there are in the channel.
    pub nodes: u32,
    /// How many banks lie below one node.
    pub banks: u32,
}

/// A timing row, resolved: after `from` at a node of `level`, `to` at that node (or at its siblings) waits `cycles`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimingRow {
    /// The level at whose nodes it holds.
    pub level: LevelId,
    /// The earlier command.
    pub from: CommandId,
    /// The later command.
    pub to: CommandId,
    /// The wait.
    pub cycles: Cycle,
    /// Counted from the `window`-th last `from`.
    pub window: u32,
    /// Between different nodes under one parent.
    pub sibling: bool,
    /// The reference controller keeps it too ([`Device::reference_rows`]).
    pub reference: bool,
}

/// Refresh, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// The command.
    pub command: CommandId,
    /// Cycles between two at one node of its scope.
    pub interval: Cycle,
}

/// The commands that a memory controller uses, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Opens a row, or begins to.
    pub activate: CommandId,
    /// The second half of an activation and the cycles by which it must follow.
    pub activate_second: Option<(CommandId, Cycle)>,
    /// Closes a bank.
    pub precharge: CommandId,
    /// Closes every bank of its scope.
    pub precharge_all: CommandId,
    /// Reads a column.
    pub read: CommandId,
    /// Writes a column.
    pub write: CommandId,
    /// Read and write that close the bank.
    pub auto_precharge: Option<(CommandId, CommandId)>,
    /// What starts the data clock before an access.
    pub sync: Option<Sync>,
    /// Refreshes one bank: the command and its interval.
    pub refresh_bank: Option<(CommandId, Cycle)>,
    /// Refreshes the same bank of every bank group: the command and its interval.
    pub refresh_same_bank: Option<(CommandId, Cycle)>,
    /// How many all-bank refreshes may be postponed.
    pub max_postponed: u32,
    /// Entry to and exit from power-down.
    pub power_down: Option<(CommandId, CommandId)>,
    /// Entry to and exit from self-refresh.
    pub self_refresh: Option<(CommandId, CommandId)>,
}

/// The data clock of a device that stops it (LPDDR5's WCK): commands that start it, and for how long an access keeps it running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sync {
    /// Starts it before a read.
    pub read: CommandId,
    /// Starts it before a write.
    pub write: CommandId,
    /// Cycles after a read for which it runs.
    pub read_keeps: Cycle,
    /// Cycles after a write for which it runs.
    pub write_keeps: Cycle,
}

/// What one issue of a command sets in the engine: later commands' earliest cycles, by level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    /// Offset of the level's first node in the table of earliest cycles.
    pub level_base: u32,
    /// Banks below a node of this level: a bank's node is `bank / banks`.
    pub banks: u32,
    /// Nodes under one parent, for sibling rows.
    pub per_parent: u32,
    /// The later command.
    pub to: u8,
    /// See [`TimingRow::sibling`].
    pub sibling: bool,
    /// Index of the issue-history ring, for rows with a window above 1.
    pub ring: Option<u32>,
    /// See [`TimingRow::cycles`].
    pub cycles: Cycle,
}

/// A ring of the last `window` issue times of the commands of some rows, one for each node of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ring {
    /// Offset of the first node's slots.
    pub base: u32,
    /// Slots per node.
    pub window: u32,
    /// Banks below a node of the ring's level.
    pub banks: u32,
    /// The commands that it records.
    pub commands: u64,
    /// The longest wait of the rows that count from it.
    pub longest_wait: Cycle,
}

/// A DRAM channel's device, compiled.
#[derive(Debug, Clone)]
pub struct Device {
    /// Name in the catalog.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Where its numbers come from.
    pub source: String,
    /// Period of one tick, femtoseconds: of the command clock, or of half of it where [`Device::ticks_per_clock`] is 2. Every
    /// `Cycle` of this device counts these.
    pub clock_fs: u64,
    /// Ticks in a cycle of the command clock.
    pub ticks_per_clock: u32,
    /// Levels from the outermost inwards.
    pub levels: Vec<Level>,
    /// Banks in the channel.
    pub banks: u32,
    /// Row buffers of a bank: rows that it can have open at once, each for commands of its own ([`Command::row_buffers`]).
    pub row_buffers: u32,
    /// Rows per bank.
    pub rows: u32,
    /// Column accesses per row.
    pub columns: u32,
    /// Bytes per column access.
    pub access_bytes: u32,
    /// Data pins of the channel.
    pub data_pins: u32,
    /// Pins beside them for the bits of an error-correcting code: no data, and no bandwidth.
    pub ecc_pins: u32,
    /// Data rate of a pin, gigabits per second.
    pub pin_gbps: f64,
    /// The command set.
    pub commands: Vec<Command>,
    /// The timing rows, one for each pair of commands.
    pub timing: Vec<TimingRow>,
    /// Refresh, where the device needs it.
    pub refresh: Option<Refresh>,
    /// Which commands a memory controller uses for what, where the device has what one needs.
    pub roles: Option<Roles>,
    /// What it offers against RowHammer.
    pub row_hammer: Option<RowHammer>,
    /// What it asks of a controller that leaves a setting to it.
    pub defaults: ControllerDefaults,
    /// The level whose banks share a standby state.
    pub standby: LevelId,
    /// Energy of commands and of standing still.
    pub energy: EnergyModel,
    /// Named timings, for display (`nRCD` to 12).
    pub symbols: Vec<(String, f64)>,
    /// Updates of each command: `updates[update_ranges[c]]`.
    pub(crate) updates: Vec<Update>,
    pub(crate) update_ranges: Vec<(u32, u32)>,
    pub(crate) rings: Vec<Ring>,
    pub(crate) ring_slots: u32,
    /// Offset of each level's first node in the table of earliest cycles, in nodes.
    pub(crate) level_base: Vec<u32>,
    pub(crate) ready_nodes: u32,
    /// By bank, then by level: the node that it is below, counted over all levels.
    pub(crate) node_at: Vec<u32>,
}

impl Device {
    /// The command of that name.
    pub fn command(&self, name: &str) -> Option<CommandId> {
        self.commands.iter().position(|c| c.name == name).map(|i| CommandId(i as u8))
    }

    /// The command's entry.
    pub fn spec(&self, command: CommandId) -> &Command {
        &self.commands[command.0 as usize]
    }

    /// A timing by name (`nRCD`), where the device defines it.
    pub fn timing(&self, name: &str) -> Option<f64> {
        self.symbols.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    /// Bytes of a row of one bank.
    pub fn row_bytes(&self) -> u64 {
        u64::from(self.columns) * u64::from(self.access_bytes)
    }

    /// Bytes of the channel.
    pub fn capacity_bytes(&self) -> u64 {
        u64::from(self.banks) * u64::from(self.rows) * self.row_bytes()
    }

    /// Bytes of error-correcting code that the channel holds beside [`Device::capacity_bytes`].
    pub fn ecc_bytes(&self) -> u64 {
        self.capacity_bytes() / u64::from(self.data_pins.max(1)) * u64::from(self.ecc_pins)
    }

    /// Peak rate of the channel's data pins, bytes per second; pins of an error-correcting code add nothing.
    pub fn pin_bandwidth(&self) -> f64 {
        f64::from(self.data_pins) * self.pin_gbps * 1e9 / 8.0
    }

    /// The banks below a node of a command's scope; of a command that acts across a level, the first of its banks.
    pub fn banks_of(&self, command: CommandId, node: u32) -> std::ops::Range<u32> {
        let banks = self.levels[self.spec(command).scope.0 as usize].banks;
        node * banks..(node + 1) * banks
    }

    /// The row buffers that a command acts on.
    pub fn row_buffers_of(&self, command: CommandId) -> impl Iterator<Item = u32> + use<> {
        let mask = self.spec(command).row_buffers;
        (0..self.row_buffers).filter(move |b| mask & (1 << b) != 0)
    }

    /// For a command that acts across a level ([`Command::across`]): how many nodes of its scope it acts on, and how far apart
    /// they lie. One and nothing for any other.
    pub fn spread(&self, command: CommandId) -> (u32, u32) {
        match self.spec(command).across {
            Some(level) => {
                let (level, nodes) = (&self.levels[level.0 as usize], self.spec(command).across_nodes);
                (nodes, level.banks * (level.per_parent / nodes))
            }
            None => (1, 0),
        }
    }

    /// This device with the rows alone that the reference controller keeps: those of the simulator that it agrees with, without
    /// what physics adds to them.
    #[must_use]
    pub fn reference_rows(&self) -> Self {
        let mut device = self.clone();
        device.timing.retain(|row| row.reference);
        device.flatten();
        device
    }

    /// Evaluates an expression over this device's named quantities.
    ///
    /// # Errors
    /// The expression is malformed or names what the device does not define.
    pub fn evaluate(&self, text: &str) -> Result<f64, String> {
        let symbols: Symbols = self.symbols.iter().cloned().collect();
        evaluate(text, &symbols)
    }
}
