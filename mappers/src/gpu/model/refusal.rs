//! What cannot run, as an error of the experiment.

use banksia_input::{InputError, Source};
use banksia_workloads::Op;

use super::part::{Part, Work};
use super::state::GpuModel;
use crate::plan::Unsupported;

impl GpuModel {
    /// What cannot be lowered, as an error of the experiment: with what could be.
    pub(super) fn refusal(&self, unsupported: &Unsupported, part: &Part, source: &Source) -> InputError {
        let weights = match &part.work {
            Work::Operator { op: Op::Linear { .. } | Op::ExpertLinear { .. }, types, .. } => Some(types.weights),
            Work::Experts(work) => Some(work.types.weights),
            _ => None,
        };
        let narrow = weights.filter(|w| w.dtype != self.model.types.activations || w.of > 0);
        let text: toml::Table = source.parse().unwrap_or_default();
        let given = |key: &str| {
            let mut parts = key.split('.');
            let first = parts.next().and_then(|k| text.get(k));
            parts.try_fold(first, |at, k| at.map(|v| v.get(k))).flatten().is_some()
        };
        let (key, help) = match narrow {
            Some(_) => (
                "workload.types.weights",
                "products take 16 bits, 2 of 4 in 16 bits, fp8, int8, int4, nf4 and fp4; experts 16 bits, fp8, int4, nf4 and fp4, with any framework",
            ),
            None if part.work.is_attention() => {
                ("workload.types.cache", "give another mapping.framework, cache type or model")
            }
            None => ("workload.model", "give another mapping.framework or model"),
        };
        let key = if given(key) { key } else { "workload.model" };
        source.error(key, unsupported.to_string()).help(help)
    }
}
