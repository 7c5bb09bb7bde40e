//! What the mapping claims: where every element lies, and what each operator has to do.

use std::collections::HashMap;
use std::ops::Range;

use banksia_workloads::{Graph, Op, OperatorNode};
use petgraph::Direction::{Incoming, Outgoing};
use petgraph::graph::NodeIndex;

use super::attention::OPERATORS;
use super::layout::Matrix;
use super::map::Pim;
use crate::pim_gpt::vector_ops;
use crate::replay::{Claims, Fresh, Group, InBanks, Place, Region};

/// Adds what a token of some sequences claims, after the group `before`; the last group.
pub(super) fn add(
    pim: &Pim,
    graph: &Graph,
    context: u64,
    sequences: Range<u64>,
    (claims, banks): (&mut Claims, &mut InBanks),
    before: Option<usize>,
) -> Option<usize> {
    let vectors = sequences.end - sequences.start;
    let mut adding = Adding { pim, context, sequences, vectors, claims, banks };
    let (mut of, mut last) = (HashMap::new(), before);
    for index in graph.topological().unwrap_or_default() {
        if let Some(node) = graph.operator(index) {
            let mut after: Vec<usize> =
                graph.petgraph().neighbors_directed(index, Incoming).filter_map(|n| of.get(&n).copied()).collect();
            if after.is_empty() {
                // What comes from outside is there after the operator before.
                after.extend(last);
            }
            after.sort_unstable();
            after.dedup();
            let group = adding.node(node, passes(graph, index, node), after);
            of.insert(index, group);
            last = Some(group);
        }
    }
    last
}

/// Adds what one operator of a model claims that another device runs the rest of, after other groups; its group.
pub(super) fn one(
    pim: &Pim,
    node: &OperatorNode,
    context: u64,
    sequences: Range<u64>,
    after: Vec<usize>,
    (claims, banks): (&mut Claims, &mut InBanks),
) -> usize {
    let vectors = node.batch.saturating_mul(node.tokens);
    // What it gives goes on to the other device, or to an operator that takes it vector by vector.
    Adding { pim, context, sequences, vectors, claims, banks }.node(node, true, after)
}

/// Whether an operator's result passes through in parts: the vocabulary's logits.
fn passes(graph: &Graph, index: NodeIndex, node: &OperatorNode) -> bool {
    let chosen = |n: NodeIndex| graph.operator(n).is_some_and(|o| matches!(o.op, Op::ArgMax { .. }));
    let mut next = graph.petgraph().neighbors_directed(index, Outgoing);
    next.clone().any(chosen) || next.any(|n| vector_ops::is_chosen_from(graph, n)) && node.layer.is_none()
}

struct Adding<'a, 'b> {
    pim: &'a Pim,
    context: u64,
    sequences: Range<u64>,
    /// Vectors of an operator: of each sequence one of every token.
    vectors: u64,
    claims: &'b mut Claims,
    banks: &'b mut InBanks,
}

impl Adding<'_, '_> {
    /// Adds an operator, whose result `passes` through in parts or is held as a whole.
    fn node(&mut self, node: &OperatorNode, passes: bool, after: Vec<usize>) -> usize {
        let group = self.claims.groups.len();
        let (pim, batch) = (self.pim, self.vectors);
        let bytes = if passes { 0 } else { node.activation_bytes_out() };
        let mut own = Group {
            name: node.name.clone(),
            labels: vec![node.label.clone()],
            after,
            required: true,
            live_bytes: bytes,
            ..Group::default()
        };
        let vectors = match node.op {
            Op::Linear { .. } => vec![batch],
            Op::HeadLinear { heads, .. } => vec![node.batch * node.tokens; heads as usize],
            Op::ExpertLinear { .. } => node.load.to_vec(),
            _ => Vec::new(),
        };
        match node.op {
            Op::KvAppend { .. }
            | Op::Softmax { .. }
            | Op::ScoreCap { .. }
            | Op::AttentionValues { .. }
            | Op::Concat { .. } => {
                (own.required, own.labels) = (false, Vec::new());
                own.live_bytes = if matches!(node.op, Op::AttentionValues { .. }) { bytes } else { 0 };
            }
            Op::AttentionScores { context, .. } => {
                if let Some((attention, layer)) = pim.layout.attention(&node.name) {
                    own.labels = OPERATORS.map(str::to_owned).to_vec();
                    own.attention = true;
                    own.live_bytes = attention.score_bytes(context);
                    own.adds = attention.adds(batch, context);
                    attention.claim(&node.name, layer, self.sequences.clone(), context, (group, self.banks));
                }
            }
            Op::Embedding { .. } | Op::PositionEmbedding { .. } => {
                let (name, row) = match node.op {
                    Op::PositionEmbedding { positions, .. } => {
                        (node.name.as_str(), (self.context - 1) % positions.max(1))
                    }
                    _ if pim.layout.matrix(&node.name).is_some() => {
                        (node.name.as_str(), (self.context - 1) % pim.model.embed.vocab.max(1))
                    }
                    _ => ("lm_head", (self.context - 1) % pim.model.embed.vocab.max(1)),
                };
                own.in_place = matches!(node.op, Op::PositionEmbedding { .. });
                if let Some(matrix) = pim.layout.matrix(name) {
                    self.matrix(node, matrix, 0, 0, Some((row, batch)), group);
                }
            }
            _ if !vectors.is_empty() => {
                own.labels.push("read results".into());
                if let Some(matrix) = pim.layout.matrix(&pim.layout.owners.name(node)) {
                    let biased = matches!(node.op, Op::Linear { bias: true, .. } | Op::ExpertLinear { bias: true, .. });
                    let sums = pim.banks.sums_of(&pim.layout.product(matrix, 0)) - 1 + u64::from(biased);
                    own.adds.push((node.label.clone(), sums * matrix.outputs * vectors.iter().sum::<u64>()));
                    own.required = vectors.iter().any(|n| *n > 0);
                    for (part, times) in vectors.iter().enumerate() {
                        self.matrix(node, matrix, part as u64, *times, None, group);
                    }
                }
            }
            _ => {
                own.in_place = true;
                if let Some(work) = vector_ops::work(&pim.functions, node) {
                    own.required = !(work.before.is_empty() && work.after.is_empty() && work.of_state.is_none());
                }
                if let Some(state) = pim.layout.states.iter().find(|s| s.name == node.name) {
                    let name = format!("{} state", node.name);
                    let tensor = self.banks.tensor(&name);
                    self.banks.add(Region {
                        name,
                        tensor,
                        operator: node.label.clone(),
                        first_row: state.first_row,
                        rows: state.rows,
                        channels: (0..pim.banks.channels).collect(),
                        place: Place::Whole { columns: state.columns, of_row: pim.banks.columns() },
                        first_input: 0,
                        // Parts of the batch have parts of it.
                        times: u64::from(self.sequences.start == 0),
                        group: 1,
                        fresh: Fresh::All,
                        looked_up: None,
                        groups: vec![group],
                    });
                }
            }
        }
        self.claims.groups.push(own);
        group
    }

    /// One of a matrix' parts: each is a tensor of its own.
    fn matrix(
        &mut self,
        node: &OperatorNode,
        matrix: &Matrix,
        part: u64,
        times: u64,
        looked_up: Option<(u64, u64)>,
        group: usize,
    ) {
        let product = self.pim.layout.product(matrix, part);
        let name = if matrix.count > 1 { format!("{}[{part}]", matrix.name) } else { matrix.name.clone() };
        let tensor = self.banks.tensor(&name);
        for (channels, place, first_input) in self.pim.banks.placed(&product) {
            self.banks.add(Region {
                name: name.clone(),
                tensor,
                operator: node.label.clone(),
                first_row: product.first_row,
                rows: matrix.rows,
                channels,
                place,
                first_input,
                times,
                group: 1,
                fresh: Fresh::Nothing,
                looked_up,
                groups: vec![group],
            });
        }
    }
}
