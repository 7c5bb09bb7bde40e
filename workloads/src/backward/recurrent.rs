//! Convolutions and recurrences: gradients run backwards in time, over states that are computed again.

use petgraph::graph::NodeIndex;

use super::node::{TrainOp, Value};
use super::tape::Tape;
use crate::op::{Op, OperatorNode};

pub(super) fn recurrence(tape: &mut Tape<'_>, index: NodeIndex, node: &OperatorNode, gradient: &Value) {
    let op = match node.op {
        Op::CausalConv { channels, kernel, silu, .. } => TrainOp::ConvGradient { channels, kernel, silu },
        of => TrainOp::RecurrenceGradient { of },
    };
    let sources = tape.sources(index);
    let parameters = Tape::parameters(node);
    let reads = [gradient.clone()]
        .into_iter()
        .chain(sources.iter().map(|s| tape.value_of(s)))
        .chain(parameters.iter().cloned())
        .collect();
    let outs: Vec<Value> = sources.iter().map(|s| tape.gradient_of(s)).collect();
    let mut writes = outs.clone();
    let mut sums = Vec::new();
    for parameter in &parameters {
        let (written, more) = tape.parameter(node, parameter);
        writes.push(written);
        sums.extend(more);
    }
    let made = tape.node(node, "gradient", op, reads, writes);
    tape.nodes.push(made);
    tape.nodes.extend(sums);
    for (source, out) in sources.iter().zip(outs) {
        tape.give(source, out);
    }
}
