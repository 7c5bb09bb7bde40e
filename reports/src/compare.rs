//! Several points side by side: one row each, with what was set in it.

mod columns;
mod files;
mod page;

use std::collections::BTreeMap;

use crate::RunReport;

pub(crate) use columns::last_part;
pub use files::{comparison_csv, comparison_json};
pub use page::{comparison_markdown, comparison_table};

/// One point of a comparison, as a caller has it.
#[derive(Debug, Clone)]
pub struct PointRow<'a> {
    /// The point's name.
    pub name: String,
    /// What was set in this point: the whole path of each key (`machine.memory.channels`) and its value as plain text, in the
    /// order in which they are to stand. Points may set different keys.
    pub settings: Vec<(String, String)>,
    /// What the point came to, or why it came to nothing.
    pub result: Result<&'a RunReport, String>,
}

impl<'a> PointRow<'a> {
    /// A report by itself: nothing was set.
    pub fn of(report: &'a RunReport) -> Self {
        Self { name: report.name.clone(), settings: Vec::new(), result: Ok(report) }
    }
}

/// One point's row. Names of numbers are those of the report, with `_per_token` where divided by the tokens generated. A point
/// without a result has none of them, and an error.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ComparisonRow {
    /// The point.
    pub name: String,
    /// Keys by their whole paths and their values as plain text; see [`PointRow::settings`].
    pub settings: Vec<(String, String)>,
    /// The model; empty where there is no result.
    pub model: String,
    /// The machine; empty where there is no result.
    pub machine: String,
    /// Latency of the run.
    pub latency_s: Option<f64>,
    /// Latency divided by the tokens generated.
    pub latency_per_token_s: Option<f64>,
    /// Tokens per second.
    pub tokens_per_s: Option<f64>,
    /// Time to the first token: from the start of the run to the end of the step that gives it. Only of runs that generate.
    pub ttft_s: Option<f64>,
    /// Time per output token: the mean latency of the steps after the first. Only of runs that generate two tokens or more.
    pub tpot_s: Option<f64>,
    /// Energy of the run.
    pub energy_j: Option<f64>,
    /// Energy divided by the tokens generated.
    pub energy_per_token_j: Option<f64>,
    /// Average power.
    pub power_w: Option<f64>,
    /// Energy by cause, in joules.
    pub energy_parts_j: BTreeMap<String, f64>,
    /// The report's metrics.
    pub metrics: BTreeMap<String, f64>,
    /// Why there is no result.
    pub error: Option<String>,
}

/// One row per point, in the given order.
pub fn compare(points: &[PointRow<'_>]) -> Vec<ComparisonRow> {
    points.iter().map(row).collect()
}

fn row(point: &PointRow<'_>) -> ComparisonRow {
    let named = ComparisonRow { name: point.name.clone(), settings: point.settings.clone(), ..Default::default() };
    let report = match &point.result {
        Ok(report) => report,
        Err(error) => return ComparisonRow { error: Some(error.clone()), ..named },
    };
    let tokens = report.tokens.filter(|&n| n > 0);
    let per_token = |v: f64| tokens.map(|n| v / n as f64);
    // A step is a token of every sequence, or the prompt that gives the first.
    let generates = report.steps.iter().all(|s| matches!(s.phase.as_str(), "prefill" | "decode"));
    let steps = if tokens.is_some() && generates { report.steps.as_slice() } else { &[] };
    let later = steps.get(1..).filter(|later| !later.is_empty());
    ComparisonRow {
        model: report.workload.model.clone(),
        machine: report.machine.name.clone(),
        latency_s: Some(report.latency_s),
        latency_per_token_s: per_token(report.latency_s),
        tokens_per_s: report.tokens_per_s,
        ttft_s: report.ttft_s.or_else(|| steps.first().map(|step| step.start_s + step.latency_s)),
        tpot_s: report
            .tpot_s
            .or_else(|| later.map(|later| later.iter().map(|s| s.latency_s).sum::<f64>() / later.len() as f64)),
        energy_j: Some(report.energy_j),
        energy_per_token_j: per_token(report.energy_j),
        power_w: Some(report.power_w),
        energy_parts_j: report.energy_parts_j.clone(),
        metrics: report.metrics.clone(),
        ..named
    }
}
