//! The walk over a graph, from its last operator to its first.

use std::collections::BTreeSet;

use super::node::TrainNode;
use super::tape::Tape;
use super::{attention, elements, experts, forward, norms, outside, products, recurrent};
use crate::graph::Graph;
use crate::op::Op;
use crate::tensor::DataType;

/// A region in training: its forward pass, and its backward pass in the order in which it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Passes {
    pub(crate) forward: Vec<TrainNode>,
    pub(crate) backward: Vec<TrainNode>,
}

/// An operator whose gradient is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operator `{operator}` ({kind}) has no gradient here")]
pub struct NoGradient {
    /// Its label.
    pub operator: String,
    /// What it computes.
    pub kind: &'static str,
}

/// Both passes of a graph. `hands_on` says that the last operator's result is the next region's; `summed` are parameters that have a gradient
/// already: an embedding that is also the vocabulary's.
///
/// # Errors
/// The first operator that has no gradient here.
pub(crate) fn passes(
    graph: &Graph,
    hands_on: bool,
    gradients: DataType,
    summed: &mut BTreeSet<String>,
) -> Result<Passes, NoGradient> {
    let mut tape = Tape::new(graph, hands_on, gradients, summed);
    let order: Vec<_> = graph.petgraph().node_indices().collect();
    let forward = order.iter().filter_map(|i| forward::node(&tape, *i)).collect();
    tape.seed();
    for index in order.into_iter().rev() {
        let Some(node) = graph.operator(index) else { continue };
        if matches!(node.op, Op::ArgMax { .. }) {
            outside::cross_entropy(&mut tape, index, node);
            continue;
        }
        let Some(gradient) = tape.whole(index) else { continue };
        match node.op {
            Op::Linear { .. } | Op::ExpertLinear { .. } | Op::HeadLinear { .. } => {
                products::linear(&mut tape, index, node, &gradient);
            }
            Op::LayerNorm { .. } | Op::RmsNorm { .. } | Op::PlainNorm { .. } => {
                norms::norm(&mut tape, index, node, &gradient);
            }
            Op::GatedNorm { .. } => norms::gated(&mut tape, index, node, &gradient),
            Op::Residual { .. } => elements::residual(&mut tape, index, &gradient),
            Op::Activation { .. } => elements::activation(&mut tape, index, node, &gradient),
            Op::GatedMul { .. } => elements::gated_mul(&mut tape, index, node, &gradient),
            Op::AttentionValues { .. } => attention::attention(&mut tape, index, node, &gradient),
            Op::Rotary { .. } => attention::rotary(&mut tape, index, node, &gradient),
            Op::QkNorm { .. } => attention::qk_norm(&mut tape, index, node, &gradient),
            Op::Embedding { .. } => outside::embedding(&mut tape, index, node, &gradient),
            Op::PositionEmbedding { .. } => outside::positions(&mut tape, index, node, &gradient),
            Op::Route { .. } | Op::Dispatch { .. } | Op::Combine { .. } => {
                experts::mixture(&mut tape, index, node, &gradient);
            }
            Op::CausalConv { .. }
            | Op::Wkv { .. }
            | Op::TokenShift { .. }
            | Op::SelectiveScan { .. }
            | Op::StateSpaceDual { .. }
            | Op::LinearAttention { .. }
            | Op::DiagonalScan { .. } => recurrent::recurrence(&mut tape, index, node, &gradient),
            op => return Err(NoGradient { operator: node.label.clone(), kind: op.kind() }),
        }
    }
    tape.close();
    Ok(Passes { forward, backward: tape.nodes })
}
