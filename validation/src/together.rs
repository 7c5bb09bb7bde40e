//! Suites whose rows are predicted together: what several rows share is run once, and some quantities are of several rows.

use std::path::Path;

use banksia_experiments::Error;
use banksia_input::{InputError, Source};

use crate::rows::{Row, columns, parse};
use crate::value::Value;
use crate::{cent, h2llm, plans};

/// Told of the rows done, and of the rows there are.
type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// The values of a file's rows.
type Predict = fn(&[Row], &str, Progress<'_>) -> Result<Vec<Value>, InputError>;

/// A suite.
pub(crate) struct Together {
    name: &'static str,
    /// The machine that its rows are about.
    pub(crate) device: &'static str,
    rows: &'static str,
    /// Columns of files that it takes beside its own.
    also: &'static str,
    /// Of rows of a file.
    values: Predict,
}

const SUITES: [Together; 5] = [
    Together {
        name: cent::SUITES[0].0,
        device: "cent",
        rows: cent::ROWS,
        also: cent::PHASE_COLUMNS,
        values: |rows, file, progress| cent::values(rows, file, cent::SUITES[0].1, progress),
    },
    Together {
        name: cent::SUITES[1].0,
        device: "cent",
        rows: cent::ROWS,
        also: cent::PHASE_COLUMNS,
        values: |rows, file, progress| cent::values(rows, file, cent::SUITES[1].1, progress),
    },
    Together {
        name: h2llm::SUITES[0].0,
        device: "h2-llm",
        rows: h2llm::ROWS,
        also: "",
        values: |rows, _, progress| Ok(h2llm::values(rows, h2llm::SUITES[0].1, progress)),
    },
    Together {
        name: h2llm::SUITES[1].0,
        device: "h2-llm",
        rows: h2llm::ROWS,
        also: "",
        values: |rows, _, progress| Ok(h2llm::values(rows, h2llm::SUITES[1].1, progress)),
    },
    Together {
        name: plans::SUITE,
        device: "h200",
        rows: plans::ROWS,
        also: "",
        values: |rows, _, progress| Ok(plans::values(rows, progress)),
    },
];

/// The suites of this kind.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SUITES.iter().map(|s| s.name)
}

/// That of a name.
pub(crate) fn suite(name: &str) -> Option<&'static Together> {
    SUITES.iter().find(|s| s.name == name)
}

impl Together {
    /// The values of its rows, or of a file's in their place.
    pub(crate) fn run(&self, measured: Option<&Path>, progress: Progress<'_>) -> Result<Vec<Value>, Error> {
        let (from, text) = match measured {
            Some(path) => (path.display().to_string(), Source::read(path)?.text().to_owned()),
            None => (self.name.to_owned(), self.rows.to_owned()),
        };
        let rows = parse(&from, &text)?;
        let help = || {
            let or = if self.also.is_empty() { String::new() } else { format!("; or {}", self.also) };
            format!("its columns are {}{or}", columns(self.rows))
        };
        if rows.is_empty() {
            return Err(InputError::new(from, "has no rows").help(help()).into());
        }
        let values = (self.values)(&rows, &from, progress)?;
        if measured.is_some() && !values.iter().any(Value::is_usable) {
            let reason = values.iter().find_map(|v| v.predicted.as_ref().err().cloned());
            let reason = reason.unwrap_or_else(|| "no measured value is above zero".into());
            let problem = format!("has no row that suite `{}` can compare: {reason}", self.name);
            return Err(InputError::new(from, problem).help(help()).into());
        }
        Ok(values)
    }
}
