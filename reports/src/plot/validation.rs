//! Predicted against measured.

use std::collections::BTreeSet;

use super::Series;
use super::axis::{Axis, Quantity, Scaling};
use super::drawing::{Anchor, Color, Drawing, Mark};
use super::font::Font;
use super::frame::{COLUMN, Entry, Frame, GREY, INK, SMALL, Swatch, color};
use crate::validation::{Pair, error_statistics};

/// The bands about equality: what share above and below, and the shade.
const BANDS: [(f64, Color); 2] = [(0.25, Color(0xf1, 0xf1, 0xf1)), (0.10, Color(0xdd, 0xdd, 0xdd))];

/// Each series' points are `(measured, predicted)` in the base unit of `quantity`; both axes are logarithmic and alike, the
/// line is equality and the bands are 10 % and 25 % about it. The mean absolute error and the number of points stand in it.
pub fn validation(series: &[Series], quantity: &Quantity) -> Drawing {
    let points = || series.iter().flat_map(|s| s.points.iter());
    let both = || points().flat_map(|&(measured, predicted)| [measured, predicted]);
    let axis = |name: &str| {
        let name = Quantity::new(format!("{name} {}", quantity.name), quantity.unit.clone());
        Axis::fit(&name, Scaling::Log, both(), 5)
    };
    let mut entries: Vec<Entry> = Vec::new();
    if series.len() > 1 {
        entries.extend(series.iter().enumerate().map(|(i, s)| Entry {
            name: s.name.clone(),
            color: color(i),
            swatch: Swatch::Mark(Mark::of(i)),
        }));
    }
    for (share, shade) in BANDS.iter().rev() {
        entries.push(Entry { name: format!("±{:.0} %", share * 100.0), color: *shade, swatch: Swatch::Fill });
    }
    let mut drawing = Drawing::new(COLUMN, 200.0);
    let font = Font::load();
    let frame = Frame::draw(&mut drawing, &font, axis("Measured"), axis("Predicted"), &entries);
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
                drawing.mark(Mark::of(i), at, if series.points.len() > 200 { 1.1 } else { 1.7 }, color(i));
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
    drawing
}

/// The area between `(1 - share)` and `(1 + share)` times equality, cut at the frame.
fn band(drawing: &mut Drawing, frame: &Frame, (low, high): (f64, f64), share: f64, shade: Color) {
    let (over, under) = (1.0 + share, 1.0 - share);
    // Anticlockwise from the bottom left; on logarithmic axes every edge is straight.
    let corners =
        [(low, low), (low / under, low), (high, high * under), (high, high), (high / over, high), (low, low * over)];
    drawing.area(corners.iter().filter_map(|&(x, y)| frame.at(x, y)).collect(), shade);
}
