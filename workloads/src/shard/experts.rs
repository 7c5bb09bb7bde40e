//! Experts divided over ranks: which rows a rank's experts have.

use std::sync::Arc;

use petgraph::visit::EdgeRef;

use super::sharding::Sharding;
use crate::graph::Graph;
use crate::model::Routing;
use crate::op::{Op, OperatorNode};

/// A rank's experts, and how many ranks have each expert of the model (one, where nothing is said).
pub(super) struct Own<'a> {
    pub(super) experts: &'a [u32],
    pub(super) copies: &'a [u32],
}

/// A graph with a rank's experts alone, and the rows that they are sent: of the tokens of all replicas that exchange them.
pub(super) fn divided(graph: &Graph, sharding: &Sharding, mine: &Own<'_>, routing: &Routing) -> Graph {
    let mut out = Graph::with_capacity(graph.petgraph().node_count());
    for node in graph.operators() {
        out.add(own(node, graph, sharding, mine, routing));
    }
    let mut edges: Vec<_> = graph.petgraph().edge_references().collect();
    edges.sort_unstable_by_key(EdgeRef::id);
    for edge in edges {
        out.connect(edge.source(), edge.target(), edge.weight().clone());
    }
    out
}

fn own(node: &OperatorNode, graph: &Graph, sharding: &Sharding, mine: &Own<'_>, routing: &Routing) -> OperatorNode {
    let mut node = node.clone();
    if let Op::ExpertLinear { experts: all, .. } = &mut node.op {
        let mut load = node.load.to_vec();
        if sharding.exchanging > 1 {
            // What all replicas send, each of whose tokens chooses by the same shares.
            let top_k = graph.operators().find_map(|n| match n.op {
                Op::Route { top_k, .. } => Some(top_k),
                _ => None,
            });
            let (rows, top_k) = (node.batch.saturating_mul(node.tokens), top_k.unwrap_or(1).max(1));
            let tokens = (rows / top_k).saturating_mul(u64::from(sharding.exchanging));
            load = routing.rows(*all, top_k, tokens);
        }
        let of = |e: &u32| {
            let rows = load.get(*e as usize).copied().unwrap_or(0);
            rows.div_ceil(u64::from(mine.copies.get(*e as usize).copied().unwrap_or(1).max(1)))
        };
        let rows: Vec<u64> = mine.experts.iter().map(of).collect();
        *all = rows.len() as u64;
        for weight in &mut node.weights {
            if let Some(first) = weight.shape.first_mut() {
                *first = *all;
            }
        }
        node.load = Arc::from(rows);
    }
    node
}
