//! What a step takes, for reports.

use std::collections::BTreeMap;

use serde::Serialize;

use super::memory::Memory;

/// A training step.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TrainReport {
    /// Seconds of a step.
    pub step_s: f64,
    /// Devices.
    pub devices: u32,
    /// Micro batches of a replica.
    pub micro_batches: u32,
    /// Tokens of all replicas a second.
    pub tokens_per_s: f64,
    /// Operations that the model needs (without recomputation), over what the devices could, per cent. All scores are counted.
    pub mfu_pct: f64,
    /// Operations done, recomputation among them, over what the devices could, per cent.
    pub hfu_pct: f64,
    /// TFLOP/s of a device, of the model's operations with a full recomputation where that is on (the convention of arXiv 2104.04473).
    pub tflops_per_device: f64,
    /// Seconds of forward and backward passes, from there to the reduced gradients, from there to the updated weights: together the step.
    pub phases_s: [(&'static str, f64); 3],
    /// Seconds by class of operator of the busiest stage; what runs side by side counts in each.
    pub classes_s: BTreeMap<String, f64>,
    /// What each class of operator does on a device, the mean over devices.
    pub classes: Vec<ClassReport>,
    /// Seconds that the step would be shorter without a class of communication.
    pub exposed_s: BTreeMap<String, f64>,
    /// Share of the pipeline's time in which a stage's device has nothing to run, on average over stages.
    pub bubble_fraction: f64,
    /// Seconds of the host's thread of the busiest stage: near `step_s` where the host is the bound.
    pub host_s: f64,
    /// Joules of all devices.
    pub energy_j: f64,
    /// Bytes that a device sends in a step, by link.
    pub bytes_by_link: BTreeMap<String, f64>,
    /// One rank of each kind: its stage, parameters, memory, busy seconds.
    pub ranks: Vec<RankReport>,
    /// Ranks that were simulated, each for all that do the same.
    pub simulated_ranks: u32,
    /// Whether folding is exact: all ranks of a role do the same.
    pub folding_exact: bool,
    /// What was taken where nothing was said.
    pub notes: Vec<String>,
}

/// A rank of a role.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankReport {
    /// First, middle or last stage.
    pub role: String,
    /// Its stage.
    pub stage: u32,
    /// Ranks that do the same.
    pub ranks: u32,
    /// Parameters of the rank.
    pub parameters: u64,
    /// Its memory, bytes.
    pub memory_bytes: Memory,
    /// The sum.
    pub total_bytes: f64,
    /// Micro batches (over chunks) whose activations it holds at most.
    pub in_flight: u32,
    /// Seconds of its device.
    pub busy_s: f64,
    /// Joules of one such rank, by cause.
    pub energy: Energy,
    /// Bytes that one such rank sends, within its node and to others.
    pub sent_bytes: [f64; 2],
}

/// A class of operator, on one device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassReport {
    /// Its name.
    pub name: &'static str,
    /// Whether it is communication.
    pub communication: bool,
    /// Kernels or collectives.
    pub times: f64,
    /// Seconds on the device, or on links.
    pub busy_s: f64,
    /// Joules of switching and of memory.
    pub energy: Energy,
}

/// Joules by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Energy {
    /// Of cores, caches and shared memory.
    pub switching_j: f64,
    /// Of device memory.
    pub memory_j: f64,
    /// What runs whatever is computed.
    pub idle_j: f64,
}

impl Energy {
    /// The sum.
    pub fn total_j(&self) -> f64 {
        self.switching_j + self.memory_j + self.idle_j
    }
}
