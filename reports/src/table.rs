//! The report on a terminal: what a person reads first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use crate::grid::{Align, Grid, Keep, ORNAMENT, bar, clean, clip};
use crate::units::{count, metric, percent, quantity, short_count, words};
use crate::{ComponentReport, RunReport, StepReport};

/// Columns of a page whose width is not known, and of one that must not be wider whatever the names.
const USUAL_WIDTH: usize = 80;
const WIDEST: usize = 100;
/// Cells of a share bar; the largest share fills it.
const BAR_WIDTH: usize = 12;
/// A kind of component with more differing members than this is shown as one row of ranges.
const MEMBERS_SHOWN: usize = 6;

use Align::{Left, Right};

/// Renders the report for a terminal of `width` columns: where it is too narrow, bars go, then columns of numbers, the least
/// important first, and then names are cut. Where the width is not known, bars go beyond 80 columns, and names are cut beyond
/// 100. `color` adds bold and dim escapes; pass whether the output is a terminal.
pub fn terminal(report: &RunReport, width: Option<usize>, color: bool) -> String {
    let width = width.map(|w| w.max(20));
    let (usual, widest) = (width.unwrap_or(USUAL_WIDTH), width.unwrap_or(WIDEST));
    let mut page = Page { out: String::new(), color, usual, widest };
    headline(&mut page, report);
    if !report.energy_parts_j.is_empty() {
        page.section("Energy", "by cause");
        page.grid(energy_parts(report));
    }
    if !report.traffic_bytes.is_empty() {
        page.section("Traffic", "bytes moved, and their average rate over the run");
        page.grid(traffic(report));
    }
    if !report.metrics.is_empty() {
        page.section("Metrics", "");
        page.grid(metrics(report));
    }
    if !report.operators.is_empty() {
        page.section("Operators", "by latency: the time that completion waited for each");
        page.grid(operators(report));
    }
    if !report.components.is_empty() {
        page.section("Components", "");
        page.grid(components(report));
    }
    if !report.steps.is_empty() {
        page.section("Steps", "");
        page.grid(steps(report));
    }
    page.out
}

struct Page {
    out: String,
    color: bool,
    /// Columns beyond which bars go.
    usual: usize,
    /// Columns beyond which names are cut.
    widest: usize,
}

impl Page {
    fn bold(&self, text: &str) -> String {
        if self.color { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn section(&mut self, title: &str, note: &str) {
        let fits = title.width() + note.width() + 3 <= self.widest;
        let note = if note.is_empty() || !fits { String::new() } else { format!(" ({note})") };
        let title = self.bold(title);
        let _ = writeln!(self.out, "\n{title}{note}");
    }

    fn grid(&mut self, mut grid: Grid) {
        grid.drop_ornaments(self.usual);
        self.out += &grid.fit(self.widest).text(self.color);
    }

    /// Pieces of a text, as many on a line as there is room for beside a label of the headline; a comma between two.
    fn lines(&self, pieces: Vec<String>) -> Vec<String> {
        const LABEL: usize = 14;
        let room = self.usual.saturating_sub(LABEL);
        let mut lines: Vec<String> = Vec::new();
        for piece in pieces {
            match lines.last_mut() {
                Some(line) if line.width() + 2 + piece.width() <= room => line.extend([", ", &piece]),
                Some(line) => {
                    line.push(',');
                    lines.push(piece);
                }
                None => lines.push(piece),
            }
        }
        lines.iter().map(|line| clip(line, self.widest.saturating_sub(LABEL))).collect()
    }
}

fn headline(page: &mut Page, report: &RunReport) {
    let (machine, workload) = (&report.machine, &report.workload);
    let most = page.widest.saturating_sub(4) / 2;
    let title = page.bold(&format!("{} on {}", clip(&workload.model, most), clip(&machine.name, most)));
    let _ = writeln!(page.out, "{title}");

    let peaks: Vec<String> = [
        (machine.peak_flops_per_s, format!("{} peak", quantity(machine.peak_flops_per_s, "FLOP/s"))),
        (
            machine.peak_bandwidth_bytes_per_s,
            format!("{} to the units", quantity(machine.peak_bandwidth_bytes_per_s, "B/s")),
        ),
        (machine.capacity_bytes as f64, format!("{} capacity", quantity(machine.capacity_bytes as f64, "B"))),
    ]
    .into_iter()
    .filter(|(value, _)| *value != 0.0)
    .map(|(_, text)| text)
    .collect();
    let mut model = vec![format!(
        "{} parameters, {} of weights",
        short_count(workload.parameters as f64),
        quantity(workload.weight_bytes as f64, "B")
    )];
    if workload.prompt_tokens + workload.generated_tokens > 0 {
        model.push(format!(
            "{} + {} tokens (prompt + generated)",
            count(workload.prompt_tokens),
            count(workload.generated_tokens)
        ));
    }
    if workload.batch > 1 {
        model.push(format!("batch {}", count(workload.batch)));
    }
    let mut grid = Grid::of([("", Left, Keep::Always), ("", Left, Keep::Always)]);
    let machine_line = [vec![clip(&machine.kind, 20)], peaks].concat();
    for (label, pieces) in [("experiment", vec![clean(&report.name)]), ("machine", machine_line), ("workload", model)] {
        for (i, line) in page.lines(pieces).into_iter().enumerate() {
            grid.row([if i == 0 { label.to_owned() } else { String::new() }, line]);
        }
    }
    page.out += &grid.text(false);

    page.section("Result", "");
    let tokens = report.tokens.filter(|&n| n > 0);
    let per_token = |value: f64, unit: &str| {
        tokens.map_or(String::new(), |n| format!("{} per token", quantity(value / n as f64, unit)))
    };
    let mut grid = Grid::new([("", Left), ("", Right), ("", Right)]);
    grid.row(["latency".into(), quantity(report.latency_s, "s"), per_token(report.latency_s, "s")]);
    if let (Some(rate), Some(tokens)) = (report.tokens_per_s, tokens) {
        grid.row(["throughput".into(), format!("{} tokens/s", rate_text(rate)), format!("{} tokens", count(tokens))]);
    }
    // A part that a device's file does not give is not nothing.
    let unknown = report.lacks_energy();
    let known = |text: String| if unknown { format!("at least {text}") } else { text };
    grid.row(["energy".into(), known(quantity(report.energy_j, "J")), per_token(report.energy_j, "J")]);
    grid.row(["average power".into(), known(quantity(report.power_w, "W")), String::new()]);
    if report.workload.flops > 0.0 && report.latency_s > 0.0 {
        let rate = report.workload.flops / report.latency_s;
        let peak = machine.peak_flops_per_s;
        let of_peak = if peak > 0.0 { format!("{} of peak", percent(rate / peak)) } else { String::new() };
        grid.row(["arithmetic".into(), quantity(rate, "FLOP/s"), of_peak]);
    }
    page.grid(grid);
}

/// Tokens per second: whole and with separators where large, else four digits.
fn rate_text(rate: f64) -> String {
    crate::units::number(rate)
}

fn energy_parts(report: &RunReport) -> Grid {
    let mut grid = Grid::of([
        ("", Left, Keep::Cut),
        ("energy", Right, Keep::Always),
        ("share", Right, Keep::Drop(2)),
        ("", Left, Keep::Drop(ORNAMENT)),
    ]);
    let mut parts: Vec<(&String, f64)> = report.energy_parts_j.iter().map(|(name, &j)| (name, j)).collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let largest = parts.first().map_or(0.0, |part| part.1);
    for (name, joules) in parts {
        let share = percent(joules / report.energy_j);
        grid.row([label(name), quantity(joules, "J"), share, bar(joules / largest, BAR_WIDTH)]);
    }
    grid
}

fn traffic(report: &RunReport) -> Grid {
    let mut grid = Grid::of([("", Left, Keep::Cut), ("bytes", Right, Keep::Always), ("rate", Right, Keep::Drop(1))]);
    let mut channels: Vec<(&String, u64)> = report.traffic_bytes.iter().map(|(name, &bytes)| (name, bytes)).collect();
    channels.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
    for (name, bytes) in channels {
        let rate = quantity(bytes as f64 / report.latency_s, "B/s");
        grid.row([label(name), quantity(bytes as f64, "B"), rate]);
    }
    grid
}

fn metrics(report: &RunReport) -> Grid {
    let mut grid = Grid::new([("", Left), ("", Right)]);
    for (name, &value) in &report.metrics {
        let (name, value) = metric(name, value);
        grid.row([clean(&name), value]);
    }
    grid
}

fn operators(report: &RunReport) -> Grid {
    let mut grid = Grid::of([
        ("", Left, Keep::Cut),
        ("times", Right, Keep::Drop(3)),
        ("latency", Right, Keep::Always),
        ("share", Right, Keep::Drop(4)),
        ("", Left, Keep::Drop(ORNAMENT)),
        ("energy", Right, Keep::Drop(5)),
        ("share", Right, Keep::Drop(2)),
    ]);
    let mut operators: Vec<_> = report.operators.iter().collect();
    operators.sort_by(|a, b| b.latency_s.total_cmp(&a.latency_s));
    let largest = operators.first().map_or(0.0, |o| o.latency_s);
    for operator in operators {
        grid.row([
            clean(&operator.name),
            count(operator.count),
            quantity(operator.latency_s, "s"),
            percent(operator.latency_s / report.latency_s),
            bar(operator.latency_s / largest, BAR_WIDTH),
            quantity(operator.energy_j, "J"),
            percent(operator.energy_j / report.energy_j),
        ]);
    }
    grid
}

/// Components, equal ones as one row (`channel 0 … channel 31`), and kinds with many unequal members as a row of ranges.
fn components(report: &RunReport) -> Grid {
    let mut grid = Grid::of([
        ("", Left, Keep::Cut),
        ("number", Right, Keep::Drop(3)),
        ("busy", Right, Keep::Drop(1)),
        ("utilization", Right, Keep::Always),
        ("energy", Right, Keep::Drop(4)),
        ("share", Right, Keep::Drop(2)),
    ]);
    let mut kinds: Vec<(&str, Vec<Vec<&ComponentReport>>)> = Vec::new();
    for component in &report.components {
        let groups = match kinds.iter_mut().find(|(kind, _)| *kind == component.kind) {
            Some((_, groups)) => groups,
            None => {
                kinds.push((&component.kind, Vec::new()));
                match kinds.last_mut() {
                    Some((_, groups)) => groups,
                    None => continue,
                }
            }
        };
        match groups.iter_mut().find(|group| equal(group[0], component)) {
            Some(group) => group.push(component),
            None => groups.push(vec![component]),
        }
    }
    for (_, groups) in kinds {
        let rows = if groups.len() > MEMBERS_SHOWN { vec![groups.concat()] } else { groups };
        for group in rows {
            let joules: f64 = group.iter().flat_map(|c| c.energy_parts_j.values()).sum();
            let busy = range(group.iter().map(|c| c.busy_s), |v| quantity(v, "s"));
            let utilization = range(group.iter().map(|c| c.utilization), percent);
            grid.row([
                group_name(&group),
                group.len().to_string(),
                busy,
                utilization,
                quantity(joules, "J"),
                percent(joules / report.energy_j),
            ]);
        }
    }
    grid
}

fn equal(a: &ComponentReport, b: &ComponentReport) -> bool {
    a.busy_s.total_cmp(&b.busy_s).is_eq()
        && a.utilization.total_cmp(&b.utilization).is_eq()
        && a.energy_parts_j == b.energy_parts_j
        && a.traffic_bytes == b.traffic_bytes
}

fn group_name(group: &[&ComponentReport]) -> String {
    match group {
        [] => String::new(),
        [only] => clean(&only.name),
        [first, .., last] => clean(&format!("{} … {}", first.name, last.name)),
    }
}

/// One value where all print the same, else `least – most`.
fn range(values: impl Iterator<Item = f64> + Clone, print: impl Fn(f64) -> String) -> String {
    let least = print(values.clone().fold(f64::INFINITY, f64::min));
    let most = print(values.fold(f64::NEG_INFINITY, f64::max));
    if least == most { least } else { format!("{least} – {most}") }
}

/// The first, median-latency and last step of each phase.
fn steps(report: &RunReport) -> Grid {
    let mut grid = Grid::of([
        ("", Left, Keep::Cut),
        ("", Left, Keep::Always),
        ("context", Right, Keep::Drop(1)),
        ("latency", Right, Keep::Always),
        ("energy", Right, Keep::Drop(2)),
    ]);
    let mut phases: BTreeMap<usize, (&str, Vec<&StepReport>)> = BTreeMap::new();
    for (i, step) in report.steps.iter().enumerate() {
        let known = phases.values_mut().find(|(phase, _)| *phase == step.phase);
        match known {
            Some((_, steps)) => steps.push(step),
            None => {
                phases.insert(i, (&step.phase, vec![step]));
            }
        }
    }
    for (phase, steps) in phases.values() {
        let mut by_latency = steps.clone();
        by_latency.sort_by(|a, b| a.latency_s.total_cmp(&b.latency_s));
        let median = by_latency[(by_latency.len() - 1) / 2];
        let shown: Vec<(&str, &StepReport)> = match steps.as_slice() {
            [] => Vec::new(),
            [only] => vec![("", only)],
            [first, last] => vec![("first", first), ("last", last)],
            [first, .., last] => vec![("first", first), ("median", median), ("last", last)],
        };
        for (i, (which, step)) in shown.into_iter().enumerate() {
            let name =
                if i == 0 { format!("{} ({})", clip(phase, 16), count(steps.len() as u64)) } else { String::new() };
            grid.row([
                name,
                which.into(),
                count(step.context_tokens),
                quantity(step.latency_s, "s"),
                quantity(step.energy_j, "J"),
            ]);
        }
    }
    grid
}

/// A key of the report as words: `bank_internal` is `bank internal`.
fn label(key: &str) -> String {
    clean(&words(key))
}
