//! Steps whose operators run on either device: operator by operator, as its inputs get there.
//!
//! The GPU has one stream: its kernels run in the order of the program. What the PIM device does waits for its inputs alone, so that experts on both run
//! side by side where each has a memory of its own. Halves of a batch take turns from one run of operators in the banks to the next.

use std::collections::HashMap;
use std::sync::Arc;

use banksia_hw::gpu::estimate::Judge;
use banksia_hw::gpu::program::Kernel;
use banksia_hw::program::{InstructionId, Program, ProgramBuilder};
use banksia_workloads::{Generation, Op, OperatorNode, Phase, Place, Step, StepGraph, TensorKind};
use petgraph::Direction::Incoming;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::convert;
use super::half::Half;
use super::map::Hybrid;
use super::place::{On, Placed, Resolved, is_of_attention};
use super::share::seen_by;
use super::values::{Piece, Value, Wanted, bring};
use crate::gpu::launch;
use crate::gpu::model::{Choice, ChosenPart, GpuModel};
use crate::plan::Unsupported;

/// Some sequences on their way through the layers.
struct Chain {
    half: Half,
    /// The step as each device sees it.
    gpu: StepGraph,
    pim: StepGraph,
    placed: Resolved,
    /// What the GPU runs, by region and operator.
    parts: HashMap<(usize, usize), ChosenPart>,
    /// Of the operators of the layer at hand, and last what it has begun with.
    values: Vec<Value>,
    /// The next operator: its region, the layer within, its place in the region's graph.
    next: (usize, u32, usize),
    /// The region, and the layer within, that `values` are of.
    begun: Option<(usize, u32)>,
}

/// The step in the making.
struct Stream {
    builder: ProgramBuilder,
    /// The GPU's last kernel.
    last: Option<InstructionId>,
    /// The last kernel that has read converted weights: the room is free after it.
    converted: Option<InstructionId>,
    /// Kernels that convert, by bytes.
    kernels: HashMap<u64, Arc<Kernel>>,
}

impl Chain {
    /// The region and the operator that are next; none after the last.
    fn at(&mut self) -> Option<(usize, u32, usize)> {
        loop {
            let (region, layer, index) = self.next;
            let here = self.gpu.regions.get(region)?;
            let operators = here.body.petgraph().node_count();
            if index < operators {
                if self.begun != Some((region, layer)) {
                    self.begun = Some((region, layer));
                    let before = self.values.iter().rev().nth(1).or(self.values.last()).cloned().unwrap_or_default();
                    self.values = vec![Value::default(); operators];
                    self.values.push(before);
                }
                return Some((region, layer, index));
            }
            self.next = if layer + 1 < here.repeat { (region, layer + 1, 0) } else { (region + 1, 0, 0) };
        }
    }

    /// What an operator reads that is an operator's result.
    fn wanted(&self, region: usize, index: usize) -> Vec<Wanted> {
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
}

/// Whether the GPU has an operator, or a part of it.
fn has_gpu(placed: &Resolved) -> impl Fn(usize, usize) -> bool + '_ {
    |region, node| placed.get(region).and_then(|r| r.get(node)).is_none_or(|p| p.on_gpu())
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

impl Hybrid {
    /// A step, operator by operator.
    pub(super) fn placed_step(&mut self, step: &Step, judge: &mut dyn Judge) -> Result<Program, Unsupported> {
        let decode = step.phase == Phase::Decode;
        let mut builder = ProgramBuilder::new(if decode { "decode" } else { "prefill" }, step.context());
        builder.launch(self.launch);
        let whole = vec![Half { sequences: 0..self.generation.batch, suffix: "" }];
        let halves = if decode { self.halves.clone() } else { whole };
        let mut chains = Vec::new();
        for half in halves {
            chains.push(self.chain(step, half, judge)?);
        }
        let mut stream = Stream { builder, last: None, converted: None, kernels: HashMap::new() };
        let cached = self.cached_prompt(step, &mut stream);
        let mut going = true;
        while going {
            going = false;
            for chain in &mut chains {
                going |= self.turn(step, &mut stream, chain, &cached)?;
            }
        }
        Ok(stream.builder.finish())
    }

    /// The kernels of what the GPU runs of a step, of so many sequences.
    pub(super) fn placed_choices(
        &mut self,
        step: &Step,
        batch: u64,
        judge: &mut dyn Judge,
    ) -> Result<Vec<Choice>, Unsupported> {
        let (own, graph, placed) = self.step_of_part(step, batch);
        let gpu = seen_by(On::Gpu, &graph, &placed);
        self.model_of(step, batch).choices_of(own.phase, &gpu, &has_gpu(&placed), judge)
    }

    /// A step of a part of the batch, and where its operators run.
    fn step_of_part(&self, step: &Step, batch: u64) -> (Step, StepGraph, Resolved) {
        let own = match step.phase {
            Phase::Decode => Step::decode(batch, step.context()),
            Phase::Prefill => step.clone(),
        };
        let generation = Generation { batch, ..self.generation.clone() };
        let graph = self.model.graph(&own, &generation);
        let placed = self.places.resolve(own.phase, &graph);
        (own, graph, placed)
    }

    fn model_of(&mut self, step: &Step, batch: u64) -> &mut GpuModel {
        match self.parts.iter_mut().find(|p| p.generation().batch == batch) {
            Some(part) if step.phase == Phase::Decode => part,
            _ => &mut self.whole,
        }
    }

    fn chain(&mut self, step: &Step, half: Half, judge: &mut dyn Judge) -> Result<Chain, Unsupported> {
        let batch = half.batch();
        let (own, graph, placed) = self.step_of_part(step, batch);
        let (gpu, pim) = (seen_by(On::Gpu, &graph, &placed), seen_by(On::Pim, &graph, &placed));
        let parts = self.model_of(step, batch).chosen_parts_of(own.phase, &gpu, &has_gpu(&placed), judge)?;
        let parts = parts.into_iter().map(|p| (p.at(), p)).collect();
        Ok(Chain {
            half,
            gpu,
            pim,
            placed,
            parts,
            values: vec![Value::on(On::Gpu, 1, Vec::new())],
            next: (0, 0, 0),
            begun: None,
        })
    }

    /// Operators of a chain up to the end of the next run of those in the banks; whether there are more.
    fn turn(
        &self,
        step: &Step,
        stream: &mut Stream,
        chain: &mut Chain,
        cached: &[(u32, Vec<InstructionId>)],
    ) -> Result<bool, Unsupported> {
        let mut in_banks = false;
        while let Some((region, layer, index)) = chain.at() {
            let place = chain.is_placed(region, index);
            if in_banks && place == Placed::Gpu {
                return Ok(true);
            }
            in_banks |= place.on_pim();
            self.operator(step, stream, chain, (region, layer, index), cached)?;
            chain.next.2 += 1;
        }
        Ok(false)
    }

    fn operator(
        &self,
        step: &Step,
        stream: &mut Stream,
        chain: &mut Chain,
        (region, repeat, index): (usize, u32, usize),
        cached: &[(u32, Vec<InstructionId>)],
    ) -> Result<(), Unsupported> {
        let place = chain.is_placed(region, index);
        let Some(here) = chain.gpu.regions.get(region) else { return Ok(()) };
        let inside = matches!(here.place, Place::Layers | Place::Encoder);
        let layer = inside.then_some(here.first_layer.saturating_add(repeat));
        let Some(node) = here.body.operator(NodeIndex::new(index)) else { return Ok(()) };
        let bytes = node.activation_bytes_out();
        let (block, node) = (here.block.clone(), node.clone());
        if place == Placed::Pim && is_of_attention(&node) {
            if matches!(node.op, Op::AttentionScores { .. })
                && let Some(layer) = layer
            {
                self.attention_in_banks(step, stream, chain, region, layer);
            }
            return Ok(());
        }
        let wanted = chain.wanted(region, index);
        let pim = chain.pim.regions.get(region).and_then(|r| r.body.operator(NodeIndex::new(index))).cloned();
        let rows = |n: &OperatorNode| n.batch.saturating_mul(n.tokens) as f64;
        let all = rows(&node) + pim.as_ref().map_or(0.0, rows);
        let share = |n: f64| matches!(place, Placed::Below(_)).then(|| n / all.max(1.0));
        let mut of_gpu = Piece::default();
        if place.on_gpu() && (place == Placed::Gpu || rows(&node) > 0.0) {
            let mut after = bring(
                &mut chain.values,
                &wanted,
                On::Gpu,
                share(rows(&node)),
                "activations_to_gpu",
                &self.site,
                &mut stream.builder,
            );
            if let Some(part) = chain.parts.get(&(region, index)) {
                if part.is_of_cache()
                    && let Some((_, ready)) = cached.iter().find(|(l, _)| Some(*l) == layer)
                {
                    after.extend(ready.iter().copied());
                }
                after = self.on_gpu(stream, (part, &node), (layer, &block), chain.half.suffix, after);
                if part.is_append()
                    && let Some(layer) = layer
                {
                    self.send_appended(step, stream, layer, &after);
                }
            }
            of_gpu = Piece { bytes, ready: after };
        }
        let mut of_pim = Piece::default();
        if let (true, Some(pim)) = (place.on_pim(), pim)
            && (place == Placed::Pim || rows(&pim) > 0.0)
            && let Some(operators) = &self.operators
        {
            let after = bring(
                &mut chain.values,
                &wanted,
                On::Pim,
                share(rows(&pim)),
                "activations_to_pim",
                &self.site,
                &mut stream.builder,
            );
            stream.builder.on(self.site.pim_number);
            let node = of_layer(&pim, layer);
            let ready = operators.lower(&mut stream.builder, &node, step.context(), &after)?;
            of_pim = Piece { bytes: pim.activation_bytes_out(), ready };
        }
        let value = match place {
            Placed::Gpu => Value::on(On::Gpu, of_gpu.bytes, of_gpu.ready),
            Placed::Pim => Value::on(On::Pim, of_pim.bytes, of_pim.ready),
            Placed::Below(_) => Value::split(of_gpu, of_pim),
        };
        if let Some(slot) = chain.values.get_mut(index) {
            *slot = value;
        }
        Ok(())
    }

    /// The launches of a part, after those before it on the stream and what it waits for; its weights are converted first where the banks alone have
    /// them. Returns what its result is there after.
    fn on_gpu(
        &self,
        stream: &mut Stream,
        (part, node): (&ChosenPart, &OperatorNode),
        (layer, block): (Option<u32>, &str),
        suffix: &str,
        mut after: Vec<InstructionId>,
    ) -> Vec<InstructionId> {
        let from_banks = self.weights.has_from_banks(node, block) && node.matrices().is_some();
        let mut part = std::borrow::Cow::Borrowed(part);
        if from_banks && let Some(bytes) = Some(node.weight_bytes_read()).filter(|b| *b > 0) {
            let there: Vec<InstructionId> = stream.converted.into_iter().collect();
            let arrived = self.site.transfer(&mut stream.builder, "weights_to_gpu", bytes, true, &there);
            after.extend(arrived);
            if let Some(call) =
                convert::launch(self.copies, self.site.shared, bytes, part.weights(), &mut stream.kernels)
            {
                stream.builder.on(self.site.gpu);
                let operator = stream.builder.operator("weight conversion");
                stream.builder.occurs(operator, 0.0, 0.0);
                after.extend(stream.last);
                let prefix = layer.map_or_else(String::new, |layer| format!("layer{layer}."));
                let last = launch::emit(&mut stream.builder, operator, &[call], &prefix, "", &after);
                stream.last = last.or(stream.last);
                after.clear();
            }
            if self.copies.moves(self.site.shared) {
                part = std::borrow::Cow::Owned(part.with_weights_in(convert::ROOM));
            }
        }
        stream.builder.on(self.site.gpu);
        after.extend(stream.last);
        after.sort_unstable();
        after.dedup();
        match part.emit(&mut stream.builder, layer, suffix, &after) {
            Some(last) => {
                stream.last = Some(last);
                if from_banks {
                    stream.converted = Some(last);
                }
                vec![last]
            }
            None => after,
        }
    }

    /// A layer's attention in the banks, after all that its operators read.
    fn attention_in_banks(&self, step: &Step, stream: &mut Stream, chain: &mut Chain, region: usize, layer: u32) {
        let Some((kind, attention, number)) = self.attention_of(layer) else { return };
        let Some(here) = chain.gpu.regions.get(region) else { return };
        let own: Vec<usize> = (0..here.body.petgraph().node_count())
            .filter(|i| here.body.operator(NodeIndex::new(*i)).is_some_and(is_of_attention))
            .collect();
        let mut wanted: Vec<Wanted> = Vec::new();
        for tensor in own.iter().flat_map(|i| chain.wanted(region, *i)) {
            if !own.contains(&tensor.value) && wanted.iter().all(|w| w.tensor != tensor.tensor) {
                wanted.push(tensor);
            }
        }
        let site = &self.site;
        let there = bring(&mut chain.values, &wanted, On::Pim, None, "qkv_to_pim", site, &mut stream.builder);
        stream.builder.on(site.pim_number);
        let sequences = chain.half.sequences.clone();
        let done = attention.lower(&mut stream.builder, number, sequences, kind.held(step.context()), &there);
        let bytes = self.bytes(kind.returned(), chain.half.batch());
        for index in own {
            if let Some(slot) = chain.values.get_mut(index) {
                *slot = Value::on(On::Pim, bytes, done.clone());
            }
        }
    }

    /// Keys and values of tokens before the prompt, on their way to the GPU, by layer: where they lie behind a link.
    fn cached_prompt(&self, step: &Step, stream: &mut Stream) -> Vec<(u32, Vec<InstructionId>)> {
        if step.phase == Phase::Decode || self.generation.context_tokens == 0 || self.site.shared {
            return Vec::new();
        }
        let mut layers: Vec<u32> = self.cached.iter().flat_map(|(kind, _)| kind.layers.iter().copied()).collect();
        layers.sort_unstable();
        let mut cached = Vec::new();
        for layer in layers {
            let bytes = self.kv_of(layer, self.generation.context_tokens);
            cached.push((layer, self.site.transfer(&mut stream.builder, "kv_to_gpu", bytes, true, &[])));
        }
        cached
    }

    /// New keys and values of a prompt go to the banks where these are behind a link.
    fn send_appended(&self, step: &Step, stream: &mut Stream, layer: u32, after: &[InstructionId]) {
        if step.phase == Phase::Prefill && !self.site.shared {
            let bytes = self.kv_of(layer, step.tokens());
            self.site.transfer(&mut stream.builder, "kv_to_pim", bytes, false, after);
        }
    }

    /// Bytes of keys and values of a layer, of so many tokens of each sequence, that the banks have.
    fn kv_of(&self, layer: u32, tokens: u64) -> u64 {
        let elements = self.attention_of(layer).map_or(0, |(kind, ..)| kind.of_a_token());
        self.bytes(elements, tokens.saturating_mul(self.generation.batch))
    }
}
