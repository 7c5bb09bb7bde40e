//! Ordinary reads and writes of a PIM channel, between its instructions.
//!
//! As the public AiM simulator's controller serves them (arkhadem/aim_simulator, `AiM_dram_controller.cpp`): first ready, first come, first
//! served; accesses that have opened their row go before the others, and their bank is not closed; of the others reads are served until writes
//! fill four fifths of their queue, or no read is left, and writes until a fifth is left. Instructions and accesses do not mix in a queue: a channel
//! takes the one kind when no command of the other waits. But an access leaves its queue when it has opened its row, so that an instruction may come
//! in before the access itself: whichever is ready goes, the access first. Where the one needs the registers' mode and the other does not, the mode
//! changes to and fro, at each turn for the one that is ready. One rule is not followed: there the end of a program does not wait for accesses that have
//! opened their row; here it waits for their data.

use super::isa_lane::{Access, Lane, needed, node_of, ready};
use crate::dram::{CommandId, Cycle, Device, NO_ROW, Needs};

/// Reads, and writes, that a channel's controller holds.
pub(super) const QUEUE: usize = 32;

/// The next command of an access: its cycle, whether the access has not opened its row, its place, the command.
pub(super) type Best = (Cycle, bool, usize, CommandId);

impl Lane {
    /// Whether the row that is open in a bank is that of an access which has opened it and is not done.
    pub(super) fn is_wanted(&self, bank: u32) -> bool {
        self.accesses.iter().any(|b| b.active && b.bank == bank && self.channel.open_row(bank) == b.row)
    }

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
            let Some(best) = self.best_access(device) else { break };
            left = self.serve_one(device, mode_change, best).unwrap_or(left);
        }
        left
    }

    /// Serves accesses until every one has opened its row or is done. Returns the last cycle in which one left its queue.
    pub(super) fn serve_waiting(&mut self, device: &Device, mode_change: Option<CommandId>) -> Cycle {
        let mut left = 0;
        while self.accesses.iter().any(|a| !a.active) {
            let Some(best) = self.best_access(device) else { break };
            left = self.serve_one(device, mode_change, best).unwrap_or(left);
        }
        left
    }

    /// Issues the next command of an access, or the change of mode in its place. The cycle, where the access leaves its queue with that.
    pub(super) fn serve_one(&mut self, device: &Device, mode_change: Option<CommandId>, best: Best) -> Option<Cycle> {
        let (at, _, i, next) = best;
        if let Some(mode) = mode_change.filter(|_| self.registers) {
            self.change_mode(device, mode, false, at);
            return None;
        }
        let a = self.accesses[i];
        let opens = device.spec(next).needs == Needs::Closed;
        let row = if opens || next == a.command { a.row } else { NO_ROW };
        self.issue(device, (next, node_of(device, next, a.command, a.bank)), row, None, at);
        self.next = at + 1;
        if next == a.command {
            self.pending = self.pending.max(at + device.spec(next).latency);
            self.accesses.remove(i);
        } else if opens {
            self.accesses[i].active = true;
        }
        (!a.active && (opens || next == a.command)).then_some(at)
    }

    /// The access to serve next: cycle, class, place and command.
    pub(super) fn best_access(&mut self, device: &Device) -> Option<Best> {
        let (reads, writes) = (self.waiting(false), self.waiting(true));
        self.writing =
            if self.writing { !(writes * 5 < QUEUE && reads > 0) } else { writes * 5 > QUEUE * 4 || reads == 0 };
        let mut best: Option<Best> = None;
        let mut before: Option<&Access> = None;
        for (i, a) in self.accesses.iter().enumerate() {
            if !a.active && a.write != self.writing {
                continue;
            }
            // What asks the same of the same row as the one before it, and came no sooner, goes after it.
            if before.replace(a).is_some_and(|b| a.asks_as(b) && a.from >= b.from) {
                continue;
            }
            let next = needed(&self.channel, device, a.command, a.bank, a.row);
            let closes = next != a.command && device.spec(next).needs != Needs::Closed;
            if closes && self.is_wanted(a.bank) {
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
