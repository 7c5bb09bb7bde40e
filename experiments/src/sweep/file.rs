//! What a sweep file says, before anything of it is used.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The most points of one sweep.
pub(super) const MAX_POINTS: usize = 1_000_000;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SweepFile {
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) sweeps: Vec<String>,
    #[serde(default)]
    pub(super) experiments: Vec<String>,
    #[serde(default)]
    pub(super) set: Vec<String>,
    #[serde(default)]
    pub(super) vary: Vec<Vary>,
    #[serde(default, rename = "point")]
    pub(super) points: Vec<PointFile>,
    /// Keys whose values follow from others.
    #[serde(default)]
    pub(super) derive: toml::Table,
    /// What a point must meet to be one.
    #[serde(default, rename = "where")]
    pub(super) conditions: Vec<String>,
    pub(super) sample: Option<Sample>,
    /// The point that others are set against: values of keys that are varied.
    #[serde(default)]
    pub(super) baseline: BTreeMap<String, toml::Value>,
    /// Columns to look at first, `max` before those that are better when larger.
    #[serde(default)]
    pub(super) objectives: Vec<String>,
    /// How a cluster is told to run it.
    #[serde(default)]
    pub(super) slurm: toml::Table,
}

/// A key and its values: one of the three forms.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vary {
    pub(super) key: String,
    pub(super) values: Option<Vec<toml::Value>>,
    pub(super) range: Option<Range>,
    pub(super) log_range: Option<LogRange>,
    /// Keys of one group advance together.
    pub(super) zip: Option<String>,
}

/// From one number to another, both included: by a step, or so many; neither only where points are samples.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    pub(super) from: toml::Value,
    pub(super) to: toml::Value,
    pub(super) step: Option<toml::Value>,
    pub(super) points: Option<u32>,
}

/// The same by a factor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogRange {
    pub(super) from: toml::Value,
    pub(super) to: toml::Value,
    pub(super) factor: Option<f64>,
    pub(super) points: Option<u32>,
}

/// Samples in place of every combination.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sample {
    pub(super) method: Method,
    /// Of each experiment.
    pub(super) points: u32,
    #[serde(default)]
    pub(super) seed: u64,
}

/// How samples are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Method {
    /// Each by itself.
    Random,
    /// Every key's range is cut into as many parts as there are samples, and each part has one.
    LatinHypercube,
}

/// A point by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PointFile {
    pub(super) name: String,
    #[serde(default)]
    pub(super) set: Vec<String>,
}
