//! Near-memory units: cycles of norms, softmax and rotary positions of a token.

use super::accounting::Accounting;
use super::file::Units;

/// What the units of a device do for one token in one block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitsWork {
    /// Norms.
    pub norms: u32,
    /// Partial sums that a norm adds: one for every vector that the banks multiplied.
    pub partial_sums: u64,
    /// Scores of all heads.
    pub scores: u64,
    /// Heads.
    pub heads: u64,
    /// Elements with rotary positions, of queries and keys.
    pub rotated: u64,
    /// Elements of a row access: how many results a core writes for one scalar.
    pub column_elements: u64,
}

impl Units {
    /// Cycles in which every unit of a kind has taken a vector from the shared buffer, been through its pipeline, and given one back.
    fn round(&self, operands: u32, pipeline: u32) -> f64 {
        f64::from(self.count * operands * self.buffer_read_cycles + pipeline + self.buffer_write_cycles)
    }

    /// Seconds of a token's work in one block, one thing after another.
    ///
    /// The artifact lets a part of a round take that part of its time; a round takes all of it, whether all units have work or not.
    pub fn seconds(&self, work: &UnitsWork, accounting: Accounting) -> f64 {
        let lanes = f64::from(self.lanes);
        let rounds = |vectors: f64| {
            let rounds = vectors / f64::from(self.count);
            accounting.either(rounds, rounds.ceil())
        };
        let vectors = |elements: u64| accounting.either(elements as f64 / lanes, (elements as f64 / lanes).ceil());
        let add = self.round(2, self.add_cycles);
        let exponential = self.round(1, self.exponential_cycles);
        let buffer = f64::from(self.buffer_read_cycles + self.buffer_write_cycles);
        let norm = rounds(vectors(work.partial_sums)) * add
            + buffer
            + f64::from(self.reduction_cycles)
            + f64::from(self.norm_core_cycles);
        let heads = work.heads as f64;
        let cores = f64::from(self.cores);
        // A core writes the reciprocal of a head's sum as many times as a column has elements.
        let scalar = work.column_elements as f64 * f64::from(self.buffer_write_cycles)
            + f64::from(self.softmax_core_cycles) / cores
            + f64::from(self.buffer_read_cycles);
        let softmax = rounds(vectors(work.scores)) * (exponential + add)
            + heads * f64::from(self.buffer_read_cycles)
            + heads * scalar;
        let rotary = work.rotated as f64 * f64::from(self.rotary_core_cycles) / cores;
        (f64::from(work.norms) * norm + softmax + rotary) / (self.clock_mhz * 1e6)
    }
}
