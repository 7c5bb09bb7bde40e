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
//! | embedding, KV append, concat, dispatch, collective | 0 |
//! | experts' products | 2 per weight and row of the expert |
//! | routing | 4 per logit, and 1 per comparison: log2 of the experts for each that is chosen |
//! | combine | 2 per element that is summed |
//! | causal convolution | 2 per tap, and 4 with SiLU |
//! | gated norm | 9 |
//! | selective scan | 9 per element of state and token: decay 2, input 3, update 2, output 2 |
//! | Mamba-2, linear attention | per token: 6 per element of state (decay, update, output); delta rules 10; in chunks of `c` tokens also `2 c` per element of the key and value heads of a token, as products of `c x c` |
//! | RWKV | 8 per element of state and token |
//! | diagonal recurrence | 12 |
//! | token shift | 3 per result |
//!
//! A causal step of `t` tokens over a context `c` attends to `t (c - t) + t (t + 1) / 2` pairs of a head, which is `c` for
//! one token; a window of `w` leaves each token `w` of them at most. Bytes of scores and probabilities are of the whole rectangle.

use crate::activation::ActivationKind;
use crate::model::LinearRule;
use crate::op::{Op, OperatorNode};

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
    state: u128,
    indices_in: u128,
    indices_out: u128,
}

/// A product that saturates: at `u128::MAX` it is far beyond the `u64` that [`OperatorNode::is_countable`] asks for.
fn product(factors: &[u64]) -> u128 {
    factors.iter().fold(1u128, |p, f| p.saturating_mul(u128::from(*f)))
}

/// Query-key pairs of one head and sequence.
fn pairs(tokens: u64, context: u64, causal: bool, window: u64) -> u128 {
    let (t, c) = (u128::from(tokens), u128::from(context));
    let w = if window == 0 { u128::MAX } else { u128::from(window) };
    if !(causal && c >= t) {
        return t * c.min(w);
    }
    // Token i of the step, from 0, sees c - t + 1 + i, but no more than the window.
    let first = c - t + 1;
    let growing = w.saturating_sub(first).min(t);
    let full = t - growing;
    growing * first + growing * growing.saturating_sub(1) / 2 + full.saturating_mul(w.min(c))
}

/// Tokens of the context that a step's tokens see between them.
fn seen(tokens: u64, context: u64, window: u64) -> u64 {
    if window == 0 { context } else { context.min(window.saturating_add(tokens).saturating_sub(1)) }
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
            Op::KvAppend { heads, head_dim, value_dim, .. } => {
                let new = product(&[b, t, heads, head_dim.saturating_add(value_dim)]);
                Counts { activations_in: new, kv_written: new, ..Counts::default() }
            }
            Op::AttentionScores { heads, kv_heads, head_dim, context, causal, window } => Counts {
                flops: product(&[2, b, heads, head_dim]).saturating_mul(pairs(t, context, causal, window)),
                activations_in: product(&[b, t, heads, head_dim]),
                kv_read: product(&[b, kv_heads, seen(t, context, window), head_dim]),
                activations_out: product(&[b, heads, t, context]),
                ..Counts::default()
            },
            Op::AttentionValues { heads, kv_heads, head_dim, context, causal, window } => Counts {
                flops: product(&[2, b, heads, head_dim]).saturating_mul(pairs(t, context, causal, window)),
                activations_in: product(&[b, heads, t, context]),
                kv_read: product(&[b, kv_heads, seen(t, context, window), head_dim]),
                activations_out: product(&[b, t, heads, head_dim]),
                ..Counts::default()
            },
            Op::Softmax { rows, columns, causal, window } => Counts {
                // A graph that passes validation has rows = batch x heads x tokens, so the division is exact.
                flops: (u128::from(rows / t.max(1)))
                    .saturating_mul(pairs(t, columns, causal, window))
                    .saturating_mul(6),
                activations_in: product(&[rows, columns]),
                activations_out: product(&[rows, columns]),
                ..Counts::default()
            },
            Op::Residual { width } | Op::GatedMul { width } => elementwise(1, 2, width),
            Op::Activation { kind, width } => {
                let operations = match kind {
                    ActivationKind::Gelu => 9,
                    ActivationKind::Silu => 4,
                    ActivationKind::Relu | ActivationKind::Tanh => 1,
                    ActivationKind::Relu2 => 2,
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
            Op::PlainNorm { width, gain } => norm(6, u64::from(gain), width),
            Op::QkNorm { heads, kv_heads, head_dim, parameters } => Counts {
                weights: parameters.into(),
                weights_read: parameters.into(),
                ..elementwise(4, 1, heads.saturating_add(kv_heads).saturating_mul(head_dim))
            },
            Op::ScoreCap { rows, columns } => {
                let n = product(&[rows, columns]);
                Counts { flops: n, activations_in: n, activations_out: n, ..Counts::default() }
            }
            Op::HeadLinear { heads, in_features, out_features } => {
                let weights = product(&[heads, in_features, out_features]);
                Counts {
                    flops: product(&[2, b, t, heads, in_features]).saturating_mul(out_features.into()),
                    weights,
                    weights_read: weights,
                    activations_in: elements(heads).saturating_mul(in_features.into()),
                    activations_out: elements(heads).saturating_mul(out_features.into()),
                    ..Counts::default()
                }
            }
            Op::Route { experts, top_k, .. } => {
                let compared = u64::from(u64::BITS - experts.leading_zeros());
                Counts {
                    flops: product(&[b, t, 4, experts]).saturating_add(product(&[b, t, top_k, compared])),
                    activations_in: elements(experts),
                    activations_out: elements(top_k),
                    ..Counts::default()
                }
            }
            // The node's tokens are those of its result.
            Op::Dispatch { top_k, width } => Counts {
                activations_in: elements(width) / u128::from(top_k.max(1)),
                activations_out: elements(width),
                ..Counts::default()
            },
            Op::ExpertLinear { experts, in_features, out_features, bias } => {
                let one =
                    product(&[in_features, out_features]).saturating_add(product(&[u64::from(bias), out_features]));
                let rows = self.load.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
                Counts {
                    flops: product(&[2, rows, in_features, out_features]).saturating_add(product(&[
                        u64::from(bias),
                        rows,
                        out_features,
                    ])),
                    weights: one.saturating_mul(experts.into()),
                    weights_read: one.saturating_mul(self.active_experts().into()),
                    activations_in: product(&[rows, in_features]),
                    activations_out: product(&[rows, out_features]),
                    ..Counts::default()
                }
            }
            Op::Combine { top_k, width } => Counts {
                flops: product(&[2, b, t, top_k, width]),
                activations_in: elements(width).saturating_mul(top_k.into()),
                activations_out: elements(width),
                ..Counts::default()
            },
            Op::Concat { .. } | Op::Collective { .. } => Counts::default(),
            Op::CausalConv { channels, kernel, bias, silu } => {
                let weights = product(&[kernel.saturating_add(u64::from(bias)), channels]);
                let held = product(&[b, channels, kernel.saturating_sub(1)]);
                Counts {
                    weights,
                    weights_read: weights,
                    state: held.saturating_mul(2),
                    ..elementwise(kernel.saturating_mul(2).saturating_add(if silu { 4 } else { 0 }), 1, channels)
                }
            }
            Op::GatedNorm { width, group, shared_gain } => {
                let gain = if shared_gain { group } else { width };
                Counts { weights: gain.into(), weights_read: gain.into(), ..elementwise(9, 2, width) }
            }
            Op::SelectiveScan { channels, state } => {
                let weights = product(&[channels, state.saturating_add(1)]);
                Counts {
                    flops: product(&[9, b, t, channels, state]),
                    weights,
                    weights_read: weights,
                    activations_in: elements(channels)
                        .saturating_mul(2)
                        .saturating_add(elements(state).saturating_mul(2)),
                    activations_out: elements(channels),
                    state: product(&[2, b, channels, state]),
                    ..Counts::default()
                }
            }
            Op::StateSpaceDual { heads, head_dim, state, groups, chunk } => {
                let (inner, weights) = (product(&[heads, head_dim]), product(&[3, heads]));
                let vectors = product(&[2, groups, state]);
                let within = u128::from(t.min(chunk).saturating_sub(1));
                let products = within.saturating_mul(inner.saturating_add(product(&[groups, state])));
                let tokens = product(&[b, t]);
                Counts {
                    flops: tokens.saturating_mul(
                        inner.saturating_mul(u128::from(state)).saturating_mul(6).saturating_add(products),
                    ),
                    weights,
                    weights_read: weights,
                    activations_in: tokens.saturating_mul(inner.saturating_add(vectors).saturating_add(heads.into())),
                    activations_out: tokens.saturating_mul(inner),
                    state: product(&[2, b, heads, head_dim, state]),
                    ..Counts::default()
                }
            }
            Op::LinearAttention { rule, key_heads, value_heads, key_dim, value_dim } => {
                let state = product(&[value_heads, key_dim, value_dim]);
                let (keys, values) = (product(&[key_heads, key_dim]), product(&[value_heads, value_dim]));
                let per_state: u128 = match rule {
                    LinearRule::Plain => 4,
                    LinearRule::Retention | LinearRule::ScalarGate | LinearRule::VectorGate => 6,
                    LinearRule::Delta => 8,
                    LinearRule::GatedDelta | LinearRule::VectorGatedDelta => 10,
                };
                let gates = match rule {
                    LinearRule::Plain | LinearRule::Retention => 0,
                    LinearRule::ScalarGate | LinearRule::Delta => u128::from(value_heads),
                    LinearRule::GatedDelta => 2 * u128::from(value_heads),
                    LinearRule::VectorGate => keys,
                    LinearRule::VectorGatedDelta => keys + u128::from(value_heads),
                };
                let within = u128::from(t.min(64).saturating_sub(1));
                let tokens = product(&[b, t]);
                Counts {
                    flops: tokens
                        .saturating_mul(state.saturating_mul(per_state) + within.saturating_mul(keys + values)),
                    activations_in: tokens.saturating_mul(2 * keys + values + gates),
                    activations_out: tokens.saturating_mul(values),
                    state: product(&[2, b]).saturating_mul(state),
                    ..Counts::default()
                }
            }
            Op::Wkv { channels, head_dim, .. } => {
                let weights = product(&[2, channels]);
                Counts {
                    flops: product(&[8, b, t, channels, head_dim]),
                    weights,
                    weights_read: weights,
                    activations_in: elements(channels).saturating_mul(4),
                    activations_out: elements(channels),
                    state: product(&[2, b, channels, head_dim]),
                    ..Counts::default()
                }
            }
            Op::TokenShift { width, mixes } => Counts {
                flops: product(&[3, b, t, width, mixes]),
                weights: product(&[width, mixes]),
                weights_read: product(&[width, mixes]),
                activations_in: elements(width),
                activations_out: elements(width).saturating_mul(mixes.into()),
                state: product(&[2, b, width]),
                ..Counts::default()
            },
            Op::DiagonalScan { channels } => Counts {
                weights: channels.into(),
                weights_read: channels.into(),
                state: product(&[2, b, channels]),
                ..elementwise(12, 3, channels)
            },
            Op::Index { heads, head_dim, context, top_k } => Counts {
                flops: product(&[2, b, heads, head_dim]).saturating_mul(pairs(t, context, true, 0)),
                activations_in: product(&[b, t, heads, head_dim]),
                activations_out: product(&[b, t, top_k.min(context)]),
                kv_read: product(&[b, context, head_dim]),
                ..Counts::default()
            },
        }
    }

    /// Experts that are sent at least one row.
    pub fn active_experts(&self) -> u64 {
        self.load.iter().filter(|rows| **rows > 0).count() as u64
    }

    /// Matrices in the weights' format: how many, rows and columns of each, and elements of biases beside them.
    pub fn matrices(&self) -> Option<(u64, [u64; 2], u64)> {
        match self.op {
            Op::Linear { in_features, out_features, bias } => {
                Some((1, [out_features, in_features], if bias { out_features } else { 0 }))
            }
            Op::HeadLinear { heads, in_features, out_features } => Some((heads, [out_features, in_features], 0)),
            Op::ExpertLinear { experts, in_features, out_features, bias } => {
                Some((experts, [out_features, in_features], if bias { out_features } else { 0 }))
            }
            _ => None,
        }
    }

    fn matrix_bytes(&self, count: u64, [rows, columns]: [u64; 2], bias: u64) -> u64 {
        let one = self.types.weights.bytes(rows, columns).saturating_add(self.dtype.bytes(bias));
        one.saturating_mul(count)
    }

    fn cached(&self, elements: u128) -> u64 {
        let bytes = elements.saturating_mul(self.types.cache.bits().into()).div_ceil(8);
        u64::try_from(bytes).unwrap_or(u64::MAX)
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
        match self.matrices() {
            Some((count, shape, bias)) => self.matrix_bytes(count, shape, bias),
            None => self.bytes(self.counts().weights, 0),
        }
    }

    /// Bytes of the parameters that this step reads: of an embedding its looked-up rows, of experts those that have rows, otherwise all.
    pub fn weight_bytes_read(&self) -> u64 {
        match (self.op, self.matrices()) {
            (Op::ExpertLinear { .. }, Some((_, shape, bias))) => self.matrix_bytes(self.active_experts(), shape, bias),
            (_, Some((count, shape, bias))) => self.matrix_bytes(count, shape, bias),
            _ => self.bytes(self.counts().weights_read, 0),
        }
    }

    /// Bytes of recurrent states that it reads and writes: those of recurrences in the state's type, what convolutions and shifts hold in that of
    /// activations.
    pub fn state_bytes(&self) -> u64 {
        let held = matches!(self.op, Op::CausalConv { .. } | Op::TokenShift { .. });
        let bits = if held { self.dtype.bits() } else { self.types.state.bits() };
        let bytes = self.counts().state.saturating_mul(bits.into()).div_ceil(8);
        u64::try_from(bytes).unwrap_or(u64::MAX)
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
        self.cached(self.counts().kv_read)
    }

    /// Bytes of keys and values that it adds to the cache.
    pub fn kv_bytes_written(&self) -> u64 {
        self.cached(self.counts().kv_written)
    }

    /// Whether every count fits a `u64` (in bits, for bytes), so that none of the above saturates.
    pub fn is_countable(&self) -> bool {
        let c = self.counts();
        let limit = u128::from(u64::MAX);
        c.flops <= limit
            && [c.weights, c.weights_read, c.activations_in, c.activations_out, c.kv_read, c.kv_written, c.state]
                .iter()
                .all(|elements| elements.saturating_mul(32) <= limit)
    }
}
