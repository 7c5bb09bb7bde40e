//! The columns of a store that its points bring: settings, figures, parts of the energy, metrics.

use std::collections::BTreeSet;

use banksia_reports::ComparisonRow;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColumnKind {
    /// A key of the sweep.
    Setting,
    /// A figure of every report.
    Figure,
    /// Energy of one cause.
    Energy,
    /// A metric of some machines.
    Metric,
}

impl ColumnKind {
    pub(super) const ALL: [Self; 4] = [Self::Setting, Self::Figure, Self::Energy, Self::Metric];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Setting => "setting",
            Self::Figure => "figure",
            Self::Energy => "energy",
            Self::Metric => "metric",
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, in the store and in every export.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// Columns that every store has; no setting takes their names, in any case of letters.
pub(super) const FIXED: [&str; 19] = [
    "id",
    "key",
    "experiment",
    "speedup",
    "energy_gain",
    "build",
    "sweep",
    "ordinal",
    "configuration_sha256",
    "revision",
    "run_seed",
    "host",
    "finished",
    "wall_s",
    "name",
    "model",
    "machine",
    "settings",
    "error",
];

/// Figures, in the order in which they stand.
pub(super) const FIGURES: [&str; 8] = [
    "latency_s",
    "latency_per_token_s",
    "tokens_per_s",
    "ttft_s",
    "tpot_s",
    "energy_j",
    "energy_per_token_j",
    "power_w",
];

/// A setting's column: the key's whole path, with `set.` before it where another column has that name.
pub(super) fn setting(key: &str) -> String {
    let taken = |name: &str| FIXED.iter().chain(&FIGURES).any(|t| t.eq_ignore_ascii_case(name));
    if taken(key) { format!("set.{key}") } else { key.to_owned() }
}

/// The columns of a point and their values.
pub(super) fn of(row: &ComparisonRow) -> Vec<(Column, rusqlite::types::Value)> {
    use rusqlite::types::Value;
    let mut all: Vec<(Column, Value)> = Vec::new();
    let mut names = BTreeSet::new();
    let mut add = |name: String, kind: ColumnKind, value: Value| {
        // SQL does not tell cases of letters apart.
        if names.insert(name.to_ascii_lowercase()) {
            all.push((Column { name, kind }, value));
        }
    };
    // Of a key that is set twice the last counts.
    for (key, value) in row.settings.iter().rev() {
        let number = value.parse::<i64>().map(Value::Integer).or_else(|_| value.parse::<f64>().map(Value::Real));
        // A text that is a number in another spelling stays as it is written.
        let same = |v: &Value| match v {
            Value::Integer(i) => i.to_string() == *value,
            Value::Real(x) => x.is_finite() && (x.to_string() == *value || format!("{x:?}") == *value),
            _ => false,
        };
        let value = number.ok().filter(same).unwrap_or_else(|| Value::Text(value.clone()));
        add(setting(key), ColumnKind::Setting, value);
    }
    let figures = [
        row.latency_s,
        row.latency_per_token_s,
        row.tokens_per_s,
        row.ttft_s,
        row.tpot_s,
        row.energy_j,
        row.energy_per_token_j,
        row.power_w,
    ];
    for (name, value) in FIGURES.iter().zip(figures) {
        if let Some(value) = value {
            add((*name).to_owned(), ColumnKind::Figure, Value::Real(value));
        }
    }
    for (cause, value) in &row.energy_parts_j {
        add(format!("energy_{cause}_j"), ColumnKind::Energy, Value::Real(*value));
    }
    for (name, value) in &row.metrics {
        add(name.clone(), ColumnKind::Metric, Value::Real(*value));
    }
    all
}
