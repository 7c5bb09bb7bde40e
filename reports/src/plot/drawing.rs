//! A drawing: shapes in points, before any file format.

/// A drawing in points (1/72 inch) with its origin at the top left, which renders to the same picture as SVG and as PNG.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// Width in points.
    pub(crate) width: f64,
    /// Height in points.
    pub(crate) height: f64,
    pub(crate) shapes: Vec<Shape>,
}

/// A point of a drawing, in points from its top left.
pub(crate) type Point = (f64, f64);

/// A colour: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Color(pub(crate) u8, pub(crate) u8, pub(crate) u8);

impl Color {
    /// The same hue, a share `amount` of the way to white.
    pub(crate) fn lighter(self, amount: f64) -> Self {
        let mix = |c: u8| (f64::from(c) + (255.0 - f64::from(c)) * amount).round() as u8;
        Self(mix(self.0), mix(self.1), mix(self.2))
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
}

impl Mark {
    /// The mark of the n-th series.
    pub(crate) fn of(series: usize) -> Self {
        [Self::Disc, Self::Square, Self::Triangle, Self::Diamond][series % 4]
    }
}

impl Drawing {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { width, height, shapes: Vec::new() }
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
        let mut drawn = true;
        let mut left = on;
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let length = (x1 - x0).hypot(y1 - y0);
            let mut done = 0.0;
            // A drawing is a few hundred points wide, so this is a few hundred dashes at most.
            while done < length {
                let piece = left.min(length - done);
                if drawn {
                    let at = |d: f64| (x0 + (x1 - x0) * d / length, y0 + (y1 - y0) * d / length);
                    self.line(vec![at(done), at(done + piece)], width, color);
                }
                done += piece;
                left -= piece;
                if left <= 1e-9 {
                    drawn = !drawn;
                    left = if drawn { on } else { off };
                }
            }
        }
    }

    pub(crate) fn mark(&mut self, mark: Mark, (x, y): Point, radius: f64, color: Color) {
        let r = radius;
        match mark {
            Mark::Disc => self.shapes.push(Shape::Disc { center: (x, y), radius: r, color }),
            Mark::Square => {
                let r = r * 0.89; // equal area with the disc
                self.rectangle((x - r, y - r), (x + r, y + r), color);
            }
            Mark::Triangle => {
                let r = r * 1.3;
                self.area(vec![(x, y - r), (x + r * 0.87, y + r * 0.5), (x - r * 0.87, y + r * 0.5)], color);
            }
            Mark::Diamond => {
                let r = r * 1.25;
                self.area(vec![(x, y - r), (x + r, y), (x, y + r), (x - r, y)], color);
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
}
