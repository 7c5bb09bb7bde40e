//! The rules of the controller, executed literally: every tick, every list, every timing row. Slow and plain; it is what the
//! controller that skips is held to.

use std::collections::VecDeque;

use super::super::Cycle;
use super::super::device::CommandId;
use super::config::{PagePolicy, Scheduler};
use super::history::History;
use super::pins::Pins;
use super::progress::Watch;
use super::record::{Completion, Issued, Recorder, Request, Statistics};
use super::role::{self, Asleep, Role};
use super::row_hammer::RowHammer;
use super::shape::{Kind, Shape};

/// A request and where it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Waiting {
    request: Request,
    accepted: Cycle,
    bank: usize,
    row: u32,
    started: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Closed,
    Opening,
    Open(u32),
}

#[derive(Debug, Clone, Copy)]
struct Bank {
    row: Row,
    /// Accesses since the row was opened.
    accesses: u32,
    touched: Cycle,
    timeout: Cycle,
    timed_out: Option<u32>,
}

/// Which commands a slot of a tick is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Any,
    Column,
    Row,
}

/// What was last issued on a rising edge.
#[derive(Debug, Clone, Copy)]
struct Rising {
    edge: Cycle,
    whole_rank: bool,
    bank: usize,
}

/// The controller of one channel.
#[derive(Debug)]
pub(super) struct Stepped<R> {
    shape: Shape,
    history: History,
    banks: Vec<Bank>,
    asleep: Vec<Asleep>,
    /// The last request or refresh of each rank, and the last request.
    idle_since: Vec<Cycle>,
    rested_since: Vec<Cycle>,
    reads: Vec<Waiting>,
    writes: Vec<Waiting>,
    active: Vec<Waiting>,
    /// Requests whose activation is half given, with its deadline.
    activating: Vec<(Waiting, Cycle)>,
    refreshes: VecDeque<(Role, usize)>,
    hammer: Option<Box<RowHammer>>,
    owed: u32,
    draining: bool,
    rising: Option<Rising>,
    /// The access that must follow a synchronisation.
    synchronised: Option<Waiting>,
    data_clock_until: Cycle,
    /// Reads on their way, with the tick of their arrival and the clock at which they leave.
    pending: VecDeque<(Completion, Cycle, Cycle)>,
    in_channel: usize,
    limit: usize,
    cycle: Cycle,
    ended: Option<Cycle>,
    pins: Pins,
    refresh_was_due: Cycle,
    pub timed: bool,
    pub watch: Watch,
    pub stats: Statistics,
    pub recorder: R,
}

impl<R: Recorder> Stepped<R> {
    pub(super) fn new(shape: Shape, limit: Option<usize>, recorder: R) -> Self {
        let bank = Bank { row: Row::Closed, accesses: 0, touched: 0, timeout: shape.page_timeout, timed_out: None };
        let ranks = shape.banks / shape.rank_banks;
        Self {
            history: History::new(&shape.device),
            banks: vec![bank; shape.banks],
            asleep: vec![Asleep::No; ranks],
            idle_since: vec![0; ranks],
            rested_since: vec![0; ranks],
            reads: Vec::new(),
            writes: Vec::new(),
            active: Vec::new(),
            activating: Vec::new(),
            refreshes: VecDeque::new(),
            hammer: RowHammer::new(&shape),
            owed: 0,
            draining: false,
            rising: None,
            synchronised: None,
            data_clock_until: 0,
            pending: VecDeque::new(),
            in_channel: 0,
            limit: limit.unwrap_or(usize::MAX),
            cycle: 0,
            ended: None,
            watch: Watch::new(&shape),
            pins: Pins::new(&shape.device, shape.rank_banks, shape.pin_banks, limit != Some(1)),
            refresh_was_due: 0,
            timed: false,
            stats: Statistics { commands: vec![0; shape.device.commands.len()], ..Statistics::default() },
            recorder,
            shape,
        }
    }

    /// As [`super::Controller::advance`].
    pub(super) fn advance(&mut self, requests: &[Request], last: bool) {
        let mut next = 0;
        loop {
            if self.watch.stalled.is_some() || (next == requests.len() && !last) {
                return;
            }
            let cycle = self.cycle;
            let empty = self.reads.is_empty() && self.writes.is_empty();
            if next == requests.len() && empty && self.active.is_empty() && self.activating.is_empty() {
                let pending = self.pending.iter().map(|(_, _, leaves)| leaves - 1).max().unwrap_or(0);
                let end = *self.ended.get_or_insert(pending.max(cycle.saturating_sub(1)));
                if cycle > end {
                    return;
                }
            }
            if let Some(request) = requests.get(next)
                && request.arrival <= cycle
                && self.in_channel < self.limit
                && self.offer(request)
            {
                next += 1;
            }
            self.account_for_standing();
            self.tick(cycle + 1);
            self.cycle += 1;
        }
    }

    fn offer(&mut self, request: &Request) -> bool {
        let cycle = self.cycle;
        let completion = Completion {
            sequence: request.sequence,
            write: request.write,
            index: request.index,
            sent: cycle,
            done: cycle,
        };
        if self.holds_write(request.index) {
            if request.write {
                self.stats.absorbed += 1;
                self.complete(completion, request.arrival);
            } else {
                self.stats.forwarded += 1;
                self.in_channel += 1;
                self.pending.push_back((completion, request.arrival, cycle + 1));
            }
            return true;
        }
        let config = &self.shape.config;
        let (queue, capacity) =
            if request.write { (&mut self.writes, config.write_queue) } else { (&mut self.reads, config.read_queue) };
        if queue.len() >= capacity as usize {
            return false;
        }
        let place = self.shape.map.place(request.index);
        let bank = place.bank as usize;
        queue.push(Waiting { request: *request, accepted: cycle, bank, row: place.row, started: false });
        self.in_channel += 1;
        self.idle_since[bank / self.shape.rank_banks] = cycle;
        self.rested_since[bank / self.shape.rank_banks] = cycle;
        true
    }

    fn complete(&mut self, completion: Completion, arrived: Cycle) {
        self.stats.requests += 1;
        self.stats.ticks = self.stats.ticks.max(completion.done + 1);
        if !completion.write {
            let latency = completion.done - completion.sent;
            self.stats.reads += 1;
            self.stats.read_latency += latency;
            self.stats.read_latency_max = self.stats.read_latency_max.max(latency);
            self.stats.read_latency_from_arrival += completion.done - arrived;
            self.stats.read_latencies.record(if self.timed { completion.done - arrived } else { latency });
        }
        self.recorder.completion(completion);
    }

    /// Background: what each standby node does in this cycle.
    fn account_for_standing(&mut self) {
        let per_node = self.shape.standby_banks;
        for (node, banks) in self.banks.chunks(per_node).enumerate() {
            let asleep = self.asleep[node * per_node / self.shape.rank_banks];
            let open = banks.iter().any(|b| b.row != Row::Closed);
            match (asleep, open) {
                (Asleep::No, true) => self.stats.active_ticks += 1,
                (Asleep::No, false) => {}
                (Asleep::SelfRefresh, _) => self.stats.self_refresh_ticks += 1,
                (Asleep::Down, true) => self.stats.active_sleep_ticks += 1,
                (Asleep::Down, false) => self.stats.precharged_sleep_ticks += 1,
            }
        }
    }

    fn tick(&mut self, clock: Cycle) {
        while let Some((completion, arrived, leaves)) = self.pending.front().copied()
            && leaves <= clock
        {
            self.pending.pop_front();
            self.in_channel -= 1;
            self.complete(Completion { done: clock - 1, ..completion }, arrived);
        }
        self.refreshes_due(clock);
        self.alerts_due(clock);
        match self.shape.kind {
            Kind::Single | Kind::Split => self.slot(clock, Slot::Any),
            Kind::Dual => {
                self.slot(clock, Slot::Column);
                self.slot(clock, Slot::Row);
            }
            Kind::HalfClock => {
                if clock % 2 == 1 {
                    self.slot(clock, Slot::Column);
                }
                self.slot(clock, Slot::Row);
            }
        }
    }

    fn refreshes_due(&mut self, clock: Cycle) {
        let Some((interval, command)) = self.shape.refresh else { return };
        let due = clock.is_multiple_of(interval);
        if due {
            self.refresh_was_due = clock;
            let empty = self.reads.is_empty() && self.writes.is_empty();
            let waits = !(empty && self.active.is_empty() && self.activating.is_empty());
            // Reads count when their command has issued, as those on their way will be done whatever comes.
            let served = self.stats.requests + self.pending.len() as u64;
            self.watch.refresh_due(clock, served, waits, self.refreshes.len());
        }
        let mut rounds = 0;
        if self.shape.config.postpone == 0 {
            rounds = u32::from(due);
        } else {
            self.owed += u32::from(due);
            let idle =
                self.reads.is_empty() && self.writes.is_empty() && self.active.is_empty() && self.activating.is_empty();
            let queued = self.refreshes.iter().any(|(c, _)| *c == command);
            if self.owed > 0 && !queued && (idle || self.owed > self.shape.config.postpone) {
                self.owed -= 1;
                rounds = 1;
            }
        }
        for _ in 0..rounds {
            for rank in (0..self.asleep.len()).filter(|r| self.asleep[*r] != Asleep::SelfRefresh) {
                let turn = clock / interval - 1;
                self.refreshes.push_back((command, self.shape.refresh_target(command, rank, turn)));
            }
        }
    }

    /// The RFMs of alerts whose time is over go before every refresh that waits.
    fn alerts_due(&mut self, clock: Cycle) {
        while let Some((rank, rfms)) = self.hammer.as_mut().and_then(|h| h.take_due(clock)) {
            (0..rfms).for_each(|_| self.refreshes.push_front((role::RFM_ALL, rank * self.shape.rank_banks)));
        }
    }

    /// One command slot: the rules in their order.
    fn slot(&mut self, clock: Cycle, slot: Slot) {
        if self.shape.kind == Kind::Split && self.split_first(clock) {
            return;
        }
        if slot != Slot::Row && self.rule_active(clock) {
            return;
        }
        if slot != Slot::Column && (self.rule_wake(clock) || self.rule_refresh(clock)) {
            return;
        }
        let all_banks_wait = self.refreshes.front().is_some_and(|(c, _)| *c == role::REF);
        if !all_banks_wait && self.rule_queues(clock, slot) {
            return;
        }
        if !self.activating.is_empty() {
            self.second_activation(clock);
            return;
        }
        if !all_banks_wait && slot != Slot::Column && !self.rule_idle_row(clock) {
            self.rule_sleep(clock);
        }
    }

    // ---- the rules ----

    fn rule_active(&mut self, clock: Cycle) -> bool {
        let ready = self.active.iter().filter(|w| self.can_access(w, clock)).min_by_key(|w| w.accepted).copied();
        ready.is_some_and(|w| {
            self.access(w, clock);
            true
        })
    }

    fn rule_wake(&mut self, clock: Cycle) -> bool {
        let can = |rank: usize| self.can(self.asleep[rank].waker(), rank * self.shape.rank_banks, clock);
        let wanted = (0..self.asleep.len()).find(|rank| {
            self.asleep[*rank].is()
                && (self.rank_waits(*rank) || self.refreshes.iter().any(|(_, b)| self.rank_of(*b) == *rank))
        });
        let sleep = self.shape.config.sleep;
        let goes_on = |rank: usize| {
            let rested = clock >= self.rested_since[rank] + self.shape.self_refresh_after;
            self.asleep[rank] == Asleep::Down && rested && can(rank)
        };
        let rank = match wanted {
            Some(rank) => Some(rank).filter(|rank| can(*rank)),
            None if sleep.power_down.is_some() && sleep.self_refresh.is_some() && self.owed == 0 => {
                (0..self.asleep.len()).find(|rank| goes_on(*rank))
            }
            None => None,
        };
        let Some(rank) = rank else { return false };
        let first = rank * self.shape.rank_banks;
        self.issue(self.asleep[rank].waker(), first, None, clock);
        if self.asleep[rank] == Asleep::SelfRefresh && self.shape.refresh.is_some_and(|(_, r)| r == role::REF) {
            self.refreshes.push_back((role::REF, first));
        }
        self.asleep[rank] = Asleep::No;
        self.idle_since[rank] = clock;
        true
    }

    fn rule_refresh(&mut self, clock: Cycle) -> bool {
        let Some((command, first)) = self.refreshes.front().copied() else { return false };
        let banks = self.banks_of_refresh(command, first);
        if self.asleep[self.rank_of(first)].is() || banks.iter().any(|b| self.banks[*b].row == Row::Opening) {
            return false;
        }
        let open: Vec<usize> = banks.iter().copied().filter(|b| self.banks[*b].row != Row::Closed).collect();
        if open.iter().any(|b| self.active.iter().any(|w| w.bank == *b)) {
            return false;
        }
        let (next, bank) = match open.first() {
            None => (command, first),
            Some(_) if matches!(command, role::REF | role::RFM_ALL) => (role::PREAB, first),
            Some(bank) => (role::PRE, *bank),
        };
        if !self.can(next, bank, clock) {
            return false;
        }
        self.issue(next, bank, None, clock);
        match next {
            role::PRE => self.banks[bank].row = Row::Closed,
            role::PREAB => self.close_rank(bank),
            _ => {
                self.refreshes.pop_front();
                self.count_refresh(command, first, clock);
                let rank = self.rank_of(bank);
                self.idle_since[rank] = clock;
            }
        }
        true
    }

    fn rule_queues(&mut self, clock: Cycle, slot: Slot) -> bool {
        let (reads, writes) = (self.reads.len(), self.writes.len() as f32);
        if self.draining {
            self.draining = !(writes < self.shape.low && reads > 0);
        } else {
            self.draining = writes > self.shape.high || reads == 0;
        }
        self.draining &= !self.holds_write_back();
        let queue = if self.draining { &self.writes } else { &self.reads };
        let fits = |command: Role| match slot {
            Slot::Any => true,
            Slot::Column => role::is_access(command),
            Slot::Row => !role::is_access(command),
        };
        let hits_first = self.shape.config.scheduler == Scheduler::RowHitsFirst;
        let best = queue
            .iter()
            .filter_map(|w| self.next_command(w, queue).map(|c| (*w, c)))
            .filter(|(w, c)| {
                fits(*c) && if role::is_access(*c) { self.can_access(w, clock) } else { self.can(*c, w.bank, clock) }
            })
            .min_by_key(|(w, c)| (hits_first && !role::is_access(*c), w.accepted));
        let Some((waiting, command)) = best else { return false };
        match command {
            role::PRE => self.precharge_for(waiting, clock),
            role::ACT => self.activate(waiting, clock),
            _ => self.access(waiting, clock),
        }
        true
    }

    /// Closes the first row that has lain idle long enough.
    fn rule_idle_row(&mut self, clock: Cycle) -> bool {
        let page = self.shape.config.page;
        if !matches!(page, PagePolicy::Timeout | PagePolicy::Adaptive) {
            return false;
        }
        let idle = (0..self.banks.len()).find(|bank| {
            let b = &self.banks[*bank];
            let Row::Open(row) = b.row else { return false };
            let timeout = if page == PagePolicy::Adaptive { b.timeout } else { self.shape.page_timeout };
            let wanted = self.reads.iter().chain(&self.writes).any(|w| w.bank == *bank && w.row == row)
                || self.active.iter().any(|w| w.bank == *bank);
            clock >= b.touched + timeout && !wanted && !self.is_held(*bank) && self.can(role::PRE, *bank, clock)
        });
        let Some(bank) = idle else { return false };
        if let Row::Open(row) = self.banks[bank].row {
            self.banks[bank].timed_out = Some(row);
        }
        self.issue(role::PRE, bank, None, clock);
        self.banks[bank].row = Row::Closed;
        true
    }

    fn rule_sleep(&mut self, clock: Cycle) {
        let sleep = self.shape.config.sleep;
        if !sleep.is_some() || self.owed > 0 {
            return;
        }
        for rank in 0..self.asleep.len() {
            let first = rank * self.shape.rank_banks;
            let banks = first..first + self.shape.rank_banks;
            let refresh = self.refreshes.iter().any(|(_, b)| self.rank_of(*b) == rank);
            let opening = banks.clone().any(|b| self.banks[b].row == Row::Opening);
            if self.asleep[rank].is() || self.rank_waits(rank) || refresh || opening {
                continue;
            }
            let open = banks.clone().any(|b| self.banks[b].row != Row::Closed);
            let rested = clock >= self.rested_since[rank] + self.shape.self_refresh_after;
            let idle = clock >= self.idle_since[rank] + self.shape.power_down_after;
            let command = if sleep.self_refresh.is_some() && rested {
                if open { role::PREAB } else { role::SELF_REFRESH }
            } else if sleep.power_down.is_some() && idle {
                role::SLEEP
            } else {
                continue;
            };
            if self.can(command, first, clock) {
                self.issue(command, first, None, clock);
                match command {
                    role::PREAB => self.close_rank(first),
                    role::SLEEP => self.asleep[rank] = Asleep::Down,
                    _ => self.asleep[rank] = Asleep::SelfRefresh,
                }
                return;
            }
        }
    }

    /// What goes before the rules on a device with two-command activation.
    fn split_first(&mut self, clock: Cycle) -> bool {
        if self.activating.iter().any(|(_, deadline)| *deadline <= clock) {
            self.second_activation(clock);
            return true;
        }
        if let Some(w) = self.synchronised {
            if self.timing_allows(self.access_command(&w), w.bank, clock) {
                self.synchronised = None;
                self.access_now(w, clock);
            }
            return true;
        }
        false
    }

    // ---- requests to one address ----

    /// Whether the write of a transaction is still here: in the queue, or, where requests keep their order, activated.
    fn holds_write(&self, index: u64) -> bool {
        let queued = self.writes.iter().any(|w| w.request.index == index);
        let mut activated = self.active.iter().chain(self.activating.iter().map(|(w, _)| w));
        let ordered = !self.shape.config.reference_model;
        queued || (ordered && activated.any(|w| w.request.write && w.request.index == index))
    }

    /// Whether a queued write must wait for an older read of its address: no write is served then.
    fn holds_write_back(&self) -> bool {
        let reads = || {
            let activated = self.active.iter().chain(self.activating.iter().map(|(w, _)| w));
            self.reads.iter().chain(activated).filter(|w| !w.request.write)
        };
        !self.shape.config.reference_model
            && self
                .writes
                .iter()
                .any(|w| reads().any(|r| r.request.index == w.request.index && r.accepted < w.accepted))
    }

    // ---- what a request needs next ----

    /// The next command of a queued request, or `None` while it may have none.
    fn next_command(&self, w: &Waiting, queue: &[Waiting]) -> Option<Role> {
        let config = &self.shape.config;
        let bank = &self.banks[w.bank];
        if self.is_held(w.bank) {
            return None;
        }
        if config.scheduler == Scheduler::Fcfs && queue.iter().any(|o| o.accepted < w.accepted) {
            return None;
        }
        let Row::Open(row) = bank.row else {
            return (bank.row == Row::Closed && self.activating.is_empty()).then_some(role::ACT);
        };
        let conflicts = queue.iter().any(|o| o.bank == w.bank && o.row != row);
        let hits = queue.iter().any(|o| o.bank == w.bank && o.row == row);
        let passed_over = self.shape.row_hit_cap.is_some_and(|cap| bank.accesses >= cap) && conflicts;
        if w.row == row {
            return (!passed_over).then_some(self.access_command(w));
        }
        let protected = config.scheduler == Scheduler::RowHitsFirst && hits && !passed_over;
        let active = self.active.iter().any(|a| a.bank == w.bank);
        (!protected && !active).then_some(role::PRE)
    }

    fn access_command(&self, w: &Waiting) -> Role {
        if w.request.write { role::WR } else { role::RD }
    }

    /// Whether the access of a request may issue; where rows close with their last access, either form of it must be allowed.
    fn can_access(&self, w: &Waiting, clock: Cycle) -> bool {
        let command = self.access_command(w);
        let closing = if w.request.write { role::WRA } else { role::RDA };
        self.can(command, w.bank, clock)
            && (self.shape.config.page != PagePolicy::Closed || self.timing_allows(closing, w.bank, clock))
    }

    /// A bank of which nothing may be scheduled: it sleeps, or a refresh of it is next.
    fn is_held(&self, bank: usize) -> bool {
        let refreshed = self
            .refreshes
            .front()
            .is_some_and(|(c, first)| *c != role::REF && self.banks_of_refresh(*c, *first).contains(&bank));
        refreshed || self.asleep[self.rank_of(bank)].is() || self.hammer.as_ref().is_some_and(|h| h.blocks(bank))
    }

    /// Tells of a refresh or an RFM; what it makes needless is dropped, and what is still needed waits.
    fn count_refresh(&mut self, command: Role, first: usize, clock: Cycle) {
        let Some(hammer) = &mut self.hammer else { return };
        let again = hammer.issued(command, first, self.shape.refresh_banks(command), clock);
        self.refreshes.extend(again);
        if !role::is_management(command) {
            self.refreshes.retain(|(c, bank)| !role::is_management(*c) || hammer.still_needs(*c, *bank));
        }
        (self.stats.alerts, self.stats.most_activations) = hammer.counts();
    }

    fn banks_of_refresh(&self, command: Role, first: usize) -> Vec<usize> {
        let (count, apart) = self.shape.refresh_banks(command);
        (0..count).map(|i| first + i * apart).collect()
    }

    fn rank_of(&self, bank: usize) -> usize {
        bank / self.shape.rank_banks
    }

    fn rank_waits(&self, rank: usize) -> bool {
        let queued = self.reads.iter().chain(&self.writes).chain(&self.active);
        queued.chain(self.activating.iter().map(|(w, _)| w)).any(|w| self.rank_of(w.bank) == rank)
    }

    // ---- time ----

    fn id(&self, command: Role) -> Option<CommandId> {
        self.shape.ids[command]
    }

    fn timing_allows(&self, command: Role, bank: usize, clock: Cycle) -> bool {
        let Some(id) = self.id(command) else { return false };
        let (count, apart) = self.shape.spreads[command];
        (0..count).all(|i| self.history.allows(&self.shape.device, id, (bank + i * apart) as u32, clock))
    }

    /// Whether a command may issue at a clock: by the timing rows, its bus, and the clock edge.
    fn can(&self, command: Role, bank: usize, clock: Cycle) -> bool {
        self.timing_allows(command, bank, clock) && self.edge_allows(command, bank, clock)
    }

    fn edge_allows(&self, command: Role, bank: usize, clock: Cycle) -> bool {
        if self.shape.kind != Kind::HalfClock || clock % 2 == 1 {
            return true;
        }
        let falling = self.id(command).is_some_and(|id| self.shape.device.spec(id).falling_edge);
        let paired = self.rising.is_some_and(|r| {
            r.edge == clock
                && self.rank_of(r.bank) == self.rank_of(bank)
                && (r.whole_rank || command == role::PREAB || r.bank == bank)
        });
        falling && !paired
    }

    fn issue(&mut self, command: Role, bank: usize, index: Option<u64>, clock: Cycle) {
        let Some(id) = self.id(command) else { return };
        let (count, apart) = self.shape.spreads[command];
        for i in 0..count {
            self.history.issue(&self.shape.device, id, (bank + i * apart) as u32, clock);
        }
        self.stats.commands[id.0 as usize] += 1;
        self.pins.command(command, bank, clock, self.refresh_was_due);
        self.recorder.command(Issued { clock, command: id, bank: bank as u32, index });
        if self.shape.kind == Kind::HalfClock && clock % 2 == 1 && !role::is_access(command) {
            self.rising = Some(Rising {
                edge: clock + self.shape.device.spec(id).bus_cycles,
                whole_rank: role::is_of_rank(command),
                bank,
            });
        }
    }

    // ---- what commands do ----

    fn close_rank(&mut self, first: usize) {
        for bank in first..first + self.shape.rank_banks {
            self.banks[bank].row = Row::Closed;
        }
    }

    /// Counts a request by its first command.
    fn first_command(&mut self, w: &Waiting, command: Role, clock: Cycle) {
        if !w.started {
            self.stats.begin(command);
            if !w.request.write {
                self.stats.read_waiting += clock - 1 - w.accepted;
            }
        }
    }

    fn precharge_for(&mut self, w: Waiting, clock: Cycle) {
        self.first_command(&w, role::PRE, clock);
        let queue = if self.draining { &mut self.writes } else { &mut self.reads };
        for other in queue.iter_mut().filter(|o| o.accepted == w.accepted) {
            other.started = true;
        }
        let shortest = self.shape.page_timeout.div_ceil(8);
        let bank = &mut self.banks[w.bank];
        bank.timeout = (bank.timeout / 2).max(shortest);
        bank.timed_out = None;
        bank.row = Row::Closed;
        self.issue(role::PRE, w.bank, Some(w.request.index), clock);
    }

    fn activate(&mut self, mut w: Waiting, clock: Cycle) {
        self.first_command(&w, role::ACT, clock);
        w.started = true;
        let queue = if self.draining { &mut self.writes } else { &mut self.reads };
        queue.retain(|o| o.accepted != w.accepted);
        let longest = self.shape.page_timeout * 8;
        let split = self.shape.kind == Kind::Split;
        let bank = &mut self.banks[w.bank];
        bank.accesses = 0;
        bank.touched = clock;
        if bank.timed_out.take() == Some(w.row) {
            bank.timeout = (bank.timeout * 2).min(longest);
        }
        bank.row = if split { Row::Opening } else { Row::Open(w.row) };
        if let Some(hammer) = &mut self.hammer {
            self.refreshes.extend(hammer.activated(w.bank, w.row, clock));
            (self.stats.alerts, self.stats.most_activations) = hammer.counts();
        }
        self.issue(role::ACT, w.bank, Some(w.request.index), clock);
        if split {
            self.activating.push((w, clock + self.shape.activate_deadline));
        } else {
            self.active.push(w);
        }
    }

    fn second_activation(&mut self, clock: Cycle) {
        let urgent = self.activating.iter().map(|(w, d)| (*d, w.accepted)).min();
        let Some(at) = self.activating.iter().position(|(w, d)| Some((*d, w.accepted)) == urgent) else { return };
        let (w, _) = self.activating.remove(at);
        self.banks[w.bank].row = Row::Open(w.row);
        self.issue(role::ACT2, w.bank, Some(w.request.index), clock);
        self.active.push(w);
    }

    /// Issues the access of a request, or what must go before it where a data clock stands still.
    fn access(&mut self, w: Waiting, clock: Cycle) {
        if self.shape.kind == Kind::Split && clock >= self.data_clock_until {
            if self.activating.iter().any(|(_, deadline)| *deadline <= clock + 1) {
                self.second_activation(clock);
            } else {
                let command = if w.request.write { role::CAS_WR } else { role::CAS_RD };
                self.issue(command, w.bank, Some(w.request.index), clock);
                self.synchronised = Some(w);
            }
            return;
        }
        self.access_now(w, clock);
    }

    fn access_now(&mut self, w: Waiting, clock: Cycle) {
        let write = w.request.write;
        self.first_command(&w, self.access_command(&w), clock);
        self.stats.queued_ticks += clock - 1 - w.accepted;
        self.pins.access(w.bank, w.request.write, clock, w.request.arrival, w.accepted);
        self.stats.idle_ticks = self.pins.idle;
        for list in [&mut self.active, &mut self.reads, &mut self.writes] {
            list.retain(|o| o.accepted != w.accepted);
        }
        let wanted = |list: &[Waiting]| list.iter().any(|o| o.bank == w.bank && o.row == w.row);
        let keep = wanted(&self.reads) || wanted(&self.writes) || self.active.iter().any(|o| o.bank == w.bank);
        let close = self.shape.config.page == PagePolicy::Closed && !keep;
        let command = match (close, write) {
            (false, _) => self.access_command(&w),
            (true, false) => role::RDA,
            (true, true) => role::WRA,
        };
        self.issue(command, w.bank, Some(w.request.index), clock);
        let bank = &mut self.banks[w.bank];
        bank.accesses += 1;
        bank.touched = clock;
        if close {
            bank.row = Row::Closed;
        }
        let rank = self.rank_of(w.bank);
        self.idle_since[rank] = clock;
        self.rested_since[rank] = clock;
        let keeps = if write { self.shape.write_keeps } else { self.shape.read_keeps };
        self.data_clock_until = self.data_clock_until.max(clock + keeps);
        let completion = Completion {
            sequence: w.request.sequence,
            write,
            index: w.request.index,
            sent: w.accepted,
            done: clock - 1,
        };
        if write {
            self.in_channel -= 1;
            self.complete(completion, w.request.arrival);
        } else {
            self.stats.read_queueing += clock - 1 - w.accepted;
            self.pending.push_back((completion, w.request.arrival, clock + self.shape.read_latency));
        }
    }
}
