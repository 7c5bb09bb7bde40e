//! The best mapping of an experiment: its mapper's space, bounded and simulated.
//!
//! A plan is a value for every [`banksia_mappers::space::Knob`] that the experiment leaves open. Each has a lower bound; plans are simulated in the order of their bounds,
//! and the search ends when no plan that is left can be better than the best that was simulated: that one is then the optimum, with proof. It
//! also ends when its budget is spent; the gap to the least bound that is left says how much better the optimum may be.
//!
//! Knobs that change one operator alone are bounded one by one (`space`), and their combinations are made in the order of the sum
//! (`lattice`), so that spaces of millions of plans are never listed. The order depends on nothing but the experiment, the objective and the seed, not on
//! the number of threads.

pub mod bound;
mod evaluate;
mod found;
mod keep;
mod lattice;
mod objective;
mod options;
mod parallel;
mod space;
mod why;

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::Error;
use crate::experiment::Experiment;
use crate::training::trains;
use evaluate::Evaluator;
pub use found::{Found, Open};
use found::{no_legal, open};
use lattice::Lattice;
use objective::Best;
pub use objective::Objective;
use options::gap;
pub use options::{Ranked, SearchOptions};
use space::Bounded;
pub use why::Why;

/// Plans simulated between two looks at the bounds: a number of its own, so that the result does not depend on the number of threads.
const AT_ONCE: usize = 8;

/// Plans that may be passed by one by one where bounds do not come in the order in which plans are excluded.
const MOST_PASSED: u64 = 1 << 18;

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
    let source = Experiment::source(path)?.with_settings(settings)?;
    if trains(&source) {
        return parallel::search(path, &source, settings, options, progress);
    }
    let problem = space::Space::read(path, settings)?;
    let evaluator = Evaluator::new(path, settings, &problem, options)?;
    let bounded = Bounded::new(path, settings, &problem)?;
    let mut lattice = Lattice::new(&bounded, options.objective, options.seed);
    let written = evaluator.run(&[problem.written()], &bounded, progress)?;
    let written = written.into_iter().next().and_then(Result::ok);
    let mut best = Best::new(options.objective);
    if let Some(w) = &written {
        best.take(w.value, [w.latency_s, w.energy_j]);
    }
    let open_still = |best: &Best, candidate: &lattice::Candidate| {
        let least = bounded.of(&candidate.choice).unwrap_or_default();
        options.exhaustive || best.may_be_beaten_by(candidate.bound, [least.seconds, least.joules])
    };
    // Plans that were passed by since another beats their bound in every objective.
    let mut passed = 0_u64;
    let mut seen: BTreeSet<Vec<Option<usize>>> = [problem.written()].into();
    let mut refused = bounded.refused.clone();
    let mut done: Vec<evaluate::Simulated> = Vec::new();
    let mut next = lattice.next();
    loop {
        let mut round = Vec::new();
        while let Some(candidate) = &next
            && round.len() < AT_ONCE
            && (done.len() + round.len()) < usize::try_from(options.budget).unwrap_or(usize::MAX)
            && passed < MOST_PASSED
        {
            if !open_still(&best, candidate) {
                if best.is_ordered() {
                    break;
                }
                passed += 1;
            } else if seen.insert(candidate.choice.clone()) {
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
                    best.take(simulated.value, [simulated.latency_s, simulated.energy_j]);
                    done.push(simulated);
                }
                Err(reason) => *refused.entry(reason).or_insert(0) += 1,
            }
        }
    }
    // What is left has at least the bound of the next; what was refused or simulated is no more.
    let left = next.as_ref().map(|c| c.bound);
    let left_open = next.as_ref().is_some_and(|c| !best.is_ordered() || open_still(&best, c));
    done.extend(written.clone().filter(|w| !done.iter().any(|d| d.choice == w.choice)));
    if done.is_empty() {
        return Err(no_legal(path, &refused));
    }
    done.sort_by(|a, b| a.value.total_cmp(&b.value).then_with(|| a.choice.cmp(&b.choice)));
    let value = done.first().map_or(0.0, |d| d.value);
    let proved = !left_open;
    let bound = left.filter(|_| left_open).map_or(value, |b| b.min(value));
    let ranked = |(place, s): (usize, &evaluate::Simulated)| s.ranked(place as u64 + 1, &problem, bound, &done);
    let ranking: Vec<Ranked> = done.iter().enumerate().map(ranked).collect();
    let written = written.and_then(|w| ranking.iter().find(|r| r.settings == problem.settings(&w.choice)).cloned());
    let best_choice = done.first().map(|d| d.choice.clone()).unwrap_or_default();
    let (simulated, taken) = (evaluator.simulated(), evaluator.taken());
    evaluator.close()?;
    Ok(Found {
        experiment: problem.name.clone(),
        machine: problem.machine.clone(),
        strategy: problem.strategy.clone(),
        objective: options.objective,
        seed: options.seed,
        space: problem.knobs.iter().map(open).collect(),
        pinned: problem.pinned.clone(),
        plans: space::Space::plans(&bounded),
        simulated,
        taken,
        operators: 0,
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
