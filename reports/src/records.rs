//! A table of records of any columns: what a store holds.

use crate::grid::{Align, Grid, Keep, clean};
use crate::units::{metric, number};

/// A record's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// None.
    Empty,
    /// A number; its unit is in the column's name.
    Number(f64),
    /// A whole number.
    Whole(i64),
    /// A text.
    Text(String),
}

/// Records for a terminal of `width` columns: where it is too narrow, columns go from the right, and then texts are cut. Nothing is dropped
/// or cut where `width` is none. `error` takes the place of what a record does not have.
pub fn records_table(columns: &[String], rows: &[Vec<Cell>], width: Option<usize>, color: bool) -> String {
    let error = columns.iter().position(|c| c == "error");
    let shown: Vec<usize> = (0..columns.len()).filter(|i| Some(*i) != error).collect();
    let is_number = |i: usize| !rows.iter().any(|r| matches!(r[i], Cell::Text(_)));
    // The first columns say which record it is; of the others the last go first.
    let keep = |i: usize| match (i, is_number(i)) {
        (0..=1, false) => Keep::Cut,
        (0..=1, true) => Keep::Always,
        _ => Keep::Drop(u8::try_from(columns.len() - i).unwrap_or(u8::MAX).max(1)),
    };
    // Drop takes the lowest first: those at the right.
    let align = |i: usize| if is_number(i) { Align::Right } else { Align::Left };
    let mut grid = Grid::of(shown.iter().map(|&i| (clean(&columns[i]), align(i), keep(i))));
    for row in rows {
        let cells = shown.iter().map(|&i| cell(&columns[i], &row[i]));
        match error.map(|e| &row[e]) {
            Some(Cell::Text(problem)) => {
                let filled = shown.iter().rposition(|&i| row[i] != Cell::Empty).map_or(1, |i| i + 1);
                grid.row_with_rest(cells.take(filled), clean(problem));
            }
            _ => grid.row(cells),
        }
    }
    width.map_or(grid.clone(), |width| grid.fit(width)).text(color)
}

fn cell(column: &str, value: &Cell) -> String {
    match value {
        Cell::Empty => "–".to_owned(),
        Cell::Whole(i) => i.to_string(),
        Cell::Text(text) => clean(text),
        Cell::Number(x) => {
            // Keys keep the number that was written; figures have a unit.
            if column.contains('.') { number_as_written(*x) } else { metric(column, *x).1 }
        }
    }
}

fn number_as_written(x: f64) -> String {
    let plain = x.to_string();
    if plain.len() <= 8 { plain } else { number(x) }
}

/// Records as a JSON list of objects.
///
/// # Errors
/// The JSON writer fails.
pub fn records_json(columns: &[String], rows: &[Vec<Cell>]) -> Result<String, crate::ReportError> {
    let value = |cell: &Cell| match cell {
        Cell::Empty => serde_json::Value::Null,
        Cell::Number(x) => serde_json::Number::from_f64(*x).map_or(serde_json::Value::Null, serde_json::Value::Number),
        Cell::Whole(i) => (*i).into(),
        Cell::Text(text) => text.clone().into(),
    };
    let record = |row: &Vec<Cell>| -> serde_json::Map<String, serde_json::Value> {
        let present = columns.iter().zip(row).filter(|(_, cell)| **cell != Cell::Empty);
        present.map(|(name, cell)| (name.clone(), value(cell))).collect()
    };
    let all: Vec<_> = rows.iter().map(record).collect();
    let json = |source| crate::ReportError::Json { what: "records", source };
    Ok(serde_json::to_string_pretty(&all).map_err(json)? + "\n")
}
