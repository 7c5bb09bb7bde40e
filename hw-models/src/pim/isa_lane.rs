//! A channel of a PIM device that runs instructions: its state, and how a command comes to be issued.

use std::collections::VecDeque;

use super::tally::{PimCommand, Tally};
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

impl Access {
    /// Whether another's next command is the same, at the same place.
    pub(super) fn asks_as(&self, other: &Self) -> bool {
        (self.bank, self.row, self.command, self.active) == (other.bank, other.row, other.command, other.active)
    }
}

/// Channels that have been told the same so far, which are simulated as one.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) members: ChannelSet,
    pub(super) channel: Channel,
    /// What was issued, and where.
    pub(super) tally: Tally,
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

impl Lane {
    /// Issues a command at a cycle that the channel allows.
    pub(super) fn issue(
        &mut self,
        device: &Device,
        (command, node): (CommandId, u32),
        row: u32,
        column: Option<u32>,
        at: Cycle,
    ) {
        self.channel.issue(command, node, row, at);
        self.tally.add(device, command, node, 1);
        self.note(device, (command, node), row, column, at);
    }

    /// Issues so many of a command, from a column on, each as early as it may. Returns the cycles of the first and the last.
    pub(super) fn issue_run(
        &mut self,
        device: &Device,
        (command, node): (CommandId, u32),
        row: u32,
        first_column: u32,
        count: u64,
    ) -> (Cycle, Cycle) {
        if !self.tally.keeps_commands() {
            self.tally.add(device, command, node, count);
            return self.channel.issue_run(command, node, row, self.next, count);
        }
        let mut at = self.channel.earliest(command, node).max(self.next);
        let first = at;
        for i in 0..count as u32 {
            at = self.channel.earliest(command, node).max(at);
            self.issue(device, (command, node), row, Some(first_column + i), at);
        }
        (first, at)
    }

    fn note(
        &mut self,
        device: &Device,
        (command, node): (CommandId, u32),
        row: u32,
        column: Option<u32>,
        cycle: Cycle,
    ) {
        let spec = device.spec(command);
        let bank = device.banks_of(command, node).start;
        // A column is of a row: what accesses registers and buffers has none.
        let column = column.filter(|_| spec.needs == Needs::Open);
        self.tally.note(PimCommand { cycle, command, on_bus: command, bank, row, column });
    }

    /// Changes between register accesses and everything else, no sooner than at a cycle: the change takes the place of whichever command is
    /// ready then.
    pub(super) fn change_mode(&mut self, device: &Device, mode: CommandId, registers: bool, at: Cycle) {
        let at = at.max(self.channel.earliest(mode, 0));
        self.issue(device, (mode, 0), NO_ROW, None, at);
        self.registers = registers;
        self.next = at + 1;
    }
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
    let next = if channel.is_closed_for(command, node) { spec.open_with } else { spec.close_with };
    next.unwrap_or(command)
}

/// The node of a command that serves another at a node.
pub(super) fn node_of(device: &Device, command: CommandId, serves: CommandId, node: u32) -> u32 {
    let bank = device.banks_of(serves, node).start;
    bank / device.levels[device.spec(command).scope.0 as usize].banks
}
