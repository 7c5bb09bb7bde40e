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
}

impl Objective {
    /// All of them, by the names that the command line has.
    pub const ALL: [(&'static str, Self); 5] = [
        ("latency", Self::Latency),
        ("energy", Self::Energy),
        ("edp", Self::Edp),
        ("tokens_per_j", Self::TokensPerJ),
        ("tokens_per_s", Self::TokensPerS),
    ];

    /// Smaller is better.
    pub(crate) fn of(self, seconds: f64, joules: f64, tokens: f64) -> f64 {
        let tokens = tokens.max(1.0);
        match self {
            Self::Latency => seconds,
            Self::Energy => joules,
            Self::Edp => seconds * joules,
            Self::TokensPerJ => joules / tokens,
            Self::TokensPerS => seconds / tokens,
        }
    }
}
