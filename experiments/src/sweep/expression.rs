//! Conditions and derived values of a sweep: SQL expressions in which keys are written as they are.
//!
//! `machine.memory.channels * 2 <= 64`, `iif(workload.generation.batch > 8, 'graph', 'eager')`: SQLite evaluates them, as it does the
//! conditions of `banksia results`.

use std::cell::RefCell;

use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};

/// An expression, its keys found.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    sql: String,
    keys: Vec<String>,
}

thread_local! {
    static ENGINE: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

impl Expression {
    /// Finds the keys of an expression: names with dots, and those that `is_key` knows.
    pub(super) fn new(text: &str, is_key: impl Fn(&str) -> bool) -> Self {
        let (mut out, mut keys) = (String::new(), Vec::<String>::new());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            // Strings stay as they are.
            if first == '\'' {
                let end = rest[1..].find('\'').map_or(rest.len(), |i| i + 2);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
                continue;
            }
            let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
            if first.is_alphabetic() || first == '_' {
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                let word = &rest[..end];
                if word.contains('.') || is_key(word) {
                    let place = keys.iter().position(|k| k == word).unwrap_or(keys.len());
                    if place == keys.len() {
                        keys.push(word.to_owned());
                    }
                    out.push_str(&format!("?{}", place + 1));
                } else {
                    out.push_str(word);
                }
                rest = &rest[end..];
                continue;
            }
            // A number with its dot is no key.
            let end = match first.is_ascii_digit() {
                true => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
                false => first.len_utf8(),
            };
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        Self { sql: format!("SELECT ({out})"), keys }
    }

    /// Its value in a point; the reason where it has none.
    pub(super) fn value(&self, of: impl Fn(&str) -> Option<toml::Value>) -> Result<toml::Value, String> {
        let mut bound = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let value = of(key).ok_or_else(|| format!("`{key}` has no value in this point: vary it, or set it"))?;
            bound.push(match value {
                toml::Value::Integer(i) => Value::Integer(i),
                toml::Value::Float(x) => Value::Real(x),
                toml::Value::Boolean(b) => Value::Integer(i64::from(b)),
                toml::Value::String(s) => Value::Text(s),
                other => return Err(format!("`{key}` is {other}, which is no number and no text")),
            });
        }
        ENGINE.with_borrow_mut(|engine| {
            let connection = match engine {
                Some(connection) => connection,
                None => engine.insert(Connection::open_in_memory().map_err(|e| e.to_string())?),
            };
            let mut statement = connection.prepare_cached(&self.sql).map_err(|e| plain(&e))?;
            if statement.column_count() != 1 || !statement.readonly() {
                return Err("is not one expression".to_owned());
            }
            let mut rows = statement.query(rusqlite::params_from_iter(bound)).map_err(|e| plain(&e))?;
            let row = rows.next().map_err(|e| plain(&e))?.ok_or("has no value")?;
            match row.get_ref(0).map_err(|e| plain(&e))? {
                ValueRef::Integer(i) => Ok(toml::Value::Integer(i)),
                ValueRef::Real(x) if x.is_finite() => Ok(toml::Value::Float(x)),
                ValueRef::Text(t) => Ok(toml::Value::String(String::from_utf8_lossy(t).into_owned())),
                _ => Err("has no value (a division by 0, or a word that is no key of the sweep?)".to_owned()),
            }
        })
    }

    /// Whether it holds in a point.
    pub(super) fn holds(&self, of: impl Fn(&str) -> Option<toml::Value>) -> Result<bool, String> {
        match self.value(of)? {
            toml::Value::Integer(i) => Ok(i != 0),
            toml::Value::Float(x) => Ok(x != 0.0),
            other => Err(format!("is {other}: a condition must be true or false")),
        }
    }
}

/// The reason without the engine's own words around it.
fn plain(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str) -> Option<toml::Value> {
        match key {
            "machine.channels" => Some(toml::Value::Integer(8)),
            "x" => Some(toml::Value::Float(0.5)),
            "mapping.kind" => Some(toml::Value::String("fast".into())),
            _ => None,
        }
    }

    #[test]
    fn keys_are_found_and_strings_and_numbers_are_not_keys() {
        let e = |text: &str| Expression::new(text, |k| k == "x").value(of);
        assert_eq!(e("machine.channels * 2"), Ok(toml::Value::Integer(16)));
        assert_eq!(e("machine.channels * x + 1.5"), Ok(toml::Value::Float(5.5)));
        assert_eq!(e("iif(mapping.kind = 'fast', 'a.b', 'c')"), Ok(toml::Value::String("a.b".into())));
        assert!(e("machine.banks + 1").is_err_and(|e| e.contains("machine.banks")));
        assert!(e("1 +").is_err() && e("1; DROP TABLE x").is_err() && e("1 / 0").is_err() && e("nosuch").is_err());
        assert_eq!(Expression::new("machine.channels in (4, 8) and x < 1", |k| k == "x").holds(of), Ok(true));
    }
}
