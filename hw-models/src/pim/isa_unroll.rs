//! How an instruction becomes commands of a channel.

use super::isa_lane::{Lane, needed, node_of, ready};
use super::isa_trace::Instruction;
use crate::dram::{CommandId, Cycle, Device, Effect, NO_ROW, Needs};

/// The node of a command's scope in which a bank lies.
pub(super) fn node_for(device: &Device, command: CommandId, bank: u32) -> u32 {
    bank / device.levels[device.spec(command).scope.0 as usize].banks
}

/// An instruction's command, and what it takes to issue it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unroll<'a> {
    pub(super) device: &'a Device,
    pub(super) mode_change: Option<CommandId>,
    pub(super) command: CommandId,
    /// It accesses registers and buffers.
    pub(super) registers: bool,
    /// Commands that a channel takes in ahead.
    pub(super) queue: usize,
}

impl Unroll<'_> {
    /// Issues the instruction's commands on a channel, with what must go before them. Accesses that have opened their rows before go first
    /// whenever they are ready, as the channel's controller has it. Returns the cycle of the last.
    pub(super) fn run(&self, lane: &mut Lane, instruction: &Instruction) -> Cycle {
        let (device, command) = (self.device, self.command);
        let spec = device.spec(command);
        let node = node_for(device, command, instruction.bank);
        let row = if spec.needs == Needs::Open { instruction.row } else { NO_ROW };
        let count = u64::from(instruction.columns);
        let mut issued = 0;
        let mut last = lane.next;
        while issued < count {
            let next = needed(&lane.channel, device, command, node, row);
            let next_node = node_of(device, next, command, node);
            let at = ready(&lane.channel, device, next, next_node, lane.next);
            let access = if lane.accesses.is_empty() { None } else { lane.best_access(device) };
            // A row that an access has opened is not closed before it is done.
            let closes = device.spec(next).effect == Effect::Close && device.spec(next).row_buffers & 1 == 1;
            let wanted = closes && device.banks_of(next, next_node).any(|b| lane.is_wanted(b));
            if let Some(best) = access.filter(|best| best.0 <= at || wanted) {
                lane.serve_one(device, self.mode_change, best);
                continue;
            }
            if let Some(mode) = self.mode_change.filter(|_| lane.registers != self.registers) {
                lane.change_mode(device, mode, self.registers, at);
                continue;
            }
            if next != command {
                let opened = if device.spec(next).needs == Needs::Closed { row } else { NO_ROW };
                lane.issue(device, (next, next_node), opened, None, at);
                lane.next = at + 1;
                continue;
            }
            // All at once, where nothing comes between them.
            let together = lane.accesses.is_empty() && spec.effect == Effect::None;
            let n = if together { count - issued } else { 1 };
            lane.next = at;
            let (first, end) = lane.issue_run(device, (command, node), row, instruction.column + issued as u32, n);
            self.take_in(lane, first, end, n);
            (issued, last) = (issued + n, end);
            lane.next = end + 1;
        }
        last
    }

    /// Notes when commands left the channel's queue: every one of a run is as far from the one before it.
    fn take_in(&self, lane: &mut Lane, first: Cycle, last: Cycle, count: u64) {
        let gap = if count > 1 { (last - first) / (count - 1) } else { 0 };
        for i in count.saturating_sub(self.queue as u64)..count {
            lane.taken.push_back(first + gap * i);
        }
        while lane.taken.len() > self.queue {
            lane.taken.pop_front();
        }
    }
}
