//! Lines of points in a frame.

use super::Series;
use super::axis::Axis;
use super::drawing::{Drawing, Mark, Point};
use super::font::Font;
use super::frame::{COLUMN, Entry, Frame, HEIGHT, Swatch, color};

/// A line with more points than this has no marks.
const MARKED: usize = 24;
/// Points closer than this on the page are one.
const RESOLUTION: f64 = 0.2;

/// Draws each series as a line, with marks where they are few, and a legend where there are several series. On an axis of
/// names there are marks alone: nothing lies between two names.
pub(super) fn draw_lines(series: &[Series], x: Axis, y: Axis, more: &[Entry]) -> (Drawing, Frame) {
    let mut drawing = Drawing::new(COLUMN, HEIGHT);
    let font = Font::load();
    let mut entries: Vec<Entry> = Vec::new();
    if series.len() > 1 || !more.is_empty() {
        entries.extend(series.iter().enumerate().map(|(i, s)| Entry {
            name: s.name.clone(),
            color: color(i),
            swatch: if x.categories { Swatch::Mark(Mark::of(i)) } else { Swatch::Line(Mark::of(i)) },
        }));
    }
    entries.extend_from_slice(more);
    let frame = Frame::draw(&mut drawing, &font, x, y, &entries);
    for (i, series) in series.iter().enumerate() {
        let points: Vec<Point> = series.points.iter().filter_map(|&(x, y)| frame.at(x, y)).collect();
        let marked = points.len() <= MARKED || frame.x.categories;
        let marks = points.clone();
        let mut kept: Vec<Point> = Vec::new();
        for point in points {
            let far = |last: &Point| (point.0 - last.0).hypot(point.1 - last.1) >= RESOLUTION;
            if kept.last().is_none_or(far) {
                kept.push(point);
            }
        }
        if kept.len() > 1 && !frame.x.categories {
            drawing.line(kept, 1.2, color(i));
        }
        if marked {
            for point in marks {
                drawing.mark(Mark::of(i), point, 2.2, color(i));
            }
        }
    }
    (drawing, frame)
}
