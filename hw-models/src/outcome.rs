//! What a machine measured while it ran programs: exact counts and times, before any report is made of them.

use std::collections::BTreeMap;

use banksia_sim::Time;

/// The outcome of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// From the first instruction to the last completion.
    pub latency: Time,
    /// By operator, in the order of first mention.
    pub operators: Vec<OperatorOutcome>,
    /// By component.
    pub components: Vec<ComponentOutcome>,
    /// By program (step).
    pub steps: Vec<StepOutcome>,
    /// Device commands issued, over all channels.
    pub commands: BTreeMap<String, u64>,
    /// Accesses of one bank to a column.
    pub accesses: u64,
    /// Those among them for which the row had to be opened.
    pub misses: u64,
    /// Multiply-accumulates for which command slots were spent, useful or not.
    pub mac_slots: u64,
    /// Commands (or runs of one command within a row) that the simulator worked out one by one.
    pub commands_stepped: u64,
    /// What ran where and when, in the steps for which it was asked.
    pub spans: Vec<Span>,
}

/// One operator, summed over layers and steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OperatorOutcome {
    /// Its name.
    pub name: String,
    /// How many times it ran.
    pub count: u64,
    /// Advances of the frontier of completed work that it made. These add up to the run's latency.
    pub latency: Time,
    /// Time for which units worked on it, summed over units.
    pub busy: Time,
    /// Energy of what it did, by cause, without background.
    pub energy_j: BTreeMap<String, f64>,
    /// Floating-point operations.
    pub flops: f64,
    /// Those among them that the memory's units did.
    pub pim_flops: f64,
    /// Bytes by channel of traffic.
    pub traffic_bytes: BTreeMap<String, u64>,
}

/// One component.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ComponentOutcome {
    /// Its name (`channel 0`).
    pub name: String,
    /// Its kind (`PIM channel`).
    pub kind: String,
    /// Time for which it worked.
    pub busy: Time,
    /// Energy by cause.
    pub energy_j: BTreeMap<String, f64>,
    /// Bytes by channel of traffic.
    pub traffic_bytes: BTreeMap<String, u64>,
}

/// One program of the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepOutcome {
    /// `prefill` or `decode`.
    pub phase: String,
    /// Tokens that it attended to.
    pub context_tokens: u64,
    /// When it began.
    pub start: Time,
    /// How long it took.
    pub latency: Time,
    /// Energy of all components over that time.
    pub energy_j: f64,
}

/// A stretch of work on a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The unit's group (`PIM channels`).
    pub group: &'static str,
    /// The unit (`channel 0`).
    pub lane: String,
    /// The operator.
    pub operator: String,
    /// When it began.
    pub start: Time,
    /// When it was done.
    pub end: Time,
    /// Details for the reader.
    pub details: Vec<(&'static str, String)>,
}
