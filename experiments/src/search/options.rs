//! How to search, and a plan of the ranking.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use banksia_hw::gpu::LaunchCache;
use serde::Serialize;

use super::objective::Objective;

/// How to search.
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// What is to be best.
    pub objective: Objective,
    /// Most plans that are simulated.
    pub budget: u64,
    /// Orders plans whose bounds are equal.
    pub seed: u64,
    /// Plans at once; every core where absent.
    pub jobs: Option<usize>,
    /// Simulate every plan, whatever the bounds say.
    pub exhaustive: bool,
    /// Local search alone, also where the space is small: no proof.
    pub local: bool,
    /// Results of launches that are known.
    pub cache: Option<Arc<dyn LaunchCache>>,
    /// A results store: evaluations that it has are taken, others are put there.
    pub store: Option<PathBuf>,
    /// The commit that the program was built from, for the store.
    pub revision: String,
}

impl Default for SearchOptions {
    fn default() -> Self {
        let (objective, budget, seed) = (Objective::Latency, 512, 0);
        Self {
            objective,
            budget,
            seed,
            jobs: None,
            exhaustive: false,
            local: false,
            cache: None,
            store: None,
            revision: String::new(),
        }
    }
}

/// A plan that was simulated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// Its place, from 1.
    pub rank: u64,
    /// What it sets: keys below `[mapping]`, or of a training step whole keys.
    pub settings: BTreeMap<String, String>,
    /// Simulated, seconds.
    pub latency_s: f64,
    /// Simulated, joules.
    pub energy_j: f64,
    /// Generated tokens a second.
    pub tokens_per_s: f64,
    /// Generated tokens a joule.
    pub tokens_per_j: f64,
    /// The least seconds that it could take.
    pub bound_s: f64,
    /// What the objective is of it, in the objective's unit, smaller is better.
    pub value: f64,
    /// By how much that is above the least of any plan, by proof: a share.
    pub gap: f64,
    /// No other plan that was simulated is both faster and of less energy.
    pub pareto: bool,
}

/// By how much a value is above a bound: a share of it.
pub(super) fn gap(value: f64, bound: f64) -> f64 {
    if bound > 0.0 {
        (value - bound) / bound
    } else if value > 0.0 {
        f64::INFINITY
    } else {
        0.0
    }
}
