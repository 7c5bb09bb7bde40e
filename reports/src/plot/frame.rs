//! The frame of axes, legend and title that plots share.

use super::axis::Axis;
use super::data::Data;
use super::drawing::{Anchor, Area, Drawing, Point};
use super::font::Font;
use super::legend::{Entry, Legend, fit_text, shown};
use super::palette::{GREY, GRID, INK, WHITE};
use super::style::{LegendPlace, Place, SMALL, Style, TEXT};

/// A legend higher than this share of the page goes below the axes.
const HIGH_LEGEND: f64 = 0.28;
/// A legend at the right is at most this share of the page wide.
const WIDE_LEGEND: f64 = 0.42;
/// The least share of the page's width that data has beside a legend.
const LEAST_WIDTH: f64 = 0.24;
/// A label of the vertical axis is at most this share of the page wide.
const WIDE_LABEL: f64 = 0.3;
/// The data's share of the height that the page was asked for; where legend and labels leave less, the page grows.
pub(crate) const DATA_SHARE: f64 = 0.6;
/// The longest name of a category, along the page's height.
const LONGEST_NAME: f64 = 70.0;
/// Ticks with labels, and those between them.
const TICK: f64 = 2.5;
const MINOR: f64 = 1.4;

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
    /// Draws the title, the legend, the grid, the axes and their titles; what remains is where data goes. Where a legend or the
    /// names of categories leave the data too little, the page grows: data never gives way to words.
    pub(crate) fn draw(
        drawing: &mut Drawing,
        font: &Font,
        style: &Style,
        mut x: Axis,
        mut y: Axis,
        entries: &[Entry],
    ) -> Self {
        let (entries, note) = shown(entries, style);
        drawing.notes.extend(note);
        for (axis, label) in [(&mut x, &style.x_label), (&mut y, &style.y_label)] {
            if let Some(label) = label {
                axis.title.clone_from(label);
            }
        }
        for (_, label) in &mut y.ticks {
            *label = fit_text(font, label, SMALL, WIDE_LABEL * drawing.width);
        }
        let widest = y.ticks.iter().map(|(_, label)| font.width(label, SMALL)).fold(0.0, f64::max);
        let y_title = if y.title.is_empty() { 0.0 } else { TEXT + 4.0 };
        let left = 3.0 + y_title + widest + 4.0;
        let head = title(drawing, font, style);
        let wished = style.legend == LegendPlace::Right && !entries.is_empty();
        // Beside the data only where that leaves it its width.
        let beside = wished && drawing.width * (1.0 - WIDE_LEGEND - LEAST_WIDTH) > left;
        let legend_width = if beside { WIDE_LEGEND * drawing.width } else { drawing.width - left };
        let legend = match beside {
            // One below the other: a row that holds one entry.
            true => Legend::rows(font, &entries, longest(font, &entries).min(legend_width)),
            false => Legend::rows(font, &entries, legend_width),
        };
        let last = x.ticks.last().filter(|_| !x.categories).map_or(0.0, |(value, label)| {
            // The last label may reach past the axis's end.
            font.width(label, SMALL) / 2.0 * x.share(*value).powi(8)
        });
        let side = if beside { legend.width + 6.0 } else { 0.0 };
        let right = (drawing.width - 4.0 - last - side).max(left + 0.2 * drawing.width);
        let below = match style.legend {
            LegendPlace::Below => true,
            LegendPlace::Auto => legend.height > HIGH_LEGEND * drawing.height,
            LegendPlace::Right => !beside,
            LegendPlace::Above | LegendPlace::Hidden => false,
        };
        let (above, below) = match (beside, below) {
            (true, _) => (0.0, 0.0),
            (false, true) => (0.0, legend.height),
            (false, false) => (legend.height, 0.0),
        };
        let names = Names::of(font, &mut x, right - left);
        let title_bottom = 3.0 + names.height() + 4.0 + TEXT + 3.0 + 4.0;
        let foot = title_bottom + below;
        let top = head + if above > 0.0 { 2.0 + above + 4.0 } else { 6.0 };
        let bottom = (drawing.height - foot).max(top + DATA_SHARE * drawing.height);
        let bottom = if beside { bottom.max(top + legend.height) } else { bottom };
        drawing.height = bottom + foot;
        let at = match (beside, below > 0.0) {
            (true, _) => (drawing.width - legend.width - 2.0, top),
            (false, true) => (left - 4.0, bottom + title_bottom),
            (false, false) => ((left - 4.0).max(f64::midpoint(left, right) - legend.width / 2.0).min(left), head + 2.0),
        };
        legend.draw(drawing, at);
        let frame = Self { x, y, left, right, top, bottom };
        drawing.areas.push(Area::Data((left, top, right, bottom)));
        frame.draw_axes(drawing, font, &names, bottom + title_bottom);
        frame
    }

    /// `end` is the y below the axis's title.
    fn draw_axes(&self, drawing: &mut Drawing, font: &Font, names: &Names, end: f64) {
        let Self { left, right, top, bottom, .. } = *self;
        for &value in &self.y.minor {
            let y = self.y_at(value);
            drawing.line(vec![(left - MINOR, y), (left, y)], 0.4, INK);
        }
        for (value, label) in &self.y.ticks {
            let y = self.y_at(*value);
            if !self.y.categories {
                drawing.line(vec![(left, y), (right, y)], 0.5, GRID);
                drawing.line(vec![(left - TICK, y), (left, y)], 0.6, INK);
            }
            drawing.text(label.clone(), (left - 4.5, y), SMALL, Anchor::End, INK);
        }
        for &value in &self.x.minor {
            let x = self.x_at(value);
            drawing.line(vec![(x, bottom), (x, bottom + MINOR)], 0.4, INK);
        }
        let mut free_from = f64::NEG_INFINITY;
        for (value, label) in &self.x.ticks {
            let x = self.x_at(*value);
            if !self.x.categories {
                if self.x.scaling.is_log() || self.y.scaling.is_log() {
                    drawing.line(vec![(x, top), (x, bottom)], 0.5, GRID);
                }
                drawing.line(vec![(x, bottom), (x, bottom + TICK)], 0.6, INK);
            }
            let half = if names.upward { SMALL / 2.0 } else { font.width(label, SMALL) / 2.0 };
            if x - half >= free_from {
                match names.upward {
                    true => drawing.text_upward(label.clone(), (x, bottom + 4.0), SMALL, Anchor::End, INK),
                    false => drawing.text(label.clone(), (x, bottom + 4.0 + SMALL / 2.0), SMALL, Anchor::Middle, INK),
                }
                free_from = x + half + if names.upward { 0.5 } else { 3.0 };
            }
        }
        let mut free_from = f64::NEG_INFINITY;
        for (from, to, name) in &self.x.groups {
            let (from, to) = (self.x_at(*from), self.x_at(*to));
            let y = bottom + 4.0 + names.longest + 2.0;
            drawing.line(vec![(from, y), (to, y)], 0.5, GREY);
            let name = fit_text(font, name, SMALL, (to - from).max(2.0 * SMALL));
            let half = font.width(&name, SMALL) / 2.0;
            let middle = f64::midpoint(from, to);
            if middle - half >= free_from {
                drawing.text(name, (middle, y + 2.5 + SMALL / 2.0), SMALL, Anchor::Middle, INK);
                free_from = middle + half + 2.0;
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

    /// Writes the style's texts over what is drawn, and keeps its numbers.
    pub(crate) fn finish(&self, drawing: &mut Drawing, font: &Font, style: &Style, data: Data) {
        self.annotate(drawing, font, style);
        keep(drawing, style, data);
    }

    /// Each text on white and within the frame.
    fn annotate(&self, drawing: &mut Drawing, font: &Font, style: &Style) {
        let value = |axis: &Axis, place: &Place| match place {
            Place::At(shown) if !axis.categories => Some(shown * axis.scale),
            Place::At(index) => Some(*index),
            Place::Named(name) => axis.ticks.iter().find(|(_, label)| label == name).map(|t| t.0),
        };
        for annotation in &style.annotations {
            let place = (value(&self.x, &annotation.x), value(&self.y, &annotation.y));
            let Some((x, y)) = place.0.zip(place.1).and_then(|(x, y)| self.at(x, y)) else {
                drawing.notes.push(format!("the annotation `{}` has a place that no axis shows", annotation.text));
                continue;
            };
            let text = fit_text(font, &annotation.text, SMALL, self.right - self.left - 2.0);
            let half = font.width(&text, SMALL) / 2.0;
            let x = x.min(self.right - half - 1.0).max(self.left + half + 1.0);
            let y = y.min(self.bottom - SMALL).max(self.top + SMALL / 2.0);
            drawing.rectangle((x - half - 1.0, y - 4.0), (x + half + 1.0, y + 4.0), WHITE);
            drawing.text(text, (x, y), SMALL, Anchor::Middle, INK);
        }
    }
}

/// Draws a style's title at the page's top; returns the y below it.
pub(crate) fn title(drawing: &mut Drawing, font: &Font, style: &Style) -> f64 {
    let Some(title) = &style.title else { return 0.0 };
    let title = fit_text(font, title, TEXT, drawing.width - 8.0);
    drawing.text(title, (drawing.width / 2.0, 3.0 + TEXT / 2.0), TEXT, Anchor::Middle, INK);
    drawing.height += TEXT + 4.0;
    TEXT + 4.0
}

/// Keeps a drawing's numbers with its size and title.
pub(crate) fn keep(drawing: &mut Drawing, style: &Style, mut data: Data) {
    data.title = style.title.clone().unwrap_or_default();
    data.inches = (drawing.width * style.scale / 72.0, drawing.height * style.scale / 72.0);
    drawing.data.push(data);
}

/// The width of the longest entry, and its swatch.
fn longest(font: &Font, entries: &[Entry]) -> f64 {
    entries.iter().map(|e| font.width(&e.name, SMALL)).fold(0.0, f64::max) + 21.0
}

/// How the names of an axis of names are written.
struct Names {
    /// Upwards, because side by side they would overlap.
    upward: bool,
    /// How far the longest reaches below the axis.
    longest: f64,
    /// Whether there is a second row of names.
    groups: bool,
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
        // Ticks may stand closer than evenly: the nearest two decide.
        let apart = x.ticks.windows(2).map(|t| x.share(t[1].0) - x.share(t[0].0)).fold(f64::INFINITY, f64::min);
        let room = if apart.is_finite() { apart * width } else { width };
        let upward = x.categories && longest + 3.0 > room;
        Self { upward, longest: if upward { longest } else { SMALL }, groups: !x.groups.is_empty() }
    }

    fn height(&self) -> f64 {
        self.longest + if self.groups { SMALL + 5.0 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::axis::{Quantity, Scaling};
    use super::super::drawing::Shape;
    use super::super::style::{COLUMN, HEIGHT};
    use super::*;

    /// The page's frame; every shape lies on the page, and no legend over the data.
    fn page(entries: &[Entry], names: &[String], style: &Style) -> (Drawing, Frame) {
        let font = Font::load(style.font);
        let mut drawing = style.page(HEIGHT);
        let y = Axis::fit(&Quantity::new("Latency", "s"), Scaling::Linear, [1.0, 25.0], 5);
        let x = match names {
            [] => Axis::fit(&Quantity::new("Context", ""), Scaling::Linear, [1.0, 4096.0], 5),
            names => Axis::of_names("Machine", names),
        };
        let frame = Frame::draw(&mut drawing, &font, style, x, y, entries);
        for (shape, (x0, y0, x1, y1)) in drawing.shapes.iter().zip(drawing.extents()) {
            let inside = x0 >= -0.5 && y0 >= -0.5 && x1 <= drawing.width + 0.5 && y1 <= drawing.height + 0.5;
            assert!(inside, "{shape:?} is off a page of {} by {}", drawing.width, drawing.height);
        }
        for area in &drawing.areas {
            if let Area::Legend((x0, y0, x1, y1)) = *area {
                let apart = x0 >= frame.right || x1 <= frame.left || y0 >= frame.bottom || y1 <= frame.top;
                assert!(apart, "{area:?} lies over the data");
            }
        }
        (drawing, frame)
    }

    fn entries(names: &[String]) -> Vec<Entry> {
        names.iter().enumerate().map(|(i, name)| Entry::line(name.clone(), i)).collect()
    }

    #[test]
    fn a_long_legend_is_counted_and_a_short_one_changes_nothing() {
        let names: Vec<String> = (0..1000).map(|i| format!("series {i}")).collect();
        let (drawing, _) = page(&entries(&names), &[], &Style::default());
        let says = |text: &str| drawing.shapes.iter().any(|s| matches!(s, Shape::Text { text: t, .. } if t == text));
        assert!(says("series 0") && says("series 999") && says("… 961 more …") && !says("series 500"));
        assert_eq!(drawing.notes, ["the legend names 40 of 1000 entries and counts the others"]);
        let (drawing, frame) = page(&entries(&names[..3]), &[], &Style::default());
        assert!((drawing.height - HEIGHT).abs() < 1e-9 && frame.top < 20.0 && drawing.notes.is_empty());
    }

    proptest::proptest! {
        /// Whatever legend and names of categories: nothing is off the page, and the data keeps its place.
        #[test]
        fn words_never_take_the_datas_place(
            legend in proptest::collection::vec("[a-zA-Z0-9=, \u{4e00}-\u{4e10}]{0,120}", 0..70),
            names in proptest::collection::vec("[a-zA-Z0-9 ]{0,60}", 0..40),
            place in 0usize..5,
            titled: bool,
        ) {
            use LegendPlace::{Above, Auto, Below, Hidden, Right};
            let title = titled.then(|| "A title".to_owned());
            let style = Style { legend: [Auto, Above, Below, Right, Hidden][place], title, ..Style::default() };
            let (drawing, frame) = page(&entries(&legend), &names, &style);
            proptest::prop_assert!(frame.bottom - frame.top >= DATA_SHARE * HEIGHT - 1e-9);
            let least = if style.legend == Right { 0.24 } else { 0.5 };
            proptest::prop_assert!(frame.right - frame.left > least * COLUMN);
            proptest::prop_assert!(drawing.height < 1000.0);
        }
    }
}
