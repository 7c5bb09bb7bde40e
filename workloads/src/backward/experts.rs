//! Mixtures of experts: rows go back the way that they came, and the router has the gradients of its weights.

use petgraph::graph::NodeIndex;

use super::node::{TrainOp, Value};
use super::tape::Tape;
use crate::op::{Op, OperatorNode};

pub(super) fn mixture(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let sources = tape.sources(index);
    let op = match node.op {
        Op::Dispatch { top_k, width } => TrainOp::DispatchGradient { top_k, width },
        Op::Combine { top_k, width } => TrainOp::CombineGradient { top_k, width },
        Op::Route { experts, top_k, .. } => TrainOp::RouteGradient { experts, top_k },
        _ => return,
    };
    // A dispatch's weights have no gradient by it: they enter at the sum.
    let taken = if matches!(node.op, Op::Dispatch { .. }) { 1 } else { sources.len() };
    let sources = sources.get(..taken).unwrap_or_default();
    let saved: Vec<Value> = match node.op {
        Op::Combine { .. } => sources.iter().map(|s| tape.value_of(s)).collect(),
        Op::Route { .. } => vec![tape.value(index)],
        _ => Vec::new(),
    };
    let reads = [gradient.clone()].into_iter().chain(saved).collect();
    let outs: Vec<Value> = sources.iter().map(|s| tape.gradient_of(s)).collect();
    let made = tape.node(node, "gradient", op, reads, outs.clone());
    tape.nodes.push(made);
    for (source, out) in sources.iter().zip(outs) {
        tape.give(source, out);
    }
}
