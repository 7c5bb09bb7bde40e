//! The least that a step can take on both devices.

use banksia_hw::pim::{peak_bandwidth_bytes_per_s, peak_macs_per_s};
use banksia_workloads::{OperatorNode, Phase, Step, StepGraph};

use super::map::Hybrid;
use super::place::{On, Placed, Resolved};
use super::share::seen_by;
use crate::pim_gpt::vector_ops;
use crate::plan::Bound;

/// Operators that a device has in a step, with how often.
fn of_device<'a>(
    graph: &'a StepGraph,
    placed: &'a Resolved,
    device: On,
) -> impl Iterator<Item = (&'a OperatorNode, f64)> {
    let has = move |place: &Placed| if device == On::Gpu { place.on_gpu() } else { place.on_pim() };
    graph.regions.iter().zip(placed).flat_map(move |(region, placed)| {
        let own = region.body.operators().zip(placed).filter(move |(_, p)| has(p));
        own.map(move |(node, _)| (node, f64::from(region.repeat)))
    })
}

impl Hybrid {
    /// What each device must do by itself: the longer of the two, and their sum where they use one memory and take turns at it.
    pub(super) fn bound_of(&self, index: u64) -> Bound {
        let Some(step) = self.generation.step(index) else { return Bound::default() };
        if self.operators.is_none() && (step.phase == Phase::Prefill || self.on_gpu) {
            return self.whole.bound_of(&step);
        }
        let graph = self.model.graph(&step, &self.generation);
        let placed = self.places.resolve(step.phase, &graph);
        let (gpu, pim) = (self.gpu_bound(&step, &graph, &placed), self.pim_bound(&graph, &placed));
        let joined = |a: f64, b: f64| if self.site.takes_turns() { a + b } else { a.max(b) };
        Bound { arithmetic_s: joined(gpu.arithmetic_s, pim.arithmetic_s), memory_s: joined(gpu.memory_s, pim.memory_s) }
    }

    /// Products at the peak of the matrix units, weights at that of the memory.
    fn gpu_bound(&self, step: &Step, graph: &StepGraph, placed: &Resolved) -> Bound {
        let spec = &self.site.spec;
        let own = seen_by(On::Gpu, graph, placed);
        let (mut flops, mut weights, mut keys) = (0.0, 0.0, 0.0);
        // Keys of a whole prompt are read where they have just been made.
        let cached = step.runs.iter().any(|r| r.past > 0);
        let mut shared: Vec<(&str, &str)> = Vec::new();
        for (region, placed) in own.regions.iter().zip(placed) {
            for (node, _) in region.body.operators().zip(placed).filter(|(_, p)| p.on_gpu()) {
                let repeat = f64::from(region.repeat);
                let products =
                    matches!(node.op.kind(), "linear" | "expert_linear" | "attention_scores" | "attention_values");
                flops += if products { node.flops() as f64 * repeat } else { 0.0 };
                keys += if cached { node.kv_bytes_read() as f64 * repeat } else { 0.0 };
                // Layers of a shared block have the same weights: once.
                let rest = node.name.split_once('.').map_or(node.name.as_str(), |(_, rest)| rest);
                let key = (region.block.as_str(), rest);
                let times = match (region.shared, shared.contains(&key)) {
                    (false, _) => repeat,
                    (true, true) => 0.0,
                    (true, false) => 1.0,
                };
                if region.shared {
                    shared.push(key);
                }
                weights += node.weight_bytes_read() as f64 * times;
            }
        }
        // At the rate of the narrowest type: what is multiplied may be narrower than activations.
        let wide = spec.tensor_peak_flops_per_s(self.whole.dtype());
        let plain = self.model.types.weights.dtype == self.model.types.activations
            && self.model.types.weights.of == 0
            && self.model.types.cache == self.model.types.activations;
        let peaks = spec.tensor.fma_per_cycle.keys().map(|d| spec.tensor_peak_flops_per_s(*d));
        let peak = if plain { wide } else { 2.0 * peaks.fold(wide, f64::max) };
        // What lies in L2 from the step before need not come from memory.
        let bytes = (weights + keys - spec.l2.bytes as f64).max(0.0);
        Bound { arithmetic_s: flops / peak, memory_s: bytes / spec.dram_peak_bytes_per_s() }
    }

    /// Multiply-accumulates at the peak of the units; every vector reads its matrix anew, and query heads share keys.
    fn pim_bound(&self, graph: &StepGraph, placed: &Resolved) -> Bound {
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        let own = seen_by(On::Pim, graph, placed);
        let (mut macs, mut bytes) = (0.0, 0.0);
        for (node, repeat) in of_device(&own, placed, On::Pim) {
            let products = vector_ops::macs(node) as f64 * repeat;
            macs += products;
            bytes += match node.op.kind() {
                "attention_scores" | "attention_values" => node.kv_bytes_read() as f64 * repeat,
                _ => 2.0 * products,
            };
        }
        let pim = &self.site.pim;
        Bound {
            arithmetic_s: ratio(macs, peak_macs_per_s(pim)),
            memory_s: ratio(bytes, peak_bandwidth_bytes_per_s(pim)),
        }
    }
}
