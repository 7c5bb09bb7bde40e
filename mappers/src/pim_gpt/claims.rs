//! What the mapping claims: where every element lies, and what each operator has to do.

use std::collections::HashMap;

use banksia_workloads::{Graph, Op, OperatorNode};
use petgraph::Direction::{Incoming, Outgoing};
use petgraph::graph::NodeIndex;

use super::layout::Matrix;
use super::map::PimGpt;
use super::vector_ops;
use crate::replay::{Bounds, Claims, Fresh, Group, InBanks, PackedChunk, Place, Region};

/// What the pass of a graph's token claims.
pub(super) fn claims(map: &PimGpt, graph: &Graph, context: u64) -> Claims {
    let mut adding = Adding {
        map,
        graph,
        context,
        claims: Claims::default(),
        banks: InBanks::new(0, "channels"),
        of: HashMap::new(),
        attention: Vec::new(),
    };
    let mut last = None;
    for index in graph.topological().unwrap_or_default() {
        if let Some(node) = graph.operator(index) {
            let mut after = adding.producers(index);
            if after.is_empty() {
                // What comes from outside is there after the operator before.
                after.extend(last);
            }
            let group = adding.node(index, node, after);
            adding.of.insert(index, group);
            last = Some(group);
        }
    }
    adding.claims.banks.push(adding.banks);
    adding.claims
}

struct Adding<'a> {
    map: &'a PimGpt,
    graph: &'a Graph,
    context: u64,
    claims: Claims,
    banks: InBanks,
    of: HashMap<NodeIndex, usize>,
    /// Nodes of the attention in hand: the values' node has the instructions of all.
    attention: Vec<NodeIndex>,
}

impl Adding<'_> {
    fn producers(&self, index: NodeIndex) -> Vec<usize> {
        let mut all: Vec<usize> = self
            .graph
            .petgraph()
            .neighbors_directed(index, Incoming)
            .filter_map(|n| self.of.get(&n).copied())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn node(&mut self, index: NodeIndex, node: &OperatorNode, after: Vec<usize>) -> usize {
        let group = self.claims.groups.len();
        let map = self.map;
        let mut own = Group {
            name: node.name.clone(),
            labels: vec![node.label.clone()],
            after,
            required: true,
            live_bytes: node.activation_bytes_out(),
            ..Group::default()
        };
        match node.op {
            Op::KvAppend { .. } | Op::AttentionScores { .. } | Op::Softmax { .. } | Op::ScoreCap { .. } => {
                self.attention.push(index);
                (own.required, own.labels, own.live_bytes) = (false, Vec::new(), 0);
            }
            Op::AttentionValues { context, .. } => self.values(&mut own, context, group),
            Op::ArgMax { .. } => (own.required, own.labels, own.live_bytes) = (false, Vec::new(), 0),
            Op::Activation { .. } if vector_ops::is_chosen_from(self.graph, index) => {
                (own.required, own.labels, own.live_bytes) = (false, Vec::new(), 0);
            }
            Op::Embedding { .. } | Op::PositionEmbedding { .. } => {
                let of_vocab = (self.context - 1) % map.model.embed.vocab.max(1);
                let (name, row) = match node.op {
                    Op::PositionEmbedding { positions, .. } => {
                        (node.name.as_str(), (self.context - 1) % positions.max(1))
                    }
                    _ if map.layout.matrix(&node.name).is_some() => (node.name.as_str(), of_vocab),
                    _ => ("lm_head", of_vocab),
                };
                own.in_place = matches!(node.op, Op::PositionEmbedding { .. });
                if let Some(matrix) = map.layout.matrix(name) {
                    self.matrix(node, matrix, 0, 0, Some((row, 1)), group);
                }
            }
            Op::Linear { .. } | Op::HeadLinear { .. } | Op::ExpertLinear { .. } => {
                self.product(&mut own, index, node, group);
            }
            _ => {
                own.in_place = true;
                if let Some(work) = vector_ops::work(&map.functions, node) {
                    own.required = !(work.before.is_empty() && work.after.is_empty() && work.of_state.is_none());
                }
                if let Some(state) = map.layout.state(&node.name) {
                    let name = format!("{} state", node.name);
                    let place = Place::Whole { columns: state.columns, of_row: map.geometry.columns.into() };
                    let tensor = self.banks.tensor(&name);
                    let region = self.region(node, (name, tensor), (state.row, state.rows), place, group);
                    self.banks.add(Region { times: 1, fresh: Fresh::All, ..region });
                }
            }
        }
        self.claims.groups.push(own);
        group
    }

    fn bounds(&self) -> Bounds {
        let g = &self.map.geometry;
        Bounds { channels: g.channels.into(), units: g.banks.into(), lanes: g.lanes, columns: g.columns.into() }
    }

    fn region(
        &self,
        node: &OperatorNode,
        (name, tensor): (String, u32),
        (row, rows): (u32, u32),
        place: Place,
        group: usize,
    ) -> Region {
        Region {
            name,
            tensor,
            operator: node.label.clone(),
            first_row: row.into(),
            rows: rows.into(),
            channels: (0..self.map.geometry.channels).collect(),
            place,
            first_input: 0,
            times: 0,
            group: 1,
            fresh: Fresh::Nothing,
            looked_up: None,
            groups: vec![group],
        }
    }

    fn product(&mut self, own: &mut Group, index: NodeIndex, node: &OperatorNode, group: usize) {
        let (bias, vectors) = match node.op {
            Op::HeadLinear { heads, .. } => (false, vec![1; heads as usize]),
            Op::ExpertLinear { bias, .. } => (bias, node.load.to_vec()),
            Op::Linear { bias, .. } => (bias, vec![1]),
            _ => return,
        };
        let map = self.map;
        // The largest logit is found, and logits are capped, tile by tile.
        let next = || self.graph.petgraph().neighbors_directed(index, Outgoing);
        let capped = next().find(|n| vector_ops::is_chosen_from(self.graph, *n));
        if capped.is_some() || vector_ops::is_chosen_from(self.graph, index) {
            own.labels.push("argmax".into());
            own.labels.extend(capped.and_then(|n| self.graph.operator(n)).map(|o| o.label.clone()));
            own.live_bytes = 0;
        }
        let Some(matrix) = map.layout.matrix(&map.owners.name(node)) else { return };
        own.required = vectors.iter().any(|n| *n > 0);
        let of_output = matrix.chunks.len() as u64 - 1 + u64::from(bias);
        own.adds.push((node.label.clone(), of_output * matrix.outputs * vectors.iter().sum::<u64>()));
        for (part, times) in vectors.iter().enumerate() {
            self.matrix(node, matrix, part as u64, *times, None, group);
        }
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
        let Some(first) = matrix.chunks_of(part).next().map(|c| c.row) else { return };
        let chunks = matrix
            .chunks_of(part)
            .map(|c| PackedChunk { columns: c.columns.into(), row: (c.row - first).into(), rows: c.rows.into() })
            .collect();
        let name = if matrix.count > 1 { format!("{}[{part}]", matrix.name) } else { matrix.name.clone() };
        let (outputs, inputs) = (matrix.outputs, matrix.inputs);
        let place = Place::Packed { bounds: self.bounds(), outputs, inputs, chunks };
        let tensor = self.banks.tensor(&name);
        let rows = u32::try_from(matrix.rows()).unwrap_or(u32::MAX);
        let region = self.region(node, (name, tensor), (first, rows), place, group);
        self.banks.add(Region { times, looked_up, ..region });
    }

    /// Attention whose nodes have been gathered: keys and values, and that the new token's are written.
    fn values(&mut self, own: &mut Group, context: u64, group: usize) {
        let nodes = std::mem::take(&mut self.attention);
        let inside: Vec<usize> = nodes.iter().filter_map(|n| self.of.get(n).copied()).collect();
        let mut after: Vec<usize> = nodes.iter().flat_map(|n| self.producers(*n)).chain(own.after.drain(..)).collect();
        after.retain(|a| !inside.contains(a));
        after.sort_unstable();
        after.dedup();
        own.after = after;
        own.attention = true;
        // The heads' results come when the queries are in the buffers and the new keys and values in the banks.
        own.in_place = true;
        let operators = nodes.iter().filter_map(|n| self.graph.operator(*n));
        own.labels.extend(operators.clone().map(|o| o.label.clone()));
        let scores = operators.clone().find(|o| matches!(o.op, Op::AttentionScores { .. }));
        let Some((scores, cache)) = scores.and_then(|o| Some((o, self.map.layout.cache(&o.name)?))) else { return };
        let sizes = cache.sizes;
        let (heads, bounds) = (sizes.kv_heads, self.bounds());
        let keys = Place::Keys { bounds, tokens: context, heads, dim: sizes.key_dim };
        let stride = cache.value_columns.into();
        let values = Place::Values { bounds, tokens: context, heads, dim: sizes.value_dim, stride };
        let tensor = self.banks.new_tensor();
        let shared = sizes.heads / heads.max(1);
        let of = |what: &str, i: u32| (format!("{}: {what}", scores.name), tensor + i);
        let new_keys = Fresh::Outputs { first: (context - 1) * heads, count: heads };
        let keys = self.region(scores, of("keys", 0), (cache.key_row, cache.key_rows), keys, group);
        let values = self.region(scores, of("values", 1), (cache.value_row, cache.value_rows), values, group);
        self.banks.add(Region { times: shared, group: shared, fresh: new_keys, ..keys });
        self.banks.add(Region { times: shared, group: shared, fresh: Fresh::Input(context - 1), ..values });
    }
}
