//! What goes into a controller and what comes out of it.

use super::super::Cycle;
use super::super::device::CommandId;
use super::pins::Idle;
use super::role::{self, Role};

/// A request of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Request {
    /// It writes.
    pub write: bool,
    /// Index of the transaction: byte address over access size.
    pub index: u64,
    /// Not offered before this tick.
    pub arrival: Cycle,
    /// Its place in the trace, from 0.
    pub sequence: u64,
}

/// A request that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// Its place in the trace.
    pub sequence: u64,
    /// It wrote.
    pub write: bool,
    /// Its transaction.
    pub index: u64,
    /// The tick in which it was accepted.
    pub sent: Cycle,
    /// The tick in which it was done.
    pub done: Cycle,
}

/// A command as a controller gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// The clock (a tick; the first is 1).
    pub clock: Cycle,
    /// The command.
    pub command: CommandId,
    /// The bank, or the first of those in its scope.
    pub bank: u32,
    /// The transaction that it serves, or `None` for a refresh and the like.
    pub index: Option<u64>,
}

/// Hears of commands and completions. With [`Silent`] the calls compile to nothing.
pub trait Recorder {
    /// Whether commands are heard.
    const COMMANDS: bool;
    /// Whether completions are heard.
    const COMPLETIONS: bool;
    /// Whether this one keeps what it hears of commands: nothing may be skipped then.
    fn keeps_commands(&self) -> bool {
        Self::COMMANDS
    }
    /// A command issued. Called in the order of issue.
    fn command(&mut self, issued: Issued);
    /// A request is done. Called in the order of completion.
    fn completion(&mut self, completion: Completion);
}

/// No one listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Recorder for Silent {
    const COMMANDS: bool = false;
    const COMPLETIONS: bool = false;
    fn command(&mut self, _: Issued) {}
    fn completion(&mut self, _: Completion) {}
}

/// Keeps everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    /// Commands in the order of issue.
    pub commands: Vec<Issued>,
    /// Completions in order.
    pub completions: Vec<Completion>,
}

impl Recorder for Keep {
    const COMMANDS: bool = true;
    const COMPLETIONS: bool = true;
    fn command(&mut self, issued: Issued) {
        self.commands.push(issued);
    }
    fn completion(&mut self, completion: Completion) {
        self.completions.push(completion);
    }
}

/// What a channel did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Requests done.
    pub requests: u64,
    /// Of these, reads.
    pub reads: u64,
    /// Reads that took their data from a queued write.
    pub forwarded: u64,
    /// Writes that were merged into a queued write.
    pub absorbed: u64,
    /// Ticks from acceptance to the last data, summed over reads.
    pub read_latency: Cycle,
    /// Of these, ticks from acceptance to the column command.
    pub read_queueing: Cycle,
    /// Of these, ticks from acceptance to the first command of the read: a precharge, an activation or the access itself.
    pub read_waiting: Cycle,
    /// Ticks from arrival to the last data, summed over reads: what a trace with times waits for.
    pub read_latency_from_arrival: Cycle,
    /// How often reads took how many ticks: from arrival where requests have times of arrival, or else from acceptance.
    pub read_latencies: Latencies,
    /// Ticks from acceptance to the access, summed over all requests that were queued: over the time, the mean number queued.
    pub queued_ticks: Cycle,
    /// Ticks for which data pins were idle before a burst, by cause (in the order of [`Idle::NAMES`]), summed over groups of pins; none
    /// where one request at a time may be outstanding.
    pub idle_ticks: [Cycle; Idle::NAMES.len()],
    /// The longest of them.
    pub read_latency_max: Cycle,
    /// Requests that found their row open.
    pub row_hits: u64,
    /// Requests that found their bank closed.
    pub row_misses: u64,
    /// Requests that found another row open.
    pub row_conflicts: u64,
    /// The last completion's tick plus one.
    pub ticks: Cycle,
    /// Issues of each of the device's commands.
    pub commands: Vec<u64>,
    /// Ticks for which some row was open, awake, summed over standby nodes.
    pub active_ticks: Cycle,
    /// Ticks in power-down with some row open, summed over standby nodes.
    pub active_sleep_ticks: Cycle,
    /// Ticks in power-down with every row closed, summed over standby nodes.
    pub precharged_sleep_ticks: Cycle,
    /// Ticks in self-refresh, summed over standby nodes.
    pub self_refresh_ticks: Cycle,
    /// Alerts of devices that count the activations of rows.
    pub alerts: u64,
    /// The most activations of a row between two refreshes of its neighbours, where rows are counted.
    pub most_activations: u32,
}

/// Latencies by size, in ticks: those below 256 one by one, above 128 sizes in every octave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies {
    bins: Vec<u64>,
}

/// Bins there from the start: of all latencies below 2^20 ticks.
const BINS: usize = 14 * 128;

impl Default for Latencies {
    fn default() -> Self {
        Self { bins: vec![0; BINS] }
    }
}

impl Latencies {
    /// Counts a latency.
    #[inline(always)]
    pub(super) fn record(&mut self, ticks: Cycle) {
        let octave = (ticks | 128).ilog2() - 7;
        let bin = ((octave as usize) << 7) + (ticks >> octave) as usize;
        match self.bins.get_mut(bin) {
            Some(count) => *count += 1,
            None => self.record_far(bin),
        }
    }

    #[cold]
    fn record_far(&mut self, bin: usize) {
        self.bins.resize(bin + 1, 0);
        self.bins[bin] += 1;
    }

    /// These and others together.
    pub fn add(&mut self, other: &Self) {
        self.bins.resize(self.bins.len().max(other.bins.len()), 0);
        self.bins.iter_mut().zip(&other.bins).for_each(|(a, b)| *a += b);
    }

    /// The ticks that a share of all do not exceed, rounded up within a bin; none where there are none.
    pub fn quantile(&self, share: f64) -> Option<Cycle> {
        let all: u64 = self.bins.iter().sum();
        let rank = ((share * all as f64).ceil() as u64).clamp(1, all.max(1));
        let mut seen = 0;
        let bin = self.bins.iter().position(|n| {
            seen += n;
            seen >= rank
        })?;
        let octave = (bin >> 7).saturating_sub(1);
        Some((((bin - (octave << 7)) as Cycle + 1) << octave) - 1)
    }
}

impl Statistics {
    /// Counts a request by the first command issued for it.
    #[inline(always)]
    pub(super) fn begin(&mut self, command: Role) {
        match command {
            role::PRE => self.row_conflicts += 1,
            role::ACT => self.row_misses += 1,
            _ => self.row_hits += 1,
        }
    }
}
