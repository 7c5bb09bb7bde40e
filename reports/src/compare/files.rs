//! A comparison as CSV and as JSON.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::ComparisonRow;
use super::columns::{BEFORE, Columns, NUMBERS};
use crate::ReportError;
use crate::csv_files;

/// The comparison as JSON: a list of rows. A row's `settings` are named as the columns of the CSV are, and numbers among them
/// are numbers; `error` is there where there is no result.
///
/// # Errors
/// The JSON writer fails.
pub fn comparison_json(rows: &[ComparisonRow]) -> Result<String, ReportError> {
    let json = |source| ReportError::Json { what: "comparison", source };
    let columns = Columns::of(rows);
    let rows: Vec<JsonRow<'_>> = rows.iter().map(|row| JsonRow { row, columns: &columns }).collect();
    Ok(serde_json::to_string_pretty(&rows).map_err(json)? + "\n")
}

/// The comparison as CSV: `name, model, machine`, a column for each key that a point sets, the numbers, an `energy_PART_j` per
/// cause of energy, a column per metric that any report has, and an `error` where a point has no result.
///
/// # Errors
/// The CSV writer fails.
pub fn comparison_csv(rows: &[ComparisonRow]) -> Result<String, ReportError> {
    let columns = Columns::of(rows);
    let with_error = rows.iter().any(|row| row.error.is_some());
    let mut header: Vec<String> = BEFORE.map(str::to_owned).to_vec();
    header.extend(columns.settings.iter().map(|(_, name)| name.clone()));
    header.extend(NUMBERS.map(str::to_owned));
    header.extend(columns.parts.iter().map(|(_, name)| name.clone()));
    header.extend(columns.metrics.iter().cloned());
    if with_error {
        header.push("error".to_owned());
    }
    let number = |v: Option<f64>| v.map_or(String::new(), csv_files::number);
    let lines = rows.iter().map(|row| {
        let mut line = vec![row.name.clone(), row.model.clone(), row.machine.clone()];
        line.extend(columns.settings.iter().map(|(key, _)| row.setting(key).unwrap_or_default().to_owned()));
        line.extend(row.numbers().map(number));
        line.extend(columns.parts.iter().map(|(part, _)| number(row.energy_parts_j.get(part).copied())));
        line.extend(columns.metrics.iter().map(|m| number(row.metrics.get(m).copied())));
        if with_error {
            line.push(row.error.clone().unwrap_or_default());
        }
        line
    });
    csv_files::render("comparison", &header, lines)
}

struct JsonRow<'a> {
    row: &'a ComparisonRow,
    columns: &'a Columns,
}

impl Serialize for JsonRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = self.row;
        let mut map = serializer.serialize_map(None)?;
        for (name, text) in BEFORE.iter().zip([&row.name, &row.model, &row.machine]) {
            map.serialize_entry(name, text)?;
        }
        map.serialize_entry("settings", &Settings(self))?;
        for (name, value) in NUMBERS.iter().zip(row.numbers()) {
            map.serialize_entry(name, &value)?;
        }
        map.serialize_entry("energy_parts_j", &row.energy_parts_j)?;
        map.serialize_entry("metrics", &row.metrics)?;
        if let Some(error) = &row.error {
            map.serialize_entry("error", error)?;
        }
        map.end()
    }
}

/// What a row sets, in the order of the columns.
struct Settings<'a>(&'a JsonRow<'a>);

impl Serialize for Settings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let JsonRow { row, columns } = self.0;
        let set = columns.settings.iter().filter_map(|(key, name)| Some((name, plain(row.setting(key)?))));
        serializer.collect_map(set)
    }
}

/// A setting's text as JSON: a number or a truth value where it is one.
fn plain(text: &str) -> serde_json::Value {
    let digits = text.strip_prefix('-').unwrap_or(text);
    // `inf` and `nan` read as numbers too, and JSON has neither.
    let looks = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if let (true, Ok(whole)) = (looks, text.parse::<i64>()) {
        return whole.into();
    }
    match text.parse::<f64>() {
        Ok(number) if looks && number.is_finite() => number.into(),
        _ => match text {
            "true" => true.into(),
            "false" => false.into(),
            _ => text.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn numbers_are_numbers() {
        for (text, json) in [
            ("8", "8"),
            ("-3", "-3"),
            ("1.5", "1.5"),
            ("1e3", "1000.0"),
            ("true", "true"),
            ("h200", "\"h200\""),
            ("inf", "\"inf\""),
            ("nan", "\"nan\""),
            ("-", "\"-\""),
            ("", "\"\""),
            ("1e999", "\"1e999\""),
            ("9223372036854775807", "9223372036854775807"),
        ] {
            assert_eq!(plain(text).to_string(), json, "{text}");
        }
    }
}
