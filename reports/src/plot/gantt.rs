//! What ran where and when: a lane of each unit, with its work as spans of colour.

use std::collections::BTreeMap;

use super::axis::{Axis, Quantity, Scaling};
use super::data::{AxisOf, Chart, Data, cell};
use super::drawing::Drawing;
use super::font::Font;
use super::frame::Frame;
use super::legend::{Entry, Swatch, fit_text};
use super::palette::{COLORS, GREY, Hatch, color, filled};
use super::style::{SMALL, Style};
use crate::{RunReport, TimelineSpan};

/// Height of a lane in points, and the share of it that spans take.
const LANE: f64 = 11.0;
const SPAN: f64 = 0.76;
/// At most so many lanes are drawn.
const LANES: usize = 48;
/// Widest name of a lane.
const NAME: f64 = 80.0;
/// Spans of a lane closer than this on the page, in points, and of the same name are one.
const RESOLUTION: f64 = 0.3;

/// A report's timeline, from its first span to its last: lanes in the order in which they appear, names of work coloured from the
/// one that takes longest on, the rest grey. Nothing where the report has no timeline. Work that other work contains is drawn
/// over it.
pub fn gantt(report: &RunReport, style: &Style) -> Drawing {
    let good = |s: &&TimelineSpan| s.start_s.is_finite() && s.duration_s.is_finite() && s.duration_s >= 0.0;
    let mut spans: Vec<&TimelineSpan> = report.timeline.iter().filter(good).collect();
    // Outer work first, so that what it contains lies over it.
    spans.sort_by(|a, b| a.start_s.total_cmp(&b.start_s).then(b.duration_s.total_cmp(&a.duration_s)));
    let mut lanes: Vec<(&str, &str)> = Vec::new();
    for span in report.timeline.iter().filter(good) {
        let lane = (span.group.as_str(), span.lane.as_str());
        if !lanes.contains(&lane) {
            lanes.push(lane);
        }
    }
    // Operators first, then the groups as they appear, each with its lanes in the order of their numbers.
    let groups: Vec<&str> = lanes.iter().map(|l| l.0).collect();
    let group = |name: &str| (name != "operators", groups.iter().position(|g| *g == name));
    let number = |name: &str| name.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok());
    let mut order: Vec<(&str, &str)> = lanes.clone();
    order.sort_by_key(|l| (group(l.0), number(l.1)));
    let mut lanes = order;
    let hidden = lanes.len().saturating_sub(LANES);
    lanes.truncate(LANES);
    let mut totals: BTreeMap<&str, f64> = BTreeMap::new();
    for span in &spans {
        *totals.entry(&span.name).or_default() += span.duration_s;
    }
    let mut longest: Vec<(&str, f64)> = totals.into_iter().collect();
    longest.sort_by(|a, b| b.1.total_cmp(&a.1));
    let cut = if longest.len() > COLORS + 1 { COLORS } else { longest.len() };
    let mut shown: Vec<&str> = longest.iter().take(cut).map(|l| l.0).collect();
    shown.sort_by_key(|name| style.rank(name));
    let mut entries: Vec<Entry> = shown.iter().enumerate().map(|(i, name)| Entry::bar(style.called(name), i)).collect();
    if longest.len() > cut {
        let name = format!("{} others", longest.len() - cut);
        entries.push(Entry { name, color: GREY, swatch: Swatch::Hatched(Hatch::Plain) });
    }
    let start = spans.iter().map(|s| s.start_s).fold(f64::INFINITY, f64::min);
    let ends = spans.iter().map(|s| s.start_s + s.duration_s - start).chain([0.0]);
    let x = Axis::fit(&Quantity::new("Time", "s"), Scaling::Linear, ends, style.x_ticks());
    let font = Font::load(style.font);
    // From the top down: an axis of names goes from the bottom up.
    let called = |&(group, lane): &(&str, &str)| match group == lane || lane.is_empty() {
        true => style.called(group),
        false => style.called(lane),
    };
    let names: Vec<String> = lanes.iter().rev().map(|lane| fit_text(&font, &called(lane), SMALL, NAME)).collect();
    let y = Axis::of_names("", &names);
    let rows = lanes.len().max(1) as f64;
    let mut drawing = style.page(60.0 + LANE * rows);
    let frame = Frame::draw(&mut drawing, &font, style, x, y, &entries);
    if hidden > 0 {
        drawing.notes.push(format!("{hidden} of {} lanes are left out", hidden + lanes.len()));
    }
    let y_of_file = AxisOf { names: lanes.iter().map(|&(g, l)| lane_name(g, l)).collect(), ..AxisOf::default() };
    let columns = ["lane", "name", &format!("start of {}", frame.x.title), "duration"];
    let mut data = Data::new(Chart::Spans, &columns, &frame.x.described(), &y_of_file);
    let mut last: BTreeMap<(usize, &str), f64> = BTreeMap::new();
    for span in spans {
        let lane = lanes.iter().position(|&l| l == (span.group.as_str(), span.lane.as_str()));
        let Some(lane) = lane else { continue };
        let (from, to) = (span.start_s - start, span.start_s - start + span.duration_s);
        data.rows.push(vec![
            lane_name(&span.group, &span.lane),
            style.called(&span.name),
            cell(frame.x.shown(from)),
            cell(frame.x.shown(span.duration_s)),
        ]);
        let (x0, x1) = (frame.x_at(from), frame.x_at(to));
        let end = last.entry((lane, &span.name)).or_insert(f64::NEG_INFINITY);
        if x1 - *end < RESOLUTION {
            continue;
        }
        *end = x1;
        let middle = frame.y_at((lanes.len() - 1 - lane) as f64);
        let half = SPAN / 2.0 * (frame.bottom - frame.top) / rows;
        let look = shown.iter().position(|&name| name == span.name);
        let (fill, hatch) = look.map_or((GREY, Hatch::Plain), |i| (color(i), Hatch::of(i)));
        match x1 - x0 < 4.0 {
            // An outline would be all that is seen of it.
            true => drawing.rectangle((x0, middle - half), (x1.max(x0 + 0.15), middle + half), fill),
            false => filled(&mut drawing, (x0, middle - half), (x1, middle + half), fill, hatch),
        }
    }
    frame.finish(&mut drawing, &font, style, data);
    drawing
}

/// A lane in a file, with its group.
fn lane_name(group: &str, lane: &str) -> String {
    if group == lane || lane.is_empty() { group.to_owned() } else { format!("{group}: {lane}") }
}
