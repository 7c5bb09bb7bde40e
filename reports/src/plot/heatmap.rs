//! A value over two columns: what two things that are varied do together.

use super::axis::{Axis, Quantity};
use super::data::{Chart, Data, cell};
use super::drawing::{Anchor, Color, Drawing};
use super::font::Font;
use super::frame::Frame;
use super::legend::{Entry, Swatch, fit_text};
use super::palette::{GREY, INK};
use super::style::{HEIGHT, SMALL, Style};
use crate::units::{number, quantity};

/// A value for each pair of names; what has none is left white with a dash.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Heatmap {
    /// What the columns are of, and their names from left to right.
    pub x: (String, Vec<String>),
    /// What the rows are of, and their names from the bottom up.
    pub y: (String, Vec<String>),
    /// Values in base units, row by row from the bottom up, as many as names of `x` times names of `y`.
    pub values: Vec<Option<f64>>,
}

/// Light to dark: lightness falls all the way, so that grey print and every eye see the order.
const SHADES: [Color; 5] = [
    Color(0xf3, 0xf6, 0xfa),
    Color(0xbd, 0xd7, 0xe9),
    Color(0x6b, 0xac, 0xd3),
    Color(0x22, 0x70, 0xae),
    Color(0x08, 0x30, 0x63),
];

fn shade(share: f64) -> Color {
    let place = share.clamp(0.0, 1.0) * (SHADES.len() - 1) as f64;
    let below = (place.floor() as usize).min(SHADES.len() - 2);
    let (a, b, part) = (SHADES[below], SHADES[below + 1], place - below as f64);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
    Color(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// A cell for each pair, darker the larger its value is (by the logarithm with `log`, where all are positive), with the value in it
/// where there is room. The scale stands above.
pub fn heatmap(map: &Heatmap, value: &Quantity, log: bool, style: &Style) -> Drawing {
    let finite = || map.values.iter().flatten().copied().filter(|v| v.is_finite());
    let log = log && finite().all(|v| v > 0.0);
    let (least, most) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let share = |v: f64| {
        let share = if log { (v / least).ln() / (most / least).ln() } else { (v - least) / (most - least) };
        if share.is_finite() { share } else { 0.5 }
    };
    let shown = |v: f64| if value.unit.is_empty() { number(v) } else { quantity(v, &value.unit) };
    let mut entries = vec![Entry { name: value.name.clone(), color: INK, swatch: Swatch::Nothing }];
    if least <= most {
        let middle = if log { (least.ln() / 2.0 + most.ln() / 2.0).exp() } else { least / 2.0 + most / 2.0 };
        let steps = if least < most { vec![least, middle, most] } else { vec![least] };
        entries.extend(steps.into_iter().map(|v| Entry {
            name: shown(v),
            color: shade(share(v)),
            swatch: Swatch::Fill,
        }));
    }
    let font = Font::load(style.font);
    let rows = map.y.1.len().max(1) as f64;
    let mut drawing = style.page(HEIGHT.max(30.0 + 12.0 * rows));
    let (x, mut y) = (Axis::of_names(&map.x.0, &map.x.1), Axis::of_names(&map.y.0, &map.y.1));
    for (_, name) in &mut y.ticks {
        *name = fit_text(&font, name, SMALL, 60.0);
    }
    let frame = Frame::draw(&mut drawing, &font, style, x, y, &entries);
    let mut data =
        Data::new(Chart::Cells, &[&map.x.0, &map.y.0, &value.name], &frame.x.described(), &frame.y.described());
    data.columns[2] =
        if value.unit.is_empty() { value.name.clone() } else { format!("{} ({})", value.name, value.unit) };
    (data.x.names, data.y.names, data.log_shades) = (map.x.1.clone(), map.y.1.clone(), log);
    for row in 0..map.y.1.len() {
        for column in 0..map.x.1.len() {
            let found = map.values.get(row * map.x.1.len() + column).copied().flatten().filter(|v| v.is_finite());
            let (x0, x1) = (frame.x_at(column as f64 - 0.5), frame.x_at(column as f64 + 0.5));
            let (y0, y1) = (frame.y_at(row as f64 + 0.5), frame.y_at(row as f64 - 0.5));
            let middle = (f64::midpoint(x0, x1), f64::midpoint(y0, y1));
            let Some(found) = found else {
                drawing.text("–", middle, SMALL, Anchor::Middle, GREY);
                continue;
            };
            data.rows.push(vec![map.x.1[column].clone(), map.y.1[row].clone(), cell(found)]);
            drawing.rectangle((x0 + 0.25, y0 + 0.25), (x1 - 0.25, y1 - 0.25), shade(share(found)));
            let text = shown(found);
            if font.width(&text, SMALL) + 3.0 < x1 - x0 && y1 - y0 > SMALL + 1.0 {
                let ink = if share(found) > 0.55 { Color(0xff, 0xff, 0xff) } else { INK };
                drawing.text(text, middle, SMALL, Anchor::Middle, ink);
            }
        }
    }
    frame.finish(&mut drawing, &font, style, data);
    drawing
}
