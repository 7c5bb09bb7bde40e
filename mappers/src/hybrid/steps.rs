//! Steps whose operators run on either device: operator by operator, as its inputs get there.
//!
//! The GPU has one stream: its kernels run in the order of the program. What the PIM device does waits for its inputs alone, so that experts on both run
//! side by side where each has a memory of its own. Halves of a batch take turns from one run of operators in the banks to the next.

use std::collections::HashMap;
use std::sync::Arc;

use banksia_hw::gpu::estimate::Judge;
use banksia_hw::gpu::program::Kernel;
use banksia_hw::program::{InstructionId, Program, ProgramBuilder};
use banksia_workloads::{Generation, Op, OperatorNode, Phase, Step, StepGraph};

use super::chain::{At, Chain};
use super::convert;
use super::half::Half;
use super::map::Hybrid;
use super::place::{On, Placed, Resolved, is_of_attention};
use super::share::seen_by;
use super::values::{Piece, Value, bring};
use crate::gpu::launch;
use crate::gpu::model::{Choice, ChosenPart, GpuModel};
use crate::plan::Unsupported;

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

/// Whether the GPU has an operator, or a part of it.
fn has_gpu(placed: &Resolved) -> impl Fn(usize, usize) -> bool + '_ {
    |region, node| placed.get(region).and_then(|r| r.get(node)).is_none_or(|p| p.on_gpu())
}

impl Hybrid {
    /// A step, operator by operator.
    pub(super) fn placed_step(&mut self, step: &Step, judge: &mut dyn Judge) -> Result<Program, Unsupported> {
        let decode = step.phase == Phase::Decode;
        let mut builder = ProgramBuilder::new(if decode { "decode" } else { "prefill" }, step.context());
        builder.launch(self.launch, true);
        let mut chains = Vec::new();
        for half in self.halves_of(step) {
            chains.push(self.chain(step, half, Value::on(On::Gpu, 1, Vec::new()), judge)?);
        }
        let mut stream = Stream { builder, last: None, converted: None, kernels: HashMap::new() };
        let cached = self.cached_prompt(step, &mut stream);
        let mut going = true;
        while going {
            going = false;
            for chain in &mut chains {
                going |= chain.turn(|chain, at| self.operator(step, &mut stream, chain, at, &cached))?;
            }
        }
        Ok(stream.builder.finish())
    }

    /// Parts of the batch that take turns in a step: of a prompt, one.
    pub(super) fn halves_of(&self, step: &Step) -> Vec<Half> {
        match step.phase {
            Phase::Decode => self.halves.clone(),
            Phase::Prefill => vec![Half { sequences: 0..self.generation.batch, suffix: "" }],
        }
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

    /// Some sequences before their first operator, which begins with `first`.
    pub(super) fn chain<V: Clone + Default>(
        &mut self,
        step: &Step,
        half: Half,
        first: V,
        judge: &mut dyn Judge,
    ) -> Result<Chain<V>, Unsupported> {
        let batch = half.batch();
        let (own, graph, placed) = self.step_of_part(step, batch);
        let (gpu, pim) = (seen_by(On::Gpu, &graph, &placed), seen_by(On::Pim, &graph, &placed));
        let parts = self.model_of(step, batch).chosen_parts_of(own.phase, &gpu, &has_gpu(&placed), judge)?;
        let parts = parts.into_iter().map(|p| (p.at(), p)).collect();
        Ok(Chain::new(half, [gpu, pim], placed, parts, first))
    }

    fn operator(
        &self,
        step: &Step,
        stream: &mut Stream,
        chain: &mut Chain<Value>,
        at: At,
        cached: &[(u32, Vec<InstructionId>)],
    ) -> Result<(), Unsupported> {
        let (region, _, index) = at;
        let Some(here) = chain.here(at) else { return Ok(()) };
        let (place, layer, node) = (here.place, here.layer, &here.gpu);
        if place == Placed::Pim && is_of_attention(node) {
            if matches!(node.op, Op::AttentionScores { .. })
                && let Some(layer) = layer
            {
                self.attention_in_banks(step, stream, chain, region, layer);
            }
            return Ok(());
        }
        let wanted = chain.wanted(region, index);
        let mut of_gpu = Piece::default();
        if here.on_gpu() {
            let mut after = bring(
                &mut chain.values,
                &wanted,
                On::Gpu,
                here.share(node),
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
                after = self.on_gpu(stream, (part, node), (layer, &here.block), chain.half.suffix, after);
                if part.is_append()
                    && let Some(layer) = layer
                {
                    self.send_appended(step, stream, layer, &after);
                }
            }
            of_gpu = Piece { bytes: node.activation_bytes_out(), ready: after };
        }
        let mut of_pim = Piece::default();
        if let (Some(pim), Some(operators)) = (here.on_pim(), &self.operators) {
            let after = bring(
                &mut chain.values,
                &wanted,
                On::Pim,
                here.share(pim),
                "activations_to_pim",
                &self.site,
                &mut stream.builder,
            );
            stream.builder.on(self.site.pim_number);
            let ready = {
                let sequences = chain.half.sequences.clone();
                operators.lower(&mut stream.builder, (pim, sequences), step.context(), &after)?
            };
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
    fn attention_in_banks(
        &self,
        step: &Step,
        stream: &mut Stream,
        chain: &mut Chain<Value>,
        region: usize,
        layer: u32,
    ) {
        let Some((kind, attention, number)) = self.attention_of(layer) else { return };
        let (own, wanted) = chain.attention(region);
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
        let layers = self.cached_layers();
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
    pub(super) fn kv_of(&self, layer: u32, tokens: u64) -> u64 {
        let elements = self.attention_of(layer).map_or(0, |(kind, ..)| kind.of_a_token());
        self.bytes(elements, tokens.saturating_mul(self.generation.batch))
    }
}
