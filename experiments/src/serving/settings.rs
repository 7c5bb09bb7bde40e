//! The table `[serving]`: which requests come, when, and how the engine forms steps of them.

use std::path::Path;

use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};
use banksia_workloads::Generation;
use schemars::JsonSchema;
use serde::Deserialize;

use super::draw::{Drawn, draw, read_trace};
use super::load::{Arrivals, Engine, Lengths};
use crate::experiment::Experiment;

/// Most requests of a load.
pub(super) const MOST_REQUESTS: u64 = 1 << 20;
/// Most tokens of a prompt or an answer.
pub(super) const MOST_TOKENS: u64 = 1 << 30;

/// Requests that are served, and the engine that forms steps of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServingFile {
    /// Requests that are served: 100 where absent, or all of a trace.
    pub(super) requests: Option<u64>,
    /// Requests that are kept in flight: each answer is followed by the next request. One of `concurrency`, `rate_per_s` and `trace` is given.
    pub(super) concurrency: Option<u64>,
    /// Requests that come in a second, in the mean, whether or not others have been answered.
    pub(super) rate_per_s: Option<f64>,
    /// How those of `rate_per_s` come.
    #[serde(default)]
    pub(super) arrivals: Process,
    /// A CSV file with a row a request, beside the experiment: `arrival_s`, `prompt_tokens`, `output_tokens`.
    pub(super) trace: Option<String>,
    /// Tokens of a prompt; required without a trace.
    pub(super) prompt_tokens: Option<u64>,
    /// Tokens of an answer; required without a trace.
    pub(super) output_tokens: Option<u64>,
    /// Lengths are drawn evenly from `1 - spread` of their nominal value to all of it; 0 for all alike.
    #[serde(default)]
    pub(super) spread: f64,
    /// How the engine forms steps.
    #[serde(default)]
    pub(super) engine: EngineFile,
    /// Within which a request counts as served well.
    #[serde(default)]
    pub(super) limits: Limits,
}

/// How requests of a rate come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Process {
    /// Independently of each other: gaps are exponentially distributed.
    #[default]
    Poisson,
    /// At equal intervals.
    Constant,
}

/// When a request is let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Admission {
    /// When its prompt has room in the cache; the last one in leaves where room ends, and begins again (vLLM, SGLang).
    #[default]
    Prompt,
    /// When its whole length has (TensorRT-LLM's GUARANTEED_NO_EVICT).
    Whole,
}

/// How the engine forms steps. Where nothing is said: vLLM's own values (version 0.11, for one large GPU).
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EngineFile {
    /// Most tokens that enter in a step.
    token_budget: u64,
    /// A prompt that does not fit in what is left of the budget enters in part.
    chunked: bool,
    /// Prompts enter beside the tokens of sequences that decode; else in steps of their own, before those.
    mixed: bool,
    /// When a request is let in.
    admission: Admission,
    /// Most sequences that are in at once.
    max_sequences: u64,
    /// Share of the machine's memory for weights, states and the cache.
    memory_share: f64,
    /// Tokens that the cache has room for, in place of what `memory_share` and the weights leave.
    cache_tokens: Option<u64>,
}

impl Default for EngineFile {
    fn default() -> Self {
        Self {
            token_budget: 8192,
            chunked: true,
            mixed: true,
            admission: Admission::Prompt,
            max_sequences: 256,
            memory_share: 0.9,
            cache_tokens: None,
        }
    }
}

/// Within which a request counts as served well; none where absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// To the first token.
    pub(super) ttft_ms: Option<f64>,
    /// From one token to the next, in the mean over a request.
    pub(super) tpot_ms: Option<f64>,
}

/// A load, drawn.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// The experiment's file: errors name its keys.
    pub(super) source: Source,
    /// The machine as the file has it, before ranks have roles.
    pub(super) machine: Machine,
    /// Lengths of each request.
    pub(super) lengths: Vec<Lengths>,
    /// When each comes; none where so many are kept in flight.
    times: Vec<f64>,
    concurrency: usize,
    engine: EngineFile,
    pub(super) limits: Limits,
}

impl ServingFile {
    /// The load, drawn from the experiment's seed; the text of a trace is written into `configuration`.
    ///
    /// # Errors
    /// A key contradicts another, or its value cannot be; or the trace cannot be read.
    pub(crate) fn resolve(
        self,
        source: &Source,
        path: Option<&Path>,
        seed: u64,
        machine: &Machine,
        configuration: &mut String,
    ) -> Result<Load, InputError> {
        let given = [self.concurrency.is_some(), self.rate_per_s.is_some(), self.trace.is_some()];
        if given.iter().filter(|g| **g).count() != 1 {
            let error = source.error("serving", "needs one of `concurrency`, `rate_per_s` and `trace`");
            return Err(error.help("concurrency = 16 keeps so many in flight; rate_per_s = 4.0 lets them come; trace = \"requests.csv\" says when"));
        }
        if let Some(requests) = self.requests {
            source.check("serving.requests", requests, 1..=MOST_REQUESTS)?;
        }
        let e = self.engine;
        source.check("serving.engine.token_budget", e.token_budget, 1..=MOST_TOKENS)?;
        source.check("serving.engine.max_sequences", e.max_sequences, 1..=MOST_REQUESTS)?;
        source.check("serving.engine.memory_share", e.memory_share, 0.01..=1.0)?;
        for (key, value) in [("ttft_ms", self.limits.ttft_ms), ("tpot_ms", self.limits.tpot_ms)] {
            if let Some(value) = value {
                source.check(&format!("serving.limits.{key}"), value, 1e-6..=1e12)?;
            }
        }
        let Drawn { lengths, times } = match &self.trace {
            Some(name) => read_trace(&self, name, source, path, configuration)?,
            None => draw(&self, source, seed)?,
        };
        let concurrency = match self.concurrency {
            Some(n) => source.check("serving.concurrency", n, 1..=MOST_REQUESTS)?,
            None => 0,
        };
        let concurrency = usize::try_from(concurrency).unwrap_or(usize::MAX);
        let (source, machine) = (source.clone(), machine.clone());
        Ok(Load { source, machine, lengths, times, concurrency, engine: e, limits: self.limits })
    }
}

impl Load {
    /// When requests come.
    pub(super) fn arrivals(&self) -> Arrivals<'_> {
        if self.times.is_empty() { Arrivals::Kept(self.concurrency) } else { Arrivals::At(&self.times) }
    }

    /// The longest context that a request comes to.
    pub(crate) fn longest(&self) -> u64 {
        self.lengths.iter().map(|(prompt, answer)| prompt + answer).max().unwrap_or(1)
    }

    /// Bytes of the cache that a token takes, where the mapping keeps it: of all devices, or of the rank that keeps most.
    fn bytes_a_token(&self, experiment: &Experiment) -> f64 {
        const TOKENS: u64 = 1024;
        const SEQUENCES: u64 = 8;
        let few = Generation {
            context_tokens: TOKENS - 1,
            prompt_tokens: 0,
            batch: SEQUENCES,
            ignore_position_limit: true,
            ..Generation::default()
        };
        // Where so many do not fit, what the model says of itself.
        let kept = experiment.using(&self.source, &self.machine, few).map(|e| e.plan.footprint().kv);
        kept.map_or(experiment.model.kv_bytes_per_token() as f64, |kv| kv as f64 / (TOKENS * SEQUENCES) as f64)
    }

    /// The engine, with the room that weights and states leave.
    ///
    /// # Errors
    /// They leave none.
    pub(super) fn engine(&self, experiment: &Experiment) -> Result<Engine, InputError> {
        let e = self.engine;
        let model = &experiment.model;
        let devices = &experiment.machine.devices;
        let dtype = banksia_mappers::dtype_of(model.types.operands());
        // Of ranks, what one of them has and keeps.
        let capacity = match devices.first() {
            Some((_, device)) if experiment.machine.fabric.is_some() => device.facts(dtype),
            _ => experiment.machine.facts(dtype),
        };
        let capacity = capacity.capacity_bytes as f64;
        let weights = experiment.plan.footprint().weights as f64;
        let most = e.max_sequences.min(self.lengths.len() as u64);
        let states = model.state_bytes() as f64 * most as f64;
        let left = e.memory_share * capacity - weights - states;
        let each = self.bytes_a_token(experiment);
        let room = match (e.cache_tokens, each) {
            (Some(tokens), _) => self.source.check("serving.engine.cache_tokens", tokens, 1..=1 << 50)?,
            (None, _) if left <= 0.0 => {
                let problem = format!(
                    "of {:.1} GB leaves no room for a cache: weights take {:.1} GB, states {:.1} GB",
                    capacity / 1e9,
                    weights / 1e9,
                    states / 1e9
                );
                let error = self.source.error("serving.engine.memory_share", problem);
                return Err(error.help("take fewer max_sequences, a larger machine, or weights of fewer bits"));
            }
            // States alone, of one size for any context.
            (None, each) if each <= 0.0 => u64::MAX / 2,
            (None, each) => (left / each) as u64,
        };
        Ok(Engine {
            budget: e.token_budget,
            chunked: e.chunked,
            mixed: e.mixed,
            reserves: e.admission == Admission::Whole,
            room,
            most: e.max_sequences,
            hold: (0, 0),
        })
    }
}
