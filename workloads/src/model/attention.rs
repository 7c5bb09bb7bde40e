//! Attention: heads, windows, positions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::norm::Norm;

/// Softmax attention. Queries are `heads x head_dim` wide, keys `kv_heads x head_dim`, values `kv_heads x value_dim`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttentionSpec {
    /// Query heads.
    pub heads: u64,
    /// Key and value heads; divides `heads`. 1 is multi-query, fewer than `heads` grouped-query attention.
    pub kv_heads: u64,
    /// Elements of a query or key head.
    pub head_dim: u64,
    /// Elements of a value head; 0 for `head_dim`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub value_dim: u64,
    /// Elements of a head that rotary positions rotate; 0 for none (learned, ALiBi or no positions).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rotary_dim: u64,
    /// Scores are biased by distance, with a slope a head.
    #[serde(default, skip_serializing_if = "is_false")]
    pub alibi: bool,
    /// Scores are biased by a learned table of so many distances a head (T5); 0 for none. The table belongs to the first layer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub relative_buckets: u64,
    /// A token sees so many tokens, itself among them; 0 for all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub window: u64,
    /// The window is a chunk: a token sees those of its own chunk of `window` tokens, and none before it (Llama 4).
    #[serde(default, skip_serializing_if = "is_false")]
    pub chunked: bool,
    /// A token sees those before it alone.
    #[serde(default = "yes")]
    pub causal: bool,
    /// Keys and values are those of an encoder's output.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cross: bool,
    /// A learned score a head that takes a part of the softmax (gpt-oss).
    #[serde(default, skip_serializing_if = "is_false")]
    pub sinks: bool,
    /// Scores are capped by a tanh (Gemma 2).
    #[serde(default, skip_serializing_if = "is_false")]
    pub soft_cap: bool,
    /// The norm of every query and key head, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qk_norm: Option<QkNorm>,
    /// The result is multiplied with a sigmoid of another projection as wide as the queries (Qwen3-Next).
    #[serde(default, skip_serializing_if = "is_false")]
    pub output_gate: bool,
    /// The result's heads are each multiplied with a sigmoid of one number of another projection (Step-3.5).
    #[serde(default, skip_serializing_if = "is_false")]
    pub head_gate: bool,
    /// Values are what the projection of keys gives, before its norm and rotation: there is none of values (Gemma 4). Both are cached.
    #[serde(default, skip_serializing_if = "is_false")]
    pub values_are_keys: bool,
    /// The projections of queries, keys and values add biases.
    #[serde(default, skip_serializing_if = "is_false")]
    pub qkv_bias: bool,
    /// The output projection adds a bias.
    #[serde(default, skip_serializing_if = "is_false")]
    pub out_bias: bool,
    /// Keys and values are those of an earlier layer (cross-layer sharing): the layer has no projections of its own for them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shares_cache: bool,
    /// Elements of the input; 0 for the hidden state's width (Zamba concatenates the embedding: twice as many).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub input_width: u64,
}

/// A norm of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QkNorm {
    /// Which.
    pub norm: Norm,
    /// Over all heads at once (OLMo 2), with a gain an element; otherwise head by head.
    #[serde(default)]
    pub whole: bool,
    /// Head by head with gains of each head (Cohere, Chameleon); otherwise heads share them.
    #[serde(default)]
    pub per_head_gain: bool,
}

impl AttentionSpec {
    /// Attention of so many heads of equal size over everything before, without positions.
    pub const fn new(heads: u64, kv_heads: u64, head_dim: u64) -> Self {
        Self {
            heads,
            kv_heads,
            head_dim,
            value_dim: 0,
            rotary_dim: 0,
            alibi: false,
            relative_buckets: 0,
            window: 0,
            chunked: false,
            causal: true,
            cross: false,
            sinks: false,
            soft_cap: false,
            qk_norm: None,
            output_gate: false,
            head_gate: false,
            values_are_keys: false,
            qkv_bias: false,
            out_bias: false,
            shares_cache: false,
            input_width: 0,
        }
    }

    /// Elements of a value head.
    pub const fn values(&self) -> u64 {
        if self.value_dim == 0 { self.head_dim } else { self.value_dim }
    }

    /// Elements that one token adds to the cache.
    pub const fn cached(&self) -> u64 {
        if self.shares_cache { 0 } else { self.kv_heads.saturating_mul(self.head_dim.saturating_add(self.values())) }
    }
}

/// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values are projected up from a latent vector that alone is cached,
/// beside a rotated part that all heads share. Prefill projects up; decode absorbs the projections and works on the latent vectors.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LatentSpec {
    /// Heads.
    pub heads: u64,
    /// Elements of the queries' latent vector; 0 where queries are projected directly.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub query_rank: u64,
    /// Elements of the latent vector of keys and values.
    pub kv_rank: u64,
    /// Elements of a head without positions.
    pub nope_dim: u64,
    /// Rotated elements of a head; keys share them.
    pub rope_dim: u64,
    /// Elements of a value head.
    pub value_dim: u64,
    /// The projections add biases.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bias: bool,
    /// Tokens that an indexer picks for each query (DeepSeek sparse attention); 0 for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexer: Option<Indexer>,
}

/// The lightning indexer of DeepSeek sparse attention (DeepSeek-V3.2): cheap scores choose the keys that attention reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Indexer {
    /// Its heads.
    pub heads: u64,
    /// Elements of a head, and of the key that it caches a token.
    pub head_dim: u64,
    /// Keys that attention reads.
    pub top_k: u64,
    /// The choice is an earlier layer's: this one has neither the indexer's weights nor its keys (GLM-5.2).
    #[serde(default, skip_serializing_if = "is_false")]
    pub shared: bool,
}

impl LatentSpec {
    /// Elements that one token adds to the cache.
    pub const fn cached(&self) -> u64 {
        let own = self.kv_rank.saturating_add(self.rope_dim);
        match self.indexer {
            Some(indexer) if !indexer.shared => own.saturating_add(indexer.head_dim),
            _ => own,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
pub(super) const fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
pub(super) const fn is_false(b: &bool) -> bool {
    !*b
}

const fn yes() -> bool {
    true
}
