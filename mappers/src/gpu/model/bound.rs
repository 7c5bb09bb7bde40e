//! The least that a step can take on a GPU.

use banksia_workloads::{OperatorNode, Step};

use super::state::GpuModel;
use crate::plan::Bound;

impl GpuModel {
    pub(crate) fn bound_of(&self, step: &Step) -> Bound {
        let graph = self.graph(step);
        // What lies in L2 from the step before need not come from memory.
        let states = graph.state_bytes() as f64 / 2.0;
        // Keys of a whole prompt are read where they have just been made.
        let cached = step.runs.iter().any(|r| r.past > 0);
        let keys = if cached { graph.kv_bytes_read() as f64 } else { 0.0 };
        let all = graph.weight_bytes_read() as f64 + keys + states;
        let bytes = (all - self.spec.l2.bytes as f64).max(0.0);
        // At the rate of what is multiplied: narrow weights may meet narrow activations, and caches of 8 bits queries of 8 bits.
        let wide = self.spec.tensor_peak_flops_per_s(self.dtype);
        let fastest =
            self.spec.tensor.fma_per_cycle.keys().map(|d| self.spec.tensor_peak_flops_per_s(*d)).fold(wide, f64::max);
        let activations = self.model.types.activations;
        let seconds = |o: &OperatorNode| {
            let weights = o.types.weights;
            let peak = match o.op.kind() {
                "linear" | "expert_linear" if weights.dtype == activations && weights.of == 0 => wide,
                // Zeros of sparse weights are skipped.
                "linear" | "expert_linear" => {
                    fastest * (weights.of.max(1) as f64 / weights.kept.max(1) as f64).max(1.0)
                }
                "attention_scores" | "attention_values" if o.types.cache == activations => wide,
                "attention_scores" | "attention_values" => fastest,
                _ => return 0.0,
            };
            o.flops() as f64 / peak
        };
        let arithmetic: f64 = graph.operators().map(|(o, repeat)| seconds(o) * f64::from(repeat)).sum();
        Bound { arithmetic_s: arithmetic, memory_s: bytes / self.spec.dram_peak_bytes_per_s() }
    }
}
