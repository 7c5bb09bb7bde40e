//! The common style: page sizes, fonts, colours, and the frame of axes and legend that plots share.

use super::axis::{Axis, Scaling};
use super::drawing::{Anchor, Color, Drawing, Mark, Point};
use super::font::Font;

/// One column of a two-column paper: 3.5 inches.
pub(crate) const COLUMN: f64 = 252.0;
/// Height of an ordinary plot.
pub(crate) const HEIGHT: f64 = 165.0;
/// Titles, legends and labels in points; ticks are a little smaller.
pub(crate) const TEXT: f64 = 8.0;
pub(crate) const SMALL: f64 = 7.0;

pub(crate) const INK: Color = Color(0x22, 0x22, 0x22);
pub(crate) const GREY: Color = Color(0x99, 0x99, 0x99);
const GRID: Color = Color(0xe4, 0xe4, 0xe4);

/// The palette of Okabe and Ito (<https://jfly.uni-koeln.de/color/>), told apart with any colour vision; yellow, too faint
/// on white, comes last.
const PALETTE: [Color; 7] = [
    Color(0x00, 0x72, 0xb2),
    Color(0xd5, 0x5e, 0x00),
    Color(0x00, 0x9e, 0x73),
    Color(0xcc, 0x79, 0xa7),
    Color(0x56, 0xb4, 0xe9),
    Color(0xe6, 0x9f, 0x00),
    Color(0xf0, 0xe4, 0x42),
];
/// How many series have a colour of their own.
pub(crate) const COLORS: usize = PALETTE.len();

/// The colour of the n-th series; beyond the palette, the same hues lighter.
pub(crate) fn color(series: usize) -> Color {
    let base = PALETTE[series % COLORS];
    if series < COLORS { base } else { base.lighter(0.5) }
}

/// One entry of a legend.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) color: Color,
    pub(crate) swatch: Swatch,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Swatch {
    /// A filled box.
    Fill,
    /// A mark alone.
    Mark(Mark),
    /// A line with a mark.
    Line(Mark),
    /// A dashed line.
    Dashes,
}

/// Cuts a text with an ellipsis so that it is at most `width` points wide.
pub(crate) fn fit_text(font: &Font, text: &str, size: f64, width: f64) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if font.width(&clean, size) <= width {
        return clean;
    }
    let mut kept: Vec<char> = clean.chars().collect();
    while !kept.is_empty() {
        kept.pop();
        let shorter: String = kept.iter().collect::<String>().trim_end().to_owned() + "…";
        if font.width(&shorter, size) <= width {
            return shorter;
        }
    }
    String::new()
}

/// Draws a legend in rows from `top`, at most `width` wide from `left`; returns the y below it.
pub(crate) fn legend(drawing: &mut Drawing, font: &Font, entries: &[Entry], left: f64, width: f64, top: f64) -> f64 {
    const ROW: f64 = 10.5;
    const GAP: f64 = 9.0;
    if entries.is_empty() {
        return top;
    }
    let (mut x, mut y) = (left, top + ROW / 2.0);
    for entry in entries {
        let swatch = if matches!(entry.swatch, Swatch::Mark(_)) { 6.0 } else { 12.0 };
        let name = fit_text(font, &entry.name, SMALL, (width - swatch - 3.0).min(150.0));
        let needed = swatch + 3.0 + font.width(&name, SMALL);
        if x > left && x + needed > left + width {
            (x, y) = (left, y + ROW);
        }
        let middle = (x + swatch / 2.0, y);
        match entry.swatch {
            Swatch::Fill => drawing.rectangle((x + 3.0, y - 3.0), (x + swatch, y + 3.0), entry.color),
            Swatch::Mark(mark) => drawing.mark(mark, middle, 2.4, entry.color),
            Swatch::Line(mark) => {
                drawing.line(vec![(x, y), (x + swatch, y)], 1.2, entry.color);
                drawing.mark(mark, middle, 2.2, entry.color);
            }
            Swatch::Dashes => drawing.dashes(&[(x, y), (x + swatch, y)], (3.0, 1.5), 0.9, entry.color),
        }
        drawing.text(name, (x + swatch + 3.0, y), SMALL, Anchor::Start, INK);
        x += needed + GAP;
    }
    y + ROW / 2.0 + 2.0
}

/// The rectangle that data is drawn in, with its axes.
pub(crate) struct Frame {
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

impl Frame {
    /// Draws the legend, the grid, the axes and their titles; what remains is where data goes.
    pub(crate) fn draw(drawing: &mut Drawing, font: &Font, x: Axis, y: Axis, entries: &[Entry]) -> Self {
        let widest = y.ticks.iter().map(|(_, label)| font.width(label, SMALL)).fold(0.0, f64::max);
        let left = 3.0 + TEXT + 4.0 + widest + 4.0;
        let last = x.ticks.last().map_or(0.0, |(value, label)| {
            // The last label may reach past the axis's end.
            font.width(label, SMALL) / 2.0 * x.share(*value).powi(8)
        });
        let right = drawing.width - 4.0 - last;
        let top = legend(drawing, font, entries, left - 4.0, drawing.width - left, 2.0) + 4.0;
        let bottom = drawing.height - 3.0 - TEXT - 4.0 - SMALL - 3.0;
        let frame = Self { x, y, left, right, top, bottom };
        frame.draw_axes(drawing, font);
        frame
    }

    fn draw_axes(&self, drawing: &mut Drawing, font: &Font) {
        let Self { left, right, top, bottom, .. } = *self;
        for (value, label) in &self.y.ticks {
            let y = self.y_at(*value);
            drawing.line(vec![(left, y), (right, y)], 0.5, GRID);
            drawing.line(vec![(left - 2.5, y), (left, y)], 0.6, INK);
            drawing.text(label.clone(), (left - 4.5, y), SMALL, Anchor::End, INK);
        }
        let mut free_from = f64::NEG_INFINITY;
        for (value, label) in &self.x.ticks {
            let x = self.x_at(*value);
            if self.x.scaling == Scaling::Log || self.y.scaling == Scaling::Log {
                drawing.line(vec![(x, top), (x, bottom)], 0.5, GRID);
            }
            drawing.line(vec![(x, bottom), (x, bottom + 2.5)], 0.6, INK);
            let half = font.width(label, SMALL) / 2.0;
            if x - half >= free_from {
                drawing.text(label.clone(), (x, bottom + 4.0 + SMALL / 2.0), SMALL, Anchor::Middle, INK);
                free_from = x + half + 3.0;
            }
        }
        drawing.line(vec![(left, top), (left, bottom), (right, bottom)], 0.6, INK);
        let x_title = fit_text(font, &self.x.title, TEXT, drawing.width - 4.0);
        let half = font.width(&x_title, TEXT) / 2.0;
        let middle = f64::midpoint(left, right).min(drawing.width - 2.0 - half);
        drawing.text(x_title, (middle, drawing.height - 3.0 - TEXT / 2.0), TEXT, Anchor::Middle, INK);
        let y_title = fit_text(font, &self.y.title, TEXT, drawing.height - 4.0);
        let half = font.width(&y_title, TEXT) / 2.0;
        let middle = f64::midpoint(top, bottom).max(2.0 + half).min(drawing.height - 2.0 - half);
        drawing.text_upward(y_title, (3.0 + TEXT / 2.0, middle), TEXT, INK);
    }

    pub(crate) fn x_at(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * self.x.share(value)
    }

    pub(crate) fn y_at(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * self.y.share(value)
    }

    /// Where a point goes, if both its values can be drawn.
    pub(crate) fn at(&self, x: f64, y: f64) -> Option<Point> {
        (self.x.shows(x) && self.y.shows(y)).then(|| (self.x_at(x), self.y_at(y)))
    }
}
