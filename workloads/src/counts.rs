//! Algorithmic counts of an operator: floating-point operations, and bytes of its operands.
//!
//! Operands are counted once each and whole, as if every one were read or written exactly once; what a machine moves in
//! addition, or keeps, is the machine's matter. An addition, multiplication, comparison, division, square root, exponential
//! or tanh is one operation each. Per element:
//!
//! | operator | operations |
//! |---|---|
//! | linear | 2 per weight and token, and 1 per output with a bias |
//! | scores, values | 2 x head_dim per query head and attended pair |
//! | softmax | 6: scale, maximum, subtract, exponential, sum, divide; attended elements only |
//! | layer norm | 7: sum, centre, square, sum, scale, gain, shift |
//! | RMS norm | 4: square, sum, scale, gain |
//! | rotary | 3 per rotated element |
//! | GELU (tanh form), SiLU, ReLU, squared ReLU | 9, 4, 1, 2 |
//! | tanh; sigmoid, softplus | 1; 3 |
//! | position, residual, gate | 1 |
//! | argmax | 1 per logit |
//! | embedding, KV append | 0 |
//!
//! A causal step of `t` tokens over a context `c` attends to `t (c - t) + t (t + 1) / 2` pairs of a head, which is `c` for
//! one token. Bytes of scores and probabilities are of the whole rectangle.

use crate::op::{ActivationKind, Op, OperatorNode};

/// All counts of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    flops: u128,
    weights: u128,
    weights_read: u128,
    activations_in: u128,
    activations_out: u128,
    kv_read: u128,
    kv_written: u128,
    indices_in: u128,
    indices_out: u128,
}

/// A product that saturates: at `u128::MAX` it is far beyond the `u64` that [`OperatorNode::is_countable`] asks for.
fn product(factors: &[u64]) -> u128 {
    factors.iter().fold(1u128, |p, f| p.saturating_mul(u128::from(*f)))
}

/// Query-key pairs of one head and sequence.
fn pairs(tokens: u64, context: u64, causal: bool) -> u128 {
    let (t, c) = (u128::from(tokens), u128::from(context));
    if causal && c >= t { t * (c - t) + t * (t + 1) / 2 } else { t * c }
}

impl OperatorNode {
    fn counts(&self) -> Counts {
        let (t, b) = (self.tokens, self.batch);
        let elements = |width: u64| product(&[b, t, width]);
        let elementwise = |operations: u64, inputs: u64, width: u64| Counts {
            flops: elements(width).saturating_mul(operations.into()),
            activations_in: elements(width).saturating_mul(inputs.into()),
            activations_out: elements(width),
            ..Counts::default()
        };
        let norm = |operations: u64, parameters: u64, width: u64| Counts {
            weights: product(&[parameters, width]),
            weights_read: product(&[parameters, width]),
            ..elementwise(operations, 1, width)
        };
        match self.op {
            Op::Embedding { vocab, width } => Counts {
                weights: product(&[vocab, width]),
                weights_read: elements(width),
                activations_out: elements(width),
                indices_in: product(&[b, t]),
                ..Counts::default()
            },
            Op::PositionEmbedding { positions, width } => Counts {
                weights: product(&[positions, width]),
                weights_read: product(&[t, width]),
                ..elementwise(1, 1, width)
            },
            Op::LayerNorm { width } => norm(7, 2, width),
            Op::RmsNorm { width } => norm(4, 1, width),
            Op::Linear { in_features, out_features, bias } => {
                let bias = u64::from(bias);
                let weights = product(&[in_features, out_features]).saturating_add(product(&[bias, out_features]));
                Counts {
                    flops: product(&[2, b, t, in_features, out_features]).saturating_add(product(&[
                        bias,
                        b,
                        t,
                        out_features,
                    ])),
                    weights,
                    weights_read: weights,
                    activations_in: elements(in_features),
                    activations_out: elements(out_features),
                    ..Counts::default()
                }
            }
            Op::Rotary { heads, kv_heads, head_dim, rotary_dim } => {
                let heads = heads.saturating_add(kv_heads);
                Counts {
                    flops: product(&[3, b, t, heads, rotary_dim]),
                    activations_in: product(&[b, t, heads, head_dim]),
                    activations_out: product(&[b, t, heads, head_dim]),
                    ..Counts::default()
                }
            }
            Op::KvAppend { heads, head_dim, .. } => {
                let new = product(&[2, b, t, heads, head_dim]);
                Counts { activations_in: new, kv_written: new, ..Counts::default() }
            }
            Op::AttentionScores { heads, kv_heads, head_dim, context, causal } => Counts {
                flops: product(&[2, b, heads, head_dim]).saturating_mul(pairs(t, context, causal)),
                activations_in: product(&[b, t, heads, head_dim]),
                kv_read: product(&[b, kv_heads, context, head_dim]),
                activations_out: product(&[b, heads, t, context]),
                ..Counts::default()
            },
            Op::AttentionValues { heads, kv_heads, head_dim, context, causal } => Counts {
                flops: product(&[2, b, heads, head_dim]).saturating_mul(pairs(t, context, causal)),
                activations_in: product(&[b, heads, t, context]),
                kv_read: product(&[b, kv_heads, context, head_dim]),
                activations_out: product(&[b, t, heads, head_dim]),
                ..Counts::default()
            },
            Op::Softmax { rows, columns, causal } => Counts {
                // A graph that passes validation has rows = batch x heads x tokens, so the division is exact.
                flops: (u128::from(rows / t.max(1))).saturating_mul(pairs(t, columns, causal)).saturating_mul(6),
                activations_in: product(&[rows, columns]),
                activations_out: product(&[rows, columns]),
                ..Counts::default()
            },
            Op::Residual { width } | Op::GatedMul { width } => elementwise(1, 2, width),
            Op::Activation { kind, width } => {
                let operations = match kind {
                    ActivationKind::Gelu => 9,
                    ActivationKind::Silu => 4,
                    ActivationKind::Relu => 1,
                    ActivationKind::Relu2 => 2,
                    ActivationKind::Tanh => 1,
                    ActivationKind::Sigmoid | ActivationKind::Softplus => 3,
                };
                elementwise(operations, 1, width)
            }
            Op::ArgMax { vocab } => Counts {
                flops: elements(vocab),
                activations_in: elements(vocab),
                indices_out: product(&[b, t]),
                ..Counts::default()
            },
        }
    }

    fn bytes(&self, elements: u128, indices: u128) -> u64 {
        let bytes = elements.saturating_mul(self.dtype.bits().into()).div_ceil(8);
        u64::try_from(bytes.saturating_add(indices.saturating_mul(4))).unwrap_or(u64::MAX)
    }

    /// Floating-point operations, saturating at `u64::MAX`.
    pub fn flops(&self) -> u64 {
        u64::try_from(self.counts().flops).unwrap_or(u64::MAX)
    }

    /// Bytes of the parameters that the operator holds (an embedding's whole table), densely packed.
    pub fn weight_bytes(&self) -> u64 {
        self.bytes(self.counts().weights, 0)
    }

    /// Bytes of the parameters that this step reads: of an embedding its looked-up rows, otherwise all.
    pub fn weight_bytes_read(&self) -> u64 {
        self.bytes(self.counts().weights_read, 0)
    }

    /// Bytes of the activations (and token indices, of 4 bytes) that it reads; the KV cache is counted apart.
    pub fn activation_bytes_in(&self) -> u64 {
        let counts = self.counts();
        self.bytes(counts.activations_in, counts.indices_in)
    }

    /// Bytes of the activations (and token indices, of 4 bytes) that it produces; the KV cache is counted apart.
    pub fn activation_bytes_out(&self) -> u64 {
        let counts = self.counts();
        self.bytes(counts.activations_out, counts.indices_out)
    }

    /// Bytes of cached keys or values that it reads, each once however many query heads share it.
    pub fn kv_bytes_read(&self) -> u64 {
        self.bytes(self.counts().kv_read, 0)
    }

    /// Bytes of keys and values that it adds to the cache.
    pub fn kv_bytes_written(&self) -> u64 {
        self.bytes(self.counts().kv_written, 0)
    }

    /// Whether every count fits a `u64` (in bits, for bytes), so that none of the above saturates.
    pub fn is_countable(&self) -> bool {
        let c = self.counts();
        let limit = u128::from(u64::MAX);
        c.flops <= limit
            && [c.weights, c.weights_read, c.activations_in, c.activations_out, c.kv_read, c.kv_written]
                .iter()
                .all(|elements| elements.saturating_mul(32) <= limit)
    }
}
