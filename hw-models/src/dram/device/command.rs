//! Commands of a device.

use crate::dram::Cycle;
use crate::dram::table::{RawBus, RawData, RawEffect, RawNeeds};

/// Index of a command in its device's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u8);

/// Index of a level, from the outermost (0, the channel) inwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LevelId(pub u8);

/// A command, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its name.
    pub name: String,
    /// The level that it addresses.
    pub scope: LevelId,
    /// The state that it needs.
    pub needs: RawNeeds,
    /// What it does to the banks.
    pub effect: RawEffect,
    /// Which way data goes.
    pub data: RawData,
    /// Bytes over the pins for each issue.
    pub pin_bytes: u32,
    /// Bytes between banks and compute units for each issue.
    pub internal_bytes: u32,
    /// Multiply-accumulates for each issue.
    pub macs: u32,
    /// Cycles from issue until its effect is complete.
    pub latency: Cycle,
    /// Ticks for which it holds its command bus.
    pub bus_cycles: Cycle,
    /// Its command bus.
    pub bus: RawBus,
    /// It may issue on the falling edge of a clock of two ticks.
    pub falling_edge: bool,
    /// It acts on the same bank of every node of that level.
    pub across: Option<LevelId>,
    /// On how many nodes of that level, evenly apart.
    pub across_nodes: u32,
    /// The row buffers of its banks that it acts on, by bit.
    pub row_buffers: u8,
    /// The command that opens the row for it.
    pub open_with: Option<CommandId>,
    /// The command that closes what stands in its way.
    pub close_with: Option<CommandId>,
}
