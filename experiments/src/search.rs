//! The best mapping of an experiment: its mapper's space, bounded and simulated.
//!
//! A plan is a value for every [`banksia_mappers::space::Knob`] that the experiment leaves open. Each has a lower bound; plans are simulated in the order of their bounds,
//! and the search ends when no plan that is left can be better than the best that was simulated: that one is then the optimum, with proof. It
//! also ends when its budget is spent; the gap to the least bound that is left says how much better the optimum may be.
//!
//! Knobs that change one operator alone are bounded one by one (`space`), and their combinations are made in the order of the sum
//! (`lattice`), so that spaces of millions of plans are never listed. The order depends on nothing but the experiment, the objective and the seed, not on
//! the number of threads.

mod added;
pub mod bound;
mod evaluate;
mod found;
mod interrupted;
mod keep;
mod lattice;
mod local;
mod objective;
mod options;
mod parallel;
mod path;
mod queue;
mod refined;
mod rounds;
mod space;
mod why;

use std::path::Path;

use banksia_input::InputError;

use crate::error::Error;
use crate::experiment::Experiment;
use crate::published;
use crate::training::trains;
use evaluate::Evaluator;
pub use found::{Found, Open};
use found::{no_legal, open};
use lattice::Lattice;
pub use objective::Objective;
use options::gap;
pub use options::{Ranked, SearchOptions};
use refined::Refined;
use rounds::Rounds;
use space::Bounded;
pub use why::Why;

/// Plans that may be passed by one by one where bounds do not come in the order in which plans are excluded.
const MOST_PASSED: u64 = 1 << 18;

/// Plans of a space for which local search is tried before all are gone through in order.
const LARGE: f64 = 4096.0;
/// Plans of such a space that come first in the order of their bounds, and those that local search then has at most.
const FIRST: usize = 16;
const AROUND: usize = 112;

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
    if published::is_published(&source) {
        let error =
            source.error("published", "is priced by the rules of its own simulator: there is no mapping to search");
        return Err(error.help("`banksia run` prices it, and `banksia compare` sets it beside machines").into());
    }
    let problem = space::Space::read(path, settings)?;
    let evaluator = Evaluator::new(path, settings, &problem, options)?;
    let bounded = Bounded::new(path, settings, &problem)?;
    let plans = space::Space::plans(&bounded);
    let mut lattice = Lattice::new(&bounded, options.objective, options.seed);
    let mut rounds = Rounds::new(&evaluator, &bounded, options.objective, options.budget, progress);
    rounds.write(problem.written())?;
    let mut next = lattice.next();
    // Of a large space some in the order of their bounds, then local search, then the others in their order again. When each begins depends on nothing
    // but the space, so that a search with a larger budget begins as one with a smaller does.
    // Where plans are bounded as a whole their bounds are far off and many are equal, so that their order says little: local search comes first.
    let coarse = bounded.branches.iter().all(|b| b.inner.is_empty());
    if options.local || (plans > LARGE || coarse) && !options.exhaustive {
        if !options.local && !coarse {
            ordered(&mut rounds, &mut lattice, &mut next, FIRST, false)?;
        }
        let best = rounds.done.iter().min_by(|a, b| a.value.total_cmp(&b.value)).map(|d| d.choice.clone());
        let first = best.or_else(|| next.as_ref().filter(|_| !coarse).map(|c| c.choice.clone()));
        let until = if options.local { usize::MAX } else { FIRST + AROUND };
        local::search(&mut rounds, &problem, first, options.seed, until)?;
    }
    // The least bound of what is left, where something may still be better.
    let left = if bounded.has_courses() && rounds.best.is_ordered() && !options.exhaustive {
        let refined = Refined::new(&rounds, &mut lattice, next);
        if !options.local {
            refined.run(&mut rounds)?;
        }
        refined.left(&rounds)
    } else {
        if !options.local {
            ordered(&mut rounds, &mut lattice, &mut next, usize::MAX, options.exhaustive)?;
        }
        let is_open = |c: &lattice::Candidate| !rounds.best.is_ordered() || may_be_best(&rounds, c);
        next.filter(is_open).map(|c| c.bound)
    };
    let Rounds { refused, mut done, written, written_breaks, .. } = rounds;
    done.extend(written.clone().filter(|w| !done.iter().any(|d| d.choice == w.choice)));
    if done.is_empty() {
        // Where what `[mapping]` pins is wrong, the experiment's own error says what would be right.
        let own = Experiment::read(path, settings).err();
        let of_mapping = |key: &str| key == "mapping" || key.starts_with("mapping.");
        let alone = |e: &InputError| {
            e.key.as_deref().is_some_and(of_mapping) && refused.len() == 1 && refused.contains_key(&space::reason(e))
        };
        return Err(own.filter(alone).map_or_else(|| no_legal(path, &refused), Error::from));
    }
    done.sort_by(|a, b| a.value.total_cmp(&b.value).then_with(|| a.choice.cmp(&b.choice)));
    let value = done.first().map_or(0.0, |d| d.value);
    let broken_bounds = done.iter().filter(|d| d.is_below_its_bound(&bounded, options.objective)).count() as u64;
    // A bound that does not hold may have excluded the best.
    let proved = left.is_none() && !options.local && (broken_bounds == 0 || options.exhaustive);
    let bound = left.map_or(value, |b| b.min(value));
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
        plans,
        simulated,
        taken,
        operators: 0,
        refused,
        bound,
        gap: gap(value, bound),
        proved,
        broken_bounds,
        written,
        written_breaks,
        why: why::why(&problem, &bounded, options.objective, &done, proved),
        mapping: problem.mapping(&best_choice),
        ranking,
    })
}

/// Whether the plans from a candidate on may be better than all that were simulated.
fn may_be_best(rounds: &Rounds<'_>, candidate: &lattice::Candidate) -> bool {
    let least = rounds.bounded.of(&candidate.choice).unwrap_or_default();
    rounds.best.may_be_beaten_by(candidate.bound, [least.seconds, least.joules])
}

/// Simulates plans from `next` on in the order of their bounds, until so many have been, or none that is left can be the best.
fn ordered(
    rounds: &mut Rounds<'_>,
    lattice: &mut Lattice<'_>,
    next: &mut Option<lattice::Candidate>,
    until: usize,
    exhaustive: bool,
) -> Result<(), Error> {
    // Plans that were passed by since another beats their bound in every objective.
    let mut passed = 0_u64;
    loop {
        let mut round = Vec::new();
        while let Some(candidate) = next.as_ref()
            && round.len() < rounds::AT_ONCE.min(rounds.room(until))
            && passed < MOST_PASSED
        {
            if !exhaustive && !may_be_best(rounds, candidate) {
                if rounds.best.is_ordered() {
                    break;
                }
                passed += 1;
            } else if rounds.seen.insert(candidate.choice.clone()) {
                round.push(candidate.choice.clone());
            }
            *next = lattice.next();
        }
        if round.is_empty() {
            return Ok(());
        }
        rounds.run(&round)?;
    }
}
