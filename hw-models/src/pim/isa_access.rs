//! Ordinary reads and writes of a PIM channel, between its instructions.
//!
//! As the public AiM simulator's controller serves them (arkhadem/aim_simulator, `AiM_dram_controller.cpp`): first ready, first come, first
//! served; accesses that have opened their row go before the others, and their bank is not closed; of the others reads are served until writes
//! fill four fifths of their queue, or no read is left, and writes until a fifth is left. Instructions and accesses do not mix: a channel takes
//! the one kind when no command of the other waits. One rule is not followed: there the end of a program does not wait for accesses that have
//! opened their row; here it waits for their data.

use super::isa_lane::{Lane, needed, node_of, ready};
use crate::dram::{CommandId, Cycle, Device, NO_ROW, Needs};

/// Reads, and writes, that a channel's controller holds.
pub(super) const QUEUE: usize = 32;

impl Lane {
    /// Accesses of a kind that have not opened their row.
    pub(super) fn waiting(&self, write: bool) -> usize {
        self.accesses.iter().filter(|a| !a.active && a.write == write).count()
    }

    /// Serves accesses until no more than so many of a kind wait; with `None`, until all are done. Returns the last cycle in which one left its
    /// queue.
    pub(super) fn serve(
        &mut self,
        device: &Device,
        mode_change: Option<CommandId>,
        until: Option<(bool, usize)>,
    ) -> Cycle {
        let mut left = 0;
        while !self.accesses.is_empty() && until.is_none_or(|(write, most)| self.waiting(write) > most) {
            let Some((at, _, i, next)) = self.best_access(device) else { break };
            if let Some(mode) = mode_change.filter(|_| self.registers) {
                // The change of mode takes the place of whichever command is ready.
                self.channel.issue(mode, 0, NO_ROW, at.max(self.channel.earliest(mode, 0)));
                self.registers = false;
                self.next = at + 1;
                continue;
            }
            let a = self.accesses[i];
            let opens = device.spec(next).needs == Needs::Closed;
            let row = if opens || next == a.command { a.row } else { NO_ROW };
            self.channel.issue(next, node_of(device, next, a.command, a.bank), row, at);
            self.next = at + 1;
            if next == a.command {
                self.pending = self.pending.max(at + device.spec(next).latency);
                self.accesses.remove(i);
            } else if opens {
                self.accesses[i].active = true;
            }
            if !a.active && (opens || next == a.command) {
                left = at;
            }
        }
        left
    }

    /// The access to serve next: cycle, class, place and command.
    fn best_access(&mut self, device: &Device) -> Option<(Cycle, bool, usize, CommandId)> {
        let (reads, writes) = (self.waiting(false), self.waiting(true));
        self.writing =
            if self.writing { !(writes * 5 < QUEUE && reads > 0) } else { writes * 5 > QUEUE * 4 || reads == 0 };
        let mut best: Option<(Cycle, bool, usize, CommandId)> = None;
        for (i, a) in self.accesses.iter().enumerate() {
            if !a.active && a.write != self.writing {
                continue;
            }
            let next = needed(&self.channel, device, a.command, a.bank, a.row);
            let closes = next != a.command && device.spec(next).needs != Needs::Closed;
            if closes && self.accesses.iter().any(|b| b.active && b.bank == a.bank) {
                continue;
            }
            let at =
                ready(&self.channel, device, next, node_of(device, next, a.command, a.bank), self.next.max(a.from));
            let found = (at, !a.active, i, next);
            if best.is_none_or(|b| (found.0, found.1, found.2) < (b.0, b.1, b.2)) {
                best = Some(found);
            }
        }
        best
    }
}
