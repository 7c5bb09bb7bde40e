//! Any quantity against another.

use super::Series;
use super::axis::{Axis, Quantity, Scaling};
use super::drawing::Drawing;
use super::lines::draw_lines;

/// A line per series, each in order of its abscissa.
pub fn sweep(series: &[Series], x: (&Quantity, Scaling), y: (&Quantity, Scaling)) -> Drawing {
    let mut series = series.to_vec();
    for one in &mut series {
        one.points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    }
    let points = || series.iter().flat_map(|s| s.points.iter());
    let x = Axis::fit(x.0, x.1, points().map(|p| p.0), 5);
    let y = Axis::fit(y.0, y.1, points().map(|p| p.1), 5);
    draw_lines(&series, x, y, &[]).0
}

/// A mark per point over names of things: a point's abscissa is the index of its name, of which `title` says what they are.
pub fn sweep_of_names(series: &[Series], (title, names): (&str, &[String]), y: (&Quantity, Scaling)) -> Drawing {
    let x = Axis::of_names(title, names);
    let y = Axis::fit(y.0, y.1, series.iter().flat_map(|s| s.points.iter()).map(|p| p.1), 5);
    draw_lines(series, x, y, &[]).0
}
