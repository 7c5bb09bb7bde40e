//! The page's data as JSON: columns instead of rows, and repeated values once.

use std::collections::HashMap;
use std::hash::Hash;

use serde::ser::{Serialize, Serializer};

use super::cells::{ColumnKind, PageCell, PageUnit};
use super::content::{PageData, PageTimeline};
use crate::plot::Better;
use crate::{ComponentReport, MachineInfo, OperatorReport, ReportError, RunReport, WorkloadInfo};

/// The data as JSON that can stand in a script element.
pub(super) fn json(data: &PageData) -> Result<String, ReportError> {
    for (i, row) in data.rows.iter().enumerate() {
        if row.len() != data.columns.len() {
            let (has, columns) = (row.len(), data.columns.len());
            return Err(ReportError::Inconsistent(format!("row {i} of a page has {has} cells for {columns} columns")));
        }
    }
    let page = Page {
        rows: data.rows.len(),
        columns: (0..data.columns.len()).map(|i| column(data, i)).collect(),
        figures: data.figures.iter().map(|f| (f.name.as_str(), f.svg.as_str())).collect(),
        timelines: data.timelines.iter().map(timeline).collect(),
        reports: data.reports.iter().map(|(name, report)| Run::of(name, report)).collect(),
    };
    let text = serde_json::to_string(&page).map_err(|source| ReportError::Json { what: "page", source })?;
    // These characters occur in strings only. The first could end the element or open a comment in it; the others end a line
    // in old readings of JavaScript.
    Ok(text.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"))
}

#[derive(serde::Serialize)]
struct Page<'a> {
    rows: usize,
    columns: Vec<Column<'a>>,
    figures: Vec<(&'a str, &'a str)>,
    timelines: Vec<Timeline<'a>>,
    reports: Vec<Run<'a>>,
}

#[derive(serde::Serialize)]
struct Column<'a> {
    name: &'a str,
    kind: &'static str,
    /// `["si", "s"]`, `["share", ""]`, `["plain", "cycles"]`.
    unit: Option<(&'static str, &'a str)>,
    better: Option<&'static str>,
    /// The cells, or, with `indices`, the different ones.
    values: Vec<Cell<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    indices: Option<Vec<usize>>,
}

fn column(data: &PageData, i: usize) -> Column<'_> {
    let head = &data.columns[i];
    let all = || data.rows.iter().map(|row| Cell(&row[i]));
    let (distinct, indices) = distinct(all(), Cell::key);
    // Numbers that hardly repeat are shorter as they are.
    let (values, indices) =
        if 2 * distinct.len() <= indices.len() { (distinct, Some(indices)) } else { (all().collect(), None) };
    Column {
        name: &head.name,
        kind: match head.kind {
            ColumnKind::Setting => "setting",
            ColumnKind::Result => "result",
            ColumnKind::Text => "text",
        },
        unit: head.unit.as_ref().map(|unit| match unit {
            PageUnit::Si(unit) => ("si", unit.as_str()),
            PageUnit::Share => ("share", ""),
            PageUnit::Plain(unit) => ("plain", unit.as_str()),
        }),
        better: head.better.map(|better| if better == Better::High { "high" } else { "low" }),
        values,
        indices,
    }
}

/// The different ones of some items, in the order of first appearance, and which of them each item is.
fn distinct<T, K: Hash + Eq>(items: impl Iterator<Item = T>, key: impl Fn(&T) -> K) -> (Vec<T>, Vec<usize>) {
    let mut all = Vec::new();
    let mut known = HashMap::new();
    let indices = items
        .map(|item| {
            let index = *known.entry(key(&item)).or_insert(all.len());
            if index == all.len() {
                all.push(item);
            }
            index
        })
        .collect();
    (all, indices)
}

/// A number, a string, null, or a list for what JSON has not: `["nan"]`, `["inf"]`, `["-inf"]`, `["error", why]`.
struct Cell<'a>(&'a PageCell);

impl<'a> Cell<'a> {
    fn key(&self) -> (u8, u64, &'a str) {
        match self.0 {
            PageCell::Empty => (0, 0, ""),
            PageCell::Number(value) => (1, value.to_bits(), ""),
            PageCell::Text(text) => (2, 0, text),
            PageCell::Error(why) => (3, 0, why),
        }
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            PageCell::Empty => serializer.serialize_none(),
            PageCell::Number(value) if value.is_nan() => ["nan"].serialize(serializer),
            PageCell::Number(value) if value.is_infinite() => {
                [if *value > 0.0 { "inf" } else { "-inf" }].serialize(serializer)
            }
            // `4` instead of `4.0`.
            PageCell::Number(value) if value.fract() == 0.0 && value.abs() < 1e15 => {
                serializer.serialize_i64(*value as i64)
            }
            PageCell::Number(value) => serializer.serialize_f64(*value),
            PageCell::Text(text) => serializer.serialize_str(text),
            PageCell::Error(why) => ["error", why].serialize(serializer),
        }
    }
}

#[derive(serde::Serialize)]
struct Timeline<'a> {
    name: &'a str,
    /// Group and lane.
    lanes: Vec<(&'a str, &'a str)>,
    names: Vec<&'a str>,
    details: Vec<Vec<(&'a str, &'a str)>>,
    /// Of each span: its lane, name and details, and start and duration in nanoseconds.
    lane: Vec<usize>,
    name_of: Vec<usize>,
    details_of: Vec<usize>,
    start_ns: Vec<f64>,
    duration_ns: Vec<f64>,
}

fn timeline(source: &PageTimeline) -> Timeline<'_> {
    let spans = || source.spans.iter().filter(|s| s.start_s.is_finite() && s.duration_s.is_finite());
    let (lanes, lane) = distinct(spans().map(|s| (s.group.as_str(), s.lane.as_str())), |&lane| lane);
    let (names, name_of) = distinct(spans().map(|s| s.name.as_str()), |&name| name);
    let pairs = spans().map(|s| s.details.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect());
    let (details, details_of) = distinct(pairs, Vec::clone);
    // To a picosecond: what a float has beyond it is the noise of its making, and doubles the page.
    let nanoseconds = |seconds: f64| (seconds * 1e12).round() / 1e3;
    let start_ns = spans().map(|s| nanoseconds(s.start_s)).collect();
    let duration_ns = spans().map(|s| nanoseconds(s.duration_s.max(0.0))).collect();
    Timeline { name: &source.name, lanes, names, details, lane, name_of, details_of, start_ns, duration_ns }
}

/// A run without what the page does not show of it.
#[derive(serde::Serialize)]
struct Run<'a> {
    name: &'a str,
    experiment: &'a str,
    version: &'a str,
    seed: u64,
    configuration_sha256: &'a str,
    machine: &'a MachineInfo,
    workload: &'a WorkloadInfo,
    /// Names with their units, and values: what the run came to.
    results: Vec<(&'a str, f64)>,
    metrics: Vec<(&'a str, f64)>,
    operators: &'a [OperatorReport],
    components: Vec<Component<'a>>,
}

/// A component without what it did over time.
#[derive(serde::Serialize)]
struct Component<'a> {
    name: &'a str,
    kind: &'a str,
    busy_s: f64,
    utilization: f64,
    energy_j: f64,
}

impl<'a> Component<'a> {
    fn of(component: &'a ComponentReport) -> Self {
        let energy_j = component.energy_parts_j.values().sum();
        let ComponentReport { name, kind, busy_s, utilization, .. } = component;
        Self { name, kind, busy_s: *busy_s, utilization: *utilization, energy_j }
    }
}

impl<'a> Run<'a> {
    fn of(name: &'a str, report: &'a RunReport) -> Self {
        let some = |name: &'static str, value: Option<f64>| value.map(|value| (name, value));
        let results = [
            some("latency_s", Some(report.latency_s)),
            some("energy_j", Some(report.energy_j)),
            some("power_w", Some(report.power_w)),
            some("tokens", report.tokens.map(|n| n as f64)),
            some("tokens_per_s", report.tokens_per_s),
            some("ttft_s", report.ttft_s),
            some("tpot_s", report.tpot_s),
        ];
        Self {
            name,
            experiment: &report.name,
            version: &report.banksia_version,
            seed: report.seed,
            configuration_sha256: &report.configuration_sha256,
            machine: &report.machine,
            workload: &report.workload,
            results: results.into_iter().flatten().collect(),
            metrics: report.metrics.iter().map(|(name, &value)| (name.as_str(), value)).collect(),
            operators: &report.operators,
            components: report.components.iter().map(Component::of).collect(),
        }
    }
}
