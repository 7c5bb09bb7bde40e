//! What stands before and after the layers: tables, and the loss.

use petgraph::graph::NodeIndex;

use super::node::{Role, TrainOp, Value};
use super::products::bias_gradient;
use super::tape::Tape;
use crate::op::{Op, OperatorNode};
use crate::tensor::DataType;

pub(super) fn embedding(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let Op::Embedding { vocab, width } = node.op else { return };
    let Some(table) = Tape::parameters(node).into_iter().next() else { return };
    let indices = tape.sources(index).first().map(|s| tape.value_of(s));
    let (written, more) = tape.parameter(node, &table);
    let rows = node.batch.saturating_mul(node.tokens);
    let reads = [gradient.clone()].into_iter().chain(indices).collect();
    let mut made = tape.node(node, "gradient", TrainOp::EmbeddingGradient { vocab, width }, reads, vec![written]);
    let scratch =
        |name: &str, elements: u64, dtype| Value { name: name.to_owned(), elements, dtype, role: Role::Gradient };
    // Indices in order and where they stood, twice (64 bits each), and the sums of parts of equal ones.
    made.scratch = vec![
        scratch("sorted_indices", rows.saturating_mul(8), DataType::Int32),
        scratch("parts_of_rows", rows.saturating_mul(width), DataType::F32),
    ];
    tape.nodes.push(made);
    tape.nodes.extend(more);
}

/// A learned position's gradient is the sum over sequences; the token's goes on.
pub(super) fn positions(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let Op::PositionEmbedding { width, .. } = node.op else { return };
    if let Some(table) = Tape::parameters(node).first() {
        bias_gradient(tape, node, gradient, table, width);
    }
    for source in tape.sources(index) {
        tape.give(&source, gradient.clone());
    }
}

/// The loss is where gradients begin.
pub(super) fn cross_entropy(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode) {
    let Op::ArgMax { vocab } = node.op else { return };
    let Some(logits) = tape.sources(index).into_iter().next() else { return };
    let probabilities = Value { name: "log_probabilities".to_owned(), ..tape.value_of(&logits) };
    let out = tape.gradient_of(&logits);
    let of_targets = Value { name: "d_log_probabilities".to_owned(), ..out.clone() };
    let op = TrainOp::CrossEntropyGradient { vocab };
    let mut made = tape.node(node, "gradient", op, vec![probabilities], vec![out.clone()]);
    made.label = "cross entropy gradient".to_owned();
    made.scratch = vec![of_targets];
    tape.nodes.push(made);
    tape.give(&logits, out);
}
