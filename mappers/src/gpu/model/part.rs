//! The operators of a step, and what they are launched as.

use banksia_workloads::Op;

use super::super::gemm::Gemm;
use super::super::launch::{Launch, Operand};
use super::super::select::Found;

/// What the kernels of an operator depend on, apart from the phase: equal work has equal kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// One operator of the graph.
    Operator {
        /// What it computes.
        op: Op,
        /// Sequences.
        batch: u64,
        /// Tokens of each.
        tokens: u64,
    },
    /// Scores, softmax and values as one kernel.
    Attention {
        /// Sequences.
        batch: u64,
        /// Queries of each.
        tokens: u64,
        /// Keys of each.
        context: u64,
        /// Query heads.
        heads: u64,
        /// Key heads.
        kv_heads: u64,
        /// Elements of a head.
        head_dim: u64,
    },
}

impl Work {
    pub(super) fn is_attention(&self) -> bool {
        matches!(self, Self::Attention { .. })
    }

    /// Whether it puts new keys and values into the cache.
    pub(super) fn is_append(&self) -> bool {
        matches!(self, Self::Operator { op: Op::KvAppend { .. }, .. })
    }

    /// Whether it works on the cache, or on what lies between two that do.
    pub(super) fn is_of_cache(&self) -> bool {
        let of_attention =
            |op: &Op| matches!(op, Op::AttentionScores { .. } | Op::Softmax { .. } | Op::AttentionValues { .. });
        self.is_append() || matches!(self, Self::Operator { op, .. } if of_attention(op)) || self.is_attention()
    }

    /// Whether another decode step has the same.
    pub(super) fn depends_on_context(&self) -> bool {
        self.context().is_some()
    }

    pub(super) fn context(&self) -> Option<u64> {
        match self {
            Self::Operator { op: Op::KvAppend { .. }, .. } => None,
            Self::Operator { op, .. } => op.context(),
            Self::Attention { context, .. } => Some(*context),
        }
    }
}

/// Where in a step an operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before the first layer.
    Before,
    /// In every layer.
    Layer,
    /// After the last layer.
    After,
}

/// One operator of a step.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) label: String,
    pub(super) work: Work,
    pub(super) place: Place,
    /// Once.
    pub(super) flops: u64,
    /// The memory that it reads, its weights, and what it writes.
    pub(super) inputs: Vec<Operand>,
    pub(super) weights: Vec<Operand>,
    pub(super) output: Operand,
}

impl Part {
    /// How often a step has it.
    pub(super) fn count(&self, layers: u32) -> u64 {
        if self.place == Place::Layer { u64::from(layers) } else { 1 }
    }

    pub(super) fn input(&self, i: usize) -> Operand {
        self.inputs.get(i).cloned().unwrap_or_else(|| Operand::shared("input"))
    }
}

/// The launches of one operator.
pub(super) enum Launches {
    /// A product whose kernel is searched for, and its two operands and result.
    Product(Gemm, Found, [Operand; 3]),
    /// Kernels.
    Kernels(Vec<Launch>),
}
