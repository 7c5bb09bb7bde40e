//! Evaluations of a search in a results store: what is there is not simulated again.
//!
//! A row's key is the hash of what its result depends on: the model, its use, the devices and links as they were read, and the plan. So a search that
//! was stopped goes on where it was, and a key of a file that changes none of these leaves its rows as they are.

use std::collections::HashMap;
use std::path::Path;

use banksia_reports::ComparisonRow;
use sha2::{Digest, Sha256};

use super::options::SearchOptions;
use crate::error::Error;
use crate::kept;
use crate::store::{Finished, Store, SweepInfo, Writer};

/// What is kept of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kept {
    pub(super) latency_s: f64,
    pub(super) energy_j: f64,
    pub(super) tokens: f64,
}

/// An evaluation to keep.
pub(super) struct Evaluated {
    pub(super) key: String,
    pub(super) settings: Vec<(String, String)>,
    pub(super) model: String,
    pub(super) machine: String,
    pub(super) result: Kept,
    pub(super) bound_s: f64,
    pub(super) wall_s: f64,
}

/// A store that a search takes from and writes to, or none.
pub(super) struct Keep {
    writer: Option<Writer>,
    known: HashMap<String, Kept>,
    name: String,
    experiment: String,
}

impl Keep {
    /// Opens the store that the options name, and takes note of the search.
    ///
    /// # Errors
    /// The store cannot be used.
    pub(super) fn open(options: &SearchOptions, path: &Path, name: &str, keys: Vec<String>) -> Result<Self, Error> {
        let experiment = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let none = Self { writer: None, known: HashMap::new(), name: name.to_owned(), experiment };
        let Some(file) = &options.store else { return Ok(none) };
        let store = Store::open(file)?;
        let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let id = store.register(&SweepInfo {
            path: format!("{}#search", whole.display()),
            name: format!("search of {name}"),
            keys,
            objectives: vec!["latency_s".to_owned(), "energy_j".to_owned()],
            // As many as it will evaluate: none of them is left over from a longer list.
            points: u64::from(u32::MAX),
            ..SweepInfo::default()
        })?;
        let known = store.evaluations(kept::build())?;
        let known = known
            .into_iter()
            .map(|(key, [latency_s, energy_j, tokens])| (key, Kept { latency_s, energy_j, tokens }))
            .collect();
        let revision = options.revision.clone();
        Ok(Self { writer: Some(store.writer(id, kept::build(), &revision)), known, ..none })
    }

    /// Whether there is a store.
    pub(super) fn is_open(&self) -> bool {
        self.writer.is_some()
    }

    /// An evaluation that is there.
    pub(super) fn known(&self, key: &str) -> Option<Kept> {
        self.known.get(key).copied()
    }

    /// Keeps an evaluation: the so-manieth of the search.
    pub(super) fn keep(&self, ordinal: u64, e: Evaluated) {
        let Some(writer) = &self.writer else { return };
        let Kept { latency_s, energy_j, tokens } = e.result;
        let ratio = |a: f64, b: f64| (b > 0.0).then(|| a / b);
        let row = ComparisonRow {
            name: self.name.clone(),
            settings: e.settings,
            model: e.model,
            machine: e.machine,
            latency_s: Some(latency_s),
            energy_j: Some(energy_j),
            latency_per_token_s: ratio(latency_s, tokens),
            energy_per_token_j: ratio(energy_j, tokens),
            tokens_per_s: ratio(tokens, latency_s),
            power_w: ratio(energy_j, latency_s),
            metrics: [("evaluated_tokens".to_owned(), tokens), ("bound_s".to_owned(), e.bound_s)].into(),
            ..ComparisonRow::default()
        };
        writer.finished(Finished {
            key: e.key,
            ordinal,
            configuration_sha256: None,
            seed: None,
            experiment: self.experiment.clone(),
            wall_s: e.wall_s,
            row,
            report: None,
        });
    }

    /// Commits what is left.
    ///
    /// # Errors
    /// The store could not be written.
    pub(super) fn close(self) -> Result<(), Error> {
        self.writer.map_or(Ok(()), Writer::close)
    }
}

/// The hash of what a result depends on, part by part.
pub(super) fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
