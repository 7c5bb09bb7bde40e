//! What the energy was spent on.

use super::axis::{Axis, Quantity, Scaling};
use super::drawing::Drawing;
use super::palette::COLORS;
use super::rows::{Stacked, largest};
use super::style::Style;
use super::{label, names};
use crate::RunReport;
use crate::units::quantity;

/// Energy by cause as a stacked bar per report: per token where every report generates, else of the run.
pub fn energy(reports: &[RunReport], style: &Style) -> Drawing {
    let tokens: Option<Vec<f64>> = reports.iter().map(|r| r.tokens.filter(|&n| n > 0).map(|n| n as f64)).collect();
    let divisor = |i: usize| tokens.as_ref().map_or(1.0, |tokens| tokens[i]);
    let rows: Vec<(String, Vec<(&str, f64)>)> = names(reports)
        .into_iter()
        .zip(reports)
        .enumerate()
        .map(|(i, (name, r))| (name, r.energy_parts_j.iter().map(|(n, &j)| (n.as_str(), j / divisor(i))).collect()))
        .collect();
    let mut parts = largest(rows.iter().flat_map(|(_, parts)| parts.iter().copied()), COLORS);
    parts.sort_by_key(|part| style.rank(part));
    let sum = |parts: &[(&str, f64)]| parts.iter().map(|p| p.1.max(0.0)).filter(|v| v.is_finite()).sum::<f64>();
    let sums: Vec<f64> = rows.iter().map(|(_, parts)| sum(parts)).collect();
    let title = if tokens.is_some() { "Energy per token" } else { "Energy" };
    let axis = Axis::fit(&Quantity::new(title, "J"), Scaling::Linear, sums.iter().copied().chain([0.0]), 5);
    let notes = sums.iter().map(|&j| quantity(j, "J")).collect();
    Stacked { rows, parts, notes }.draw(axis, |part| called(part, style), style)
}

/// A cause as a label: what the style calls it, else its key in words.
fn called(part: &str, style: &Style) -> String {
    let name = style.called(part);
    if name == part { label(part) } else { name }
}
