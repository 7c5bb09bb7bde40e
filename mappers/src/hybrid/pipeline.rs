//! Steps as programs for both devices.
//!
//! ```text
//!   GPU   qkv A0 | qkv B0 | ffn A0, qkv A1 | ffn B0, qkv B1 | ...
//!   PIM          | attention A0 | attention B0   | attention A1 | ...
//! ```
//!
//! The GPU has one stream: its kernels run in the order of the program, so that what one leaves in L2 is what the next finds. Halves take
//! turns between one layer's attention and the next.

use banksia_hw::gpu::estimate::Judge;
use banksia_hw::program::{InstructionId, Program, ProgramBuilder};
use banksia_workloads::{Phase, Place, Step};

use super::capacity::Cached;
use super::half::Half;
use super::map::Hybrid;
use crate::gpu::model::{ChosenPart, Parts};
use crate::pim::PimAttention;
use crate::plan::Unsupported;

/// A half on its way through the layers.
struct Chain<'a> {
    half: &'a Half,
    /// What the GPU does until the first attention, between one and the next, and after the last.
    segments: Vec<Vec<Turn<'a>>>,
    /// What its next kernel waits for beside the kernel before.
    after: Vec<InstructionId>,
}

/// An operator of a layer, or of none.
#[derive(Clone, Copy)]
struct Turn<'a> {
    part: &'a ChosenPart,
    layer: Option<u32>,
}

/// The operators of a step in order, layer by layer.
fn turns(parts: &[ChosenPart]) -> impl Iterator<Item = Turn<'_>> {
    parts.chunk_by(|a, b| a.layers().0 == b.layers().0).flat_map(|region| {
        let (first, repeat) = region.first().map_or((0, 0), |p| (p.layers().1, p.layers().2));
        (first..first.saturating_add(repeat)).flat_map(move |layer| {
            region.iter().map(move |part| {
                let inside = matches!(part.place(), Place::Layers | Place::Encoder);
                Turn { part, layer: inside.then_some(layer) }
            })
        })
    })
}

/// Cut where attention is: its first operator on the cache ends a segment, and the others are the banks'.
fn segments(parts: &[ChosenPart]) -> Vec<Vec<Turn<'_>>> {
    let mut segments = vec![Vec::new()];
    let mut within = None;
    for turn in turns(parts) {
        if turn.part.is_of_cache() {
            if within != Some(turn.layer) {
                within = Some(turn.layer);
                segments.push(Vec::new());
            }
        } else if let Some(last) = segments.last_mut() {
            last.push(turn);
        }
    }
    segments
}

/// The GPU's stream.
struct Stream {
    builder: ProgramBuilder,
    last: Option<InstructionId>,
}

impl Stream {
    /// Adds a part's launches after what is on the stream and what a chain waits for.
    fn put(&mut self, part: &ChosenPart, layer: Option<u32>, suffix: &str, after: &mut Vec<InstructionId>) {
        after.extend(self.last);
        after.sort_unstable();
        after.dedup();
        if let Some(last) = part.emit(&mut self.builder, layer, suffix, after) {
            self.last = Some(last);
            after.clear();
        }
    }
}

impl Hybrid {
    fn stream(&self, phase: &str, step: &Step) -> Stream {
        let mut builder = ProgramBuilder::new(phase, step.context());
        builder.launch(self.launch, true);
        builder.on(self.site.gpu);
        Stream { builder, last: None }
    }

    /// Bytes of some elements a token.
    pub(super) fn bytes(&self, elements: u64, tokens: u64) -> u64 {
        self.model.types.cache.bytes(elements.saturating_mul(tokens))
    }

    /// The layers whose keys and values are in the banks, in order.
    pub(super) fn cached_layers(&self) -> Vec<u32> {
        let mut layers: Vec<u32> = self.cached.iter().flat_map(|(kind, _)| kind.layers.iter().copied()).collect();
        layers.sort_unstable();
        layers
    }

    /// The attention of a layer, and its number among those that are alike.
    pub(super) fn attention_of(&self, layer: u32) -> Option<(&Cached, &PimAttention, u32)> {
        self.cached.iter().find_map(|(kind, attention)| {
            let index = kind.layers.iter().position(|l| *l == layer)?;
            Some((kind, attention, u32::try_from(index).ok()?))
        })
    }

    /// The prompt: all of it on the GPU. The keys and values of a layer go to the PIM device once they are there, beside the layers that
    /// follow; those of tokens cached before come from it.
    pub(super) fn prefill(&mut self, step: &Step, judge: &mut dyn Judge) -> Result<Program, Unsupported> {
        let phase = if step.phase == Phase::Prefill { "prefill" } else { "decode" };
        let parts = self.whole.chosen_parts(step, Parts::All, judge)?;
        let (site, g) = (&self.site, &self.generation);
        let of_layer = |layer: u32, tokens: u64| {
            let elements = self.attention_of(layer).map_or(0, |(kind, ..)| kind.of_a_token());
            let tokens = if site.shared { 0 } else { tokens.saturating_mul(g.batch) };
            self.bytes(elements, tokens)
        };
        let mut stream = self.stream(phase, step);
        let mut after = Vec::new();
        // Ordered as they are used.
        let mut cached: Vec<(u32, Vec<InstructionId>)> = Vec::new();
        if g.context_tokens > 0 {
            let layers = self.cached_layers();
            for layer in layers {
                let bytes = of_layer(layer, g.context_tokens);
                cached.push((layer, site.transfer(&mut stream.builder, "kv_to_gpu", bytes, true, &[])));
            }
        }
        for Turn { part, layer } in turns(&parts) {
            if part.is_of_cache()
                && let Some((_, cached)) = cached.iter_mut().find(|(l, _)| Some(*l) == layer)
            {
                after.append(cached);
            }
            stream.builder.on(site.gpu);
            stream.put(part, layer, "", &mut after);
            if part.is_append()
                && let Some(layer) = layer
            {
                let last = stream.last;
                let bytes = of_layer(layer, step.tokens());
                site.transfer(&mut stream.builder, "kv_to_pim", bytes, false, last.as_slice());
            }
        }
        Ok(stream.builder.finish())
    }

    /// A decode step: attention in the banks, the rest on the GPU, halves in turn.
    pub(super) fn decode(&mut self, step: &Step, judge: &mut dyn Judge) -> Result<Program, Unsupported> {
        if self.on_gpu {
            // Nothing lies in the banks, so nothing is sent there.
            return self.prefill(step, judge);
        }
        let whole = match self.parts.is_empty() {
            true => vec![(self.generation.batch, self.whole.chosen_parts(step, Parts::WithoutCache, judge)?)],
            false => Vec::new(),
        };
        let mut chosen: Vec<(u64, Vec<ChosenPart>)> = whole;
        for part in &mut self.parts {
            let own = Step::decode(part.generation().batch, step.context());
            chosen.push((part.generation().batch, part.chosen_parts(&own, Parts::WithoutCache, judge)?));
        }
        let mut stream = self.stream("decode", step);
        let of_half = |half: &'_ Half| chosen.iter().find(|(batch, _)| *batch == half.batch());
        let mut chains: Vec<Chain<'_>> = Vec::new();
        for half in &self.halves {
            chains.extend(of_half(half).map(|(_, parts)| Chain { half, segments: segments(parts), after: Vec::new() }));
        }
        let layers = self.cached_layers();
        for turn in 0..=layers.len() {
            for chain in &mut chains {
                stream.builder.on(self.site.gpu);
                for Turn { part, layer } in chain.segments.get(turn).into_iter().flatten() {
                    stream.put(part, *layer, chain.half.suffix, &mut chain.after);
                }
                if let Some(layer) = layers.get(turn) {
                    self.in_banks_of(&mut stream, chain, *layer, step.context());
                }
            }
        }
        Ok(stream.builder.finish())
    }

    /// A layer's attention in the banks.
    fn in_banks_of(&self, stream: &mut Stream, chain: &mut Chain<'_>, layer: u32, context: u64) {
        let Some((kind, attention, index)) = self.attention_of(layer) else { return };
        let site = &self.site;
        let (sequences, batch) = (chain.half.sequences.clone(), chain.half.batch());
        let mut ready = std::mem::take(&mut chain.after);
        ready.extend(stream.last);
        ready.sort_unstable();
        ready.dedup();
        let bytes = self.bytes(kind.sent(), batch);
        let there = site.transfer(&mut stream.builder, "qkv_to_pim", bytes, false, &ready);
        stream.builder.on(site.pim_number);
        let done = attention.lower(&mut stream.builder, index, sequences, kind.held(context), &there);
        let back = self.bytes(kind.returned(), batch);
        chain.after = site.transfer(&mut stream.builder, "attention_to_gpu", back, true, &done);
    }
}
