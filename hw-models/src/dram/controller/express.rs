//! A request alone in an idle channel: its commands follow one another, and nothing else can come between but a refresh.
//! What the rules would do is done at once; where a refresh comes between, the request is left where it stands to the ticks.

use super::super::{Cycle, NO_ROW};
use super::fast::Fast;
use super::queue::Entry;
use super::record::{Completion, Recorder, Request};
use super::role::{self, Role};

impl<const K: u8, const P: bool, R: Recorder> Fast<K, P, R> {
    /// Serves requests from the `next` on, each of which is offered when nothing else is in the channel and nothing else may come
    /// before it is done; but never the last, after which the ticks go on. Returns the next request; the channel is left at the
    /// cycle from which on the ticks go on.
    #[inline(always)]
    pub(super) fn express(&mut self, requests: &[Request], mut next: usize) -> usize {
        self.forget();
        while let [request, _, ..] = &requests[next..]
            && request.arrival <= self.cycle
            && self.cycle + 1 < self.next_refresh
        {
            next += 1;
            self.stale_mode = true;
            if !self.express_one(request, self.cycle) {
                break;
            }
        }
        self.forget();
        next
    }

    /// Serves one request. Whether the channel is idle afterwards.
    #[inline(always)]
    fn express_one(&mut self, request: &Request, cycle: Cycle) -> bool {
        let (bank, wanted) = self.shape.map.bank_and_row(request.index);
        let mut entry = Entry {
            address: request.index,
            arrival: cycle,
            asked: request.arrival,
            sequence: request.sequence,
            row: wanted,
            bank: bank as u16,
            write: request.write,
            started: false,
        };
        let bank = bank as usize;
        if !entry.write && self.swift && self.express_read(&entry) {
            return true;
        }
        let mut floor = cycle + 1;
        let mut row = self.banks[bank].row;
        if row != NO_ROW && row != wanted {
            let Some(at) = self.express_at(role::PRE, bank, floor) else { return self.leave_queued(entry, cycle) };
            self.start(&mut entry, role::PRE, at);
            self.timing.issue(role::PRE, bank, at);
            self.emit(role::PRE, bank, Some(entry.address), at);
            self.set_row_unqueued(bank, NO_ROW, at);
            row = NO_ROW;
            floor = at + 1;
        }
        if row == NO_ROW {
            let Some(at) = self.express_at(role::ACT, bank, floor) else { return self.leave_queued(entry, floor - 1) };
            self.start(&mut entry, role::ACT, at);
            self.timing.issue(role::ACT, bank, at);
            self.emit(role::ACT, bank, Some(entry.address), at);
            self.set_row_unqueued(bank, wanted, at);
            floor = at + 1;
            let command = if entry.write { role::WR } else { role::RD };
            let Some(at) = self.express_at(command, bank, floor) else {
                self.outstanding += 1;
                self.draining = entry.write;
                self.banks[bank].active = true;
                self.active.push(entry);
                self.cycle = floor - 1;
                return false;
            };
            self.express_access(entry, command, at)
        } else {
            let command = if entry.write { role::WR } else { role::RD };
            let Some(at) = self.express_at(command, bank, floor) else { return self.leave_queued(entry, floor - 1) };
            self.express_access(entry, command, at)
        }
    }

    /// Serves a read whose data comes before a refresh falls due: all of its commands at once, and of what they forbid only what
    /// lasts until the next request's. Whether it is such a read; if not, nothing is changed.
    #[inline(always)]
    fn express_read(&mut self, entry: &Entry) -> bool {
        let (bank, apart) = (entry.bank as usize, &self.timing.apart);
        let row = self.banks[bank].row;
        let floor = entry.arrival + 1;
        let (closes, opens) = (row != NO_ROW && row != entry.row, row != entry.row);
        let (mut closed, mut opened) = (0, 0);
        let mut at = self.timing.earliest(role::RD, bank).max(floor);
        if opens {
            opened = self.timing.earliest(role::ACT, bank).max(floor);
            if closes {
                closed = self.edge(role::PRE, self.timing.earliest(role::PRE, bank).max(floor), bank);
                opened = opened.max(closed + apart[role::PRE][role::ACT]);
                at = at.max(closed + apart[role::PRE][role::RD]);
            }
            opened = self.edge(role::ACT, opened, bank);
            at = at.max(opened + apart[role::ACT][role::RD]);
        }
        let at = self.edge(role::RD, at, bank);
        let done = (at + self.shape.read_latency - 1).max(self.last_done);
        if done + 1 >= self.next_refresh {
            return false;
        }
        let address = Some(entry.address);
        if opens {
            self.stats.read_waiting += if closes { closed } else { opened } - floor;
            if closes {
                self.stats.begin(role::PRE);
                self.timing.issue_for_one(role::PRE, bank, closed, done);
                self.emit(role::PRE, bank, address, closed);
                self.reopen(bank, entry.row, closed, opened);
            } else {
                self.stats.begin(role::ACT);
                self.set_row_unqueued(bank, entry.row, opened);
            }
            self.timing.issue_for_one(role::ACT, bank, opened, done);
            self.emit(role::ACT, bank, address, opened);
        } else {
            self.stats.read_waiting += at - floor;
            self.stats.begin(role::RD);
        }
        self.draining = true;
        self.timing.issue_for_one(role::RD, bank, at, done);
        self.emit(role::RD, bank, address, at);
        self.stats.queued_ticks += at - floor;
        self.stats.read_queueing += at - floor;
        let done = self.account_read(entry, done);
        if R::COMPLETIONS {
            let (sequence, index, sent) = (entry.sequence, entry.address, entry.arrival);
            self.recorder.completion(Completion { sequence, write: false, index, sent, done });
        }
        self.cycle = done + 1;
        true
    }

    /// When a command issues, if no refresh falls due before.
    #[inline(always)]
    fn express_at(&self, command: Role, bank: usize, floor: Cycle) -> Option<Cycle> {
        let at = self.edge(command, self.timing.earliest(command, bank).max(floor), bank);
        (at < self.next_refresh).then_some(at)
    }

    /// Leaves the request in its queue, for the tick after `cycle`.
    #[cold]
    fn leave_queued(&mut self, entry: Entry, cycle: Cycle) -> bool {
        self.outstanding += 1;
        // The tick after its acceptance finds one kind of request only, and serves that.
        self.draining = entry.write;
        let view = self.view(entry.bank as usize);
        let queue = if entry.write { &mut self.writes } else { &mut self.reads };
        queue.push(entry, view);
        self.cycle = cycle;
        false
    }

    #[inline(always)]
    fn express_access(&mut self, mut entry: Entry, command: Role, at: Cycle) -> bool {
        let bank = entry.bank as usize;
        // Its queue is left empty, and the next tick finds no reads.
        self.draining = true;
        self.start(&mut entry, command, at);
        self.timing.issue(command, bank, at);
        self.emit(command, bank, Some(entry.address), at);
        self.stats.queued_ticks += at - 1 - entry.arrival;
        if entry.write {
            self.finish_write(&entry, at - 1);
            self.cycle = at;
            return true;
        }
        self.stats.read_queueing += at - 1 - entry.arrival;
        let done = at + self.shape.read_latency - 1;
        // Reads finish in the order of their accesses, and none is before it.
        if done.max(self.last_done) + 1 < self.next_refresh {
            let done = self.account_read(&entry, done);
            if R::COMPLETIONS {
                let (sequence, index, sent) = (entry.sequence, entry.address, entry.arrival);
                self.recorder.completion(Completion { sequence, write: false, index, sent, done });
            }
            self.cycle = done + 1;
            true
        } else {
            self.outstanding += 1;
            self.finish_read(&entry, done);
            self.cycle = at;
            false
        }
    }
}
