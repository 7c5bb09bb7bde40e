//! The operators of a step, and what they are launched as.

use std::sync::Arc;

use banksia_workloads::{ActivationKind, NodeTypes, Op, Phase, Place};

use super::super::gemm::Gemm;
use super::super::launch::{Item, Operand};
use super::super::select::Found;

/// What the kernels of an operator depend on, apart from the phase: equal work has equal kernels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// One operator of the graph.
    Operator {
        /// What it computes.
        op: Op,
        /// Sequences.
        batch: u64,
        /// Tokens of each.
        tokens: u64,
        /// Types of what is not an activation.
        types: NodeTypes,
        /// Rows of each expert.
        load: Arc<[u64]>,
    },
    /// Scores, softmax and values as one kernel.
    Attention(AttentionWork),
    /// The sum of a residual stream and an operator's result, and the norm of it, as one kernel.
    AddNorm {
        /// The norm.
        op: Op,
        /// Rows.
        rows: u64,
    },
    /// An activated half of each row times the other half, as one kernel.
    GatedActivation {
        /// The activation.
        kind: ActivationKind,
        /// Elements of a half.
        width: u64,
        /// Rows.
        rows: u64,
    },
    /// Everything between a router's logits and the sum over a token's experts.
    Experts(Box<ExpertsWork>),
}

/// Sequences of an attention that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AttentionRun {
    /// How many.
    pub(super) batch: u64,
    /// Queries of each.
    pub(super) tokens: u64,
    /// Keys of each.
    pub(super) context: u64,
}

/// A fused attention.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AttentionWork {
    /// Its sequences: several runs are one call, where the framework has kernels for that.
    pub(super) runs: Vec<AttentionRun>,
    /// Query heads.
    pub(super) heads: u64,
    /// Key heads.
    pub(super) kv_heads: u64,
    /// Elements of a head of queries and keys.
    pub(super) head_dim: u64,
    /// Elements of a head of values.
    pub(super) value_dim: u64,
    /// A token sees those before it alone.
    pub(super) causal: bool,
    /// Tokens that one sees; 0 for all.
    pub(super) window: u64,
    /// Scores are capped.
    pub(super) capped: bool,
    /// What keys are.
    pub(super) keys: Keys,
    /// Each head has a score of no key in its sum.
    pub(super) sinks: bool,
    /// Bits of a cached element.
    pub(super) cache_bits: u64,
}

/// Where the keys of an attention come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Keys {
    /// Each head has its own, or shares them with some.
    Heads,
    /// They have been made from latent vectors; so many elements of each are rotated, and the vector has so many.
    Expanded { rope: u64, latent: u64 },
    /// They are the latent vectors, of which values are a part.
    Latent,
}

impl AttentionWork {
    /// The longest context.
    pub(super) fn context(&self) -> u64 {
        self.runs.iter().map(|r| r.context).max().unwrap_or(0)
    }

    /// Whether another run, of which scores alone have been met, can be part of the same call.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        let alone = |w: &Self| Self { runs: Vec::new(), value_dim: 0, capped: false, ..w.clone() };
        self.causal && self.keys == Keys::Heads && alone(self) == alone(other)
    }
}

/// A mixture of experts, from logits to sums.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ExpertsWork {
    /// Tokens.
    pub(super) tokens: u64,
    /// Elements of a token.
    pub(super) width: u64,
    /// Elements of an expert's inner state.
    pub(super) inner: u64,
    /// Experts.
    pub(super) experts: u64,
    /// Experts of a token.
    pub(super) top_k: u64,
    /// Rows of each expert.
    pub(super) load: Arc<[u64]>,
    /// A gate is multiplied with the up projection.
    pub(super) gated: bool,
    /// Types.
    pub(super) types: NodeTypes,
}

impl Work {
    pub(super) fn is_attention(&self) -> bool {
        matches!(self, Self::Attention(_))
    }

    /// Whether it puts new keys and values into the cache.
    pub(super) fn is_append(&self) -> bool {
        matches!(self, Self::Operator { op: Op::KvAppend { .. }, .. })
    }

    /// Whether it works on the cache, or on what lies between two that do.
    pub(super) fn is_of_cache(&self) -> bool {
        let of_attention = |op: &Op| {
            matches!(
                op,
                Op::AttentionScores { .. } | Op::Softmax { .. } | Op::ScoreCap { .. } | Op::AttentionValues { .. }
            )
        };
        self.is_append() || matches!(self, Self::Operator { op, .. } if of_attention(op)) || self.is_attention()
    }

    /// The context that it depends on: none where another decode step has the same.
    pub(super) fn context(&self) -> Option<u64> {
        match self {
            Self::Operator { op: Op::KvAppend { .. }, .. } => None,
            Self::Operator { op, .. } => op.context(),
            Self::Attention(a) => Some(a.context()),
            _ => None,
        }
    }
}

/// One operator of a step.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) label: String,
    pub(super) work: Work,
    pub(super) place: Place,
    /// The number of the first layer that has it, and how many have it.
    pub(super) first_layer: u32,
    pub(super) repeat: u32,
    /// The region that it is in, and of its operators the one that it begins with.
    pub(super) region: usize,
    pub(super) node: usize,
    /// Once.
    pub(super) flops: u64,
    /// The memory that it reads, its weights, and what it writes.
    pub(super) inputs: Vec<Operand>,
    pub(super) weights: Vec<Operand>,
    pub(super) output: Operand,
}

/// What the launches of a part are known by: kernels of the same work, in the same memory. Two attentions of a block, and two runs of sequences, do
/// the same work on caches and weights of their own.
pub(super) type PartKey = (Phase, Work, String, [Vec<Operand>; 2], Operand);

impl Part {
    pub(super) fn key(&self, phase: Phase) -> PartKey {
        let memory = [self.inputs.clone(), self.weights.clone()];
        (phase, self.work.clone(), self.label.clone(), memory, self.output.clone())
    }

    pub(super) fn input(&self, i: usize) -> Operand {
        self.inputs.get(i).cloned().unwrap_or_else(|| Operand::shared("input"))
    }

    /// The cache that it writes or reads.
    pub(super) fn cache(&self) -> Operand {
        if self.work.is_append() {
            return self.output.clone();
        }
        // Nothing else that is read is a layer's own.
        self.inputs.iter().find(|o| o.own).cloned().unwrap_or_else(|| Operand::own("kv_cache"))
    }

    pub(super) fn weight(&self, i: usize) -> Operand {
        self.weights.get(i).cloned().unwrap_or_else(|| Operand::own("weight"))
    }
}

/// The launches of one operator.
pub(super) enum Launches {
    /// A product whose kernel is searched for, and its two operands and result.
    Product(Gemm, Found, [Operand; 3]),
    /// Kernels, and products among them.
    Items(Vec<Item>),
}
