//! Which candidate is next, and when: each class's best, kept until something touches it.

use super::super::{Cycle, NO_ROW, OPENING};
use super::best::{Best, NOTHING};
use super::config::Scheduler;
use super::fast::{Fast, HALF, SPLIT};
use super::queue::{ACCESS, CLOSE, Entry, OPEN};
use super::record::Recorder;
use super::role::{self, Role};
use super::timing::NEVER;

impl<const K: u8, const P: bool, R: Recorder> Fast<K, P, R> {
    /// Every kept decision is void.
    #[inline(always)]
    pub(super) fn forget(&mut self) {
        self.known = [false; 3];
        self.known_active = false;
    }

    /// The command of a class, in the present mode.
    #[inline(always)]
    fn command_of(&self, class: usize) -> Role {
        match class {
            ACCESS if self.draining => role::WR,
            ACCESS => role::RD,
            OPEN => role::ACT,
            _ => role::PRE,
        }
    }

    /// The first tick at or after `at` whose clock edge is for the command.
    #[inline(always)]
    pub(super) fn edge(&self, command: Role, at: Cycle, bank: usize) -> Cycle {
        if K != HALF {
            return at;
        }
        if !self.shape.falling[command] {
            return at | 1;
        }
        if at != self.paired_edge {
            return at;
        }
        let same_rank = self.banks[bank].rank == self.banks[self.paired_bank].rank;
        let paired = same_rank && (self.paired_all || command == role::PREAB || bank == self.paired_bank);
        at + Cycle::from(paired)
    }

    /// The first tick at which a command may issue at a bank, not before `floor`.
    #[inline(always)]
    fn earliest(&self, command: Role, bank: usize, floor: Cycle) -> Cycle {
        let mut at = self.timing.earliest(command, bank).max(floor);
        if !P && self.shape.config.page == super::config::PagePolicy::Closed {
            at = match command {
                role::RD => at.max(self.timing.earliest(role::RDA, bank)),
                role::WR => at.max(self.timing.earliest(role::WRA, bank)),
                _ => at,
            };
        }
        self.edge(command, at, bank)
    }

    #[inline(always)]
    fn class_slots(&self, class: usize) -> u64 {
        if K == SPLIT && class == OPEN && !self.activating.is_empty() {
            return 0;
        }
        let queue = if self.draining { &self.writes } else { &self.reads };
        let slots = queue.class[class];
        if !P && self.shape.config.scheduler == Scheduler::Fcfs {
            return slots & queue.oldest().map_or(0, |slot| 1 << slot);
        }
        slots
    }

    #[inline(always)]
    fn scan(&mut self, class: usize, floor: Cycle) {
        let command = self.command_of(class);
        let mut slots = self.class_slots(class);
        let queue = if self.draining { &self.writes } else { &self.reads };
        let (mut least, mut best) = (NOTHING.rank(), 0);
        while slots != 0 {
            let slot = slots.trailing_zeros() as usize;
            slots &= slots - 1;
            let at = self.earliest(command, queue.bank[slot] as usize, floor);
            let rank = u128::from(at) << 64 | u128::from(queue.arrival[slot]);
            // Without a branch: which of two candidates is better is anyone's guess.
            best = if rank < least { slot } else { best };
            least = least.min(rank);
        }
        self.best[class] = if least == NOTHING.rank() {
            NOTHING
        } else {
            Best { at: (least >> 64) as Cycle, age: least as Cycle, slot: best, bank: queue.bank[best] as usize }
        };
        self.known[class] = true;
    }

    /// The best of a class that may issue at `floor` or later.
    #[inline(always)]
    pub(super) fn class_best(&mut self, class: usize, floor: Cycle) -> Best {
        if !self.known[class] || self.best[class].at < floor {
            self.scan(class, floor);
        }
        self.best[class]
    }

    /// The best activation or precharge.
    #[inline(always)]
    pub(super) fn row_best(&mut self, floor: Cycle) -> (usize, Best) {
        let open = self.class_best(OPEN, floor);
        let close = self.class_best(CLOSE, floor);
        if close.precedes(&open) { (CLOSE, close) } else { (OPEN, open) }
    }

    /// The best of all classes, at `floor`.
    #[inline(always)]
    pub(super) fn any_best(&mut self, floor: Cycle) -> (usize, Best) {
        let access = self.class_best(ACCESS, floor);
        if !P && self.shape.config.scheduler == Scheduler::RowHitsFirst && access.at <= floor {
            return (ACCESS, access);
        }
        let (class, row) = self.row_best(floor);
        if row.precedes(&access) { (class, row) } else { (ACCESS, access) }
    }

    /// The best of the activated requests.
    #[inline(always)]
    pub(super) fn active_best(&mut self, floor: Cycle) -> Cycle {
        if !self.known_active || self.best_active.at < floor {
            let (mut least, mut best) = (NOTHING.rank(), 0);
            for (slot, entry) in self.active.iter().enumerate() {
                let command = if entry.write { role::WR } else { role::RD };
                let at = self.earliest(command, entry.bank as usize, floor);
                let rank = u128::from(at) << 64 | u128::from(entry.arrival);
                best = if rank < least { slot } else { best };
                least = least.min(rank);
            }
            let bank = self.active.get(best).map_or(NOTHING.bank, |e| e.bank as usize);
            self.best_active = Best { at: (least >> 64) as Cycle, age: least as Cycle, slot: best, bank };
            self.known_active = true;
        }
        self.best_active.at
    }

    /// A request has joined the active list, as its last.
    #[inline(always)]
    pub(super) fn consider_active(&mut self, entry: &Entry) {
        let (slot, bank) = (self.active.len() - 1, entry.bank as usize);
        let command = if entry.write { role::WR } else { role::RD };
        let found = Best { at: self.earliest(command, bank, self.floors.0), age: entry.arrival, slot, bank };
        if found.precedes(&self.best_active) {
            self.best_active = found;
        }
    }

    /// A bank's candidate of a class may have become better: compares it with the best, or scans again later if it was it.
    #[inline(always)]
    fn touch(&mut self, class: usize, bank: usize, floor: Cycle) {
        if !self.known[class] {
            return;
        }
        if self.best[class].bank == bank {
            self.known[class] = false;
            return;
        }
        if K == SPLIT && class == OPEN && !self.activating.is_empty() {
            return;
        }
        let queue = if self.draining { &self.writes } else { &self.reads };
        if let Some(slot) = queue.candidate(class, bank) {
            let age = queue.arrival[slot];
            let found = Best { at: self.earliest(self.command_of(class), bank, floor), age, slot, bank };
            if found.precedes(&self.best[class]) {
                self.best[class] = found;
            }
        }
    }

    /// A request has come that wants a row of a bank.
    #[inline(always)]
    pub(super) fn consider_new(&mut self, bank: usize, row: u32, floor: Cycle) {
        let open = self.banks[bank].row;
        let class = if open == NO_ROW {
            OPEN
        } else if open == row {
            ACCESS
        } else {
            CLOSE
        };
        // It is behind the older ones of its bank, so it cannot displace the best if that is its bank's.
        if open != OPENING && self.best[class].bank != bank {
            self.touch(class, bank, floor);
        }
    }

    /// Whether decisions are kept from tick to tick: with policies whose candidates depend on their own bank alone, and on its
    /// timing rows.
    #[inline(always)]
    pub(super) fn keeps(&self) -> bool {
        P || self.keeps
    }

    /// A bank's candidates of any class may have changed.
    #[inline(always)]
    pub(super) fn mend(&mut self, bank: usize, floor: Cycle) {
        self.touch(ACCESS, bank, floor);
        self.touch(OPEN, bank, floor);
        self.touch(CLOSE, bank, floor);
    }

    /// After a command at a bank: voids or mends the decisions that it may have changed.
    #[inline(always)]
    pub(super) fn affected(&mut self, command: Role, bank: usize) {
        if !self.keeps() {
            self.forget();
            return;
        }
        let (column_floor, row_floor) = self.floors;
        let reach = &self.reach[command];
        let (access, opening, closing) = (reach[self.command_of(ACCESS)], reach[role::ACT], reach[role::PRE]);
        let accesses = reach[role::RD] | reach[role::WR];
        if access == 2 {
            self.known[ACCESS] = false;
        } else {
            self.touch(ACCESS, bank, column_floor);
        }
        if opening == 2 {
            self.known[OPEN] = false;
        } else {
            self.touch(OPEN, bank, row_floor);
        }
        if closing == 2 {
            self.known[CLOSE] = false;
        } else {
            self.touch(CLOSE, bank, row_floor);
        }
        if role::is_access(command) || accesses > 1 || command == role::ACT2 || (K == SPLIT && command == role::ACT) {
            self.known_active = false;
        }
        if K == SPLIT && (command == role::ACT || command == role::ACT2) {
            self.known[OPEN] = false;
        }
    }

    /// The refresh at the head of the queue: its next command, at which bank, and when (`NEVER` while something else must
    /// come first).
    pub(super) fn task_next(&self, floor: Cycle) -> Option<(Role, usize, Cycle)> {
        let task = self.tasks.front()?;
        let (count, apart) = self.shape.refresh_banks(task.command);
        let mut open = None;
        for bank in (0..count).map(|i| task.bank + i * apart) {
            let b = &self.banks[bank];
            if b.row == OPENING || (b.row != NO_ROW && b.active) {
                return Some((task.command, task.bank, NEVER));
            }
            if b.row != NO_ROW && open.is_none() {
                open = Some(bank);
            }
        }
        let rank = task.bank / self.shape.rank_banks;
        if self.ranks[rank].asleep.is() {
            return Some((task.command, task.bank, NEVER));
        }
        let (command, bank) = match open {
            None => (task.command, task.bank),
            Some(_) if matches!(task.command, role::REF | role::RFM_ALL) => (role::PREAB, task.bank),
            Some(bank) => (role::PRE, bank),
        };
        let mut at = floor;
        let (count, apart) = self.shape.spreads[command];
        for i in 0..count {
            at = at.max(self.timing.earliest(command, bank + i * apart));
        }
        Some((command, bank, self.edge(command, at, bank)))
    }
}
