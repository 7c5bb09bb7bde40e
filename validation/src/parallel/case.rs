//! A published training step as settings that `simulate` runs.

use crate::rows::Row;

use banksia_mappers::parallel::{Parallel, Shape, Software, Train};

/// A step that was measured.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// What it is.
    pub(crate) label: String,
    /// Seconds, or what the suite says.
    pub(crate) measured: f64,
    /// The model.
    pub(crate) shape: Shape,
    /// How it is spread.
    pub(crate) parallel: Parallel,
    /// The step.
    pub(crate) train: Train,
    /// The framework.
    pub(crate) software: Software,
    /// The machine, by its name in the catalog of networks.
    pub(crate) machine: &'static str,
}

/// A whole number of a row.
pub(crate) fn whole(row: &Row, key: &str) -> Result<u32, String> {
    let text = row.get(key).map_or("", String::as_str).trim();
    text.parse::<f64>()
        .ok()
        .filter(|v| v.fract().abs() < 1e-9 && (0.0..=4e9).contains(v))
        .map(|v| v as u32)
        .ok_or_else(|| format!("column {key} is `{text}`: must be a whole number"))
}

/// A whole number, or another where the row leaves it open.
pub(crate) fn whole_or(row: &Row, key: &str, open: u32) -> Result<u32, String> {
    match row.get(key).map(|t| t.trim()) {
        None | Some("") => Ok(open),
        Some(_) => whole(row, key),
    }
}

/// A number of a row.
pub(crate) fn number(row: &Row, key: &str) -> Result<f64, String> {
    let text = row.get(key).map_or("", String::as_str).trim();
    text.parse().map_err(|_| format!("column {key} is `{text}`: must be a number"))
}
