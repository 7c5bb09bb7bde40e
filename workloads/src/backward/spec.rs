//! How a model is trained: what a step takes in, what it keeps and what it computes again, and how parameters are updated.

use serde::{Deserialize, Serialize};

use crate::tensor::DataType;

/// What of the activations is kept from the forward pass for the backward pass, and what is computed again there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// Everything that a gradient needs is kept.
    #[default]
    None,
    /// Of each layer its input alone is kept; the layer runs forward once more before its backward pass (arXiv 1604.06174).
    Full,
    /// What is cheap to compute and large to keep is computed again: activations and gated products behind their projections, and attention
    /// (arXiv 2205.05198, section 5).
    Selective,
}

/// How parameters are updated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Optimizer {
    /// Not at all: gradients alone are wanted.
    #[default]
    None,
    /// Plain descent, without a state.
    Sgd,
    /// AdamW (arXiv 1711.05101): two moments a parameter, of a type.
    AdamW {
        /// Type of the moments.
        moments: DataType,
    },
    /// AdamW with moments of eight bits and a scale for each block of them (arXiv 2110.02861).
    AdamW8 {
        /// Elements with one scale.
        block: u64,
    },
    /// AdamW on gradients of matrices that are projected to so many rows (GaLore, arXiv 2403.03507).
    LowRank {
        /// Rows that are kept.
        rank: u64,
        /// Type of the moments.
        moments: DataType,
    },
    /// Second moments of matrices as sums of rows and of columns, none first (Adafactor, arXiv 1804.04235).
    Adafactor,
    /// Momentum whose matrices are made orthogonal by Newton-Schulz steps (Muon, 2024); vectors by AdamW.
    Muon {
        /// Type of the momentum.
        moments: DataType,
    },
}

/// Types of what a training step keeps beside the model's own (which its `Types` say).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Parameters, gradients and moments are of the model's type.
    #[default]
    Pure,
    /// The optimiser has a copy of the parameters in 32 bits, and gradients are summed up in 32 bits (arXiv 1710.03740).
    Mixed,
}

/// A training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// Sequences that enter at once.
    pub micro_batch: u64,
    /// Tokens of each.
    pub sequence: u64,
    /// What is computed again.
    #[serde(default)]
    pub recompute: Recompute,
    /// How parameters are updated.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Types.
    #[serde(default)]
    pub precision: Precision,
    /// Micro batches whose gradients are added up before parameters are updated.
    #[serde(default = "one")]
    pub accumulate: u64,
    /// Whether there is a backward pass at all.
    #[serde(default = "yes")]
    pub backward: bool,
    /// The cluster of ranks that share the optimiser's state (ZeRO 1, arXiv 1910.02054): each has and updates its part.
    #[serde(default = "one")]
    pub shards: u64,
}

const fn one() -> u64 {
    1
}

const fn yes() -> bool {
    true
}

impl TrainingSpec {
    /// Forward and backward pass of so many sequences, with everything kept, and no update.
    pub const fn new(micro_batch: u64, sequence: u64) -> Self {
        Self {
            micro_batch,
            sequence,
            recompute: Recompute::None,
            optimizer: Optimizer::None,
            precision: Precision::Pure,
            accumulate: 1,
            backward: true,
            shards: 1,
        }
    }

    /// Tokens of a micro batch.
    pub const fn tokens(&self) -> u64 {
        self.micro_batch.saturating_mul(self.sequence)
    }
}

/// What a part of a step is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// From tokens to the loss.
    Forward,
    /// From the loss to gradients.
    Backward {
        /// It is a part of the forward pass that runs again.
        recompute: bool,
    },
    /// From gradients to parameters.
    Update(Optimizer),
}
