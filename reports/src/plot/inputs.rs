//! The files that `banksia plot` reads: run reports (`.json`) and tables (`.csv`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use banksia_input::{InputError, Source};

use super::axis::{Quantity, Scaling};
use super::{
    Drawing, ParetoPoint, PlotKind, Roofline, Series, bandwidth, breakdown, context, energy, names, pareto, roofline,
    sweep, validation,
};
use crate::{ReportError, RunReport, read_report};

/// How to read tables and draw axes; what is left out is guessed from the columns, or an error names what there is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlotOptions {
    /// The column of the abscissa.
    pub x: Option<String>,
    /// The column of the ordinate.
    pub y: Option<String>,
    /// The column whose values tell series, or points, apart.
    pub by: Option<String>,
    /// A logarithmic abscissa.
    pub log_x: bool,
    /// A logarithmic ordinate.
    pub log_y: bool,
    /// The memory's peak, for a bandwidth-latency curve.
    pub peak_bandwidth_bytes_per_s: Option<f64>,
}

/// A CSV file: named columns of text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The file, for errors.
    pub file: String,
    /// Column names.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a CSV file with a header.
    ///
    /// # Errors
    /// The file is missing or too large, or a row has another number of fields than the header.
    pub fn read(path: &Path) -> Result<Self, InputError> {
        let source = Source::read(path)?;
        Self::parse(source.name(), source.text())
    }

    /// Parses CSV text with a header; `file` is its name in errors.
    ///
    /// # Errors
    /// A row has another number of fields than the header.
    pub fn parse(file: &str, text: &str) -> Result<Self, InputError> {
        let mut reader =
            csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
        let fail = |e: &csv::Error| {
            let error = InputError::new(file, format!("is not a table: {e}"));
            match e.position() {
                Some(position) => error.at_line(position.line() as usize),
                None => error,
            }
        };
        let columns: Vec<String> = reader.headers().map_err(|e| fail(&e))?.iter().map(str::to_owned).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            rows.push(record.map_err(|e| fail(&e))?.iter().map(str::to_owned).collect());
        }
        Ok(Self { file: file.to_owned(), columns, rows })
    }

    fn column(&self, name: &str) -> Result<usize, InputError> {
        self.columns.iter().position(|column| column == name).ok_or_else(|| {
            InputError::unknown_name(&self.file, "column", name, self.columns.iter().map(String::as_str))
        })
    }

    /// The wanted column, else the first of the usual names that exists.
    fn choose(&self, wanted: Option<&str>, usual: &[&str], option: &str) -> Result<usize, InputError> {
        if let Some(name) = wanted {
            return self.column(name);
        }
        let found = usual.iter().find_map(|name| self.columns.iter().position(|column| column == name));
        found.ok_or_else(|| {
            let (usual, columns) = (usual.join("`, `"), self.columns.join("`, `"));
            InputError::new(&self.file, format!("has no column `{usual}`"))
                .help(format!("choose one with {option}: `{columns}`"))
        })
    }

    /// A cell in base units; an empty one is none.
    fn number(&self, row: usize, column: usize, factor: f64) -> Result<Option<f64>, InputError> {
        let text = &self.rows[row][column];
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<f64>() {
            Ok(value) => Ok(Some(value * factor)),
            Err(_) => Err(InputError::new(&self.file, format!("row {} has `{text}`", row + 1))
                .key(&self.columns[column])
                .help("give a number, or leave the cell empty")),
        }
    }

    fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().map(|row| &row[column]).filter(|cell| !cell.is_empty()).peekable();
        cells.peek().is_some() && cells.all(|cell| cell.parse::<f64>().is_ok())
    }

    fn varies(&self, column: usize) -> bool {
        self.rows.iter().any(|row| row[column] != self.rows[0][column])
    }
}

/// Draws a kind of plot from files.
///
/// `breakdown`, `context`, `roofline` and `energy` take run reports. `sweep`, `validation` and `bandwidth` take tables, and
/// `pareto` takes either. Several inputs are drawn in one plot.
///
/// # Errors
/// A file cannot be read, is of the wrong sort for the kind, or lacks a column that the plot needs.
pub fn plot_files(kind: PlotKind, inputs: &[PathBuf], options: &PlotOptions) -> Result<Drawing, ReportError> {
    if inputs.is_empty() {
        return Err(InputError::new(format!("plot {}", kind.name()), "has no input").help("name a file").into());
    }
    let is_table = |path: &PathBuf| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    match kind {
        PlotKind::Breakdown | PlotKind::Context | PlotKind::Roofline | PlotKind::Energy => {
            let reports = read_reports(inputs)?;
            Ok(match kind {
                PlotKind::Breakdown => breakdown(&reports),
                PlotKind::Context => context(&reports),
                PlotKind::Energy => energy(&reports),
                _ => roofline(&reports.iter().map(Roofline::of).collect::<Vec<_>>()),
            })
        }
        PlotKind::Pareto if !inputs.iter().any(is_table) => Ok(pareto_of_reports(&read_reports(inputs)?, options)),
        _ => {
            let tables: Vec<Table> = inputs.iter().map(|path| Table::read(path)).collect::<Result<_, _>>()?;
            Ok(match kind {
                PlotKind::Validation => plot_validation(&tables, options)?,
                PlotKind::Bandwidth => plot_bandwidth(&tables, options)?,
                PlotKind::Pareto => plot_pareto(&tables, options)?,
                _ => plot_sweep(&tables, options)?,
            })
        }
    }
}

fn read_reports(inputs: &[PathBuf]) -> Result<Vec<RunReport>, ReportError> {
    // A run's output directory stands for the report in it.
    let file = |path: &PathBuf| if path.is_dir() { path.join("report.json") } else { path.clone() };
    inputs.iter().map(|path| read_report(&file(path))).collect()
}

fn scaling(log: bool) -> Scaling {
    if log { Scaling::Log } else { Scaling::Linear }
}

/// What a column holds, by the unit that its name ends in, and the factor to the base unit.
fn column_quantity(column: &str) -> (Quantity, f64) {
    const UNITS: [(&str, &str, f64); 18] = [
        ("_gb_per_s", "B/s", 1e9),
        ("_bytes_per_s", "B/s", 1.0),
        ("_flops_per_s", "FLOP/s", 1.0),
        ("_tokens_per_s", "tokens/s", 1.0),
        ("_per_s", "/s", 1.0),
        ("_bytes", "B", 1.0),
        ("_pct", "%", 1.0),
        ("_ms", "s", 1e-3),
        ("_us", "s", 1e-6),
        ("_ns", "s", 1e-9),
        ("_ps", "s", 1e-12),
        ("_s", "s", 1.0),
        ("_mj", "J", 1e-3),
        ("_pj", "J", 1e-12),
        ("_j", "J", 1.0),
        ("_w", "W", 1.0),
        ("_mhz", "Hz", 1e6),
        ("_hz", "Hz", 1.0),
    ];
    for (suffix, unit, factor) in UNITS {
        if let Some(stem) = column.strip_suffix(suffix) {
            return (Quantity::new(super::label(stem), unit), factor);
        }
    }
    let quantity = match column {
        "tokens_per_s" => Quantity::new("Throughput", "tokens/s"),
        _ => Quantity::new(super::label(column), ""),
    };
    (quantity, 1.0)
}

/// Which columns a table is read by.
struct Columns {
    x: usize,
    y: usize,
    by: Option<usize>,
}

/// The points of tables, as series by a column's values and, where there are several tables, by file.
fn series(tables: &[Table], columns: &[Columns]) -> Result<Vec<Series>, InputError> {
    let labels = labels(tables);
    let mut order: Vec<Series> = Vec::new();
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    for ((table, columns), label) in tables.iter().zip(columns).zip(labels) {
        let factor = |column: usize| column_quantity(&table.columns[column]).1;
        let (x_factor, y_factor) = (factor(columns.x), factor(columns.y));
        let stem = Path::new(&table.file).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        for (i, row) in table.rows.iter().enumerate() {
            let point = (table.number(i, columns.x, x_factor)?, table.number(i, columns.y, y_factor)?);
            let (Some(x), Some(y)) = point else { continue };
            let name = match columns.by {
                Some(by) if tables.len() > 1 => format!("{stem}: {}", row[by]),
                Some(by) => row[by].clone(),
                None => label.map_or_else(|| stem.clone(), |c| row[c].clone()),
            };
            let at = *index.entry(name.clone()).or_insert_with(|| {
                order.push(Series { name, points: Vec::new() });
                order.len() - 1
            });
            order[at].points.push((x, y));
        }
    }
    Ok(order)
}

/// The column that names each table where files are not told apart by their own rows: the first of the usual ones that is the same all through a table
/// and differs between every two.
fn labels(tables: &[Table]) -> Vec<Option<usize>> {
    let column = |name: &str| -> Option<Vec<usize>> {
        let found: Vec<usize> =
            tables.iter().map(|t| t.columns.iter().position(|c| c == name)).collect::<Option<_>>()?;
        let values: Option<std::collections::BTreeSet<&str>> = tables
            .iter()
            .zip(&found)
            .map(|(t, &c)| t.rows.first().filter(|_| !t.varies(c)).map(|r| r[c].as_str()))
            .collect();
        values.filter(|v| v.len() == tables.len()).map(|_| found)
    };
    let found = ["name", "device", "traffic"].into_iter().find_map(column);
    found.map_or_else(|| vec![None; tables.len()], |f| f.into_iter().map(Some).collect())
}

fn first_quantity(tables: &[Table], columns: &[Columns], of: fn(&Columns) -> usize) -> Quantity {
    match (tables.first(), columns.first()) {
        (Some(table), Some(columns)) => column_quantity(&table.columns[of(columns)]).0,
        _ => Quantity::new("", ""),
    }
}

fn by_column(table: &Table, wanted: Option<&str>, usual: &[&str]) -> Result<Option<usize>, InputError> {
    match wanted {
        Some(name) => table.column(name).map(Some),
        None => Ok(usual.iter().find_map(|u| table.columns.iter().position(|c| c == u)).filter(|&c| table.varies(c))),
    }
}

fn plot_sweep(tables: &[Table], options: &PlotOptions) -> Result<Drawing, InputError> {
    const USUAL_Y: [&str; 5] = ["latency_per_token_s", "latency_s", "latency_us", "latency_ns", "energy_j"];
    let mut columns = Vec::new();
    for table in tables {
        let y = table.choose(options.y.as_deref(), &USUAL_Y, "--y")?;
        let numeric = || (0..table.columns.len()).find(|&c| c != y && table.is_numeric(c) && table.varies(c));
        let x = match &options.x {
            Some(name) => table.column(name)?,
            None => numeric().ok_or_else(|| {
                InputError::new(&table.file, "has no column of numbers that vary").help("choose the abscissa with --x")
            })?,
        };
        // What varies and is not a number tells the lines apart.
        let text = (0..table.columns.len()).find(|&c| c != x && c != y && !table.is_numeric(c) && table.varies(c));
        let by = by_column(table, options.by.as_deref(), &[])?.or(text);
        columns.push(Columns { x, y, by });
    }
    let series = series(tables, &columns)?;
    let x = first_quantity(tables, &columns, |c| c.x);
    let y = first_quantity(tables, &columns, |c| c.y);
    Ok(sweep(&series, (&x, scaling(options.log_x)), (&y, scaling(options.log_y))))
}

fn plot_bandwidth(tables: &[Table], options: &PlotOptions) -> Result<Drawing, InputError> {
    const USUAL_X: [&str; 2] = ["bandwidth_bytes_per_s", "bandwidth_gb_per_s"];
    const USUAL_Y: [&str; 5] = ["latency_s", "latency_ns", "latency_avg_ns", "read_latency_avg_ns", "read_latency_ns"];
    let mut columns = Vec::new();
    for table in tables {
        columns.push(Columns {
            x: table.choose(options.x.as_deref(), &USUAL_X, "--x")?,
            y: table.choose(options.y.as_deref(), &USUAL_Y, "--y")?,
            by: by_column(table, options.by.as_deref(), &["name", "device", "pattern", "traffic", "mix"])?,
        });
    }
    Ok(bandwidth(&series(tables, &columns)?, options.peak_bandwidth_bytes_per_s))
}

fn plot_validation(tables: &[Table], options: &PlotOptions) -> Result<Drawing, InputError> {
    const MEASURED: [&str; 5] = ["measured", "measured_s", "measured_us", "measured_j", "measured_bytes"];
    const PREDICTED: [&str; 5] = ["predicted", "predicted_s", "predicted_us", "predicted_j", "predicted_bytes"];
    let mut columns = Vec::new();
    for table in tables {
        columns.push(Columns {
            x: table.choose(options.x.as_deref(), &MEASURED, "--x")?,
            y: table.choose(options.y.as_deref(), &PREDICTED, "--y")?,
            by: by_column(table, options.by.as_deref(), &["op", "suite", "device"])?,
        });
    }
    let series = series(tables, &columns)?;
    let unit = first_quantity(tables, &columns, |c| c.x).unit;
    let name = match unit.as_str() {
        "s" => "latency",
        "J" => "energy",
        "B" => "traffic",
        _ => "value",
    };
    Ok(validation(&series, &Quantity::new(name, unit)))
}

fn plot_pareto(tables: &[Table], options: &PlotOptions) -> Result<Drawing, InputError> {
    const USUAL_X: [&str; 2] = ["latency_per_token_s", "latency_s"];
    const USUAL_Y: [&str; 2] = ["energy_per_token_j", "energy_j"];
    let mut columns = Vec::new();
    for table in tables {
        let x = table.choose(options.x.as_deref(), &USUAL_X, "--x")?;
        let y = table.choose(options.y.as_deref(), &USUAL_Y, "--y")?;
        let text = (0..table.columns.len()).find(|&c| c != x && c != y && table.varies(c) && !table.is_numeric(c));
        columns.push(Columns { x, y, by: by_column(table, options.by.as_deref(), &["name"])?.or(text) });
    }
    let points: Vec<ParetoPoint> = series(tables, &columns)?
        .into_iter()
        .flat_map(|s| s.points.into_iter().map(move |(x, y)| ParetoPoint { name: s.name.clone(), x, y }))
        .collect();
    let x = first_quantity(tables, &columns, |c| c.x);
    let y = first_quantity(tables, &columns, |c| c.y);
    Ok(pareto(&points, (&x, scaling(options.log_x)), (&y, scaling(options.log_y))))
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
    pareto(&points, (&x, scaling(options.log_x)), (&y, scaling(options.log_y)))
}
