//! The matrix products of one layer of a decoder.

use banksia_hw::nmp::Product;

/// What of a layer a product is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Queries times keys, and probabilities times values.
    Attention,
    /// Into queries, keys and values, and out of attention.
    Projection,
    /// The feed-forward layer.
    FeedForward,
}

/// Sizes of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Elements of the hidden state.
    pub width: u64,
    /// Query heads.
    pub heads: u64,
    /// Key and value heads.
    pub kv_heads: u64,
    /// Elements of the feed-forward layer's inner state.
    pub ffn_width: u64,
    /// The feed-forward layer has a gate: a third matrix.
    pub gated: bool,
}

/// Tokens of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Sequences.
    pub batch: u64,
    /// New tokens of each.
    pub new: u64,
    /// Tokens that they attend to, themselves among them.
    pub context: u64,
}

/// The products of a layer in a step, in their order.
pub fn layer(sizes: &Sizes, step: &Step) -> Vec<(Operator, Product)> {
    let Sizes { width, heads, kv_heads, ffn_width, gated } = *sizes;
    let head = width / heads.max(1);
    let rows = step.batch * step.new;
    let weights = |outputs, inputs| Product { count: 1, rows, outputs, inputs };
    // Queries that share keys and values are rows of one product.
    let shared = Product {
        count: kv_heads * step.batch,
        rows: step.new * heads / kv_heads.max(1),
        outputs: step.context,
        inputs: head,
    };
    let mut all = vec![
        (Operator::Projection, weights(width, width)),
        (Operator::Projection, weights(head * kv_heads, width)),
        (Operator::Projection, weights(head * kv_heads, width)),
        (Operator::Attention, shared),
        (Operator::Attention, Product { outputs: head, inputs: step.context, ..shared }),
        (Operator::Projection, weights(width, width)),
        (Operator::FeedForward, weights(ffn_width, width)),
    ];
    if gated {
        all.push((Operator::FeedForward, weights(ffn_width, width)));
    }
    all.push((Operator::FeedForward, weights(width, ffn_width)));
    all
}
