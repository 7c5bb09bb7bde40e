//! The course of a tick in the controller that skips.

use super::super::{Cycle, NO_ROW, OPENING};
use super::config::PagePolicy;
use super::fast::{DUAL, Fast, HALF, SPLIT, Task};
use super::queue::{ACCESS, CLOSE};
use super::record::Recorder;
use super::role::{self, Asleep, Role};
use super::timing::NEVER;

impl<const K: u8, const P: bool, R: Recorder> Fast<K, P, R> {
    /// One tick at clock `clock`. Returns the next clock at which something can change but for new requests and refreshes.
    #[inline(always)]
    pub(super) fn tick(&mut self, clock: Cycle) -> Cycle {
        if clock == self.next_refresh {
            self.refresh_due();
        }
        if !P {
            if !self.keeps {
                self.forget();
            }
            self.release_owed();
            self.release_alerts(clock);
        }
        let next = clock + 1;
        if K == DUAL || K == HALF {
            if K == DUAL || clock & 1 == 1 {
                self.floors = (next, clock);
                self.column_slot(clock);
            }
            self.floors = (next, next);
            self.row_slot(clock);
        } else {
            self.floors = (next, next);
            if K == SPLIT && self.split_first(clock) {
                return next;
            }
            self.single_slot(clock);
            if K == SPLIT && (self.synchronised.is_some() || !self.activating.is_empty()) {
                return next;
            }
        }
        self.next_visit(next)
    }

    /// The first clock from `next` on at which a rule can give something.
    #[inline(always)]
    fn next_visit(&mut self, next: Cycle) -> Cycle {
        let visit = self.next_of_rules(next);
        if P { visit } else { visit.min(self.hammer.as_ref().map_or(NEVER, |h| h.due()).max(next)) }
    }

    #[inline(always)]
    fn next_of_rules(&mut self, next: Cycle) -> Cycle {
        if !P && self.released().is_some() {
            return next;
        }
        let active = self.active_best(next);
        let task = if self.tasks.is_empty() { NEVER } else { self.task_next(next).map_or(NEVER, |t| t.2) };
        if self.requests_held_back() {
            return if P || !self.rests { active.min(task) } else { active.min(task).min(self.wake_at(next)) };
        }
        if self.stale_mode {
            return next;
        }
        let visit = active.min(task).min(self.any_best(next).1.at);
        if P || !self.rests {
            visit
        } else {
            visit.min(self.wake_at(next)).min(self.idle_close_at(next).0).min(self.sleep_at(next).0)
        }
    }

    /// Rule 3 does not apply: an all-bank refresh waits.
    #[inline(always)]
    fn requests_held_back(&self) -> bool {
        self.tasks.front().is_some_and(|t| t.command == role::REF)
    }

    #[inline(always)]
    fn single_slot(&mut self, clock: Cycle) {
        if self.active_best(clock) <= clock {
            self.issue_active(clock);
            return;
        }
        if !P && self.rests && self.wake(clock) {
            return;
        }
        if self.issue_task(clock) {
            return;
        }
        if !self.requests_held_back() {
            self.update_mode();
            let (class, best) = self.any_best(clock);
            if best.at <= clock {
                self.issue_queued(class, best.slot, clock);
                return;
            }
        }
        if K == SPLIT && !self.activating.is_empty() {
            self.activate_second(clock);
            return;
        }
        if !P && self.rests && !self.requests_held_back() {
            self.idle_rules(clock);
        }
    }

    #[inline(always)]
    fn column_slot(&mut self, clock: Cycle) {
        if self.active_best(clock) <= clock {
            self.issue_active(clock);
        } else if !self.requests_held_back() {
            self.update_mode();
            let best = self.class_best(ACCESS, clock);
            if best.at <= clock {
                self.issue_queued(ACCESS, best.slot, clock);
            }
        }
    }

    #[inline(always)]
    fn row_slot(&mut self, clock: Cycle) {
        if !P && self.rests && self.wake(clock) {
            return;
        }
        if self.issue_task(clock) || self.requests_held_back() {
            return;
        }
        self.update_mode();
        let (class, best) = self.row_best(clock);
        if best.at <= clock {
            self.issue_queued(class, best.slot, clock);
        } else if !P && self.rests {
            self.idle_rules(clock);
        }
    }

    /// Drain mode. With the queues' sizes unchanged a second evaluation changes nothing.
    #[inline(always)]
    fn update_mode(&mut self) {
        if !self.stale_mode {
            return;
        }
        self.stale_mode = false;
        let (reads, writes) = (self.reads.len, self.writes.len as f32);
        let draining = if self.draining {
            !(writes < self.shape.low && reads > 0)
        } else {
            writes > self.shape.high || reads == 0
        };
        let draining = draining && (P || self.held == 0);
        if draining != self.draining {
            self.draining = draining;
            self.known = [false; 3];
        }
    }

    #[inline(always)]
    fn issue_active(&mut self, clock: Cycle) {
        let slot = self.best_active.slot;
        let write = self.active[slot].write;
        if K == SPLIT && self.synchronise(write, slot, true, clock) {
            return;
        }
        self.access_active(slot, clock);
    }

    #[inline(always)]
    fn access_active(&mut self, slot: usize, clock: Cycle) {
        let entry = self.active.swap_remove(slot);
        self.banks[entry.bank as usize].active = false;
        self.access(entry, None, clock);
    }

    #[inline(always)]
    fn issue_queued(&mut self, class: usize, slot: usize, clock: Cycle) {
        if class == CLOSE {
            let queue = if self.draining { &mut self.writes } else { &mut self.reads };
            let mut entry = queue.entries[slot & 63];
            self.start(&mut entry, role::PRE, clock);
            let queue = if self.draining { &mut self.writes } else { &mut self.reads };
            queue.entries[slot & 63] = entry;
            let bank = entry.bank as usize;
            if !P {
                let b = &mut self.banks[bank];
                b.timeout = (b.timeout / 2).max(self.shape.page_timeout.div_ceil(8));
                b.timed_out = NO_ROW;
            }
            self.precharge(bank, Some(entry.address), clock);
            return;
        }
        let write = self.draining;
        if K == SPLIT && class == ACCESS && self.synchronise(write, slot, false, clock) {
            return;
        }
        self.issue_from_queue(class, slot, clock);
    }

    #[inline(always)]
    fn issue_from_queue(&mut self, class: usize, slot: usize, clock: Cycle) {
        let queue = if self.draining { &mut self.writes } else { &mut self.reads };
        let entry = queue.remove(slot);
        self.set_freed();
        if class == ACCESS {
            self.access(entry, Some(slot), clock);
        } else {
            self.activate(entry, clock);
        }
    }

    #[inline(always)]
    fn precharge(&mut self, bank: usize, index: Option<u64>, clock: Cycle) {
        self.timing.issue(role::PRE, bank, clock);
        self.emit(role::PRE, bank, index, clock);
        self.set_row(bank, NO_ROW, clock);
        self.affected(role::PRE, bank);
    }

    // ---- two-command activation and the data clock ----

    /// What goes before the rules: an activation whose deadline has come, and the access after a synchronisation.
    fn split_first(&mut self, clock: Cycle) -> bool {
        if self.activating.iter().any(|(_, deadline)| *deadline <= clock) {
            self.activate_second(clock);
            return true;
        }
        let Some((active, slot)) = self.synchronised else { return false };
        let entry = if active {
            self.active[slot]
        } else if self.draining {
            self.writes.entries[slot & 63]
        } else {
            self.reads.entries[slot & 63]
        };
        let command = if entry.write { role::WR } else { role::RD };
        if self.timing.earliest(command, entry.bank as usize) <= clock {
            self.synchronised = None;
            if active {
                self.access_active(slot, clock);
            } else {
                self.issue_from_queue(ACCESS, slot, clock);
            }
        }
        true
    }

    /// The second half of the activation with the earliest deadline.
    fn activate_second(&mut self, clock: Cycle) {
        let urgent = (0..self.activating.len()).min_by_key(|i| (self.activating[*i].1, self.activating[*i].0.arrival));
        let Some(urgent) = urgent else { return };
        let (entry, _) = self.activating.remove(urgent);
        let bank = entry.bank as usize;
        self.timing.issue(role::ACT2, bank, clock);
        self.emit(role::ACT2, bank, Some(entry.address), clock);
        self.banks[bank].active = true;
        self.active.push(entry);
        self.set_row(bank, entry.row, clock);
        self.forget();
    }

    /// Starts the data clock before an access if it stands still. Whether something was issued instead of the access.
    fn synchronise(&mut self, write: bool, slot: usize, active: bool, clock: Cycle) -> bool {
        if clock < self.data_clock_until {
            return false;
        }
        if self.activating.iter().any(|(_, deadline)| *deadline <= clock + 1) {
            self.activate_second(clock);
            return true;
        }
        let command = if write { role::CAS_WR } else { role::CAS_RD };
        let entry = if active {
            self.active[slot]
        } else if self.draining {
            self.writes.entries[slot & 63]
        } else {
            self.reads.entries[slot & 63]
        };
        self.timing.issue(command, entry.bank as usize, clock);
        self.emit(command, entry.bank as usize, Some(entry.address), clock);
        self.synchronised = Some((active, slot));
        true
    }

    // ---- refresh ----

    fn refresh_due(&mut self) {
        let Some((interval, command)) = self.shape.refresh else { return };
        let waits = !self.is_empty();
        self.watch.refresh_due(self.next_refresh, self.stats.requests, waits, self.tasks.len());
        self.refresh_was_due = self.next_refresh;
        self.next_refresh += interval;
        self.refresh_turn += 1;
        if self.shape.config.postpone > 0 {
            self.owed += 1;
        } else {
            self.enqueue_refresh(command);
        }
    }

    fn enqueue_refresh(&mut self, command: Role) {
        let turn = self.refresh_turn.wrapping_sub(1);
        for rank in 0..self.ranks.len() {
            if self.ranks[rank].asleep == Asleep::SelfRefresh {
                continue;
            }
            let bank = self.shape.refresh_target(command, rank, turn);
            self.tasks.push_back(Task { command, bank });
        }
        self.hold_head(true);
    }

    /// Postponed refreshes go when no request waits, or when no more may be postponed.
    fn release_owed(&mut self) {
        if let Some(command) = self.released() {
            self.owed -= 1;
            self.enqueue_refresh(command);
        }
    }

    /// The command of the postponed refresh that goes now, if one does. Management against RowHammer that waits does not hold it up.
    #[inline(always)]
    fn released(&self) -> Option<Role> {
        if self.owed == 0 {
            return None;
        }
        let (_, command) = self.shape.refresh?;
        let queued = self.tasks.iter().any(|t| t.command == command);
        let goes = self.owed > self.shape.config.postpone || self.ranks.iter().all(|r| r.waiting == 0);
        (!queued && goes).then_some(command)
    }

    /// A refresh of some banks only keeps requests off these while it is at the head.
    fn hold_head(&mut self, held: bool) {
        let Some(task) = self.tasks.front().copied() else { return };
        if task.command == role::REF {
            return;
        }
        let (count, apart) = self.shape.refresh_banks(task.command);
        for bank in (0..count).map(|i| task.bank + i * apart) {
            self.hold(bank, held);
        }
        self.forget();
    }

    /// Keeps requests off a bank, for the refresh at the head or where it sleeps or may have no activation.
    pub(super) fn hold(&mut self, bank: usize, held: bool) {
        let asleep = self.ranks[self.banks[bank].rank as usize].asleep.is();
        let blocked = self.hammer.as_ref().is_some_and(|h| h.blocks(bank));
        self.banks[bank].held = held || asleep || blocked;
        self.classify(bank);
    }

    // ---- RowHammer ----

    /// A row of a bank is opened; its requests are sorted anew after this.
    #[inline(always)]
    pub(super) fn count_activation(&mut self, bank: usize, row: u32, clock: Cycle) {
        let Some(hammer) = &mut self.hammer else { return };
        let due = hammer.activated(bank, row, clock);
        let blocked = hammer.blocks(bank);
        if let Some((command, bank)) = due {
            self.tasks.push_back(Task { command, bank });
            self.hold_head(true);
        }
        self.banks[bank].held |= blocked;
    }

    /// The RFMs of alerts whose time is over go before every refresh that waits.
    fn release_alerts(&mut self, clock: Cycle) {
        while let Some((rank, rfms)) = self.hammer.as_mut().and_then(|h| h.take_due(clock)) {
            let first = rank * self.shape.rank_banks;
            self.hold_head(false);
            (0..rfms).for_each(|_| self.tasks.push_front(Task { command: role::RFM_ALL, bank: first }));
            (first..first + self.shape.rank_banks).for_each(|bank| self.hold(bank, false));
            self.hold_head(true);
        }
    }

    /// Tells of a refresh or an RFM; what it makes needless is dropped, and what is still needed waits.
    fn count_refresh(&mut self, command: Role, first: usize, clock: Cycle) {
        let Some(hammer) = &mut self.hammer else { return };
        let (count, apart) = self.shape.refresh_banks(command);
        let again = hammer.issued(command, first, (count, apart), clock);
        self.tasks.extend(again.map(|(command, bank)| Task { command, bank }));
        if !role::is_management(command) {
            self.tasks.retain(|t| !role::is_management(t.command) || hammer.still_needs(t.command, t.bank));
        }
        (0..count).for_each(|i| self.hold(first + i * apart, false));
    }

    /// Rule 2: the refresh at the head of its queue. Whether it issued something.
    #[inline(always)]
    fn issue_task(&mut self, clock: Cycle) -> bool {
        if self.tasks.is_empty() {
            return false;
        }
        self.issue_waiting_task(clock)
    }

    fn issue_waiting_task(&mut self, clock: Cycle) -> bool {
        let Some((command, bank, at)) = self.task_next(clock) else { return false };
        if at > clock {
            return false;
        }
        match command {
            role::PRE => self.precharge(bank, None, clock),
            role::PREAB => self.precharge_all(bank, clock),
            _ => {
                let (count, apart) = self.shape.spreads[command];
                for i in 0..count {
                    self.timing.issue(command, bank + i * apart, clock);
                }
                self.emit(command, bank, None, clock);
                self.hold_head(false);
                self.tasks.pop_front();
                if !P {
                    self.count_refresh(command, bank, clock);
                }
                self.hold_head(true);
                self.ranks[bank / self.shape.rank_banks].idle_since = clock;
                self.stale_mode = true;
            }
        }
        self.forget();
        true
    }

    fn precharge_all(&mut self, bank: usize, clock: Cycle) {
        self.timing.issue(role::PREAB, bank, clock);
        self.emit(role::PREAB, bank, None, clock);
        for b in bank..bank + self.shape.rank_banks {
            self.set_row(b, NO_ROW, clock);
        }
        self.forget();
    }

    // ---- rows that lie idle, ranks that sleep ----

    /// Rules 4 and 5.
    fn idle_rules(&mut self, clock: Cycle) {
        let (at, bank) = self.idle_close_at(clock);
        if at <= clock {
            self.banks[bank].timed_out = self.banks[bank].row;
            self.precharge(bank, None, clock);
            return;
        }
        let (at, rank, command) = self.sleep_at(clock);
        if at <= clock {
            let bank = rank * self.shape.rank_banks;
            if command == role::PREAB {
                self.precharge_all(bank, clock);
            } else {
                self.timing.issue(command, bank, clock);
                self.emit(command, bank, None, clock);
                let asleep = if command == role::SLEEP { Asleep::Down } else { Asleep::SelfRefresh };
                self.set_asleep(rank, asleep, clock);
            }
        }
    }

    /// The first row to be closed for idleness: when, and of which bank.
    fn idle_close_at(&self, floor: Cycle) -> (Cycle, usize) {
        let mut best = (NEVER, 0);
        if !matches!(self.shape.config.page, PagePolicy::Timeout | PagePolicy::Adaptive) {
            return best;
        }
        let adaptive = self.shape.config.page == PagePolicy::Adaptive;
        for (bank, b) in self.banks.iter().enumerate() {
            if b.row >= OPENING || b.active || b.held || self.reads.wants(bank, b.row) || self.writes.wants(bank, b.row)
            {
                continue;
            }
            let due = b.touched + if adaptive { b.timeout } else { self.shape.page_timeout };
            let at = self.edge(role::PRE, self.timing.earliest(role::PRE, bank).max(due).max(floor), bank);
            if at < best.0 {
                best = (at, bank);
            }
        }
        best
    }

    /// The first rank to be put to sleep, or closed for that: when, which, and by which command. Self-refresh takes the place of
    /// power-down from its own time on.
    fn sleep_at(&self, floor: Cycle) -> (Cycle, usize, Role) {
        let mut best = (NEVER, 0, role::SLEEP);
        let sleep = self.shape.config.sleep;
        if !sleep.is_some() || self.owed > 0 {
            return best;
        }
        for (rank, r) in self.ranks.iter().enumerate() {
            let first = rank * self.shape.rank_banks;
            let banks = &self.banks[first..first + self.shape.rank_banks];
            let task = self.tasks.iter().any(|t| t.bank / self.shape.rank_banks == rank);
            if r.asleep.is() || r.waiting > 0 || task || banks.iter().any(|b| b.row == OPENING) {
                continue;
            }
            let at = |command: Role, due: Cycle| {
                self.edge(command, self.timing.earliest(command, first).max(due).max(floor), first)
            };
            let rested = r.rested_since + self.shape.self_refresh_after;
            let down = sleep.power_down.map(|_| at(role::SLEEP, r.idle_since + self.shape.power_down_after));
            let (at, command) = match down {
                Some(at) if sleep.self_refresh.is_none() || at < rested => (at, role::SLEEP),
                _ => {
                    let close = banks.iter().any(|b| b.row != NO_ROW);
                    let command = if close { role::PREAB } else { role::SELF_REFRESH };
                    (at(command, rested), command)
                }
            };
            if at < best.0 {
                best = (at, rank, command);
            }
        }
        best
    }

    /// The first rank that sleeps and is wanted, and when it can wake; where none is, the first in power-down that goes on to
    /// self-refresh.
    fn wake_rank(&self, floor: Cycle) -> Option<(Cycle, usize)> {
        let sleep = self.shape.config.sleep;
        if !sleep.is_some() {
            return None;
        }
        let at = |rank: usize, due: Cycle| {
            let (bank, command) = (rank * self.shape.rank_banks, self.ranks[rank].asleep.waker());
            self.edge(command, self.timing.earliest(command, bank).max(due).max(floor), bank)
        };
        let wanted = |(rank, r): &(usize, &super::fast::Rank)| {
            let task = || self.tasks.iter().any(|t| t.bank / self.shape.rank_banks == *rank);
            r.asleep.is() && (r.waiting > 0 || task())
        };
        if let Some((rank, _)) = self.ranks.iter().enumerate().find(wanted) {
            return Some((at(rank, 0), rank));
        }
        if sleep.power_down.is_none() || sleep.self_refresh.is_none() || self.owed > 0 {
            return None;
        }
        let down = self.ranks.iter().enumerate().filter(|(_, r)| r.asleep == Asleep::Down);
        down.map(|(rank, r)| (at(rank, r.rested_since + self.shape.self_refresh_after), rank)).min()
    }

    fn wake_at(&self, floor: Cycle) -> Cycle {
        self.wake_rank(floor).map_or(NEVER, |(at, _)| at)
    }

    fn wake(&mut self, clock: Cycle) -> bool {
        match self.wake_rank(clock) {
            Some((at, rank)) if at <= clock => {
                let (bank, command) = (rank * self.shape.rank_banks, self.ranks[rank].asleep.waker());
                self.timing.issue(command, bank, clock);
                self.emit(command, bank, None, clock);
                self.set_asleep(rank, Asleep::No, clock);
                // The standards ask for a refresh after self-refresh, in which the device kept its own time.
                if command == role::SELF_REFRESH_EXIT && self.shape.refresh.is_some_and(|(_, r)| r == role::REF) {
                    self.tasks.push_back(Task { command: role::REF, bank });
                }
                self.hold_head(true);
                true
            }
            _ => false,
        }
    }
}
