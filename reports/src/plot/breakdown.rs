//! Which operators the time and the energy went to.

use super::axis::{Axis, Quantity, Scaling};
use super::data::{Chart, Data, cell};
use super::drawing::Drawing;
use super::frame::keep;
use super::legend::Entry;
use super::names;
use super::palette::COLORS;
use super::rows::{Notes, Rows, Stacked, largest};
use super::style::Style;
use crate::RunReport;
use crate::units::quantity;

/// Operators with a bar of their own; the rest are one bar.
const SHOWN: usize = 12;

/// For one report, each operator's share of latency and of energy as a pair of bars, with its latency beside them; for several, a stacked bar of latency
/// shares each, with the latency beside it.
pub fn breakdown(reports: &[RunReport], style: &Style) -> Drawing {
    match reports {
        [report] => one(report, style),
        several => stacked(several, style),
    }
}

fn share(part: f64, whole: f64) -> f64 {
    let percent = part / whole * 100.0;
    if percent.is_finite() { percent.clamp(0.0, 100.0) } else { 0.0 }
}

fn one(report: &RunReport, style: &Style) -> Drawing {
    let mut operators: Vec<_> = report.operators.iter().collect();
    operators.sort_by(|a, b| b.latency_s.total_cmp(&a.latency_s));
    let own = if operators.len() > SHOWN + 1 { SHOWN } else { operators.len() };
    let mut rows: Vec<(String, f64, f64)> =
        operators.iter().take(own).map(|o| (o.name.clone(), o.latency_s, o.energy_j)).collect();
    if let Some(rest @ [_, ..]) = operators.get(own..) {
        let sum = |of: fn(&crate::OperatorReport) -> f64| rest.iter().map(|o| of(o)).sum();
        rows.push((format!("{} others", rest.len()), sum(|o| o.latency_s), sum(|o| o.energy_j)));
    }
    let shares: Vec<(f64, f64)> =
        rows.iter().map(|(_, s, j)| (share(*s, report.latency_s), share(*j, report.energy_j))).collect();
    let names: Vec<String> = rows.iter().map(|(name, _, _)| name.clone()).collect();
    let entries = [
        Entry::bar(format!("Latency ({} in all)", quantity(report.latency_s, "s")), 0),
        Entry::bar(format!("Energy ({} in all)", quantity(report.energy_j, "J")), 1),
    ];
    let values = shares.iter().flat_map(|&(a, b)| [a, b]).chain([0.0, 5.0]);
    let axis = Axis::fit(&Quantity::new("Share of the run", "%"), Scaling::Linear, values, 4);
    let (mut drawing, _, page) = Rows::draw(&names, axis, &entries, (13.5, 30.0), style);
    let (x, y) = page.described(&names);
    let mut data = Data::new(Chart::RowPairs, &["operator", "series", &x.title], &x, &y);
    for (row, &(latency, energy)) in shares.iter().enumerate() {
        page.bar(&mut drawing, (row, 0, 2), (0.0, latency), Some(0));
        page.bar(&mut drawing, (row, 1, 2), (0.0, energy), Some(1));
        page.note(&mut drawing, row, (Notes::AtBar, latency.max(energy)), quantity(rows[row].1, "s"));
        for (what, share) in [("latency", latency), ("energy", energy)] {
            data.rows.push(vec![names[row].clone(), what.to_owned(), cell(share)]);
        }
    }
    keep(&mut drawing, style, data);
    drawing
}

fn stacked(reports: &[RunReport], style: &Style) -> Drawing {
    let shares = |report: &RunReport| -> Vec<(String, f64)> {
        report.operators.iter().map(|o| (o.name.clone(), share(o.latency_s, report.latency_s))).collect()
    };
    let rows: Vec<Vec<(String, f64)>> = reports.iter().map(shares).collect();
    let borrowed = |row: &'_ [(String, f64)]| row.iter().map(|(n, v)| (n.clone(), *v)).collect::<Vec<_>>();
    let all: Vec<(String, f64)> = rows.iter().flat_map(|row| borrowed(row)).collect();
    let mut parts = largest(all.iter().map(|(name, value)| (name.as_str(), *value)), COLORS);
    parts.sort_by_key(|part| style.rank(part));
    let stacked = Stacked {
        rows: names(reports)
            .into_iter()
            .zip(&rows)
            .map(|(name, row)| (name, row.iter().map(|(n, v)| (n.as_str(), *v)).collect()))
            .collect(),
        parts,
        notes: reports.iter().map(|r| quantity(r.latency_s, "s")).collect(),
    };
    let axis = Axis::fixed("Share of latency (%)", 0.0, 100.0, &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
    stacked.draw(axis, str::to_owned, style)
}
