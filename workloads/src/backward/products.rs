//! Products: the gradient of the input is one product, that of the weight another over all tokens, that of the bias a sum.

use petgraph::graph::NodeIndex;

use super::node::{TrainOp, Value};
use super::tape::{Source, Tape};
use crate::op::{Op, OperatorNode};

pub(super) fn linear(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let Some(source) = tape.sources(index).into_iter().next() else { return };
    let (Op::Linear { in_features, out_features, .. }
    | Op::ExpertLinear { in_features, out_features, .. }
    | Op::HeadLinear { in_features, out_features, .. }) = node.op
    else {
        return;
    };
    let parameters = Tape::parameters(node);
    let Some(weight) = parameters.first() else { return };
    input(tape, node, gradient, &source, weight);
    let op = match node.op {
        Op::ExpertLinear { experts, .. } => TrainOp::ExpertWeightGradient { experts, in_features, out_features },
        Op::HeadLinear { heads, .. } => TrainOp::HeadWeightGradient { heads, in_features, out_features },
        _ => TrainOp::WeightGradient { in_features, out_features },
    };
    let (written, more) = tape.parameter(node, weight);
    let reads = vec![gradient.clone(), tape.value_of(&source)];
    let made = tape.node(node, "weight gradient", op, reads, vec![written]);
    tape.nodes.push(made);
    tape.nodes.extend(more);
    if let Some(bias) = parameters.get(1) {
        bias_gradient(tape, node, gradient, bias, out_features);
    }
}

fn input(tape: &mut Tape<'_>, node: &OperatorNode, gradient: &Value, source: &Source, weight: &Value) {
    let op = match node.op {
        Op::Linear { in_features, out_features, .. } => TrainOp::InputGradient { in_features, out_features },
        Op::ExpertLinear { experts, in_features, out_features, .. } => {
            TrainOp::ExpertInputGradient { experts, in_features, out_features }
        }
        Op::HeadLinear { heads, in_features, out_features } => {
            TrainOp::HeadInputGradient { heads, in_features, out_features }
        }
        _ => return,
    };
    let out = tape.gradient_of(source);
    let made = tape.node(node, "input gradient", op, vec![gradient.clone(), weight.clone()], vec![out.clone()]);
    tape.nodes.push(made);
    tape.give(source, out);
}

/// The sum over all tokens.
pub(super) fn bias_gradient(tape: &mut Tape<'_>, node: &OperatorNode, gradient: &Value, bias: &Value, width: u64) {
    let (written, more) = tape.parameter(node, bias);
    let op = TrainOp::BiasGradient { width };
    let made = tape.node(node, "bias gradient", op, vec![gradient.clone()], vec![written]);
    tape.nodes.push(made);
    tape.nodes.extend(more);
}
