//! Writing points: one thread of a process has the connection, and commits what has come in together.

use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use banksia_reports::ComparisonRow;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::columns::{self, Column};
use super::{Store, quoted};
use crate::error::Error;

/// Points that are on their way to the file.
const WAITING: usize = 1024;
/// The longest that a finished point waits for others to be committed with.
const TOGETHER: Duration = Duration::from_millis(50);

/// A point with its result.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What tells it apart: the hash of its configuration, name and settings.
    pub key: String,
    /// Its place in the sweep.
    pub ordinal: u64,
    /// The hash of its configuration; none where it could not be read.
    pub configuration_sha256: Option<String>,
    /// Its seed.
    pub seed: Option<u64>,
    /// Its experiment: the file's name.
    pub experiment: String,
    /// Seconds that it took.
    pub wall_s: f64,
    /// Its figures, or the error.
    pub row: ComparisonRow,
    /// The whole report as JSON, where it is kept.
    pub report: Option<Vec<u8>>,
}

enum Message {
    Finished(Box<Finished>),
    /// A point that is there stands at this place of the sweep.
    Stands {
        key: String,
        ordinal: u64,
    },
}

/// Takes finished points from any thread.
#[derive(Debug)]
pub struct Writer {
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// A sweep as a store knows it.
#[derive(Debug, Clone, Default)]
pub struct SweepInfo {
    /// Its file, as an absolute path.
    pub path: String,
    /// Its name.
    pub name: String,
    /// The file's text.
    pub text: String,
    /// Its keys, in the order of its columns.
    pub keys: Vec<String>,
    /// Keys and values of the point that others are set against.
    pub baseline: BTreeMap<String, String>,
    /// Columns to look at first.
    pub objectives: Vec<String>,
    /// How many points it has.
    pub points: u64,
}

impl Store {
    /// Takes note of a sweep. Its number.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn register(&self, sweep: &SweepInfo) -> Result<i64, Error> {
        let sql = "INSERT INTO sweeps(path, name, text, keys, baseline, objectives, points) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT(path) DO UPDATE SET name = ?2, text = ?3, keys = ?4, baseline = ?5, objectives = ?6, points = ?7
             RETURNING id";
        let (keys, baseline, objectives) = (json(&sweep.keys), json(&sweep.baseline), json(&sweep.objectives));
        let values = params![sweep.path, sweep.name, sweep.text, keys, baseline, objectives, sweep.points as i64];
        self.connection.query_row(sql, values, |r| r.get(0)).map_err(|e| self.failed(&e))
    }

    /// The keys of the points that are there, of a build.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn known(&self, build: &str, with_errors: bool) -> Result<HashSet<String>, Error> {
        let sql =
            format!("SELECT key FROM points WHERE build = ?1{}", if with_errors { "" } else { " AND error IS NULL" });
        let read = || -> rusqlite::Result<HashSet<String>> {
            self.connection.prepare(&sql)?.query_map([build], |r| r.get(0))?.collect()
        };
        read().map_err(|e| self.failed(&e))
    }

    /// Starts writing the points of a sweep as a build makes them.
    pub fn writer(self, sweep: i64, build: &str, revision: &str) -> Writer {
        let (sender, receiver) = sync_channel(WAITING);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        let mut job = Job {
            store: self,
            sweep,
            build: build.to_owned(),
            revision: revision.to_owned(),
            host,
            known: HashSet::new(),
        };
        let thread = std::thread::spawn(move || job.run(&receiver));
        Writer { sender: Some(sender), thread: Some(thread) }
    }
}

/// What is kept as JSON inside a column.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Writer {
    /// Hands over a finished point. It waits where the file is slower than the simulation.
    pub fn finished(&self, point: Finished) {
        self.send(Message::Finished(Box::new(point)));
    }

    /// Says where a point stands that is there already.
    pub fn stands(&self, key: String, ordinal: u64) {
        self.send(Message::Stands { key, ordinal });
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &self.sender {
            // A writer that has failed says why when it is closed.
            let _ = sender.send(message);
        }
    }

    /// Whether the file can no longer be written.
    pub fn has_failed(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Commits what is left.
    ///
    /// # Errors
    /// The store could not be written.
    pub fn close(mut self) -> Result<(), Error> {
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::Failed("the store's writer stopped".to_owned())),
            None => Ok(()),
        }
    }
}

struct Job {
    store: Store,
    sweep: i64,
    build: String,
    revision: String,
    host: String,
    /// Columns that are there.
    known: HashSet<String>,
}

impl Job {
    fn run(&mut self, receiver: &Receiver<Message>) -> Result<(), Error> {
        loop {
            let Ok(first) = receiver.recv() else { return Ok(()) };
            let until = Instant::now() + TOGETHER;
            let mut batch = vec![first];
            while batch.len() < WAITING {
                match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(message) => batch.push(message),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            self.commit(&batch).map_err(|e| self.store.failed(&e))?;
        }
    }

    fn commit(&mut self, batch: &[Message]) -> rusqlite::Result<()> {
        // The lock for writing is taken at the start: two that read first and then want to write would wait for each other.
        self.store.connection.execute_batch("BEGIN IMMEDIATE")?;
        let written = batch.iter().try_for_each(|message| match message {
            Message::Finished(point) => self.insert(point),
            Message::Stands { key, ordinal } => self.stands(key, *ordinal),
        });
        match written {
            Ok(()) => self.store.connection.execute_batch("COMMIT"),
            Err(e) => {
                let _ = self.store.connection.execute_batch("ROLLBACK");
                // Columns that were added are gone again.
                self.known.clear();
                Err(e)
            }
        }
    }

    fn stands(&self, key: &str, ordinal: u64) -> rusqlite::Result<()> {
        let sql = "UPDATE points SET sweep = ?1, ordinal = ?2 WHERE key = ?3 AND build = ?4";
        let mut statement = self.store.connection.prepare_cached(sql)?;
        statement.execute(params![self.sweep, ordinal as i64, key, self.build]).map(|_| ())
    }

    fn insert(&mut self, point: &Finished) -> rusqlite::Result<()> {
        let columns = columns::of(&point.row);
        for (column, _) in &columns {
            if !self.known.contains(&column.name) {
                add_column(&self.store.connection, column)?;
                self.known.insert(column.name.clone());
            }
        }
        let row = &point.row;
        let text = |t: &str| Value::Text(t.to_owned());
        let optional = |t: &str| if t.is_empty() { Value::Null } else { text(t) };
        let mut named: Vec<(&str, Value)> = vec![
            ("key", text(&point.key)),
            ("build", text(&self.build)),
            ("sweep", Value::Integer(self.sweep)),
            ("ordinal", Value::Integer(point.ordinal as i64)),
            ("configuration_sha256", point.configuration_sha256.clone().map_or(Value::Null, Value::Text)),
            ("revision", text(&self.revision)),
            ("run_seed", point.seed.map_or(Value::Null, |s| Value::Integer(s as i64))),
            ("host", text(&self.host)),
            ("wall_s", Value::Real(point.wall_s)),
            ("name", text(&row.name)),
            ("experiment", text(&point.experiment)),
            ("model", optional(&row.model)),
            ("machine", optional(&row.machine)),
            ("settings", Value::Text(serde_json::to_string(&row.settings).unwrap_or_default())),
            ("error", row.error.clone().map_or(Value::Null, Value::Text)),
        ];
        named.extend(columns.iter().map(|(c, v)| (c.name.as_str(), v.clone())));
        let names: Vec<String> = named.iter().map(|(name, _)| quoted(name)).collect();
        let places: Vec<String> = (1..=named.len()).map(|i| format!("?{i}")).collect();
        let (names, places) = (names.join(", "), places.join(", "));
        let now = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')";
        let sql = format!("INSERT OR REPLACE INTO points(finished, {names}) VALUES ({now}, {places})");
        let mut statement = self.store.connection.prepare_cached(&sql)?;
        statement.execute(rusqlite::params_from_iter(named.into_iter().map(|(_, value)| value)))?;
        if let Some(report) = &point.report {
            let id = self.store.connection.last_insert_rowid();
            let mut statement = self.store.connection.prepare_cached(
                "INSERT OR REPLACE INTO artifacts(point, kind, content) VALUES (?1, 'report.json.gz', ?2)",
            )?;
            statement.execute(params![id, report])?;
        }
        Ok(())
    }
}

/// Adds a column where it is not there: another process may have.
fn add_column(connection: &Connection, column: &Column) -> rusqlite::Result<()> {
    let sql = "SELECT count(*) FROM pragma_table_info('points') WHERE name = ?1 COLLATE NOCASE";
    let there: i64 = connection.query_row(sql, [&column.name], |r| r.get(0))?;
    if there == 0 {
        connection.execute_batch(&format!("ALTER TABLE points ADD COLUMN {}", quoted(&column.name)))?;
    }
    let sql = "INSERT OR IGNORE INTO columns(name, kind) VALUES (?1, ?2)";
    connection.execute(sql, params![column.name, column.kind.word()]).map(|_| ())
}
