//! The best mapping of an experiment: its mapper's space, bounded and simulated.
//!
//! A plan is a value for every [`Knob`] that the experiment leaves open. Each has a lower bound; plans are simulated in the order of their bounds,
//! and the search ends when no plan that is left can be better than the best that was simulated: that one is then the optimum, with proof. It
//! also ends when its budget is spent; the gap to the least bound that is left says how much better the optimum may be.
//!
//! Knobs that change one operator alone are bounded one by one (`space`), and their combinations are made in the order of the sum
//! (`lattice`), so that spaces of millions of plans are never listed. The order depends on nothing but the experiment, the objective and the seed, not on
//! the number of threads.

pub mod bound;
mod evaluate;
mod lattice;
mod objective;
mod options;
mod space;
mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use banksia_input::InputError;
use banksia_mappers::Knob;
use serde::Serialize;

use crate::error::Error;
use evaluate::Evaluator;
use lattice::Lattice;
pub use objective::Objective;
use options::gap;
pub use options::{Ranked, SearchOptions};
use space::Bounded;
pub use why::Why;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The experiment.
    pub experiment: String,
    /// The machine.
    pub machine: String,
    /// The strategy.
    pub strategy: String,
    /// What is best.
    pub objective: Objective,
    /// Of the order of plans whose bounds are equal.
    pub seed: u64,
    /// What was open.
    pub space: Vec<Open>,
    /// What the experiment pins.
    pub pinned: Vec<String>,
    /// Plans of the space.
    pub plans: f64,
    /// Plans that were simulated.
    pub simulated: u64,
    /// Plans that are not legal, by what they break.
    pub refused: BTreeMap<String, u64>,
    /// No plan is better than this: of the objective.
    pub bound: f64,
    /// How far the best may be from the optimum: a share of the bound.
    pub gap: f64,
    /// Nothing that was left out can be better, but for values that are not legal while all else is as written: those are not tried.
    pub proved: bool,
    /// Bounds that a simulation fell below: none, if they hold.
    pub broken_bounds: u64,
    /// The plan as the experiment writes it.
    pub written: Option<Ranked>,
    /// Plans, the best first.
    pub ranking: Vec<Ranked>,
    /// For each choice, what excluded the others.
    pub why: Vec<Why>,
    /// The best as a table to write into an experiment.
    pub mapping: String,
}

/// A choice that is open.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Open {
    /// The key below `[mapping]`.
    pub key: String,
    /// What it decides.
    pub meaning: String,
    /// Its values.
    pub values: Vec<String>,
}

/// Plans simulated between two looks at the bounds: a number of its own, so that the result does not depend on the number of threads.
const AT_ONCE: usize = 8;

/// Searches for the best mapping of an experiment. `progress` is told how many plans have been simulated.
///
/// # Errors
/// The experiment cannot be read, no plan is legal, or a plan that is fails to run.
pub fn search(
    path: &Path,
    settings: &[String],
    options: &SearchOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Found, Error> {
    let problem = space::Space::read(path, settings)?;
    let evaluator = Evaluator::new(path, settings, &problem, options)?;
    let bounded = Bounded::new(path, settings, &problem)?;
    let mut lattice = Lattice::new(&bounded, options.objective, options.seed);
    let written = evaluator.run(&[problem.written()], &bounded, progress)?;
    let written = written.into_iter().next().and_then(Result::ok);
    let mut best = written.as_ref().map_or(f64::INFINITY, |w| w.value);
    let mut seen: BTreeSet<Vec<Option<usize>>> = [problem.written()].into();
    let mut refused = bounded.refused.clone();
    let mut done: Vec<evaluate::Simulated> = Vec::new();
    let mut next = lattice.next();
    loop {
        let mut round = Vec::new();
        while let Some(candidate) = &next
            && round.len() < AT_ONCE
            && (done.len() + round.len()) < usize::try_from(options.budget).unwrap_or(usize::MAX)
            && (options.exhaustive || candidate.bound < best)
        {
            if seen.insert(candidate.choice.clone()) {
                round.push(candidate.choice.clone());
            }
            next = lattice.next();
        }
        if round.is_empty() {
            break;
        }
        for result in evaluator.run(&round, &bounded, progress)? {
            match result {
                Ok(simulated) => {
                    best = best.min(simulated.value);
                    done.push(simulated);
                }
                Err(reason) => *refused.entry(reason).or_insert(0) += 1,
            }
        }
    }
    // What is left has at least the bound of the next; what was refused or simulated is no more.
    let left = next.as_ref().map(|c| c.bound);
    done.extend(written.clone().filter(|w| !done.iter().any(|d| d.choice == w.choice)));
    if done.is_empty() {
        return Err(no_legal(path, &refused));
    }
    done.sort_by(|a, b| a.value.total_cmp(&b.value).then_with(|| a.choice.cmp(&b.choice)));
    let value = done.first().map_or(0.0, |d| d.value);
    let bound = left.map_or(value, |b| b.min(value));
    let proved = left.is_none_or(|b| b >= value);
    let ranked = |(place, s): (usize, &evaluate::Simulated)| s.ranked(place as u64 + 1, &problem, bound, &done);
    let ranking: Vec<Ranked> = done.iter().enumerate().map(ranked).collect();
    let written = written.and_then(|w| ranking.iter().find(|r| r.settings == problem.settings(&w.choice)).cloned());
    let best_choice = done.first().map(|d| d.choice.clone()).unwrap_or_default();
    Ok(Found {
        experiment: problem.name.clone(),
        machine: problem.machine.clone(),
        strategy: problem.strategy.clone(),
        objective: options.objective,
        seed: options.seed,
        space: problem.knobs.iter().map(open).collect(),
        pinned: problem.pinned.clone(),
        plans: space::Space::plans(&bounded),
        simulated: evaluator.simulated(),
        refused,
        bound,
        gap: gap(value, bound),
        proved,
        broken_bounds: done.iter().filter(|d| d.bound_s > d.latency_s).count() as u64,
        written,
        why: why::why(&problem, &bounded, options.objective, &done),
        mapping: problem.mapping(&best_choice),
        ranking,
    })
}

fn open(knob: &Knob) -> Open {
    let values = knob.values.iter().map(space::inline).collect();
    Open { key: knob.key.clone(), meaning: knob.meaning.to_owned(), values }
}

/// No plan is legal: what each broke.
fn no_legal(path: &Path, refused: &BTreeMap<String, u64>) -> Error {
    let reasons: Vec<String> = refused.iter().map(|(reason, n)| format!("{n} plans: {reason}")).collect();
    let error = InputError::new(path.display().to_string(), format!("no mapping is legal: {}", reasons.join("; ")));
    error.help("change the workload or the machine as the constraint says, or leave out what [mapping] pins").into()
}
