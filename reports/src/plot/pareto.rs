//! Two costs against each other, and the points that no other beats in both.

use super::axis::{Axis, Quantity, Scaling};
use super::drawing::{Anchor, Drawing, Mark, Point};
use super::font::Font;
use super::frame::{COLUMN, Entry, Frame, GREY, HEIGHT, INK, SMALL, Swatch, color, fit_text};

/// At most so many points of the front are named.
const NAMED: usize = 8;

/// One design with two costs, of which less is better.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ParetoPoint {
    /// The design's name.
    pub name: String,
    /// The cost on the horizontal axis.
    pub x: f64,
    /// The cost on the vertical axis.
    pub y: f64,
}

/// All points, those on the front in colour and joined by its steps; a front of at most eight is named.
pub fn pareto(points: &[ParetoPoint], x: (&Quantity, Scaling), y: (&Quantity, Scaling)) -> Drawing {
    let (x_axis, y_axis) =
        (Axis::fit(x.0, x.1, points.iter().map(|p| p.x), 5), Axis::fit(y.0, y.1, points.iter().map(|p| p.y), 5));
    let shown: Vec<&ParetoPoint> = points.iter().filter(|p| x_axis.shows(p.x) && y_axis.shows(p.y)).collect();
    let on_front = front(&shown);
    let entries = [
        Entry { name: "Pareto front".into(), color: color(0), swatch: Swatch::Line(Mark::Disc) },
        Entry { name: "Dominated".into(), color: GREY.lighter(0.2), swatch: Swatch::Mark(Mark::Disc) },
    ];
    let entries = if on_front.len() == shown.len() { &entries[..1] } else { &entries[..] };
    let mut drawing = Drawing::new(COLUMN, HEIGHT);
    let font = Font::load();
    let frame = Frame::draw(&mut drawing, &font, x_axis, y_axis, entries);
    for (i, point) in shown.iter().enumerate() {
        if let (false, Some(at)) = (on_front.contains(&i), frame.at(point.x, point.y)) {
            drawing.mark(Mark::Disc, at, 1.8, GREY.lighter(0.2));
        }
    }
    let places: Vec<Point> = on_front.iter().filter_map(|&i| frame.at(shown[i].x, shown[i].y)).collect();
    let steps: Vec<Point> = places.iter().zip(places.iter().skip(1)).flat_map(|(a, b)| [*a, (b.0, a.1)]).collect();
    if let Some(&last) = places.last() {
        drawing.line([steps, vec![last]].concat(), 1.0, color(0));
    }
    for &place in &places {
        drawing.mark(Mark::Disc, place, 2.4, color(0));
    }
    if places.len() <= NAMED {
        name_front(&mut drawing, &font, &frame, &places, &on_front.iter().map(|&i| shown[i]).collect::<Vec<_>>());
    }
    drawing
}

/// Names beside the front's points, above and to the right, where they do not cover one another.
fn name_front(drawing: &mut Drawing, font: &Font, frame: &Frame, places: &[Point], points: &[&ParetoPoint]) {
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    for (&(px, py), point) in places.iter().zip(points) {
        let name = fit_text(font, &point.name, SMALL, 90.0);
        let width = font.width(&name, SMALL);
        let y = (py - 6.0).max(frame.top + 3.0);
        let x = (px + 3.0).min(frame.right - width);
        let free = taken.iter().all(|&(x0, x1, ty)| x > x1 || x + width < x0 || (y - ty).abs() >= SMALL);
        if free {
            drawing.text(name, (x, y), SMALL, Anchor::Start, INK);
            taken.push((x, x + width, y));
        }
    }
}

/// Indices of the points that no other beats in both costs, by ascending x. Of equal points the first stays.
fn front(points: &[&ParetoPoint]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| points[a].x.total_cmp(&points[b].x).then(points[a].y.total_cmp(&points[b].y)));
    let mut best = f64::INFINITY;
    order.retain(|&i| {
        let better = points[i].y < best;
        best = best.min(points[i].y);
        better
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_what_no_other_point_beats_in_both() {
        let at = |x: f64, y: f64| ParetoPoint { name: String::new(), x, y };
        let points = [at(3.0, 1.0), at(1.0, 3.0), at(2.0, 2.0), at(2.0, 2.5), at(4.0, 1.0), at(2.0, 2.0)];
        assert_eq!(front(&points.iter().collect::<Vec<_>>()), [1, 2, 0]);
    }
}
