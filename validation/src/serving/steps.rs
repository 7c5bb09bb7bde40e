//! What steps take: few are simulated, those of a load lie between them.

use std::collections::BTreeMap;

use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::spec::GpuSpec;
use banksia_hw::system::{Machine, RunOptions, System};
use banksia_input::Source;
use banksia_mappers::gpu::GpuMapper;
use banksia_mappers::{Mapper, Plan, Problem};
use banksia_workloads::{Generation, Run};

use super::load::{Composition, Engine, Lengths};
use super::models::Served;

/// Steps of a model on a GPU.
pub(super) struct Steps<'a> {
    served: &'a Served,
    machine: Machine,
    detail: Detail,
    /// Mean lengths.
    means: Lengths,
    /// Sequences that decode when the load is there.
    decodes: u64,
    engine: Option<Engine>,
    /// Seconds of steps that were simulated, by tokens of prompts and sequences that decode.
    known: BTreeMap<Composition, f64>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(spec: &GpuSpec, served: &'a Served, detail: Detail, means: Lengths, at_once: u64) -> Self {
        let machine = Machine::of_gpu(spec);
        Self { served, machine, detail, means, decodes: at_once, engine: None, known: BTreeMap::new() }
    }

    /// Steps are this engine's; no more sequences decode than have room.
    pub(super) fn set_engine(&mut self, engine: Engine) {
        if engine.reserves {
            self.decodes = self.decodes.min(engine.room / (self.means.0 + self.means.1)).max(1);
        }
        self.engine = Some(engine);
    }

    fn with_plan<T>(
        &self,
        runs: Vec<Run>,
        then: impl FnOnce(&Machine, &mut dyn Plan) -> Result<T, String>,
    ) -> Result<T, String> {
        let generation = Generation {
            prompt_tokens: runs.iter().map(|r| r.new).max().unwrap_or(1),
            batch: runs.iter().map(|r| r.sequences).sum(),
            runs,
            ..Generation::default()
        };
        let text = format!("[mapping]\nframework = \"{}\"\n", self.served.framework);
        let source = Source::from_text("ttft_tpot.csv", text);
        let model = &self.served.model;
        let problem = Problem { model, generation: &generation, machine: &self.machine, source: &source };
        let mut plan = GpuMapper.plan(&problem).map_err(|e| e.to_string())?;
        then(&self.machine, plan.as_mut())
    }

    /// Bytes of the weights.
    pub(super) fn weights(&self) -> Result<f64, String> {
        self.with_plan(vec![Run { sequences: 1, new: 1, past: 1 }], |_, plan| Ok(plan.footprint().weights as f64))
    }

    /// Simulates a step.
    fn simulated(&mut self, (entered, decodes): Composition) -> Result<f64, String> {
        if let Some(seconds) = self.known.get(&(entered, decodes)) {
            return Ok(*seconds);
        }
        let (prompt, answer) = self.means;
        let (whole, rest) = (entered / prompt, entered % prompt);
        // A chunk of a prompt that is longer than the budget stands for all of that prompt's.
        let past = if whole == 0 && rest > 0 { (prompt - rest) / 2 } else { 0 };
        let runs = [
            Run { sequences: whole, new: prompt, past: 0 },
            Run { sequences: u64::from(rest > 0), new: rest, past },
            Run { sequences: decodes, new: 1, past: prompt + answer / 2 },
        ];
        let detail = self.detail;
        let runs = runs.into_iter().filter(|r| r.sequences > 0).collect();
        let seconds = self.with_plan(runs, |machine, plan| {
            let mut system = System::new(machine, RunOptions { detail, ..RunOptions::default() });
            let program = std::sync::Arc::new(plan.lower(0, &mut system).map_err(|e| e.to_string())?);
            system.run(&program).map_err(|e| e.to_string())?;
            Ok(system.finish().latency.as_secs_f64())
        })?;
        self.known.insert((entered, decodes), seconds);
        Ok(seconds)
    }

    /// Seconds of a step of decoding sequences alone: between one and all of them.
    fn decode(&mut self, decodes: u64) -> Result<f64, String> {
        if decodes == 0 {
            return Ok(0.0);
        }
        let all = self.simulated((0, self.decodes))?;
        if decodes == self.decodes || self.decodes == 1 {
            return Ok(all);
        }
        let one = self.simulated((0, 1))?;
        Ok(one + (all - one) * (decodes - 1) as f64 / (self.decodes - 1) as f64)
    }

    /// Seconds that prompts add to a step.
    fn added(&mut self, entered: u64, mixed: bool) -> Result<f64, String> {
        let beside = if mixed { self.decodes.saturating_sub(entered / self.means.0.max(1)) } else { 0 };
        let with = self.simulated((entered, beside))?;
        Ok(with - self.decode(beside)?)
    }

    /// Seconds of a step.
    ///
    /// # Errors
    /// The model cannot be run, with the reason.
    pub(super) fn seconds(&mut self, (entered, decodes): Composition) -> Result<f64, String> {
        let alone = self.decode(decodes)?;
        let Some(engine) = self.engine.filter(|_| entered > 0) else { return Ok(alone) };
        let one = self.means.0.min(engine.budget);
        let beside = if engine.mixed { self.decodes } else { 0 };
        let most = engine.budget.saturating_sub(beside).max(one);
        let prompts = (most / one).min(self.decodes).max(1);
        let full = if engine.chunked && self.decodes > prompts { most } else { prompts * one };
        // Between one prompt and a full step.
        let at_one = if entered < full || one == full { Some(self.added(one, engine.mixed)?) } else { None };
        let added = match at_one {
            Some(at_one) if entered <= one || one == full => at_one * entered as f64 / one as f64,
            _ => {
                let at_full = self.added(full, engine.mixed)?;
                let from = at_one.map_or((0.0, 0.0), |at_one| (one as f64, at_one));
                from.1 + (at_full - from.1) * (entered as f64 - from.0) / (full as f64 - from.0)
            }
        };
        Ok(alone + added)
    }
}
