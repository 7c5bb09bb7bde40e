//! Channels that requests are fed to, whatever the rules of their controllers.

use crate::dram::Cycle;

/// A channel behind a queue.
pub trait Lane {
    /// What its queue holds.
    type Entry;
    /// Whether the queue has room.
    fn has_room(&self) -> bool;
    /// Puts a request into the queue.
    fn push(&mut self, entry: Self::Entry);
    /// Whether nothing is left to do.
    fn is_done(&self) -> bool;
    /// One cycle.
    fn cycle(&mut self, now: Cycle);
    /// The next cycle after `now` in which anything can change, without another request.
    fn next(&self, now: Cycle) -> Cycle;
    /// Issues of each command so far.
    fn counts(&self) -> &[u64];
    /// Cycles until `now` in which some row was open.
    fn active_cycles(&self, now: Cycle) -> Cycle;
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueOutcome {
    /// The cycle in which the last command issued.
    pub cycles: Cycle,
    /// Commands issued, over all channels, by command of the device.
    pub commands: Vec<u64>,
    /// Cycles in which some row was open, over all channels.
    pub active_cycles: Cycle,
}

impl QueueOutcome {
    /// Adds what a channel, and others that did the same, came to.
    pub(super) fn add(&mut self, lane: &impl Lane, times: u64) {
        let counts = lane.counts();
        self.commands.resize(counts.len(), 0);
        for (sum, count) in self.commands.iter_mut().zip(counts) {
            *sum += count * times;
        }
        self.active_cycles += lane.active_cycles(self.cycles) * times;
    }
}

/// Runs requests that come in one order over all channels, each by the number of its channel: one that finds its queue full holds up those behind it,
/// whatever their channel.
///
/// Requests for channels that there are not are left out.
pub fn run_in_order<L: Lane>(lanes: &mut [L], requests: impl Iterator<Item = (usize, L::Entry)>) -> QueueOutcome {
    let channels = lanes.len();
    let mut requests = requests.filter(|(channel, _)| *channel < channels).peekable();
    let mut now = 0;
    // The next cycle in which each channel can change anything by itself.
    let mut next: Vec<Cycle> = vec![0; channels];
    loop {
        now += 1;
        while let Some((channel, entry)) = requests.next_if(|(channel, _)| lanes[*channel].has_room()) {
            lanes[channel].push(entry);
            next[channel] = now;
        }
        for (lane, next) in lanes.iter_mut().zip(&mut next) {
            if *next <= now {
                lane.cycle(now);
                *next = lane.next(now).max(now + 1);
            }
        }
        if requests.peek().is_none() && lanes.iter().all(Lane::is_done) {
            break;
        }
        now = next.iter().copied().min().unwrap_or(now + 1).max(now + 1) - 1;
    }
    let mut outcome = QueueOutcome { cycles: now, ..QueueOutcome::default() };
    lanes.iter().for_each(|lane| outcome.add(lane, 1));
    outcome
}

/// Runs one channel with a source of its own. The cycle in which its last command issued.
pub(super) fn run_one<L: Lane>(lane: &mut L, mut own: impl Iterator<Item = L::Entry>) -> Cycle {
    let mut waiting = own.next();
    let mut now = 0;
    loop {
        now += 1;
        while lane.has_room() {
            match waiting.take() {
                Some(entry) => lane.push(entry),
                None => break,
            }
            waiting = own.next();
        }
        lane.cycle(now);
        if waiting.is_none() && lane.is_done() {
            return now;
        }
        now = lane.next(now).max(now + 1) - 1;
    }
}
