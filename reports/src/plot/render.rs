//! Drawings as SVG and PNG. Both go through plotters' `DrawingBackend`: its own for SVG, and one here that paints an
//! anti-aliased pixmap with the embedded font, so that the two look the same on any machine.

use std::convert::Infallible;

use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontFamily,
    FontStyle, FontTransform, text_anchor,
};
use plotters_svg::SVGBackend;
use tiny_skia::{FillRule, Paint, PathBuilder, Pixmap, Stroke, Transform};
use ttf_parser::OutlineBuilder;

use super::drawing::{Anchor, Color, Drawing, Point, Shape};
use super::font::{Font, GlyphSink, Typeface};
use crate::ReportError;

/// Backend units per point. plotters' coordinates are whole numbers, so a unit is far below what can be seen.
const UNITS: f64 = 20.0;
/// plotters' SVG backend divides a font's size by this on the way.
const PLOTTERS_FONT_SCALE: f64 = 1.24;
/// Pixels per inch of a PNG: print quality.
const DOTS_PER_INCH: f64 = 400.0;
const POINTS_PER_INCH: f64 = 72.0;

/// The drawing as an SVG document, sized in inches.
pub(crate) fn svg(drawing: &Drawing) -> Result<String, ReportError> {
    let mut out = String::new();
    {
        let mut backend = SVGBackend::with_string(&mut out, size_units(drawing));
        paint(drawing, &mut backend)?;
        backend.present().map_err(render_error)?;
    }
    // plotters sizes the document in pixels, and has no baseline or line joins. `"` is escaped in texts, so these
    // attributes occur only where it wrote them.
    let (width, height) = size_units(drawing);
    let sized = format!(
        "width=\"{:.4}in\" height=\"{:.4}in\" stroke-linejoin=\"round\"",
        drawing.width / POINTS_PER_INCH,
        drawing.height / POINTS_PER_INCH
    );
    let out = out.replacen(&format!("width=\"{width}\" height=\"{height}\""), &sized, 1);
    let capital = Font::load(drawing.typeface).capital();
    Ok(out.replace("dy=\"0.5ex\"", &format!("dy=\"{:.4}em\"", capital / 2.0)))
}

/// The drawing as a PNG file.
pub(crate) fn png(drawing: &Drawing) -> Result<Vec<u8>, ReportError> {
    let scale = DOTS_PER_INCH / POINTS_PER_INCH;
    let (width, height) = ((drawing.width * scale).round() as u32, (drawing.height * scale).round() as u32);
    let mut pixmap =
        Pixmap::new(width, height).ok_or_else(|| ReportError::Render(format!("it is {width} by {height} pixels")))?;
    pixmap.fill(tiny_skia::Color::WHITE);
    let mut backend = PixmapBackend {
        pixmap,
        size: size_units(drawing),
        transform: Transform::from_scale((scale / UNITS) as f32, (scale / UNITS) as f32),
        font: Font::load(drawing.typeface),
    };
    paint(drawing, &mut backend)?;
    backend.pixmap.encode_png().map_err(|e| ReportError::Render(e.to_string()))
}

fn size_units(drawing: &Drawing) -> (u32, u32) {
    ((drawing.width * UNITS).round() as u32, (drawing.height * UNITS).round() as u32)
}

// By value, because `map_err` gives it so.
#[expect(clippy::needless_pass_by_value)]
fn render_error<E: std::error::Error + Send + Sync>(error: DrawingErrorKind<E>) -> ReportError {
    ReportError::Render(error.to_string())
}

fn units((x, y): Point) -> BackendCoord {
    // A shape far outside the page is as good as one just outside it, and does not overflow a rasteriser.
    let unit = |v: f64| (v.clamp(-1e4, 1e4) * UNITS).round() as i32;
    (unit(x), unit(y))
}

struct Pen {
    color: BackendColor,
    width: u32,
}

impl BackendStyle for Pen {
    fn color(&self) -> BackendColor {
        self.color
    }
    fn stroke_width(&self) -> u32 {
        self.width
    }
}

fn pen(color: Color, width: f64) -> Pen {
    let color = BackendColor { alpha: 1.0, rgb: (color.0, color.1, color.2) };
    Pen { color, width: (width * UNITS).round().max(1.0) as u32 }
}

struct Lettering {
    color: BackendColor,
    size: f64,
    anchor: Anchor,
    upward: bool,
    typeface: Typeface,
}

impl BackendTextStyle for Lettering {
    type FontError = Infallible;

    fn color(&self) -> BackendColor {
        self.color
    }
    fn size(&self) -> f64 {
        self.size * PLOTTERS_FONT_SCALE
    }
    fn transform(&self) -> FontTransform {
        if self.upward { FontTransform::Rotate270 } else { FontTransform::None }
    }
    fn style(&self) -> FontStyle {
        FontStyle::Normal
    }
    fn anchor(&self) -> text_anchor::Pos {
        let horizontal = match self.anchor {
            Anchor::Start => text_anchor::HPos::Left,
            Anchor::Middle => text_anchor::HPos::Center,
            Anchor::End => text_anchor::HPos::Right,
        };
        text_anchor::Pos::new(horizontal, text_anchor::VPos::Center)
    }
    fn family(&self) -> FontFamily<'_> {
        FontFamily::Name(self.typeface.family())
    }
    fn layout_box(&self, text: &str) -> Result<((i32, i32), (i32, i32)), Self::FontError> {
        let width = Font::load(self.typeface).width(text, self.size);
        Ok(((0, 0), (width.round() as i32, self.size.round() as i32)))
    }
    fn draw<E, DrawFunc: FnMut(i32, i32, BackendColor) -> Result<(), E>>(
        &self,
        _text: &str,
        _position: BackendCoord,
        _draw: DrawFunc,
    ) -> Result<Result<(), E>, Self::FontError> {
        // Only backends without text of their own ask for pixels; both used here have it.
        Ok(Ok(()))
    }
}

fn paint<B: DrawingBackend>(drawing: &Drawing, backend: &mut B) -> Result<(), ReportError> {
    let white = pen(Color(255, 255, 255), 1.0);
    let (width, height) = size_units(drawing);
    backend.draw_rect((0, 0), (width as i32, height as i32), &white, true).map_err(render_error)?;
    for shape in &drawing.shapes {
        let result = match shape {
            Shape::Line { points, width, color } => {
                backend.draw_path(points.iter().copied().map(units), &pen(*color, *width))
            }
            Shape::Area { points, color } => backend.fill_polygon(points.iter().copied().map(units), &pen(*color, 1.0)),
            Shape::Disc { center, radius, color } => {
                backend.draw_circle(units(*center), (radius * UNITS).round() as u32, &pen(*color, 1.0), true)
            }
            Shape::Text { text, at, size, anchor, upward, color } => {
                let style = Lettering {
                    color: pen(*color, 1.0).color,
                    size: size * UNITS,
                    anchor: *anchor,
                    upward: *upward,
                    typeface: drawing.typeface,
                };
                backend.draw_text(text, &style, units(*at))
            }
        };
        result.map_err(render_error)?;
    }
    Ok(())
}

/// A plotters backend that paints with tiny-skia.
struct PixmapBackend {
    pixmap: Pixmap,
    size: (u32, u32),
    transform: Transform,
    font: Font,
}

type Painted = Result<(), DrawingErrorKind<Infallible>>;

impl PixmapBackend {
    fn paint(color: BackendColor) -> Paint<'static> {
        let (r, g, b) = color.rgb;
        let mut paint = Paint::default();
        paint.set_color_rgba8(r, g, b, (color.alpha * 255.0).round() as u8);
        paint.anti_alias = true;
        paint
    }

    fn fill(&mut self, path: Option<tiny_skia::Path>, color: BackendColor, transform: Transform) {
        // No path: nothing to paint (a text of spaces, a polygon without extent).
        if let Some(path) = path {
            self.pixmap.fill_path(&path, &Self::paint(color), FillRule::Winding, transform, None);
        }
    }

    fn stroke(&mut self, path: Option<tiny_skia::Path>, color: BackendColor, width: u32) {
        if let Some(path) = path {
            let stroke = Stroke { width: width as f32, line_join: tiny_skia::LineJoin::Round, ..Stroke::default() };
            self.pixmap.stroke_path(&path, &Self::paint(color), &stroke, self.transform, None);
        }
    }

    fn path(points: impl IntoIterator<Item = BackendCoord>, close: bool) -> Option<tiny_skia::Path> {
        let mut builder = PathBuilder::new();
        for (x, y) in points {
            match builder.is_empty() {
                true => builder.move_to(x as f32, y as f32),
                false => builder.line_to(x as f32, y as f32),
            }
        }
        if close {
            builder.close();
        }
        builder.finish()
    }
}

impl DrawingBackend for PixmapBackend {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }
    fn ensure_prepared(&mut self) -> Painted {
        Ok(())
    }
    fn present(&mut self) -> Painted {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Painted {
        let corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)];
        self.fill(Self::path(corners, true), color, self.transform);
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Painted {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(&mut self, a: BackendCoord, b: BackendCoord, style: &S, fill: bool) -> Painted {
        let path = Self::path([a, (b.0, a.1), b, (a.0, b.1)], true);
        match fill {
            true => self.fill(path, style.color(), self.transform),
            false => self.stroke(path, style.color(), style.stroke_width()),
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Painted {
        self.stroke(Self::path(path, false), style.color(), style.stroke_width());
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, center: BackendCoord, radius: u32, style: &S, fill: bool) -> Painted {
        let path = PathBuilder::from_circle(center.0 as f32, center.1 as f32, radius as f32);
        match fill {
            true => self.fill(path, style.color(), self.transform),
            false => self.stroke(path, style.color(), style.stroke_width()),
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Painted {
        self.fill(Self::path(path, true), style.color(), self.transform);
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Painted {
        let size = style.size() / PLOTTERS_FONT_SCALE;
        let mut outline = Outline { builder: PathBuilder::new(), x: 0.0, scale: 1.0 };
        self.font.outline(text, &mut outline);
        let width = self.font.width(text, 1.0);
        let shift = match style.anchor().h_pos {
            text_anchor::HPos::Left => 0.0,
            text_anchor::HPos::Center => -width / 2.0,
            text_anchor::HPos::Right => -width,
        };
        let mut transform = self.transform.pre_translate(at.0 as f32, at.1 as f32);
        if matches!(style.transform(), FontTransform::Rotate270) {
            transform = transform.pre_rotate(-90.0);
        }
        // From ems with y upwards to units with y downwards.
        let transform = transform
            .pre_scale(size as f32, -size as f32)
            .pre_translate(shift as f32, (-self.font.capital() / 2.0) as f32);
        self.fill(outline.builder.finish(), style.color(), transform);
        Ok(())
    }
}

/// Collects glyph outlines as one path, in ems.
struct Outline {
    builder: PathBuilder,
    x: f64,
    scale: f64,
}

impl Outline {
    fn em(&self, x: f32, y: f32) -> (f32, f32) {
        ((self.x + f64::from(x) * self.scale) as f32, (f64::from(y) * self.scale) as f32)
    }
}

impl GlyphSink for Outline {
    fn place(&mut self, x: f64, scale: f64) {
        (self.x, self.scale) = (x, scale);
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.em(x, y);
        self.builder.move_to(x, y);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.em(x, y);
        self.builder.line_to(x, y);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.em(x1, y1), self.em(x, y));
        self.builder.quad_to(x1, y1, x, y);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.em(x1, y1), self.em(x2, y2), self.em(x, y));
        self.builder.cubic_to(x1, y1, x2, y2, x, y);
    }
    fn close(&mut self) {
        self.builder.close();
    }
}
