//! Collectives as programs: who sends which chunks to whom in which step.
//!
//! A rank goes on to a step when all that it sends and receives in earlier ones is done; a transfer begins when both its ends are there. Chunks are
//! parts of the collective's buffer; a step may be repeated, each time with its chunks moved on (`rotate`), so that a ring of a thousand ranks is
//! two steps.

use serde::{Deserialize, Serialize};

use super::group::Collective;

/// What a transfer does at its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Takes the place of what is there.
    Copy,
    /// Is added to what is there.
    Reduce,
}

/// A transfer of `count` chunks from `first` on, modulo all chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transfer {
    /// The rank (or agent) that sends.
    pub src: u32,
    /// The rank (or agent) that receives.
    pub dst: u32,
    /// Its first chunk.
    pub first: u32,
    /// How many chunks.
    pub count: u32,
    /// What it does at its destination.
    pub mode: Mode,
}

/// Transfers that begin together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The transfers of its first time.
    pub transfers: Vec<Transfer>,
    /// How often.
    pub repeat: u32,
    /// What is added to every `first` from one time to the next, modulo all chunks.
    pub rotate: u32,
    /// Chunks within which that goes round, in blocks of so many; none: within all.
    pub window: u32,
}

/// A collective as a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What it does.
    pub collective: Collective,
    /// Its ranks.
    pub ranks: u32,
    /// Switches that reduce or multicast: ends `ranks..ranks + agents`, which contribute nothing.
    pub agents: u32,
    /// The rank of a broadcast or reduce, or the sender of a send, which goes to `peer`.
    pub root: u32,
    /// The receiver of a send.
    pub peer: u32,
    /// Bytes of every chunk: of an all-to-all, chunk `s * ranks + d` goes from `s` to `d`; of an all-gather or reduce-scatter, chunks in equal
    /// blocks belong to the ranks in order.
    pub chunk_bytes: Vec<f64>,
    /// Its steps.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// Chunks.
    pub fn chunks(&self) -> u32 {
        self.chunk_bytes.len() as u32
    }

    /// Transfers of all times of all steps.
    pub fn transfers(&self) -> u64 {
        self.steps.iter().map(|s| s.transfers.len() as u64 * u64::from(s.repeat)).sum()
    }

    /// Bytes of a transfer in the n-th time of its step.
    pub fn bytes(&self, step: &Step, transfer: &Transfer, time: u32) -> f64 {
        let chunks = self.chunk_bytes.len().max(1);
        let first = self.first(step, transfer, time) as usize;
        (0..transfer.count as usize).map(|i| self.chunk_bytes[(first + i) % chunks]).sum()
    }

    /// The first chunk of a transfer in the n-th time of its step.
    pub fn first(&self, step: &Step, transfer: &Transfer, time: u32) -> u32 {
        let all = if step.window > 0 { step.window } else { self.chunks().max(1) };
        let (block, within) = (transfer.first / all * all, transfer.first % all);
        block + ((u64::from(within) + u64::from(step.rotate) * u64::from(time)) % u64::from(all)) as u32
    }

    /// Whether all chunks have the same bytes, so that every time of a step takes the same.
    pub fn even(&self) -> bool {
        self.chunk_bytes.windows(2).all(|w| w[0].total_cmp(&w[1]).is_eq())
    }

    /// Which rank a chunk of an all-gather or reduce-scatter belongs to.
    pub fn owner(&self, chunk: u32) -> u32 {
        (u64::from(chunk) * u64::from(self.ranks) / u64::from(self.chunks().max(1))) as u32
    }

    /// What cannot be, of transfers and chunks.
    ///
    /// # Errors
    /// A transfer's ends or chunks are not there.
    pub fn check(&self) -> Result<(), String> {
        let (ends, chunks) = (self.ranks.saturating_add(self.agents), self.chunks());
        if self.ranks == 0 || self.root >= self.ranks || self.peer >= self.ranks {
            return Err(format!("has {} ranks, root {}, peer {}", self.ranks, self.root, self.peer));
        }
        if self.chunk_bytes.iter().any(|b| !(b.is_finite() && *b >= 0.0)) {
            return Err("has a chunk whose bytes are below zero or not finite".to_owned());
        }
        let parts = matches!(self.collective, Collective::AllGather | Collective::ReduceScatter);
        let pairs = self.collective == Collective::AllToAll;
        if (parts && !chunks.is_multiple_of(self.ranks)) || (pairs && u64::from(chunks) != u64::from(self.ranks).pow(2))
        {
            return Err(format!("has {chunks} chunks for {} ranks", self.ranks));
        }
        for (s, step) in self.steps.iter().enumerate() {
            if step.window > 0 && !chunks.is_multiple_of(step.window) {
                return Err(format!("step {s} goes round within {} chunks, of {chunks}", step.window));
            }
            for t in &step.transfers {
                if t.src >= ends || t.dst >= ends || t.src == t.dst {
                    return Err(format!("step {s} sends from {} to {}, of {ends}", t.src, t.dst));
                }
                if t.first >= chunks || t.count == 0 || t.count > chunks {
                    return Err(format!("step {s} sends {} chunks from {} on, of {chunks}", t.count, t.first));
                }
            }
        }
        Ok(())
    }
}
