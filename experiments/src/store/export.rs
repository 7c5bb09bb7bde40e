//! A store's points as files of other tools.

use std::io::Write;
use std::path::Path;

use banksia_input::InputError;
use rusqlite::types::Value;

use super::Store;
use super::read::{Points, Query};
use crate::error::Error;

impl Store {
    /// Writes the points of a query as CSV: a row each, in the order of the sweep. The file is whole or not there. How many points.
    ///
    /// # Errors
    /// The query is wrong, or the file cannot be written.
    pub fn export_csv(&self, query: &Query, path: &Path) -> Result<u64, Error> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let failed = |e: &dyn std::fmt::Display| Error::Failed(format!("{}: cannot be written: {e}", path.display()));
        if !folder.is_dir() {
            let error = InputError::new("--export", format!("{}: its folder is not there", path.display()));
            return Err(error.help("make the folder first").into());
        }
        // Which columns have a value is known at the end: a first pass counts.
        let mut used: Vec<bool> = Vec::new();
        let columns = self.each(query, |_, row| {
            used.resize(row.len(), false);
            for (u, value) in used.iter_mut().zip(&row) {
                *u |= *value != Value::Null;
            }
            Ok(())
        })?;
        used.resize(columns.len(), false);
        for (u, (name, _)) in used.iter_mut().zip(&columns) {
            *u |= name == "error" || query.columns.contains(name);
        }
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed(&e))?;
        let mut rows = 0;
        {
            let mut writer = csv::Writer::from_writer(std::io::BufWriter::new(&mut file));
            let heads = columns.iter().zip(&used).filter(|(_, u)| **u).map(|((name, _), _)| name.as_str());
            writer.write_record(heads).map_err(|e| failed(&e))?;
            self.each(query, |_, row| {
                let fields = row.iter().zip(&used).filter(|(_, u)| **u).map(|(value, _)| text(value));
                rows += 1;
                writer.write_record(fields).map_err(|e| failed(&e))
            })?;
            writer.flush().map_err(|e| failed(&e))?;
        }
        file.flush().map_err(|e| failed(&e))?;
        readable(&file).map_err(|e| failed(&e))?;
        file.persist(path).map_err(|e| failed(&e.error))?;
        Ok(rows)
    }
}

impl Points {
    /// Writes the rows as CSV. The file is whole or not there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<(), Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let failed = |e: &dyn std::fmt::Display| Error::Failed(format!("{}: cannot be written: {e}", path.display()));
        writer.write_record(self.columns.iter().map(|(name, _)| name.as_str())).map_err(|e| failed(&e))?;
        for row in &self.rows {
            writer.write_record(row.iter().map(text)).map_err(|e| failed(&e))?;
        }
        let bytes = writer.into_inner().map_err(|e| failed(&e))?;
        Ok(banksia_reports::write_atomically(path, &bytes)?)
    }
}

/// A temporary file is its owner's alone; a table is as readable as any file that one makes.
#[cfg(unix)]
fn readable(file: &tempfile::NamedTempFile) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &tempfile::NamedTempFile) -> std::io::Result<()> {
    Ok(())
}

/// A value as a table's cell: numbers to their last digit.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null | Value::Blob(_) => String::new(),
        Value::Integer(i) => i.to_string(),
        Value::Real(x) => x.to_string(),
        Value::Text(t) => t.clone(),
    }
}
