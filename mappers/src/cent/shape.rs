//! What a decoder's blocks compute, in the numbers that a mapping over banks needs.

use banksia_input::InputError;
use banksia_workloads::{GptConfig, Model};

/// Sizes of a decoder whose blocks are alike: norm, grouped-query attention with rotary positions, norm, gated feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Blocks.
    pub layers: u64,
    /// Elements of the hidden state.
    pub width: u64,
    /// Query heads.
    pub heads: u64,
    /// Key and value heads.
    pub kv_heads: u64,
    /// Elements of a head.
    pub head_dim: u64,
    /// Elements of the feed-forward layer's inner state.
    pub ffn_width: u64,
    /// Rows of the embedding table.
    pub vocab: u64,
}

impl Shape {
    /// That of a model.
    ///
    /// # Errors
    /// Its blocks differ, or are not a gated decoder's with rotary positions.
    pub fn of(model: &Model) -> Result<Self, InputError> {
        let fail = |problem: &str| {
            InputError::new(format!("model {}", model.name), problem)
                .help("the mapping `cent` is for decoders of Llama's kind: RMS norm, rotary positions, gated feed-forward layers")
        };
        let Some(gpt) = model.as_gpt() else {
            return Err(fail("is no stack of alike attention and feed-forward layers"));
        };
        Self::of_config(&gpt).ok_or_else(|| fail("has feed-forward layers without a gate"))
    }

    /// That of a decoder by its sizes; `None` without a gate.
    pub fn of_config(gpt: &GptConfig) -> Option<Self> {
        gpt.gated.then_some(Self {
            layers: u64::from(gpt.layers),
            width: gpt.width,
            heads: gpt.heads,
            kv_heads: gpt.kv_heads,
            head_dim: gpt.head_dim,
            ffn_width: gpt.ffn_width,
            vocab: gpt.vocab,
        })
    }

    /// Query heads that share a key and value head.
    pub fn queries_per_kv(&self) -> u64 {
        (self.heads / self.kv_heads.max(1)).max(1)
    }
}
