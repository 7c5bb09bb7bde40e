//! Attention: its gradient is one operator, which computes scores again; rotations turn back.

use petgraph::graph::NodeIndex;

use super::forward::{beside, distinct};
use super::node::{Role, TrainOp, Value};
use super::products::bias_gradient;
use super::tape::Tape;
use crate::op::{Op, OperatorNode};
use crate::tensor::DataType;

pub(super) fn attention(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let Some((sources, shape)) = super::forward::attention(tape, index) else { return };
    let out = tape.value(index);
    let rows = node.batch.saturating_mul(node.tokens).saturating_mul(shape.heads);
    let sums = beside(&out, "log_sums", rows);
    let inputs = distinct(sources.iter().map(|s| tape.value_of(s)));
    let outs: Vec<Value> = sources.iter().map(|s| tape.gradient_of(s)).collect();
    let reads = [gradient.clone()].into_iter().chain(inputs).chain([out, sums]).collect();
    let op = TrainOp::AttentionGradient(shape);
    let mut made = tape.node(node, "gradient", op, reads, outs.clone());
    made.label = "attention gradient".to_owned();
    let scratch =
        |name: &str, elements| Value { name: name.to_owned(), elements, dtype: DataType::F32, role: Role::Gradient };
    // Sums of queries' gradients in 32 bits, and the products of results with their gradients, row by row.
    made.scratch = vec![
        scratch("query_gradient_sums", rows.saturating_mul(shape.head_dim.next_multiple_of(32))),
        scratch("result_products", rows),
    ];
    tape.nodes.push(made);
    for (source, out) in sources.iter().zip(outs) {
        tape.give(source, out);
    }
}

pub(super) fn rotary(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let Op::Rotary { heads, kv_heads, head_dim, rotary_dim } = node.op else { return };
    let sources = tape.sources(index);
    let outs: Vec<Value> = sources.iter().map(|s| tape.gradient_of(s)).collect();
    let op = TrainOp::RotaryGradient { heads, kv_heads, head_dim, rotary_dim };
    let made = tape.node(node, "gradient", op, vec![gradient.clone()], outs.clone());
    tape.nodes.push(made);
    for (source, out) in sources.iter().zip(outs) {
        tape.give(source, out);
    }
}

/// Norms of queries and keys, head by head.
pub(super) fn qk_norm(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let Op::QkNorm { head_dim, .. } = node.op else { return };
    let sources = tape.sources(index);
    let reads = [gradient.clone()].into_iter().chain(sources.iter().map(|s| tape.value_of(s))).collect();
    let outs: Vec<Value> = sources.iter().map(|s| tape.gradient_of(s)).collect();
    let op = TrainOp::NormInputGradient { width: head_dim, mean: false };
    let made = tape.node(node, "input gradient", op, reads, outs.clone());
    tape.nodes.push(made);
    for (source, out) in sources.iter().zip(outs) {
        tape.give(source, out);
    }
    if let Some(gains) = Tape::parameters(node).first() {
        bias_gradient(tape, node, gradient, gains, gains.elements);
    }
}
