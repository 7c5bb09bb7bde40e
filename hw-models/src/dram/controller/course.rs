//! What is kept of an idle channel while a course that repeats is looked for.

use super::super::Cycle;
use super::role::ROLES;

/// A channel as it stood just before a refresh fell due.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) cycle: Cycle,
    pub(super) turn: u64,
    pub(super) issued: [u64; ROLES],
    pub(super) standing: [Cycle; 4],
    /// All that decides what comes, relative to the cycle.
    pub(super) state: Vec<Cycle>,
}

/// The search for a course that repeats: Brent's, which keeps one point and takes a later one whenever it has looked twice as far.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    /// The request that is waited for.
    pub(super) sequence: u64,
    pub(super) point: Point,
    pub(super) looked: u64,
    pub(super) power: u64,
}
