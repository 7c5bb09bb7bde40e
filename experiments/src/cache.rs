//! Results of GPU launches that other points, other processes and other days have worked out.
//!
//! In memory for the points of one sweep, and in a file where one is named. The file keeps the results of one build: those of another are
//! dropped, since a changed simulator may give others. A cache never changes a result, and may be deleted at any time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use banksia_hw::gpu::LaunchCache;
use banksia_input::InputError;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Error;
use crate::kept;

/// Bytes in memory, beyond which nothing more is kept there.
const MOST_BYTES: usize = 256 << 20;

/// Results in memory, and in a file.
#[derive(Debug, Default)]
pub struct Cache {
    memory: Mutex<Memory>,
    file: Option<Mutex<Connection>>,
}

#[derive(Debug, Default)]
struct Memory {
    values: HashMap<[u8; 32], Arc<[u8]>>,
    bytes: usize,
}

impl Cache {
    /// A cache in memory.
    pub fn in_memory() -> Arc<dyn LaunchCache> {
        Arc::new(Self::default())
    }

    /// The same, with a file behind it, which is made where it is not there.
    ///
    /// # Errors
    /// The file cannot be made, or is something else.
    pub fn with_file(path: &Path) -> Result<Arc<dyn LaunchCache>, Error> {
        let wrong = |e: &dyn std::fmt::Display| {
            let error = InputError::new("--cache", format!("{}: cannot be used: {e}", path.display()));
            Error::from(error.help("name a file for the cache alone; it may be deleted at any time"))
        };
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| wrong(&e))?;
        }
        let connection = Connection::open(PathBuf::from(path)).map_err(|e| wrong(&e))?;
        let prepare = || -> rusqlite::Result<()> {
            connection.busy_timeout(Duration::from_secs(60))?;
            connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
            // What is lost with the power is worked out again.
            connection.execute_batch(
                "PRAGMA synchronous = OFF;
                 CREATE TABLE IF NOT EXISTS launches(key BLOB PRIMARY KEY, build TEXT NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;",
            )?;
            connection.execute("DELETE FROM launches WHERE build <> ?1", [kept::build()]).map(|_| ())
        };
        prepare().map_err(|e| wrong(&e))?;
        Ok(Arc::new(Self { memory: Mutex::default(), file: Some(Mutex::new(connection)) }))
    }

    fn remember(&self, key: &[u8; 32], value: &[u8]) {
        if let Ok(mut memory) = self.memory.lock()
            && memory.bytes + value.len() < MOST_BYTES
        {
            memory.bytes += value.len();
            memory.values.insert(*key, value.into());
        }
    }
}

impl LaunchCache for Cache {
    fn get(&self, key: &[u8; 32]) -> Option<Vec<u8>> {
        if let Some(value) = self.memory.lock().ok()?.values.get(key) {
            return Some(value.to_vec());
        }
        let found: Option<Vec<u8>> = {
            let file = self.file.as_ref()?.lock().ok()?;
            // A file that fails is as good as none.
            let mut statement = file.prepare_cached("SELECT value FROM launches WHERE key = ?1 AND build = ?2").ok()?;
            statement.query_row(params![key.as_slice(), kept::build()], |r| r.get(0)).optional().ok()?
        };
        let value = found?;
        self.remember(key, &value);
        Some(value)
    }

    fn put(&self, key: &[u8; 32], value: Vec<u8>) {
        self.remember(key, &value);
        if let Some(Ok(file)) = self.file.as_ref().map(|f| f.lock())
            && let Ok(mut statement) =
                file.prepare_cached("INSERT OR IGNORE INTO launches(key, build, value) VALUES (?1, ?2, ?3)")
        {
            let _ = statement.execute(params![key.as_slice(), kept::build(), value]);
        }
    }
}
