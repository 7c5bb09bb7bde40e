//! Sequences on their way through the layers, operator by operator: what is next, where it runs, and what it reads.

use std::collections::HashMap;

use banksia_workloads::{OperatorNode, Place, StepGraph, TensorKind};
use petgraph::Direction::Incoming;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::half::Half;
use super::place::{Placed, Resolved, is_of_attention};
use super::values::Wanted;
use crate::gpu::model::ChosenPart;

/// Some sequences on their way through the layers; `V` is what is known of an operator's result.
pub(super) struct Chain<V> {
    pub(super) half: Half,
    /// The step as each device sees it.
    pub(super) gpu: StepGraph,
    pub(super) pim: StepGraph,
    pub(super) placed: Resolved,
    /// What the GPU runs, by region and operator.
    pub(super) parts: HashMap<(usize, usize), ChosenPart>,
    /// Of the operators of the layer at hand, and last what it has begun with.
    pub(super) values: Vec<V>,
    /// The next operator: its region, the layer within, its place in the region's graph.
    next: At,
    /// The region, and the layer within, that `values` are of.
    begun: Option<(usize, u32)>,
}

/// An operator's region, the layer within it, and its place in the region's graph.
pub(super) type At = (usize, u32, usize);

/// An operator of a chain.
pub(super) struct Here {
    pub(super) place: Placed,
    pub(super) layer: Option<u32>,
    pub(super) block: String,
    /// As the GPU sees it: the rows that it has.
    pub(super) gpu: OperatorNode,
    /// As the PIM device sees it, by its name in its own layer.
    pub(super) pim: Option<OperatorNode>,
}

fn rows(node: &OperatorNode) -> u64 {
    node.batch.saturating_mul(node.tokens)
}

impl Here {
    /// Whether the GPU runs it, or some rows of it.
    pub(super) fn on_gpu(&self) -> bool {
        self.place.on_gpu() && (self.place == Placed::Gpu || rows(&self.gpu) > 0)
    }

    /// The operator as the PIM device runs it, where it does.
    pub(super) fn on_pim(&self) -> Option<&OperatorNode> {
        let has = |n: &&OperatorNode| self.place.on_pim() && (self.place == Placed::Pim || rows(n) > 0);
        self.pim.as_ref().filter(has)
    }

    /// The share of rows of a device, of an operator that is split.
    pub(super) fn share(&self, of: &OperatorNode) -> Option<f64> {
        let all = rows(&self.gpu) as f64 + self.pim.as_ref().map_or(0.0, |n| rows(n) as f64);
        matches!(self.place, Placed::Below(_)).then(|| rows(of) as f64 / all.max(1.0))
    }
}

impl<V: Clone + Default> Chain<V> {
    /// Before its first operator; `first` is what that begins with.
    pub(super) fn new(
        half: Half,
        [gpu, pim]: [StepGraph; 2],
        placed: Resolved,
        parts: HashMap<(usize, usize), ChosenPart>,
        first: V,
    ) -> Self {
        Self { half, gpu, pim, placed, parts, values: vec![first], next: (0, 0, 0), begun: None }
    }

    /// Operators up to the end of the next run of those in the banks, one after the other; whether there are more.
    ///
    /// # Errors
    /// What `each` gives.
    pub(super) fn turn<E>(&mut self, mut each: impl FnMut(&mut Self, At) -> Result<(), E>) -> Result<bool, E> {
        let mut in_banks = false;
        while let Some(at) = self.at() {
            let place = self.is_placed(at.0, at.2);
            if in_banks && place == Placed::Gpu {
                return Ok(true);
            }
            in_banks |= place.on_pim();
            each(self, at)?;
            self.next.2 += 1;
        }
        Ok(false)
    }

    /// The region and the operator that are next; none after the last.
    fn at(&mut self) -> Option<At> {
        loop {
            let (region, layer, index) = self.next;
            let here = self.gpu.regions.get(region)?;
            let operators = here.body.petgraph().node_count();
            if index < operators {
                if self.begun != Some((region, layer)) {
                    self.begun = Some((region, layer));
                    let before = self.values.iter().rev().nth(1).or(self.values.last()).cloned().unwrap_or_default();
                    self.values = vec![V::default(); operators];
                    self.values.push(before);
                }
                return Some((region, layer, index));
            }
            self.next = if layer + 1 < here.repeat { (region, layer + 1, 0) } else { (region + 1, 0, 0) };
        }
    }

    /// What an operator reads that is an operator's result.
    pub(super) fn wanted(&self, region: usize, index: usize) -> Vec<Wanted> {
        let Some(region) = self.gpu.regions.get(region) else { return Vec::new() };
        let graph = region.body.petgraph();
        let Some(node) = region.body.operator(NodeIndex::new(index)) else { return Vec::new() };
        let mut wanted: Vec<Wanted> = graph
            .edges_directed(NodeIndex::new(index), Incoming)
            .map(|edge| Wanted {
                value: edge.source().index(),
                tensor: edge.weight().name.clone(),
                bytes: edge.weight().bytes(),
            })
            .collect();
        for tensor in node.inputs.iter().filter(|t| t.kind == TensorKind::Input && region.place == Place::Layers) {
            // What the graph has as from outside may be an operator's of the same layer.
            let made = graph.node_indices().find(|i| graph[*i].outputs.iter().any(|o| o.name == tensor.name));
            let value = made.map_or(graph.node_count(), NodeIndex::index);
            wanted.push(Wanted { value, tensor: tensor.name.clone(), bytes: tensor.bytes() });
        }
        if region.place == Place::After && index == 0 {
            let bytes = node.activation_bytes_in();
            wanted.push(Wanted { value: graph.node_count(), tensor: "hidden".into(), bytes });
        }
        wanted
    }

    fn is_placed(&self, region: usize, index: usize) -> Placed {
        self.placed.get(region).and_then(|r| r.get(index)).copied().unwrap_or(Placed::Gpu)
    }

    /// The operator at a place; none where there is none.
    pub(super) fn here(&self, (region, repeat, index): At) -> Option<Here> {
        let own = self.gpu.regions.get(region)?;
        let inside = matches!(own.place, Place::Layers | Place::Encoder);
        let layer = inside.then_some(own.first_layer.saturating_add(repeat));
        let gpu = own.body.operator(NodeIndex::new(index))?.clone();
        let pim = self.pim.regions.get(region).and_then(|r| r.body.operator(NodeIndex::new(index)));
        let pim = pim.map(|node| of_layer(node, layer));
        Some(Here { place: self.is_placed(region, index), layer, block: own.block.clone(), gpu, pim })
    }

    /// The operators of attention of a region, and what they read that is not their own.
    pub(super) fn attention(&self, region: usize) -> (Vec<usize>, Vec<Wanted>) {
        let Some(here) = self.gpu.regions.get(region) else { return (Vec::new(), Vec::new()) };
        let own: Vec<usize> = (0..here.body.petgraph().node_count())
            .filter(|i| here.body.operator(NodeIndex::new(*i)).is_some_and(is_of_attention))
            .collect();
        let mut wanted: Vec<Wanted> = Vec::new();
        for tensor in own.iter().flat_map(|i| self.wanted(region, *i)) {
            if !own.contains(&tensor.value) && wanted.iter().all(|w| w.tensor != tensor.tensor) {
                wanted.push(tensor);
            }
        }
        (own, wanted)
    }
}

/// An operator of a layer: its name, and so its weights, are that layer's.
fn of_layer(node: &OperatorNode, layer: Option<u32>) -> OperatorNode {
    let mut node = node.clone();
    if let (Some(layer), Some((_, rest))) = (layer, node.name.split_once('.')) {
        node.name = format!("layer{layer}.{rest}");
        node.layer = Some(layer);
    }
    node
}
