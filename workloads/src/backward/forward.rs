//! The forward pass of a training step: what inference computes, less its cache, and what is saved for gradients.

use petgraph::graph::NodeIndex;

use super::node::{AttentionShape, Role, TrainNode, TrainOp, Value};
use super::tape::{Source, Tape};
use crate::op::{Op, OperatorNode};
use crate::tensor::DataType;

/// An attention: its queries, keys and values, and its shape. None where the node is not the last operator of one.
pub(super) fn attention(tape: &Tape<'_>, index: NodeIndex) -> Option<([Source; 3], AttentionShape)> {
    let graph = tape.graph();
    let Op::AttentionValues { head_dim: value_dim, .. } = graph.operator(index)?.op else { return None };
    let of_values = tape.sources(index);
    let mut scores = of_values.first()?.node?;
    loop {
        let node = graph.operator(scores)?;
        let Op::AttentionScores { heads, kv_heads, head_dim, context, causal, window } = node.op else {
            scores = tape.sources(scores).first()?.node?;
            continue;
        };
        let of_scores = tape.sources(scores);
        let shape = AttentionShape { heads, kv_heads, head_dim, value_dim, context, causal, window };
        let sources = [of_scores.first()?.clone(), of_scores.get(1)?.clone(), of_values.get(1)?.clone()];
        return Some((sources, shape));
    }
}

/// Values without those that lie in the same memory as one before: queries, keys and values of one projection.
pub(super) fn distinct(values: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for value in values {
        if !all.iter().any(|v| v.name == value.name) {
            all.push(value);
        }
    }
    all
}

/// Numbers in 32 bits, beside a value.
pub(super) fn beside(of: &Value, what: &str, elements: u64) -> Value {
    Value { name: format!("{}.{what}", of.name), elements, dtype: DataType::F32, role: Role::Activation }
}

/// Means and deviations that a norm saves.
pub(super) fn statistics(of: &Value, node: &OperatorNode, width: u64, mean: bool) -> Vec<Value> {
    let per_token = node.outputs.iter().fold(0u64, |sum, t| sum.saturating_add(t.elements())) / width.max(1);
    let names = if mean { &["mean", "deviation"][..] } else { &["deviation"] };
    names.iter().map(|what| beside(of, what, per_token)).collect()
}

/// The node of a training step for one of the graph; none for one that moves nothing in training.
pub(super) fn node(tape: &Tape<'_>, index: NodeIndex) -> Option<TrainNode> {
    let node = tape.graph().operator(index)?;
    let out = tape.value(index);
    let reads = distinct(tape.sources(index).iter().map(|s| tape.value_of(s)).chain(Tape::parameters(node)));
    let made = |op, reads, writes| Some(tape.node(node, "", op, reads, writes));
    match node.op {
        Op::KvAppend { .. }
        | Op::Concat { .. }
        | Op::AttentionScores { .. }
        | Op::Softmax { .. }
        | Op::ScoreCap { .. } => None,
        Op::AttentionValues { heads, .. } => {
            let (sources, shape) = attention(tape, index)?;
            let reads = distinct(sources.iter().map(|s| tape.value_of(s)));
            let rows = node.batch.saturating_mul(node.tokens).saturating_mul(heads);
            let sums = beside(&out, "log_sums", rows);
            let mut made = tape.node(node, "", TrainOp::Attention(shape), reads, vec![out, sums]);
            made.label = "attention".to_owned();
            Some(made)
        }
        Op::ArgMax { vocab } => {
            let logits = reads.into_iter().next()?;
            let rows = node.batch.saturating_mul(node.tokens);
            let probabilities = Value { name: "log_probabilities".to_owned(), ..logits.clone() };
            let loss = Value { name: "loss".to_owned(), elements: 2, ..logits.clone() };
            let targets =
                Value { name: "targets".to_owned(), elements: 2 * rows, dtype: DataType::Int32, role: Role::Outside };
            let op = TrainOp::CrossEntropy { vocab };
            let mut made = tape.node(node, "", op, vec![logits, targets], vec![probabilities, loss]);
            made.label = "cross entropy".to_owned();
            Some(made)
        }
        of @ (Op::LayerNorm { width } | Op::PlainNorm { width, .. }) => {
            let saved = statistics(&out, node, width, true);
            made(TrainOp::Forward { of }, reads, [out].into_iter().chain(saved).collect())
        }
        of @ Op::RmsNorm { width } => {
            let saved = statistics(&out, node, width, false);
            made(TrainOp::Forward { of }, reads, [out].into_iter().chain(saved).collect())
        }
        of => made(TrainOp::Forward { of }, reads, vec![out]),
    }
}
