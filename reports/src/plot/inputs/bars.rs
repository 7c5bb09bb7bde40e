//! `plot bars` and `plot box`: which columns a table is drawn by, and the drawing.

use std::collections::BTreeMap;

use banksia_input::InputError;

use super::options::{PlotOptions, Plotted};
use super::quantity::column_quantity;
use super::sweeps::{USUAL_Y, usual_x};
use super::table::Table;
use crate::plot::{Bars, Baseline, Better, Quantity, Scaling, Style, bars, boxes};

/// Names of one axis that a page has room for.
const MOST_NAMES: usize = 200;

/// The different values of a column in the style's order; numbers ascending, words as they appear.
pub(super) fn names(table: &Table, column: usize, style: &Style) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for row in table.rows.iter().filter(|row| !row[column].is_empty()) {
        if seen.insert(&row[column]) {
            names.push(row[column].clone());
        }
    }
    if table.is_numeric(column) {
        let value = |name: &String| name.parse::<f64>().unwrap_or(f64::NAN);
        names.sort_by(|a, b| value(a).total_cmp(&value(b)));
    }
    names.sort_by_key(|name| style.rank(name));
    names
}

/// The one table, or an error that says how many there are.
fn one<'a>(kind: &str, tables: &'a [Table]) -> Result<&'a Table, InputError> {
    match tables {
        [table] => Ok(table),
        _ => {
            let error = InputError::new(format!("plot {kind}"), format!("is given {} tables", tables.len()));
            Err(error.help("give one: put the rows of several into one table, with a column that tells them apart"))
        }
    }
}

fn abscissa(table: &Table, y: usize, options: &PlotOptions) -> Result<usize, InputError> {
    match &options.x {
        Some(name) => table.column(name),
        None => usual_x(table, y)
            .ok_or_else(|| InputError::new(&table.file, "has no column that varies").help("choose one with --x")),
    }
}

fn few(table: &Table, column: usize, names: &[String], option: &str) -> Result<(), InputError> {
    if names.len() <= MOST_NAMES {
        return Ok(());
    }
    let problem = format!("has {} values, and there is room for up to {MOST_NAMES}", names.len());
    let error = InputError::new(&table.file, problem).key(&table.columns[column]);
    Err(error.help(format!("choose another column with {option}, or draw `plot sweep`")))
}

/// What one bar's rows come to.
#[derive(Default, Clone)]
struct Cell {
    values: Vec<f64>,
    error: Option<f64>,
}

pub(super) fn plot_bars(tables: &[Table], options: &PlotOptions) -> Result<Plotted, InputError> {
    let table = one("bars", tables)?;
    let style = &options.style;
    let parts: Vec<usize> = match options.y.as_slice() {
        [] => vec![table.choose(None, &USUAL_Y, "--y")?],
        several => several.iter().map(|name| table.column(name)).collect::<Result<_, _>>()?,
    };
    let (stacked, first) = (options.stack || parts.len() > 1, parts[0]);
    if stacked && options.errors.is_some() {
        let error = InputError::new("--errors", "are of whole bars, and these are of parts");
        return Err(error.help("leave --errors or the other --y out"));
    }
    let x = abscissa(table, first, options)?;
    let by = options.by.as_deref().map(|name| table.column(name)).transpose()?;
    let errors = options.errors.as_deref().map(|name| table.column(name)).transpose()?;
    let (categories, series) = (names(table, x, style), by.map(|by| names(table, by, style)));
    few(table, x, &categories, "--x")?;
    if let (Some(by), Some(series)) = (by, &series) {
        few(table, by, series, "--by")?;
    }
    let of = |names: &[String]| -> BTreeMap<String, usize> {
        names.iter().enumerate().map(|(i, name)| (name.clone(), i)).collect()
    };
    let (at_x, at_by) = (of(&categories), series.as_deref().map(of));
    let rows = series.as_ref().map_or(1, Vec::len);
    let mut cells = vec![Cell::default(); categories.len() * rows * parts.len()];
    let quantity = column_quantity(&table.columns[first]).0;
    let mut empty = 0usize;
    for (i, row) in table.rows.iter().enumerate() {
        let place_by = by.zip(at_by.as_ref()).map_or(Some(0), |(by, at)| at.get(&row[by]).copied());
        let Some((category, place)) = at_x.get(&row[x]).copied().zip(place_by) else {
            empty += 1;
            continue;
        };
        for (part, &column) in parts.iter().enumerate() {
            let factor = column_quantity(&table.columns[column]).1;
            let cell = &mut cells[(category * rows + place) * parts.len() + part];
            match table.number(i, column, factor)?.filter(|v| v.is_finite()) {
                Some(value) => cell.values.push(value),
                None => empty += usize::from(part == 0),
            }
            if let Some(column) = errors {
                cell.error = table.number(i, column, column_quantity(&table.columns[column]).1)?.map(f64::abs);
            }
        }
    }
    if cells.iter().all(|c| c.values.is_empty()) {
        let problem = format!("has no value at any `{}`", table.columns[x]);
        return Err(InputError::new(&table.file, problem).key(&table.columns[first]).help("choose another --y"));
    }
    let mut warnings = Vec::new();
    if empty > 0 {
        warnings.push(format!("{empty} of {} rows lack a value and are left out", table.rows.len()));
    }
    let several = cells.iter().filter(|c| c.values.len() > 1).count();
    if several > 0 {
        let ends = if stacked || errors.is_some() { "" } else { ", with whiskers from the least to the most" };
        warnings.push(format!("{several} bars are means of several rows{ends}: more is varied"));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let ends = |c: &Cell| match (c.values.as_slice(), c.error) {
        ([], _) | ([_], None) => None,
        (values, Some(error)) => Some((mean(values) - error, mean(values) + error)),
        (values, None) => {
            let fold = |f: fn(f64, f64) -> f64, from: f64| values.iter().copied().fold(from, f);
            Some((fold(f64::min, f64::INFINITY), fold(f64::max, f64::NEG_INFINITY)))
        }
    };
    let part_name = |&column: &usize| {
        let name = &table.columns[column];
        let renamed = style.called(name);
        if renamed == *name { column_quantity(name).0.name } else { renamed }
    };
    let mut drawn = Bars {
        title: column_quantity(&table.columns[x]).0.name,
        values: cells.iter().map(|c| (!c.values.is_empty()).then(|| mean(&c.values))).collect(),
        errors: if stacked { Vec::new() } else { cells.iter().map(ends).collect() },
        parts: if stacked { parts.iter().map(part_name).collect() } else { vec![String::new()] },
        categories,
        series: series.unwrap_or_else(|| vec![String::new()]),
        baseline: None,
        means: 0,
    };
    if drawn.errors.iter().all(Option::is_none) {
        drawn.errors = Vec::new();
    }
    let quantity = if stacked { Quantity::new(common(&drawn.parts, &quantity), quantity.unit) } else { quantity };
    let quantity = normalized(&mut drawn, quantity, (table, x, by, first), options, &mut warnings)?;
    let mut style = style.clone();
    if let (Some(by), false) = (by, stacked) {
        style.legend_title = style.legend_title.or_else(|| table.legend_title(by));
    }
    if options.geomean {
        let (bad, uneven) = drawn.add_geomean();
        if bad > 0 {
            warnings.push(format!("{bad} bars are not positive and so are in no geometric mean"));
        }
        if uneven {
            warnings.push("the geometric means are over different groups: some bars are missing".to_owned());
        }
    }
    let scaling = options.y_scaling();
    if scaling.is_log() && stacked {
        let error = InputError::new("--log-y", "and parts of a bar do not go together: their lengths would not add up");
        return Err(error.help("leave --log-y out, or draw one --y"));
    }
    if scaling.is_log() && !drawn.values.iter().flatten().any(|v| *v > 0.0) {
        let error = InputError::new(&table.file, "has no positive value, and a logarithmic axis shows no other");
        return Err(error.key(&table.columns[first]).help("leave --log-y out, or choose another --y"));
    }
    for name in drawn.categories.iter_mut().chain(&mut drawn.series) {
        *name = style.called(name);
    }
    Ok(Plotted { drawing: bars(&drawn, (&quantity, scaling), &style), warnings })
}

/// What the parts of a bar are all of: the word that their names begin with, else the first one's quantity without its part.
fn common(parts: &[String], quantity: &Quantity) -> String {
    let mut words: Vec<&str> = parts.first().map(|p| p.split(' ').collect()).unwrap_or_default();
    for part in parts {
        let same = words.iter().zip(part.split(' ')).take_while(|(a, b)| **a == *b).count();
        words.truncate(same);
    }
    match (words.is_empty(), quantity.unit.as_str()) {
        (false, _) => words.join(" "),
        (true, "s") => "Time".to_owned(),
        (true, "J") => "Energy".to_owned(),
        (true, "B") => "Traffic".to_owned(),
        (true, _) => "Value".to_owned(),
    }
}

/// Divides bars as the options say; returns what they then show.
fn normalized(
    drawn: &mut Bars,
    quantity: Quantity,
    (table, x, by, y): (&Table, usize, Option<usize>, usize),
    options: &PlotOptions,
    warnings: &mut Vec<String>,
) -> Result<Quantity, InputError> {
    let Some(wanted) = options.normalize.as_deref().or(options.speedup.then_some("first")) else { return Ok(quantity) };
    if wanted == "total" && options.speedup {
        let error = InputError::new("--speedup", "is over a baseline, and `--normalize total` is no other bar");
        return Err(error.help("leave --speedup out"));
    }
    let (names, column) = if let Some(by) = by { (&drawn.series, by) } else { (&drawn.categories, x) };
    let baseline = match wanted {
        "total" => Baseline::Total,
        _ => {
            let known = |name: &String| name == wanted || options.style.called(name) == wanted;
            let found = if wanted == "first" { Some(0) } else { names.iter().position(known) };
            let place = found.ok_or_else(|| {
                let known = names.iter().map(String::as_str).chain(["first", "total"]);
                let what = format!("value of `{}`", table.columns[column]);
                InputError::unknown_name("--normalize", &what, wanted, known)
            })?;
            if by.is_some() { Baseline::Series(place) } else { Baseline::Category(place) }
        }
    };
    let better = Better::of(&table.columns[y]);
    let lost = drawn.normalize(&baseline, options.speedup && better == Better::Low);
    if lost > 0 {
        warnings.push(format!("{lost} bars have no positive baseline and are left out"));
    }
    if drawn.values.iter().all(Option::is_none) {
        let problem = format!("has no positive value of `{wanted}` to divide by");
        return Err(InputError::new(&table.file, problem).key(&table.columns[y]).help("choose another --normalize"));
    }
    let name = match &baseline {
        Baseline::Total => return Ok(Quantity::new(format!("Share of {}", lower(&quantity.name)), "%")),
        Baseline::Series(place) => &drawn.series[*place],
        Baseline::Category(place) => &drawn.categories[*place],
    };
    // A number is told with what it is a number of: 8 channels.
    let what = crate::units::words(crate::compare::last_part(&table.columns[column]));
    let name = match table.is_numeric(column) && !options.style.rename.contains_key(name) {
        true => format!("{name} {what}"),
        false => options.style.called(name),
    };
    drawn.baseline = Some(name.clone());
    let speedup = match quantity.unit.as_str() {
        "s" | "cycles" | "tokens/s" => format!("Speedup over {name}"),
        "J" => format!("Energy saving over {name}"),
        _ => format!("{} over {name}", quantity.name),
    };
    let normalized = format!("{}, normalized to {name}", quantity.name);
    Ok(Quantity::new(if options.speedup { speedup } else { normalized }, ""))
}

fn lower(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

pub(super) fn plot_box(tables: &[Table], options: &PlotOptions) -> Result<Plotted, InputError> {
    let table = one("box", tables)?;
    let y = table.choose(options.y(), &USUAL_Y, "--y")?;
    let x = match (&options.x, &options.by) {
        (None, Some(by)) => table.column(by)?,
        _ => abscissa(table, y, options)?,
    };
    let categories = names(table, x, &options.style);
    few(table, x, &categories, "--x")?;
    let (quantity, factor) = column_quantity(&table.columns[y]);
    let mut drawn: Vec<(String, Vec<f64>)> = categories.iter().map(|c| (options.style.called(c), Vec::new())).collect();
    let mut empty = 0usize;
    for (i, row) in table.rows.iter().enumerate() {
        let place = categories.iter().position(|name| *name == row[x]);
        match place.zip(table.number(i, y, factor)?) {
            Some((place, value)) => drawn[place].1.push(value),
            None => empty += 1,
        }
    }
    let scaling = options.y_scaling();
    let shown = |v: &f64| v.is_finite() && (scaling == Scaling::Linear || *v > 0.0);
    let all: Vec<f64> = drawn.iter().flat_map(|d| d.1.iter().copied()).collect();
    let good = all.iter().filter(|v| shown(v)).count();
    let kind = if scaling.is_log() { "positive" } else { "finite" };
    if good == 0 {
        let error = InputError::new(&table.file, format!("has no {kind} value")).key(&table.columns[y]);
        return Err(error.help("choose another --y, or leave --log-y out"));
    }
    let mut warnings = Vec::new();
    if empty > 0 {
        warnings.push(format!("{empty} of {} rows lack a value and are left out", table.rows.len()));
    }
    if good < all.len() {
        warnings.push(format!("{} of {} values are not {kind} and are left out", all.len() - good, all.len()));
    }
    let title = column_quantity(&table.columns[x]).0.name;
    Ok(Plotted { drawing: boxes(&title, &drawn, (&quantity, scaling), &options.style), warnings })
}
