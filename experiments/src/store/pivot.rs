//! Points as a table of two keys.

use banksia_input::InputError;
use rusqlite::types::Value;

use super::export::text;
use super::read::Points;

impl Points {
    /// A row for each value of one column, a column for each of another, and a third one's values in the cells.
    ///
    /// # Errors
    /// There is no such column, or two points stand in one cell.
    pub fn pivot(&self, row: &str, column: &str, value: &str) -> Result<Self, InputError> {
        let place = |name: &str| -> Result<usize, InputError> {
            let names = || self.columns.iter().map(|(n, _)| n.as_str());
            let ends = |n: &str| n.strip_suffix(name).is_some_and(|before| before.ends_with('.'));
            let found = names().position(|n| n == name).or_else(|| names().position(ends));
            found.ok_or_else(|| InputError::unknown_name("--pivot", "column", name, names()))
        };
        let (r, c, v) = (place(row)?, place(column)?, place(value)?);
        let distinct = |i: usize| {
            let mut all: Vec<&Value> = Vec::new();
            for row in &self.rows {
                if !all.contains(&&row[i]) {
                    all.push(&row[i]);
                }
            }
            all
        };
        let (rows, columns) = (distinct(r), distinct(c));
        let mut cells = vec![vec![Value::Null; columns.len() + 1]; rows.len()];
        for (cell, name) in cells.iter_mut().zip(&rows) {
            cell[0] = (*name).clone();
        }
        for point in &self.rows {
            let at = rows.iter().position(|x| **x == point[r]).zip(columns.iter().position(|x| **x == point[c]));
            let Some((i, j)) = at else { continue };
            if cells[i][j + 1] != Value::Null && point[v] != Value::Null {
                let problem =
                    format!("puts two points into {} = {}, {} = {}", row, text(&point[r]), column, text(&point[c]));
                return Err(InputError::new("--pivot", problem).help("choose among them with --where"));
            }
            if point[v] != Value::Null {
                cells[i][j + 1] = point[v].clone();
            }
        }
        let mut heads = vec![(self.columns[r].0.clone(), self.columns[r].1)];
        heads.extend(columns.iter().map(|x| (text(x), self.columns[v].1)));
        Ok(Self { columns: heads, rows: cells })
    }
}
