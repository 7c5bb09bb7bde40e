//! How values are spread: the share of them at or below each.

use super::Series;
use super::axis::{Axis, Quantity, Scaling};
use super::data::{Chart, Data, cell};
use super::drawing::{Drawing, Point};
use super::font::Font;
use super::frame::Frame;
use super::legend::{Entry, Swatch};
use super::palette::{color, stroke};
use super::style::{HEIGHT, Style};

/// The empirical distribution of each series' abscissas, as a line of steps each. Values that the axis cannot show are not
/// among those of which a share is taken.
pub fn cdf(series: &[Series], quantity: &Quantity, scaling: Scaling, style: &Style) -> Drawing {
    let values = series.iter().flat_map(|s| s.points.iter()).map(|p| p.0);
    let x = Axis::fit(quantity, scaling, values, style.x_ticks());
    let y = Axis::fixed("Share of rows (%)", 0.0, 100.0, &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
    let entry = |(i, s): (usize, &Series)| Entry { name: s.name.clone(), color: color(i), swatch: Swatch::Plain(i) };
    let entries: Vec<Entry> =
        if series.len() > 1 { series.iter().enumerate().map(entry).collect() } else { Vec::new() };
    let mut drawing = style.page(HEIGHT);
    let font = Font::load(style.font);
    let frame = Frame::draw(&mut drawing, &font, style, x, y, &entries);
    let (x, y) = (&frame.x.described(), &frame.y.described());
    let mut data = Data::new(Chart::Steps, &["series", &x.title, &y.title], x, y);
    for (i, series) in series.iter().enumerate() {
        let steps = steps(series, &frame);
        for &(value, share) in &steps {
            data.rows.push(vec![series.name.clone(), cell(frame.x.shown(value)), cell(share)]);
        }
        let line = on_page(&steps, &frame);
        if line.len() > 1 {
            stroke(&mut drawing, line, i);
        }
    }
    frame.finish(&mut drawing, &font, style, data);
    drawing
}

/// Each different value, and the percentage of values at or below it.
fn steps(series: &Series, frame: &Frame) -> Vec<(f64, f64)> {
    let mut values: Vec<f64> = series.points.iter().map(|p| p.0).filter(|&v| frame.x.shows(v)).collect();
    values.sort_by(f64::total_cmp);
    let mut below = 0;
    // Equal values are one step.
    let step = |equal: &[f64]| {
        below += equal.len();
        (equal[0], 100.0 * below as f64 / values.len() as f64)
    };
    values.chunk_by(|a, b| a.total_cmp(b).is_eq()).map(step).collect()
}

/// From the axis at the left up to all of the values at the right.
fn on_page(steps: &[(f64, f64)], frame: &Frame) -> Vec<Point> {
    let Some(&(first, _)) = steps.first() else { return Vec::new() };
    let mut line = vec![(frame.x_at(first), frame.y_at(0.0))];
    for &(value, share) in steps {
        let before = line.last().map_or(0.0, |last| last.1);
        let x = frame.x_at(value);
        line.extend([(x, before), (x, frame.y_at(share))]);
    }
    line.push((frame.right, frame.y_at(100.0)));
    line
}

#[cfg(test)]
mod tests {
    use super::super::drawing::Shape;
    use super::*;

    #[test]
    fn half_of_the_values_lie_below_the_median() {
        let points = [4.0, 1.0, 2.0, 2.0, f64::NAN].map(|v| (v, 0.0)).to_vec();
        let drawing = cdf(
            &[Series { name: "a".into(), points }],
            &Quantity::new("Error", "%"),
            Scaling::Linear,
            &Style::default(),
        );
        let line = drawing.shapes.iter().find_map(|s| match s {
            Shape::Line { points, width, .. } if (*width - 1.2).abs() < 1e-9 => Some(points.clone()),
            _ => None,
        });
        let line = line.unwrap();
        let (bottom, top) = (line[0].1, line[line.len() - 1].1);
        let heights: Vec<f64> = line.iter().map(|p| (p.1 - bottom) / (top - bottom) * 100.0).map(f64::round).collect();
        assert_eq!(heights, [0.0, 0.0, 25.0, 25.0, 75.0, 75.0, 100.0, 100.0]);
    }
}
