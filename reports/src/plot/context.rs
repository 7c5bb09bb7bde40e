//! Latency of a step against the context that it attends to.

use super::axis::{Axis, Quantity, Scaling};
use super::data::Chart;
use super::drawing::Drawing;
use super::lines::{draw_lines, points_of};
use super::style::Style;
use super::{Series, names};
use crate::RunReport;

/// Latency per generated token against the tokens in the KV cache: a line per report. Reports without decode steps show their
/// other steps.
pub fn context(reports: &[RunReport], style: &Style) -> Drawing {
    let names = names(reports);
    let series: Vec<Series> = reports
        .iter()
        .zip(names)
        .map(|(report, name)| {
            let decodes = report.steps.iter().any(|step| step.phase == "decode");
            let steps = report.steps.iter().filter(|step| !decodes || step.phase == "decode");
            let mut points: Vec<(f64, f64)> = steps.map(|s| (s.context_tokens as f64, s.latency_s)).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Series { name, points }
        })
        .collect();
    let points = || series.iter().flat_map(|s| s.points.iter());
    let x = Axis::fit(&Quantity::new("Context (tokens)", ""), Scaling::Linear, points().map(|p| p.0), style.x_ticks());
    let y = Axis::fit(&Quantity::new("Latency per token", "s"), Scaling::Linear, points().map(|p| p.1), 5);
    let (mut drawing, font, frame) = draw_lines(&series, x, y, &[], style);
    let data = points_of(Chart::Lines, &series, &frame);
    frame.finish(&mut drawing, &font, style, data);
    drawing
}
