//! Reading a store: which points, in which order, which columns of them.

use std::collections::BTreeMap;
use std::io::Read;

use banksia_input::InputError;
use banksia_reports::RunReport;
use rusqlite::types::{Value, ValueRef};

use super::baseline::{Baselines, RATIOS};
use super::columns::{self, Column, ColumnKind, FIGURES};
use super::{Store, quoted};
use crate::error::Error;

/// Which points.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Conditions in SQL; columns may be written as they are, dots and all.
    pub conditions: Vec<String>,
    /// The column to sort by, `-` before it from the largest down.
    pub sort: Option<String>,
    /// The build; the last one that wrote where absent.
    pub build: Option<String>,
    /// Columns of what made a point too: build, revision, host, time, hash.
    pub provenance: bool,
    /// Only these columns.
    pub columns: Vec<String>,
}

/// A table of points: columns, and a row each.
#[derive(Debug, Clone, Default)]
pub struct Points {
    /// The columns, with the kind of those that the points brought.
    pub columns: Vec<(String, Option<ColumnKind>)>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

/// A point whose figures differ between two builds.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The point.
    pub name: String,
    /// The figure.
    pub column: String,
    /// Its value in the first.
    pub before: Option<f64>,
    /// Its value in the second.
    pub after: Option<f64>,
}

/// A build that wrote into a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Version and hash of the executable.
    pub build: String,
    /// Its commit.
    pub revision: String,
    /// Its points.
    pub points: u64,
    /// When the last of them was finished.
    pub last: String,
}

/// The columns of what made a point.
const PROVENANCE: [&str; 7] = ["configuration_sha256", "build", "revision", "run_seed", "host", "finished", "wall_s"];

impl Store {
    /// The builds that wrote, the last first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn builds(&self) -> Result<Vec<Build>, Error> {
        let sql = "SELECT build, revision, count(*), max(finished) FROM points GROUP BY build ORDER BY max(finished) DESC, max(id) DESC";
        let read = || -> rusqlite::Result<Vec<Build>> {
            let mut statement = self.connection.prepare(sql)?;
            let rows = statement.query_map([], |r| {
                let points: i64 = r.get(2)?;
                Ok(Build { build: r.get(0)?, revision: r.get(1)?, points: points.unsigned_abs(), last: r.get(3)? })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.failed(&e))
    }

    /// The columns that points brought: keys in the order of the sweeps, figures, causes of energy, metrics.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn columns(&self) -> Result<Vec<Column>, Error> {
        let read = || -> rusqlite::Result<(BTreeMap<String, String>, Vec<String>)> {
            let mut statement = self.connection.prepare("SELECT name, kind FROM columns")?;
            let kinds = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
            let mut statement = self.connection.prepare("SELECT keys FROM sweeps ORDER BY id")?;
            let keys = statement.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
            Ok((kinds, keys.iter().flat_map(|k| serde_json::from_str::<Vec<String>>(k).unwrap_or_default()).collect()))
        };
        let (kinds, keys) = read().map_err(|e| self.failed(&e))?;
        let kind = |name: &str| {
            let word = kinds.get(name)?;
            ColumnKind::ALL.into_iter().find(|k| k.word() == word)
        };
        let mut order: Vec<String> = Vec::new();
        let known = keys.iter().map(|key| columns::setting(key)).chain(FIGURES.iter().map(|f| (*f).to_owned()));
        for name in known.chain(kinds.keys().cloned()) {
            if !order.contains(&name) {
                order.push(name);
            }
        }
        let mut all: Vec<Column> =
            order.into_iter().filter_map(|name| Some(Column { kind: kind(&name)?, name })).collect();
        all.sort_by_key(|c| c.kind);
        Ok(all)
    }

    /// The names of the columns of a query, in order.
    pub(super) fn selected(&self, query: &Query) -> Result<Vec<(String, Option<ColumnKind>)>, Error> {
        let brought = self.columns()?;
        let plain = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), None)).collect::<Vec<_>>();
        let mut all = plain(&["name", "experiment", "model", "machine"]);
        all.extend(brought.iter().map(|c| (c.name.clone(), Some(c.kind))));
        if self.sweeps()?.iter().any(|s| !s.baseline.is_empty()) {
            let after =
                all.iter().rposition(|(_, kind)| *kind == Some(ColumnKind::Figure)).map_or(all.len(), |i| i + 1);
            all.splice(after..after, RATIOS.iter().map(|n| ((*n).to_owned(), Some(ColumnKind::Figure))));
        }
        if query.provenance {
            all.extend(plain(&PROVENANCE));
        }
        all.extend(plain(&["error"]));
        if query.columns.is_empty() {
            return Ok(all);
        }
        let mut offered = all;
        offered.extend(plain(&PROVENANCE));
        let pick = |name: &String| {
            let found = offered.iter().find(|(n, _)| n == name).or_else(|| by_last_part(&offered, name));
            let names = offered.iter().map(|(n, _)| n.as_str());
            found.cloned().ok_or_else(|| InputError::unknown_name("--columns", "column", name, names).into())
        };
        query.columns.iter().map(pick).collect()
    }

    /// The SQL of a query: its columns, its points, its order.
    pub(super) fn sql(
        &self,
        query: &Query,
        selected: &[(String, Option<ColumnKind>)],
    ) -> Result<(String, String), Error> {
        let build = match &query.build {
            Some(build) => self.build_of(build)?,
            None => self.builds()?.into_iter().next().map(|b| b.build).unwrap_or_default(),
        };
        let every = Query { provenance: true, ..Query::default() };
        let offered = self.selected(&every)?;
        // What is worked out from other rows has no column of its own.
        let column = |name: &str| if RATIOS.contains(&name) { "NULL".to_owned() } else { quoted(name) };
        let list: Vec<String> = selected.iter().map(|(name, _)| column(name)).collect();
        // Of an edited sweep only what it has now: places beyond its points are of an earlier file.
        let mut sql = format!(
            "SELECT {}, {} FROM points WHERE build = ?1 AND ordinal < (SELECT points FROM sweeps WHERE id = sweep)",
            list.join(", "),
            Baselines::COLUMNS,
        );
        for condition in &query.conditions {
            sql.push_str(&format!(" AND ({})", with_quotes(condition, &offered)));
        }
        let order = match &query.sort {
            Some(sort) => {
                let (name, down) = sort.strip_prefix('-').map_or((sort.as_str(), ""), |name| (name, " DESC"));
                let found = offered.iter().find(|(n, _)| n == name).or_else(|| by_last_part(&offered, name));
                let names = offered.iter().map(|(n, _)| n.as_str());
                let (name, _) = found.ok_or_else(|| InputError::unknown_name("--sort", "column", name, names))?;
                format!("{0} IS NULL, {0}{down}, ", quoted(name))
            }
            None => String::new(),
        };
        sql.push_str(&format!(" ORDER BY {order}sweep, ordinal, key"));
        Ok((sql, build))
    }

    /// A build by its beginning, or by its commit's.
    fn build_of(&self, wanted: &str) -> Result<String, Error> {
        let builds = self.builds()?;
        let hash = |b: &Build| b.build.rsplit(' ').next().unwrap_or_default().to_owned();
        let is = |b: &&Build| b.build == wanted || b.revision.starts_with(wanted) || hash(b).starts_with(wanted);
        let found: Vec<&Build> = builds.iter().filter(is).collect();
        match found.as_slice() {
            [one] => Ok(one.build.clone()),
            _ => {
                let known: Vec<String> = builds.iter().map(|b| format!("{} ({})", b.revision, b.build)).collect();
                let problem = format!("is `{wanted}`, which {} builds of this store begin with", found.len());
                Err(InputError::new("--build", problem).help(format!("one of: {}", known.join("; "))).into())
            }
        }
    }

    /// Calls `each` with every row of a query; the columns come back.
    ///
    /// # Errors
    /// A condition or a column is wrong, the store cannot be read, or `each` fails.
    pub fn each(
        &self,
        query: &Query,
        mut each: impl FnMut(&[(String, Option<ColumnKind>)], Vec<Value>) -> Result<(), Error>,
    ) -> Result<Vec<(String, Option<ColumnKind>)>, Error> {
        let selected = self.selected(query)?;
        let (sql, build) = self.sql(query, &selected)?;
        let baselines = Baselines::of(self, &build)?;
        let wrong = |e: rusqlite::Error| self.wrong(&e, query);
        let mut statement = self.connection.prepare(&sql).map_err(wrong)?;
        if !statement.readonly() {
            return Err(InputError::new("--where", "changes the store").help("write a condition").into());
        }
        let mut rows = statement.query([build]).map_err(wrong)?;
        while let Some(row) = rows.next().map_err(wrong)? {
            let value = |i: usize| row.get_ref(i).map(owned).map_err(wrong);
            let mut values: Vec<Value> = (0..selected.len()).map(value).collect::<Result<_, _>>()?;
            if let Some(ratios) = baselines.ratios(row, selected.len()).map_err(wrong)? {
                for ((name, _), value) in selected.iter().zip(&mut values) {
                    if let Some(i) = RATIOS.iter().position(|r| r == name) {
                        *value = Value::Real(ratios[i]);
                    }
                }
            }
            each(&selected, values)?;
        }
        Ok(selected)
    }

    /// The points of a query.
    ///
    /// # Errors
    /// As [`Store::each`].
    pub fn points(&self, query: &Query) -> Result<Points, Error> {
        let mut rows = Vec::new();
        let columns = self.each(query, |_, row| {
            rows.push(row);
            Ok(())
        })?;
        // A column without a value in any of the rows says nothing, but for the error.
        let used: Vec<bool> = (0..columns.len())
            .map(|c| {
                let asked = !query.columns.is_empty() || columns[c].0 == "error";
                asked || rows.iter().any(|r: &Vec<Value>| r[c] != Value::Null)
            })
            .collect();
        let keep = |list: Vec<Value>| list.into_iter().zip(&used).filter(|(_, u)| **u).map(|(v, _)| v).collect();
        let rows = rows.into_iter().map(keep).collect();
        let columns = columns.into_iter().zip(&used).filter(|(_, u)| **u).map(|(c, _)| c).collect();
        Ok(Points { columns, rows })
    }

    fn wrong(&self, e: &rusqlite::Error, query: &Query) -> Error {
        let message = match e {
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            rusqlite::Error::SqliteFailure(f, Some(m)) if f.code == rusqlite::ErrorCode::Unknown => m.clone(),
            other => return self.failed(other),
        };
        if query.conditions.is_empty() {
            return Error::Failed(format!("{}: {message}", self.path.display()));
        }
        let problem = format!("is `{}`: {message}", query.conditions.join("` and `"));
        let help = "write SQL, as in: machine.memory.channels = 8 and latency_s < 1e-3";
        InputError::new("--where", problem).help(help).into()
    }

    /// The figures that differ between two lists of points, by name and key.
    ///
    /// # Errors
    /// A store cannot be read.
    pub fn differences(&self, query: &Query, other: &Self, of_other: &Query) -> Result<Vec<Difference>, Error> {
        type Figures = BTreeMap<(String, String), f64>;
        let read = |store: &Self, query: &Query| -> Result<Figures, Error> {
            let mut all = Figures::new();
            store.each(query, |columns, row| {
                let name = match row.first() {
                    Some(Value::Text(name)) => name.clone(),
                    _ => String::new(),
                };
                for ((column, kind), value) in columns.iter().zip(row) {
                    if let (Some(kind), Value::Real(x)) = (kind, value)
                        && *kind != ColumnKind::Setting
                    {
                        all.insert((name.clone(), column.clone()), x);
                    }
                }
                Ok(())
            })?;
            Ok(all)
        };
        let (before, after) = (read(self, query)?, read(other, of_other)?);
        let mut all = Vec::new();
        for (place, b) in &before {
            let a = after.get(place).copied();
            if a.is_none_or(|a| a.to_bits() != b.to_bits()) {
                all.push(Difference { name: place.0.clone(), column: place.1.clone(), before: Some(*b), after: a });
            }
        }
        for (place, a) in after.iter().filter(|(place, _)| !before.contains_key(*place)) {
            all.push(Difference { name: place.0.clone(), column: place.1.clone(), before: None, after: Some(*a) });
        }
        Ok(all)
    }

    /// The whole reports of a query's points, where they are kept: so many at most, in the order of the query.
    ///
    /// # Errors
    /// A condition is wrong, the store cannot be read, or what is kept is no report.
    pub fn reports(&self, query: &Query, most: usize) -> Result<Vec<(String, RunReport)>, Error> {
        let named = Query { columns: vec!["name".into()], ..query.clone() };
        let selected = self.selected(&named)?;
        let (sql, build) = self.sql(&named, &selected)?;
        let (start, end) = sql.split_once(" FROM points WHERE ").unwrap_or((&sql, "true"));
        let sql =
            format!("{start}, a.content FROM points JOIN artifacts a ON a.point = points.id WHERE {end} LIMIT {most}");
        let wrong = |e: rusqlite::Error| self.wrong(&e, query);
        let mut statement = self.connection.prepare(&sql).map_err(wrong)?;
        let content = statement.column_count() - 1;
        let mut rows = statement.query([build]).map_err(wrong)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(wrong)? {
            let packed: Vec<u8> = row.get(content).map_err(wrong)?;
            let broken = |e: &dyn std::fmt::Display| {
                Error::Failed(format!("{}: a report cannot be read: {e}", self.path.display()))
            };
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut text).map_err(|e| broken(&e))?;
            let report: RunReport = serde_json::from_slice(&text).map_err(|e| broken(&e))?;
            all.push((report.name.clone(), report));
        }
        Ok(all)
    }

    /// The sweeps that wrote: name, path, baseline and objectives.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn sweeps(&self) -> Result<Vec<super::write::SweepInfo>, Error> {
        let sql = "SELECT path, name, text, keys, baseline, objectives, points FROM sweeps ORDER BY id";
        let read = || -> rusqlite::Result<Vec<super::write::SweepInfo>> {
            let mut statement = self.connection.prepare(sql)?;
            let rows = statement.query_map([], |r| {
                let (keys, baseline, objectives): (String, String, String) = (r.get(3)?, r.get(4)?, r.get(5)?);
                let points: i64 = r.get(6)?;
                Ok(super::write::SweepInfo {
                    path: r.get(0)?,
                    name: r.get(1)?,
                    text: r.get(2)?,
                    keys: serde_json::from_str(&keys).unwrap_or_default(),
                    baseline: serde_json::from_str(&baseline).unwrap_or_default(),
                    objectives: serde_json::from_str(&objectives).unwrap_or_default(),
                    points: points.unsigned_abs(),
                })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.failed(&e))
    }
}

fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(i) => Value::Integer(i),
        ValueRef::Real(x) => Value::Real(x),
        ValueRef::Text(t) => Value::Text(String::from_utf8_lossy(t).into_owned()),
        ValueRef::Blob(b) => Value::Blob(b.to_vec()),
    }
}

/// The one column whose path ends in a name.
fn by_last_part<'a>(
    offered: &'a [(String, Option<ColumnKind>)],
    name: &str,
) -> Option<&'a (String, Option<ColumnKind>)> {
    let ends = |c: &str| c.strip_suffix(name).is_some_and(|before| before.ends_with('.'));
    let mut found = offered.iter().filter(|(c, _)| ends(c));
    found.next().filter(|_| found.next().is_none())
}

/// A condition with the names of columns in quotes: those with dots, which SQL takes for tables, and short forms of them.
fn with_quotes(condition: &str, offered: &[(String, Option<ColumnKind>)]) -> String {
    let mut out = String::new();
    let mut rest = condition;
    while let Some(first) = rest.chars().next() {
        if first == '\'' || first == '"' {
            let end = rest[1..].find(first).map_or(rest.len(), |i| i + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.' || c == '-';
        if !(first.is_alphabetic() || first == '_') {
            let number = |c: char| !(c.is_alphanumeric() || c == '.');
            let end = if first.is_ascii_digit() { rest.find(number).unwrap_or(rest.len()) } else { first.len_utf8() };
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        // The longest name that a column has: a minus may be of the name, or stand after it.
        let longest = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let shortest = rest.find(|c: char| !is_name(c) || c == '-').unwrap_or(rest.len());
        let column = |end: usize| {
            let name = &rest[..end];
            let found = offered.iter().find(|(n, _)| n == name).or_else(|| by_last_part(offered, name));
            found.map(|(n, _)| quoted(n))
        };
        let (end, text) = match (column(longest), column(shortest)) {
            (Some(text), _) => (longest, text),
            (None, Some(text)) => (shortest, text),
            (None, None) => (shortest, rest[..shortest].to_owned()),
        };
        out.push_str(&text);
        rest = &rest[end..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_condition_are_quoted() {
        let offered: Vec<(String, Option<ColumnKind>)> =
            ["machine.memory.channels", "latency_s", "a.x-y"].map(|n| (n.to_owned(), None)).into();
        let q = |c: &str| with_quotes(c, &offered);
        assert_eq!(
            q("machine.memory.channels=8 and latency_s<1e-3"),
            "\"machine.memory.channels\"=8 and \"latency_s\"<1e-3"
        );
        assert_eq!(
            q("channels > 4 and name like 'channels%'"),
            "\"machine.memory.channels\" > 4 and name like 'channels%'"
        );
        assert_eq!(q("x-y = 1 or latency_s-1 > 0"), "\"a.x-y\" = 1 or \"latency_s\"-1 > 0");
    }
}
