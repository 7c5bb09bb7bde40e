//! Names of keys, for errors.

/// A key under a table; of the file itself where the table's name is empty.
pub(crate) fn path(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}
