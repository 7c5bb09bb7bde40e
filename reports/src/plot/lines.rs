//! Lines of points in a frame.

use super::Series;
use super::axis::Axis;
use super::data::{Chart, Data, cell};
use super::drawing::{Drawing, Point};
use super::font::Font;
use super::frame::Frame;
use super::legend::Entry;
use super::palette::{mark, stroke};
use super::style::{HEIGHT, Style};

/// A line with more points than this has marks on so many of them alone.
const MARKED: usize = 24;
const FEW_MARKS: usize = 8;
/// Points closer than this on the page are one.
const RESOLUTION: f64 = 0.2;

/// Draws each series as a line with marks, and a legend where there are several series. On an axis of names there are marks alone:
/// nothing lies between two names. The drawing's numbers are left to the caller to keep.
pub(super) fn draw_lines(series: &[Series], x: Axis, y: Axis, more: &[Entry], style: &Style) -> (Drawing, Font, Frame) {
    let mut drawing = style.page(HEIGHT);
    let font = Font::load(style.font);
    let mut entries: Vec<Entry> = Vec::new();
    if series.len() > 1 || !more.is_empty() {
        let entry = if x.categories { Entry::mark } else { Entry::line };
        entries.extend(series.iter().enumerate().map(|(i, s)| entry(s.name.clone(), i)));
    }
    entries.extend_from_slice(more);
    let frame = Frame::draw(&mut drawing, &font, style, x, y, &entries);
    for (i, series) in series.iter().enumerate() {
        let points: Vec<Point> = series.points.iter().filter_map(|&(x, y)| frame.at(x, y)).collect();
        let every = if points.len() <= MARKED || frame.x.categories { 1 } else { points.len() / FEW_MARKS };
        let mut kept: Vec<Point> = Vec::new();
        for &point in &points {
            let far = |last: &Point| (point.0 - last.0).hypot(point.1 - last.1) >= RESOLUTION;
            if kept.last().is_none_or(far) {
                kept.push(point);
            }
        }
        if kept.len() > 1 && !frame.x.categories {
            stroke(&mut drawing, kept, i);
        }
        for &point in points.iter().skip((every / 2) * (i % 2)).step_by(every.max(1)) {
            mark(&mut drawing, point, 2.2, i);
        }
    }
    (drawing, font, frame)
}

/// Series as a table, in the units of the axes.
pub(super) fn points_of<'a>(chart: Chart, series: impl IntoIterator<Item = &'a Series>, frame: &Frame) -> Data {
    let (x, y) = (&frame.x.described(), &frame.y.described());
    let mut data = Data::new(chart, &["series", &x.title, &y.title], x, y);
    for one in series {
        for &(x, y) in one.points.iter().filter(|p| frame.at(p.0, p.1).is_some()) {
            data.rows.push(vec![one.name.clone(), abscissa(&frame.x, x), cell(frame.y.shown(y))]);
        }
    }
    data
}

/// A value of an axis as a cell: its name on an axis of names.
pub(super) fn abscissa(axis: &Axis, value: f64) -> String {
    let name = axis.ticks.iter().find(|(place, _)| axis.categories && (place - value).abs() < 1e-9);
    name.map_or_else(|| cell(axis.shown(value)), |(_, name)| name.clone())
}
