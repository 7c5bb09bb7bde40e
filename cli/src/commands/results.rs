//! `banksia results`.

use std::path::Path;

use banksia_experiments::store::{Difference, Points, Query, Store, text};
use banksia_input::InputError;
use banksia_reports::units::count;
use banksia_reports::{Cell, records_json, records_table};

use crate::CliError;
use crate::args::{Format, ResultsArgs};
use crate::output::{color, note, print, width};

pub(super) fn execute(args: &ResultsArgs) -> Result<(), CliError> {
    if !args.merge.is_empty() {
        let store = Store::open(&args.store)?;
        for other in &args.merge {
            let rows = store.merge(other)?;
            note(&format!("{} points of {}", count(rows), other.display()));
        }
        return Ok(());
    }
    let store = Store::open_existing(&args.store)?;
    if args.builds {
        return builds(&store, args.format);
    }
    let query = Query {
        conditions: args.conditions.clone(),
        sort: args.sort.clone(),
        build: args.build.clone(),
        provenance: args.provenance,
        columns: args.columns.clone(),
    };
    if let Some(other) = &args.diff {
        return diff(&store, &query, other, args.format);
    }
    // A large table goes to its file row by row.
    if let (Some(path), None, []) = (&args.export, &args.pareto, args.pivot.as_slice())
        && !is_parquet(path)
    {
        check_export(path)?;
        let rows = store.export_csv(&query, path)?;
        note(&format!("{} points in {}", count(rows), path.display()));
        return Ok(());
    }
    let mut points = store.points(&query)?;
    if let Some(objectives) = &args.pareto {
        let named: Vec<String> = objectives.iter().filter(|o| !o.is_empty()).cloned().collect();
        let own = || store.sweeps().map(|all| all.into_iter().flat_map(|s| s.objectives).collect());
        let objectives = if named.is_empty() { own()? } else { named };
        points.keep_front(&objectives)?;
    }
    if !args.pivot.is_empty() {
        let [rows, columns, value] = args.pivot.as_slice() else {
            let error = InputError::new("--pivot", format!("names {} columns", args.pivot.len()));
            return Err(error.help("name three: --pivot ROWS,COLUMNS,VALUE").into());
        };
        points = points.pivot(rows, columns, value)?;
    }
    if let Some(path) = &args.export {
        match is_parquet(path) {
            true => write_parquet(&points, path)?,
            false => {
                check_export(path)?;
                points.write_csv(path)?;
            }
        }
        note(&format!("{} rows in {}", count(points.rows.len() as u64), path.display()));
        return Ok(());
    }
    show(&points, args.format)
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "parquet")
}

#[cfg(feature = "parquet")]
fn write_parquet(points: &Points, path: &Path) -> Result<(), CliError> {
    points.write_parquet(path)
}

#[cfg(not(feature = "parquet"))]
fn write_parquet(_: &Points, path: &Path) -> Result<(), CliError> {
    let error =
        InputError::new("--export", format!("`{}` is Parquet, which this program was built without", path.display()));
    Err(error.help("build it with `--features parquet`, or export .csv").into())
}

fn check_export(path: &Path) -> Result<(), InputError> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("csv") => Ok(()),
        _ => {
            let error = InputError::new("--export", format!("`{}` does not end in .csv or .parquet", path.display()));
            Err(error.help("name a file like points.csv"))
        }
    }
}

/// Points as a table or JSON.
pub(super) fn show(points: &Points, format: Format) -> Result<(), CliError> {
    use rusqlite_value::cell;
    let columns: Vec<String> = points.columns.iter().map(|(name, _)| name.clone()).collect();
    let rows: Vec<Vec<Cell>> = points.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    match format {
        Format::Table => {
            // What is the same in all rows is said once.
            let same = |i: usize| rows.len() > 1 && rows.iter().all(|r| r[i] == rows[0][i]);
            let said = |i: usize| {
                matches!(columns[i].as_str(), "name" | "experiment" | "model" | "machine") || columns[i].contains('.')
            };
            let hidden: Vec<usize> = (0..columns.len()).filter(|&i| said(i) && same(i)).collect();
            let shown = |list: &[Cell]| -> Vec<Cell> {
                list.iter().enumerate().filter(|(i, _)| !hidden.contains(i)).map(|(_, c)| c.clone()).collect()
            };
            let mut head = String::new();
            for &i in &hidden {
                if rows[0][i] != Cell::Empty {
                    head.push_str(&format!("{} = {}\n", columns[i], text(&points.rows[0][i])));
                }
            }
            let names: Vec<String> =
                columns.iter().enumerate().filter(|(i, _)| !hidden.contains(i)).map(|(_, n)| n.clone()).collect();
            let rows: Vec<Vec<Cell>> = rows.iter().map(|r| shown(r)).collect();
            let table = records_table(&names, &rows, width(), color());
            print(&format!("{head}{table}{} points\n", count(rows.len() as u64)))
        }
        Format::Json => print(&records_json(&columns, &rows)?),
    }
}

/// Values of the store as cells of a table.
mod rusqlite_value {
    use banksia_experiments::store::Value;
    use banksia_reports::Cell;

    pub(super) fn cell(value: &Value) -> Cell {
        match value {
            Value::Null | Value::Blob(_) => Cell::Empty,
            Value::Integer(i) => Cell::Whole(*i),
            Value::Real(x) => Cell::Number(*x),
            Value::Text(text) => Cell::Text(text.clone()),
        }
    }
}

fn builds(store: &Store, format: Format) -> Result<(), CliError> {
    let builds = store.builds()?;
    let columns = ["commit", "points", "last", "build"].map(str::to_owned);
    let rows: Vec<Vec<Cell>> = builds
        .into_iter()
        .map(|b| {
            vec![
                Cell::Text(b.revision),
                Cell::Whole(i64::try_from(b.points).unwrap_or(i64::MAX)),
                Cell::Text(b.last),
                Cell::Text(b.build),
            ]
        })
        .collect();
    print(&match format {
        Format::Table => records_table(&columns, &rows, width(), color()),
        Format::Json => records_json(&columns, &rows)?,
    })
}

fn diff(store: &Store, query: &Query, other: &str, format: Format) -> Result<(), CliError> {
    let path = Path::new(other);
    let of_other = Query { build: None, ..query.clone() };
    let differences = match path.is_file() {
        true => store.differences(query, &Store::open_existing(path)?, &of_other)?,
        false => store.differences(query, store, &Query { build: Some(other.to_owned()), ..query.clone() })?,
    };
    let number = |v: Option<f64>| v.map_or(Cell::Empty, Cell::Number);
    let change = |d: &Difference| match (d.before, d.after) {
        (Some(b), Some(a)) if b != 0.0 => Cell::Number(100.0 * (a / b - 1.0)),
        _ => Cell::Empty,
    };
    let columns = ["point", "figure", "this", "other", "change of other, %"].map(str::to_owned);
    let row = |d: &Difference| {
        vec![Cell::Text(d.name.clone()), Cell::Text(d.column.clone()), number(d.before), number(d.after), change(d)]
    };
    let rows: Vec<Vec<Cell>> = differences.iter().map(row).collect();
    match format {
        Format::Json => print(&records_json(&columns, &rows)?),
        Format::Table if rows.is_empty() => print("no figure differs\n"),
        Format::Table => print(&records_table(&columns, &rows, width(), color())),
    }
}
