//! Norms: the gradient of the input by rows, those of gain and shift by columns.

use petgraph::graph::NodeIndex;

use super::forward::statistics;
use super::node::{TrainOp, Value};
use super::tape::Tape;
use crate::op::{Op, OperatorNode};

pub(super) fn norm(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let (width, mean) = match node.op {
        Op::LayerNorm { width } | Op::PlainNorm { width, .. } => (width, true),
        Op::RmsNorm { width } => (width, false),
        _ => return,
    };
    let Some(source) = tape.sources(index).into_iter().next() else { return };
    let saved = statistics(&tape.value(index), node, width, mean);
    let parameters = Tape::parameters(node);
    let of_input = |more: Option<Value>| -> Vec<Value> {
        [gradient.clone(), tape.value_of(&source)].into_iter().chain(saved.iter().cloned()).chain(more).collect()
    };
    let (with_gain, without) = (of_input(parameters.first().cloned()), of_input(None));
    let out = tape.gradient_of(&source);
    let op = TrainOp::NormInputGradient { width, mean };
    let made = tape.node(node, "input gradient", op, with_gain, vec![out.clone()]);
    tape.nodes.push(made);
    tape.give(&source, out);
    if parameters.is_empty() {
        return;
    }
    let (mut writes, mut sums) = (Vec::new(), Vec::new());
    for parameter in &parameters {
        let (written, more) = tape.parameter(node, parameter);
        writes.push(written);
        sums.extend(more);
    }
    let op = TrainOp::NormParameterGradient { width, mean, shift: parameters.len() > 1 };
    let made = tape.node(node, "parameter gradients", op, without, writes);
    tape.nodes.push(made);
    tape.nodes.extend(sums);
}

/// A gated norm: it saves both inputs.
pub(super) fn gated(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let Op::GatedNorm { width, group, .. } = node.op else { return };
    let sources = tape.sources(index);
    let parameters = Tape::parameters(node);
    let reads = [gradient.clone()]
        .into_iter()
        .chain(sources.iter().map(|s| tape.value_of(s)))
        .chain(parameters.first().cloned())
        .collect();
    let outs: Vec<Value> = sources.iter().map(|s| tape.gradient_of(s)).collect();
    let mut writes = outs.clone();
    let mut sums = Vec::new();
    for parameter in &parameters {
        let (written, more) = tape.parameter(node, parameter);
        writes.push(written);
        sums.extend(more);
    }
    let made = tape.node(node, "gradients", TrainOp::GatedNormGradient { width, group }, reads, writes);
    tape.nodes.push(made);
    tape.nodes.extend(sums);
    for (source, out) in sources.iter().zip(outs) {
        tape.give(source, out);
    }
}
