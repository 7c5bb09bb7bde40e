//! Plans in the order of the bounds that their courses have.
//!
//! The sum of what operators take at least orders plans without listing them, and is loose where refresh comes between operators. So all plans whose sum leaves them a chance are
//! bounded once more, each by its course, and come in the order of these bounds.

use super::lattice::{Candidate, Lattice};
use super::rounds::{AT_ONCE, Rounds};
use super::space::Choice;
use crate::error::Error;

/// Plans that are bounded by their courses at most.
const MOST: usize = 1 << 17;

/// What is left of a space, in order.
pub(super) struct Refined {
    plans: Vec<(f64, Choice)>,
    /// The bound of what was not looked at.
    rest: Option<f64>,
}

impl Refined {
    /// All that may be better than what has been simulated, from the candidate `next` on.
    pub(super) fn new(rounds: &Rounds<'_>, lattice: &mut Lattice<'_>, mut next: Option<Candidate>) -> Self {
        let mut plans: Vec<(f64, Choice)> = Vec::new();
        let mut looked_at = 0;
        while let Some(candidate) = next.take_if(|c| rounds.best.may_be_beaten_by(c.bound, [0.0; 2])) {
            if looked_at == MOST {
                next = Some(candidate);
                break;
            }
            looked_at += 1;
            if !rounds.seen.contains(&candidate.choice) {
                let bound = rounds.bound_of(&candidate.choice).map_or(candidate.bound, |b| b.max(candidate.bound));
                if rounds.best.may_be_beaten_by(bound, [0.0; 2]) {
                    plans.push((bound, candidate.choice));
                }
            }
            next = lattice.next();
        }
        plans.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        Self { plans, rest: next.map(|c| c.bound) }
    }

    /// Simulates them until none that is left may be the best, or the budget is spent.
    pub(super) fn run(&self, rounds: &mut Rounds<'_>) -> Result<(), Error> {
        let mut plans = self.plans.iter();
        loop {
            let mut round = Vec::new();
            while round.len() < AT_ONCE.min(rounds.room(usize::MAX)) {
                let Some((bound, choice)) = plans.next() else { break };
                if !rounds.best.may_be_beaten_by(*bound, [0.0; 2]) {
                    break;
                }
                if rounds.seen.insert(choice.clone()) {
                    round.push(choice.clone());
                }
            }
            if round.is_empty() {
                return Ok(());
            }
            rounds.run(&round)?;
        }
    }

    /// The least bound of a plan that was not simulated and may be better than all that were.
    pub(super) fn left(&self, rounds: &Rounds<'_>) -> Option<f64> {
        let mut plans = self.plans.iter().filter(|(_, choice)| !rounds.seen.contains(choice)).map(|(bound, _)| *bound);
        let least = [plans.next(), self.rest].into_iter().flatten().min_by(f64::total_cmp);
        least.filter(|bound| rounds.best.may_be_beaten_by(*bound, [0.0; 2]))
    }
}
