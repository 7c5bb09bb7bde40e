//! Operators and the node that holds one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::activation::ActivationKind;
use crate::model::{LinearRule, Router, WeightFormat};
use crate::tensor::{DataType, Tensor};

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
        /// Elements of a key head.
        head_dim: u64,
        /// Elements of a value head; 0 where keys alone are cached and values are read from them (latent attention).
        value_dim: u64,
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
        /// A token sees so many tokens at most, itself among them; 0 for all.
        window: u64,
    },
    /// Softmax of the scores scaled by 1/sqrt(head_dim), over the last dimension: `[b, heads, t, columns]` to the same.
    Softmax {
        /// Rows in all: `b x heads x t`.
        rows: u64,
        /// Elements of a row: the context.
        columns: u64,
        /// Row `i` of a step's `t` rows has its last `t - 1 - i` columns masked.
        causal: bool,
        /// A row has so many columns that are not masked at most; 0 for no limit.
        window: u64,
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
        /// A token sees so many tokens at most, itself among them; 0 for all.
        window: u64,
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
    /// Normalisation by mean and variance with gain alone, or without parameters: `[b, t, width]` to the same.
    PlainNorm {
        /// Elements normalised together.
        width: u64,
        /// Whether there is a gain.
        gain: bool,
    },
    /// Normalises queries and keys head by head: `[b, t, heads, head_dim]` and `[b, t, kv_heads, head_dim]` to the same.
    QkNorm {
        /// Query heads.
        heads: u64,
        /// Key heads.
        kv_heads: u64,
        /// Elements of a head.
        head_dim: u64,
        /// Parameters in all.
        parameters: u64,
    },
    /// Caps scores by a tanh: `[b, heads, t, columns]` to the same.
    ScoreCap {
        /// Rows in all: `b x heads x t`.
        rows: u64,
        /// Elements of a row.
        columns: u64,
    },
    /// A product a head: `[b, t, heads, in_features]` to `[b, t, heads, out_features]`, the weight `[heads, out_features, in_features]`: the
    /// projections that latent attention absorbs, block-diagonal gates.
    HeadLinear {
        /// Heads.
        heads: u64,
        /// Columns of a head's weight.
        in_features: u64,
        /// Rows of it.
        out_features: u64,
    },
    /// Chooses the experts of each token from its logits `[b, t, experts]`: gives `[b, t, top_k]` weights.
    Route {
        /// Experts.
        experts: u64,
        /// Experts of a token.
        top_k: u64,
        /// How logits become weights.
        router: Router,
    },
    /// Sorts tokens by expert: `[b, t, width]` to `[b, t x top_k, width]` (`t` of the node is that of its result).
    Dispatch {
        /// Experts of a token.
        top_k: u64,
        /// Elements of a token.
        width: u64,
    },
    /// A product an expert, of the rows that it has been sent: `[b, t, in_features]` to `[b, t, out_features]`, the weights
    /// `[experts, out_features, in_features]`; `load` of the node says how many rows each has.
    ExpertLinear {
        /// Experts.
        experts: u64,
        /// Columns of an expert's weight.
        in_features: u64,
        /// Rows of it.
        out_features: u64,
        /// A vector `[out_features]` an expert is added.
        bias: bool,
    },
    /// Sums the weighted results of a token's experts: `[b, t x top_k, width]` to `[b, t, width]`.
    Combine {
        /// Experts of a token.
        top_k: u64,
        /// Elements of a token.
        width: u64,
    },
    /// Joins the tokens of runs of different lengths: several `[b_i, t_i, width]` to `[1, sum of b_i t_i, width]`. No data moves.
    Concat {
        /// Elements of a token.
        width: u64,
    },
    /// A causal convolution of each channel over time, with the inputs of `kernel - 1` tokens before as its state: `[b, t, channels]` to the same.
    CausalConv {
        /// Channels.
        channels: u64,
        /// Taps.
        kernel: u64,
        /// A bias is added.
        bias: bool,
        /// SiLU follows.
        silu: bool,
    },
    /// Root-mean-square normalisation of what a gate was multiplied with (SiLU of the second input): `[b, t, width]` twice to the same.
    GatedNorm {
        /// Elements.
        width: u64,
        /// Elements normalised together.
        group: u64,
        /// The gain is shared by groups.
        shared_gain: bool,
    },
    /// The recurrence of Mamba, a state of `state` a channel: inputs `[b, t, channels]`, time steps as wide, and `[b, t, 2 x state]`.
    SelectiveScan {
        /// Channels.
        channels: u64,
        /// Elements of a channel's state.
        state: u64,
    },
    /// The recurrence of Mamba-2: inputs with the state's vectors `[b, t, heads x head_dim + 2 x groups x state]`, time steps `[b, t, heads]`.
    StateSpaceDual {
        /// Heads.
        heads: u64,
        /// Elements of a head.
        head_dim: u64,
        /// Elements of the state for each of them.
        state: u64,
        /// Groups of heads with the same vectors.
        groups: u64,
        /// Tokens of a chunk where several are processed at once.
        chunk: u64,
    },
    /// Linear attention with a state of `key_dim x value_dim` a value head: queries, keys, values `[b, t, 2 x key_heads x key_dim + value_heads x
    /// value_dim]`, and decays and learning rates, if the rule has them.
    LinearAttention {
        /// How the state is updated.
        rule: LinearRule,
        /// Heads of queries and keys.
        key_heads: u64,
        /// Heads of values.
        value_heads: u64,
        /// Elements of a key head.
        key_dim: u64,
        /// Elements of a value head.
        value_dim: u64,
    },
    /// The recurrence of RWKV over `[b, t, 3 x channels]` receptance, keys and values (and decays).
    Wkv {
        /// 4 to 7.
        version: u32,
        /// Channels.
        channels: u64,
        /// Elements of a head; 1 in version 4.
        head_dim: u64,
    },
    /// Mixes each token with the one before it, `mixes` times: `[b, t, width]` to `[b, t, mixes x width]`.
    TokenShift {
        /// Elements of a token.
        width: u64,
        /// Results.
        mixes: u64,
    },
    /// A gated diagonal recurrence: inputs and two gates `[b, t, channels]` to `[b, t, channels]`.
    DiagonalScan {
        /// Channels.
        channels: u64,
    },
    /// Picks the keys that latent attention reads, by the scores of an indexer: queries `[b, t, heads, head_dim]` over keys of the context.
    Index {
        /// Heads of the indexer.
        heads: u64,
        /// Elements of its heads.
        head_dim: u64,
        /// Tokens in the cache, this step's among them.
        context: u64,
        /// Keys picked.
        top_k: u64,
    },
    /// What the ranks of a group that share a model's work do together: `[b, t, width]` of the whole to the same, or to a part of it.
    Collective {
        /// What they do.
        what: Communication,
        /// Ranks of the group.
        ranks: u32,
        /// Elements of a token of the whole.
        width: u64,
    },
}

/// What ranks exchange. The whole is `[b, t, width]` of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Communication {
    /// All get the sum of what each has: the whole in, the whole out.
    AllReduce,
    /// Each gets the sum of its share of the tokens: the whole in, `t / ranks` tokens out.
    ReduceScatter,
    /// All get all tokens: `t / ranks` tokens in, the whole out.
    AllGather,
    /// All get all features of each token: `width / ranks` in, the whole out.
    GatherFeatures,
    /// Tokens go to the ranks of their experts: the whole is what one rank sends, a row for each expert of a token.
    Dispatch,
    /// Experts' results go back to the ranks of their tokens: the whole is what one rank gets.
    Return,
    /// Each rank has so many tokens of all heads and gets all tokens of some of them, or the other way round.
    AllToAll,
}

impl Communication {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllReduce => "all-reduce",
            Self::ReduceScatter => "reduce-scatter",
            Self::AllGather => "all-gather",
            Self::GatherFeatures => "gather",
            Self::Dispatch => "dispatch",
            Self::Return => "return",
            Self::AllToAll => "all-to-all",
        }
    }
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
            Self::PlainNorm { .. } => "plain_norm",
            Self::QkNorm { .. } => "qk_norm",
            Self::ScoreCap { .. } => "score_cap",
            Self::HeadLinear { .. } => "head_linear",
            Self::Route { .. } => "route",
            Self::Dispatch { .. } => "dispatch",
            Self::ExpertLinear { .. } => "expert_linear",
            Self::Combine { .. } => "combine",
            Self::Concat { .. } => "concat",
            Self::CausalConv { .. } => "causal_conv",
            Self::GatedNorm { .. } => "gated_norm",
            Self::SelectiveScan { .. } => "selective_scan",
            Self::StateSpaceDual { .. } => "state_space_dual",
            Self::LinearAttention { .. } => "linear_attention",
            Self::Wkv { .. } => "wkv",
            Self::TokenShift { .. } => "token_shift",
            Self::DiagonalScan { .. } => "diagonal_scan",
            Self::Index { .. } => "index",
            Self::Collective { .. } => "collective",
        }
    }

    /// The tokens attended to, for the operators whose size depends on it.
    pub const fn context(&self) -> Option<u64> {
        match self {
            Self::KvAppend { context, .. }
            | Self::AttentionScores { context, .. }
            | Self::AttentionValues { context, .. }
            | Self::Index { context, .. } => Some(*context),
            Self::Softmax { columns, .. } | Self::ScoreCap { columns, .. } => Some(*columns),
            _ => None,
        }
    }

    /// The same operator at another context; itself where it has none.
    #[must_use]
    pub const fn with_context(mut self, new: u64) -> Self {
        match &mut self {
            Self::KvAppend { context, .. }
            | Self::AttentionScores { context, .. }
            | Self::AttentionValues { context, .. }
            | Self::Index { context, .. } => *context = new,
            Self::Softmax { columns, .. } | Self::ScoreCap { columns, .. } => *columns = new,
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
    /// Element type of its activations.
    pub dtype: DataType,
    /// Types of what is not an activation.
    pub types: NodeTypes,
    /// Rows that each expert is sent; empty where the operator has no experts.
    pub load: Arc<[u64]>,
    /// Tensors from outside the graph that it reads, other than weights.
    pub inputs: Vec<Tensor>,
    /// Parameters that it reads.
    pub weights: Vec<Tensor>,
    /// Tensors that it produces.
    pub outputs: Vec<Tensor>,
}

/// Element types of an operator's operands that are not activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeTypes {
    /// How its matrix is stored.
    pub weights: WeightFormat,
    /// What activations are converted to before its product.
    pub operands: DataType,
    /// Keys, values, latent vectors.
    pub cache: DataType,
    /// The state of its recurrence.
    pub state: DataType,
}

impl NodeTypes {
    /// All of one type, states in 32 bits.
    pub const fn uniform(dtype: DataType) -> Self {
        Self { weights: WeightFormat::plain(dtype), operands: dtype, cache: dtype, state: DataType::F32 }
    }
}
