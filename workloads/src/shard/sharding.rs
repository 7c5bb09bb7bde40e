//! How a stage of a model is divided over ranks.

/// How a stage of a model is divided over ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sharding {
    /// Ranks that heads, columns and rows are divided over.
    pub tp: u32,
    /// Between the products tokens are divided over these ranks too, in prefill.
    pub sequence: bool,
    /// Ranks that experts are divided over.
    pub ep: u32,
    /// Ranks that one expert's columns and rows are divided over.
    pub expert_tp: u32,
    /// Replicas that send one another's tokens to the experts' ranks: 1 where all ranks of the experts see the same tokens.
    pub exchanging: u32,
}

impl Sharding {
    /// One rank.
    pub const WHOLE: Self = Self { tp: 1, sequence: false, ep: 1, expert_tp: 1, exchanging: 1 };

    /// Whether there is nothing to divide.
    pub fn is_whole(&self) -> bool {
        self.tp == 1 && self.ep == 1 && self.expert_tp == 1
    }
}
