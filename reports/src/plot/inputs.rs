//! The files that `banksia plot` reads: run reports (`.json`), tables (`.csv`), and the folders of runs and sweeps.

mod grids;
mod options;
mod quantity;
mod series;
mod sweeps;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use banksia_input::InputError;

use self::options::scaling;
use self::series::{By, Columns, check_axis, first_quantity, points};
use super::axis::{Quantity, Scaling};
use super::pareto::Better;
use super::{
    Drawing, ParetoPoint, PlotKind, Roofline, bandwidth, breakdown, context, energy, names, pareto, roofline,
    validation,
};
use crate::{ReportError, RunReport, read_report};

pub use options::{PlotOptions, Plotted};
pub(crate) use quantity::column_quantity;
pub use table::Table;

/// Draws a kind of plot from files.
///
/// `breakdown`, `context`, `roofline` and `energy` take run reports. `sweep`, `heatmap`, `cdf`, `validation` and `bandwidth` take
/// tables, and `pareto` takes either. A run's folder stands for its report; a sweep's, for its `comparison.csv` or, where reports are
/// wanted, for those of its points in their order. Several inputs are drawn in one plot.
///
/// # Errors
/// A file cannot be read, is of the wrong sort for the kind, lacks a column that the plot needs, or has nothing that could be
/// drawn.
pub fn plot_files(kind: PlotKind, inputs: &[PathBuf], options: &PlotOptions) -> Result<Plotted, ReportError> {
    if inputs.is_empty() {
        return Err(InputError::new(format!("plot {}", kind.name()), "has no input").help("name a file").into());
    }
    match kind {
        PlotKind::Breakdown | PlotKind::Context | PlotKind::Roofline | PlotKind::Energy => {
            let reports = read_reports(inputs)?;
            let drawing = match kind {
                PlotKind::Breakdown => breakdown(&reports),
                PlotKind::Context => context(&reports),
                PlotKind::Energy => energy(&reports),
                _ => roofline(&reports.iter().map(Roofline::of).collect::<Vec<_>>()),
            };
            Ok(drawing.into())
        }
        PlotKind::Pareto if !inputs.iter().any(|path| is_table(path)) => {
            Ok(pareto_of_reports(&read_reports(inputs)?, options).into())
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
                PlotKind::Cdf => grids::plot_cdf(&tables, options)?,
                _ => sweeps::plot_sweep(&tables, options)?,
            };
            if failed > 0 {
                plotted.warnings.insert(0, format!("{failed} of {rows} points have an error and are left out"));
            }
            Ok(plotted)
        }
    }
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
        let y = table.choose(options.y.as_deref(), &USUAL_Y, "--y")?;
        let by = by_column(table, options.by.as_deref(), &["name", "device", "pattern", "traffic", "mix"])?;
        columns.push(Columns { x, y, by: By::column(by) });
    }
    let points = points(tables, &columns, false)?;
    let drawing = bandwidth(&points.series, options.peak_bandwidth_bytes_per_s);
    Ok(Plotted { drawing, warnings: points.warnings })
}

fn plot_validation(tables: &[Table], options: &PlotOptions) -> Result<Plotted, InputError> {
    const MEASURED: [&str; 5] = ["measured", "measured_s", "measured_us", "measured_j", "measured_bytes"];
    const PREDICTED: [&str; 5] = ["predicted", "predicted_s", "predicted_us", "predicted_j", "predicted_bytes"];
    let mut columns = Vec::new();
    for table in tables {
        let x = table.choose(options.x.as_deref(), &MEASURED, "--x")?;
        let y = table.choose(options.y.as_deref(), &PREDICTED, "--y")?;
        let by = by_column(table, options.by.as_deref(), &["op", "suite", "device"])?;
        columns.push(Columns { x, y, by: By::column(by) });
    }
    let mut points = points(tables, &columns, false)?;
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
    Ok(Plotted { drawing: validation(&points.series, &Quantity::new(name, unit)), warnings: points.warnings })
}

fn plot_pareto(tables: &[Table], options: &PlotOptions) -> Result<Plotted, InputError> {
    const USUAL_X: [&str; 2] = ["latency_per_token_s", "latency_s"];
    const USUAL_Y: [&str; 2] = ["energy_per_token_j", "energy_j"];
    let mut columns = Vec::new();
    for table in tables {
        let x = table.choose(options.x.as_deref(), &USUAL_X, "--x")?;
        let y = table.choose(options.y.as_deref(), &USUAL_Y, "--y")?;
        let text = (0..table.columns.len()).find(|&c| c != x && c != y && table.varies(c) && !table.is_numeric(c));
        // A point of a sweep is named by what was set in it, shorter than by its name.
        let by = match (&options.by, table.settings()) {
            (None, Some(settings)) if !settings.is_empty() => sweeps::usual_by(table, x, y, false),
            _ => By::column(by_column(table, options.by.as_deref(), &["name"])?.or(text)),
        };
        columns.push(Columns { x, y, by });
    }
    let [first, ..] = columns.as_slice() else { return Err(InputError::new("plot pareto", "has no table")) };
    let (x_scaling, y_scaling) = (scaling(options.log_x), scaling(options.log_y));
    let mut points = points(tables, &columns, false)?;
    check_axis(&mut points, (&tables[0], first.x), x_scaling, |p| p.0, "leave --log-x out, or choose another --x")?;
    check_axis(&mut points, (&tables[0], first.y), y_scaling, |p| p.1, "leave --log-y out, or choose another --y")?;
    let named: Vec<ParetoPoint> = points
        .series
        .into_iter()
        .flat_map(|s| s.points.into_iter().map(move |(x, y)| ParetoPoint { name: s.name.clone(), x, y }))
        .collect();
    let better = |column: usize| Better::of(&tables[0].columns[column]);
    let (x, y) = (first_quantity(tables, &columns, |c| c.x), first_quantity(tables, &columns, |c| c.y));
    let drawing = pareto(&named, (&x, x_scaling, better(first.x)), (&y, y_scaling, better(first.y)));
    Ok(Plotted { drawing, warnings: points.warnings })
}

fn pareto_of_reports(reports: &[RunReport], options: &PlotOptions) -> Drawing {
    let tokens = |r: &RunReport| r.tokens.filter(|&n| n > 0).map(|n| n as f64);
    let per_token = reports.iter().all(|r| tokens(r).is_some());
    let divisor = |r: &RunReport| if per_token { tokens(r).unwrap_or(1.0) } else { 1.0 };
    let points: Vec<ParetoPoint> = reports
        .iter()
        .zip(names(reports))
        .map(|(r, name)| ParetoPoint { name, x: r.latency_s / divisor(r), y: r.energy_j / divisor(r) })
        .collect();
    let suffix = if per_token { " per token" } else { "" };
    let (x, y) = (Quantity::new(format!("Latency{suffix}"), "s"), Quantity::new(format!("Energy{suffix}"), "J"));
    pareto(&points, (&x, scaling(options.log_x), Better::Low), (&y, scaling(options.log_y), Better::Low))
}
