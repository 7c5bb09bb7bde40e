//! Several reports side by side: one row each.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::csv_files;
use crate::grid::{Align, Grid, clip};
use crate::units::{metric, number, quantity};
use crate::{ReportError, RunReport};

/// Shares shown in the table for a person, in this order, where any report has them; files have every metric.
const SHOWN_METRICS: [(&str, &str); 4] = [
    ("row_hit_rate", "row hits"),
    ("mac_utilization", "MAC util."),
    ("bandwidth_utilization", "bandwidth"),
    ("arithmetic_utilization", "arithmetic"),
];

/// One report's row. Field names are those of the report, with `_per_token` where divided by the tokens generated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparisonRow {
    /// The experiment.
    pub name: String,
    /// The model.
    pub model: String,
    /// The machine.
    pub machine: String,
    /// Latency of the run.
    pub latency_s: f64,
    /// Latency divided by the tokens generated.
    pub latency_per_token_s: Option<f64>,
    /// Tokens per second.
    pub tokens_per_s: Option<f64>,
    /// Energy of the run.
    pub energy_j: f64,
    /// Energy divided by the tokens generated.
    pub energy_per_token_j: Option<f64>,
    /// Average power.
    pub power_w: f64,
    /// The report's metrics.
    pub metrics: BTreeMap<String, f64>,
}

/// One row per report, in the given order.
pub fn compare(reports: &[RunReport]) -> Vec<ComparisonRow> {
    reports
        .iter()
        .map(|report| {
            let per_token = |v: f64| report.tokens.filter(|&n| n > 0).map(|n| v / n as f64);
            ComparisonRow {
                name: report.name.clone(),
                model: report.workload.model.clone(),
                machine: report.machine.name.clone(),
                latency_s: report.latency_s,
                latency_per_token_s: per_token(report.latency_s),
                tokens_per_s: report.tokens_per_s,
                energy_j: report.energy_j,
                energy_per_token_j: per_token(report.energy_j),
                power_w: report.power_w,
                metrics: report.metrics.clone(),
            }
        })
        .collect()
}

/// The comparison for a terminal.
pub fn comparison_table(rows: &[ComparisonRow], color: bool) -> String {
    grid(rows).text(color)
}

/// The comparison as a Markdown table.
pub fn comparison_markdown(rows: &[ComparisonRow]) -> String {
    grid(rows).markdown()
}

/// The comparison as JSON: a list of rows.
///
/// # Errors
/// The JSON writer fails.
pub fn comparison_json(rows: &[ComparisonRow]) -> Result<String, ReportError> {
    let json = |source| ReportError::Json { what: "comparison", source };
    Ok(serde_json::to_string_pretty(rows).map_err(json)? + "\n")
}

/// The comparison as CSV, with a column per metric that any report has.
///
/// # Errors
/// The CSV writer fails.
pub fn comparison_csv(rows: &[ComparisonRow]) -> Result<String, ReportError> {
    let metrics: BTreeSet<&String> = rows.iter().flat_map(|row| row.metrics.keys()).collect();
    let fixed = [
        "name",
        "model",
        "machine",
        "latency_s",
        "latency_per_token_s",
        "tokens_per_s",
        "energy_j",
        "energy_per_token_j",
        "power_w",
    ];
    let header: Vec<String> =
        fixed.iter().map(|&name| name.to_owned()).chain(metrics.iter().map(|&m| m.clone())).collect();
    let number = |v: Option<f64>| v.map_or(String::new(), csv_files::number);
    let lines = rows.iter().map(|row| {
        let mut line = vec![row.name.clone(), row.model.clone(), row.machine.clone()];
        line.extend([
            number(Some(row.latency_s)),
            number(row.latency_per_token_s),
            number(row.tokens_per_s),
            number(Some(row.energy_j)),
            number(row.energy_per_token_j),
            number(Some(row.power_w)),
        ]);
        line.extend(metrics.iter().map(|&m| number(row.metrics.get(m).copied())));
        line
    });
    csv_files::render("comparison", &header, lines)
}

fn grid(rows: &[ComparisonRow]) -> Grid {
    let differ = |of: fn(&ComparisonRow) -> &str| rows.iter().any(|row| of(row) != of(&rows[0]));
    // A column that says the same in every row says nothing; the model always stands.
    let with_machine = differ(|row| &row.machine) || rows.len() == 1;
    let with_name = !differ(|row| &row.model) && !differ(|row| &row.machine) && differ(|row| &row.name);
    let with_tokens = rows.iter().any(|row| row.tokens_per_s.is_some());
    let metrics: Vec<(&str, &str)> =
        SHOWN_METRICS.into_iter().filter(|(key, _)| rows.iter().any(|row| row.metrics.contains_key(*key))).collect();
    let mut columns: Vec<(&str, Align)> = Vec::new();
    if with_name {
        columns.push(("experiment", Align::Left));
    }
    columns.push(("model", Align::Left));
    if with_machine {
        columns.push(("machine", Align::Left));
    }
    columns.push(("latency", Align::Right));
    if with_tokens {
        columns.extend([("tokens/s", Align::Right), ("energy/token", Align::Right)]);
    } else {
        columns.push(("energy", Align::Right));
    }
    columns.push(("power", Align::Right));
    columns.extend(metrics.iter().map(|&(_, title)| (title, Align::Right)));
    let mut grid = Grid::new(columns);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    for row in rows {
        let mut cells = Vec::new();
        if with_name {
            cells.push(clip(&row.name, 24));
        }
        cells.push(clip(&row.model, 20));
        if with_machine {
            cells.push(clip(&row.machine, 16));
        }
        cells.push(quantity(row.latency_s, "s"));
        if with_tokens {
            cells.push(or_dash(row.tokens_per_s.map(number)));
            cells.push(or_dash(row.energy_per_token_j.map(|j| quantity(j, "J"))));
        } else {
            cells.push(quantity(row.energy_j, "J"));
        }
        cells.push(quantity(row.power_w, "W"));
        cells.extend(metrics.iter().map(|&(key, _)| or_dash(row.metrics.get(key).map(|&v| metric(key, v).1))));
        grid.row(cells);
    }
    grid
}
