//! The results store of sweeps: one SQLite file, a row a point.
//!
//! A row has every setting of its point as a column under the key's whole path, the report's figures, and what made it: the hash of the
//! configuration, the build, the seed, the host, the time. A point is finished once its row is committed; killing the process loses none that is, and
//! several processes may write one file. Rows of other builds stay, so that two builds can be compared.

mod baseline;
mod columns;
mod evaluated;
mod export;
mod front;
mod merge;
#[cfg(feature = "parquet")]
mod parquet;
mod pivot;
mod place;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use banksia_input::InputError;
use rusqlite::{Connection, OpenFlags};

use crate::error::Error;

pub use columns::{Column, ColumnKind};
pub use export::text;
pub use place::network_file_system;
pub use read::{Build, Difference, Points, Query};
pub use rusqlite::types::Value;
pub use write::{Finished, SweepInfo, Writer};

/// The form of the file.
const SCHEMA: i64 = 1;

/// What a file of another program, or nothing, is told by.
const APPLICATION: i64 = 0x424b_5341; // "BKSA"

/// How long a writer waits for another process.
const PATIENCE: Duration = Duration::from_secs(120);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS sweeps(
    id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL, keys TEXT NOT NULL,
    baseline TEXT NOT NULL, objectives TEXT NOT NULL, points INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS columns(name TEXT PRIMARY KEY, kind TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS points(
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, build TEXT NOT NULL, sweep INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    configuration_sha256 TEXT, revision TEXT NOT NULL, run_seed INTEGER, host TEXT NOT NULL, finished TEXT NOT NULL, wall_s REAL NOT NULL,
    name TEXT NOT NULL, experiment TEXT NOT NULL, model TEXT, machine TEXT, settings TEXT NOT NULL, error TEXT,
    UNIQUE(key, build));
CREATE INDEX IF NOT EXISTS of_sweep ON points(sweep, build, ordinal);
CREATE TABLE IF NOT EXISTS artifacts(point INTEGER NOT NULL, kind TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY(point, kind));
";

/// A store that is open.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
}

impl Store {
    /// Opens a store, and makes it where it is not there.
    ///
    /// # Errors
    /// The file cannot be made, is no store, or is one of a later form.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|e| InputError::new("--store", format!("{}: cannot be made: {e}", folder.display())))?;
        }
        let connection = Connection::open(path).map_err(|e| unusable(path, &e))?;
        let this = Self { path: path.to_owned(), connection };
        this.prepare().map_err(|e| unusable(path, &e))?;
        this.check()?;
        Ok(this)
    }

    /// Opens a store that is there, to read it.
    ///
    /// # Errors
    /// There is none, or it is one of a later form.
    pub fn open_existing(path: &Path) -> Result<Self, Error> {
        if !path.is_file() {
            let error = InputError::new(path.display().to_string(), "is not there");
            return Err(error.help("`banksia sweep FILE --store STORE` makes a store").into());
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .or_else(|_| Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY))
            .map_err(|e| unusable(path, &e))?;
        let this = Self { path: path.to_owned(), connection };
        this.connection.busy_timeout(PATIENCE).map_err(|e| unusable(path, &e))?;
        this.check()?;
        Ok(this)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn prepare(&self) -> rusqlite::Result<()> {
        let c = &self.connection;
        c.busy_timeout(PATIENCE)?;
        let tables: i64 = c.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0))?;
        if tables == 0 {
            // What is written ahead lies in shared memory, which a network file system does not have.
            let mode = if network_file_system(&self.path).is_some() { "DELETE" } else { "WAL" };
            c.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(()))?;
            c.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; COMMIT;"))?;
        }
        // The operating system keeps what was committed when the process dies.
        c.execute_batch("PRAGMA synchronous = NORMAL;")
    }

    fn check(&self) -> Result<(), Error> {
        let pragma = |name: &str| -> rusqlite::Result<i64> {
            self.connection.query_row(&format!("PRAGMA {name}"), [], |r| r.get(0))
        };
        let ids = pragma("application_id").and_then(|id| Ok((id, pragma("user_version")?)));
        let (application, schema) = ids.map_err(|e| unusable(&self.path, &e))?;
        let file = self.path.display().to_string();
        if application != APPLICATION {
            let error = InputError::new(file, "is a database of another program");
            return Err(error.help("name another file").into());
        }
        if schema != SCHEMA {
            let error =
                InputError::new(file, format!("is a store of form {schema}, and this program reads form {SCHEMA}"));
            return Err(error.help("use the program that wrote it, or another file").into());
        }
        Ok(())
    }

    fn failed(&self, e: &rusqlite::Error) -> Error {
        Error::Failed(format!("{}: {e}", self.path.display()))
    }
}

fn unusable(path: &Path, e: &rusqlite::Error) -> Error {
    let file = path.display().to_string();
    match e {
        rusqlite::Error::SqliteFailure(f, _) if f.code == rusqlite::ErrorCode::NotADatabase => {
            InputError::new(file, "is not a results store").help("name a file that `banksia sweep --store` made").into()
        }
        rusqlite::Error::SqliteFailure(f, _) if f.code == rusqlite::ErrorCode::CannotOpen => {
            InputError::new(file, "cannot be opened or made").into()
        }
        e => Error::Failed(format!("{file}: {e}")),
    }
}

/// A name as SQL writes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
