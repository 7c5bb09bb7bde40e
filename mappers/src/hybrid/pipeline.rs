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
use banksia_workloads::{Place, Step};

use super::half::Half;
use super::map::Hybrid;
use crate::gpu::model::{ChosenPart, Parts};
use crate::plan::Unsupported;

/// A half on its way through the layers.
struct Chain<'a> {
    half: &'a Half,
    parts: &'a [ChosenPart],
    /// What its next kernel waits for beside the kernel before.
    after: Vec<InstructionId>,
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
        builder.launch(self.launch);
        builder.on(self.site.gpu);
        Stream { builder, last: None }
    }

    /// Bytes of some elements a token of all layers' heads, of one layer.
    fn bytes(&self, elements: u64, tokens: u64) -> u64 {
        self.model.dtype.bytes(elements.saturating_mul(tokens))
    }

    /// The prompt: all of it on the GPU. The keys and values of a layer go to the PIM device once they are there, beside the layers that
    /// follow; those of tokens cached before come from it.
    pub(super) fn prefill(&mut self, step: &Step, judge: &mut dyn Judge) -> Result<Program, Unsupported> {
        let parts = self.whole.chosen_parts(step, Parts::All, judge)?;
        let (site, g) = (&self.site, &self.generation);
        let of_layer = |tokens: u64| {
            let tokens = if site.shared { 0 } else { tokens.saturating_mul(g.batch) };
            self.bytes(self.model.kv_width().saturating_mul(2), tokens)
        };
        let mut stream = self.stream("prefill", step);
        let mut after = Vec::new();
        // Ordered as they are used.
        let layers = 0..self.model.layers;
        let mut cached: Vec<Vec<InstructionId>> = Vec::new();
        if g.context_tokens > 0 {
            let fetch = |_| site.transfer(&mut stream.builder, "kv_to_gpu", of_layer(g.context_tokens), true, &[]);
            cached = layers.clone().map(fetch).collect();
        }
        for part in parts.iter().filter(|p| p.place() == Place::Before) {
            stream.builder.on(site.gpu);
            stream.put(part, None, "", &mut after);
        }
        for layer in layers {
            for part in parts.iter().filter(|p| p.place() == Place::Layers) {
                if part.is_of_cache()
                    && let Some(cached) = cached.get_mut(layer as usize)
                {
                    after.append(cached);
                }
                stream.builder.on(site.gpu);
                stream.put(part, Some(layer), "", &mut after);
                if part.is_append() {
                    let last = stream.last;
                    site.transfer(&mut stream.builder, "kv_to_pim", of_layer(step.tokens()), false, last.as_slice());
                }
            }
        }
        for part in parts.iter().filter(|p| p.place() == Place::After) {
            stream.builder.on(site.gpu);
            stream.put(part, None, "", &mut after);
        }
        Ok(stream.builder.finish())
    }

    /// A decode step: attention in the banks, the rest on the GPU, halves in turn.
    pub(super) fn decode(&mut self, step: &Step, judge: &mut dyn Judge) -> Result<Program, Unsupported> {
        let whole = match self.parts.is_empty() {
            true => vec![(self.generation.batch, self.whole.chosen_parts(step, Parts::WithoutCache, judge)?)],
            false => Vec::new(),
        };
        let mut chosen: Vec<(u64, Vec<ChosenPart>)> = whole;
        for part in &mut self.parts {
            chosen.push((part.generation().batch, part.chosen_parts(step, Parts::WithoutCache, judge)?));
        }
        let mut stream = self.stream("decode", step);
        let of_half = |half: &'_ Half| chosen.iter().find(|(batch, _)| *batch == half.batch());
        let mut chains: Vec<Chain<'_>> = Vec::new();
        for half in &self.halves {
            chains.extend(of_half(half).map(|(_, parts)| Chain { half, parts, after: Vec::new() }));
        }
        for turn in 0..=self.model.layers {
            for chain in &mut chains {
                match turn.checked_sub(1) {
                    None => self.ends(&mut stream, chain, Place::Before),
                    Some(layer) => self.after_attention(&mut stream, chain, layer),
                }
                if turn == self.model.layers {
                    self.ends(&mut stream, chain, Place::After);
                } else {
                    self.until_attention(&mut stream, chain, turn, step.context());
                }
            }
        }
        Ok(stream.builder.finish())
    }

    fn ends(&self, stream: &mut Stream, chain: &mut Chain<'_>, place: Place) {
        stream.builder.on(self.site.gpu);
        for part in chain.parts.iter().filter(|p| p.place() == place) {
            stream.put(part, None, chain.half.suffix, &mut chain.after);
        }
    }

    /// What of a layer is before its attention, and that.
    fn until_attention(&self, stream: &mut Stream, chain: &mut Chain<'_>, layer: u32, context: u64) {
        let (site, model) = (&self.site, &self.model);
        let (sequences, batch) = (chain.half.sequences.clone(), chain.half.batch());
        stream.builder.on(site.gpu);
        let in_layer = chain.parts.iter().filter(|p| p.place() == Place::Layers);
        for part in in_layer.take_while(|p| !p.is_of_cache()) {
            stream.put(part, Some(layer), chain.half.suffix, &mut chain.after);
        }
        let queries = model.attention_width();
        let elements = queries.saturating_add(model.kv_width().saturating_mul(2));
        let mut ready = std::mem::take(&mut chain.after);
        ready.extend(stream.last);
        ready.sort_unstable();
        ready.dedup();
        let there = site.transfer(&mut stream.builder, "qkv_to_pim", self.bytes(elements, batch), false, &ready);
        stream.builder.on(site.pim_number);
        let done = self.attention.lower(&mut stream.builder, layer, sequences, context, &there);
        let back = self.bytes(queries, batch);
        chain.after = site.transfer(&mut stream.builder, "attention_to_gpu", back, true, &done);
    }

    /// What of a layer is after its attention.
    fn after_attention(&self, stream: &mut Stream, chain: &mut Chain<'_>, layer: u32) {
        stream.builder.on(self.site.gpu);
        let in_layer = chain.parts.iter().filter(|p| p.place() == Place::Layers);
        for part in in_layer.skip_while(|p| !p.is_of_cache()).filter(|p| !p.is_of_cache()) {
            stream.put(part, Some(layer), chain.half.suffix, &mut chain.after);
        }
    }
}
