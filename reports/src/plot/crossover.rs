//! Which of several ways is best over two columns, and by how much.

use std::collections::BTreeSet;

use super::axis::{Axis, Quantity};
use super::data::{Chart, Data, cell};
use super::drawing::{Anchor, Color, Drawing};
use super::font::Font;
use super::frame::Frame;
use super::legend::{Entry, Swatch, fit_text};
use super::palette::{GREY, INK, color};
use super::style::{HEIGHT, SMALL, Style};

/// The values of several ways for each pair of names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Crossover {
    /// What the columns are of, and their names from left to right.
    pub x: (String, Vec<String>),
    /// What the rows are of, and their names from the bottom up.
    pub y: (String, Vec<String>),
    /// The ways, by name, each with its values in base units, row by row from the bottom up; none where it has none.
    pub ways: Vec<(String, Vec<Option<f64>>)>,
    /// The largest value is the best one, rather than the smallest.
    pub larger_is_better: bool,
    /// The way that gains are over; the next best where none is given.
    pub over: Option<usize>,
}

/// The best way of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Best {
    way: usize,
    /// How many times better it is than the next, or than a given one; none where that has no value.
    ratio: Option<f64>,
}

impl Crossover {
    fn best(&self, cell: usize) -> Option<Best> {
        let value = |(way, (_, values)): (usize, &(String, Vec<Option<f64>>))| {
            let value = values.get(cell).copied().flatten().filter(|v| v.is_finite() && *v > 0.0)?;
            Some((if self.larger_is_better { 1.0 / value } else { value }, way))
        };
        let mut costs: Vec<(f64, usize)> = self.ways.iter().enumerate().filter_map(value).collect();
        costs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (least, way) = *costs.first()?;
        let other = match self.over {
            Some(over) => costs.iter().find(|(_, way)| *way == over),
            None => costs.get(1),
        };
        Some(Best { way, ratio: other.map(|(cost, _)| cost / least) })
    }
}

/// The gain at which a cell has the full colour of its way: beyond it there is no telling apart.
const FULL: f64 = 4.0;

/// How light the colour of a way is where it gains so much.
fn shade(way: usize, ratio: Option<f64>) -> Color {
    let share = ratio.map_or(1.0, |r| (r.max(1.0).ln() / FULL.ln()).clamp(0.0, 1.0));
    color(way).lighter(0.82 - 0.62 * share)
}

/// A cell for each pair in the colour of the best way, the deeper the more it gains over the next best, or a given way; the ratio stands in
/// it. A line where another way becomes the best. A cell of one way alone has its colour in full.
pub fn crossover(map: &Crossover, value: &Quantity, style: &Style) -> Drawing {
    let columns = map.x.1.len();
    let best: Vec<Option<Best>> = (0..columns * map.y.1.len()).map(|cell| map.best(cell)).collect();
    let winners: BTreeSet<usize> = best.iter().flatten().map(|b| b.way).collect();
    let mut entries = vec![Entry { name: format!("best {}", value.name), color: INK, swatch: Swatch::Nothing }];
    for (way, (name, _)) in map.ways.iter().enumerate().filter(|(way, _)| winners.contains(way)) {
        entries.push(Entry { name: name.clone(), color: shade(way, Some(2.0)), swatch: Swatch::Fill });
    }
    let font = Font::load(style.font);
    let rows = map.y.1.len().max(1) as f64;
    let mut drawing = style.page(HEIGHT.max(30.0 + 12.0 * rows));
    let (x, mut y) = (Axis::of_names(&map.x.0, &map.x.1), Axis::of_names(&map.y.0, &map.y.1));
    for (_, name) in &mut y.ticks {
        *name = fit_text(&font, name, SMALL, 60.0);
    }
    let frame = Frame::draw(&mut drawing, &font, style, x, y, &entries);
    let over = map.over.and_then(|way| map.ways.get(way)).map_or("the next best", |(name, _)| name.as_str());
    let gain = format!("gain over {over}");
    let headers = [map.x.0.as_str(), map.y.0.as_str(), gain.as_str(), "best"];
    let mut data = Data::new(Chart::Cells, &headers, &frame.x.described(), &frame.y.described());
    (data.x.names, data.y.names, data.log_shades) = (map.x.1.clone(), map.y.1.clone(), true);
    let at = |row: usize, column: usize| {
        let (x0, x1) = (frame.x_at(column as f64 - 0.5), frame.x_at(column as f64 + 0.5));
        let (y0, y1) = (frame.y_at(row as f64 + 0.5), frame.y_at(row as f64 - 0.5));
        (x0, x1, y0, y1)
    };
    let way_at = |row: usize, column: usize| best.get(row * columns + column).copied().flatten();
    for row in 0..map.y.1.len() {
        for column in 0..columns {
            let (x0, x1, y0, y1) = at(row, column);
            let middle = (f64::midpoint(x0, x1), f64::midpoint(y0, y1));
            let Some(best) = way_at(row, column) else {
                drawing.text("–", middle, SMALL, Anchor::Middle, GREY);
                continue;
            };
            let name = map.ways.get(best.way).map_or_else(String::new, |(name, _)| name.clone());
            let ratio = best.ratio.map_or_else(String::new, cell);
            data.rows.push(vec![map.x.1[column].clone(), map.y.1[row].clone(), ratio, name]);
            drawing.rectangle((x0 + 0.25, y0 + 0.25), (x1 - 0.25, y1 - 0.25), shade(best.way, best.ratio));
            let text = best
                .ratio
                .map_or_else(|| "–".to_owned(), |r| if r < 9.995 { format!("{r:.2}×") } else { format!("{r:.1}×") });
            if font.width(&text, SMALL) + 3.0 < x1 - x0 && y1 - y0 > SMALL + 1.0 {
                drawing.text(text, middle, SMALL, Anchor::Middle, INK);
            }
        }
    }
    // Where two neighbours differ.
    let differ = |a: Option<Best>, b: Option<Best>| matches!((a, b), (Some(a), Some(b)) if a.way != b.way);
    for row in 0..map.y.1.len() {
        for column in 0..columns {
            let (x0, x1, y0, y1) = at(row, column);
            let own = way_at(row, column);
            if column + 1 < columns && differ(own, way_at(row, column + 1)) {
                drawing.line(vec![(x1, y0), (x1, y1)], 1.4, INK);
            }
            if row + 1 < map.y.1.len() && differ(own, way_at(row + 1, column)) {
                drawing.line(vec![(x0, y0), (x1, y0)], 1.4, INK);
            }
        }
    }
    frame.finish(&mut drawing, &font, style, data);
    drawing
}

#[cfg(test)]
mod tests {
    use super::{Best, Crossover};

    #[test]
    fn the_best_way_gains_over_the_next_best() {
        let way = |name: &str, values: [Option<f64>; 3]| (name.to_owned(), values.to_vec());
        let mut map = Crossover {
            x: ("batch".into(), ["1", "2", "4"].map(str::to_owned).to_vec()),
            y: ("context".into(), vec!["1024".into()]),
            ways: vec![way("gpu", [Some(4.0), Some(3.0), None]), way("pim", [Some(1.0), Some(6.0), Some(2.0)])],
            larger_is_better: false,
            over: None,
        };
        assert_eq!(map.best(0), Some(Best { way: 1, ratio: Some(4.0) }));
        assert_eq!(map.best(1), Some(Best { way: 0, ratio: Some(2.0) }));
        assert_eq!((map.best(2), map.best(3)), (Some(Best { way: 1, ratio: None }), None));
        map.over = Some(0);
        let best = [0, 1, 2].map(|cell| map.best(cell));
        let at = |way, ratio| Some(Best { way, ratio });
        assert_eq!(best, [at(1, Some(4.0)), at(0, Some(1.0)), at(1, None)]);
        map.over = None;
        map.larger_is_better = true;
        assert_eq!(map.best(0), Some(Best { way: 0, ratio: Some(4.0) }));
    }
}
