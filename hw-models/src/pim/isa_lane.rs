//! A channel of a PIM device that runs instructions: its state, and how a command comes to be issued.

use std::collections::VecDeque;

use crate::dram::{Channel, CommandId, Cycle, Device, NO_ROW, Needs};
use crate::program::ChannelSet;

/// One read or write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    /// The first cycle at which the controller may look at it.
    pub(super) from: Cycle,
    pub(super) command: CommandId,
    pub(super) write: bool,
    pub(super) bank: u32,
    pub(super) row: u32,
    /// It has opened its row.
    pub(super) active: bool,
}

/// Channels that have been told the same so far, which are simulated as one.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) members: ChannelSet,
    pub(super) channel: Channel,
    /// The first cycle at which the next command may be chosen.
    pub(super) next: Cycle,
    /// Register accesses are allowed; otherwise everything else is.
    pub(super) registers: bool,
    /// When the last effect of anything issued is complete.
    pub(super) pending: Cycle,
    /// Ordinary accesses that are not done.
    pub(super) accesses: Vec<Access>,
    /// Of these, writes are being served.
    pub(super) writing: bool,
    /// The first cycle in which no instruction's command waits.
    pub(super) instructed: Cycle,
    /// Issue cycles of the last commands: as many as the channel takes in ahead.
    pub(super) taken: VecDeque<Cycle>,
    pub(super) refresh_due: Cycle,
    /// Cycles at work in blocks, and until when the last one was.
    pub(super) busy: Cycle,
    pub(super) busy_until: Cycle,
}

/// The first cycle from `floor` on at which a command may issue: on its own clock edge, where a clock has two.
pub(super) fn ready(channel: &Channel, device: &Device, command: CommandId, node: u32, floor: Cycle) -> Cycle {
    let at = channel.earliest(command, node).max(floor);
    if device.ticks_per_clock == 2 && !device.spec(command).falling_edge { at | 1 } else { at }
}

/// The next command on the way to a command: what closes another row, what opens the row, or the command.
pub(super) fn needed(channel: &Channel, device: &Device, command: CommandId, node: u32, row: u32) -> CommandId {
    let spec = device.spec(command);
    if spec.needs != Needs::Open || channel.state_allows(command, node, row) {
        return command;
    }
    let closed = device.banks_of(command, node).all(|b| channel.open_row(b) == NO_ROW);
    let next = if closed { spec.open_with } else { spec.close_with };
    next.unwrap_or(command)
}

/// The node of a command that serves another at a node.
pub(super) fn node_of(device: &Device, command: CommandId, serves: CommandId, node: u32) -> u32 {
    let bank = device.banks_of(serves, node).start;
    bank / device.levels[device.spec(command).scope.0 as usize].banks
}
