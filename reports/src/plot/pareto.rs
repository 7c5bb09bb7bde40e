//! Two costs or gains against each other, and the points that no other beats in both.

use super::axis::{Axis, Quantity, Scaling};
use super::data::{Chart, Data, cell};
use super::drawing::{Anchor, Drawing, Mark, Point};
use super::font::Font;
use super::frame::Frame;
use super::legend::{Entry, Swatch, fit_text};
use super::palette::{GREY, INK, color};
use super::style::{HEIGHT, SMALL, Style};

/// At most so many points of the front are named.
const NAMED: usize = 8;

/// One design with two costs or gains.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ParetoPoint {
    /// The design's name.
    pub name: String,
    /// What is on the horizontal axis.
    pub x: f64,
    /// What is on the vertical axis.
    pub y: f64,
    /// What it is one of, where designs are told apart by colour; else empty.
    pub group: String,
}

/// Which values of a quantity are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Better {
    /// Low ones: a cost.
    #[default]
    Low,
    /// High ones: a rate, or a share of what could be used.
    High,
}

impl Better {
    /// By a column's name: high is better of what is done per second, joule or watt, of how well something is used or how often
    /// it hits, and of ratios that say how much better something is.
    pub fn of(column: &str) -> Self {
        const HIGH_ENDS: [&str; 14] = [
            "_per_s",
            "_per_j",
            "_per_w",
            "_utilization",
            "_hit_rate",
            "_occupancy",
            "_efficiency",
            "_throughput",
            "_speedup",
            "_bandwidth",
            "_goodput",
            "_active_pct",
            "_hit_pct",
            "_accuracy",
        ];
        const HIGH_WORDS: [&str; 2] = ["bandwidth", "throughput"];
        // `_per_s` of a stall is a cost, but no report has one; a time per unit of work ends in `_s` alone.
        let name = format!("_{}", column.to_ascii_lowercase());
        let unused = ["miss", "stall", "error", "idle", "latency", "energy"].iter().any(|word| name.contains(word));
        let gain = HIGH_ENDS.iter().any(|end| name.ends_with(end)) || HIGH_WORDS.iter().any(|word| name.contains(word));
        // Energy efficiency is a gain although energy is a cost.
        if (gain && !unused) || name.ends_with("_efficiency") || name.ends_with("_energy_ratio") {
            Self::High
        } else {
            Self::Low
        }
    }

    /// The same order as of a cost.
    fn cost(self, value: f64) -> f64 {
        if self == Self::High { -value } else { value }
    }
}

/// All points, those on the front larger and joined by its steps; a front of at most eight is named. Points of groups have the
/// group's colour and mark, else those on the front stand out by colour. Each axis says what it shows, how, and which values are
/// better.
pub fn pareto(
    points: &[ParetoPoint],
    x: (&Quantity, Scaling, Better),
    y: (&Quantity, Scaling, Better),
    style: &Style,
) -> Drawing {
    let x_axis = Axis::fit(x.0, x.1, points.iter().map(|p| p.x), style.x_ticks());
    let y_axis = Axis::fit(y.0, y.1, points.iter().map(|p| p.y), 5);
    let shown: Vec<&ParetoPoint> = points.iter().filter(|p| x_axis.shows(p.x) && y_axis.shows(p.y)).collect();
    let on_front = front(&shown, (x.2, y.2));
    let mut groups: Vec<&str> = Vec::new();
    for point in shown.iter().filter(|p| !p.group.is_empty()) {
        if !groups.contains(&point.group.as_str()) {
            groups.push(&point.group);
        }
    }
    let direction = |better: Better| if better == Better::High { "high" } else { "low" };
    let best = match (x.2, y.2) {
        (Better::Low, Better::Low) => "Pareto front".to_owned(),
        (x, y) => format!("Pareto front (best: {} x, {} y)", direction(x), direction(y)),
    };
    let mut entries: Vec<Entry> = groups.iter().enumerate().map(|(i, g)| Entry::mark((*g).to_owned(), i)).collect();
    match groups.is_empty() {
        true => {
            entries.push(Entry::line(best, 0));
            if on_front.len() < shown.len() {
                let swatch = Swatch::Mark(Mark::Disc);
                entries.push(Entry { name: "Dominated".into(), color: GREY.lighter(0.2), swatch });
            }
        }
        false => entries.push(Entry { name: best, color: INK, swatch: Swatch::Dashes }),
    }
    let mut drawing = style.page(HEIGHT);
    let font = Font::load(style.font);
    let frame = Frame::draw(&mut drawing, &font, style, x_axis, y_axis, &entries);
    let places: Vec<Point> = on_front.iter().filter_map(|&i| frame.at(shown[i].x, shown[i].y)).collect();
    let steps: Vec<Point> = places.iter().zip(places.iter().skip(1)).flat_map(|(a, b)| [*a, (b.0, a.1)]).collect();
    if let Some(&last) = places.last() {
        let line = [steps, vec![last]].concat();
        match groups.is_empty() {
            true => drawing.line(line, 1.0, color(0)),
            false => drawing.dashes(&line, (3.0, 1.5), 0.9, INK),
        }
    }
    let (x, y) = (&frame.x.described(), &frame.y.described());
    let mut data = Data::new(Chart::Marks, &["series", &x.title, &y.title, "name", "on_front"], x, y);
    // Those on the front last, over the others.
    let order = (0..shown.len()).filter(|i| !on_front.contains(i)).chain(on_front.iter().copied());
    for i in order {
        let (point, best) = (shown[i], on_front.contains(&i));
        let group = groups.iter().position(|g| *g == point.group);
        if let Some(at) = frame.at(point.x, point.y) {
            match group {
                Some(group) => drawing.mark(Mark::of(group), at, if best { 2.8 } else { 1.9 }, color(group)),
                None if best => drawing.mark(Mark::Disc, at, 2.4, color(0)),
                None => drawing.mark(Mark::Disc, at, 1.8, GREY.lighter(0.2)),
            }
        }
        let series = match (groups.is_empty(), best) {
            (false, _) => point.group.clone(),
            (true, true) => "front".to_owned(),
            (true, false) => "dominated".to_owned(),
        };
        let numbers = [cell(frame.x.shown(point.x)), cell(frame.y.shown(point.y))];
        data.rows.push([vec![series], numbers.to_vec(), vec![point.name.clone(), best.to_string()]].concat());
    }
    let named: Vec<&ParetoPoint> = on_front.iter().map(|&i| shown[i]).collect();
    if places.len() <= NAMED {
        let all: Vec<Point> = shown.iter().filter_map(|p| frame.at(p.x, p.y)).collect();
        name_front(&mut drawing, &font, &frame, (&places, &all), &named);
    }
    frame.finish(&mut drawing, &font, style, data);
    drawing
}

/// Names beside the front's points, where they cover neither one another nor a point; a name that would is left out.
fn name_front(
    drawing: &mut Drawing,
    font: &Font,
    frame: &Frame,
    (places, all): (&[Point], &[Point]),
    points: &[&ParetoPoint],
) {
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    for (&(px, py), point) in places.iter().zip(points) {
        let name = fit_text(font, &point.name, SMALL, 90.0);
        let width = font.width(&name, SMALL);
        let free = |&(x, y): &Point| {
            let within = x >= frame.left && x + width <= frame.right && y - 4.0 >= frame.top && y + 4.0 <= frame.bottom;
            let apart = taken.iter().all(|&(x0, x1, ty)| x > x1 || x + width < x0 || (y - ty).abs() >= SMALL);
            let covers = |p: &&Point| p.0 > x - 1.5 && p.0 < x + width + 1.5 && (p.1 - y).abs() < SMALL / 2.0 + 1.0;
            within && apart && !all.iter().any(|p| covers(&p))
        };
        let candidates = [
            (px + 3.0, py - 6.0),
            (px + 5.0, py),
            (px - width - 3.0, py - 6.0),
            (px - width - 5.0, py),
            (px + 3.0, py + 7.0),
            (px - width - 3.0, py + 7.0),
        ];
        if let Some(&(x, y)) = candidates.iter().find(|c| free(c)) {
            drawing.text(name, (x, y), SMALL, Anchor::Start, INK);
            taken.push((x, x + width, y));
        }
    }
}

/// Indices of the points that no other beats in both, from the best in x on. Of equal points the first stays.
fn front(points: &[&ParetoPoint], (x, y): (Better, Better)) -> Vec<usize> {
    // Zero and minus zero are one value.
    let cost = |i: usize| (x.cost(points[i].x) + 0.0, y.cost(points[i].y) + 0.0);
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| cost(a).0.total_cmp(&cost(b).0).then(cost(a).1.total_cmp(&cost(b).1)));
    let mut best = f64::INFINITY;
    order.retain(|&i| {
        let better = cost(i).1 < best;
        best = best.min(cost(i).1);
        better
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_what_no_other_point_beats_in_both() {
        let at = |x: f64, y: f64| ParetoPoint { x, y, ..ParetoPoint::default() };
        let points = [at(3.0, 1.0), at(1.0, 3.0), at(2.0, 2.0), at(2.0, 2.5), at(4.0, 1.0), at(2.0, 2.0)];
        let refs: Vec<&ParetoPoint> = points.iter().collect();
        assert_eq!(front(&refs, (Better::Low, Better::Low)), [1, 2, 0]);
        // The fastest with the least power, in that order; the largest in both.
        assert_eq!(front(&refs, (Better::High, Better::Low)), [4]);
        assert_eq!(front(&refs, (Better::Low, Better::High)), [1]);
        assert_eq!(front(&refs, (Better::High, Better::High)), [4, 3, 1]);
    }

    #[test]
    fn what_is_better_is_in_the_name() {
        for high in [
            "tokens_per_s",
            "mac_utilization",
            "utilization",
            "bandwidth_utilization",
            "row_hit_rate",
            "hit_rate",
            "bank_bandwidth_bytes_per_s",
            "throughput",
            "speedup",
            "tokens_per_j",
            "bandwidth_gb_per_s",
            "energy_efficiency",
            "arithmetic_utilization",
        ] {
            assert_eq!(Better::of(high), Better::High, "{high}");
        }
        for low in [
            "latency_s",
            "latency_per_token_s",
            "energy_per_token_j",
            "energy_j",
            "power_w",
            "ttft_s",
            "tpot_s",
            "miss_rate",
            "stall_cycles",
            "channels",
            "area_mm2",
        ] {
            assert_eq!(Better::of(low), Better::Low, "{low}");
        }
    }

    /// Steps of the front keep to the side of what is worse, whichever way is better.
    #[test]
    fn the_front_is_drawn_on_its_own_side() {
        use super::super::drawing::Shape;
        let at = |x: f64, y: f64| ParetoPoint { x, y, ..ParetoPoint::default() };
        let (rate, energy) = (Quantity::new("Throughput", "tokens/s"), Quantity::new("Energy per token", "J"));
        let points = [at(100.0, 1.0), at(200.0, 2.0), at(300.0, 4.0), at(150.0, 3.0)];
        let drawing = pareto(
            &points,
            (&rate, Scaling::Linear, Better::High),
            (&energy, Scaling::Linear, Better::Low),
            &Style::default(),
        );
        let line = drawing.shapes.iter().find_map(|s| match s {
            Shape::Line { points, color: c, .. } if *c == color(0) && points.len() == 5 => Some(points.clone()),
            _ => None,
        });
        // From the fastest: left to the next one's rate at the same energy, then down to it.
        let line = line.unwrap();
        for corner in line.chunks(2).filter(|c| c.len() == 2) {
            let (point, corner) = (corner[0], corner[1]);
            assert!(corner.0 < point.0 && (corner.1 - point.1).abs() < 1e-9, "{line:?}");
        }
    }
}
