//! A sweep on a cluster that Slurm runs: an array of shards, followed, lost ones sent again, and merged into one store.
//!
//! Each task writes a store on a disk of its own node, and copies it beside the sweep's store every so often and at its end; one process, this one,
//! merges. What is done is what is in those stores: neither exit codes nor the accounting are asked.

mod options;
mod queue;
mod request;
mod script;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use banksia_reports::write_atomically;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::kept;
use crate::store::Store;

pub use options::SlurmOptions;
pub use queue::available;
pub use request::Request;

/// How far a sweep is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Points in the stores of tasks.
    pub done: u64,
    /// All points.
    pub points: u64,
    /// Tasks that wait.
    pub waiting: u64,
    /// Tasks that run.
    pub running: u64,
    /// Times that a shard was sent again.
    pub sent_again: u64,
}

/// How following a sweep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every point is in the store.
    Complete(Progress),
    /// The tasks are with Slurm; the same command follows them again.
    Submitted(Progress),
}

/// What is known of submitted tasks: a file beside their stores.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// What the tasks run: a file of another sweep or build is of no use.
    identity: String,
    shards: usize,
    /// Arrays that were submitted, the last last.
    jobs: Vec<String>,
    /// How often each shard was sent.
    sent: Vec<u32>,
}

/// The folder of a store's tasks.
fn folder(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".slurm");
    PathBuf::from(name)
}

fn part(folder: &Path, shard: usize) -> PathBuf {
    folder.join(format!("part-{}.db", shard + 1))
}

fn state(folder: &Path) -> Option<State> {
    serde_json::from_str(&std::fs::read_to_string(folder.join("state.json")).ok()?).ok()
}

fn keep(folder: &Path, state: &State) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(state).map_err(|e| Error::Failed(e.to_string()))?;
    Ok(write_atomically(&folder.join("state.json"), text.as_bytes())?)
}

/// Submits a sweep, or finds the tasks that were submitted before, follows them and merges their stores. `said` is told how far it is.
///
/// # Errors
/// The options are wrong, Slurm refuses, a shard was lost too often, or a store cannot be written.
pub fn run(request: &Request<'_>, said: &mut dyn FnMut(Progress)) -> Result<Ended, Error> {
    let options = SlurmOptions::read(request.sweep)?;
    let folder = folder(request.store);
    std::fs::create_dir_all(&folder)
        .map_err(|e| Error::Failed(format!("{}: cannot be made: {e}", folder.display())))?;
    let shards = options.tasks.min(request.sweep.len()).max(1);
    let identity = identity(request, shards);
    let mut state = state(&folder).filter(|s| s.identity == identity).unwrap_or_default();
    if state.identity != identity {
        forget(&folder);
        state = State { identity, shards, jobs: Vec::new(), sent: vec![0; shards] };
        script::write(&folder, request, &options)?;
    }
    let mut progress = Progress { points: request.sweep.len() as u64, ..Progress::default() };
    loop {
        let queued = queue::tasks(&state.jobs)?;
        let lost: Vec<usize> = (0..shards)
            .filter(|shard| !queued.contains(*shard) && !complete(&folder, *shard, shards, request.sweep.len()))
            .collect();
        (progress.waiting, progress.running) = (queued.waiting.len() as u64, queued.running.len() as u64);
        progress.done = (0..shards).map(|s| rows(&part(&folder, s))).sum();
        progress.sent_again = state.sent.iter().map(|n| u64::from(n.saturating_sub(1))).sum();
        said(progress);
        if lost.is_empty() && queued.is_empty() {
            break;
        }
        // A task's last copy may show a moment after the task has left the queue.
        let lost = if state.jobs.is_empty() { lost } else { still_lost(lost, &folder, shards, request.sweep.len()) };
        if !lost.is_empty() {
            if let Some(shard) = lost.iter().find(|s| state.sent[**s] > options.retries) {
                let log = folder.join(format!("task-{}.log", shard + 1));
                let problem = format!(
                    "shard {} of {shards} was lost {} times: see {}; what is done is in {}",
                    shard + 1,
                    state.sent[*shard],
                    log.display(),
                    request.store.display()
                );
                merge(request, &folder, shards)?;
                return Err(Error::Failed(problem));
            }
            let job = queue::submit(&folder, &lost, &options)?;
            state.jobs.push(job);
            lost.iter().for_each(|s| state.sent[*s] += 1);
            keep(&folder, &state)?;
        }
        if request.submit_only {
            return Ok(Ended::Submitted(progress));
        }
        for _ in 0..(options.poll_s * 10.0).ceil() as u64 {
            if request.cancelled.load(Ordering::Relaxed) {
                merge(request, &folder, shards)?;
                return Ok(Ended::Submitted(progress));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    merge(request, &folder, shards)?;
    Ok(Ended::Complete(progress))
}

/// What tasks were submitted for: the sweep with all its files' texts, the settings, the program.
fn identity(request: &Request<'_>, shards: usize) -> String {
    format!("{}\n{:?}\n{}\n{shards}", request.sweep.text(), request.settings, kept::build())
}

/// Stores of an earlier sweep, or build, are not of this one.
fn forget(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("part-") {
            // What cannot be removed is not taken for this sweep's: its points have other keys.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Points of this build in a task's store.
fn rows(path: &Path) -> u64 {
    let builds = Store::open_existing(path).and_then(|s| s.builds()).unwrap_or_default();
    builds.iter().filter(|b| b.build == kept::build()).map(|b| b.points).sum()
}

fn complete(folder: &Path, shard: usize, shards: usize, points: usize) -> bool {
    rows(&part(folder, shard)) >= points.saturating_sub(shard).div_ceil(shards) as u64
}

fn still_lost(lost: Vec<usize>, folder: &Path, shards: usize, points: usize) -> Vec<usize> {
    if lost.is_empty() {
        return lost;
    }
    std::thread::sleep(Duration::from_secs(1));
    lost.into_iter().filter(|s| !complete(folder, *s, shards, points)).collect()
}

fn merge(request: &Request<'_>, folder: &Path, shards: usize) -> Result<(), Error> {
    let store = Store::open(request.store)?;
    store.register(&request.sweep.info())?;
    let there: BTreeSet<PathBuf> = (0..shards).map(|s| part(folder, s)).filter(|p| p.is_file()).collect();
    for path in there {
        store.merge(&path)?;
    }
    // Places and points are those of the whole sweep.
    store.register(&request.sweep.info())?;
    Ok(())
}
