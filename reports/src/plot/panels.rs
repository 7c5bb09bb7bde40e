//! Several drawings on one page, with (a), (b), ... below each.

use super::drawing::{Anchor, Drawing};
use super::font::Font;
use super::frame::title;
use super::legend::fit_text;
use super::palette::INK;
use super::style::{Style, TEXT};

/// Between two panels of a row, and below a row, in points.
pub(crate) const GAP: f64 = 8.0;
/// A caption's height.
const CAPTION: f64 = TEXT + 6.0;

/// The letters of the n-th panel: a to z, then aa.
pub(crate) fn letters(mut panel: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + (panel % 26) as u8));
        if panel < 26 {
            break;
        }
        panel = panel / 26 - 1;
    }
    letters.iter().rev().collect()
}

/// The width of each of so many panels in a row, in points.
pub(crate) fn panel_width(style: &Style, columns: usize) -> f64 {
    (style.width - GAP * (columns.max(1) - 1) as f64) / columns.max(1) as f64
}

/// Drawings with their captions, `columns` to a row. Panels of a row stand on one line, so that their axes do.
pub fn panels(drawings: Vec<(String, Drawing)>, columns: usize, style: &Style) -> Drawing {
    let columns = columns.max(1);
    let font = Font::load(style.font);
    let mut page = style.page(0.0);
    page.height = 0.0;
    let mut top = title(&mut page, &font, style);
    let width = panel_width(style, columns);
    let mut drawings = drawings.into_iter().enumerate().peekable();
    while drawings.peek().is_some() {
        let row: Vec<(usize, (String, Drawing))> = drawings.by_ref().take(columns).collect();
        let height = row.iter().map(|(_, (_, d))| d.height).fold(0.0, f64::max);
        for (column, (i, (caption, drawing))) in row.into_iter().enumerate() {
            let left = (width + GAP) * column as f64;
            let at = (left, top + height - drawing.height);
            let middle = left + drawing.width / 2.0;
            page.place(drawing, at);
            let caption = format!("({}) {caption}", letters(i));
            let caption = fit_text(&font, caption.trim_end(), TEXT, width);
            page.text(caption, (middle, top + height + CAPTION / 2.0), TEXT, Anchor::Middle, INK);
        }
        top += height + CAPTION + GAP / 2.0;
    }
    page.height = top.max(CAPTION);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_have_letters_and_places_of_their_own() {
        assert_eq!([0, 25, 26, 51, 52].map(letters), ["a", "z", "aa", "az", "ba"]);
        let style = Style::default();
        let width = panel_width(&style, 2);
        let mut one = Drawing::new(width, 50.0);
        one.rectangle((0.0, 0.0), (width, 50.0), INK);
        let page = panels(vec![("x".into(), one.clone()), (String::new(), one.clone()), ("z".into(), one)], 2, &style);
        assert!((page.width - style.width).abs() < 1e-9 && page.height > 2.0 * 50.0);
        for (x0, y0, x1, y1) in page.extents() {
            assert!(x0 >= -1e-9 && y0 >= 0.0 && x1 <= page.width + 1e-9 && y1 <= page.height);
        }
    }
}
