//! `plot heatmap` and `plot cdf`: which columns a table is drawn by, and the drawing.

use banksia_input::InputError;

use super::bars::names;
use super::options::{PlotOptions, Plotted};
use super::quantity::column_quantity;
use super::series::{By, Columns, check_axis, first_quantity, points};
use super::sweeps::{USUAL_Y, usual_x};
use super::table::Table;
use crate::plot::{Heatmap, cdf, heatmap};

/// Names of one axis of a heat map that are still told apart.
const MOST_NAMES: usize = 64;

pub(super) fn plot_heatmap(tables: &[Table], options: &PlotOptions) -> Result<Plotted, InputError> {
    let [table] = tables else {
        let error = InputError::new("plot heatmap", format!("is given {} tables", tables.len()));
        return Err(error.help("give one: a cell has one value"));
    };
    let value = table.choose(options.value.as_deref(), &USUAL_Y, "--z")?;
    let missing = |option: &str| {
        InputError::new(&table.file, "has no two columns that vary").help(format!("choose a column with {option}"))
    };
    let x = match &options.x {
        Some(name) => table.column(name)?,
        None => usual_x(table, value).ok_or_else(|| missing("--x"))?,
    };
    let y = match options.y() {
        Some(name) => table.column(name)?,
        None => {
            let of_sweep = table.settings().unwrap_or(0..0).chain([1, 2]).filter(|&c| c < table.columns.len());
            let candidates: Vec<usize> =
                if table.settings().is_some() { of_sweep.collect() } else { (0..table.columns.len()).collect() };
            let other = |c: &usize| *c != x && *c != value && table.varies(*c) && table.is_full(*c);
            // A column that x determines would leave all but a diagonal empty.
            let free = |c: &usize| table.distinct(&[x, *c]) > table.distinct(&[x]);
            candidates.into_iter().filter(other).find(free).ok_or_else(|| missing("--y"))?
        }
    };
    let mut columns = Vec::new();
    for (column, option) in [(x, "--x"), (y, "--y")] {
        let names = names(table, column, &options.style);
        if names.len() > MOST_NAMES {
            let problem = format!("has {} values, and a heat map shows up to {MOST_NAMES}", names.len());
            let error = InputError::new(&table.file, problem).key(&table.columns[column]);
            return Err(error.help(format!("choose another column with {option}, or draw `plot sweep`")));
        }
        columns.push(names);
    }
    let [y_names, x_names] = [columns.pop().unwrap_or_default(), columns.pop().unwrap_or_default()];
    let (quantity, factor) = column_quantity(&table.columns[value]);
    let mut values: Vec<Option<f64>> = vec![None; x_names.len() * y_names.len()];
    let (mut empty, mut doubled) = (0usize, 0usize);
    for (i, row) in table.rows.iter().enumerate() {
        let place = |names: &[String], column: usize| names.iter().position(|name| *name == row[column]);
        let found = table.number(i, value, factor)?;
        let (Some(found), Some(at_x), Some(at_y)) = (found, place(&x_names, x), place(&y_names, y)) else {
            empty += 1;
            continue;
        };
        let cell = &mut values[at_y * x_names.len() + at_x];
        match cell {
            Some(_) => doubled += 1,
            None => *cell = Some(found),
        }
    }
    if values.iter().all(Option::is_none) {
        let problem = format!("has no value at any `{}` and `{}`", table.columns[x], table.columns[y]);
        return Err(InputError::new(&table.file, problem).key(&table.columns[value]));
    }
    let mut warnings = Vec::new();
    let rows = table.rows.len();
    if empty > 0 {
        warnings.push(format!("{empty} of {rows} rows lack a value and are left out"));
    }
    if doubled > 0 {
        warnings.push(format!(
            "{doubled} of {rows} rows fall on a cell that has a value, and are left out: more is varied"
        ));
    }
    let log = options.y_scaling().is_log();
    if log && values.iter().flatten().any(|v| *v <= 0.0) {
        warnings.push(format!("`{}` is not positive everywhere: shades are in proportion", table.columns[value]));
    }
    let title = |column: usize| column_quantity(&table.columns[column]).0.name;
    let called = |names: Vec<String>| names.iter().map(|name| options.style.called(name)).collect();
    let map = Heatmap { x: (title(x), called(x_names)), y: (title(y), called(y_names)), values };
    Ok(Plotted { drawing: heatmap(&map, &quantity, log, &options.style), warnings })
}

pub(super) fn plot_cdf(tables: &[Table], options: &PlotOptions) -> Result<Plotted, InputError> {
    let mut columns = Vec::new();
    for table in tables {
        let x = table.choose(options.x.as_deref(), &USUAL_Y, "--x")?;
        let by = options.by.as_deref().map(|name| table.column(name)).transpose()?;
        columns.push(Columns { x, y: x, by: By::column(by) });
    }
    let [first, ..] = columns.as_slice() else { return Err(InputError::new("plot cdf", "has no table")) };
    let mut points = points(tables, &columns, false, &options.style)?;
    let scaling = options.x_scaling();
    check_axis(&mut points, (&tables[0], first.x), scaling, |p| p.0, "leave --log-x out, or choose another --x")?;
    let mut style = options.style.clone();
    if let (By::Column(by), [table]) = (&first.by, tables) {
        style.legend_title = style.legend_title.or_else(|| table.legend_title(*by));
    }
    let drawing = cdf(&points.series, &first_quantity(tables, &columns, |c| c.x), scaling, &style);
    Ok(Plotted { drawing, warnings: points.warnings })
}
