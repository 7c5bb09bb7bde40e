//! Predicted against measured.

use std::collections::{BTreeMap, BTreeSet};

use super::Series;
use super::axis::{Axis, Quantity, Scaling};
use super::data::{Chart, Rule};
use super::drawing::{Anchor, Color, Drawing};
use super::font::Font;
use super::frame::Frame;
use super::legend::{Entry, Swatch};
use super::lines::points_of;
use super::palette::{GREY, INK, mark};
use super::style::{SMALL, Style};
use crate::validation::{Pair, Subject, error_statistics};

/// The bands about equality: what share above and below, and the shade.
const BANDS: [(f64, Color); 2] = [(0.25, Color(0xf1, 0xf1, 0xf1)), (0.10, Color(0xdd, 0xdd, 0xdd))];

/// Each series' points are `(measured, predicted)` in the base unit of `quantity`; both axes are logarithmic and alike, the
/// line is equality and the bands are 10 % and 25 % about it. The mean absolute error and the number of points stand in it.
pub fn validation(series: &[Series], quantity: &Quantity, style: &Style) -> Drawing {
    let points = || series.iter().flat_map(|s| s.points.iter());
    let both = || points().flat_map(|&(measured, predicted)| [measured, predicted]);
    let axis = |name: &str| {
        let name = Quantity::new(format!("{name} {}", quantity.name), quantity.unit.clone());
        Axis::fit(&name, Scaling::Log, both(), 5)
    };
    let mut entries: Vec<Entry> = Vec::new();
    if series.len() > 1 {
        entries.extend(series.iter().enumerate().map(|(i, s)| Entry::mark(s.name.clone(), i)));
    }
    for (share, shade) in BANDS.iter().rev() {
        entries.push(Entry { name: format!("±{:.0} %", share * 100.0), color: *shade, swatch: Swatch::Fill });
    }
    let mut drawing = style.page(200.0);
    let font = Font::load(style.font);
    let frame = Frame::draw(&mut drawing, &font, style, axis("Measured"), axis("Predicted"), &entries);
    let (low, high) = (frame.x.low(), frame.x.high());
    for (share, shade) in BANDS {
        band(&mut drawing, &frame, (low, high), share, shade);
    }
    drawing.dashes(&[(frame.left, frame.bottom), (frame.right, frame.top)], (3.0, 1.5), 0.8, GREY);
    for (i, series) in series.iter().enumerate() {
        // Points that fall on the same quarter of a point on the page look as one, and thousands of them do.
        let mut seen = BTreeSet::new();
        for &(measured, predicted) in &series.points {
            if let Some(at) = frame.at(measured, predicted)
                && seen.insert(((at.0 * 4.0) as i64, (at.1 * 4.0) as i64))
            {
                mark(&mut drawing, at, if series.points.len() > 200 { 1.1 } else { 1.7 }, i);
            }
        }
    }
    let pairs: Vec<Pair> =
        points().map(|&(measured, predicted)| Pair { label: String::new(), measured, predicted }).collect();
    if let Some(errors) = error_statistics(&pairs) {
        let x = frame.left + 5.0;
        let text = format!("MAPE {:.1} %", errors.mape_pct);
        drawing.text(text, (x, frame.top + 7.0), SMALL, Anchor::Start, INK);
        let text = format!("{} points", crate::units::count(errors.rows as u64));
        drawing.text(text, (x, frame.top + 16.0), SMALL, Anchor::Start, INK);
    }
    let mut data = points_of(Chart::Marks, series, &frame);
    data.rules.push(Rule::Equality);
    frame.finish(&mut drawing, &font, style, data);
    drawing
}

/// What the values of a suite's metric are: the quantity, and the factor to its base unit. Latencies are in microseconds,
/// energies in joules; other metrics have their unit in their name, or are counts of cycles.
fn quantity_of(metric: &str) -> (Quantity, f64) {
    let name = crate::units::words(metric);
    match metric {
        "latency" => (Quantity::new(name, "s"), 1e-6),
        "energy" => (Quantity::new(name, "J"), 1.0),
        "cycles" => (Quantity::new("time", "cycles"), 1.0),
        "read_latency_sum" => (Quantity::new("sum of read latencies", "cycles"), 1.0),
        _ => {
            let (Quantity { name, unit }, factor) = super::inputs::column_quantity(metric);
            (Quantity::new(name, unit), factor)
        }
    }
}

/// Compared rows of several subjects, as a plot per metric, in the order of the metrics' first rows: one quantity, with its
/// unit, on both axes. A row that stands in several groups of a metric (among all rows of its operator, and among those of its
/// shape) is drawn and counted once, in the largest of them. A series is told by what differs: the device, the operator.
/// Metrics without a row have no plot.
pub fn validation_by_metric(groups: &[(&Subject, &[Pair])]) -> Vec<(String, Drawing)> {
    let mut metrics: Vec<&str> = Vec::new();
    for (subject, pairs) in groups {
        if !pairs.is_empty() && !metrics.contains(&subject.metric.as_str()) {
            metrics.push(&subject.metric);
        }
    }
    let plot = |metric: &str| {
        let (quantity, factor) = quantity_of(metric);
        let mut series = series_of(groups, metric);
        for point in series.iter_mut().flat_map(|s| &mut s.points) {
            *point = (point.0 * factor, point.1 * factor);
        }
        (metric.to_owned(), validation(&series, &quantity, &Style::default()))
    };
    metrics.into_iter().map(plot).collect()
}

/// Each group of a metric as a series of the rows that no larger group has.
fn series_of(groups: &[(&Subject, &[Pair])], metric: &str) -> Vec<Series> {
    let groups: Vec<&(&Subject, &[Pair])> = groups.iter().filter(|(s, _)| s.metric == metric).collect();
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(groups[i].1.len()));
    let mut owned: Vec<Vec<(f64, f64)>> = vec![Vec::new(); groups.len()];
    // How often each row was drawn for its device. A group may have a row twice, measured twice; a smaller group with the
    // same rows has none of its own.
    let mut drawn: BTreeMap<RowKey<'_>, usize> = BTreeMap::new();
    for i in order {
        let (subject, pairs) = groups[i];
        let mut here: BTreeMap<RowKey<'_>, usize> = BTreeMap::new();
        for pair in *pairs {
            let key = (subject.device.as_str(), pair.label.as_str(), pair.measured.to_bits(), pair.predicted.to_bits());
            let times = here.entry(key).or_default();
            *times += 1;
            if *times > drawn.get(&key).copied().unwrap_or(0) {
                owned[i].push((pair.measured, pair.predicted));
            }
        }
        for (key, times) in here {
            let known = drawn.entry(key).or_default();
            *known = times.max(*known);
        }
    }
    let kept: Vec<usize> = (0..groups.len()).filter(|&i| !owned[i].is_empty()).collect();
    let differ = |of: fn(&Subject) -> &str| kept.iter().any(|&i| of(groups[i].0) != of(groups[kept[0]].0));
    let (devices, operators) = (differ(|s| &s.device), differ(|s| &s.op));
    let name = |subject: &Subject| match (devices, operators) {
        (true, false) => subject.device.clone(),
        (false, _) => subject.op.clone(),
        (true, true) => format!("{} {}", subject.device, subject.op),
    };
    kept.iter().map(|&i| Series { name: name(groups[i].0), points: std::mem::take(&mut owned[i]) }).collect()
}

/// What tells rows of a metric apart: device, label, measured and predicted value.
type RowKey<'a> = (&'a str, &'a str, u64, u64);

/// The area between `(1 - share)` and `(1 + share)` times equality, cut at the frame.
fn band(drawing: &mut Drawing, frame: &Frame, (low, high): (f64, f64), share: f64, shade: Color) {
    let (over, under) = (1.0 + share, 1.0 - share);
    // Anticlockwise from the bottom left; on logarithmic axes every edge is straight.
    let corners =
        [(low, low), (low / under, low), (high, high * under), (high, high), (high / over, high), (low, low * over)];
    drawing.area(corners.iter().filter_map(|&(x, y)| frame.at(x, y)).collect(), shade);
}

#[cfg(test)]
mod tests {
    use super::super::drawing::Shape;
    use super::*;

    fn subject(device: &str, op: &str, metric: &str) -> Subject {
        Subject { suite: "s".into(), device: device.into(), op: op.into(), metric: metric.into() }
    }

    fn pairs(from: u32, to: u32) -> Vec<Pair> {
        let pair = |i: u32| Pair { label: format!("row {i}"), measured: f64::from(i), predicted: f64::from(i) * 1.1 };
        (from..to).map(pair).collect()
    }

    fn says(drawing: &Drawing, words: &str) -> bool {
        drawing.shapes.iter().any(|s| matches!(s, Shape::Text { text, .. } if text == words))
    }

    #[test]
    fn each_row_is_drawn_once_and_each_quantity_by_itself() {
        let mut all = pairs(1, 9);
        // A row that was measured twice, alike, is two rows.
        all.push(all[0].clone());
        let (first, second, other) = (pairs(1, 4), pairs(4, 9), pairs(1, 3));
        let subjects = [
            subject("h200", "gemm 1x1x1", "latency"),
            subject("h200", "gemm", "latency"),
            subject("h200", "gemm 2x2x2", "latency"),
            subject("h200", "gemm", "energy"),
            subject("h200", "add", "latency"),
            subject("h200", "add", "dram_read_bytes"),
        ];
        let rows = [&first[..], &all[..], &second[..], &other[..], &other[..1], &[]];
        let groups: Vec<(&Subject, &[Pair])> = subjects.iter().zip(rows).collect();
        let plots = validation_by_metric(&groups);
        let metrics: Vec<&str> = plots.iter().map(|(metric, _)| metric.as_str()).collect();
        assert_eq!(metrics, ["latency", "energy"]);
        let (latency, energy) = (&plots[0].1, &plots[1].1);
        // Nine of gemm; the row of `add` has the label and the values of one of them, and is counted with it.
        assert!(says(latency, "9 points") && says(latency, "MAPE 10.0 %"), "{:?}", latency.shapes);
        assert!(says(latency, "Measured latency (µs)") && says(latency, "Predicted latency (µs)"));
        assert!(says(energy, "2 points") && says(energy, "Measured energy (J)"));
        assert!(!says(latency, "gemm 1x1x1"));
    }

    #[test]
    fn other_devices_rows_are_their_own() {
        let rows = pairs(1, 4);
        let subjects = [subject("a", "reads", "cycles"), subject("b", "reads", "cycles")];
        let groups: Vec<(&Subject, &[Pair])> = subjects.iter().map(|s| (s, &rows[..])).collect();
        let plots = validation_by_metric(&groups);
        assert!(says(&plots[0].1, "6 points") && says(&plots[0].1, "a") && says(&plots[0].1, "b"));
        assert!(says(&plots[0].1, "Measured time (cycles)"));
    }
}
