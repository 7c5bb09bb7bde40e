//! What is to be best.

use serde::{Deserialize, Serialize};

/// What a search looks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Seconds of the run.
    #[default]
    Latency,
    /// Joules of the run.
    Energy,
    /// Joules times seconds.
    Edp,
    /// Joules a generated token: the fewest joules are the most tokens a joule.
    TokensPerJ,
    /// Seconds a generated token: the fewest seconds are the most tokens a second.
    TokensPerS,
    /// Seconds and joules, neither given up for the other: all plans that no other beats in both. Ranked by their product.
    LatencyEnergy,
}

impl Objective {
    /// All of them, by the names that the command line has.
    pub const ALL: [(&'static str, Self); 6] = [
        ("latency", Self::Latency),
        ("energy", Self::Energy),
        ("edp", Self::Edp),
        ("tokens_per_j", Self::TokensPerJ),
        ("tokens_per_s", Self::TokensPerS),
        ("latency,energy", Self::LatencyEnergy),
    ];

    /// Smaller is better.
    pub(crate) fn of(self, seconds: f64, joules: f64, tokens: f64) -> f64 {
        let tokens = tokens.max(1.0);
        match self {
            Self::Latency => seconds,
            Self::Energy => joules,
            Self::Edp | Self::LatencyEnergy => seconds * joules,
            Self::TokensPerJ => joules / tokens,
            Self::TokensPerS => seconds / tokens,
        }
    }
}

/// What is left to be looked at, by what has been found.
#[derive(Debug, Clone)]
pub(super) struct Best {
    objective: Objective,
    value: f64,
    /// Seconds and joules of plans that none beats in both.
    front: Vec<[f64; 2]>,
}

impl Best {
    pub(super) fn new(objective: Objective) -> Self {
        Self { objective, value: f64::INFINITY, front: Vec::new() }
    }

    /// Takes a plan that was simulated.
    pub(super) fn take(&mut self, value: f64, [seconds, joules]: [f64; 2]) {
        self.value = self.value.min(value);
        if self.objective == Objective::LatencyEnergy && !self.beaten([seconds, joules]) {
            self.front.retain(|f| f[0] < seconds || f[1] < joules);
            self.front.push([seconds, joules]);
        }
    }

    fn beaten(&self, [seconds, joules]: [f64; 2]) -> bool {
        self.front.iter().any(|f| f[0] <= seconds && f[1] <= joules)
    }

    /// Whether a plan of such a bound may be better than all that were simulated: in the objective, or in seconds or joules.
    pub(super) fn may_be_beaten_by(&self, bound: f64, least: [f64; 2]) -> bool {
        match self.objective {
            Objective::LatencyEnergy => !self.beaten(least),
            _ => bound < self.value,
        }
    }

    /// Whether bounds come in the order in which plans are excluded: the first that is excluded ends the search.
    pub(super) fn is_ordered(&self) -> bool {
        self.objective != Objective::LatencyEnergy
    }
}
