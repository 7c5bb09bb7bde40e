//! What a mixture of experts is asked for.

use super::super::launch::Operand;
use super::format::Format;

/// The routed part of a mixture on one rank: tokens `[tokens, hidden]`, each with `top_k` of all experts, of which the rank has `rows.len()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoeCall {
    /// Tokens that the rank has in hand.
    pub tokens: u32,
    /// Numbers of a token.
    pub hidden: u32,
    /// Inner size of an expert on this rank.
    pub inter: u32,
    /// Experts that the router scores, on all ranks.
    pub experts: u32,
    /// Experts of a token.
    pub top_k: u32,
    /// Rows of each of the rank's experts.
    pub rows: Vec<u32>,
    /// Numbers of weights and activations.
    pub format: Format,
    /// The first product is twice as wide, and one half of it gates the other.
    pub gated: bool,
    /// Choices are made already: neither scores nor their best are computed.
    pub routed: bool,
}

impl MoeCall {
    /// Columns of the first product.
    pub fn first_columns(&self) -> u32 {
        if self.gated { self.inter.saturating_mul(2) } else { self.inter }
    }

    /// Rows of all experts of the rank.
    pub fn pairs(&self) -> u32 {
        u32::try_from(self.rows.iter().map(|&r| u64::from(r)).sum::<u64>()).unwrap_or(u32::MAX)
    }

    /// Sizes that kernels can be written for: what is wrong otherwise.
    ///
    /// # Errors
    /// A size is nothing or beyond what a launch can count.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [("hidden size", self.hidden), ("inner size", self.inter), ("top-k", self.top_k)];
        for (name, value) in sizes {
            if value == 0 || value > 1 << 20 {
                return Err(format!("{name} is {value}: must be 1 to {}", 1 << 20));
            }
        }
        let experts = self.rows.len() as u64;
        if experts == 0 || experts > 1 << 16 {
            return Err(format!("{experts} experts: must be 1 to {}", 1 << 16));
        }
        let pairs: u64 = self.rows.iter().map(|&r| u64::from(r)).sum();
        if pairs > 1 << 24 {
            return Err(format!("{pairs} rows of experts: at most {} are simulated", 1 << 24));
        }
        if experts * u64::from(self.first_columns().max(self.hidden)) > i32::MAX as u64 {
            return Err(format!("{experts} experts of {} columns: too many rows of weights", self.first_columns()));
        }
        Ok(())
    }
}

/// Memory that a mixture's launches use.
#[derive(Debug, Clone)]
pub struct MoeMemory {
    /// Tokens.
    pub input: Operand,
    /// Scores of experts.
    pub scores: Operand,
    /// Weights of the first product, and of the second.
    pub weights: [Operand; 2],
    /// The result.
    pub output: Operand,
}

impl MoeMemory {
    /// Names of one layer.
    pub fn of(name: &str) -> Self {
        Self {
            input: Operand::shared(format!("{name} input")),
            scores: Operand::shared(format!("{name} scores")),
            weights: [Operand::own(format!("{name} first weights")), Operand::own(format!("{name} second weights"))],
            output: Operand::shared(format!("{name} output")),
        }
    }
}
