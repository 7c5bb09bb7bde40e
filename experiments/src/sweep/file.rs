//! What a sweep file says, before anything of it is used.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// The most points of one sweep.
pub(super) const MAX_POINTS: usize = 1_000_000;

/// Experiments, and what is varied in them; or other sweeps to put together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["experiments"] }, { "required": ["sweeps"] }]))]
pub(super) struct SweepFile {
    /// The sweep's name. The file's where absent.
    pub(super) name: Option<String>,
    /// Other sweep files, beside this one, to put together, in place of all other keys.
    #[serde(default)]
    pub(super) sweeps: Vec<String>,
    /// Experiment files, beside this one or absolute, or names of `banksia list experiments`.
    #[serde(default)]
    pub(super) experiments: Vec<String>,
    /// `key=value` settings of every point; a value is TOML, a bare word a string.
    #[serde(default)]
    pub(super) set: Vec<String>,
    /// Keys that are varied: every combination of their values is a point, the last key fastest.
    #[serde(default)]
    pub(super) vary: Vec<Vary>,
    /// Single points by name.
    #[serde(default, rename = "point")]
    pub(super) points: Vec<PointFile>,
    /// Keys whose values follow from others: `"KEY" = "EXPRESSION"`, in SQL.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(super) derive: toml::Table,
    /// Conditions, in SQL, that a point must meet to be one.
    #[serde(default, rename = "where")]
    pub(super) conditions: Vec<String>,
    /// Samples in place of every combination.
    pub(super) sample: Option<Sample>,
    /// What others are set against: values of keys that are varied, or `experiment`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub(super) baseline: BTreeMap<String, toml::Value>,
    /// Columns to look at first, `max` before those that are better when larger.
    #[serde(default)]
    pub(super) objectives: Vec<String>,
    /// How a cluster is told to run it.
    #[serde(default)]
    #[schemars(with = "bool")] // what it is stands in `schema`
    pub(super) slurm: toml::Table,
}

/// A key and its values: one of the three forms.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["values"] }, { "required": ["range"] }, { "required": ["log_range"] }]))]
pub(super) struct Vary {
    /// A key of the experiment: `machine.`, `device.`, `workload.` or `mapping.` and so on, or `seed`.
    pub(super) key: String,
    /// Its values: numbers, texts, true or false, tables.
    #[schemars(with = "Option<Vec<serde_json::Value>>", extend("minItems" = 1))]
    pub(super) values: Option<Vec<toml::Value>>,
    /// Values from one number to another, by a step or so many.
    pub(super) range: Option<Range>,
    /// Values from one number to another, by a factor or so many.
    pub(super) log_range: Option<LogRange>,
    /// A name: keys with the same one advance together.
    pub(super) zip: Option<String>,
}

/// From one number to another, both included: by a step, or so many; neither only where points are samples.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    /// The first.
    #[schemars(with = "f64")]
    pub(super) from: toml::Value,
    /// The last, itself included.
    #[schemars(with = "f64")]
    pub(super) to: toml::Value,
    /// From one to the next; above 0.
    #[schemars(with = "Option<f64>")]
    pub(super) step: Option<toml::Value>,
    /// How many, in place of `step`.
    #[schemars(range(min = 2))]
    pub(super) points: Option<u32>,
}

/// From one number to another, both included: by a factor, or so many; neither only where points are samples.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogRange {
    /// The first; above 0.
    #[schemars(with = "f64")]
    pub(super) from: toml::Value,
    /// The last, itself included.
    #[schemars(with = "f64")]
    pub(super) to: toml::Value,
    /// Of one to the next; above 1.
    pub(super) factor: Option<f64>,
    /// How many, in place of `factor`.
    #[schemars(range(min = 2))]
    pub(super) points: Option<u32>,
}

/// Samples in place of every combination.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sample {
    /// How they are drawn.
    pub(super) method: Method,
    /// Samples of each experiment.
    #[schemars(range(min = 1))]
    pub(super) points: u32,
    /// Of the random stream.
    #[serde(default)]
    pub(super) seed: u64,
}

/// How samples are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Method {
    /// Each by itself.
    Random,
    /// Every key's range is cut into as many parts as there are samples, and each part has one.
    LatinHypercube,
}

/// A point by name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PointFile {
    /// Its name.
    pub(super) name: String,
    /// What is set in it: `key=value`.
    #[serde(default)]
    pub(super) set: Vec<String>,
}
