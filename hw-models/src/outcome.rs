//! What a machine measured while it ran programs: exact counts and times, before any report is made of them.

use std::collections::BTreeMap;

use banksia_sim::{Elapsed, Time};

/// The outcome of a run, the same record for every machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// From the first instruction to the last completion.
    pub latency: Elapsed,
    /// By operator, in the order of first mention.
    pub operators: Vec<OperatorOutcome>,
    /// By component.
    pub components: Vec<ComponentOutcome>,
    /// By program (step).
    pub steps: Vec<StepOutcome>,
    /// Device commands issued, over all channels; kernels launched; transfers made.
    pub commands: BTreeMap<String, u64>,
    /// What else devices counted, by name: accesses of a bank to a column and the row misses among them, slots of
    /// multiply-accumulates.
    pub counts: BTreeMap<&'static str, u64>,
    /// Devices' own rates and shares, by name, with the unit in the name; of a machine of several devices, after the device's name
    /// and a dot.
    pub metrics: BTreeMap<String, f64>,
    /// How much of it the simulator worked out one by one.
    pub worked_out: Vec<WorkedOut>,
    /// What ran where and when, in the steps for which it was asked.
    pub spans: Vec<Span>,
}

impl Outcome {
    /// A count of a name; 0 where no device has it.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// Bytes of one channel of traffic, over all components.
    pub fn traffic(&self, channel: &str) -> u64 {
        self.components.iter().filter_map(|c| c.traffic_bytes.get(channel)).fold(0, |a, b| a.saturating_add(*b))
    }
}

/// How a device's share of a result came about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkedOut {
    /// What is counted: `DRAM commands`, `kernel launches`.
    pub what: &'static str,
    /// How many the machine did.
    pub total: u64,
    /// How many of them the simulator ran; the others are exact repetitions of those.
    pub simulated: u64,
    /// Of the kernels simulated, those of which a part was run and the rest continued at its rate.
    pub sampled: u64,
    /// The share of the run's latency that belongs to such kernels.
    pub sampled_latency_share: f64,
}

/// One operator, summed over layers and steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OperatorOutcome {
    /// Its name.
    pub name: String,
    /// How many times it ran.
    pub count: u64,
    /// Advances of the frontier of completed work that it made. These add up to the run's latency.
    pub latency: Elapsed,
    /// Time for which units worked on it, summed over units.
    pub busy: Elapsed,
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
    pub busy: Elapsed,
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
    pub start: Elapsed,
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
