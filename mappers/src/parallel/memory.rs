//! Bytes that a rank keeps: weights, gradients, states of the optimiser, activations by what the schedule holds at once.

use serde::Serialize;

use super::ends::local_vocab;
use super::lists::Context;
use super::outer::outer_bytes;
use super::settings::{Dispatch, Offload, Optimizer, Precision, Recompute, Zero};
use super::update::{self, Local, owned};
use crate::offload;

/// Memory of a rank by what it is for, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Weights in the type of the products.
    pub weights: f64,
    /// Gradients.
    pub gradients: f64,
    /// Single-precision weights and moments.
    pub optimizer: f64,
    /// Activations of all micro batches in flight.
    pub activations: f64,
    /// What one layer's recomputation, and the loss, hold for a while.
    pub transient: f64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.weights + self.gradients + self.optimizer + self.activations + self.transient
    }
}

/// Activations of a layer of one micro batch that wait for its backward pass, in bytes: what each backward operator reads
/// (arXiv 2205.05198, section 4, operator by operator).
pub fn layer_activations(c: &Context<'_>, recompute: Recompute) -> f64 {
    let s = c.shape;
    let (h, tokens, own) = (f64::from(s.hidden), c.tokens() as f64, c.norm_tokens() as f64);
    if recompute == Recompute::Full {
        return 2.0 * own * h;
    }
    let tp = f64::from(c.parallel.tp.max(1));
    let (q, kv) = (s.query_width() as f64 / tp, s.kv_width() as f64 / tp);
    let mask = if s.dropout { own * h } else { 0.0 };
    // Inputs of both norms; inputs of both column products, kept as own tokens where these are cut.
    let mut bytes = 2.0 * (2.0 * own * h) + 2.0 * (2.0 * own * h) + 2.0 * mask;
    // Queries, keys, values, and the input of the output product.
    bytes += 2.0 * tokens * (q + 2.0 * kv) + 2.0 * tokens * q;
    if c.software.flash_attention {
        bytes += 4.0 * tokens * f64::from(s.heads) / tp;
    } else if recompute == Recompute::None {
        let scores = tokens * f64::from(c.train.sequence) * f64::from(s.heads) / tp;
        // Probabilities, dropout's mask, its result.
        bytes += scores * if s.dropout { 5.0 } else { 2.0 };
    }
    let ups = if s.gated { 2.0 } else { 1.0 };
    bytes += match s.experts {
        None => 2.0 * tokens * f64::from(s.ffn) / tp * (ups + 1.0),
        Some(e) => {
            let routed = tokens / tp * f64::from(e.top_k);
            let rows = routed * f64::from(c.parallel.expert_rows_pct) / 100.0;
            let inner = f64::from(e.ffn) * (ups + 1.0);
            // Of tokens by places: the mask, and weights of the sum, in 16 bits.
            let masks = if c.parallel.dispatch == Dispatch::Dense { 4.0 * tokens / tp * routed } else { 0.0 };
            masks + 2.0 * rows * (2.0 * h + inner) + 2.0 * tokens * f64::from(e.shared_ffn) / tp * (ups + 1.0)
        }
    };
    bytes
}

/// Memory of a rank: its parameters, layers, chunks of activations in flight, and whether it has the ends.
pub fn memory(c: &Context<'_>, local: Local, layers_in_flight: f64, [embedding, head]: [bool; 2]) -> Memory {
    let p = c.parallel;
    let all = (local.dense + local.routed) as f64;
    let own = owned(c, local) as f64;
    let sharded = |from: Zero, whole: f64| if p.zero as u8 >= from as u8 { own } else { whole };
    let frozen = c.train.optimizer == Optimizer::Frozen;
    let weight_bytes = if c.train.precision == Precision::Fp8 { 3.0 } else { 2.0 };
    let [of_layers, of_tables] = update::state_bytes(c);
    let tables = update::local(c, 0, embedding, head).dense as f64 / all.max(1.0);
    let states = of_layers + (of_tables - of_layers) * tables.min(1.0) + outer_bytes(c);
    let mut activations = layer_activations(c, c.train.recompute) * layers_in_flight;
    let tokens = c.tokens() as f64;
    let hidden = f64::from(c.shape.hidden);
    if embedding && c.shape.dropout {
        activations += c.norm_tokens() as f64 * hidden;
    }
    let mut transient = 0.0;
    if c.train.recompute == Recompute::Full {
        transient = layer_activations(c, Recompute::None);
    }
    if head {
        // Logits in 16 bits, and in single precision for the loss.
        let logits = tokens * local_vocab(c) as f64;
        transient = f64::max(transient, 6.0 * logits) + 4.0 * c.norm_tokens() as f64 * hidden;
    }
    let gradient_bytes = match c.train.precision {
        Precision::Bf16Pure => 2.0,
        _ => f64::from(c.software.gradient_bytes),
    };
    let mut gradients = if frozen { 0.0 } else { gradient_bytes * sharded(Zero::Gradients, all) };
    if c.train.layerwise {
        // Of a layer, or of the tables, whichever is more.
        let layer = update::local(c, 1, false, false);
        let most = ((layer.dense + layer.routed) as f64).max(tables * all);
        gradients = gradients.min(gradient_bytes * most);
    }
    let mut optimizer = states * sharded(Zero::Optimizer, all);
    if c.train.offload != Offload::None {
        // Two groups of gradients on their way to the host, and, where the device updates in turns, two groups of states.
        let group = 2.0 * own.min(offload::GROUP as f64);
        gradients = gradients.min(gradient_bytes * group);
        optimizer = if c.train.offload == Offload::Interleaved { offload::STATE_BYTES * group } else { 0.0 };
    }
    Memory { weights: weight_bytes * sharded(Zero::Weights, all), gradients, optimizer, activations, transient }
}
