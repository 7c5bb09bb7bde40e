//! The report's tables as CSV. Column names carry units, as the JSON's field names do.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ReportError, RunReport};

/// Renders a header and rows as CSV with `\n` line ends.
pub(crate) fn render(
    what: &'static str,
    header: &[String],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<String, ReportError> {
    let fail = |reason: String| ReportError::Csv { what, reason };
    // Tables are read with `#` for a comment, so a name that has one is quoted.
    let mut writer = csv::WriterBuilder::new().comment(Some(b'#')).from_writer(Vec::new());
    writer.write_record(header).map_err(|e| fail(e.to_string()))?;
    for row in rows {
        writer.write_record(&row).map_err(|e| fail(e.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|e| fail(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| fail(e.to_string()))
}

/// The shortest text that reads back as the same number; empty where it is not finite.
pub(crate) fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:?}") } else { String::new() }
}

fn keys<'a, V: 'a>(maps: impl Iterator<Item = &'a BTreeMap<String, V>>) -> BTreeSet<&'a str> {
    maps.flat_map(|map| map.keys().map(String::as_str)).collect()
}

fn header(fixed: &[&str], more: impl Iterator<Item = String>) -> Vec<String> {
    fixed.iter().map(|&name| name.to_owned()).chain(more).collect()
}

/// `operators.csv`: one row per operator, in order of first execution; a `bytes_CHANNEL` column per channel of traffic.
///
/// # Errors
/// The CSV writer fails.
pub fn operators_csv(report: &RunReport) -> Result<String, ReportError> {
    let channels = keys(report.operators.iter().map(|o| &o.traffic_bytes));
    let header = header(
        &["operator", "count", "latency_s", "latency_share", "busy_s", "energy_j", "energy_share", "flops"],
        channels.iter().map(|c| format!("bytes_{c}")),
    );
    let rows = report.operators.iter().map(|o| {
        let mut row = vec![
            o.name.clone(),
            o.count.to_string(),
            number(o.latency_s),
            number(o.latency_s / report.latency_s),
            number(o.busy_s),
            number(o.energy_j),
            number(o.energy_j / report.energy_j),
            number(o.flops),
        ];
        row.extend(channels.iter().map(|&c| o.traffic_bytes.get(c).copied().unwrap_or(0).to_string()));
        row
    });
    render("table of operators", &header, rows)
}

/// `components.csv`: one row per component; an `energy_PART_j` column per energy part and a `bytes_CHANNEL` column per channel
/// of traffic.
///
/// # Errors
/// The CSV writer fails.
pub fn components_csv(report: &RunReport) -> Result<String, ReportError> {
    let channels = keys(report.components.iter().map(|c| &c.traffic_bytes));
    let parts = keys(report.components.iter().map(|c| &c.energy_parts_j));
    let header = header(
        &["component", "kind", "busy_s", "utilization", "energy_j"],
        parts.iter().map(|p| format!("energy_{p}_j")).chain(channels.iter().map(|c| format!("bytes_{c}"))),
    );
    let rows = report.components.iter().map(|component| {
        let mut row = vec![
            component.name.clone(),
            component.kind.clone(),
            number(component.busy_s),
            number(component.utilization),
            number(component.energy_parts_j.values().sum()),
        ];
        row.extend(parts.iter().map(|&p| number(component.energy_parts_j.get(p).copied().unwrap_or(0.0))));
        row.extend(channels.iter().map(|&c| component.traffic_bytes.get(c).copied().unwrap_or(0).to_string()));
        row
    });
    render("table of components", &header, rows)
}

/// `steps.csv`: one row per step, in order.
///
/// # Errors
/// The CSV writer fails.
pub fn steps_csv(report: &RunReport) -> Result<String, ReportError> {
    let header = header(&["step", "phase", "context_tokens", "start_s", "latency_s", "energy_j"], std::iter::empty());
    let rows = report.steps.iter().enumerate().map(|(i, step)| {
        vec![
            i.to_string(),
            step.phase.clone(),
            step.context_tokens.to_string(),
            number(step.start_s),
            number(step.latency_s),
            number(step.energy_j),
        ]
    });
    render("table of steps", &header, rows)
}
