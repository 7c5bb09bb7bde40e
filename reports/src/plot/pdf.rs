//! Drawings as PDF, for LaTeX: one page of the drawing's size, texts as outlines of the embedded font.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use pdf_writer::types::{LineCapStyle, LineJoinStyle};
use pdf_writer::{Content, Filter, Finish, Pdf, Rect, Ref};
use ttf_parser::OutlineBuilder;

use super::drawing::{Anchor, Color, Drawing, Point, Shape};
use super::font::{Font, GlyphSink};
use crate::ReportError;

/// A quarter of a circle as a cubic curve: how far its control points lie along the tangents, in radii.
const QUARTER: f64 = 0.552_284_75;

/// The drawing as a PDF file.
pub(super) fn pdf(drawing: &Drawing) -> Result<Vec<u8>, ReportError> {
    let [catalog, pages, page, content] = [1, 2, 3, 4].map(Ref::new);
    let painted = deflated(&paint(drawing)).map_err(|e| ReportError::Render(e.to_string()))?;
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(pages);
    pdf.pages(pages).kids([page]).count(1);
    let mut sheet = pdf.page(page);
    sheet.media_box(Rect::new(0.0, 0.0, drawing.width as f32, drawing.height as f32)).parent(pages).contents(content);
    sheet.resources();
    sheet.finish();
    pdf.stream(content, &painted).filter(Filter::FlateDecode);
    Ok(pdf.finish())
}

fn deflated(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn paint(drawing: &Drawing) -> Vec<u8> {
    let font = Font::load(drawing.typeface);
    let mut content = Content::new();
    // A drawing's y goes down, a page's up.
    content.transform([1.0, 0.0, 0.0, -1.0, 0.0, drawing.height as f32]);
    content.set_line_join(LineJoinStyle::RoundJoin).set_line_cap(LineCapStyle::ButtCap);
    for shape in &drawing.shapes {
        match shape {
            Shape::Line { points, width, color } => {
                let [r, g, b] = rgb(*color);
                content.set_stroke_rgb(r, g, b).set_line_width(*width as f32);
                if path(&mut content, points) {
                    content.stroke();
                }
            }
            Shape::Area { points, color } => {
                fill(&mut content, *color);
                if path(&mut content, points) {
                    content.close_path().fill_nonzero();
                }
            }
            Shape::Disc { center, radius, color } => {
                fill(&mut content, *color);
                disc(&mut content, *center, *radius);
            }
            Shape::Text { text, at, size, anchor, upward, color } => {
                fill(&mut content, *color);
                let width = font.width(text, 1.0);
                let shift = match anchor {
                    Anchor::Start => 0.0,
                    Anchor::Middle => width / 2.0,
                    Anchor::End => width,
                };
                let mut letters = Letters {
                    content,
                    at: *at,
                    size: *size,
                    shift,
                    upward: *upward,
                    capital: font.capital(),
                    x: 0.0,
                    scale: 1.0,
                    last: (0.0, 0.0),
                };
                font.outline(text, &mut letters);
                content = letters.content;
                content.fill_nonzero();
            }
        }
    }
    content.finish().to_vec()
}

fn rgb(Color(r, g, b): Color) -> [f32; 3] {
    [r, g, b].map(|c| f32::from(c) / 255.0)
}

fn fill(content: &mut Content, color: Color) {
    let [r, g, b] = rgb(color);
    content.set_fill_rgb(r, g, b);
}

/// A coordinate that a reader of PDF can hold; far off the page is as good as further off.
fn place(v: f64) -> f32 {
    if v.is_nan() { 0.0 } else { v.clamp(-1e4, 1e4) as f32 }
}

/// Begins a path through points; whether there is any.
fn path(content: &mut Content, points: &[Point]) -> bool {
    for (i, &(x, y)) in points.iter().enumerate() {
        match i {
            0 => content.move_to(place(x), place(y)),
            _ => content.line_to(place(x), place(y)),
        };
    }
    !points.is_empty()
}

fn disc(content: &mut Content, (x, y): Point, r: f64) {
    let q = r * QUARTER;
    content.move_to(place(x + r), place(y));
    for [a, b, end] in [
        [(x + r, y + q), (x + q, y + r), (x, y + r)],
        [(x - q, y + r), (x - r, y + q), (x - r, y)],
        [(x - r, y - q), (x - q, y - r), (x, y - r)],
        [(x + q, y - r), (x + r, y - q), (x + r, y)],
    ] {
        content.cubic_to(place(a.0), place(a.1), place(b.0), place(b.1), place(end.0), place(end.1));
    }
    content.close_path().fill_nonzero();
}

/// Puts glyphs' outlines, which come in units of the font, on the page.
struct Letters {
    content: Content,
    at: Point,
    size: f64,
    /// Ems of the text that lie before its anchor.
    shift: f64,
    upward: bool,
    /// Height of a capital letter, in ems.
    capital: f64,
    x: f64,
    scale: f64,
    /// Where the pen is, in units of the font.
    last: (f32, f32),
}

impl Letters {
    fn on_page(&self, x: f32, y: f32) -> (f32, f32) {
        let along = (self.x + f64::from(x) * self.scale - self.shift) * self.size;
        // The anchor is the middle of a capital letter.
        let up = (f64::from(y) * self.scale - self.capital / 2.0) * self.size;
        match self.upward {
            false => (place(self.at.0 + along), place(self.at.1 - up)),
            true => (place(self.at.0 - up), place(self.at.1 - along)),
        }
    }
}

impl GlyphSink for Letters {
    fn place(&mut self, x: f64, scale: f64) {
        (self.x, self.scale) = (x, scale);
    }
}

impl OutlineBuilder for Letters {
    fn move_to(&mut self, x: f32, y: f32) {
        let (px, py) = self.on_page(x, y);
        self.content.move_to(px, py);
        self.last = (x, y);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        let (px, py) = self.on_page(x, y);
        self.content.line_to(px, py);
        self.last = (x, y);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        // PDF has cubic curves only: the control points lie two thirds of the way to the quadratic one's.
        let toward = |from: f32, to: f32| from + (to - from) * 2.0 / 3.0;
        let (x0, y0) = self.last;
        self.curve_to(toward(x0, x1), toward(y0, y1), toward(x, x1), toward(y, y1), x, y);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let (a, b, end) = (self.on_page(x1, y1), self.on_page(x2, y2), self.on_page(x, y));
        self.content.cubic_to(a.0, a.1, b.0, b.1, end.0, end.1);
        self.last = (x, y);
    }
    fn close(&mut self) {
        self.content.close_path();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_shapes_and_outlines_in_its_own_size() {
        let mut drawing = Drawing::new(252.0, 165.0);
        let ink = Color(255, 0, 0);
        drawing.line(vec![(1.0, 2.0), (f64::NAN, f64::INFINITY)], 0.5, ink);
        drawing.mark(super::super::drawing::Mark::Disc, (10.0, 10.0), 2.0, ink);
        drawing.rectangle((0.0, 0.0), (1.0, 1.0), ink);
        let text = String::from_utf8(paint(&drawing)).unwrap();
        assert!(text.starts_with("1 0 0 -1 0 165 cm") && text.contains("0.5 w") && text.contains("1 0 0 RG"), "{text}");
        assert!(text.contains("0 10000 l") && !text.contains("NaN") && !text.contains("inf"), "{text}");
        let before = text.len();
        drawing.text("µ 12", (50.0, 50.0), 8.0, Anchor::Middle, ink);
        drawing.text_upward("µ 12", (50.0, 50.0), 8.0, Anchor::End, ink);
        assert!(paint(&drawing).len() > before + 500, "letters are curves");
        let file = pdf(&drawing).unwrap();
        assert!(file.starts_with(b"%PDF-1.7") && file.ends_with(b"%%EOF"));
        let find = |what: &[u8]| file.windows(what.len()).any(|w| w == what);
        assert!(find(b"/MediaBox [0 0 252 165]") && find(b"/FlateDecode"));
        // The same drawing gives the same bytes.
        assert_eq!(file, pdf(&drawing).unwrap());
    }
}
