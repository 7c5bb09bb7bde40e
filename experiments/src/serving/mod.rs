//! Experiments that serve requests: a load, an engine that forms steps of it, and a machine that runs these.
//!
//! ```toml
//! [machine]
//! base = "h200"
//!
//! [workload]
//! model = "llama3.1-8b"
//!
//! [serving]
//! requests = 200
//! rate_per_s = 8.0             # or concurrency = 16, or trace = "requests.csv"
//! prompt_tokens = 1024
//! output_tokens = 256
//!
//! [serving.engine]
//! token_budget = 8192
//!
//! [serving.limits]
//! ttft_ms = 500.0
//! tpot_ms = 20.0
//! ```
//!
//! The engine forms every step of the load ([`load`]). A step's time and energy lie between those of steps that the machine runs (`steps`): that is sampled, and the report says of
//! how many.

mod draw;
mod engine;
mod file;
pub mod load;
mod report;
mod settings;
mod steps;

use std::sync::Arc;

use banksia_hw::gpu::LaunchCache;
use banksia_hw::system::RunOptions;
use banksia_reports::RunReport;

pub(crate) use file::ServingFile;
pub(crate) use settings::Load;

use crate::error::Error;
use crate::experiment::Experiment;

/// Serves an experiment's load. `progress` is called with the steps that have been simulated.
///
/// # Errors
/// A request has no room, or the machine cannot run a step.
pub(crate) fn run(
    experiment: &Experiment,
    load: &Load,
    options: RunOptions,
    cache: Option<&Arc<dyn LaunchCache>>,
    progress: &mut dyn FnMut(u64),
) -> Result<RunReport, Error> {
    let engine = engine::engine(load, experiment)?;
    let timeline = options.timeline_step.is_some();
    let options = RunOptions { timeline_step: None, ..options };
    let mut steps = steps::Simulated::new(experiment, load, options, cache, progress);
    let served = load::serve(&load.lengths, load.arrivals(), engine, &mut steps)
        .map_err(|problem| load.source.error("serving", format!("cannot be served: {problem}")))?;
    Ok(report::report(experiment, load, &served, &steps, timeline))
}
