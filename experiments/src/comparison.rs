//! Experiments side by side: where time, energy and bytes differ, and whether what is concluded depends on what is assumed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use banksia_hw::gpu::LaunchCache;
use banksia_hw::system::RunOptions;
use banksia_input::InputError;
use banksia_reports::RunReport;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::Serialize;

use crate::assumed::{Assumed, assumed};
use crate::error::Error;
use crate::experiment::Experiment;
use crate::run;
use crate::search::Objective;

/// How to compare.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// By what one is better.
    pub objective: Objective,
    /// Vary what is assumed.
    pub sensitivity: bool,
    /// By how much each assumed constant is varied: a share.
    pub spread: f64,
    /// Draws of all assumed constants at once.
    pub draws: u32,
    /// Of the draws.
    pub seed: u64,
    /// Results of launches that are known.
    pub cache: Option<Arc<dyn LaunchCache>>,
}

/// One of the compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// The experiment.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Its strategy.
    pub strategy: String,
    /// Seconds.
    pub latency_s: f64,
    /// Joules.
    pub energy_j: f64,
    /// Generated tokens a second.
    pub tokens_per_s: f64,
    /// Generated tokens a joule.
    pub tokens_per_j: f64,
    /// Watts.
    pub power_w: f64,
    /// Bytes moved, by channel of traffic.
    pub traffic_bytes: BTreeMap<String, u64>,
    /// What it has: peaks, memory, weights, as named figures.
    pub has: BTreeMap<String, String>,
}

/// An operator on each side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperatorSides {
    /// Its name.
    pub name: String,
    /// Seconds on each side; `None` where it does not occur.
    pub latency_s: Vec<Option<f64>>,
    /// Joules on each side.
    pub energy_j: Vec<Option<f64>>,
}

/// An assumed constant, and what the conclusion does when it is varied.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tornado {
    /// Its key.
    pub key: String,
    /// The side whose it is, by its place.
    pub of: usize,
    /// Its value.
    pub value: f64,
    /// By how much the winner leads the next when it is less, and more: their ratio of the objective, above 1 while the winner stays.
    pub lead: [Option<f64>; 2],
}

/// The conclusion under what is assumed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sensitivity {
    /// The share by which each was varied.
    pub spread: f64,
    /// Constants, those that move the lead most first.
    pub tornado: Vec<Tornado>,
    /// Draws of all at once that are legal: of constants that are so by themselves, less and more.
    pub draws: u32,
    /// Draws that are not, and why the first is not.
    pub refused: (u32, Option<String>),
    /// The share of them in which the winner stays.
    pub stays: f64,
    /// The least, median and greatest lead among them.
    pub lead: [f64; 3],
}

/// Experiments side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// By what one is better.
    pub objective: Objective,
    /// The sides, in the order that they were given.
    pub sides: Vec<Side>,
    /// The best, by its place.
    pub winner: usize,
    /// By how much it leads the next: the ratio of the objective.
    pub lead: f64,
    /// In what the sides' work differs, so that a lead is not of the machine or the mapping alone: operations, batch, tokens.
    pub unlike: Vec<String>,
    /// Sides whose energy lacks parts, so that it is more than is said.
    pub energy_lacks: Vec<usize>,
    /// What is the same on all sides.
    pub equal: Vec<String>,
    /// What is not.
    pub unequal: Vec<String>,
    /// Operators, those that differ most first.
    pub operators: Vec<OperatorSides>,
    /// With `sensitivity`.
    pub sensitivity: Option<Sensitivity>,
}

/// Compares experiments; also gives their reports, for figures.
///
/// # Errors
/// There are fewer than two, one cannot be used, or its run fails.
pub fn compare(
    paths: &[PathBuf],
    settings: &[String],
    options: &CompareOptions,
) -> Result<(Comparison, Vec<RunReport>), Error> {
    if paths.len() < 2 {
        let error = InputError::new("compare", format!("is given {} experiment", paths.len()));
        return Err(error.help("give two experiment files or more").into());
    }
    let read = |path: &PathBuf| Experiment::read(path, settings);
    let experiments: Vec<Experiment> = paths.iter().map(read).collect::<Result<_, _>>()?;
    let ran = |e: &Experiment| Ok(run::run_with(e, RunOptions::default(), options.cache.as_ref(), &mut |_| {})?.0);
    let all: Vec<Result<RunReport, Error>> = experiments.par_iter().map(ran).collect();
    // Of several errors the first in the order of the files.
    let reports: Vec<RunReport> = all.into_iter().collect::<Result<_, Error>>()?;
    let values: Vec<f64> = reports.iter().map(|r| value(options.objective, r)).collect();
    let (winner, lead) = winner(&values);
    let sides: Vec<Side> =
        paths.iter().zip(experiments.iter().zip(&reports)).map(|(p, (e, r))| side(p, e, r)).collect();
    let (equal, unequal) = same(&sides);
    let unlike = unlike(&sides, &reports);
    let energy_lacks = (0..reports.len()).filter(|i| reports[*i].lacks_energy()).collect();
    let sensitivity = if options.sensitivity {
        Some(sensitivity(paths, settings, &experiments, &values, winner, options)?)
    } else {
        None
    };
    let operators = operators(&reports);
    Ok((
        Comparison {
            objective: options.objective,
            sides,
            winner,
            lead,
            unlike,
            energy_lacks,
            equal,
            unequal,
            operators,
            sensitivity,
        },
        reports,
    ))
}

fn value(objective: Objective, report: &RunReport) -> f64 {
    objective.of(report.latency_s, report.energy_j, report.tokens.unwrap_or(0) as f64)
}

/// The best, and by how much it leads the next.
fn winner(values: &[f64]) -> (usize, f64) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]).then(a.cmp(b)));
    let best = order.first().copied().unwrap_or(0);
    (best, lead_of(best, values))
}

/// How many times as much the best of the others takes as one of them.
fn lead_of(one: usize, values: &[f64]) -> f64 {
    let own = values.get(one).copied().unwrap_or(f64::NAN);
    let others = values.iter().enumerate().filter(|(i, _)| *i != one).map(|(_, v)| *v);
    others.fold(f64::INFINITY, f64::min) / own.max(f64::MIN_POSITIVE)
}

fn side(path: &Path, experiment: &Experiment, report: &RunReport) -> Side {
    let types = &experiment.model.types;
    let g = &experiment.generation;
    let has = [
        ("model", experiment.model.name.clone()),
        (
            "prompt, context, generated tokens",
            format!("{}, {}, {}", g.prompt_tokens, g.context_tokens, g.generated_tokens),
        ),
        ("batch", g.batch.to_string()),
        ("type of activations", types.activations.name().to_owned()),
        ("type of the cache", types.cache.name().to_owned()),
        ("bytes of weights", report.workload.weight_bytes.to_string()),
        ("operations", format!("{:e}", report.workload.flops)),
        ("machine", report.machine.name.clone()),
        ("strategy", experiment.mapper.to_owned()),
        ("peak operations/s", format!("{:e}", report.machine.peak_flops_per_s)),
        ("peak bytes/s", format!("{:e}", report.machine.peak_bandwidth_bytes_per_s)),
        ("bytes of memory", report.machine.capacity_bytes.to_string()),
    ];
    Side {
        name: report.name.clone(),
        file: path.display().to_string(),
        strategy: experiment.mapper.to_owned(),
        latency_s: report.latency_s,
        energy_j: report.energy_j,
        tokens_per_s: report.tokens_per_s.unwrap_or(0.0),
        tokens_per_j: if report.energy_j > 0.0 { report.tokens.unwrap_or(0) as f64 / report.energy_j } else { 0.0 },
        power_w: report.power_w,
        traffic_bytes: report.traffic_bytes.clone(),
        has: has.map(|(k, v)| (k.to_owned(), v)).into(),
    }
}

/// Operations that mappings of the same work may differ by: padding, a vocabulary that is left out of a prompt.
const LIKE: f64 = 0.02;

/// In what the sides' work differs.
fn unlike(sides: &[Side], reports: &[RunReport]) -> Vec<String> {
    let differs = |key: &str| {
        let mut of = sides.iter().map(|s| s.has.get(key));
        let first = of.next();
        of.any(|other| Some(other) != first)
    };
    let keys = ["batch", "prompt, context, generated tokens"];
    let mut unlike: Vec<String> = keys.into_iter().filter(|key| differs(key)).map(str::to_owned).collect();
    let flops = || reports.iter().map(|r| r.workload.flops);
    let (least, most) = (flops().fold(f64::INFINITY, f64::min), flops().fold(0.0, f64::max));
    if most > least * (1.0 + LIKE) {
        unlike.push(format!("operations, by {:.2} times", most / least.max(f64::MIN_POSITIVE)));
    }
    unlike
}

/// What is the same on all sides, and what is not.
fn same(sides: &[Side]) -> (Vec<String>, Vec<String>) {
    let (mut equal, mut unequal) = (Vec::new(), Vec::new());
    let Some(first) = sides.first() else { return (equal, unequal) };
    for (key, value) in &first.has {
        let of = |s: &Side| s.has.get(key).cloned().unwrap_or_default();
        if sides.iter().all(|s| of(s) == *value) {
            equal.push(format!("{key} {value}"));
        } else {
            unequal.push(format!("{key}: {}", sides.iter().map(of).collect::<Vec<_>>().join(" | ")));
        }
    }
    (equal, unequal)
}

fn operators(reports: &[RunReport]) -> Vec<OperatorSides> {
    let mut names: Vec<&str> = Vec::new();
    for operator in reports.iter().flat_map(|r| &r.operators) {
        if !names.contains(&operator.name.as_str()) {
            names.push(&operator.name);
        }
    }
    let of = |name: &&str| {
        let find = |r: &RunReport| r.operators.iter().find(|o| o.name == **name).map(|o| (o.latency_s, o.energy_j));
        let found: Vec<Option<(f64, f64)>> = reports.iter().map(find).collect();
        OperatorSides {
            name: (*name).to_owned(),
            latency_s: found.iter().map(|f| f.map(|f| f.0)).collect(),
            energy_j: found.iter().map(|f| f.map(|f| f.1)).collect(),
        }
    };
    let mut all: Vec<OperatorSides> = names.iter().map(of).collect();
    let spread = |o: &OperatorSides| {
        let of = o.latency_s.iter().map(|l| l.unwrap_or(0.0));
        of.clone().fold(0.0, f64::max) - of.fold(f64::INFINITY, f64::min)
    };
    all.sort_by(|a, b| spread(b).total_cmp(&spread(a)));
    all
}

/// Every assumed constant by itself, then all of them by chance. One that several sides share moves them together.
fn sensitivity(
    paths: &[PathBuf],
    settings: &[String],
    experiments: &[Experiment],
    values: &[f64],
    winner: usize,
    options: &CompareOptions,
) -> Result<Sensitivity, Error> {
    let constants: Vec<Vec<Assumed>> = experiments.iter().map(|e| assumed(&e.configuration)).collect();
    let with = |side: usize, changes: &[String]| -> Result<f64, String> {
        let all: Vec<String> = settings.iter().chain(changes).cloned().collect();
        let path = paths.get(side).ok_or_else(String::new)?;
        let experiment = Experiment::read(path, &all).map_err(|e| e.to_string())?;
        let ran = run::run_with(&experiment, RunOptions::default(), options.cache.as_ref(), &mut |_| {});
        Ok(value(options.objective, &ran.map_err(|e| e.to_string())?.0))
    };
    // Of equal machines a constant is one.
    let machine = |side: usize| experiments.get(side).map_or("", |e| e.machine.name.as_str());
    let shared = |of: usize, side: usize, constant: &Assumed| {
        side == of || (machine(side) == machine(of) && constants.get(side).is_some_and(|c| c.contains(constant)))
    };
    let mut single: Vec<(usize, &Assumed)> = Vec::new();
    for (side, own) in constants.iter().enumerate() {
        single.extend(own.iter().filter(|c| !(0..side).any(|s| shared(side, s, c))).map(|c| (side, c)));
    }
    let lead = |of: usize, constant: &Assumed, factor: f64| -> Option<f64> {
        let mut moved = values.to_vec();
        for (side, value) in moved.iter_mut().enumerate().filter(|(side, _)| shared(of, *side, constant)) {
            *value = with(side, &[constant.times(factor)]).ok()?;
        }
        Some(lead_of(winner, &moved))
    };
    let mut tornado: Vec<Tornado> = single
        .par_iter()
        .map(|(of, constant)| {
            let both = [1.0 - options.spread, 1.0 + options.spread].map(|factor| lead(*of, constant, factor));
            Tornado { key: constant.key.clone(), of: *of, value: constant.value, lead: both }
        })
        .collect();
    let now = lead_of(winner, values);
    let moves = |t: &Tornado| t.lead.iter().flatten().map(|l| (l - now).abs()).fold(0.0, f64::max);
    tornado.sort_by(|a, b| moves(b).total_cmp(&moves(a)).then_with(|| a.key.cmp(&b.key)));
    let legal: Vec<(usize, &Assumed)> = single
        .iter()
        .filter(|(of, c)| tornado.iter().any(|t| t.key == c.key && t.of == *of && t.lead.iter().all(Option::is_some)))
        .copied()
        .collect();
    let draw = |number: u32| -> Result<f64, String> {
        let mut random = Pcg64::seed_from_u64(options.seed.wrapping_mul(0x9e37_79b9).wrapping_add(u64::from(number)));
        let range = 1.0 - options.spread..=1.0 + options.spread;
        let factors: Vec<f64> = legal.iter().map(|_| random.random_range(range.clone())).collect();
        let mut moved = Vec::with_capacity(paths.len());
        for side in 0..paths.len() {
            let changes = legal.iter().zip(&factors).filter(|((of, c), _)| shared(*of, side, c));
            let changes: Vec<String> = changes.map(|((_, c), factor)| c.times(*factor)).collect();
            moved.push(with(side, &changes)?);
        }
        Ok(lead_of(winner, &moved))
    };
    let drawn: Vec<Result<f64, String>> = (0..options.draws).into_par_iter().map(draw).collect();
    let first = drawn.iter().find_map(|d| d.as_ref().err().cloned());
    let refused = (drawn.iter().filter(|d| d.is_err()).count() as u32, first);
    let mut leads: Vec<f64> = drawn.into_iter().flatten().collect();
    leads.sort_by(f64::total_cmp);
    let stays = leads.iter().filter(|l| **l >= 1.0).count() as f64 / leads.len().max(1) as f64;
    let at = |place: usize| leads.get(place).copied().unwrap_or(f64::NAN);
    let lead = [at(0), at(leads.len() / 2), at(leads.len().saturating_sub(1))];
    let draws = u32::try_from(leads.len()).unwrap_or(u32::MAX);
    Ok(Sensitivity { spread: options.spread, tornado, draws, refused, stays, lead })
}
