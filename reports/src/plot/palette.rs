//! Colours, and what tells series apart where there are none: dashes, hatches and marks.

use super::drawing::{Color, Drawing, Mark, Point};

pub(crate) const INK: Color = Color(0x22, 0x22, 0x22);
pub(crate) const GREY: Color = Color(0x99, 0x99, 0x99);
pub(crate) const GRID: Color = Color(0xe4, 0xe4, 0xe4);
pub(crate) const WHITE: Color = Color(0xff, 0xff, 0xff);

/// The palette of Okabe and Ito (<https://jfly.uni-koeln.de/color/>), told apart with any colour vision, without its yellow, which
/// cannot be seen on white. Neighbours differ in lightness too.
const PALETTE: [Color; 7] = [
    Color(0x00, 0x72, 0xb2),
    Color(0xe6, 0x9f, 0x00),
    Color(0x00, 0x9e, 0x73),
    Color(0xd5, 0x5e, 0x00),
    Color(0x56, 0xb4, 0xe9),
    Color(0xcc, 0x79, 0xa7),
    Color(0x50, 0x50, 0x50),
];
/// How many series have a colour of their own; beyond, colours come again with other dashes, hatches and marks.
pub(crate) const COLORS: usize = PALETTE.len();

/// Dashes in points, on and off in turn; none is a whole line. Their number and the colours' have no common factor, so that 35
/// lines differ.
const DASHES: [&[f64]; 5] = [&[], &[4.0, 1.5], &[1.2, 1.4], &[5.0, 1.3, 1.2, 1.3], &[2.4, 1.2]];

/// The colour of the n-th series.
pub(crate) fn color(series: usize) -> Color {
    PALETTE[series % COLORS]
}

/// The dashes of the n-th series' line.
pub(crate) fn dash(series: usize) -> &'static [f64] {
    DASHES[series % DASHES.len()]
}

/// The lines over a filled area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hatch {
    Plain,
    Rising,
    Falling,
    Level,
    Crossed,
    Upright,
}

impl Hatch {
    const ALL: [Self; 6] = [Self::Plain, Self::Rising, Self::Falling, Self::Level, Self::Crossed, Self::Upright];

    /// The hatch of the n-th series: 42 differ with their colours.
    pub(crate) fn of(series: usize) -> Self {
        Self::ALL[series % Self::ALL.len()]
    }

    /// The letters by which matplotlib knows it.
    pub(crate) fn letters(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Rising => "///",
            Self::Falling => "\\\\\\",
            Self::Level => "---",
            Self::Crossed => "xxx",
            Self::Upright => "|||",
        }
    }

    /// The name by which TikZ knows it.
    pub(crate) fn pattern(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Rising => "north east lines",
            Self::Falling => "north west lines",
            Self::Level => "horizontal lines",
            Self::Crossed => "crosshatch",
            Self::Upright => "vertical lines",
        }
    }
}

/// Between two lines of a hatch, in points along the page's axes.
const APART: f64 = 4.2;
/// A hatch in a box smaller than this, in points, is a blot.
const HATCHED: f64 = 1.6;

/// A box in a series' colour, hatched, with an outline: told apart in print without colour.
pub(crate) fn filled(drawing: &mut Drawing, (x0, y0): Point, (x1, y1): Point, color: Color, hatch: Hatch) {
    let (x0, x1, y0, y1) = (x0.min(x1), x0.max(x1), y0.min(y1), y0.max(y1));
    drawing.rectangle((x0, y0), (x1, y1), color);
    if x1 - x0 < HATCHED || y1 - y0 < HATCHED {
        return;
    }
    let mut strokes = |strokes: Vec<[Point; 2]>| {
        // One line that goes to and fro along the box's edges, where the outline hides its ends: a tenth of the bytes.
        let turned = |(i, [a, b]): (usize, [Point; 2])| if i % 2 == 0 { [a, b] } else { [b, a] };
        for run in edges(strokes.into_iter().enumerate().map(turned), (x0, y0), (x1, y1)) {
            drawing.line(run, 0.55, WHITE);
        }
    };
    match hatch {
        Hatch::Plain => {}
        Hatch::Rising => strokes(diagonals((x0, y0), (x1, y1), true)),
        Hatch::Falling => strokes(diagonals((x0, y0), (x1, y1), false)),
        Hatch::Crossed => {
            strokes(diagonals((x0, y0), (x1, y1), true));
            strokes(diagonals((x0, y0), (x1, y1), false));
        }
        Hatch::Level => strokes(steps(y0, y1).map(|y| [(x0, y), (x1, y)]).collect()),
        Hatch::Upright => strokes(steps(x0, x1).map(|x| [(x, y0), (x, y1)]).collect()),
    }
    drawing.line(vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], 0.4, INK);
}

/// Places of level or upright lines: on a grid of the page, so that the parts of a stack do not look alike by their offsets.
fn steps(from: f64, to: f64) -> impl Iterator<Item = f64> {
    let apart = APART / std::f64::consts::SQRT_2;
    let number = ((to - from) / apart).clamp(0.0, 1000.0) as usize;
    (0..=number).map(move |i| from + (i as f64 + 0.5) * apart).filter(move |&v| v < to)
}

/// Lines at 45 degrees across a box.
fn diagonals((x0, y0): Point, (x1, y1): Point, rising: bool) -> Vec<[Point; 2]> {
    let (width, height) = (x1 - x0, y1 - y0);
    let number = ((width + height) / APART).clamp(0.0, 1000.0) as usize;
    let line = |i: usize| {
        // Points of the box at which the distances from a corner along both edges add up to this.
        let sum = (i as f64 + 0.5) * APART;
        let (a, b) = ((sum.min(width), (sum - width).max(0.0)), ((sum - height).max(0.0), sum.min(height)));
        let at = |(dx, dy): Point| if rising { (x0 + dx, y0 + dy) } else { (x0 + dx, y1 - dy) };
        [at(a), at(b)]
    };
    (0..number).map(line).collect()
}

/// Strokes joined end to end wherever both ends lie on one edge of the box.
fn edges(strokes: impl Iterator<Item = [Point; 2]>, (x0, y0): Point, (x1, y1): Point) -> Vec<Vec<Point>> {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
    let same_edge = |a: Point, b: Point| {
        [x0, x1].iter().any(|&x| near(a.0, x) && near(b.0, x)) || [y0, y1].iter().any(|&y| near(a.1, y) && near(b.1, y))
    };
    let mut runs: Vec<Vec<Point>> = Vec::new();
    for [from, to] in strokes {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|&last| same_edge(last, from)) => run.extend([from, to]),
            _ => runs.push(vec![from, to]),
        }
    }
    runs
}

/// A series' line: whole or dashed, as its place among the series says.
pub(crate) fn stroke(drawing: &mut Drawing, points: Vec<Point>, series: usize) {
    match dash(series) {
        [] => drawing.line(points, 1.2, color(series)),
        pattern => drawing.dashed(&points, pattern, 1.2, color(series)),
    }
}

/// A series' mark.
pub(crate) fn mark(drawing: &mut Drawing, at: Point, radius: f64, series: usize) {
    drawing.mark(Mark::of(series), at, radius, color(series));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, as the Web's guidelines for contrast define it.
    fn luminance(Color(r, g, b): Color) -> f64 {
        let part = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b)
    }

    #[test]
    fn every_series_is_seen_on_white_and_differs_without_colour() {
        for i in 0..COLORS {
            assert!(1.05 / (luminance(color(i)) + 0.05) >= 2.0, "colour {i} is too faint on white");
        }
        let look = |i: usize| (dash(i), Hatch::of(i), Mark::of(i));
        for i in 1..30 {
            assert!(look(i) != look(i - 1), "series {i} looks like the one before it in grey");
            for j in 0..i {
                assert!((color(i), dash(i)) != (color(j), dash(j)), "lines {i} and {j} are alike");
                assert!((color(i), Hatch::of(i)) != (color(j), Hatch::of(j)), "areas {i} and {j} are alike");
            }
        }
    }

    #[test]
    fn hatches_stay_in_their_box() {
        for hatch in Hatch::ALL {
            let mut drawing = Drawing::new(100.0, 100.0);
            filled(&mut drawing, (10.0, 80.0), (37.0, 20.0), INK, hatch);
            for (x0, y0, x1, y1) in drawing.extents() {
                assert!(x0 >= 9.5 && x1 <= 37.5 && y0 >= 19.5 && y1 <= 80.5, "{hatch:?}: {x0} {y0} {x1} {y1}");
            }
        }
    }
}
