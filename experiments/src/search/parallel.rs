//! The best way to spread a training step over its devices.
//!
//! Every setting is bounded from what settings have in common. The one of the least bound is looked at first: operators of it that are still at the
//! device's peak in the bound are simulated, which raises it; when none is left, the step is simulated. So an operator is only simulated where
//! a setting needs it that may be the best, and the end is as of every search: no bound that is left is below the best.

mod problem;
mod ranking;
mod walk;

use std::path::Path;

use banksia_input::Source;
use banksia_mappers::parallel::experiment::Setup;

use super::found::{Found, no_legal};
use super::keep::Keep;
use super::options::SearchOptions;
use crate::error::Error;
use crate::experiment::Experiment;

/// Searches for the best setting of a training experiment. Keys that `--set` gives stay as they are.
pub(super) fn search(
    path: &Path,
    source: &Source,
    settings: &[String],
    options: &SearchOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Found, Error> {
    let experiment = Experiment::read(path, settings)?;
    let setup = Setup::read(source, &experiment.model)?;
    if !setup.groups.is_empty() {
        let error = source.error("groups", "say by themselves how sequences are cut: there is nothing to search");
        return Err(error.help("leave groups out").into());
    }
    let said: Vec<&str> = settings.iter().filter_map(|s| Some(s.split_once('=')?.0.trim())).collect();
    let problem = problem::Problem::new(setup, &experiment.model.name, &|key| said.contains(&key));
    if problem.points.is_empty() {
        return Err(no_legal(path, &problem.refused));
    }
    let keys = problem.settings.knobs().into_iter().map(|k| k.key).collect();
    let keep = Keep::open(options, path, &experiment.name, keys)?;
    let walked = walk::walk(&problem, options, &keep, progress)?;
    keep.close()?;
    ranking::found(&experiment, &problem, options, &said, walked)
}
