//! Groups of upright bars over names: absolute, against a baseline, or of parts.

use super::axis::{Axis, Quantity, Scaling};
use super::data::{Chart, Data, Rule, cell};
use super::drawing::{Anchor, Drawing};
use super::font::Font;
use super::frame::Frame;
use super::legend::{Entry, fit_text};
use super::palette::{Hatch, INK, color, filled};
use super::style::{HEIGHT, SMALL, Style};

/// The name of the group of means.
const GEOMEAN: &str = "geomean";
/// A group of bars takes this share of its place on the axis.
const GROUP: f64 = 0.8;
/// The gap before the group of means, in places.
const MEANS_GAP: f64 = 0.35;
/// The axis reaches to so many times the highest mean, so that its value fits above it.
const MEANS_AIR: f64 = 1.18;
/// At most so many bars are labelled with their value.
const LABELLED: usize = 6;

/// A table of bars.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bars {
    /// What the groups are of.
    pub title: String,
    /// A group each, in order.
    pub categories: Vec<String>,
    /// The bars of a group; one without a name where a group is one bar.
    pub series: Vec<String>,
    /// The parts of a bar, from the bottom up; one without a name where a bar is whole.
    pub parts: Vec<String>,
    /// Values in base units, by category, then series, then part.
    pub values: Vec<Option<f64>>,
    /// The least and the most of each whole bar, by category, then series; empty where there are none.
    pub errors: Vec<Option<(f64, f64)>>,
    /// What all is divided by, in words, where it is: there is a line at 1.
    pub baseline: Option<String>,
    /// How many of the last groups are means of the others.
    pub means: usize,
}

/// What bars are divided by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Baseline {
    /// In each group, the bar of this series.
    Series(usize),
    /// In each series, the bar of this group.
    Category(usize),
    /// Each bar by itself: its parts are percentages of it.
    Total,
}

impl Bars {
    fn bar(&self, category: usize, series: usize) -> std::ops::Range<usize> {
        let start = (category * self.series.len() + series) * self.parts.len();
        start..start + self.parts.len()
    }

    /// The sum of a bar's parts, where it has any.
    pub fn total(&self, category: usize, series: usize) -> Option<f64> {
        let parts = self.values.get(self.bar(category, series))?;
        parts.iter().any(Option::is_some).then(|| parts.iter().flatten().sum())
    }

    /// Divides every bar by the baseline's, or the baseline's by it where that is how much better it is (`inverse`). Returns how
    /// many bars had none to be divided by, and are left out.
    pub fn normalize(&mut self, by: &Baseline, inverse: bool) -> usize {
        let before = self.clone();
        let mut lost = 0;
        for category in 0..self.categories.len() {
            for series in 0..self.series.len() {
                let base = match *by {
                    Baseline::Series(base) => before.total(category, base),
                    Baseline::Category(base) => before.total(base, series),
                    Baseline::Total => before.total(category, series),
                };
                let base = base.filter(|b| b.is_finite() && *b > 0.0);
                lost += usize::from(base.is_none() && before.total(category, series).is_some());
                let percent = if *by == Baseline::Total { 100.0 } else { 1.0 };
                let divided = |value: f64| {
                    let ratio = base.map(|b| if inverse { b / value } else { percent * value / b });
                    ratio.filter(|r| r.is_finite())
                };
                for value in &mut self.values[before.bar(category, series)] {
                    *value = value.and_then(divided);
                }
                if let Some(error) = self.errors.get_mut(category * before.series.len() + series) {
                    let ends = error.and_then(|(least, most)| divided(least).zip(divided(most)));
                    *error = ends.map(|(a, b)| (a.min(b), a.max(b)));
                }
            }
        }
        lost
    }

    /// Adds a last group: each series' geometric mean over the groups. Returns how many values were not positive and so are not
    /// in a mean, and whether series are means over different groups.
    pub fn add_geomean(&mut self) -> (usize, bool) {
        let (mut left_out, mut counts) = (0, Vec::new());
        let mut means = Vec::new();
        for series in 0..self.series.len() {
            let all: Vec<f64> = (0..self.categories.len()).filter_map(|c| self.total(c, series)).collect();
            let good: Vec<f64> = all.iter().copied().filter(|v| v.is_finite() && *v > 0.0).collect();
            left_out += all.len() - good.len();
            counts.push(good.len());
            let mean = (good.iter().map(|v| v.ln()).sum::<f64>() / good.len() as f64).exp();
            // Of parts there is no geometric mean that adds up: the mean is one part.
            means.extend((0..self.parts.len()).map(|part| (part == 0 && !good.is_empty()).then_some(mean)));
            if !self.errors.is_empty() {
                self.errors.push(None);
            }
        }
        self.values.extend(means);
        self.categories.push(GEOMEAN.to_owned());
        self.means += 1;
        (left_out, counts.windows(2).any(|pair| pair[0] != pair[1]))
    }

    /// The middle of a bar on the axis, and its half width, in places.
    fn place(&self, category: usize, series: usize) -> (f64, f64) {
        let width = GROUP / self.series.len().max(1) as f64;
        let start = self.start(category) - GROUP / 2.0;
        (start + width * (series as f64 + 0.5), width / 2.0)
    }

    /// Where a category lies: means stand apart.
    fn start(&self, category: usize) -> f64 {
        let apart = category + self.means >= self.categories.len() && self.means > 0;
        category as f64 + if apart { MEANS_GAP } else { 0.0 }
    }
}

/// Draws bars of a quantity, upward from zero; on a logarithmic axis, from its foot.
pub fn bars(table: &Bars, y: (&Quantity, Scaling), style: &Style) -> Drawing {
    let stacked = table.parts.len() > 1;
    let (columns, rows) = (table.categories.len(), table.series.len());
    let cells = || (0..columns).flat_map(|c| (0..rows).map(move |s| (c, s)));
    let tops = cells().filter_map(|(c, s)| table.total(c, s));
    let foot = if y.1.is_log() { None } else { Some(0.0) };
    let reference = table.baseline.as_ref().map(|_| 1.0);
    let ends = table.errors.iter().flatten().flat_map(|&(a, b)| [a, b]);
    // Room for the values over the bars of means.
    let means = table.categories.len() - table.means.min(table.categories.len())..table.categories.len();
    let mean_tops = means.flat_map(|c| (0..rows).map(move |s| (c, s))).filter_map(|(c, s)| table.total(c, s));
    let tops = tops.chain(mean_tops.map(|v| if y.1.is_log() { v } else { v * MEANS_AIR }));
    let mut y_axis = Axis::fit(y.0, y.1, tops.chain(ends).chain(foot).chain(reference), 5);
    if stacked && y.0.unit == "%" {
        y_axis = Axis::fixed(&format!("{} (%)", y.0.name), 0.0, 100.0, &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
    }
    let look = |series: usize, part: usize| if stacked { part } else { series };
    let names = if stacked { &table.parts } else { &table.series };
    let mut entries: Vec<Entry> = Vec::new();
    if names.len() > 1 {
        entries.extend(names.iter().enumerate().map(|(i, name)| Entry::bar(name.clone(), i)));
    }
    let mut drawing = style.page(HEIGHT);
    let font = Font::load(style.font);
    let frame = Frame::draw(&mut drawing, &font, style, x_axis(table, stacked), y_axis, &entries);
    let mut data = Data::new(
        Chart::Bars,
        &["category", "series", "part", &frame.y.title, "least", "most"],
        &frame.x.described(),
        &frame.y.described(),
    );
    (data.x.title, data.x.names) = (table.title.clone(), table.categories.clone());
    if let Some(one) = reference.and_then(|one| frame.at(0.0, one)) {
        drawing.dashes(&[(frame.left, one.1), (frame.right, one.1)], (2.0, 1.5), 0.7, INK);
        data.rules.push(Rule::Level(1.0));
    }
    for (category, series) in cells() {
        let (middle, half) = table.place(category, series);
        let (x0, x1) = (frame.x_at(middle - half), frame.x_at(middle + half));
        let gap = if x1 - x0 > 4.0 { 0.3 } else { 0.0 };
        let mut from = 0.0;
        for (part, value) in table.values[table.bar(category, series)].iter().enumerate() {
            let Some(value) = value.filter(|v| v.is_finite()) else { continue };
            let low = if frame.y.scaling.is_log() && from <= 0.0 { frame.y.low() } else { from };
            let to = from + value;
            if frame.y.shows(to) {
                let corners = ((x0 + gap, frame.y_at(low)), (x1 - gap, frame.y_at(to)));
                let shown = look(series, part);
                filled(&mut drawing, corners.0, corners.1, color(shown), Hatch::of(shown));
            }
            let error = table.errors.get(category * rows + series).copied().flatten();
            let ends = error.filter(|_| !stacked).map(|(a, b)| [a, b].map(|v| cell(frame.y.shown(v))));
            let [least, most] = ends.unwrap_or_default();
            data.rows.push(vec![
                table.categories[category].clone(),
                table.series[series].clone(),
                table.parts[part].clone(),
                cell(frame.y.shown(value)),
                least,
                most,
            ]);
            from = to;
        }
        if let Some(Some((least, most))) = table.errors.get(category * rows + series)
            && let (Some(low), Some(high)) = (frame.at(middle, *least), frame.at(middle, *most))
        {
            let cap = (0.6 * half * (frame.x_at(1.0) - frame.x_at(0.0))).min(2.5);
            drawing.line(vec![low, high], 0.8, INK);
            for (x, y) in [low, high] {
                drawing.line(vec![(x - cap, y), (x + cap, y)], 0.8, INK);
            }
        }
    }
    label_means(&mut drawing, &font, &frame, table);
    frame.finish(&mut drawing, &font, style, data);
    drawing
}

/// The axis of names; bars of parts with names of their own have them below, and the group's below those.
fn x_axis(table: &Bars, stacked: bool) -> Axis {
    let place = |category: usize| table.start(category);
    let mut axis = Axis::of_names(&table.title, &table.categories);
    if table.means > 0 {
        axis = axis.wider(MEANS_GAP);
    }
    for (i, tick) in axis.ticks.iter_mut().enumerate() {
        tick.0 = place(i);
    }
    if stacked && table.series.len() > 1 {
        let ends = |c: usize| (place(c) - GROUP / 2.0, place(c) + GROUP / 2.0);
        axis.groups =
            table.categories.iter().enumerate().map(|(c, name)| (ends(c).0, ends(c).1, name.clone())).collect();
        let cells = (0..table.categories.len()).flat_map(|c| (0..table.series.len()).map(move |s| (c, s)));
        axis.ticks = cells.map(|(c, s)| (table.place(c, s).0, table.series[s].clone())).collect();
    }
    axis
}

/// The values of the bars of means, over them, where they are few: they are what a reader takes away.
fn label_means(drawing: &mut Drawing, font: &Font, frame: &Frame, table: &Bars) {
    let first = table.categories.len() - table.means.min(table.categories.len());
    if table.series.len() > LABELLED {
        return;
    }
    for category in first..table.categories.len() {
        for series in 0..table.series.len() {
            let Some(value) = table.total(category, series).filter(|v| frame.y.shows(*v)) else { continue };
            let (middle, half) = table.place(category, series);
            let (x, y) = (frame.x_at(middle), frame.y_at(value));
            let text = fit_text(font, &short(frame.y.shown(value)), SMALL, 40.0);
            let (width, room) = (font.width(&text, SMALL), frame.x_at(middle + half) - frame.x_at(middle - half));
            if width <= room && y - SMALL - 1.0 > frame.top {
                drawing.text(text, (x, y - SMALL / 2.0 - 1.0), SMALL, Anchor::Middle, INK);
            } else if room >= SMALL && y - width - 2.0 > frame.top {
                drawing.text_upward(text, (x, y - 2.0), SMALL, Anchor::Start, INK);
            }
        }
    }
}

/// Three digits: a bar's label.
fn short(value: f64) -> String {
    match value.abs() {
        v if !(1e-2..1e4).contains(&v) => format!("{value:.1e}"),
        v if v < 9.995 => format!("{value:.2}"),
        v if v < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Bars {
        Bars {
            title: "Model".into(),
            categories: vec!["a".into(), "b".into(), "c".into()],
            series: vec!["gpu".into(), "pim".into()],
            parts: vec![String::new()],
            values: [8.0, 2.0, 9.0, 3.0, 4.0, 0.5].map(Some).to_vec(),
            ..Bars::default()
        }
    }

    #[test]
    fn a_baseline_divides_each_group_and_means_are_geometric() {
        let mut speedup = table();
        assert_eq!(speedup.normalize(&Baseline::Series(0), true), 0);
        assert_eq!(speedup.values, [1.0, 4.0, 1.0, 3.0, 1.0, 8.0].map(Some));
        assert_eq!(speedup.add_geomean(), (0, false));
        assert_eq!(speedup.categories.last().map(String::as_str), Some("geomean"));
        assert!((speedup.total(3, 1).unwrap() - 96f64.cbrt()).abs() < 1e-12);
        let mut cost = table();
        cost.values[3] = None;
        cost.normalize(&Baseline::Category(0), false);
        assert_eq!(cost.values, [Some(1.0), Some(1.0), Some(1.125), None, Some(0.5), Some(0.25)]);
        assert_eq!(cost.add_geomean(), (0, true));
        // A baseline of nothing leaves its group out, and says so.
        let mut broken = table();
        broken.values[0] = Some(0.0);
        assert_eq!(broken.normalize(&Baseline::Series(0), false), 2);
        assert_eq!(broken.values[..2], [None, None]);
    }

    #[test]
    fn parts_add_up_to_a_hundred_percent_of_their_bar() {
        let mut shares = Bars { parts: vec!["x".into(), "y".into()], series: vec![String::new()], ..table() };
        shares.normalize(&Baseline::Total, false);
        for category in 0..3 {
            assert!((shares.total(category, 0).unwrap() - 100.0).abs() < 1e-9);
        }
    }
}
