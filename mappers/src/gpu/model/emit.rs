//! Puts the launches of a step's parts into a program.

use std::sync::Arc;

use banksia_hw::gpu::estimate::Judge;
use banksia_hw::program::{InstructionId, ProgramBuilder};
use banksia_workloads::{Communication, Op, Phase, Place, Step, StepGraph};

use super::super::launch::{self, Launch, Operand};
use super::part::{Part, Work};
use super::state::GpuModel;
use crate::plan::Unsupported;

/// Which parts of a step a GPU runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// All of them.
    All,
    /// All but those that read and write the KV cache: another device has it.
    WithoutCache,
}

impl Parts {
    pub(super) fn has(self, part: &Part) -> bool {
        self == Self::All || !part.work.is_of_cache()
    }
}

/// A part of a step, and what it is launched as.
#[derive(Debug, Clone)]
pub(crate) struct ChosenPart {
    part: Part,
    /// None for a part that another device runs.
    launches: Arc<[Launch]>,
}

impl ChosenPart {
    /// Where in the step it is.
    pub(crate) fn place(&self) -> Place {
        self.part.place
    }

    /// The region of the step that it is in, its first layer, and how many layers have it.
    pub(crate) fn layers(&self) -> (usize, u32, u32) {
        (self.part.region, self.part.first_layer, self.part.repeat)
    }

    /// Its region in the step, and the operator of that region's graph that it begins with.
    pub(crate) fn at(&self) -> (usize, usize) {
        (self.part.region, self.part.node)
    }

    /// The same, with its weights read from memory that all layers use anew.
    pub(crate) fn with_weights_in(&self, buffer: &str) -> Self {
        let is_weight = |o: &Operand| self.part.weights.contains(o);
        let moved = |launch: &Launch| Launch {
            kernel: Arc::clone(&launch.kernel),
            operands: launch
                .operands
                .iter()
                .map(|o| if is_weight(o) { Operand::shared(buffer) } else { o.clone() })
                .collect(),
        };
        Self { part: self.part.clone(), launches: self.launches.iter().map(moved).collect() }
    }

    /// The memory of its weights, where it has some.
    pub(crate) fn weights(&self) -> Option<&Operand> {
        self.part.weights.first()
    }

    /// Whether it reads or writes the KV cache.
    pub(crate) fn is_of_cache(&self) -> bool {
        self.part.work.is_of_cache()
    }

    /// Whether it puts new keys and values into the cache.
    pub(crate) fn is_append(&self) -> bool {
        self.part.work.is_append()
    }

    /// What the operator is called in reports.
    pub(crate) fn label(&self) -> &str {
        &self.part.label
    }

    /// How many kernels it is launched as.
    pub(crate) fn launches(&self) -> usize {
        self.launches.len()
    }

    /// The buffer of its result.
    pub(crate) fn output(&self) -> &str {
        &self.part.output.name
    }

    /// What ranks exchange in its place, among how many, and the bytes of the whole; none for what a GPU computes.
    pub(crate) fn exchange(&self) -> Option<(Communication, u32, u64)> {
        match &self.part.work {
            Work::Operator { op: Op::Collective { what, ranks, width }, batch, tokens, .. } => {
                // Activations are of 16 bits.
                Some((*what, *ranks, batch.saturating_mul(*tokens).saturating_mul(*width).saturating_mul(2)))
            }
            _ => None,
        }
    }

    /// Adds its launches of a layer, each after the one before and the first after `after`; returns the last. `suffix` ends the names of
    /// activations' buffers: chains of launches that are under way at once have activations of their own, and share weights.
    pub(crate) fn emit(
        &self,
        builder: &mut ProgramBuilder,
        layer: Option<u32>,
        suffix: &str,
        after: &[InstructionId],
    ) -> Option<InstructionId> {
        self.emit_of(builder, layer, suffix, after, 1)
    }

    /// The same where the device stands for so many ranks: operations are those of all.
    pub(crate) fn emit_of(
        &self,
        builder: &mut ProgramBuilder,
        layer: Option<u32>,
        suffix: &str,
        after: &[InstructionId],
        ranks: u32,
    ) -> Option<InstructionId> {
        let operator = builder.operator(&self.part.label);
        builder.occurs(operator, self.part.flops as f64 * f64::from(ranks), 0.0);
        let prefix = layer.map_or_else(String::new, |layer| format!("layer{layer}."));
        launch::emit(builder, operator, &self.launches, &prefix, suffix, after)
    }
}

/// What comes from outside a step, and tables; what a kernel has for itself or the machine clears before it.
const FROM_OUTSIDE: [&str; 9] = [
    "token_indices",
    "position_indices",
    "rotary_table",
    "rotary_cosines",
    "rotary_sines",
    "input",
    "scratch",
    "counter",
    "zero",
];

/// Names of the buffers that are there before a step: weights, caches and states of the layers that have them, and what comes from outside.
pub(crate) fn resident(parts: &[ChosenPart], suffix: &str) -> Vec<String> {
    let mut all: std::collections::BTreeSet<String> =
        FROM_OUTSIDE.iter().map(|name| format!("{name}{suffix}")).collect();
    if !parts.iter().any(|part| part.place() == Place::Before) {
        // A step without embedding begins with the hidden state.
        all.insert(format!("hidden{suffix}"));
    }
    for part in parts {
        let (_, first, repeat) = part.layers();
        let inside = matches!(part.place(), Place::Layers | Place::Encoder);
        let own = || part.launches.iter().flat_map(|l| &l.operands).filter(|o| o.own);
        for layer in first..first.saturating_add(repeat) {
            let prefix = if inside { format!("layer{layer}.") } else { String::new() };
            all.extend(own().map(|o| format!("{prefix}{}", o.name)));
        }
    }
    all.into_iter().collect()
}

/// Names of the buffers into which another device puts results of parts that it runs.
pub(crate) fn delivered(parts: &[ChosenPart], suffix: &str) -> Vec<String> {
    let elsewhere = parts.iter().filter(|part| part.launches.is_empty());
    elsewhere.map(|part| format!("{}{suffix}", part.part.output.name)).collect()
}

/// Names of the buffers that the first of layers that are alike reads as the others do: the sum before its norm, which comes from another kind of layer, or
/// which it does not have (`fuse.rs`).
pub(crate) fn alike(parts: &[ChosenPart], suffix: &str) -> Vec<String> {
    let begins = parts.chunk_by(|a, b| a.part.region == b.part.region).filter_map(|region| region.first());
    let first = begins.filter(|p| p.place() == Place::Layers && matches!(p.part.work, Work::AddNorm { .. }));
    first.filter_map(|p| p.part.inputs.first()).map(|operand| format!("{}{suffix}", operand.name)).collect()
}

impl GpuModel {
    /// The parts of a step in order, those of a layer once, with the launches of those that the GPU runs.
    ///
    /// # Errors
    /// An operator is not known, or the device runs none of a product's kernels.
    pub(crate) fn chosen_parts(
        &mut self,
        step: &Step,
        wanted: Parts,
        judge: &mut dyn Judge,
    ) -> Result<Vec<ChosenPart>, Unsupported> {
        let parts = self.parts(step);
        self.choose(step.phase, parts, &|part| wanted.has(part), judge)
    }

    /// The parts of a step whose graph is given, with the launches of those that the GPU runs: by region, and by operator of its graph.
    ///
    /// # Errors
    /// An operator is not known, or the device runs none of a product's kernels.
    pub(crate) fn chosen_parts_of(
        &mut self,
        phase: Phase,
        graph: &StepGraph,
        here: &dyn Fn(usize, usize) -> bool,
        judge: &mut dyn Judge,
    ) -> Result<Vec<ChosenPart>, Unsupported> {
        let parts = self.parts_of(graph);
        self.choose(phase, parts, &|part| here(part.region, part.node), judge)
    }

    fn choose(
        &mut self,
        phase: Phase,
        parts: Vec<Part>,
        here: &dyn Fn(&Part) -> bool,
        judge: &mut dyn Judge,
    ) -> Result<Vec<ChosenPart>, Unsupported> {
        self.forget_contexts(phase, &parts);
        let choose = |part: Part| {
            let launches = if here(&part) { self.chosen(phase, &part, judge)? } else { Arc::from([]) };
            Ok(ChosenPart { part, launches })
        };
        parts.into_iter().map(choose).collect()
    }
}
