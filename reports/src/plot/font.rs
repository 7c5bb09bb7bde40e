//! The embedded fonts: how wide a text is, and its outlines.

use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// What a figure's texts are set in. Each is embedded, reduced to what a plot needs; see `font/README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Typeface {
    /// Arimo, which has Arial's metrics.
    #[default]
    Sans,
    /// Tinos, which has those of Times New Roman: IEEE's papers.
    Times,
    /// Linux Libertine: ACM's papers.
    Libertine,
}

impl Typeface {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Sans, Self::Times, Self::Libertine];

    /// The name in a figure's file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sans => "sans",
            Self::Times => "times",
            Self::Libertine => "libertine",
        }
    }

    /// What an SVG viewer is asked for: fonts with the embedded one's metrics, most alike first.
    pub(crate) fn family(self) -> &'static str {
        match self {
            Self::Sans => "Arimo, Liberation Sans, Arial, Helvetica, sans-serif",
            Self::Times => "Tinos, Liberation Serif, Times New Roman, Times, serif",
            Self::Libertine => "Linux Libertine O, Linux Libertine, Libertinus Serif, Times New Roman, serif",
        }
    }

    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Sans => include_bytes!("../../font/Arimo-Regular-subset.ttf"),
            Self::Times => include_bytes!("../../font/Tinos-Regular-subset.ttf"),
            Self::Libertine => include_bytes!("../../font/Libertine-Regular-subset.otf"),
        }
    }
}

/// An embedded font, or nothing where it cannot be parsed (which a test excludes).
pub(crate) struct Font {
    face: Option<Face<'static>>,
    /// Height of a capital letter, in ems.
    capital: f64,
}

impl Font {
    pub(crate) fn load(typeface: Typeface) -> Self {
        let face = Face::parse(typeface.bytes(), 0).ok();
        let of = |face: &Face<'_>| Some(f64::from(face.capital_height()?) / f64::from(face.units_per_em()));
        let capital = face.as_ref().and_then(of).unwrap_or(0.69);
        Self { face, capital }
    }

    /// Height of a capital letter, in ems.
    pub(crate) fn capital(&self) -> f64 {
        self.capital
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
    fn the_embedded_fonts_have_their_models_widths() {
        // Arial's digits are 1139 units of 2048, its comma and space 569; those of Times 1024 and 512.
        let width = |typeface: Typeface| Font::load(typeface).width("1,000", 2048.0);
        assert!((width(Typeface::Sans) - (4.0 * 1139.0 + 569.0)).abs() < 1e-6);
        assert!((width(Typeface::Times) - (4.0 * 1024.0 + 512.0)).abs() < 1e-6);
        for typeface in Typeface::ALL {
            let font = Font::load(typeface);
            assert!(font.face.is_some() && (0.6..0.75).contains(&font.capital()), "{typeface:?} {}", font.capital());
            for c in "µ×–…⁻⁰¹²³⁴⁵⁶⁷⁸⁹±≤≈−\u{fffd}".chars() {
                assert!(font.face.as_ref().unwrap().glyph_index(c).is_some(), "{typeface:?} has no glyph for {c}");
            }
        }
    }
}
