//! A drawing: shapes in points, before any file format.

use super::data::Data;
use super::font::{Font, Typeface};

/// A drawing in points (1/72 inch) with its origin at the top left, which renders to the same picture as SVG, PNG and PDF.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// Width in points.
    pub(crate) width: f64,
    /// Height in points.
    pub(crate) height: f64,
    pub(crate) shapes: Vec<Shape>,
    /// What its texts are set in.
    pub(crate) typeface: Typeface,
    /// The numbers that it shows, a table for each panel.
    pub(crate) data: Vec<Data>,
    /// Where data and legends are.
    pub(crate) areas: Vec<Area>,
    /// What had to be shortened or left out to draw it.
    pub(crate) notes: Vec<String>,
}

/// A point of a drawing, in points from its top left.
pub(crate) type Point = (f64, f64);

/// A box: left, top, right, bottom in points from the drawing's top left.
pub type Extent = (f64, f64, f64, f64);

/// A part of a drawing that has a place of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Area {
    /// Where data is drawn.
    Data(Extent),
    /// Where a legend is.
    Legend(Extent),
}

/// A colour: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Color(pub(crate) u8, pub(crate) u8, pub(crate) u8);

impl Color {
    /// The same hue, a share `amount` of the way to white.
    pub(crate) fn lighter(self, amount: f64) -> Self {
        let mix = |c: u8| (f64::from(c) + (255.0 - f64::from(c)) * amount).round() as u8;
        Self(mix(self.0), mix(self.1), mix(self.2))
    }

    /// As `#0072b2`.
    pub(crate) fn hex(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// Which point of a text its position names; vertically it is always the middle of a capital letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Line { points: Vec<Point>, width: f64, color: Color },
    Area { points: Vec<Point>, color: Color },
    Disc { center: Point, radius: f64, color: Color },
    Text { text: String, at: Point, size: f64, anchor: Anchor, upward: bool, color: Color },
}

/// The marks of a scatter plot, told apart without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Disc,
    Square,
    Triangle,
    Diamond,
    Ring,
    Cross,
    Upturned,
    Plus,
}

impl Mark {
    /// The mark of the n-th series.
    pub(crate) fn of(series: usize) -> Self {
        const ALL: [Mark; 8] = [
            Mark::Disc,
            Mark::Square,
            Mark::Triangle,
            Mark::Diamond,
            Mark::Ring,
            Mark::Cross,
            Mark::Upturned,
            Mark::Plus,
        ];
        ALL[series % ALL.len()]
    }
}

impl Drawing {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            shapes: Vec::new(),
            typeface: Typeface::default(),
            data: Vec::new(),
            areas: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Width and height in points.
    pub fn size(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    /// Where data and legends are: no legend lies over data.
    pub fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// The numbers that the drawing shows, a table for each panel.
    pub fn data(&self) -> &[Data] {
        &self.data
    }

    /// What had to be shortened or left out to draw it, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The box that each shape takes, in order of drawing.
    pub fn extents(&self) -> Vec<Extent> {
        let font = Font::load(self.typeface);
        self.shapes.iter().map(|shape| shape.extent(&font)).collect()
    }

    pub(crate) fn line(&mut self, points: Vec<Point>, width: f64, color: Color) {
        self.shapes.push(Shape::Line { points, width, color });
    }

    pub(crate) fn area(&mut self, points: Vec<Point>, color: Color) {
        self.shapes.push(Shape::Area { points, color });
    }

    pub(crate) fn rectangle(&mut self, (x0, y0): Point, (x1, y1): Point, color: Color) {
        self.area(vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color);
    }

    /// A line of dashes of `on` points with gaps of `off` points.
    pub(crate) fn dashes(&mut self, points: &[Point], (on, off): (f64, f64), width: f64, color: Color) {
        self.dashed(points, &[on, off], width, color);
    }

    /// A line with lengths in points that are drawn and left out in turn, a shape for each dash.
    pub(crate) fn dashed(&mut self, points: &[Point], pattern: &[f64], width: f64, color: Color) {
        let mut turn = 0;
        let mut left = pattern.first().copied().unwrap_or(f64::INFINITY);
        let mut dash: Vec<Point> = points.first().copied().into_iter().collect();
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let length = (x1 - x0).hypot(y1 - y0);
            let mut done = 0.0;
            // A drawing is a few hundred points wide, so this is a few hundred dashes at most.
            while done < length {
                let piece = left.min(length - done);
                done += piece;
                left -= piece;
                let at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length);
                dash.push(at);
                if left <= 1e-9 {
                    if turn % 2 == 0 {
                        self.line(std::mem::take(&mut dash), width, color);
                    }
                    dash = vec![at];
                    turn += 1;
                    left = pattern[turn % pattern.len()].max(0.1);
                }
            }
        }
        if turn % 2 == 0 && dash.len() > 1 {
            self.line(dash, width, color);
        }
    }

    pub(crate) fn mark(&mut self, mark: Mark, (x, y): Point, radius: f64, color: Color) {
        let r = radius;
        match mark {
            Mark::Disc => self.shapes.push(Shape::Disc { center: (x, y), radius: r, color }),
            Mark::Ring => {
                self.shapes.push(Shape::Disc { center: (x, y), radius: r * 1.1, color });
                let white = Color(0xff, 0xff, 0xff);
                self.shapes.push(Shape::Disc { center: (x, y), radius: r * 0.55, color: white });
            }
            Mark::Square => {
                let r = r * 0.89; // equal area with the disc
                self.rectangle((x - r, y - r), (x + r, y + r), color);
            }
            Mark::Triangle => {
                let r = r * 1.3;
                self.area(vec![(x, y - r), (x + r * 0.87, y + r * 0.5), (x - r * 0.87, y + r * 0.5)], color);
            }
            Mark::Upturned => {
                let r = r * 1.3;
                self.area(vec![(x, y + r), (x + r * 0.87, y - r * 0.5), (x - r * 0.87, y - r * 0.5)], color);
            }
            Mark::Diamond => {
                let r = r * 1.25;
                self.area(vec![(x, y - r), (x + r, y), (x, y + r), (x - r, y)], color);
            }
            Mark::Cross => {
                self.line(vec![(x - r, y - r), (x + r, y + r)], 0.45 * r, color);
                self.line(vec![(x - r, y + r), (x + r, y - r)], 0.45 * r, color);
            }
            Mark::Plus => {
                let r = r * 1.2;
                self.line(vec![(x - r, y), (x + r, y)], 0.4 * r, color);
                self.line(vec![(x, y - r), (x, y + r)], 0.4 * r, color);
            }
        }
    }

    pub(crate) fn text(&mut self, text: impl Into<String>, at: Point, size: f64, anchor: Anchor, color: Color) {
        let upward = false;
        self.shapes.push(Shape::Text { text: text.into(), at, size, anchor, upward, color });
    }

    /// Text that reads upwards.
    pub(crate) fn text_upward(&mut self, text: impl Into<String>, at: Point, size: f64, anchor: Anchor, color: Color) {
        let upward = true;
        self.shapes.push(Shape::Text { text: text.into(), at, size, anchor, upward, color });
    }

    /// Everything `factor` times as large.
    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        self.shapes.iter_mut().for_each(|shape| shape.transform((0.0, 0.0), factor));
        self.areas = self.areas.iter().map(|area| area.transformed((0.0, 0.0), factor)).collect();
        (self.width, self.height) = (self.width * factor, self.height * factor);
        self
    }

    /// Puts another drawing's shapes and areas on this page, its origin at `at`; its data and notes are taken over.
    pub(crate) fn place(&mut self, other: Self, at: Point) {
        self.shapes.extend(other.shapes.into_iter().map(|mut shape| {
            shape.transform(at, 1.0);
            shape
        }));
        self.areas.extend(other.areas.iter().map(|area| area.transformed(at, 1.0)));
        self.data.extend(other.data);
        self.notes.extend(other.notes);
    }
}

impl Area {
    fn transformed(self, (dx, dy): Point, factor: f64) -> Self {
        let moved = |(x0, y0, x1, y1): Extent| (x0 * factor + dx, y0 * factor + dy, x1 * factor + dx, y1 * factor + dy);
        match self {
            Self::Data(extent) => Self::Data(moved(extent)),
            Self::Legend(extent) => Self::Legend(moved(extent)),
        }
    }
}

impl Shape {
    fn transform(&mut self, (dx, dy): Point, factor: f64) {
        let move_point = |p: &mut Point| *p = (p.0 * factor + dx, p.1 * factor + dy);
        match self {
            Self::Line { points, width, .. } => {
                points.iter_mut().for_each(move_point);
                *width *= factor;
            }
            Self::Area { points, .. } => points.iter_mut().for_each(move_point),
            Self::Disc { center, radius, .. } => {
                move_point(center);
                *radius *= factor;
            }
            Self::Text { at, size, .. } => {
                move_point(at);
                *size *= factor;
            }
        }
    }

    fn extent(&self, font: &Font) -> Extent {
        match self {
            Self::Line { points, .. } | Self::Area { points, .. } => points.iter().fold(
                (f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY),
                |(x0, y0, x1, y1), &(x, y)| (x0.min(x), y0.min(y), x1.max(x), y1.max(y)),
            ),
            Self::Disc { center: (x, y), radius: r, .. } => (x - r, y - r, x + r, y + r),
            Self::Text { text, at: (x, y), size, anchor, upward, .. } => {
                let width = font.width(text, *size);
                let (before, after) = match anchor {
                    Anchor::Start => (0.0, width),
                    Anchor::Middle => (width / 2.0, width / 2.0),
                    Anchor::End => (width, 0.0),
                };
                // Of lettering without descenders, which is what a page's edge must hold.
                let half = size * font.capital() / 2.0;
                match upward {
                    false => (x - before, y - half, x + after, y + half),
                    true => (x - half, y - after, x + half, y + before),
                }
            }
        }
    }
}
