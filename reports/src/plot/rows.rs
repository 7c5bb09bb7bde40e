//! Horizontal bars, grouped or stacked, with their names at the left.

use super::axis::Axis;
use super::data::{AxisOf, Chart, Data, cell};
use super::drawing::{Anchor, Area, Drawing};
use super::font::Font;
use super::frame::{keep, title};
use super::legend::{Entry, Legend, Swatch, fit_text, shown as shown_entries};
use super::palette::{GREY, GRID, Hatch, INK, color, filled};
use super::style::{LegendPlace, SMALL, Style, TEXT};

/// Widest name at the left.
const NAME: f64 = 92.0;

/// The page of horizontal bars: its rows' names are drawn, and their places are known.
pub(super) struct Rows {
    axis: Axis,
    left: f64,
    right: f64,
    top: f64,
    row_height: f64,
}

/// Where each row's annotation at the right goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notes {
    /// After the bar's end.
    AtBar,
    /// In a column of its own.
    InColumn,
}

impl Rows {
    /// A new page with a title, a legend, names and a horizontal axis. Each row is `row_height` points high, and `note_width` is
    /// the room kept at the right.
    pub(super) fn draw(
        names: &[String],
        mut axis: Axis,
        entries: &[Entry],
        (row_height, note_width): (f64, f64),
        style: &Style,
    ) -> (Drawing, Font, Self) {
        let font = Font::load(style.font);
        let mut drawing = style.page(0.0);
        let wanted = style.height.unwrap_or(0.0);
        if let Some(label) = &style.x_label {
            axis.title.clone_from(label);
        }
        let shown: Vec<String> = names.iter().map(|name| fit_text(&font, name, SMALL, NAME)).collect();
        let widest = shown.iter().map(|name| font.width(name, SMALL)).fold(0.0, f64::max);
        let left = 4.0 + widest + 4.0;
        let head = title(&mut drawing, &font, style);
        let (entries, note) = shown_entries(entries, style);
        drawing.notes.extend(note);
        let legend = Legend::rows(&font, &entries, drawing.width - 8.0);
        let below = style.legend == LegendPlace::Below;
        let top = head + 4.0 + if below { 0.0 } else { legend.height };
        let foot = 4.0 + SMALL + 4.0 + TEXT + 4.0;
        let after = if below { legend.height } else { 0.0 };
        let rows = names.len().max(1) as f64;
        // Rows take up what a height that was asked for leaves, and no less than they need.
        let row_height = row_height.max((wanted - top - foot - after) / rows);
        let rows_end = top + row_height * rows;
        drawing.height = rows_end + foot + after;
        legend.draw(&mut drawing, (4.0, if below { rows_end + foot } else { head + 2.0 }));
        let right = drawing.width - 8.0 - note_width;
        drawing.areas.push(Area::Data((left, top, right, rows_end)));
        let rows = Self { axis, left, right, top, row_height };
        let mut free_from = f64::NEG_INFINITY;
        for (value, label) in &rows.axis.ticks {
            let x = rows.x_at(*value);
            drawing.line(vec![(x, top), (x, rows_end)], 0.5, GRID);
            drawing.line(vec![(x, rows_end), (x, rows_end + 2.5)], 0.6, INK);
            let half = font.width(label, SMALL) / 2.0;
            if x - half >= free_from {
                drawing.text(label.clone(), (x, rows_end + 4.0 + SMALL / 2.0), SMALL, Anchor::Middle, INK);
                free_from = x + half + 3.0;
            }
        }
        drawing.line(vec![(left, top), (left, rows_end), (right, rows_end)], 0.6, INK);
        let title_y = rows_end + foot - 3.0 - TEXT / 2.0;
        let axis_title = fit_text(&font, &rows.axis.title, TEXT, drawing.width - 4.0);
        let half = font.width(&axis_title, TEXT) / 2.0;
        let middle = f64::midpoint(left, right).min(drawing.width - 2.0 - half).max(2.0 + half);
        drawing.text(axis_title, (middle, title_y), TEXT, Anchor::Middle, INK);
        for (i, name) in shown.into_iter().enumerate() {
            drawing.text(name, (left - 4.0, rows.middle(i)), SMALL, Anchor::End, INK);
        }
        (drawing, font, rows)
    }

    pub(super) fn x_at(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * self.axis.share(value)
    }

    fn middle(&self, row: usize) -> f64 {
        self.top + self.row_height * (row as f64 + 0.5)
    }

    /// The axes for a script: the values', and one of the rows' names.
    pub(super) fn described(&self, names: &[String]) -> (AxisOf, AxisOf) {
        (self.axis.described(), AxisOf { names: names.to_vec(), ..AxisOf::default() })
    }

    /// A bar from one value to another, in the n-th of `of` lanes of a row, in the look of a series, or grey.
    pub(super) fn bar(
        &self,
        drawing: &mut Drawing,
        (row, lane, of): (usize, usize, usize),
        (from, to): (f64, f64),
        series: Option<usize>,
    ) {
        let height = self.row_height * if of == 1 { 0.68 } else { 0.78 };
        let lane_height = height / of as f64;
        let top = self.middle(row) - height / 2.0 + lane_height * lane as f64;
        let (x0, x1) = (self.x_at(from), self.x_at(to));
        if x1 > x0 {
            let (fill, hatch) = series.map_or((GREY, Hatch::Plain), |i| (color(i), Hatch::of(i)));
            filled(drawing, (x0, top), (x1, top + lane_height), fill, hatch);
        }
    }

    /// A row's annotation.
    pub(super) fn note(&self, drawing: &mut Drawing, row: usize, place: (Notes, f64), text: String) {
        let x = match place.0 {
            Notes::AtBar => self.x_at(place.1) + 3.0,
            Notes::InColumn => self.right + 5.0,
        };
        drawing.text(text, (x, self.middle(row)), SMALL, Anchor::Start, INK);
    }
}

/// The names with the largest totals over all rows, largest first, at most `most` of them; the rest is for the caller to
/// call `other`.
pub(super) fn largest<'a>(parts: impl IntoIterator<Item = (&'a str, f64)>, most: usize) -> Vec<String> {
    let mut totals: std::collections::BTreeMap<&str, f64> = std::collections::BTreeMap::new();
    for (name, value) in parts {
        *totals.entry(name).or_default() += if value.is_finite() { value } else { 0.0 };
    }
    let mut totals: Vec<(&str, f64)> = totals.into_iter().collect();
    totals.sort_by(|a, b| b.1.total_cmp(&a.1));
    let cut = if totals.len() > most + 1 { most } else { totals.len() };
    totals.into_iter().take(cut).map(|(name, _)| name.to_owned()).collect()
}

/// Rows of stacked bars, in the given order of parts, and what is in none of them as a grey `Other`.
pub(super) struct Stacked<'a> {
    pub(super) rows: Vec<(String, Vec<(&'a str, f64)>)>,
    pub(super) parts: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Stacked<'_> {
    /// The page, on an axis that each row's sum lies on.
    pub(super) fn draw(&self, axis: Axis, label: impl Fn(&str) -> String, style: &Style) -> Drawing {
        let known = |name: &str| self.parts.iter().any(|part| part == name);
        let has_other = self.rows.iter().any(|(_, parts)| parts.iter().any(|(name, v)| !known(name) && *v > 0.0));
        let mut entries: Vec<Entry> =
            self.parts.iter().enumerate().map(|(i, part)| Entry::bar(label(part), i)).collect();
        if has_other {
            entries.push(Entry { name: "Other".into(), color: GREY, swatch: Swatch::Hatched(Hatch::Plain) });
        }
        let names: Vec<String> = self.rows.iter().map(|(name, _)| name.clone()).collect();
        let font = Font::load(style.font);
        let note_width = self.notes.iter().map(|n| font.width(n, SMALL)).fold(0.0, f64::max);
        let (mut drawing, _, rows) = Rows::draw(&names, axis, &entries, (15.0, note_width), style);
        let (x, y) = rows.described(&names);
        let mut data = Data::new(Chart::Rows, &["row", "part", &x.title], &x, &y);
        for (row, (_, parts)) in self.rows.iter().enumerate() {
            let positive = |v: f64| if v.is_finite() { v.max(0.0) } else { 0.0 };
            let sum = |wanted: &dyn Fn(&str) -> bool| -> f64 {
                parts.iter().filter(|(name, _)| wanted(name)).map(|&(_, v)| positive(v)).sum()
            };
            let mut from = 0.0;
            for (i, part) in self.parts.iter().enumerate() {
                let to = from + sum(&|name| name == part);
                rows.bar(&mut drawing, (row, 0, 1), (from, to), Some(i));
                data.rows.push(vec![names[row].clone(), label(part), cell(rows.axis.shown(to - from))]);
                from = to;
            }
            let to = from + sum(&|name| !known(name));
            rows.bar(&mut drawing, (row, 0, 1), (from, to), None);
            if has_other {
                data.rows.push(vec![names[row].clone(), "Other".into(), cell(rows.axis.shown(to - from))]);
            }
            if let Some(note) = self.notes.get(row) {
                rows.note(&mut drawing, row, (Notes::InColumn, 0.0), note.clone());
            }
        }
        keep(&mut drawing, style, data);
        drawing
    }
}
