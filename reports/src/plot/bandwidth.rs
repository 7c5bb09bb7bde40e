//! The bandwidth-latency curve of a memory or network.

use super::Series;
use super::axis::{Axis, Quantity, Scaling};
use super::data::{Chart, Rule};
use super::drawing::Drawing;
use super::legend::{Entry, Swatch};
use super::lines::{draw_lines, points_of};
use super::palette::GREY;
use super::style::Style;

/// Latency in seconds against delivered bandwidth in bytes per second, a line per series in the order of the offered load
/// (past saturation a curve may turn back), and the peak as a dashed line where it is known.
pub fn bandwidth(series: &[Series], peak_bytes_per_s: Option<f64>, style: &Style) -> Drawing {
    let points = || series.iter().flat_map(|s| s.points.iter());
    let peak = peak_bytes_per_s.filter(|peak| peak.is_finite() && *peak > 0.0);
    let (x, y) = (Quantity::new("Delivered bandwidth", "B/s"), Quantity::new("Average latency", "s"));
    let x = Axis::fit(&x, Scaling::Linear, points().map(|p| p.0).chain(peak).chain([0.0]), style.x_ticks());
    let y = Axis::fit(&y, Scaling::Linear, points().map(|p| p.1).chain([0.0]), 5);
    let entry = Entry { name: "Peak".into(), color: GREY, swatch: Swatch::Dashes };
    let more = if peak.is_some() { vec![entry] } else { Vec::new() };
    let (mut drawing, font, frame) = draw_lines(series, x, y, &more, style);
    let mut data = points_of(Chart::Lines, series, &frame);
    if let Some(peak) = peak {
        let x = frame.x_at(peak);
        drawing.dashes(&[(x, frame.top), (x, frame.bottom)], (3.0, 1.5), 0.9, GREY);
        data.rules.push(Rule::Upright(frame.x.shown(peak)));
    }
    frame.finish(&mut drawing, &font, style, data);
    drawing
}
