//! A CSV file as named columns of text.

use std::path::Path;

use banksia_input::InputError;

use super::quantity::column_quantity;
use crate::compare::last_part;
use crate::files::read_text;

/// Units that keys end in, as they are written behind a value.
const UNITS: [(&str, &str); 9] = [
    ("_mhz", "MHz"),
    ("_ghz", "GHz"),
    ("_gbps", "Gb/s"),
    ("_us", "µs"),
    ("_ns", "ns"),
    ("_s", "s"),
    ("_w", "W"),
    ("_v", "V"),
    ("_bytes", "B"),
];

/// A CSV file: named columns of text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The file, for errors.
    pub file: String,
    /// Column names.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<String>>,
    /// Each row's number in the file, from 1, for errors.
    pub numbers: Vec<usize>,
}

impl Table {
    /// Reads a CSV file with a header.
    ///
    /// # Errors
    /// The file is missing or too large, or a row has another number of fields than the header.
    pub fn read(path: &Path) -> Result<Self, InputError> {
        Self::parse(&path.display().to_string(), &read_text(path)?)
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
        let mut rows: Vec<Vec<String>> = Vec::new();
        for record in reader.records() {
            rows.push(record.map_err(|e| fail(&e))?.iter().map(str::to_owned).collect());
        }
        let numbers = (1..=rows.len()).collect();
        Ok(Self { file: file.to_owned(), columns, rows, numbers })
    }

    /// The columns that say what was set in each point, where this is a sweep's `comparison.csv`: those between the machine and
    /// the latency.
    pub(super) fn settings(&self) -> Option<std::ops::Range<usize>> {
        let begins = ["name", "model", "machine"].iter().zip(&self.columns).all(|(a, b)| a == b);
        let end = self.columns.iter().position(|c| c == "latency_s").filter(|&end| begins && end >= 3)?;
        Some(3..end)
    }

    /// Leaves out the points of a sweep that have no result, and says how many they were.
    pub(super) fn drop_failed(&mut self) -> usize {
        let Some(error) = self.settings().and_then(|_| self.columns.iter().position(|c| c == "error")) else {
            return 0;
        };
        let before = self.rows.len();
        let kept: Vec<bool> = self.rows.iter().map(|row| row[error].is_empty()).collect();
        let mut keep = kept.iter().copied();
        self.rows.retain(|_| keep.next().unwrap_or(true));
        let mut keep = kept.iter().copied();
        self.numbers.retain(|_| keep.next().unwrap_or(true));
        before - self.rows.len()
    }

    /// The column of a name: its own; else the one that has the last part of a key's path, or whose path ends in the name.
    pub(super) fn column(&self, name: &str) -> Result<usize, InputError> {
        let find = |wanted: &str| self.columns.iter().position(|column| column == wanted);
        if let Some(found) = find(name) {
            return Ok(found);
        }
        if last_part(name) != name
            && let Some(found) = find(last_part(name))
        {
            return Ok(found);
        }
        let ends: Vec<usize> = (0..self.columns.len()).filter(|&c| last_part(&self.columns[c]) == name).collect();
        match ends.as_slice() {
            [one] => Ok(*one),
            [] => Err(InputError::unknown_name(&self.file, "column", name, self.columns.iter().map(String::as_str))),
            several => {
                let names: Vec<&str> = several.iter().map(|&c| self.columns[c].as_str()).collect();
                let problem = format!("has {} columns that end in `{name}`", several.len());
                Err(InputError::new(&self.file, problem).help(format!("name one whole: `{}`", names.join("`, `"))))
            }
        }
    }

    /// The wanted column, else the first of the usual names that exists and has a number.
    pub(super) fn choose(&self, wanted: Option<&str>, usual: &[&str], option: &str) -> Result<usize, InputError> {
        if let Some(name) = wanted {
            return self.column(name);
        }
        let known: Vec<usize> =
            usual.iter().filter_map(|name| self.columns.iter().position(|column| column == name)).collect();
        let full = known.iter().find(|&&c| self.rows.iter().any(|row| !row[c].is_empty()));
        full.or(known.first()).copied().ok_or_else(|| {
            let (usual, columns) = (usual.join("`, `"), self.columns.join("`, `"));
            InputError::new(&self.file, format!("has no column `{usual}`"))
                .help(format!("choose one with {option}: `{columns}`"))
        })
    }

    /// A cell in base units; an empty one is none.
    pub(super) fn number(&self, row: usize, column: usize, factor: f64) -> Result<Option<f64>, InputError> {
        let text = &self.rows[row][column];
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<f64>() {
            Ok(value) => Ok(Some(value * factor)),
            Err(_) => Err(InputError::new(&self.file, format!("row {} has `{text}`", self.numbers[row]))
                .key(&self.columns[column])
                .help("give a number, or leave the cell empty")),
        }
    }

    /// Cells of a column that are not empty, and those of them that are no numbers.
    pub(super) fn words(&self, column: usize) -> (usize, usize) {
        let cells = || self.rows.iter().map(|row| &row[column]).filter(|cell| !cell.is_empty());
        (cells().count(), cells().filter(|cell| cell.parse::<f64>().is_err()).count())
    }

    pub(super) fn is_numeric(&self, column: usize) -> bool {
        let (cells, words) = self.words(column);
        cells > 0 && words == 0
    }

    /// What a legend's entries are of, where they are bare numbers of a column.
    pub(super) fn legend_title(&self, by: usize) -> Option<String> {
        self.is_numeric(by).then(|| column_quantity(&self.columns[by]).0.name)
    }

    pub(super) fn varies(&self, column: usize) -> bool {
        self.rows.iter().any(|row| row[column] != self.rows[0][column])
    }

    pub(super) fn is_full(&self, column: usize) -> bool {
        self.rows.iter().all(|row| !row[column].is_empty())
    }

    /// How many different rows there are, seen through some columns alone.
    pub(super) fn distinct(&self, columns: &[usize]) -> usize {
        let seen: std::collections::BTreeSet<Vec<&str>> =
            self.rows.iter().map(|row| columns.iter().map(|&c| row[c].as_str()).collect()).collect();
        seen.len()
    }

    /// The row's values in some columns as a name: a value that is a number stands behind what it is a number of.
    pub(super) fn name(&self, row: usize, columns: &[usize]) -> String {
        let part = |&column: &usize| {
            let value = &self.rows[row][column];
            if !self.is_numeric(column) {
                return value.clone();
            }
            let key = last_part(&self.columns[column]);
            let in_unit = UNITS.iter().find_map(|(end, unit)| Some((key.strip_suffix(end)?, unit)));
            match in_unit.filter(|(stem, _)| !stem.is_empty()) {
                Some((stem, unit)) => format!("{} {value} {unit}", crate::units::words(stem)),
                None => format!("{} {value}", crate::units::words(key)),
            }
        };
        columns.iter().map(part).collect::<Vec<_>>().join(", ")
    }
}
