//! Several stores as one.

use std::path::Path;

use banksia_input::InputError;

use super::baseline::RATIOS;
use super::columns::FIXED;
use super::{Store, quoted};
use crate::error::Error;

impl Store {
    /// Takes over the points of another store: of a shard that ran elsewhere. A point that is there already is written over where the other
    /// one's is a result, or its own is an error. How many the other has.
    ///
    /// # Errors
    /// The other is no store, or this one cannot be written.
    pub fn merge(&self, other: &Path) -> Result<u64, Error> {
        let from = Self::open_existing(other)?;
        let same =
            std::fs::canonicalize(other).ok().filter(|o| std::fs::canonicalize(self.path()).ok().as_ref() == Some(o));
        if same.is_some() {
            return Err(InputError::new("--merge", format!("{} is the store itself", other.display())).into());
        }
        let columns = from.columns()?;
        drop(from);
        let c = &self.connection;
        let name = other.display().to_string();
        let attach = c.execute("ATTACH DATABASE ?1 AS other", [&name]);
        attach.map_err(|e| self.failed(&e))?;
        let result = self.take(&columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>());
        let detached = c.execute_batch("DETACH DATABASE other");
        let rows = result.map_err(|e| self.failed(&e))?;
        detached.map_err(|e| self.failed(&e))?;
        Ok(rows)
    }

    /// Writes a copy of the store as it stands: whole or not there.
    ///
    /// # Errors
    /// The copy cannot be written.
    pub fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let failed = |e: &dyn std::fmt::Display| Error::Failed(format!("{}: cannot be written: {e}", path.display()));
        let _ = std::fs::remove_file(&temporary);
        let copied = self.connection.execute("VACUUM INTO ?1", [temporary.display().to_string()]);
        copied.map_err(|e| failed(&e))?;
        std::fs::rename(&temporary, path).map_err(|e| failed(&e))
    }

    fn take(&self, brought: &[String]) -> rusqlite::Result<u64> {
        let c = &self.connection;
        c.execute_batch("BEGIN IMMEDIATE")?;
        let work = || -> rusqlite::Result<u64> {
            c.execute_batch(
                "INSERT INTO sweeps(path, name, text, keys, baseline, objectives, points)
                   SELECT path, name, text, keys, baseline, objectives, points FROM other.sweeps WHERE true
                   ON CONFLICT(path) DO UPDATE SET points = max(points, excluded.points);
                 INSERT OR IGNORE INTO columns SELECT * FROM other.columns;",
            )?;
            for name in brought {
                let sql = "SELECT count(*) FROM pragma_table_info('points') WHERE name = ?1 COLLATE NOCASE";
                let there: i64 = c.query_row(sql, [name], |r| r.get(0))?;
                if there == 0 {
                    c.execute_batch(&format!("ALTER TABLE points ADD COLUMN {}", quoted(name)))?;
                }
            }
            // Numbers of rows and of sweeps are each store's own; ratios are worked out.
            let own = |name: &&&str| ["id", "sweep"].contains(*name) || RATIOS.contains(*name);
            let fixed = FIXED.iter().filter(|name| !own(name));
            let list: Vec<String> = fixed.map(|n| quoted(n)).chain(brought.iter().map(|n| quoted(n))).collect();
            let list = list.join(", ");
            let sql = format!(
                "INSERT OR REPLACE INTO points(sweep, {list})
                 SELECT (SELECT id FROM main.sweeps m WHERE m.path = (SELECT path FROM other.sweeps o WHERE o.id = p.sweep)), {list}
                 FROM other.points p
                 WHERE p.error IS NULL OR NOT EXISTS (SELECT 1 FROM main.points q WHERE q.key = p.key AND q.build = p.build AND q.error IS NULL)"
            );
            c.execute_batch(&sql)?;
            c.execute_batch(
                "INSERT OR REPLACE INTO artifacts(point, kind, content)
                 SELECT m.id, a.kind, a.content FROM other.artifacts a JOIN other.points o ON o.id = a.point
                 JOIN main.points m ON m.key = o.key AND m.build = o.build",
            )?;
            let rows: i64 = c.query_row("SELECT count(*) FROM other.points", [], |r| r.get(0))?;
            Ok(rows.unsigned_abs())
        };
        match work() {
            Ok(rows) => c.execute_batch("COMMIT").map(|()| rows),
            Err(e) => {
                let _ = c.execute_batch("ROLLBACK");
                Err(e)
            }
        }
    }
}
