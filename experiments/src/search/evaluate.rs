//! Plans, simulated.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use banksia_hw::gpu::LaunchCache;
use banksia_hw::system::RunOptions;
use banksia_input::{InputError, Source};
use rayon::prelude::*;

use super::keep::{Evaluated, Keep, Kept, key};
use super::objective::Objective;
use super::options::{Ranked, SearchOptions, gap};
use super::space::{Bounded, Choice, Space, reason};
use crate::error::Error;
use crate::experiment::{Experiment, Unmapped};
use crate::run;

/// A plan that was simulated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Simulated {
    pub(super) choice: Choice,
    pub(super) latency_s: f64,
    pub(super) energy_j: f64,
    pub(super) tokens: f64,
    pub(super) bound_s: f64,
    pub(super) value: f64,
}

impl Simulated {
    /// Whether its bound, which others may have been excluded by, does not hold.
    pub(super) fn is_below_its_bound(&self, bounded: &Bounded, objective: Objective) -> bool {
        let bound = bounded.of(&self.choice).map(|l| objective.of(l.seconds, l.joules, bounded.tokens));
        self.bound_s > self.latency_s || bound.is_some_and(|bound| bound > self.value * (1.0 + 1e-12))
    }

    pub(super) fn ranked(&self, rank: u64, space: &Space, bound: f64, all: &[Self]) -> Ranked {
        let better = |o: &Self| {
            o.latency_s <= self.latency_s
                && o.energy_j <= self.energy_j
                && (o.latency_s < self.latency_s || o.energy_j < self.energy_j)
        };
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        Ranked {
            rank,
            settings: space.settings(&self.choice),
            latency_s: self.latency_s,
            energy_j: self.energy_j,
            tokens_per_s: ratio(self.tokens, self.latency_s),
            tokens_per_j: ratio(self.tokens, self.energy_j),
            bound_s: self.bound_s,
            value: self.value,
            gap: gap(self.value, bound),
            pareto: !all.iter().any(better),
        }
    }
}

/// Threads for as many plans at once as the options say.
pub(super) fn pool(options: &SearchOptions) -> Result<rayon::ThreadPool, Error> {
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(jobs) = options.jobs {
        if jobs == 0 || jobs > 4096 {
            return Err(InputError::new("--jobs", format!("is {jobs}: must be from 1 to 4096")).into());
        }
        pool = pool.num_threads(jobs);
    }
    pool.build().map_err(|e| Error::Failed(format!("threads cannot be started: {e}")))
}

/// Simulates plans.
pub(super) struct Evaluator<'a> {
    path: &'a Path,
    settings: &'a [String],
    /// What all plans have in common, read once, where the mapping alone makes them.
    common: Option<(Source, Unmapped)>,
    space: &'a Space,
    objective: Objective,
    cache: Option<Arc<dyn LaunchCache>>,
    pool: rayon::ThreadPool,
    simulated: AtomicU64,
    taken: AtomicU64,
    keep: Keep,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(
        path: &'a Path,
        settings: &'a [String],
        space: &'a Space,
        options: &SearchOptions,
    ) -> Result<Self, Error> {
        let pool = pool(options)?;
        let source = Experiment::source(path)?.with_settings(settings)?;
        let unmapped = Unmapped::read(&source, path.exists().then_some(path))?;
        let common = (!unmapped.serves()).then_some((source, unmapped));
        Ok(Self {
            path,
            settings,
            common,
            space,
            objective: options.objective,
            cache: options.cache.clone(),
            pool,
            simulated: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            keep: Keep::open(
                options,
                path,
                &space.name,
                space.knobs.iter().map(|k| format!("mapping.{}", k.key)).collect(),
            )?,
        })
    }

    /// Ends what it keeps.
    ///
    /// # Errors
    /// The store could not be written.
    pub(super) fn close(self) -> Result<(), Error> {
        self.keep.close()
    }

    /// Plans whose results were in the store.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Plans evaluated so far.
    pub(super) fn simulated(&self) -> u64 {
        self.simulated.load(Ordering::Relaxed)
    }

    /// Simulates plans; of one that is not legal, the constraint.
    pub(super) fn run(
        &self,
        plans: &[Choice],
        bounded: &Bounded,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Result<Simulated, String>>, Error> {
        let before = self.simulated();
        let one = |(place, choice): (usize, &Choice)| -> Result<Result<Simulated, String>, Error> {
            let experiment = match self.experiment(choice) {
                Ok(experiment) => experiment,
                Err(error) => return Ok(Err(reason(&error))),
            };
            let kept = self.result(&experiment, choice, bounded, before + place as u64)?;
            progress(self.simulated.fetch_add(1, Ordering::Relaxed) + 1);
            let Kept { latency_s, energy_j, tokens } = kept;
            let bound_s = bounded.of(choice).map_or(0.0, |l| l.seconds);
            let value = self.objective.of(latency_s, energy_j, tokens);
            Ok(Ok(Simulated { choice: choice.clone(), latency_s, energy_j, tokens, bound_s, value }))
        };
        let all: Vec<Result<Result<Simulated, String>, Error>> =
            self.pool.install(|| plans.par_iter().enumerate().with_max_len(1).map(one).collect());
        // Of several errors the first in the order of the plans.
        all.into_iter().collect()
    }

    fn experiment(&self, choice: &Choice) -> Result<Experiment, InputError> {
        let own = self.space.set(choice);
        if let Some((source, unmapped)) = &self.common {
            return Experiment::of(unmapped.clone(), &source.with_settings(&own)?);
        }
        let settings: Vec<String> = self.settings.iter().cloned().chain(own).collect();
        Experiment::read(self.path, &settings)
    }

    /// What a plan takes: from the store, or simulated. `ordinal` is its place in the search.
    fn result(&self, experiment: &Experiment, choice: &Choice, bounded: &Bounded, ordinal: u64) -> Result<Kept, Error> {
        let settings = self.space.settings(choice);
        let key = self.keep.is_open().then(|| self.key(experiment, &settings));
        if let Some(kept) = key.as_ref().and_then(|key| self.keep.known(key)) {
            self.taken.fetch_add(1, Ordering::Relaxed);
            return Ok(kept);
        }
        let begun = Instant::now();
        let (report, _) = run::run_with(experiment, RunOptions::default(), self.cache.as_ref(), &mut |_| {})?;
        let result =
            Kept { latency_s: report.latency_s, energy_j: report.energy_j, tokens: report.tokens.unwrap_or(0) as f64 };
        if let Some(key) = key {
            let plain = |text: String| text.trim_matches('"').to_owned();
            self.keep.keep(
                ordinal,
                Evaluated {
                    key,
                    settings: settings.into_iter().map(|(k, v)| (format!("mapping.{k}"), plain(v))).collect(),
                    model: report.workload.model.clone(),
                    machine: report.machine.name.clone(),
                    result,
                    bound_s: bounded.of(choice).map_or(0.0, |l| l.seconds),
                    wall_s: begun.elapsed().as_secs_f64(),
                },
            );
        }
        Ok(result)
    }

    /// What the result of a plan depends on.
    fn key(&self, experiment: &Experiment, settings: &BTreeMap<String, String>) -> String {
        let said = |text: &str| {
            text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect::<Vec<_>>().join("\n")
        };
        key(&[
            &format!("{:?}", experiment.model),
            &format!("{:?}", experiment.generation),
            &said(&experiment.machine.configuration),
            experiment.mapper,
            &experiment.seed.to_string(),
            &self.space.written,
            &format!("{settings:?}"),
        ])
    }
}
