//! What steps take: few are simulated, those of a load lie between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use banksia_experiments::serving::load::{Composition, Engine, Lengths};
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::spec::GpuSpec;
use banksia_hw::system::{ClusterTable, Machine, RunOptions, System};
use banksia_input::Source;
use banksia_mappers::cluster::ClusterMapper;
use banksia_mappers::gpu::GpuMapper;
use banksia_mappers::{Mapper, Plan, Problem};
use banksia_workloads::{Generation, Run};

use super::models::Served;
use super::ranks::Placed;

/// Seconds of steps that were simulated, by all that they depend on: rows of a model share most of them.
static KNOWN: Mutex<BTreeMap<String, f64>> = Mutex::new(BTreeMap::new());

/// Steps of a model on a GPU.
pub(super) struct Steps<'a> {
    served: &'a Served,
    placed: Placed,
    machine: Machine,
    /// `[mapping]`, and `[parallel]` where there are several GPUs.
    source: Source,
    detail: Detail,
    /// Mean lengths.
    means: Lengths,
    /// Sequences that decode when the load is there.
    decodes: u64,
    engine: Option<Engine>,
}

impl<'a> Steps<'a> {
    /// Of a model on its ranks.
    ///
    /// # Errors
    /// There are no figures of nodes of such GPUs.
    pub(super) fn new(
        spec: &GpuSpec,
        served: &'a Served,
        placed: Placed,
        detail: Detail,
        means: Lengths,
        at_once: u64,
    ) -> Result<Self, String> {
        let mut text = format!("[mapping]\nframework = \"{}\"\n", served.framework);
        if placed.tp > 1 {
            text.push_str(&format!("[parallel]\ntp = {}\nep = {}\n", placed.tp, placed.ep));
        }
        let source = Source::from_text("ttft_tpot.csv", text);
        let machine = if placed.tp > 1 {
            let cluster = Placed::cluster(&spec.name)?.to_owned();
            let table = ClusterTable { cluster, nodes: Some(1) };
            Machine::read_cluster(&table, &source, None).map_err(|e| e.to_string())?
        } else {
            Machine::of_gpu(spec)
        };
        Ok(Self { served, placed, machine, source, detail, means, decodes: at_once, engine: None })
    }

    /// Steps are this engine's; no more sequences decode than have room.
    pub(super) fn set_engine(&mut self, engine: Engine) {
        let each = self.means.0 + if engine.reserves { self.means.1 } else { self.means.1 / 2 };
        self.decodes = self.decodes.min(engine.room / each.max(1)).max(1);
        self.engine = Some(engine);
    }

    fn with_plan<T>(&self, runs: Vec<Run>, then: impl FnOnce(&mut dyn Plan) -> Result<T, String>) -> Result<T, String> {
        let generation = Generation {
            prompt_tokens: runs.iter().map(|r| r.new).max().unwrap_or(1),
            batch: runs.iter().map(|r| r.sequences).sum(),
            runs,
            ..Generation::default()
        };
        let model = &self.served.model;
        let problem = Problem { model, generation: &generation, machine: &self.machine, source: &self.source };
        let mapper: &dyn Mapper = if self.placed.tp > 1 { &ClusterMapper } else { &GpuMapper };
        let mut plan = mapper.plan(&problem).map_err(|e| e.to_string())?;
        then(plan.as_mut())
    }

    /// Bytes of the weights.
    pub(super) fn weights(&self) -> Result<f64, String> {
        self.with_plan(vec![Run { sequences: 1, new: 1, past: 1 }], |plan| Ok(plan.footprint().weights as f64))
    }

    /// Of a token's keys and values, those that one GPU keeps.
    pub(super) fn cache_share(&self) -> Result<f64, String> {
        const TOKENS: u64 = 1024;
        let whole = self.served.model.kv_bytes(TOKENS);
        if self.placed.tp == 1 || whole == 0 {
            return Ok(1.0);
        }
        let run = Run { sequences: 1, new: 1, past: TOKENS - 1 };
        self.with_plan(vec![run], |plan| Ok(plan.footprint().kv as f64 / whole as f64))
    }

    /// Simulates a step, for as long as clocks settle.
    fn simulated(&self, runs: Vec<Run>) -> Result<f64, String> {
        let Served { model, framework } = self.served;
        let (machine, detail) = (&self.machine.name, self.detail);
        let ranks = self.placed;
        let key = format!("{machine} {ranks:?} {framework} {} {:?} {detail:?} {runs:?}", model.name, model.types);
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(seconds) = known {
            return Ok(seconds);
        }
        let seconds = self.with_plan(runs, |plan| {
            let machine = plan.machine().unwrap_or_else(|| self.machine.clone());
            let mut system = System::new(&machine, RunOptions { detail, ..RunOptions::default() });
            let program = Arc::new(plan.lower(0, &mut system).map_err(|e| e.to_string())?);
            system.run(&program).map_err(|e| e.to_string())?;
            Ok(system.finish().latency.as_secs_f64())
        })?;
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(key, seconds);
        Ok(seconds)
    }

    /// Seconds of a step of one sequence that decodes: of reading the weights.
    fn one(&self) -> Result<f64, String> {
        self.simulated(vec![Run { sequences: 1, new: 1, past: self.means.0 }])
    }

    /// Seconds of a step of sequences that decode: between one and all of them, at their mean context.
    fn decode(&self, decodes: u64) -> Result<f64, String> {
        if decodes == 0 {
            return Ok(0.0);
        }
        let past = self.means.0 + self.means.1 / 2;
        let all = self.simulated(vec![Run { sequences: self.decodes, new: 1, past }])?;
        if decodes == self.decodes || self.decodes == 1 {
            return Ok(all);
        }
        let one = self.one()?;
        Ok(one + (all - one) * (decodes - 1) as f64 / (self.decodes - 1) as f64)
    }

    /// Seconds of a step of prompts alone.
    fn prompts(&self, entered: u64) -> Result<f64, String> {
        let prompt = self.means.0;
        let (whole, rest) = (entered / prompt, entered % prompt);
        // A chunk of a prompt that is longer than the budget stands for all of that prompt's.
        let past = if whole == 0 { (prompt - rest) / 2 } else { 0 };
        let runs =
            [Run { sequences: whole, new: prompt, past: 0 }, Run { sequences: u64::from(rest > 0), new: rest, past }];
        self.simulated(runs.into_iter().filter(|r| r.sequences > 0).collect())
    }

    /// Seconds of a step.
    ///
    /// Prompts and sequences that decode share the reading of the weights, which one sequence's step stands for, and nothing else.
    ///
    /// # Errors
    /// The model cannot be run, with the reason.
    pub(super) fn seconds(&self, step: Composition) -> Result<f64, String> {
        let Composition { entered, decodes, .. } = step;
        let alone = self.decode(decodes)?;
        let Some(engine) = self.engine.filter(|_| entered > 0) else { return Ok(alone) };
        let beside = if decodes > 0 { alone - self.one()? } else { 0.0 };
        // Between one prompt and as many as a step takes.
        let one = self.means.0.min(engine.budget);
        let full = (engine.budget / one).min(self.decodes).max(1) * one;
        let at_one = self.prompts(one)?;
        let prompts = if entered <= one || full == one {
            let weights = self.one()?.min(at_one);
            // What is less than a prompt reads the weights too.
            weights + (at_one - weights) * entered as f64 / one as f64
        } else {
            let at_full = self.prompts(full)?;
            at_one + (at_full - at_one) * (entered - one) as f64 / (full - one) as f64
        };
        Ok(prompts + beside.max(0.0))
    }
}
