//! `plot crossover`: which columns a table is drawn by, and the drawing.

use banksia_input::InputError;

use super::bars::names;
use super::options::{PlotOptions, Plotted};
use super::quantity::column_quantity;
use super::sweeps::{USUAL_Y, usual_x};
use super::table::Table;
use crate::plot::{Better, Crossover, crossover};

/// Names of one axis, or ways, that are still told apart.
const MOST_NAMES: usize = 64;

pub(super) fn plot_crossover(tables: &[Table], options: &PlotOptions) -> Result<Plotted, InputError> {
    let [table] = tables else {
        let error = InputError::new("plot crossover", format!("is given {} tables", tables.len()));
        return Err(error.help("give one, with a column that tells the ways apart"));
    };
    let value = table.choose(options.value.as_deref(), &USUAL_Y, "--z")?;
    let missing = |option: &str| {
        InputError::new(&table.file, "has no three columns that vary").help(format!("choose a column with {option}"))
    };
    let x = match &options.x {
        Some(name) => table.column(name)?,
        None => usual_x(table, value).ok_or_else(|| missing("--x"))?,
    };
    let candidates: Vec<usize> = table.settings().map_or_else(|| (0..table.columns.len()).collect(), Iterator::collect);
    let other = |taken: &[usize]| {
        let free = |c: &usize| !taken.contains(c) && table.varies(*c) && table.is_full(*c);
        candidates.iter().copied().find(free)
    };
    let y = match options.y() {
        Some(name) => table.column(name)?,
        None => other(&[x, value]).ok_or_else(|| missing("--y"))?,
    };
    let by = match &options.by {
        Some(name) => table.column(name)?,
        None => other(&[x, y, value]).ok_or_else(|| missing("--by"))?,
    };
    let mut columns = Vec::new();
    for (column, option) in [(x, "--x"), (y, "--y"), (by, "--by")] {
        let names = names(table, column, &options.style);
        if names.len() > MOST_NAMES {
            let problem = format!("has {} values, and a crossover map shows up to {MOST_NAMES}", names.len());
            let error = InputError::new(&table.file, problem).key(&table.columns[column]);
            return Err(error.help(format!("choose another column with {option}")));
        }
        columns.push(names);
    }
    let [ways, y_names, x_names] =
        [columns.pop().unwrap_or_default(), columns.pop().unwrap_or_default(), columns.pop().unwrap_or_default()];
    let (quantity, factor) = column_quantity(&table.columns[value]);
    let mut values: Vec<Vec<Option<f64>>> = vec![vec![None; x_names.len() * y_names.len()]; ways.len()];
    let (mut empty, mut doubled) = (0usize, 0usize);
    for (i, row) in table.rows.iter().enumerate() {
        let place = |names: &[String], column: usize| names.iter().position(|name| *name == row[column]);
        let found = table.number(i, value, factor)?;
        let places = (place(&ways, by), place(&x_names, x), place(&y_names, y));
        let (Some(found), (Some(way), Some(at_x), Some(at_y))) = (found, places) else {
            empty += 1;
            continue;
        };
        let cell = &mut values[way][at_y * x_names.len() + at_x];
        match cell {
            Some(_) => doubled += 1,
            None => *cell = Some(found),
        }
    }
    if values.iter().flatten().all(Option::is_none) {
        let problem = format!("has no value at any `{}` and `{}`", table.columns[x], table.columns[y]);
        return Err(InputError::new(&table.file, problem).key(&table.columns[value]));
    }
    let mut warnings = Vec::new();
    let rows = table.rows.len();
    if empty > 0 {
        warnings.push(format!("{empty} of {rows} rows lack a value and are left out"));
    }
    if doubled > 0 {
        let what = "fall on a cell of a way that has a value, and are left out: more is varied";
        warnings.push(format!("{doubled} of {rows} rows {what}"));
    }
    let over = match options.normalize.as_deref() {
        None => None,
        Some("first") => Some(0),
        Some(name) => {
            Some(ways.iter().position(|w| w == name || options.style.called(w) == name).ok_or_else(|| {
                InputError::unknown_name(&table.file, "way", name, ways.iter().map(String::as_str)).key("--normalize")
            })?)
        }
    };
    let title = |column: usize| column_quantity(&table.columns[column]).0.name;
    let called = |names: Vec<String>| names.iter().map(|name| options.style.called(name)).collect::<Vec<_>>();
    let map = Crossover {
        x: (title(x), called(x_names)),
        y: (title(y), called(y_names)),
        ways: called(ways).into_iter().zip(values).collect(),
        larger_is_better: Better::of(&table.columns[value]) == Better::High,
        over,
    };
    Ok(Plotted { drawing: crossover(&map, &quantity, &options.style), warnings })
}
