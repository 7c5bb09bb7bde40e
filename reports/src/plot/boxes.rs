//! How values are spread, by category: boxes with whiskers (Tukey's).

use super::axis::{Axis, Quantity, Scaling};
use super::data::{Chart, Data, cell};
use super::drawing::{Drawing, Mark};
use super::font::Font;
use super::frame::Frame;
use super::palette::{Hatch, INK, color, filled};
use super::style::{HEIGHT, Style};

/// A whisker reaches to the last value within so many boxes' lengths of its box; what lies beyond is a mark.
const WHISKER: f64 = 1.5;
/// Half the width of a box, in places, and its most in points.
const HALF: f64 = 0.3;
const WIDEST: f64 = 14.0;
/// At most so many marks beyond the whiskers of a box are drawn: more are a smear.
const BEYOND: usize = 200;

/// A category's values as a box.
#[derive(Debug, Clone, PartialEq)]
struct Summary {
    low: f64,
    quarters: [f64; 3],
    high: f64,
    beyond: Vec<f64>,
    rows: usize,
}

/// The value below which a share of sorted values lies, between two of them in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let (a, b) = (sorted[below], sorted[(below + 1).min(sorted.len() - 1)]);
    if part == 0.0 { a } else { a + (b - a) * part }
}

impl Summary {
    fn of(values: &[f64], shows: impl Fn(f64) -> bool) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|&v| shows(v)).collect();
        sorted.sort_by(f64::total_cmp);
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let quarters = [0.25, 0.5, 0.75].map(|share| quantile(&sorted, share));
        let reach = WHISKER * (quarters[2] - quarters[0]);
        let within = |v: &&f64| (quarters[0] - reach..=quarters[2] + reach).contains(*v);
        let low = sorted.iter().find(within).copied().unwrap_or(first);
        let high = sorted.iter().rev().find(within).copied().unwrap_or(last);
        let beyond = sorted.iter().copied().filter(|&v| v < low || v > high).collect();
        Some(Self { low, quarters, high, beyond, rows: sorted.len() })
    }
}

/// A box for each category, from the first to the third quarter of its values, with a line at the median, whiskers to the last
/// values within 1.5 boxes of it, and what lies beyond as marks. `title` says what the categories are.
pub fn boxes(title: &str, categories: &[(String, Vec<f64>)], y: (&Quantity, Scaling), style: &Style) -> Drawing {
    let names: Vec<String> = categories.iter().map(|c| c.0.clone()).collect();
    let y = Axis::fit(y.0, y.1, categories.iter().flat_map(|c| c.1.iter().copied()), 5);
    let mut drawing = style.page(HEIGHT);
    let font = Font::load(style.font);
    let frame = Frame::draw(&mut drawing, &font, style, Axis::of_names(title, &names), y, &[]);
    let columns = ["category", "rows", "low", "quarter", "median", "three_quarters", "high"];
    let mut data = Data::new(Chart::Boxes, &columns, &frame.x.described(), &frame.y.described());
    data.x.names = names;
    let half = (HALF * (frame.x_at(1.0) - frame.x_at(0.0)).abs()).min(WIDEST);
    for (i, (name, values)) in categories.iter().enumerate() {
        let Some(summary) = Summary::of(values, |v| frame.y.shows(v)) else { continue };
        let x = frame.x_at(i as f64);
        let [first, median, third] = summary.quarters.map(|v| frame.y_at(v));
        let (low, high) = (frame.y_at(summary.low), frame.y_at(summary.high));
        for (from, to) in [(low, first), (third, high)] {
            drawing.line(vec![(x, from), (x, to)], 0.8, INK);
        }
        for y in [low, high] {
            drawing.line(vec![(x - half / 2.0, y), (x + half / 2.0, y)], 0.8, INK);
        }
        filled(&mut drawing, (x - half, first), (x + half, third), color(0).lighter(0.45), Hatch::Plain);
        drawing.line(vec![(x - half, median), (x + half, median)], 1.4, INK);
        let mut seen = std::collections::BTreeSet::new();
        for &value in &summary.beyond {
            // Marks on the same half of a point look as one.
            let y = frame.y_at(value);
            if seen.len() < BEYOND && seen.insert((y * 2.0) as i64) {
                drawing.mark(Mark::Ring, (x, y), 1.4, color(3));
            }
        }
        let numbers = [summary.low, summary.quarters[0], summary.quarters[1], summary.quarters[2], summary.high];
        let cells = numbers.map(|v| cell(frame.y.shown(v)));
        data.rows.push([vec![name.clone(), summary.rows.to_string()], cells.to_vec()].concat());
    }
    frame.finish(&mut drawing, &font, style, data);
    drawing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_holds_half_of_the_values_and_whiskers_end_at_values() {
        let values: Vec<f64> = (1..=9).map(f64::from).chain([100.0]).collect();
        let summary = Summary::of(&values, f64::is_finite).unwrap();
        assert_eq!(summary.quarters.map(|q| format!("{q}")), ["3.25", "5.5", "7.75"]);
        assert_eq!(format!("{:?}", (summary.low, summary.high, summary.beyond)), "(1.0, 9.0, [100.0])");
        assert_eq!(summary.rows, 10);
        assert_eq!(Summary::of(&[f64::NAN], f64::is_finite), None);
        let one = Summary::of(&[2.0], f64::is_finite).unwrap();
        assert_eq!(format!("{:?}", (one.low, one.quarters, one.high)), "(2.0, [2.0, 2.0, 2.0], 2.0)");
    }
}
