//! The controller that skips: it visits only the ticks at which something can change, and at these it looks only at the best
//! candidate of each class. [`super::stepped`] states the same rules without any of this; the two agree bit for bit.

use std::collections::VecDeque;

use super::super::{Cycle, NO_ROW, OPENING};
use super::best::{Best, NOTHING};
use super::config::{PagePolicy, RowHammerPolicy, Scheduler};
use super::course::Rest;
use super::pins::Pins;
use super::progress::{Stall, Watch};
use super::queue::{BankView, Entry, Queue};
use super::record::{Completion, Issued, Recorder, Request, Statistics};
use super::role::{self, Asleep, ROLES, Role};
use super::row_hammer::RowHammer;
use super::shape::Shape;
use super::timing::{NEVER, Timing};

/// One command bus.
pub(super) const SINGLE: u8 = 0;
/// A row and a column bus.
pub(super) const DUAL: u8 = 1;
/// Two buses, two ticks a clock.
pub(super) const HALF: u8 = 2;
/// Activation in two commands, a data clock to start.
pub(super) const SPLIT: u8 = 3;

/// A refresh that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub command: Role,
    pub bank: usize,
}

/// A bank.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bank {
    pub row: u32,
    pub rank: u16,
    /// Its node of the standby level.
    standby: u16,
    /// An activated request waits for its access.
    pub active: bool,
    /// Nothing of it may be scheduled.
    pub held: bool,
    /// Accesses since its row was opened.
    pub accesses: u32,
    /// The tick of its last access or activation.
    pub touched: Cycle,
    /// Idle ticks before its row is closed.
    pub timeout: Cycle,
    /// The row that was last closed for idleness.
    pub timed_out: u32,
}

/// A rank: what refreshes and sleeps as one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rank {
    /// Requests queued or activated.
    pub waiting: u32,
    pub asleep: Asleep,
    /// Since its last request or refresh.
    pub idle_since: Cycle,
    /// Since its last request.
    pub rested_since: Cycle,
}

/// Open rows of a standby node, for the background energy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standby {
    pub open: u32,
    pub since: Cycle,
}

/// One channel's controller. `K` is how its device takes commands; `P` says that its policies are those of the reference, whatever
/// their numbers: decisions are kept then.
#[derive(Debug)]
pub(super) struct Fast<const K: u8, const P: bool, R> {
    pub shape: Shape,
    pub timing: Timing,
    pub banks: Vec<Bank>,
    pub ranks: Vec<Rank>,
    pub standby: Vec<Standby>,
    pub reads: Queue,
    pub writes: Queue,
    pub active: Vec<Entry>,
    pub activating: Vec<(Entry, Cycle)>,
    pub tasks: VecDeque<Task>,
    /// What is done against RowHammer.
    pub hammer: Option<Box<RowHammer>>,
    /// Drain mode: writes are served.
    pub draining: bool,
    /// Writes in the queue whose address an older read waits for: none is served until it has been.
    pub held: u32,
    /// Requests to one address keep their order.
    ordered: bool,
    /// Decisions are kept from tick to tick; always where the policies are the reference's.
    pub keeps: bool,
    /// Rows are closed for idleness, or ranks sleep.
    pub rests: bool,
    /// Queue sizes changed since the mode was last evaluated.
    pub stale_mode: bool,
    pub next_refresh: Cycle,
    pub refresh_turn: u64,
    pub owed: u32,
    // decisions, kept while they hold
    pub best: [Best; 3],
    pub known: [bool; 3],
    pub best_active: Best,
    pub known_active: bool,
    pub reach: [[u8; ROLES]; ROLES],
    /// Whether a lone read's commands can be timed together.
    pub swift: bool,
    /// The first ticks of the column and of the row slot that a new candidate may use.
    pub floors: (Cycle, Cycle),
    // half clocks
    pub paired_edge: Cycle,
    pub paired_all: bool,
    pub paired_bank: usize,
    // LPDDR5
    pub synchronised: Option<(bool, usize)>,
    pub data_clock_until: Cycle,
    // completions
    pub last_done: Cycle,
    pub finished: VecDeque<Completion>,
    pub outstanding: usize,
    limit: usize,
    pub freed: bool,
    // driver
    pub cycle: Cycle,
    pub blocked: bool,
    end: Option<Cycle>,
    /// Issues of each role's command.
    pub issued: [u64; ROLES],
    /// What the data pins wait for.
    pub pins: Pins,
    /// When the last refresh fell due.
    pub refresh_was_due: Cycle,
    /// Requests have times of arrival.
    pub timed: bool,
    /// The search for a course that an idle channel repeats, while it is idle.
    pub rest: Option<Box<Rest>>,
    /// Who watches that requests get on.
    pub watch: Watch,
    pub stats: Statistics,
    pub recorder: R,
}

impl<const K: u8, const P: bool, R: Recorder> Fast<K, P, R> {
    pub(super) fn new(shape: Shape, limit: Option<usize>, recorder: R) -> Self {
        let timing = Timing::new(&shape.device, &shape.ids, &shape.config);
        let mut reach = [[0; ROLES]; ROLES];
        for (from, row) in reach.iter_mut().enumerate() {
            for (to, reach) in row.iter_mut().enumerate() {
                *reach = timing.reach(from, to);
            }
        }
        let bank = |bank: usize| Bank {
            row: NO_ROW,
            rank: (bank / shape.rank_banks) as u16,
            standby: (bank / shape.standby_banks) as u16,
            active: false,
            held: false,
            accesses: 0,
            touched: 0,
            timeout: shape.page_timeout,
            timed_out: NO_ROW,
        };
        let commands = shape.device.commands.len();
        Self {
            banks: (0..shape.banks).map(bank).collect(),
            ranks: vec![Rank::default(); shape.banks / shape.rank_banks],
            standby: vec![Standby::default(); shape.banks / shape.standby_banks],
            reads: Queue::new(shape.banks, shape.config.read_queue),
            writes: Queue::new(shape.banks, shape.config.write_queue),
            active: Vec::with_capacity(64),
            activating: Vec::new(),
            tasks: VecDeque::new(),
            hammer: RowHammer::new(&shape),
            draining: false,
            held: 0,
            ordered: !shape.config.reference_model,
            keeps: shape.config.page == PagePolicy::Open
                && shape.config.scheduler != Scheduler::Fcfs
                && shape.config.row_hammer == RowHammerPolicy::Off,
            rests: shape.config.sleep.is_some()
                || matches!(shape.config.page, PagePolicy::Timeout | PagePolicy::Adaptive),
            stale_mode: true,
            next_refresh: shape.refresh.map_or(NEVER, |(interval, _)| interval),
            refresh_turn: 0,
            owed: 0,
            best: [NOTHING; 3],
            known: [false; 3],
            best_active: NOTHING,
            known_active: false,
            reach,
            swift: timing.simple && !shape.falling[role::ACT] && !shape.falling[role::RD],
            floors: (0, 0),
            paired_edge: 0,
            paired_all: false,
            paired_bank: 0,
            synchronised: None,
            data_clock_until: 0,
            last_done: 0,
            finished: VecDeque::new(),
            outstanding: 0,
            limit: limit.unwrap_or(usize::MAX),
            freed: false,
            cycle: 0,
            blocked: false,
            end: None,
            issued: [0; ROLES],
            pins: Pins::new(&shape.device, shape.rank_banks, shape.pin_banks, limit != Some(1)),
            refresh_was_due: 0,
            timed: false,
            rest: None,
            watch: Watch::new(&shape),
            stats: Statistics { commands: vec![0; commands], ..Statistics::default() },
            recorder,
            timing,
            shape,
        }
    }

    /// Runs on until the next request is not among `requests` and would be needed, or, with `last`, to the end.
    pub(super) fn advance(&mut self, requests: &[Request], last: bool) {
        self.run(requests, last);
        self.stats.idle_ticks = self.pins.idle;
        if let Some(hammer) = &self.hammer {
            (self.stats.alerts, self.stats.most_activations) = hammer.counts();
        }
        self.stats.commands.fill(0);
        for (id, issued) in self.shape.ids.iter().zip(self.issued) {
            if let Some(id) = id {
                self.stats.commands[id.0 as usize] += issued;
            }
        }
    }

    fn run(&mut self, requests: &[Request], last: bool) {
        if self.watch.stalled.is_some() {
            return;
        }
        let express = self.limit == 1 && P && K != SPLIT;
        let mut next = 0;
        loop {
            if next == requests.len() && !last {
                return;
            }
            if self.freed {
                self.freed = false;
                self.blocked = false;
            }
            self.drain_finished(self.cycle);
            if express && self.is_idle() {
                next = self.express(requests, next);
            }
            if self.cycle + 1 == self.next_refresh
                && let Some(request) = requests.get(next)
                && request.arrival > self.cycle
            {
                self.rest(request);
            }
            let cycle = self.cycle;
            let mut offer_at = NEVER;
            if let Some(request) = requests.get(next) {
                if request.arrival > cycle {
                    offer_at = request.arrival;
                } else if self.outstanding >= self.limit {
                    offer_at = self.finished.front().map_or(NEVER, |f| f.done + 1);
                } else if !self.blocked {
                    if self.offer(request, cycle) {
                        next += 1;
                        offer_at = cycle + 1;
                        if next == requests.len() && !last {
                            // The tick runs first; the request after this one is offered in the next.
                            self.tick(cycle + 1);
                            self.cycle = cycle + 1;
                            return;
                        }
                    } else {
                        self.blocked = true;
                    }
                }
            }
            let next_visit = self.tick(cycle + 1);
            if let Some(request) = requests.get(next)
                && request.arrival <= cycle + 1
                && offer_at > cycle + 1
            {
                if self.outstanding >= self.limit {
                    offer_at = offer_at.min(self.finished.front().map_or(NEVER, |f| f.done + 1));
                } else if self.freed || !self.blocked {
                    offer_at = cycle + 1;
                }
            }
            if next == requests.len() && self.end.is_none() && self.is_empty() {
                self.end = Some(self.last_done.max(self.stats.ticks.saturating_sub(1)).max(cycle));
            }
            let to = (next_visit - 1).min(self.next_refresh - 1).min(offer_at).max(cycle + 1);
            if self.end.is_some_and(|end| to > end) {
                self.finish();
                return;
            }
            if self.watch.stalled.is_some() || to >= NEVER - 1 {
                self.watch.stalled.get_or_insert(Stall::Nothing);
                return;
            }
            self.cycle = to;
        }
    }

    /// Nothing is queued, on its way or due.
    #[inline(always)]
    fn is_idle(&self) -> bool {
        self.outstanding == 0 && self.tasks.is_empty() && self.is_empty() && self.cycle + 1 < self.next_refresh
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reads.len == 0 && self.writes.len == 0 && self.active.is_empty() && self.activating.is_empty()
    }

    /// Closes the accounts at the last completion.
    fn finish(&mut self) {
        self.drain_finished(NEVER);
        let end = self.stats.ticks;
        for node in 0..self.standby.len() {
            let asleep = self.ranks[node * self.shape.standby_banks / self.shape.rank_banks].asleep;
            self.settle(node, end, asleep);
        }
    }

    /// Adds a standby node's time since the last change to its account.
    pub(super) fn settle(&mut self, node: usize, now: Cycle, asleep: Asleep) {
        let standby = &mut self.standby[node];
        let time = now.saturating_sub(standby.since);
        standby.since = standby.since.max(now);
        let account = match (asleep, standby.open > 0) {
            (Asleep::No, true) => &mut self.stats.active_ticks,
            (Asleep::No, false) => return,
            (Asleep::SelfRefresh, _) => &mut self.stats.self_refresh_ticks,
            (Asleep::Down, true) => &mut self.stats.active_sleep_ticks,
            (Asleep::Down, false) => &mut self.stats.precharged_sleep_ticks,
        };
        *account += time;
    }

    /// A rank falls asleep or wakes.
    pub(super) fn set_asleep(&mut self, rank: usize, asleep: Asleep, now: Cycle) {
        let before = self.ranks[rank].asleep;
        let banks = rank * self.shape.rank_banks..(rank + 1) * self.shape.rank_banks;
        for node in banks.start / self.shape.standby_banks..banks.end.div_ceil(self.shape.standby_banks) {
            self.settle(node, now, before);
        }
        self.ranks[rank].asleep = asleep;
        self.ranks[rank].idle_since = now;
        for bank in banks {
            self.hold(bank, false);
        }
        self.forget();
    }

    /// Sets a bank's row, and sorts its requests anew.
    #[inline(always)]
    pub(super) fn set_row(&mut self, bank: usize, row: u32, now: Cycle) {
        self.set_row_unqueued(bank, row, now);
        self.classify(bank);
    }

    /// Sets the row of a bank for which nothing is queued.
    #[inline(always)]
    pub(super) fn set_row_unqueued(&mut self, bank: usize, row: u32, now: Cycle) {
        let bank = &mut self.banks[bank];
        let was = bank.row;
        bank.row = row;
        if (was == NO_ROW) != (row == NO_ROW) {
            let standby = &mut self.standby[bank.standby as usize];
            if row == NO_ROW {
                standby.open -= 1;
                if standby.open == 0 {
                    self.stats.active_ticks += now - standby.since;
                    standby.since = now;
                }
            } else {
                if standby.open == 0 {
                    standby.since = now;
                }
                standby.open += 1;
            }
        }
    }

    /// Closes one row of a bank and opens another, with nothing between the two.
    #[inline(always)]
    pub(super) fn reopen(&mut self, bank: usize, row: u32, closed: Cycle, opened: Cycle) {
        let bank = &mut self.banks[bank];
        bank.row = row;
        let standby = &mut self.standby[bank.standby as usize];
        if standby.open == 1 {
            self.stats.active_ticks += closed - standby.since;
            standby.since = opened;
        }
    }

    #[inline(always)]
    pub(super) fn view(&self, bank: usize) -> BankView {
        let b = &self.banks[bank];
        if P {
            return BankView { row: b.row, active: b.active, held: false, capped: false, protect: false };
        }
        BankView {
            row: b.row,
            active: b.active,
            held: b.held,
            capped: self.shape.row_hit_cap.is_some_and(|cap| b.accesses >= cap),
            protect: self.shape.config.scheduler == Scheduler::RowHitsFirst,
        }
    }

    #[inline(always)]
    pub(super) fn classify(&mut self, bank: usize) {
        let view = self.view(bank);
        self.reads.classify(bank, view);
        self.writes.classify(bank, view);
    }

    /// Passes finished reads on; those done before `cycle` no longer count as outstanding.
    #[inline(always)]
    pub(super) fn drain_finished(&mut self, cycle: Cycle) {
        while self.finished.front().is_some_and(|f| f.done < cycle) {
            if let Some(done) = self.finished.pop_front() {
                self.outstanding -= 1;
                if R::COMPLETIONS {
                    self.recorder.completion(done);
                }
            }
        }
    }

    /// Takes note of a read whose data is known to come by `done` at the earliest: reads finish in the order of their
    /// accesses.
    #[inline(always)]
    pub(super) fn finish_read(&mut self, entry: &Entry, done: Cycle) {
        let done = self.account_read(entry, done);
        if R::COMPLETIONS || self.limit != usize::MAX {
            let (sequence, index, sent) = (entry.sequence, entry.address, entry.arrival);
            self.finished.push_back(Completion { sequence, write: false, index, sent, done });
        }
    }

    /// Counts a read; when it is done.
    #[inline(always)]
    pub(super) fn account_read(&mut self, entry: &Entry, done: Cycle) -> Cycle {
        let done = done.max(self.last_done);
        self.last_done = done;
        let latency = done - entry.arrival;
        self.stats.requests += 1;
        self.stats.reads += 1;
        self.stats.read_latency += latency;
        self.stats.read_latency_max = self.stats.read_latency_max.max(latency);
        self.stats.read_latency_from_arrival += done - entry.asked;
        self.stats.read_latencies.record(if self.timed { done - entry.asked } else { latency });
        self.stats.ticks = self.stats.ticks.max(done + 1);
        done
    }

    #[inline(always)]
    pub(super) fn finish_write(&mut self, entry: &Entry, done: Cycle) {
        self.stats.requests += 1;
        self.stats.ticks = self.stats.ticks.max(done + 1);
        if R::COMPLETIONS {
            let (sequence, index, sent) = (entry.sequence, entry.address, entry.arrival);
            self.recorder.completion(Completion { sequence, write: true, index, sent, done });
        }
    }

    /// Offers a request in a cycle. Whether it was accepted.
    #[inline(always)]
    fn offer(&mut self, request: &Request, cycle: Cycle) -> bool {
        let address = request.index;
        let mut entry = Entry {
            address,
            arrival: cycle,
            asked: request.arrival,
            sequence: request.sequence,
            row: 0,
            bank: 0,
            write: request.write,
            started: false,
        };
        let queued = self.writes.len > 0 && self.writes.has(address);
        // A write that has left the queue to wait for its activation still holds its data.
        if queued || (!P && self.ordered && self.has_activated(address, true)) {
            if request.write {
                self.stats.absorbed += 1;
                self.finish_write(&entry, cycle);
            } else {
                self.stats.forwarded += 1;
                self.outstanding += 1;
                self.finish_read(&entry, cycle);
            }
            return true;
        }
        let queue = if request.write { &mut self.writes } else { &mut self.reads };
        if queue.len >= queue.capacity {
            return false;
        }
        let (bank, row) = self.shape.map.bank_and_row(address);
        entry.bank = bank as u16;
        entry.row = row;
        let bank = bank as usize;
        let view = self.view(bank);
        let queue = if request.write { &mut self.writes } else { &mut self.reads };
        queue.push(entry, view);
        self.outstanding += 1;
        self.stale_mode = true;
        if !P {
            let passes = self.ordered && request.write && self.read_waits(address);
            self.held += u32::from(passes);
            let rank = &mut self.ranks[self.banks[bank].rank as usize];
            rank.waiting += 1;
            (rank.idle_since, rank.rested_since) = (cycle, cycle);
            if !self.keeps {
                self.forget();
            } else if request.write == self.draining {
                self.mend(bank, cycle + 1);
            }
        } else if request.write == self.draining {
            self.consider_new(bank, row, cycle + 1);
        }
        true
    }

    /// Whether an activated request, of this kind, waits for its access to an address.
    #[inline(always)]
    fn has_activated(&self, address: u64, write: bool) -> bool {
        let same = |e: &Entry| e.address == address && e.write == write;
        self.active.iter().any(same) || (K == SPLIT && self.activating.iter().any(|(e, _)| same(e)))
    }

    /// Whether a read of an address waits for its access.
    #[inline(always)]
    fn read_waits(&self, address: u64) -> bool {
        self.reads.has(address) || self.has_activated(address, false)
    }

    /// Logs a command and counts it.
    #[inline(always)]
    pub(super) fn emit(&mut self, command: Role, bank: usize, index: Option<u64>, clock: Cycle) {
        self.issued[command & (ROLES - 1)] += 1;
        self.pins.command(command, bank, clock, self.refresh_was_due);
        if R::COMMANDS
            && let Some(id) = self.shape.ids[command]
        {
            self.recorder.command(Issued { clock, command: id, bank: bank as u32, index });
        }
        if K == HALF && !role::is_access(command) {
            self.pair(command, bank, clock);
        }
    }

    /// Remembers which falling edge a row command on a rising edge is paired with.
    #[inline(always)]
    fn pair(&mut self, command: Role, bank: usize, clock: Cycle) {
        if clock & 1 == 1 {
            self.paired_edge = clock + self.shape.bus_ticks[command];
            self.paired_all = role::is_of_rank(command);
            self.paired_bank = bank;
            if self.best[super::queue::CLOSE].at == self.paired_edge {
                self.known[super::queue::CLOSE] = false;
            }
        }
    }

    /// Takes note of a request's first command.
    #[inline(always)]
    pub(super) fn start(&mut self, entry: &mut Entry, command: Role, clock: Cycle) {
        if !entry.started {
            entry.started = true;
            if !entry.write {
                self.stats.read_waiting += clock - 1 - entry.arrival;
            }
            self.stats.begin(command);
        }
    }

    /// Issues a request's access; the request has left its list already: its slot of the queue, or the active list (`None`).
    #[inline(always)]
    pub(super) fn access(&mut self, mut entry: Entry, slot: Option<usize>, clock: Cycle) {
        let bank = entry.bank as usize;
        let mut command = if entry.write { role::WR } else { role::RD };
        self.start(&mut entry, command, clock);
        if !P {
            let b = &mut self.banks[bank];
            b.accesses += 1;
            b.touched = clock;
            let row = b.row;
            let keep = b.active || self.reads.wants(bank, row) || self.writes.wants(bank, row);
            if self.shape.config.page == PagePolicy::Closed && !keep {
                command = if entry.write { role::WRA } else { role::RDA };
            }
            let rank = &mut self.ranks[self.banks[bank].rank as usize];
            rank.waiting -= 1;
            (rank.idle_since, rank.rested_since) = (clock, clock);
        }
        self.timing.issue(command, bank, clock);
        self.emit(command, bank, Some(entry.address), clock);
        if K == SPLIT {
            let keeps = if entry.write { self.shape.write_keeps } else { self.shape.read_keeps };
            self.data_clock_until = self.data_clock_until.max(clock + keeps);
        }
        self.pins.access(bank, entry.write, clock, entry.asked, entry.arrival);
        self.stats.queued_ticks += clock - 1 - entry.arrival;
        if !P && self.held > 0 && !entry.write && self.writes.has(entry.address) && !self.read_waits(entry.address) {
            self.held -= 1;
            self.stale_mode = true;
        }
        if entry.write {
            self.outstanding -= 1;
            self.drain_finished(clock);
            self.finish_write(&entry, clock - 1);
        } else {
            self.stats.read_queueing += clock - 1 - entry.arrival;
            self.finish_read(&entry, clock + self.shape.read_latency - 1);
        }
        if !P && command >= role::RDA {
            self.set_row(bank, NO_ROW, clock);
        } else if !P {
            self.classify(bank);
        } else if let Some(slot) = slot {
            let queue = if entry.write { &mut self.writes } else { &mut self.reads };
            queue.next_hit(slot, bank, entry.row);
        } else {
            self.reads.release(bank);
            self.writes.release(bank);
        }
        self.affected(command, bank);
    }

    /// Opens the row of a request that has left its queue (or gives the first half of its activation).
    #[inline(always)]
    pub(super) fn activate(&mut self, mut entry: Entry, clock: Cycle) {
        let bank = entry.bank as usize;
        self.start(&mut entry, role::ACT, clock);
        self.timing.issue(role::ACT, bank, clock);
        self.emit(role::ACT, bank, Some(entry.address), clock);
        if !P {
            let b = &mut self.banks[bank];
            b.accesses = 0;
            b.touched = clock;
            if b.timed_out != NO_ROW {
                if b.timed_out == entry.row {
                    b.timeout = (b.timeout * 2).min(self.shape.page_timeout * 8);
                }
                b.timed_out = NO_ROW;
            }
            self.count_activation(bank, entry.row, clock);
        }
        if K == SPLIT {
            self.activating.push((entry, clock + self.shape.activate_deadline));
            self.set_row(bank, OPENING, clock);
        } else {
            self.banks[bank].active = true;
            self.set_row(bank, entry.row, clock);
            self.active.push(entry);
            self.consider_active(&entry);
        }
        self.affected(role::ACT, bank);
    }

    pub(super) fn set_freed(&mut self) {
        self.freed = true;
        self.stale_mode = true;
    }
}
