//! Elementwise operators: sums hand their gradient on, products and activations need what entered them.

use petgraph::graph::NodeIndex;

use super::node::{TrainOp, Value};
use super::tape::Tape;
use crate::op::{Op, OperatorNode};

/// A residual: both summands have the gradient of the sum.
pub(super) fn residual(tape: &mut Tape<'_>, index: NodeIndex, gradient: &Value) {
    for source in tape.sources(index) {
        tape.give(&source, gradient.clone());
    }
}

pub(super) fn activation(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let (Op::Activation { kind, width }, Some(source)) = (node.op, tape.sources(index).into_iter().next()) else {
        return;
    };
    let out = tape.gradient_of(&source);
    let reads = vec![gradient.clone(), tape.value_of(&source)];
    let made = tape.node(node, "gradient", TrainOp::ActivationGradient { kind, width }, reads, vec![out.clone()]);
    tape.nodes.push(made);
    tape.give(&source, out);
}

pub(super) fn gated_mul(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let Op::GatedMul { width } = node.op else { return };
    let sources = tape.sources(index);
    let reads = [gradient.clone()].into_iter().chain(sources.iter().map(|s| tape.value_of(s))).collect();
    let outs: Vec<Value> = sources.iter().map(|s| tape.gradient_of(s)).collect();
    let made = tape.node(node, "gradients", TrainOp::GatedMulGradient { width }, reads, outs.clone());
    tape.nodes.push(made);
    for (source, out) in sources.iter().zip(outs) {
        tape.give(source, out);
    }
}
