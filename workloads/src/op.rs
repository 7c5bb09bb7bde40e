//! Operators and the node that holds one.

use serde::{Deserialize, Serialize};

use crate::tensor::{DataType, Tensor};

/// An element-wise non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivationKind {
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, as GPT-2 computes it (Hendrycks and Gimpel, arXiv 1606.08415).
    Gelu,
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `max(x, 0)^2`.
    Relu2,
    /// `tanh(x)`: caps of scores and logits.
    Tanh,
    /// `1 / (1 + exp(-x))`: gates.
    Sigmoid,
    /// `log(1 + exp(x))`: time steps.
    Softplus,
}

/// What a node computes. Shapes are written `[slowest, .., fastest]` with `b` = batch and `t` = tokens of this step
/// (both on the node).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "op")]
#[non_exhaustive]
pub enum Op {
    /// Looks up one row of a `[vocab, width]` table per token: indices `[b, t]` to `[b, t, width]`.
    Embedding {
        /// Rows of the table.
        vocab: u64,
        /// Elements of a row.
        width: u64,
    },
    /// Adds the row of a learned `[positions, width]` table to each token: `[b, t, width]` to the same.
    PositionEmbedding {
        /// Rows of the table.
        positions: u64,
        /// Elements of a row.
        width: u64,
    },
    /// Mean and variance normalisation with gain and shift over the last dimension: `[b, t, width]` to the same.
    LayerNorm {
        /// Elements normalised together.
        width: u64,
    },
    /// Root-mean-square normalisation with gain over the last dimension: `[b, t, width]` to the same.
    RmsNorm {
        /// Elements normalised together.
        width: u64,
    },
    /// `y = x Wᵀ (+ bias)`: `[b, t, in_features]` to `[b, t, out_features]`, the weight `[out_features, in_features]`. The
    /// output may be split along its features into several tensors (queries, keys, values).
    Linear {
        /// Columns of the weight.
        in_features: u64,
        /// Rows of the weight.
        out_features: u64,
        /// A vector `[out_features]` is added.
        bias: bool,
    },
    /// Rotates the first `rotary_dim` elements of every query and key head by the token's position (RoPE, arXiv
    /// 2104.09864): `[b, t, heads, head_dim]` and `[b, t, kv_heads, head_dim]` to the same.
    Rotary {
        /// Query heads.
        heads: u64,
        /// Key heads.
        kv_heads: u64,
        /// Elements of a head.
        head_dim: u64,
        /// Elements of a head that are rotated; even.
        rotary_dim: u64,
    },
    /// Writes this step's keys and values, each `[b, t, heads, head_dim]`, behind those of the `context - t` tokens before;
    /// gives the caches `[b, heads, context, head_dim]`.
    KvAppend {
        /// Key (and value) heads.
        heads: u64,
        /// Elements of a head.
        head_dim: u64,
        /// Tokens in the cache after the write, this step's among them.
        context: u64,
    },
    /// `q Kᵀ` by head: `[b, t, heads, head_dim]` and the key cache to `[b, heads, t, context]`.
    AttentionScores {
        /// Query heads.
        heads: u64,
        /// Key heads; each serves `heads / kv_heads` query heads.
        kv_heads: u64,
        /// Elements of a head.
        head_dim: u64,
        /// Tokens in the cache, this step's among them.
        context: u64,
        /// A token sees only itself and those before it.
        causal: bool,
    },
    /// Softmax of the scores scaled by 1/sqrt(head_dim), over the last dimension: `[b, heads, t, columns]` to the same.
    Softmax {
        /// Rows in all: `b x heads x t`.
        rows: u64,
        /// Elements of a row: the context.
        columns: u64,
        /// Row `i` of a step's `t` rows has its last `t - 1 - i` columns masked.
        causal: bool,
    },
    /// `p V` by head: `[b, heads, t, context]` and the value cache to `[b, t, heads x head_dim]`.
    AttentionValues {
        /// Query heads.
        heads: u64,
        /// Value heads; each serves `heads / kv_heads` query heads.
        kv_heads: u64,
        /// Elements of a head.
        head_dim: u64,
        /// Tokens in the cache, this step's among them.
        context: u64,
        /// A token sees only itself and those before it.
        causal: bool,
    },
    /// Element-wise sum of two `[b, t, width]`.
    Residual {
        /// Elements of a token.
        width: u64,
    },
    /// Element-wise non-linearity of a `[b, t, width]`.
    Activation {
        /// Which.
        kind: ActivationKind,
        /// Elements of a token.
        width: u64,
    },
    /// Element-wise product of two `[b, t, width]`: the gate of a gated feed-forward layer.
    GatedMul {
        /// Elements of a token.
        width: u64,
    },
    /// The index of the largest of `[b, t, vocab]` logits (greedy sampling): gives `[b, t]` indices.
    ArgMax {
        /// Logits of a token.
        vocab: u64,
    },
}

impl Op {
    /// The operator's name without its parameters (`linear`, `attention_scores`), as serialised.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Embedding { .. } => "embedding",
            Self::PositionEmbedding { .. } => "position_embedding",
            Self::LayerNorm { .. } => "layer_norm",
            Self::RmsNorm { .. } => "rms_norm",
            Self::Linear { .. } => "linear",
            Self::Rotary { .. } => "rotary",
            Self::KvAppend { .. } => "kv_append",
            Self::AttentionScores { .. } => "attention_scores",
            Self::Softmax { .. } => "softmax",
            Self::AttentionValues { .. } => "attention_values",
            Self::Residual { .. } => "residual",
            Self::Activation { .. } => "activation",
            Self::GatedMul { .. } => "gated_mul",
            Self::ArgMax { .. } => "arg_max",
        }
    }

    /// The tokens attended to, for the operators whose size depends on it.
    pub const fn context(&self) -> Option<u64> {
        match self {
            Self::KvAppend { context, .. }
            | Self::AttentionScores { context, .. }
            | Self::AttentionValues { context, .. } => Some(*context),
            Self::Softmax { columns, .. } => Some(*columns),
            _ => None,
        }
    }

    /// The same operator at another context; itself where it has none.
    #[must_use]
    pub const fn with_context(mut self, new: u64) -> Self {
        match &mut self {
            Self::KvAppend { context, .. }
            | Self::AttentionScores { context, .. }
            | Self::AttentionValues { context, .. } => *context = new,
            Self::Softmax { columns, .. } => *columns = new,
            _ => {}
        }
        self
    }
}

/// One operator of a graph, with all that its counts depend on.
///
/// Its inputs are the tensors of `inputs` (from outside the graph), then those of its incoming edges in the order in which
/// they were connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorNode {
    /// Unique in the graph: `layer3.qkv`, `lm_head`.
    pub name: String,
    /// What it is in words, the same in every layer: `qkv projection`. Reports group by it.
    pub label: String,
    /// The layer, from 0; `None` before the first and after the last.
    pub layer: Option<u32>,
    /// What it computes.
    pub op: Op,
    /// Tokens of each sequence that it processes: 1 in a decode step, the prompt in a prefill.
    pub tokens: u64,
    /// Sequences.
    pub batch: u64,
    /// Element type of its operands.
    pub dtype: DataType,
    /// Tensors from outside the graph that it reads, other than weights.
    pub inputs: Vec<Tensor>,
    /// Parameters that it reads.
    pub weights: Vec<Tensor>,
    /// Tensors that it produces.
    pub outputs: Vec<Tensor>,
}
