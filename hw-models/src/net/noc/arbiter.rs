//! Arbiters: one of several requests wins, by priority first and by turn then.

use super::config::ArbiterKind;

/// Whether a request comes before another in a round robin of `size` places whose turn is at `turn`.
pub(super) fn supersedes(one: usize, pri1: i32, other: usize, pri2: i32, turn: usize, size: usize) -> bool {
    let place = |p: usize| (p + size - turn) % size;
    pri1 > pri2 || (pri1 == pri2 && place(one) < place(other))
}

/// The memory of one arbiter.
#[derive(Debug, Clone)]
pub(super) enum Arbiter {
    RoundRobin {
        turn: usize,
        size: usize,
    },
    /// Row `i` says which requests `i` beats, a byte each.
    Matrix {
        beats: Vec<bool>,
        size: usize,
    },
}

impl Arbiter {
    pub(super) fn new(kind: ArbiterKind, size: usize) -> Arbiter {
        match kind {
            ArbiterKind::RoundRobin => Arbiter::RoundRobin { turn: 0, size },
            // At first the later place beats the earlier.
            ArbiterKind::Matrix => {
                Arbiter::Matrix { beats: (0..size * size).map(|i| i % size < i / size).collect(), size }
            }
        }
    }

    /// The winner of the requests, each with its priority.
    pub(super) fn winner(&self, requests: impl Iterator<Item = (usize, i32)> + Clone) -> Option<usize> {
        match self {
            Arbiter::RoundRobin { turn, size } => requests
                .reduce(|best, r| if supersedes(r.0, r.1, best.0, best.1, *turn, *size) { r } else { best })
                .map(|best| best.0),
            Arbiter::Matrix { beats, size } => requests
                .clone()
                .find(|r| !requests.clone().any(|o| o.1 > r.1 || (o.1 == r.1 && beats[o.0 * size + r.0])))
                .map(|r| r.0),
        }
    }

    /// The winner's grant was used: it is the last in turn now.
    pub(super) fn won(&mut self, winner: usize) {
        match self {
            Arbiter::RoundRobin { turn, size } => *turn = (winner + 1) % *size,
            Arbiter::Matrix { beats, size } => {
                for i in (0..*size).filter(|i| *i != winner) {
                    beats[winner * *size + i] = false;
                    beats[i * *size + winner] = true;
                }
            }
        }
    }
}
