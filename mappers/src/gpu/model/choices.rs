//! What `banksia map` says of a GPU: the kernels that each operator of a step is launched as.

use banksia_hw::gpu::estimate::Judge;
use banksia_hw::gpu::{CacheState, occupancy};
use banksia_workloads::{Phase, Step, StepGraph};

use super::super::select::Effort;
use super::choice::Choice;
use super::emit::Parts;
use super::part::{Launches, Part};
use super::state::GpuModel;
use crate::gpu::select;
use crate::plan::Unsupported;

impl GpuModel {
    /// The kernels of those parts of a step that are wanted.
    ///
    /// # Errors
    /// An operator is not known, or the device runs none of a product's kernels.
    pub(crate) fn choices(
        &mut self,
        step: &Step,
        wanted: Parts,
        judge: &mut dyn Judge,
    ) -> Result<Vec<Choice>, Unsupported> {
        let parts = self.parts(step).into_iter().filter(|p| wanted.has(p)).collect();
        choices(self, step.phase, parts, judge)
    }

    /// The kernels of parts of a step whose graph is given: by region, and by operator of its graph.
    ///
    /// # Errors
    /// An operator is not known, or the device runs none of a product's kernels.
    pub(crate) fn choices_of(
        &mut self,
        phase: Phase,
        graph: &StepGraph,
        here: &dyn Fn(usize, usize) -> bool,
        judge: &mut dyn Judge,
    ) -> Result<Vec<Choice>, Unsupported> {
        let parts = self.parts_of(graph).into_iter().filter(|p| here(p.region, p.node)).collect();
        choices(self, phase, parts, judge)
    }
}

fn choices(
    model: &mut GpuModel,
    phase: Phase,
    parts: Vec<Part>,
    judge: &mut dyn Judge,
) -> Result<Vec<Choice>, Unsupported> {
    let mut out = Vec::new();
    model.forget_contexts(phase, &parts);
    for part in parts {
        let estimates = match model.lowering(phase).launches(&part)? {
            // A candidate that cannot run has no place among the estimates; the choice goes on without it.
            Launches::Product(g, found, _) => select::estimates(judge, &g, found, Effort::DEFAULT.finalists),
            Launches::Items(_) => Vec::new(),
        };
        let launches = model.chosen(phase, &part, judge)?;
        for launch in launches.iter() {
            let kernel = &*launch.kernel;
            let found = launch.operands.iter().enumerate().filter(|(_, o)| !o.own).map(|(t, _)| (t, false)).collect();
            let cache = CacheState::Resident { tensors: found, dirty: 0.0 };
            let latency_s = judge.judge(&[(kernel.clone(), cache)]).map_err(Unsupported::Kernel)?.latency_s;
            let ctas_per_sm = occupancy(model.spec(), kernel).map_err(Unsupported::Kernel)?;
            let estimate =
                estimates.iter().find(|(_, plan)| plan.steps.iter().any(|(k, _)| k == kernel)).map(|(e, _)| *e);
            let lanes = (ctas_per_sm * model.spec().sms()).min(kernel.grid).max(1);
            out.push(Choice {
                operator: part.label.clone(),
                count: part.repeat.into(),
                grid: kernel.grid,
                threads: kernel.threads,
                shared_bytes: kernel.shared_bytes,
                cluster: kernel.cluster,
                ctas_per_sm,
                waves: (kernel.items.len() as u32).div_ceil(lanes),
                estimate_s: estimate.filter(|_| kernel.name.starts_with("gemm")),
                latency_s,
                kernel: kernel.name.clone(),
            });
        }
    }
    Ok(out)
}
