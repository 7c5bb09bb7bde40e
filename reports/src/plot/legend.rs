//! Legends: what each colour, mark and hatch stands for.

use super::drawing::{Anchor, Area, Color, Drawing, Mark};
use super::font::Font;
use super::palette::{GREY, Hatch, INK, color, dash, filled};
use super::style::{LegendPlace, SMALL, Style};

/// One entry of a legend.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) color: Color,
    pub(crate) swatch: Swatch,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Swatch {
    /// A filled box without an outline: a shade.
    Fill,
    /// A box as bars have it.
    Hatched(Hatch),
    /// A mark alone.
    Mark(Mark),
    /// The line of the n-th series, with its mark.
    Line(usize),
    /// The line of the n-th series.
    Plain(usize),
    /// A dashed line.
    Dashes,
    /// Nothing: the entry speaks for itself.
    Nothing,
}

impl Entry {
    /// A series of lines and marks.
    pub(crate) fn line(name: String, series: usize) -> Self {
        Self { name, color: color(series), swatch: Swatch::Line(series) }
    }

    /// A series of marks.
    pub(crate) fn mark(name: String, series: usize) -> Self {
        Self { name, color: color(series), swatch: Swatch::Mark(Mark::of(series)) }
    }

    /// A series of bars.
    pub(crate) fn bar(name: String, series: usize) -> Self {
        Self { name, color: color(series), swatch: Swatch::Hatched(Hatch::of(series)) }
    }
}

/// A legend has no more entries than this; what is left out is counted in it.
const MOST_ENTRIES: usize = 40;
/// The entries at a legend's end that always stay: what the plot adds to the data's (bands, a peak).
const LAST_ENTRIES: usize = 2;
const ROW: f64 = 10.5;
const GAP: f64 = 9.0;

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

/// The entries behind the style's title of them: all, or as many as a legend may have and one that counts the others; and what
/// was left out, in a sentence. None where the style hides the legend.
pub(crate) fn shown(entries: &[Entry], style: &Style) -> (Vec<Entry>, Option<String>) {
    if style.legend == LegendPlace::Hidden {
        return (Vec::new(), None);
    }
    let (mut kept, note) = shortened(entries);
    if let (Some(title), false) = (&style.legend_title, kept.is_empty()) {
        kept.insert(0, Entry { name: title.clone(), color: INK, swatch: Swatch::Nothing });
    }
    (kept, note)
}

fn shortened(entries: &[Entry]) -> (Vec<Entry>, Option<String>) {
    if entries.len() <= MOST_ENTRIES {
        return (entries.to_vec(), None);
    }
    let first = MOST_ENTRIES - LAST_ENTRIES - 1;
    let last = entries.len() - LAST_ENTRIES;
    let name = format!("… {} more …", crate::units::count((last - first) as u64));
    let others = Entry { name, color: GREY, swatch: Swatch::Nothing };
    let kept = entries[..first].iter().cloned().chain([others]).chain(entries[last..].iter().cloned()).collect();
    let note = format!("the legend names {MOST_ENTRIES} of {} entries and counts the others", entries.len());
    (kept, Some(note))
}

/// A legend laid out: where each entry stands, from its own top left.
pub(crate) struct Legend {
    /// Left and middle of each entry, and its name as it fits.
    places: Vec<(f64, f64, Entry)>,
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// Names that had to be cut.
    cut: usize,
}

fn swatch_width(swatch: Swatch) -> f64 {
    match swatch {
        Swatch::Mark(_) => 6.0,
        // The text begins where a swatch would.
        Swatch::Nothing => -3.0,
        Swatch::Fill | Swatch::Hatched(_) => 12.0,
        Swatch::Line(_) | Swatch::Plain(_) | Swatch::Dashes => 17.0,
    }
}

impl Legend {
    /// Entries in rows at most `width` points wide: in columns where that takes no more rows.
    pub(crate) fn rows(font: &Font, entries: &[Entry], width: f64) -> Self {
        let (mut cut, mut fitted) = (0, Vec::new());
        for entry in entries {
            let swatch = swatch_width(entry.swatch);
            let name = fit_text(font, &entry.name, SMALL, width - swatch - 3.0);
            cut += usize::from(name.ends_with('…') && !entry.name.ends_with('…'));
            let needed = swatch + 3.0 + font.width(&name, SMALL);
            fitted.push((needed, Entry { name, ..entry.clone() }));
        }
        let widest = fitted.iter().map(|f| f.0).fold(0.0, f64::max);
        let columns = (((width + GAP) / (widest + GAP)).floor().max(1.0) as usize).min(fitted.len().max(1));
        let mut flowing: Vec<(f64, f64)> = Vec::new();
        let (mut x, mut y) = (0.0, ROW / 2.0);
        for (needed, _) in &fitted {
            if x > 0.0 && x + needed > width {
                (x, y) = (0.0, y + ROW);
            }
            flowing.push((x, y));
            x += needed + GAP;
        }
        let flowing_rows = if fitted.is_empty() { 0 } else { ((y / ROW) + 0.5).round() as usize };
        let in_columns = flowing_rows > 1 && fitted.len().div_ceil(columns) <= flowing_rows;
        let place = |i: usize| match in_columns {
            true => ((i % columns) as f64 * (widest + GAP), ROW * (0.5 + (i / columns) as f64)),
            false => flowing[i],
        };
        let rows = if in_columns { fitted.len().div_ceil(columns) } else { flowing_rows };
        let right = fitted.iter().enumerate().map(|(i, f)| place(i).0 + f.0).fold(0.0, f64::max);
        let height = if rows == 0 { 0.0 } else { ROW * rows as f64 + 2.0 };
        let places = fitted.into_iter().enumerate().map(|(i, (_, entry))| (place(i).0, place(i).1, entry)).collect();
        Self { places, width: right, height, cut }
    }

    /// Draws it with its top left at a point.
    pub(crate) fn draw(self, drawing: &mut Drawing, (left, top): (f64, f64)) {
        if self.places.is_empty() {
            return;
        }
        drawing.areas.push(Area::Legend((left, top, left + self.width, top + self.height)));
        if self.cut > 0 {
            drawing.notes.push(format!("{} names of the legend are cut to the page's width", self.cut));
        }
        for (x, y, entry) in self.places {
            let (x, y, swatch) = (left + x, top + y, swatch_width(entry.swatch));
            let (middle, ends) = ((x + swatch / 2.0, y), [(x, y), (x + swatch, y)]);
            match entry.swatch {
                Swatch::Fill => drawing.rectangle((x + 2.0, y - 3.0), (x + swatch, y + 3.0), entry.color),
                Swatch::Hatched(hatch) => filled(drawing, (x, y - 3.4), (x + swatch, y + 3.4), entry.color, hatch),
                Swatch::Mark(mark) => drawing.mark(mark, middle, 2.4, entry.color),
                Swatch::Line(series) | Swatch::Plain(series) => {
                    match dash(series) {
                        [] => drawing.line(ends.to_vec(), 1.2, entry.color),
                        pattern => drawing.dashed(&ends, pattern, 1.2, entry.color),
                    }
                    if matches!(entry.swatch, Swatch::Line(_)) {
                        drawing.mark(Mark::of(series), middle, 2.2, entry.color);
                    }
                }
                Swatch::Dashes => drawing.dashes(&ends, (3.0, 1.5), 0.9, entry.color),
                Swatch::Nothing => {}
            }
            drawing.text(entry.name, (x + swatch + 3.0, y), SMALL, Anchor::Start, INK);
        }
    }
}
