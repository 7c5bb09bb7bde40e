//! The embedded font: how wide a text is, and its outlines.

use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// Arimo, reduced to what a plot needs; see `font/README.md`.
const BYTES: &[u8] = include_bytes!("../../font/Arimo-Regular-subset.ttf");

/// What an SVG viewer is asked for: fonts with the embedded one's metrics, most alike first.
pub(crate) const FAMILY: &str = "Arimo, Liberation Sans, Arial, Helvetica, sans-serif";

/// Height of a capital letter, in ems.
pub(crate) const CAPITAL: f64 = 1409.0 / 2048.0;

/// The embedded font, or nothing where it cannot be parsed (which a test excludes).
pub(crate) struct Font {
    face: Option<Face<'static>>,
}

impl Font {
    pub(crate) fn load() -> Self {
        Self { face: Face::parse(BYTES, 0).ok() }
    }

    /// Advance width in points of a text of `size` points.
    pub(crate) fn width(&self, text: &str, size: f64) -> f64 {
        self.glyphs(text).map(|(_, advance)| advance).sum::<f64>() * size
    }

    /// Each glyph with its advance in ems.
    fn glyphs<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (GlyphId, f64)> + 'a {
        let face = self.face.as_ref();
        text.chars().map(move |c| match face {
            Some(face) => {
                // A character outside the subset shows as the replacement character, never as nothing.
                let glyph = face.glyph_index(c).or_else(|| face.glyph_index('\u{fffd}')).unwrap_or_default();
                let advance = face.glyph_hor_advance(glyph).unwrap_or(0);
                (glyph, f64::from(advance) / f64::from(face.units_per_em()))
            }
            None => (GlyphId(0), 0.6),
        })
    }

    /// Draws a text's outlines in ems, y upwards, the baseline's start at the origin.
    pub(crate) fn outline(&self, text: &str, builder: &mut impl GlyphSink) {
        let Some(face) = self.face.as_ref() else { return };
        let mut x = 0.0;
        for (glyph, advance) in self.glyphs(text) {
            builder.place(x, 1.0 / f64::from(face.units_per_em()));
            face.outline_glyph(glyph, builder);
            x += advance;
        }
    }
}

/// Takes outlines, glyph by glyph.
pub(crate) trait GlyphSink: OutlineBuilder {
    /// The next glyph begins `x` ems along the baseline; its units are `scale` ems.
    fn place(&mut self, x: f64, scale: f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_font_has_arials_widths() {
        let font = Font::load();
        assert!(font.face.is_some());
        // Arial's digits are 1139 units of 2048, its comma and space 569.
        assert!((font.width("1,000", 2048.0) - (4.0 * 1139.0 + 569.0)).abs() < 1e-6);
        for c in "µ×–…⁻⁰¹²³⁴⁵⁶⁷⁸⁹±≤≈−".chars() {
            assert!(font.face.as_ref().unwrap().glyph_index(c).is_some(), "no glyph for {c}");
        }
    }
}
