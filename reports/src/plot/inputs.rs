//! The files that `banksia plot` reads: run reports (`.json`), tables (`.csv`), and the folders of runs and sweeps.

mod bars;
mod crossovers;
mod figure;
mod grids;
mod options;
mod pages;
mod quantity;
mod series;
mod sweeps;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use banksia_input::InputError;

use self::series::{By, Columns, check_axis, first_quantity, points};
use super::axis::{Quantity, Scaling};
use super::pareto::Better;
use super::{
    Drawing, ParetoPoint, PlotKind, Roofline, Style, bandwidth, breakdown, context, energy, gantt, names, pareto,
    roofline, validation,
};
use crate::{ReportError, RunReport, read_report};

pub use figure::{Figure, Panel, read_figure};
pub use options::{PlotOptions, Plotted};
pub use pages::plot_figure;
pub(crate) use quantity::column_quantity;
pub use table::Table;

/// Draws a kind of plot from files.
///
/// `breakdown`, `context`, `roofline` and `energy` take run reports, and `gantt` takes one. `sweep`, `bars`, `box`, `heatmap`, `crossover`, `cdf`,
/// `validation` and `bandwidth` take tables, and `pareto` takes either. A run's folder stands for its report; a sweep's, for its `comparison.csv` or, where reports are
/// wanted, for those of its points in their order. Several inputs are drawn in one plot.
///
/// # Errors
/// A file cannot be read, is of the wrong sort for the kind, lacks a column that the plot needs, or has nothing that could be
/// drawn.
pub fn plot_files(kind: PlotKind, inputs: &[PathBuf], options: &PlotOptions) -> Result<Plotted, ReportError> {
    let mut plotted = plot_unscaled(kind, inputs, options)?;
    plotted.warnings.extend(plotted.drawing.notes.iter().cloned());
    if options.style.scale > 1.0 {
        plotted.drawing = plotted.drawing.scaled(options.style.scale);
    }
    Ok(plotted)
}

fn plot_unscaled(kind: PlotKind, inputs: &[PathBuf], options: &PlotOptions) -> Result<Plotted, ReportError> {
    if inputs.is_empty() {
        return Err(InputError::new(format!("plot {}", kind.name()), "has no input").help("name a file").into());
    }
    let style = &options.style;
    match kind {
        PlotKind::Panels => {
            let error = InputError::new("plot panels", "draws what a figure's file says");
            Err(error.help("give one TOML file with [[panel]] tables").into())
        }
        PlotKind::Breakdown | PlotKind::Context | PlotKind::Roofline | PlotKind::Energy | PlotKind::Gantt => {
            let reports = styled(read_reports(inputs)?, style);
            let drawing = match (kind, reports.as_slice()) {
                (PlotKind::Breakdown, _) => breakdown(&reports, style),
                (PlotKind::Context, _) => context(&reports, style),
                (PlotKind::Energy, _) => energy(&reports, style),
                (PlotKind::Gantt, [report]) if !report.timeline.is_empty() => gantt(report, style),
                (PlotKind::Gantt, [_]) => {
                    let error = InputError::new(inputs[0].display().to_string(), "has no timeline");
                    return Err(error.help("run the experiment with --timeline FILE or --out DIR").into());
                }
                (PlotKind::Gantt, several) => {
                    let error = InputError::new("plot gantt", format!("is given {} reports", several.len()));
                    return Err(error.help("give one: a timeline is of one run").into());
                }
                _ => roofline(&rooflines(&reports), style),
            };
            Ok(drawing.into())
        }
        PlotKind::Pareto if !inputs.iter().any(|path| is_table(path)) => {
            Ok(pareto_of_reports(&styled(read_reports(inputs)?, style), options)?.into())
        }
        _ => {
            let mut tables: Vec<Table> = inputs.iter().map(|path| read_table(path)).collect::<Result<_, _>>()?;
            let rows: usize = tables.iter().map(|t| t.rows.len()).sum();
            let failed: usize = tables.iter_mut().map(Table::drop_failed).sum();
            if failed > 0 && failed == rows {
                let file = tables.first().map(|t| t.file.clone()).unwrap_or_default();
                let error = InputError::new(file, "has no point with a result: all have an `error`");
                return Err(error.help("see the column `error`").into());
            }
            let mut plotted = match kind {
                PlotKind::Validation => plot_validation(&tables, options)?,
                PlotKind::Bandwidth => plot_bandwidth(&tables, options)?,
                PlotKind::Pareto => plot_pareto(&tables, options)?,
                PlotKind::Heatmap => grids::plot_heatmap(&tables, options)?,
                PlotKind::Crossover => crossovers::plot_crossover(&tables, options)?,
                PlotKind::Cdf => grids::plot_cdf(&tables, options)?,
                PlotKind::Bars => bars::plot_bars(&tables, options)?,
                PlotKind::Box => bars::plot_box(&tables, options)?,
                _ => sweeps::plot_sweep(&tables, options)?,
            };
            if failed > 0 {
                plotted.warnings.insert(0, format!("{failed} of {rows} points have an error and are left out"));
            }
            Ok(plotted)
        }
    }
}

/// Reports in the style's order, and called what it calls them.
fn styled(mut reports: Vec<RunReport>, style: &Style) -> Vec<RunReport> {
    if style.order.is_empty() && style.rename.is_empty() {
        return reports;
    }
    reports.sort_by_key(|r| style.rank(&r.name).min(style.rank(&r.workload.model)).min(style.rank(&r.machine.name)));
    for report in &mut reports {
        let named = [&mut report.name, &mut report.workload.model, &mut report.machine.name];
        for name in named.into_iter().chain(report.operators.iter_mut().map(|o| &mut o.name)) {
            *name = style.called(name);
        }
    }
    reports
}

/// A roof for each report, named by the machine, with the model where a machine has several reports.
fn rooflines(reports: &[RunReport]) -> Vec<Roofline> {
    let mut all: Vec<Roofline> = reports.iter().map(Roofline::of).collect();
    let distinct: std::collections::BTreeSet<&str> = reports.iter().map(|r| r.machine.name.as_str()).collect();
    if distinct.len() < reports.len() {
        for (roof, name) in all.iter_mut().zip(names(reports)) {
            roof.name = format!("{} {name}", roof.name);
        }
    }
    all
}

/// The table of a sweep's folder.
const COMPARISON: &str = "comparison.csv";

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) || path.join(COMPARISON).is_file()
}

fn read_table(path: &Path) -> Result<Table, InputError> {
    if !path.is_dir() {
        return Table::read(path);
    }
    let inside = path.join(COMPARISON);
    if inside.is_file() {
        return Table::read(&inside);
    }
    let error = InputError::new(path.display().to_string(), format!("is a folder without a `{COMPARISON}`"));
    Err(error.help("give a CSV file, or the folder that `banksia sweep --out DIR` wrote"))
}

fn read_reports(inputs: &[PathBuf]) -> Result<Vec<RunReport>, ReportError> {
    let mut reports = Vec::new();
    for path in inputs {
        let inside = path.join("report.json");
        if path.is_dir() && !inside.is_file() && path.join(COMPARISON).is_file() {
            reports.extend(read_points(path)?);
        } else {
            // A run's output directory stands for the report in it.
            reports.push(read_report(if path.is_dir() { &inside } else { path })?);
        }
    }
    Ok(reports)
}

/// The reports of a sweep's points, in the order of its table.
fn read_points(folder: &Path) -> Result<Vec<RunReport>, ReportError> {
    let table = Table::read(&folder.join(COMPARISON))?;
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let name = table.column("name")?;
    for (place, row) in table.rows.iter().enumerate() {
        places.entry(&row[name]).or_insert(place);
    }
    let unreadable = |e: std::io::Error| InputError::new(folder.display().to_string(), format!("cannot be read: {e}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path().join("report.json");
        if file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    let mut reports: Vec<RunReport> = files.iter().map(|file| read_report(file)).collect::<Result<_, _>>()?;
    // A folder may hold points of an earlier sweep: only those of the table are its own.
    reports.retain(|report| places.contains_key(report.name.trim()));
    reports.sort_by_key(|report| places.get(report.name.trim()).copied());
    if reports.is_empty() {
        let error = InputError::new(folder.display().to_string(), "has no report of a point of its sweep");
        return Err(error.help("give the folder that `banksia sweep --out DIR` wrote").into());
    }
    Ok(reports)
}

fn by_column(table: &Table, wanted: Option<&str>, usual: &[&str]) -> Result<Option<usize>, InputError> {
    match wanted {
        Some(name) => table.column(name).map(Some),
        None => Ok(usual.iter().find_map(|u| table.columns.iter().position(|c| c == u)).filter(|&c| table.varies(c))),
    }
}

fn plot_bandwidth(tables: &[Table], options: &PlotOptions) -> Result<Plotted, InputError> {
    const USUAL_X: [&str; 2] = ["bandwidth_bytes_per_s", "bandwidth_gb_per_s"];
    const USUAL_Y: [&str; 5] = ["latency_s", "latency_ns", "latency_avg_ns", "read_latency_avg_ns", "read_latency_ns"];
    let mut columns = Vec::new();
    for table in tables {
        let x = table.choose(options.x.as_deref(), &USUAL_X, "--x")?;
        let y = table.choose(options.y(), &USUAL_Y, "--y")?;
        let by = by_column(table, options.by.as_deref(), &["name", "device", "pattern", "traffic", "mix"])?;
        columns.push(Columns { x, y, by: By::column(by) });
    }
    let points = points(tables, &columns, false, &options.style)?;
    let drawing = bandwidth(&points.series, options.peak_bandwidth_bytes_per_s, &options.style);
    Ok(Plotted { drawing, warnings: points.warnings })
}

fn plot_validation(tables: &[Table], options: &PlotOptions) -> Result<Plotted, InputError> {
    const MEASURED: [&str; 5] = ["measured", "measured_s", "measured_us", "measured_j", "measured_bytes"];
    const PREDICTED: [&str; 5] = ["predicted", "predicted_s", "predicted_us", "predicted_j", "predicted_bytes"];
    let mut columns = Vec::new();
    for table in tables {
        let x = table.choose(options.x.as_deref(), &MEASURED, "--x")?;
        let y = table.choose(options.y(), &PREDICTED, "--y")?;
        let by = by_column(table, options.by.as_deref(), &["op", "suite", "device"])?;
        columns.push(Columns { x, y, by: By::column(by) });
    }
    let mut points = points(tables, &columns, false, &options.style)?;
    if let ([table, ..], [first, ..]) = (tables, columns.as_slice()) {
        let remedy = "an error in percent needs values above zero";
        check_axis(&mut points, (table, first.x), Scaling::Log, |p| p.0, remedy)?;
        check_axis(&mut points, (table, first.y), Scaling::Log, |p| p.1, remedy)?;
    }
    let unit = first_quantity(tables, &columns, |c| c.x).unit;
    let name = match unit.as_str() {
        "s" => "latency",
        "J" => "energy",
        "B" => "traffic",
        _ => "value",
    };
    Ok(Plotted {
        drawing: validation(&points.series, &Quantity::new(name, unit), &options.style),
        warnings: points.warnings,
    })
}

fn plot_pareto(tables: &[Table], options: &PlotOptions) -> Result<Plotted, InputError> {
    const USUAL_X: [&str; 2] = ["latency_per_token_s", "latency_s"];
    const USUAL_Y: [&str; 2] = ["energy_per_token_j", "energy_j"];
    let mut columns = Vec::new();
    for table in tables {
        let x = table.choose(options.x.as_deref(), &USUAL_X, "--x")?;
        let y = table.choose(options.y(), &USUAL_Y, "--y")?;
        let text = (0..table.columns.len()).find(|&c| c != x && c != y && table.varies(c) && !table.is_numeric(c));
        // A point of a sweep is named by what was set in it, shorter than by its name.
        let by = match (&options.by, table.settings()) {
            (None, Some(settings)) if !settings.is_empty() => sweeps::usual_by(table, x, y, false),
            _ => By::column(by_column(table, options.by.as_deref(), &["name"])?.or(text)),
        };
        columns.push(Columns { x, y, by });
    }
    let [first, ..] = columns.as_slice() else { return Err(InputError::new("plot pareto", "has no table")) };
    let (x_scaling, y_scaling) = (options.x_scaling(), options.y_scaling());
    let mut points = points(tables, &columns, false, &options.style)?;
    check_axis(&mut points, (&tables[0], first.x), x_scaling, |p| p.0, "leave --log-x out, or choose another --x")?;
    check_axis(&mut points, (&tables[0], first.y), y_scaling, |p| p.1, "leave --log-y out, or choose another --y")?;
    // With --by, its values are groups; else every point is named by what tells it apart.
    let grouped = options.by.is_some();
    let named: Vec<ParetoPoint> = points
        .series
        .into_iter()
        .flat_map(|s| {
            let (name, group) = if grouped { (String::new(), s.name) } else { (s.name, String::new()) };
            s.points.into_iter().map(move |(x, y)| ParetoPoint { name: name.clone(), x, y, group: group.clone() })
        })
        .collect();
    let better = |column: usize| Better::of(&tables[0].columns[column]);
    let (x, y) = (first_quantity(tables, &columns, |c| c.x), first_quantity(tables, &columns, |c| c.y));
    let mut style = options.style.clone();
    if let (By::Column(by), [table], true) = (&first.by, tables, grouped) {
        style.legend_title = style.legend_title.or_else(|| table.legend_title(*by));
    }
    let drawing = pareto(&named, (&x, x_scaling, better(first.x)), (&y, y_scaling, better(first.y)), &style);
    Ok(Plotted { drawing, warnings: points.warnings })
}

fn pareto_of_reports(reports: &[RunReport], options: &PlotOptions) -> Result<Drawing, InputError> {
    if let Some((option, column)) =
        [("--x", options.x.as_deref()), ("--y", options.y())].iter().find_map(|o| Some((o.0, o.1?)))
    {
        let error = InputError::new(option, format!("chooses the column `{column}`, and reports are no table"));
        return Err(error.help("leave it out, or give a CSV file or the folder of a sweep"));
    }
    let tokens = |r: &RunReport| r.tokens.filter(|&n| n > 0).map(|n| n as f64);
    let per_token = reports.iter().all(|r| tokens(r).is_some());
    let divisor = |r: &RunReport| if per_token { tokens(r).unwrap_or(1.0) } else { 1.0 };
    let point = |(r, name): (&RunReport, String)| {
        let (x, y) = (r.latency_s / divisor(r), r.energy_j / divisor(r));
        ParetoPoint { name, x, y, group: String::new() }
    };
    let points: Vec<ParetoPoint> = reports.iter().zip(names(reports)).map(point).collect();
    let suffix = if per_token { " per token" } else { "" };
    let (x, y) = (Quantity::new(format!("Latency{suffix}"), "s"), Quantity::new(format!("Energy{suffix}"), "J"));
    let (x, y) = ((&x, options.x_scaling(), Better::Low), (&y, options.y_scaling(), Better::Low));
    Ok(pareto(&points, x, y, &options.style))
}
