//! Operators under a machine's limits (Williams, Waterman, Patterson: "Roofline", CACM 2009).

use super::axis::{Axis, Quantity, Scaling};
use super::drawing::{Anchor, Drawing, Mark};
use super::font::Font;
use super::frame::{COLORS, COLUMN, Entry, Frame, GREY, HEIGHT, INK, SMALL, Swatch, color};
use crate::RunReport;
use crate::units::quantity;

/// A machine's two limits, and what ran under them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roofline {
    /// Peak arithmetic rate, operations per second.
    pub peak_flops_per_s: f64,
    /// Peak rate of operands, bytes per second.
    pub peak_bandwidth_bytes_per_s: f64,
    /// What ran.
    pub points: Vec<RooflinePoint>,
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
}

/// The channels of traffic that bring operands to the arithmetic units, the first that a report has; those of one entry
/// are added up. They are what `MachineInfo::peak_bandwidth_bytes_per_s` is the peak of.
const OPERANDS: [&[&str]; 4] =
    [&["bank_internal"], &["dram_read", "dram_write"], &["hbm_read", "hbm_write"], &["pins_read", "pins_write"]];

impl Roofline {
    /// A report's operators: operations per byte of operands, and operations per second of the latency charged to each.
    /// Operators without operations, operands or latency have no place under a roof and are left out.
    pub fn of(report: &RunReport) -> Self {
        let has = |channels: &&[&str]| channels.iter().any(|c| report.traffic_bytes.contains_key(*c));
        let channels = OPERANDS.into_iter().find(|c| has(c)).unwrap_or(&[]);
        let points = report
            .operators
            .iter()
            .map(|o| {
                let bytes: f64 = channels.iter().filter_map(|&c| o.traffic_bytes.get(c)).map(|&b| b as f64).sum();
                RooflinePoint {
                    name: o.name.clone(),
                    flops_per_byte: o.flops / bytes,
                    flops_per_s: o.flops / o.latency_s,
                }
            })
            .filter(|p| [p.flops_per_byte, p.flops_per_s].iter().all(|v| v.is_finite() && *v > 0.0))
            .collect();
        Self {
            peak_flops_per_s: report.machine.peak_flops_per_s,
            peak_bandwidth_bytes_per_s: report.machine.peak_bandwidth_bytes_per_s,
            points,
        }
    }
}

/// A roof per machine, and a mark per operator; operators of the same name share a colour, machines have marks of their own.
pub fn roofline(machines: &[Roofline]) -> Drawing {
    let mut names: Vec<&str> = Vec::new();
    for point in machines.iter().flat_map(|m| &m.points) {
        if !names.contains(&point.name.as_str()) {
            names.push(&point.name);
        }
    }
    let points = || machines.iter().flat_map(|m| &m.points);
    let ridges = machines.iter().map(|m| m.peak_flops_per_s / m.peak_bandwidth_bytes_per_s);
    // The ridge belongs in the middle of the picture: half a decade of roof on either side of it at least.
    let xs = points().map(|p| p.flops_per_byte).chain(ridges.flat_map(|ridge| [ridge / 4.0, ridge * 4.0]));
    let x = Axis::fit(&Quantity::new("Operations per byte", ""), Scaling::Log, xs, 6);
    let ys = points().map(|p| p.flops_per_s).chain(machines.iter().map(|m| m.peak_flops_per_s * 1.5));
    let y = Axis::fit(&Quantity::new("Rate", "FLOP/s"), Scaling::Log, ys, 5);
    let mark_of = |operator: usize, machine: usize| Mark::of(if machines.len() > 1 { machine } else { operator });
    let mut entries: Vec<Entry> = names
        .iter()
        .take(2 * COLORS)
        .enumerate()
        .map(|(i, &name)| Entry { name: name.to_owned(), color: color(i), swatch: Swatch::Mark(mark_of(i, 0)) })
        .collect();
    if names.len() > 2 * COLORS {
        entries.push(Entry { name: "others".into(), color: GREY, swatch: Swatch::Mark(Mark::Disc) });
    }
    let mut drawing = Drawing::new(COLUMN, HEIGHT + 5.0 * (entries.len() / 3) as f64);
    let font = Font::load();
    let frame = Frame::draw(&mut drawing, &font, x, y, &entries);
    for machine in machines {
        roof(&mut drawing, &font, &frame, machine);
    }
    for (i, machine) in machines.iter().enumerate() {
        for point in &machine.points {
            let operator = names.iter().position(|&name| name == point.name).unwrap_or(0);
            let color = if operator < 2 * COLORS { color(operator) } else { GREY };
            if let Some(at) = frame.at(point.flops_per_byte, point.flops_per_s) {
                drawing.mark(mark_of(operator, i), at, 2.6, color);
            }
        }
    }
    drawing
}

/// The roof: bandwidth up to the ridge, then the peak, cut at the frame.
fn roof(drawing: &mut Drawing, font: &Font, frame: &Frame, machine: &Roofline) {
    let (peak, bandwidth) = (machine.peak_flops_per_s, machine.peak_bandwidth_bytes_per_s);
    let positive = |v: f64| v.is_finite() && v > 0.0;
    if !positive(peak) || !positive(bandwidth) || !positive(peak / bandwidth) {
        return;
    }
    let ridge = peak / bandwidth;
    // Where the slope enters the frame: at its left edge or its bottom edge.
    let enter = frame.x.low().max(frame.y.low() / bandwidth);
    let corners = [(enter, enter * bandwidth), (ridge, peak), (frame.x.high(), peak)];
    let points: Vec<_> = corners.into_iter().filter(|c| c.0 >= enter).filter_map(|(x, y)| frame.at(x, y)).collect();
    if let [start, ridge, .., end] = points.as_slice() {
        let peak = quantity(peak, "FLOP/s");
        let over = (end.0 - 2.0, end.1 - 6.0);
        drawing.text(peak, over, SMALL, Anchor::End, INK);
        // Left of the slope nothing can run, so its label covers no mark.
        let bandwidth = quantity(bandwidth, "B/s");
        let middle = (f64::midpoint(start.0, ridge.0) - 4.0, f64::midpoint(start.1, ridge.1) - 5.0);
        if middle.0 - font.width(&bandwidth, SMALL) > frame.left {
            drawing.text(bandwidth, middle, SMALL, Anchor::End, INK);
        }
    }
    if points.len() > 1 {
        drawing.line(points, 1.1, INK);
    }
}
