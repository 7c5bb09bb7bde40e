//! Operators under a machine's limits (Williams, Waterman, Patterson: "Roofline", CACM 2009).

use super::axis::{Axis, Quantity, Scaling};
use super::data::{Chart, Data, cell};
use super::drawing::{Anchor, Drawing, Mark, Point};
use super::font::Font;
use super::frame::Frame;
use super::legend::{Entry, Swatch};
use super::palette::{COLORS, GREY, INK, color, dash};
use super::style::{HEIGHT, SMALL, Style};
use crate::RunReport;
use crate::units::{number, quantity};

/// A machine's two limits, and what ran under them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roofline {
    /// The machine's name, and the workload's where several reports are of one machine.
    pub name: String,
    /// Peak arithmetic rate, operations per second.
    pub peak_flops_per_s: f64,
    /// Peak rate of operands, bytes per second.
    pub peak_bandwidth_bytes_per_s: f64,
    /// What ran.
    pub points: Vec<RooflinePoint>,
    /// The highest rate at which any operator took bytes from the cache between memory and the arithmetic units, bytes per second,
    /// where the report counts them: a roof that is at least so high.
    pub cache_bytes_per_s: Option<f64>,
}

/// One operator under the roof.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RooflinePoint {
    /// Its name.
    pub name: String,
    /// Operations per byte of operands.
    pub flops_per_byte: f64,
    /// Operations per second reached.
    pub flops_per_s: f64,
    /// Time charged to it, in seconds: those with the most have colours of their own.
    pub latency_s: f64,
    /// Operations per byte out of the cache, where it is counted.
    pub flops_per_cache_byte: Option<f64>,
}

/// The channels of traffic that bring operands to the arithmetic units, the first that a report has; those of one entry
/// are added up. They are what `MachineInfo::peak_bandwidth_bytes_per_s` is the peak of.
const OPERANDS: [&[&str]; 4] =
    [&["bank_internal"], &["dram_read", "dram_write"], &["hbm_read", "hbm_write"], &["pins_read", "pins_write"]];

/// The channels of traffic out of the last cache before the arithmetic units.
const CACHE: [&str; 2] = ["crossbar_read", "crossbar_write"];

impl Roofline {
    /// A report's operators: operations per byte of operands, and operations per second of the latency charged to each.
    /// Operators without operations, operands or latency have no place under a roof and are left out.
    pub fn of(report: &RunReport) -> Self {
        let has = |channels: &&[&str]| channels.iter().any(|c| report.traffic_bytes.contains_key(*c));
        let channels = OPERANDS.into_iter().find(|c| has(c)).unwrap_or(&[]);
        let sum = |o: &crate::OperatorReport, channels: &[&str]| -> f64 {
            channels.iter().filter_map(|&c| o.traffic_bytes.get(c)).map(|&b| b as f64).sum()
        };
        let positive = |v: &f64| v.is_finite() && *v > 0.0;
        let points = report
            .operators
            .iter()
            .map(|o| RooflinePoint {
                name: o.name.clone(),
                flops_per_byte: o.flops / sum(o, channels),
                flops_per_s: o.flops / o.latency_s,
                latency_s: o.latency_s,
                flops_per_cache_byte: Some(o.flops / sum(o, &CACHE)).filter(positive),
            })
            .filter(|p| [p.flops_per_byte, p.flops_per_s].iter().all(positive))
            .collect();
        let rates = report.operators.iter().map(|o| sum(o, &CACHE) / o.latency_s).filter(positive);
        Self {
            name: report.machine.name.clone(),
            peak_flops_per_s: report.machine.peak_flops_per_s,
            peak_bandwidth_bytes_per_s: report.machine.peak_bandwidth_bytes_per_s,
            points,
            cache_bytes_per_s: rates.fold(None, |most: Option<f64>, rate| Some(most.map_or(rate, |m| m.max(rate)))),
        }
    }
}

/// A roof per machine, and a mark per operator; operators of the same name share a colour, machines have marks and dashes of their
/// own, named with their limits in the legend. Of one machine, the limits stand at the roof, and where its cache's bytes are
/// counted a thin line is the highest rate out of it, with the operators' places under that line as dots.
pub fn roofline(machines: &[Roofline], style: &Style) -> Drawing {
    let mut totals: Vec<(&str, f64)> = Vec::new();
    for point in machines.iter().flat_map(|m| &m.points) {
        match totals.iter_mut().find(|t| t.0 == point.name) {
            Some(total) => total.1 += point.latency_s,
            None => totals.push((&point.name, point.latency_s)),
        }
    }
    totals.sort_by(|a, b| b.1.total_cmp(&a.1));
    let names: Vec<&str> = totals.into_iter().map(|t| t.0).collect();
    // Of one machine a mark tells operators apart too; of several it is the machine's.
    let told = if machines.len() > 1 { COLORS } else { 2 * COLORS };
    let points = || machines.iter().flat_map(|m| &m.points);
    let single = if let [machine] = machines { Some(machine) } else { None };
    let cache = single.and_then(|m| m.cache_bytes_per_s);
    let ridges = machines.iter().map(|m| m.peak_flops_per_s / m.peak_bandwidth_bytes_per_s);
    // The ridge belongs in the middle of the picture: half a decade of roof on either side of it at least.
    let xs = points().map(|p| p.flops_per_byte).chain(ridges.flat_map(|ridge| [ridge / 4.0, ridge * 4.0]));
    let in_cache = points().filter(|_| cache.is_some()).filter_map(|p| p.flops_per_cache_byte);
    let x = Axis::fit(&Quantity::new("Operations per byte", ""), Scaling::Log, xs.chain(in_cache), style.x_ticks() + 1);
    let ys = points().map(|p| p.flops_per_s).chain(machines.iter().map(|m| m.peak_flops_per_s * 4.0));
    let y = Axis::fit(&Quantity::new("Rate", "FLOP/s"), Scaling::Log, ys, 5);
    let mark_of = |operator: usize, machine: usize| Mark::of(if machines.len() > 1 { machine } else { operator });
    let mut entries: Vec<Entry> = Vec::new();
    if machines.len() > 1 {
        entries.extend(machines.iter().enumerate().map(|(i, m)| {
            let limits = (quantity(m.peak_flops_per_s, "FLOP/s"), quantity(m.peak_bandwidth_bytes_per_s, "B/s"));
            Entry { name: format!("{}: {}, {}", m.name, limits.0, limits.1), color: INK, swatch: Swatch::Line(i) }
        }));
    }
    entries.extend(names.iter().take(told).enumerate().map(|(i, &name)| {
        // Of several machines, a colour says which operator and a mark which machine.
        let swatch = if machines.len() > 1 { Swatch::Fill } else { Swatch::Mark(mark_of(i, 0)) };
        Entry { name: name.to_owned(), color: color(i), swatch }
    }));
    if names.len() > told {
        entries.push(Entry {
            name: format!("{} others", names.len() - told),
            color: GREY,
            swatch: Swatch::Mark(Mark::Disc),
        });
    }
    let unit = y.title.rsplit_once('(').map(|(_, unit)| unit.trim_end_matches(')').to_owned()).unwrap_or_default();
    let mut drawing = style.page(HEIGHT);
    let font = Font::load(style.font);
    let frame = Frame::draw(&mut drawing, &font, style, x, y, &entries);
    let (x, y) = (&frame.x.described(), &frame.y.described());
    let mut data = Data::new(Chart::Marks, &["series", &x.title, &y.title, "name"], x, y);
    let places: Vec<Point> = points().filter_map(|p| frame.at(p.flops_per_byte, p.flops_per_s)).collect();
    for (i, machine) in machines.iter().enumerate() {
        let Some(corners) = roof(&frame, machine.peak_flops_per_s, machine.peak_bandwidth_bytes_per_s) else {
            continue;
        };
        let line: Vec<Point> = corners.iter().filter_map(|&(x, y)| frame.at(x, y)).collect();
        match dash(i) {
            [] => drawing.line(line.clone(), 1.1, INK),
            pattern => drawing.dashed(&line, pattern, 1.1, INK),
        }
        let name = format!("{} roof", machine.name);
        for (x, y) in corners {
            data.rows.push(vec![name.clone(), cell(frame.x.shown(x)), cell(frame.y.shown(y)), String::new()]);
        }
        data.limits.push(name);
        if let Some(machine) = single {
            let peak = format!("{} {unit}", number(frame.y.shown(machine.peak_flops_per_s)));
            label_roof(&mut drawing, &font, &frame, (&line, &places), (&peak, machine.peak_bandwidth_bytes_per_s));
        }
    }
    if let (Some(machine), Some(rate)) = (single, cache)
        && rate > machine.peak_bandwidth_bytes_per_s
        && let Some(corners) = roof(&frame, machine.peak_flops_per_s, rate)
    {
        let line: Vec<Point> = corners[..2].iter().filter_map(|&(x, y)| frame.at(x, y)).collect();
        drawing.dashes(&line, (2.0, 1.5), 0.7, GREY);
        if let [start, end] = line[..] {
            let text = format!("cache, {} reached", quantity(rate, "B/s"));
            let (middle, width) = (f64::midpoint(start.1, end.1), font.width(&text, SMALL));
            let x = f64::midpoint(start.0, end.0) - 4.0;
            let covered = places.iter().any(|p| (p.1 - middle).abs() < 6.0 && p.0 > x - width - 2.0 && p.0 < x + 2.0);
            if x - width > frame.left && !covered {
                drawing.text(text, (x, middle), SMALL, Anchor::End, GREY);
            }
        }
        for point in &machine.points {
            let at = point.flops_per_cache_byte.and_then(|x| frame.at(x, point.flops_per_s));
            let operator = names.iter().position(|&name| name == point.name).filter(|&o| o < told);
            if let Some(at) = at {
                drawing.mark(Mark::Disc, at, 1.1, operator.map_or(GREY, color));
            }
        }
    }
    for (i, machine) in machines.iter().enumerate() {
        for point in &machine.points {
            let operator = names.iter().position(|&name| name == point.name).unwrap_or(0);
            let color = if operator < told { color(operator) } else { GREY };
            if let Some(at) = frame.at(point.flops_per_byte, point.flops_per_s) {
                drawing.mark(mark_of(operator, i), at, 2.6, color);
                let series = if machines.len() > 1 { machine.name.clone() } else { point.name.clone() };
                let numbers = [cell(frame.x.shown(point.flops_per_byte)), cell(frame.y.shown(point.flops_per_s))];
                data.rows.push([vec![series], numbers.to_vec(), vec![point.name.clone()]].concat());
            }
        }
    }
    frame.finish(&mut drawing, &font, style, data);
    drawing
}

/// The roof's corners: bandwidth up to the ridge, then the peak, cut at the frame.
fn roof(frame: &Frame, peak: f64, bandwidth: f64) -> Option<[(f64, f64); 3]> {
    let positive = |v: f64| v.is_finite() && v > 0.0;
    if !positive(peak) || !positive(bandwidth) || !positive(peak / bandwidth) {
        return None;
    }
    let ridge = peak / bandwidth;
    // Where the slope enters the frame: at its left edge or its bottom edge.
    let enter = frame.x.low().max(frame.y.low() / bandwidth).min(ridge);
    Some([(enter, enter * bandwidth), (ridge, peak), (frame.x.high().max(ridge), peak)])
}

/// A machine's limits at its roof, where they cover no mark.
fn label_roof(
    drawing: &mut Drawing,
    font: &Font,
    frame: &Frame,
    (line, marks): (&[Point], &[Point]),
    (peak, bandwidth): (&str, f64),
) {
    let [start, ridge, end] = line else { return };
    let free = |x0: f64, x1: f64, y: f64| {
        let covers = |p: &Point| p.0 > x0 - 2.0 && p.0 < x1 + 2.0 && (p.1 - y).abs() < SMALL / 2.0 + 3.0;
        x0 > frame.left && x1 < frame.right + 1.0 && y - 3.0 > frame.top && !marks.iter().any(covers)
    };
    let width = font.width(peak, SMALL);
    let at = [(end.0 - 2.0, end.1 - 6.0), (ridge.0 + width + 2.0, end.1 - 6.0), (end.0 - 2.0, end.1 + 6.0)];
    if let Some(&at) = at.iter().find(|a| (a.1 < end.1 || a.0 - width > ridge.0) && free(a.0 - width, a.0, a.1)) {
        drawing.text(peak, at, SMALL, Anchor::End, INK);
    }
    // Left of the slope nothing can run from memory, so its label covers few marks.
    let bandwidth = quantity(bandwidth, "B/s");
    let width = font.width(&bandwidth, SMALL);
    let along = |share: f64| (start.0 + (ridge.0 - start.0) * share - 4.0, start.1 + (ridge.1 - start.1) * share - 5.0);
    if let Some(at) = [0.5, 0.7, 0.85, 0.3].map(along).into_iter().find(|a| free(a.0 - width, a.0, a.1)) {
        drawing.text(bandwidth, at, SMALL, Anchor::End, INK);
    }
}
