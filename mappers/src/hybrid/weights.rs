//! Where weights lie: with the GPU, in the banks, or in both.
//!
//! A matrix in the banks is laid out for their units, a row of it along a row of one bank, and a kernel that reads tiles of it finds them scattered. So what
//! both devices use (the GPU in the prompt and the banks in decode, or experts that are hot one step and cold the next) is kept twice, or once in
//! the banks' layout: then the GPU converts it each time, or reads it as it lies, where
//! the mapping states that the layout allows it.

use std::collections::{BTreeMap, BTreeSet};

use banksia_workloads::{Generation, Graph, Model, Op, OperatorNode, Phase, Step, StepGraph};
use schemars::JsonSchema;
use serde::Deserialize;

use super::place::{Places, Resolved};

/// How weights are kept that both devices use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Copies {
    /// Twice: once for each device.
    #[default]
    Two,
    /// Once, in the banks' layout; the GPU copies a matrix to one of its own before each use.
    Convert,
    /// Once, in a layout that both read at their full rates, as Duplex assumes (Yun et al., MICRO 2024).
    Direct,
}

/// A matrix, or those of all layers that are alike.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// Of all layers that have one of their own.
    bytes: u64,
    /// Of one layer.
    one: u64,
    gpu: bool,
    pim: bool,
}

/// Where a mapping keeps weights.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    /// Bytes that the GPU keeps.
    pub(super) of_gpu: u64,
    /// Bytes of second copies.
    pub(super) twice: u64,
    /// Bytes of the room to convert into.
    pub(super) scratch: u64,
    /// Operators (by their names in the first of layers that are alike) whose weights the GPU has from the banks.
    pub(super) from_banks: BTreeSet<String>,
}

/// The table that tokens are looked up in.
const TABLE: &str = "token_embedding";

/// Tables are read by row, matrices by product.
fn has_weights(node: &OperatorNode) -> bool {
    node.matrices().is_some() || matches!(node.op, Op::Embedding { .. } | Op::PositionEmbedding { .. })
}

impl Weights {
    /// Of steps' graphs, and where their operators run.
    pub(super) fn new(model: &Model, steps: &[(&StepGraph, &Resolved)], copies: Copies) -> Self {
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        for (graph, placed) in steps {
            for (region, placed) in graph.regions.iter().zip(*placed) {
                for (node, place) in region.body.operators().zip(placed).filter(|(n, _)| has_weights(n)) {
                    // Layers of a shared block have the same weights, wherever they stand.
                    let (key, times) = match (region.shared, node.name.split_once('.')) {
                        (true, Some((_, rest))) => (format!("{}.{rest}", region.block), 1),
                        // A tied table is the head's matrix too.
                        _ if model.head.tied && node.name == "lm_head" => (TABLE.to_owned(), 1),
                        _ => (node.name.clone(), u64::from(region.repeat)),
                    };
                    let entry = entries.entry(key).or_default();
                    entry.one = node.weight_bytes();
                    entry.bytes = entry.one.saturating_mul(times);
                    entry.gpu |= place.on_gpu();
                    entry.pim |= place.on_pim();
                }
            }
        }
        let mut this = Self { of_gpu: model.weight_bytes(), ..Self::default() };
        for (name, entry) in entries {
            match (entry.pim, entry.gpu) {
                (false, _) => {}
                (true, false) => this.of_gpu = this.of_gpu.saturating_sub(entry.bytes),
                // A table to look tokens up in is not converted for a row of it.
                (true, true) if copies == Copies::Two || name == TABLE => {
                    this.twice = this.twice.saturating_add(entry.bytes);
                }
                (true, true) => {
                    this.of_gpu = this.of_gpu.saturating_sub(entry.bytes);
                    this.scratch = this.scratch.max(entry.one);
                    this.from_banks.insert(name);
                }
            }
        }
        this
    }

    /// Whether the GPU has an operator's weights from the banks.
    pub(super) fn has_from_banks(&self, node: &OperatorNode, block: &str) -> bool {
        let rest = || node.name.split_once('.').map_or(node.name.as_str(), |(_, rest)| rest);
        self.from_banks.contains(&node.name) || self.from_banks.contains(&format!("{block}.{}", rest()))
    }
}

/// The operators of all layers that the PIM device runs, in the order of their layers, and nothing between them.
fn in_banks(whole: &Graph, steps: &[(&StepGraph, &Resolved)]) -> Graph {
    // By the name within a layer, and the layers that have it.
    let mut wanted: BTreeSet<(String, u32)> = BTreeSet::new();
    let name_of = |node: &OperatorNode| match node.layer {
        Some(_) => node.name.split_once('.').map_or(node.name.as_str(), |(_, rest)| rest).to_owned(),
        None => node.name.clone(),
    };
    for (graph, placed) in steps {
        for (region, placed) in graph.regions.iter().zip(*placed) {
            for (node, _) in region.body.operators().zip(placed).filter(|(_, p)| p.on_pim()) {
                for layer in 0..region.repeat {
                    wanted.insert((name_of(node), region.first_layer.saturating_add(layer)));
                }
            }
        }
    }
    let outside: BTreeSet<String> = wanted.iter().map(|(name, _)| name.clone()).collect();
    let mut graph = Graph::new();
    for node in whole.operators().filter(|n| !super::place::is_of_attention(n)) {
        let name = name_of(node);
        let here = match node.layer {
            Some(layer) => wanted.contains(&(name, layer)),
            None => outside.contains(&name),
        };
        if here {
            graph.add(node.clone());
        }
    }
    graph
}

/// The steps of a generation that differ in what runs where: the prompt, where there is one, and decode.
pub(super) struct StepsOf(Vec<(StepGraph, Resolved)>);

impl StepsOf {
    pub(super) fn new(model: &Model, generation: &Generation, places: &Places) -> Self {
        let decode = Step::decode(generation.batch, generation.last_context());
        let prompt = (generation.prompt_tokens > 0).then(|| generation.step(0)).flatten();
        let steps = prompt.filter(|s| s.phase == Phase::Prefill).into_iter().chain([decode]);
        let of = |step: Step| {
            let graph = model.graph(&step, generation);
            let placed = places.resolve(step.phase, &graph);
            (graph, placed)
        };
        Self(steps.map(of).collect())
    }

    pub(super) fn pairs(&self) -> Vec<(&StepGraph, &Resolved)> {
        self.0.iter().map(|(graph, placed)| (graph, placed)).collect()
    }

    /// The operators of all layers that the banks have beside attention, of so many sequences.
    pub(super) fn in_banks(&self, model: &Model, generation: &Generation, batch: u64) -> Graph {
        let generation = Generation { batch, ..generation.clone() };
        let whole = model.step_graph(&Step::decode(batch, generation.last_context()), &generation);
        in_banks(&whole, &self.pairs())
    }
}
