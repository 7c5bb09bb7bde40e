//! Any quantity against another.

use super::Series;
use super::axis::{Axis, Quantity, Scaling};
use super::data::Chart;
use super::drawing::Drawing;
use super::lines::{draw_lines, points_of};
use super::style::Style;

/// A line per series, each in order of its abscissa.
pub fn sweep(series: &[Series], x: (&Quantity, Scaling), y: (&Quantity, Scaling), style: &Style) -> Drawing {
    let mut series = series.to_vec();
    for one in &mut series {
        one.points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    }
    let points = || series.iter().flat_map(|s| s.points.iter());
    let x = Axis::fit(x.0, x.1, points().map(|p| p.0), style.x_ticks());
    let y = Axis::fit(y.0, y.1, points().map(|p| p.1), 5);
    let (mut drawing, font, frame) = draw_lines(&series, x, y, &[], style);
    let data = points_of(Chart::Lines, &series, &frame);
    frame.finish(&mut drawing, &font, style, data);
    drawing
}

/// A mark per point over names of things: a point's abscissa is the index of its name, of which `title` says what they are.
pub fn sweep_of_names(
    series: &[Series],
    (title, names): (&str, &[String]),
    y: (&Quantity, Scaling),
    style: &Style,
) -> Drawing {
    let x = Axis::of_names(title, names);
    let y = Axis::fit(y.0, y.1, series.iter().flat_map(|s| s.points.iter()).map(|p| p.1), 5);
    let (mut drawing, font, frame) = draw_lines(series, x, y, &[], style);
    let mut data = points_of(Chart::Marks, series, &frame);
    // Names are cut to the page on the axis, not in a file.
    data.x.names = names.to_vec();
    let places = series.iter().flat_map(|s| s.points.iter()).filter(|p| frame.at(p.0, p.1).is_some());
    for (row, point) in data.rows.iter_mut().zip(places) {
        if let Some(name) = names.get(point.0.max(0.0) as usize) {
            row[1].clone_from(name);
        }
    }
    frame.finish(&mut drawing, &font, style, data);
    drawing
}
