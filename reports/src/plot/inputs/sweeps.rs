//! `plot sweep`: which columns a table is drawn by, and the drawing.

use banksia_input::InputError;

use super::options::{PlotOptions, Plotted};
use super::series::{By, Columns, check_axis, first_quantity, points};
use super::table::Table;
use crate::plot::{sweep, sweep_of_names};

/// What is drawn of a table where nothing is named.
pub(super) const USUAL_Y: [&str; 5] = ["latency_per_token_s", "latency_s", "latency_us", "latency_ns", "energy_j"];

pub(super) fn plot_sweep(tables: &[Table], options: &PlotOptions) -> Result<Plotted, InputError> {
    let mut chosen = Vec::new();
    for table in tables {
        let y = table.choose(options.y(), &USUAL_Y, "--y")?;
        let x = match &options.x {
            Some(name) => table.column(name)?,
            None => usual_x(table, y).ok_or_else(|| {
                InputError::new(&table.file, "has no column of numbers that vary, nor one of names")
                    .help("choose the abscissa with --x")
            })?,
        };
        chosen.push((x, y));
    }
    // One table's names make the axis one of names for all.
    let by_name = tables.iter().zip(&chosen).any(|(table, &(x, _))| table.words(x).1 > 0);
    let mut columns = Vec::new();
    let mut warnings = Vec::new();
    for (table, &(x, y)) in tables.iter().zip(&chosen) {
        let by = match &options.by {
            Some(name) => By::Column(table.column(name)?),
            None => usual_by(table, x, y, by_name),
        };
        let (cells, words) = table.words(x);
        if by_name && words < cells && words > 0 {
            let name = &table.columns[x];
            warnings.push(format!("{words} of {cells} values of `{name}` are no numbers: the axis is one of names"));
        }
        columns.push(Columns { x, y, by });
    }
    if by_name && options.x_scaling().is_log() {
        warnings.push("an axis of names is not logarithmic: --log-x does nothing".to_owned());
    }
    let mut points = points(tables, &columns, by_name, &options.style)?;
    let (x, y) = (first_quantity(tables, &columns, |c| c.x), first_quantity(tables, &columns, |c| c.y));
    let (x_scaling, y_scaling) = (options.x_scaling(), options.y_scaling());
    let [first, ..] = columns.as_slice() else { return Err(InputError::new("plot sweep", "has no table")) };
    if !by_name {
        check_axis(&mut points, (&tables[0], first.x), x_scaling, |p| p.0, "leave --log-x out, or choose another --x")?;
    }
    check_axis(&mut points, (&tables[0], first.y), y_scaling, |p| p.1, "leave --log-y out, or choose another --y")?;
    let mut style = options.style.clone();
    if let (By::Column(by), [table]) = (&first.by, tables) {
        style.legend_title = style.legend_title.or_else(|| table.legend_title(*by));
    }
    let drawing = match &points.names {
        Some(names) => sweep_of_names(&points.series, (&x.name, names), (&y, y_scaling), &style),
        None => sweep(&points.series, (&x, x_scaling), (&y, y_scaling), &style),
    };
    warnings.extend(points.warnings);
    Ok(Plotted { drawing, warnings })
}

/// The abscissa where none is named. Of a sweep: the first key that was varied in every point, numbers before names; else what
/// tells its points apart. Of another table: the first column of numbers that vary, else of names.
pub(super) fn usual_x(table: &Table, y: usize) -> Option<usize> {
    let varied = |c: &usize| *c != y && table.varies(*c);
    match table.settings() {
        Some(settings) => {
            let full = || settings.clone().filter(varied).filter(|&c| table.is_full(c));
            let numeric = full().find(|&c| table.is_numeric(c));
            numeric.or_else(|| full().next()).or_else(|| {
                // Machine and model where they say all, else the names of the points.
                [2, 1].into_iter().filter(varied).find(|&c| table.distinct(&[c]) == table.rows.len()).or(Some(0))
            })
        }
        None => {
            let columns = || (0..table.columns.len()).filter(varied);
            columns().find(|&c| table.is_numeric(c)).or_else(|| columns().next())
        }
    }
}

/// What tells series apart where it is not named. Of a sweep: the other keys that were varied in every point, the model, the
/// machine and the name, each where it tells more than those before it. Of another table: the first column of words that vary
/// and are not all different.
pub(super) fn usual_by(table: &Table, x: usize, y: usize, by_name: bool) -> By {
    let varied = |c: &usize| *c != x && *c != y && table.varies(*c);
    let Some(settings) = table.settings() else {
        let words = (0..table.columns.len()).filter(varied).filter(|&c| table.words(c).1 > 0);
        // Words that differ in every row name rows, not series; and of those that x determines, nothing more is said.
        let mut telling = words.filter(|&c| table.distinct(&[c]) < table.rows.len());
        return By::column(telling.find(|&c| !by_name || table.distinct(&[x, c]) > table.distinct(&[x])));
    };
    let mut chosen: Vec<usize> = Vec::new();
    let mut tell = |c: usize, with_x: bool| {
        let start: Vec<usize> = if with_x { vec![x] } else { Vec::new() };
        let before = [start.as_slice(), &chosen].concat();
        let told = if before.is_empty() { 1 } else { table.distinct(&before) };
        if table.distinct(&[before.as_slice(), &[c]].concat()) > told {
            chosen.push(c);
        }
    };
    for c in settings.chain([1, 2]).filter(varied).filter(|&c| table.is_full(c)) {
        // A line joins points of one series; under a name stand points of all, and what the name implies is no series.
        tell(c, by_name);
    }
    if varied(&0) {
        tell(0, true);
    }
    if chosen.is_empty() { By::Nothing } else { By::Together(chosen) }
}
