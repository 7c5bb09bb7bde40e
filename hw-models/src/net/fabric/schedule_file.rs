//! Schedules of the user's, as files: TOML, or JSON with the same keys.

use banksia_input::{InputError, Source};
use serde::{Deserialize, Serialize};

use super::group::Collective;
use super::replay::replay;
use super::schedule::{Mode, Schedule, Step, Transfer};

/// The file of a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    collective: Collective,
    ranks: u32,
    /// Switches that reduce or multicast; they are numbered after the ranks.
    #[serde(default)]
    agents: u32,
    #[serde(default)]
    root: u32,
    peer: Option<u32>,
    /// Equal chunks of the collective's bytes; or the share of each.
    #[serde(default)]
    chunks: u32,
    #[serde(default)]
    shares: Vec<f64>,
    steps: Vec<FileStep>,
}

/// Transfers that begin together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileStep {
    #[serde(default = "one")]
    repeat: u32,
    /// What is added to every first chunk from one time to the next.
    #[serde(default)]
    rotate: u32,
    /// Chunks within which that goes round, in blocks of so many; 0: within all.
    #[serde(default)]
    window: u32,
    /// `[source, destination, first chunk, chunks, "copy" or "reduce"]`.
    transfers: Vec<(u32, u32, u32, u32, Mode)>,
}

const fn one() -> u32 {
    1
}

/// Most times that the steps of a file may come to.
const MOST_STEPS: u64 = 1 << 22;

impl Schedule {
    /// A schedule of `bytes` from a file (TOML; JSON where its name ends so), which does what its collective says.
    ///
    /// # Errors
    /// A key is missing or unknown, a transfer cannot be, or the data do not end where the collective has them.
    pub fn from_source(source: &Source, bytes: u64) -> Result<Self, InputError> {
        let json = source.name().rsplit('.').next().is_some_and(|end| end.eq_ignore_ascii_case("json"));
        let file: File = if json {
            serde_json::from_str(source.text())
                .map_err(|e| InputError::new(source.name(), e.to_string()).at_line(e.line()))?
        } else {
            source.parse()?
        };
        source.check("ranks", file.ranks, 1..=1 << 16)?;
        source.check("agents", file.agents, 0..=1 << 16)?;
        let times: u64 = file.steps.iter().map(|s| u64::from(s.repeat)).sum();
        if times > MOST_STEPS {
            return Err(source.error("steps", format!("are {times} times in all: up to {MOST_STEPS} are run")));
        }
        let shares = if file.shares.is_empty() {
            source.check("chunks", file.chunks, 1..=1 << 22)?;
            vec![1.0 / f64::from(file.chunks); file.chunks as usize]
        } else {
            file.shares
        };
        // The bytes of an all-to-all are those of one rank, its chunks those of all.
        let whole = bytes as f64 * if file.collective == Collective::AllToAll { f64::from(file.ranks) } else { 1.0 };
        let steps = file.steps.iter().map(|s| Step {
            transfers: s
                .transfers
                .iter()
                .map(|&(src, dst, first, count, mode)| Transfer { src, dst, first, count, mode })
                .collect(),
            repeat: s.repeat,
            rotate: s.rotate,
            window: s.window,
        });
        let schedule = Self {
            collective: file.collective,
            ranks: file.ranks,
            agents: file.agents,
            root: file.root,
            peer: file.peer.unwrap_or(file.ranks - 1),
            chunk_bytes: shares.iter().map(|s| s * whole).collect(),
            steps: steps.collect(),
        };
        replay(&schedule).map_err(|problem| source.error("steps", problem))?;
        Ok(schedule)
    }
}
