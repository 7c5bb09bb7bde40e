//! From the graph of a step to its parts: operators with the memory that they work on, those that a kernel does together as one.

use banksia_workloads::model::Mixer;
use banksia_workloads::{Communication, Graph, Op, OperatorNode, Place, Region, Step, StepGraph, Tensor, TensorKind};
use petgraph::Direction::Incoming;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::super::frameworks::Framework;
use super::super::launch::Operand;
use super::fuse;
use super::in_place::InPlace;
use super::part::{AttentionRun, AttentionWork, Keys, Part, Work};
use super::state::{AttentionKernels, GpuModel};

fn unlayered(name: &str) -> &str {
    ["layer", "encoder"]
        .iter()
        .find_map(|stack| name.strip_prefix(stack)?.split_once('.').filter(|(n, _)| n.parse::<u32>().is_ok()))
        .map_or(name, |(_, rest)| rest)
}

/// The memory that a region leaves its result in: the hidden state that the next one reads.
fn result_of(region: &Region, last: &OperatorNode) -> Option<&'static str> {
    match region.place {
        Place::Encoder => Some("encoder_hidden"),
        Place::Before if last.name == "encoder_norm" => Some("encoder_output"),
        Place::Before if last.name.starts_with("encoder_") => Some("encoder_hidden"),
        Place::Layers | Place::Before => Some("hidden"),
        Place::After => None,
    }
}

/// The memory that nodes' values of a region lie in: activations of all layers share it.
struct Memory<'a> {
    region: &'a Region,
    last: Option<NodeIndex>,
}

impl Memory<'_> {
    fn value(&self, index: NodeIndex) -> Operand {
        let Some(node) = self.region.body.operator(index) else { return Operand::shared("input") };
        if Some(index) == self.last
            && let Some(result) = result_of(self.region, node)
        {
            return Operand::shared(result);
        }
        match node.op {
            Op::KvAppend { .. } => Operand::own(unlayered(&node.name).replace("kv_append", "kv_cache")),
            // In place, where the whole is as large as what comes in.
            Op::Collective { what: Communication::AllReduce, .. } => {
                let graph = self.region.body.petgraph();
                match graph.neighbors_directed(index, Incoming).next() {
                    Some(from) => Operand::shared(self.value(from).name),
                    None => Operand::shared("hidden"),
                }
            }
            _ => Operand::shared(unlayered(&node.name)),
        }
    }

    fn inputs(&self, graph: &Graph, index: NodeIndex, node: &OperatorNode) -> Vec<Operand> {
        let mut inputs: Vec<_> =
            graph.petgraph().edges_directed(index, Incoming).map(|e| (e.id(), e.source())).collect();
        inputs.sort_unstable();
        let is_cache = |t: &&Tensor| t.kind == TensorKind::KvCache;
        let from_outside = node.inputs.iter().filter(|t| !is_cache(t)).map(|t| Operand::shared(unlayered(&t.name)));
        let caches = node.inputs.iter().filter(is_cache);
        let caches = caches.map(|t| Operand::own(unlayered(&t.name).replace("kv_append", "kv_cache")));
        from_outside.chain(inputs.into_iter().map(|(_, from)| self.value(from))).chain(caches).collect()
    }

    fn weights(&self, node: &OperatorNode) -> Vec<Operand> {
        let name = |name: &str| match self.region.shared {
            true => Operand::shared(format!("{}.{}", self.region.block, unlayered(name))),
            false => Operand::own(unlayered(name)),
        };
        node.weights.iter().map(|t| name(&t.name)).collect()
    }
}

/// The work of one operator by itself.
fn work_of(node: &OperatorNode) -> Work {
    let op = match node.op {
        // Appending costs the same wherever it is.
        Op::KvAppend { heads, head_dim, value_dim, .. } => Op::KvAppend { heads, head_dim, value_dim, context: 0 },
        // Caches are allocated, and computed on, in steps of eight tokens: rows of 16 bytes.
        op => op.context().map_or(op, |c| op.with_context(c.next_multiple_of(8))),
    };
    Work::Operator {
        op,
        batch: node.batch,
        tokens: node.tokens,
        types: node.types,
        load: std::sync::Arc::clone(&node.load),
    }
}

/// Attention as one kernel, from its first operator; the others complete it.
fn fused_attention(node: &OperatorNode, name: &str) -> Option<AttentionWork> {
    let Op::AttentionScores { heads, kv_heads, head_dim, context, causal, window } = node.op else { return None };
    Some(AttentionWork {
        runs: vec![AttentionRun { batch: node.batch, tokens: node.tokens, context }],
        heads,
        kv_heads,
        head_dim,
        value_dim: head_dim,
        causal,
        window,
        capped: false,
        keys: if name.starts_with("latent_") { Keys::Latent } else { Keys::Heads },
        sinks: false,
        cache_bits: node.types.cache.bits(),
    })
}

/// Puts an attention behind the parts: into the one of the region's run before it, where one call does both. That takes the place of the later, whose
/// keys are in the cache by then.
fn push_attention(parts: &mut Vec<Part>, mut part: Part, work: AttentionWork, ragged: bool) {
    let cache = |p: &Part| of_all_runs(&p.cache().name).map(str::to_owned);
    let same_cache = |p: &Part| cache(p).is_some() && cache(p) == cache(&part);
    let before = parts.iter().rposition(|p| p.region == part.region && p.work.is_attention());
    if let Some(at) = before.filter(|at| ragged && same_cache(&parts[*at]))
        && let Work::Attention(earlier) = &parts[at].work
        && earlier.goes_with(&work)
    {
        let earlier = parts.remove(at);
        part.flops = part.flops.saturating_add(earlier.flops);
        if let Work::Attention(known) = earlier.work {
            let runs = known.runs.iter().copied().chain(work.runs).collect();
            part.work = Work::Attention(AttentionWork { runs, ..known });
        }
        parts.push(part);
        return;
    }
    part.work = Work::Attention(work);
    parts.push(part);
}

/// The name of the memory of all runs, of which one's is a part; none where there is one run.
fn of_all_runs(name: &str) -> Option<&str> {
    name.split_once(".run").map(|(all, _)| all)
}

impl GpuModel {
    /// What the graph does not say of an attention: scores of no key, and what keys were made from.
    fn completed(&self, block: &str, mut work: AttentionWork, values: u64) -> AttentionWork {
        let stages = self.model.blocks.iter().filter(|b| b.name == block).flat_map(|b| &b.stages);
        for branch in stages.flat_map(|s| &s.branches) {
            match &branch.mixer {
                Mixer::Attention(a) if (a.heads, a.window > 0) == (work.heads, work.window > 0) => {
                    work.sinks |= a.sinks;
                }
                Mixer::LatentAttention(l)
                    if work.keys == Keys::Heads
                        && (l.heads, l.nope_dim.saturating_add(l.rope_dim), l.value_dim)
                            == (work.heads, work.head_dim, values) =>
                {
                    work.keys = Keys::Expanded { rope: l.rope_dim, latent: l.kv_rank };
                }
                _ => {}
            }
        }
        work
    }

    /// The operators of a step in order, those of layers that are alike once.
    pub(super) fn parts(&self, step: &Step) -> Vec<Part> {
        self.parts_of(&self.graph(step))
    }

    /// The operators of a step's graph in order, those of layers that are alike once.
    pub(super) fn parts_of(&self, step: &StepGraph) -> Vec<Part> {
        let fused = self.options.attention == AttentionKernels::Flash;
        let framework = self.options.framework;
        let mut parts: Vec<Part> = Vec::new();
        let mut in_place = InPlace::default();
        for (number, region) in step.regions.iter().enumerate() {
            let graph = &region.body;
            let memory = Memory { region, last: graph.petgraph().node_indices().next_back() };
            // Operations of operators that the kernels of attention do too.
            let mut within_attention = 0u64;
            for index in graph.petgraph().node_indices() {
                let Some(node) = graph.operator(index) else { continue };
                let flops = node.flops();
                let mut part = Part {
                    label: node.label.clone(),
                    work: work_of(node),
                    place: region.place,
                    first_layer: region.first_layer,
                    repeat: region.repeat,
                    region: number,
                    node: index.index(),
                    flops,
                    inputs: memory.inputs(graph, index, node),
                    weights: memory.weights(node),
                    output: memory.value(index),
                };
                match node.op {
                    // No data moves.
                    Op::Concat { .. } => {}
                    Op::KvAppend { .. } if fused && framework.writes_cache() => {
                        within_attention = within_attention.saturating_add(flops);
                    }
                    Op::Rotary { .. } if fused && framework.rotates() => {
                        in_place.add(&part);
                        within_attention = within_attention.saturating_add(flops);
                    }
                    Op::AttentionScores { .. } if fused => {
                        let Some(work) = fused_attention(node, unlayered(&node.name)) else { continue };
                        let values = graph.operators().find_map(|n| match n.op {
                            Op::AttentionValues { heads, head_dim, .. } if heads == work.heads => Some(head_dim),
                            _ => None,
                        });
                        let work = self.completed(&region.block, work, values.unwrap_or(0));
                        part.label = "attention".into();
                        part.flops = part.flops.saturating_add(std::mem::take(&mut within_attention));
                        push_attention(&mut parts, part, work, framework != Framework::Compiled);
                    }
                    Op::ScoreCap { .. } | Op::Softmax { .. } | Op::AttentionValues { .. } if fused => {
                        let Some(attention) = parts.iter_mut().rev().find(|p| p.work.is_attention()) else { continue };
                        attention.flops = attention.flops.saturating_add(flops);
                        if let Work::Attention(work) = &mut attention.work {
                            work.capped |= matches!(node.op, Op::ScoreCap { .. });
                            if let Op::AttentionValues { head_dim, .. } = node.op {
                                work.value_dim = head_dim;
                                attention.output = part.output;
                            }
                        }
                    }
                    _ => parts.push(part),
                }
            }
        }
        let mut parts = if framework.fuses_rows() { fuse::rows(parts, framework) } else { parts };
        in_place.apply(&mut parts, framework);
        parts
    }
}
