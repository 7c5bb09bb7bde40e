//! A transformer by the sizes that training depends on.

use banksia_workloads::model::{Mixer, Model, Norm};
use serde::{Deserialize, Serialize};

/// A decoder of equal layers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Layers.
    pub layers: u32,
    /// Elements of the hidden state.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Elements of the inner state of a feed-forward layer.
    pub ffn: u32,
    /// An activated gate is multiplied with the up projection.
    pub gated: bool,
    /// Norms scale by the root of the mean square and have no bias; else layer norms.
    pub rms_norm: bool,
    /// Queries and keys are rotated.
    pub rotary: bool,
    /// Products add biases.
    pub bias: bool,
    /// Dropout after attention, feed-forward and softmax.
    pub dropout: bool,
    /// The head is the embedding table.
    pub tied: bool,
    /// Rows of a learned position table; 0 for none.
    pub positions: u32,
    /// Words.
    pub vocab: u32,
    /// Experts in place of the feed-forward layer.
    pub experts: Option<Experts>,
}

/// Experts of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experts {
    /// Routed experts.
    pub count: u32,
    /// Experts of a token.
    pub top_k: u32,
    /// Elements of an expert's inner state.
    pub ffn: u32,
    /// Elements of what every token passes beside; 0 for none.
    pub shared_ffn: u32,
}

impl Shape {
    /// A GPT as Megatron-LM's papers train it: layer norms, biases, GELU, dropout, tied embeddings.
    pub fn gpt(layers: u32, hidden: u32, heads: u32, vocab: u32, positions: u32) -> Self {
        Self {
            layers,
            hidden,
            heads,
            kv_heads: heads,
            head_dim: hidden / heads.max(1),
            ffn: 4 * hidden,
            gated: false,
            rms_norm: false,
            rotary: false,
            bias: true,
            dropout: true,
            tied: true,
            positions,
            vocab,
            experts: None,
        }
    }

    /// A decoder as Llama has it: RMS norms, rotated queries and keys, gated SiLU, no biases, no dropout.
    pub fn llama(layers: u32, hidden: u32, [heads, kv_heads]: [u32; 2], ffn: u32, vocab: u32) -> Self {
        Self {
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim: hidden / heads.max(1),
            ffn,
            gated: true,
            rms_norm: true,
            rotary: true,
            bias: false,
            dropout: false,
            tied: false,
            positions: 0,
            vocab,
            experts: None,
        }
    }

    /// The shape of a model of the zoo, or of a user's file.
    ///
    /// # Errors
    /// Its layers are not alike, or have mixers that the pass does not cut yet: says which.
    pub fn of(model: &Model) -> Result<Self, String> {
        let [block] = model.blocks.as_slice() else {
            return Err(format!("has {} kinds of layers; the pass cuts models of one", model.blocks.len()));
        };
        let mut shape = Self::gpt(0, model.width as u32, 1, model.head.vocab.max(model.embed.vocab) as u32, 0);
        shape.dropout = false;
        shape.layers = model.pattern.iter().map(|p| p.layers).sum();
        shape.positions = model.embed.position_rows as u32;
        shape.tied = model.head.tied;
        let mut attention = false;
        let mut inner = false;
        for branch in block.stages.iter().flat_map(|stage| stage.branches.iter().map(|b| &b.mixer)) {
            match branch {
                Mixer::Attention(a) if !a.cross => {
                    (shape.heads, shape.kv_heads) = (a.heads as u32, a.kv_heads as u32);
                    shape.head_dim = a.head_dim as u32;
                    shape.rotary = a.rotary_dim > 0;
                    attention = true;
                }
                Mixer::FeedForward(f) => {
                    (shape.ffn, shape.gated, shape.bias) = (f.inner as u32, f.gated, f.bias);
                    inner = true;
                }
                Mixer::Experts(e) => {
                    shape.experts = Some(Experts {
                        count: e.experts as u32,
                        top_k: e.top_k as u32,
                        ffn: e.inner as u32,
                        shared_ffn: e.shared_inner as u32,
                    });
                    (shape.gated, shape.bias) = (e.gated, e.bias);
                    inner = true;
                }
                other => return Err(format!("has a layer of {}, which the pass does not cut yet", other.name())),
            }
        }
        if !attention || !inner {
            return Err("has a layer without attention or without a feed-forward part".into());
        }
        shape.rms_norm = model.head.norm == Some(Norm::RmsNorm);
        Ok(shape)
    }

    /// Elements of all query heads.
    pub fn query_width(&self) -> u64 {
        u64::from(self.heads) * u64::from(self.head_dim)
    }

    /// Elements of all key heads.
    pub fn kv_width(&self) -> u64 {
        u64::from(self.kv_heads) * u64::from(self.head_dim)
    }

    /// Words of the table of so many tensor-parallel ranks: each has as many, or a multiple of 128 (Megatron's `make-vocab-size-divisible-by`).
    pub fn padded_vocab(&self, tp: u32, fill: bool) -> u64 {
        u64::from(self.vocab).next_multiple_of(if fill { 128 } else { 1 } * u64::from(tp.max(1)))
    }

    /// Parameters of attention and norms of a layer.
    pub fn attention_parameters(&self) -> u64 {
        let h = u64::from(self.hidden);
        let products = h * (self.query_width() + 2 * self.kv_width()) + self.query_width() * h;
        let biases = if self.bias { self.query_width() + 2 * self.kv_width() + h } else { 0 };
        products + biases + 2 * h * if self.rms_norm { 1 } else { 2 }
    }

    /// Parameters of a feed-forward part of so many inner elements.
    pub fn ffn_parameters(&self, inner: u64) -> u64 {
        let h = u64::from(self.hidden);
        let ups = if self.gated { 2 } else { 1 };
        h * inner * (ups + 1) + if self.bias { inner * ups + h } else { 0 }
    }

    /// Parameters of a layer outside of routed experts, and in them.
    pub fn layer_parameters(&self) -> (u64, u64) {
        match self.experts {
            None => (self.attention_parameters() + self.ffn_parameters(u64::from(self.ffn)), 0),
            Some(e) => {
                let shared = if e.shared_ffn > 0 { self.ffn_parameters(u64::from(e.shared_ffn)) } else { 0 };
                let router = u64::from(self.hidden) * u64::from(e.count);
                let routed = u64::from(e.count) * self.ffn_parameters(u64::from(e.ffn));
                (self.attention_parameters() + shared + router, routed)
            }
        }
    }

    /// All parameters.
    pub fn parameters(&self) -> u64 {
        let (dense, routed) = self.layer_parameters();
        let table = u64::from(self.vocab) * u64::from(self.hidden);
        u64::from(self.layers) * (dense + routed)
            + table * if self.tied { 1 } else { 2 }
            + u64::from(self.positions) * u64::from(self.hidden)
    }

    /// Operations of routed experts for a token, forward and backward: those of [`Shape::model_flops_per_token`].
    pub fn routed_flops_per_token(&self) -> f64 {
        let ups = if self.gated { 3.0 } else { 2.0 };
        let inner = self.experts.map_or(0.0, |e| f64::from(e.ffn) * f64::from(e.top_k));
        6.0 * f64::from(self.layers) * ups * f64::from(self.hidden) * inner
    }

    /// Operations that the model needs for a token, forward and backward, without recomputation (the numerator of MFU): six a weight of a
    /// product, and of attention all scores where `causal` says that none is left out.
    pub fn model_flops_per_token(&self, sequence: u32, half_of_scores: bool) -> f64 {
        let h = f64::from(self.hidden);
        let ups = if self.gated { 3.0 } else { 2.0 };
        let inner = match self.experts {
            None => f64::from(self.ffn),
            Some(e) => f64::from(e.ffn) * f64::from(e.top_k) + f64::from(e.shared_ffn),
        };
        let products = h * (2.0 * self.query_width() as f64 + 2.0 * self.kv_width() as f64) + ups * h * inner;
        let scores = 2.0 * f64::from(sequence) * self.query_width() as f64 * if half_of_scores { 0.5 } else { 1.0 };
        6.0 * (f64::from(self.layers) * (products + scores) + h * f64::from(self.vocab))
    }
}
