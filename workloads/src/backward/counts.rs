//! Operations of a training step's operators, by the conventions of `counts.rs`: each is counted once, as the algorithm has it.

use super::node::{AttentionShape, TrainNode, TrainOp};

/// Query-key pairs of all heads and sequences.
fn pairs(a: &AttentionShape, batch: u64, tokens: u64) -> u128 {
    let (t, c) = (u128::from(tokens), u128::from(a.context));
    let window = if a.window == 0 { c } else { u128::from(a.window).min(c) };
    let of_head = if a.causal && c >= t {
        let growing = window.saturating_sub(c - t + 1).min(t);
        let first = c - t + 1;
        growing * first + growing * growing.saturating_sub(1) / 2 + (t - growing) * window
    } else {
        t * window
    };
    of_head * u128::from(a.heads) * u128::from(batch)
}

impl TrainNode {
    /// Operations. A product's two gradients take as many each as the product; attention's take two and a half times those of its forward
    /// pass (five products for two); norms, activations and sums are counted an element as in the forward pass.
    pub fn flops(&self) -> f64 {
        let rows = self.rows() as f64;
        let each = |width: u64, operations: f64| rows * width as f64 * operations;
        match self.op {
            TrainOp::Forward { of } => {
                let node = crate::op::OperatorNode {
                    name: String::new(),
                    label: String::new(),
                    layer: None,
                    op: of,
                    tokens: self.tokens,
                    batch: self.batch,
                    dtype: crate::tensor::DataType::Bf16,
                    types: crate::op::NodeTypes::uniform(crate::tensor::DataType::Bf16),
                    load: self.load.as_slice().into(),
                    inputs: Vec::new(),
                    weights: Vec::new(),
                    outputs: Vec::new(),
                };
                node.flops() as f64
            }
            TrainOp::Attention(a) => {
                pairs(&a, self.batch, self.tokens) as f64 * 2.0 * (a.head_dim + a.value_dim) as f64
            }
            TrainOp::AttentionGradient(a) => {
                // Scores again, their gradients, and those of queries, keys and values.
                pairs(&a, self.batch, self.tokens) as f64 * 2.0 * (3 * a.head_dim + 2 * a.value_dim) as f64
            }
            TrainOp::InputGradient { in_features, out_features }
            | TrainOp::WeightGradient { in_features, out_features } => {
                2.0 * rows * in_features as f64 * out_features as f64
            }
            TrainOp::HeadInputGradient { heads, in_features, out_features }
            | TrainOp::HeadWeightGradient { heads, in_features, out_features } => {
                2.0 * rows * heads as f64 * in_features as f64 * out_features as f64
            }
            TrainOp::ExpertInputGradient { in_features, out_features, .. }
            | TrainOp::ExpertWeightGradient { in_features, out_features, .. } => {
                let rows: u64 = self.load.iter().fold(0, |sum: u64, r| sum.saturating_add(*r));
                2.0 * rows as f64 * in_features as f64 * out_features as f64
            }
            TrainOp::BiasGradient { width }
            | TrainOp::Accumulate { width }
            | TrainOp::EmbeddingGradient { width, .. }
            // A row for each expert of a token.
            | TrainOp::DispatchGradient { width, .. } => each(width, 1.0),
            TrainOp::AccumulateParameter { elements } => elements as f64,
            TrainOp::NormInputGradient { width, mean } => each(width, if mean { 11.0 } else { 8.0 }),
            TrainOp::NormParameterGradient { width, mean, .. } => each(width, if mean { 5.0 } else { 3.0 }),
            TrainOp::ActivationGradient { width, .. } => each(width, 12.0),
            TrainOp::GatedMulGradient { width } => each(width, 2.0),
            TrainOp::RotaryGradient { heads, kv_heads, rotary_dim, .. } => each((heads + kv_heads) * rotary_dim, 3.0),
            TrainOp::CrossEntropy { vocab } => each(vocab, 5.0),
            TrainOp::CrossEntropyGradient { vocab } => each(vocab, 3.0),
            TrainOp::JoinGradients { .. } => 0.0,
            TrainOp::CombineGradient { top_k, width } => each(width, 3.0 * top_k as f64),
            TrainOp::RouteGradient { experts, .. } => each(experts, 3.0),
            TrainOp::ConvGradient { channels, kernel, silu } => {
                each(channels, 4.0 * kernel as f64 + if silu { 8.0 } else { 0.0 })
            }
            TrainOp::GatedNormGradient { width, .. } => each(width, 20.0),
            TrainOp::RecurrenceGradient { of } => {
                let forward = Self { op: TrainOp::Forward { of }, ..self.clone() };
                // Its states again, and two gradients for each product.
                3.0 * forward.flops()
            }
            TrainOp::Update { parameters } => 12.0 * parameters as f64,
        }
    }
}
