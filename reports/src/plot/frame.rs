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
    /// A line without a mark.
    Plain,
    /// A dashed line.
    Dashes,
    /// Nothing: the entry speaks for itself.
    Nothing,
}

/// A legend has no more entries than this; what is left out is counted in it.
const MOST_ENTRIES: usize = 40;
/// The entries at a legend's end that always stay: what the plot adds to the data's (bands, a peak).
const LAST_ENTRIES: usize = 2;
/// A legend higher than this goes below the axes.
const HIGH_LEGEND: f64 = 46.0;
/// The data's share of the height that the page was asked for; where legend and labels leave less, the page grows.
const DATA_SHARE: f64 = 0.6;
/// The longest name of a category, along the page's height.
const LONGEST_NAME: f64 = 70.0;

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
        let swatch = match entry.swatch {
            Swatch::Mark(_) => 6.0,
            // The text begins where a swatch would.
            Swatch::Nothing => -3.0,
            _ => 12.0,
        };
        let name = fit_text(font, &entry.name, SMALL, width - swatch - 3.0);
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
            Swatch::Plain => drawing.line(vec![(x, y), (x + swatch, y)], 1.2, entry.color),
            Swatch::Dashes => drawing.dashes(&[(x, y), (x + swatch, y)], (3.0, 1.5), 0.9, entry.color),
            Swatch::Nothing => {}
        }
        drawing.text(name, (x + swatch + 3.0, y), SMALL, Anchor::Start, INK);
        x += needed + GAP;
    }
    y + ROW / 2.0 + 2.0
}

/// The entries, or as many of them as a legend may have and one that counts the others.
fn shortened(entries: &[Entry]) -> Vec<Entry> {
    if entries.len() <= MOST_ENTRIES {
        return entries.to_vec();
    }
    let first = MOST_ENTRIES - LAST_ENTRIES - 1;
    let last = entries.len() - LAST_ENTRIES;
    let name = format!("… {} more …", crate::units::count((last - first) as u64));
    let others = Entry { name, color: GREY, swatch: Swatch::Nothing };
    entries[..first].iter().cloned().chain([others]).chain(entries[last..].iter().cloned()).collect()
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
    /// Draws the legend, the grid, the axes and their titles; what remains is where data goes. Where a legend or the names of
    /// categories leave the data too little, the page grows: data never gives way to words.
    pub(crate) fn draw(drawing: &mut Drawing, font: &Font, mut x: Axis, y: Axis, entries: &[Entry]) -> Self {
        let entries = shortened(entries);
        let widest = y.ticks.iter().map(|(_, label)| font.width(label, SMALL)).fold(0.0, f64::max);
        let left = 3.0 + TEXT + 4.0 + widest + 4.0;
        let last = x.ticks.last().filter(|_| !x.categories).map_or(0.0, |(value, label)| {
            // The last label may reach past the axis's end.
            font.width(label, SMALL) / 2.0 * x.share(*value).powi(8)
        });
        let right = drawing.width - 4.0 - last;
        let (legend_left, legend_width) = (left - 4.0, drawing.width - left);
        let mut scratch = Drawing::new(drawing.width, 0.0);
        let legend_height = legend(&mut scratch, font, &entries, legend_left, legend_width, 0.0);
        let below = legend_height > HIGH_LEGEND;
        let names = Names::of(font, &mut x, right - left);
        let labels_height = if names.upward { names.longest } else { SMALL };
        let title_bottom = 3.0 + labels_height + 4.0 + TEXT + 3.0 + 4.0;
        let foot = title_bottom + if below { legend_height } else { 0.0 };
        let top = if below { 6.0 } else { 2.0 + legend_height + 4.0 };
        let bottom = (drawing.height - foot).max(top + DATA_SHARE * drawing.height);
        drawing.height = bottom + foot;
        let legend_top = if below { bottom + title_bottom } else { 2.0 };
        legend(drawing, font, &entries, legend_left, legend_width, legend_top);
        let frame = Self { x, y, left, right, top, bottom };
        frame.draw_axes(drawing, font, &names, bottom + title_bottom);
        frame
    }

    /// `end` is the y below the axis's title.
    fn draw_axes(&self, drawing: &mut Drawing, font: &Font, names: &Names, end: f64) {
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
            let half = if names.upward { SMALL / 2.0 } else { font.width(label, SMALL) / 2.0 };
            if x - half >= free_from {
                match names.upward {
                    true => drawing.text_upward(label.clone(), (x, bottom + 4.0), SMALL, Anchor::End, INK),
                    false => drawing.text(label.clone(), (x, bottom + 4.0 + SMALL / 2.0), SMALL, Anchor::Middle, INK),
                }
                free_from = x + half + if names.upward { 0.5 } else { 3.0 };
            }
        }
        drawing.line(vec![(left, top), (left, bottom), (right, bottom)], 0.6, INK);
        let x_title = fit_text(font, &self.x.title, TEXT, drawing.width - 4.0);
        let half = font.width(&x_title, TEXT) / 2.0;
        let middle = f64::midpoint(left, right).min(drawing.width - 2.0 - half).max(2.0 + half);
        drawing.text(x_title, (middle, end - 3.0 - TEXT / 2.0), TEXT, Anchor::Middle, INK);
        let y_title = fit_text(font, &self.y.title, TEXT, drawing.height - 4.0);
        let half = font.width(&y_title, TEXT) / 2.0;
        let middle = f64::midpoint(top, bottom).max(2.0 + half).min(drawing.height - 2.0 - half);
        drawing.text_upward(y_title, (3.0 + TEXT / 2.0, middle), TEXT, Anchor::Middle, INK);
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

/// How the names of an axis of names are written.
struct Names {
    /// Upwards, because side by side they would overlap.
    upward: bool,
    /// Width of the longest.
    longest: f64,
}

impl Names {
    /// Cuts the axis's names to the room that there is.
    fn of(font: &Font, x: &mut Axis, width: f64) -> Self {
        let mut longest = 0.0;
        if x.categories {
            for (_, name) in &mut x.ticks {
                *name = fit_text(font, name, SMALL, LONGEST_NAME);
                longest = f64::max(longest, font.width(name, SMALL));
            }
        }
        let upward = longest + 4.0 > width / x.ticks.len().max(1) as f64;
        Self { upward: x.categories && upward, longest }
    }
}

#[cfg(test)]
mod tests {
    use super::super::axis::Quantity;
    use super::super::drawing::Shape;
    use super::*;

    /// The page's frame, and whether every shape lies on the page.
    fn page(entries: &[Entry], names: &[String]) -> (Drawing, Frame) {
        let font = Font::load();
        let mut drawing = Drawing::new(COLUMN, HEIGHT);
        let y = Axis::fit(&Quantity::new("Latency", "s"), Scaling::Linear, [1.0, 25.0], 5);
        let x = match names {
            [] => Axis::fit(&Quantity::new("Context", ""), Scaling::Linear, [1.0, 4096.0], 5),
            names => Axis::of_names("Machine", names),
        };
        let frame = Frame::draw(&mut drawing, &font, x, y, entries);
        for shape in &drawing.shapes {
            let corners: Vec<Point> = match shape {
                Shape::Line { points, .. } | Shape::Area { points, .. } => points.clone(),
                Shape::Disc { center: (x, y), radius: r, .. } => vec![(x - r, y - r), (x + r, y + r)],
                Shape::Text { text, at: (x, y), size, anchor, upward, .. } => {
                    let width = font.width(text, *size);
                    let (before, after) = match anchor {
                        Anchor::Start => (0.0, width),
                        Anchor::Middle => (width / 2.0, width / 2.0),
                        Anchor::End => (width, 0.0),
                    };
                    match upward {
                        false => vec![(x - before, y - size / 2.0), (x + after, y + size / 2.0)],
                        true => vec![(x - size / 2.0, y + before), (x + size / 2.0, y - after)],
                    }
                }
            };
            for (x, y) in corners {
                let inside = (-0.5..=drawing.width + 0.5).contains(&x) && (-0.5..=drawing.height + 0.5).contains(&y);
                assert!(inside, "{shape:?} is off a page of {} by {}", drawing.width, drawing.height);
            }
        }
        (drawing, frame)
    }

    fn entries(names: &[String]) -> Vec<Entry> {
        let entry = |(i, name): (usize, &String)| Entry {
            name: name.clone(),
            color: color(i),
            swatch: Swatch::Line(Mark::of(i)),
        };
        names.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn a_long_legend_is_counted_and_a_short_one_changes_nothing() {
        let names: Vec<String> = (0..1000).map(|i| format!("series {i}")).collect();
        let (drawing, _) = page(&entries(&names), &[]);
        let says = |text: &str| drawing.shapes.iter().any(|s| matches!(s, Shape::Text { text: t, .. } if t == text));
        assert!(says("series 0") && says("series 999") && says("… 961 more …") && !says("series 500"));
        let (drawing, frame) = page(&entries(&names[..3]), &[]);
        assert!((drawing.height - HEIGHT).abs() < 1e-9 && frame.top < 20.0);
    }

    proptest::proptest! {
        /// Whatever legend and names of categories: nothing is off the page, and the data keeps its place.
        #[test]
        fn words_never_take_the_datas_place(
            legend in proptest::collection::vec("[a-zA-Z0-9=, \u{4e00}-\u{4e10}]{0,120}", 0..70),
            names in proptest::collection::vec("[a-zA-Z0-9 ]{0,60}", 0..40),
        ) {
            let (drawing, frame) = page(&entries(&legend), &names);
            proptest::prop_assert!(frame.bottom - frame.top >= DATA_SHARE * HEIGHT - 1e-9);
            proptest::prop_assert!(frame.right - frame.left > 0.5 * COLUMN);
            proptest::prop_assert!(drawing.height < 800.0);
        }
    }
}
