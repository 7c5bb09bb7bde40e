//! What the vector unit does for operators that are neither products of matrices nor attention: mixtures of experts, recurrences, gates.
//!
//! A multiply-accumulate unit multiplies a row of its bank by a vector and sums up; no product of single elements is written back. So the
//! decay, the input and the output of a state, which are such products, are the vector unit's: it gets the state and gives it back.

use banksia_hw::program::VectorFunction;
use banksia_workloads::model::LinearRule;
use banksia_workloads::{ActivationKind, Graph, Op, OperatorNode};
use petgraph::Direction;
use petgraph::graph::NodeIndex;

use super::functions::Functions;

/// The functions of an operator, one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct VectorWork {
    /// Of what comes in.
    pub before: Vec<VectorFunction>,
    /// Products and sums of the state's elements, where the operator has a state.
    pub of_state: Option<u64>,
    /// Of what goes out.
    pub after: Vec<VectorFunction>,
    /// Elements of the result.
    pub elements: u64,
}

impl VectorWork {
    fn of(functions: impl Into<Vec<VectorFunction>>, elements: u64) -> Self {
        Self { before: functions.into(), elements, ..Self::default() }
    }

    fn on_state(before: impl Into<Vec<VectorFunction>>, products: u64, elements: u64) -> Self {
        Self { before: before.into(), of_state: Some(products), after: Vec::new(), elements }
    }
}

/// What the vector unit does for an operator; `None` for one that is not its own alone.
pub(crate) fn work(f: &Functions, node: &OperatorNode) -> Option<VectorWork> {
    use ActivationKind::{Sigmoid, Silu, Softplus};
    let n = node.batch * node.tokens;
    let of = |function: VectorFunction, width: u64| VectorWork::of([function], n * width);
    Some(match node.op {
        Op::LayerNorm { width } | Op::PlainNorm { width, .. } => of(f.norms(n, width, true), width),
        Op::RmsNorm { width } => of(f.norms(n, width, false), width),
        Op::QkNorm { heads, kv_heads, head_dim, .. } => {
            of(f.norms(n * (heads + kv_heads), head_dim, false), (heads + kv_heads) * head_dim)
        }
        Op::GatedNorm { width, group, .. } => {
            let group = group.clamp(1, width.max(1));
            let functions = [
                f.activation(Silu, n * width),
                f.multiply(n * width),
                f.norms(n * width.div_ceil(group), group, false),
            ];
            VectorWork::of(functions, n * width)
        }
        Op::Residual { width } => of(f.add(n * width), width),
        Op::GatedMul { width } => of(f.multiply(n * width), width),
        Op::Activation { kind, width } => of(f.activation(kind, n * width), width),
        Op::Rotary { heads, kv_heads, head_dim, rotary_dim } => {
            of(f.rotary(n * (heads + kv_heads) * rotary_dim), (heads + kv_heads) * head_dim)
        }
        // The largest, and the largest of the rest, as often as there are experts of a token.
        Op::Route { experts, top_k, .. } => {
            let choices = (0..top_k).map(|_| f.largest_of_rows(n, experts));
            VectorWork::of([f.softmax(n, experts)].into_iter().chain(choices).collect::<Vec<_>>(), n * top_k)
        }
        // The vector unit keeps a token's vector: no copies. Nothing moves where runs are joined.
        Op::Dispatch { .. } | Op::Concat { .. } => VectorWork::default(),
        Op::Combine { top_k, width } => {
            VectorWork::of([f.multiply(n * top_k * width), f.add(n * top_k * width)], n * width)
        }
        Op::CausalConv { channels, kernel, silu, .. } => {
            let after = if silu { vec![f.activation(Silu, n * channels)] } else { Vec::new() };
            VectorWork { after, ..VectorWork::on_state(Vec::new(), n * channels * kernel, n * channels) }
        }
        Op::TokenShift { width, mixes } => VectorWork::on_state(Vec::new(), n * width * mixes, n * width * mixes),
        // A time step a channel, a decay an element: an exponential each.
        Op::SelectiveScan { channels, state } => {
            let all = n * channels * state;
            VectorWork::on_state([f.activation(Softplus, all + n * channels)], 3 * all, n * channels)
        }
        // A time step and a decay a head.
        Op::StateSpaceDual { heads, head_dim, state, .. } => {
            let products = 3 * n * heads * head_dim * state;
            VectorWork::on_state([f.activation(Softplus, 2 * n * heads)], products, n * heads * head_dim)
        }
        Op::LinearAttention { rule, value_heads, key_dim, value_dim, .. } => {
            let passes = match rule {
                LinearRule::Plain => 2,
                LinearRule::Retention | LinearRule::ScalarGate | LinearRule::VectorGate => 3,
                LinearRule::Delta => 4,
                LinearRule::GatedDelta | LinearRule::VectorGatedDelta => 5,
            };
            VectorWork::on_state(
                Vec::new(),
                passes * n * value_heads * key_dim * value_dim,
                n * value_heads * value_dim,
            )
        }
        Op::Wkv { channels, head_dim, .. } => {
            VectorWork::on_state(Vec::new(), 4 * n * channels * head_dim, n * channels)
        }
        Op::DiagonalScan { channels } => {
            VectorWork::on_state([f.activation(Sigmoid, 2 * n * channels)], 3 * n * channels, n * channels)
        }
        _ => return None,
    })
}

/// Whether a token is chosen from an operator's result.
pub(crate) fn is_chosen_from(graph: &Graph, index: NodeIndex) -> bool {
    let mut next = graph.petgraph().neighbors_directed(index, Direction::Outgoing);
    next.any(|n| graph.operator(n).is_some_and(|o| matches!(o.op, Op::ArgMax { .. })))
}

/// Bytes of an element of an operator's state, at least one.
pub(crate) fn state_element_bytes(node: &OperatorNode) -> u64 {
    let held = matches!(node.op, Op::CausalConv { .. } | Op::TokenShift { .. });
    let bits = if held { node.dtype.bits() } else { node.types.state.bits() };
    bits.div_ceil(8)
}

/// Multiply-accumulates that the memory's units do for an operator of the graph, each sequence by itself; a bias is the vector unit's.
pub(crate) fn macs(node: &OperatorNode) -> u64 {
    let n = node.batch.saturating_mul(node.tokens);
    let product = |factors: &[u64]| factors.iter().fold(1u64, |p, f| p.saturating_mul(*f));
    match node.op {
        Op::Linear { in_features, out_features, .. } => product(&[n, in_features, out_features]),
        Op::HeadLinear { heads, in_features, out_features } => product(&[n, heads, in_features, out_features]),
        Op::ExpertLinear { in_features, out_features, .. } => {
            let rows = node.load.iter().fold(0u64, |sum, rows| sum.saturating_add(*rows));
            product(&[rows, in_features, out_features])
        }
        Op::AttentionScores { heads, head_dim, context, .. } | Op::AttentionValues { heads, head_dim, context, .. } => {
            product(&[n, heads, head_dim, context])
        }
        _ => 0,
    }
}
