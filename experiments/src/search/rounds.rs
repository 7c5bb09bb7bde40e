//! Plans, round by round: what has been simulated, what is best, and what is left of the budget.

use std::collections::{BTreeMap, BTreeSet};

use super::evaluate::{Evaluator, Simulated};
use super::objective::{Best, Objective};
use super::space::{Bounded, Choice};
use crate::error::Error;

/// Plans simulated between two looks at what has been found: a number of its own, so that the result does not depend on the number of threads.
pub(super) const AT_ONCE: usize = 8;

/// What a search has done so far.
pub(super) struct Rounds<'a> {
    evaluator: &'a Evaluator<'a>,
    pub(super) bounded: &'a Bounded,
    progress: &'a (dyn Fn(u64) + Sync),
    pub(super) objective: Objective,
    pub(super) best: Best,
    pub(super) seen: BTreeSet<Choice>,
    /// Plans that are not legal, by the constraint that they break.
    pub(super) refused: BTreeMap<String, u64>,
    /// Plans that were simulated, in their order; the one that the experiment writes is not among them.
    pub(super) done: Vec<Simulated>,
    /// The plan that the experiment writes, where it is legal.
    pub(super) written: Option<Simulated>,
    /// Else the constraint that it breaks.
    pub(super) written_breaks: Option<String>,
    /// Most plans.
    budget: usize,
}

impl<'a> Rounds<'a> {
    pub(super) fn new(
        evaluator: &'a Evaluator<'a>,
        bounded: &'a Bounded,
        objective: Objective,
        budget: u64,
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> Self {
        Self {
            evaluator,
            bounded,
            progress,
            objective,
            best: Best::new(objective),
            seen: BTreeSet::new(),
            refused: bounded.refused.clone(),
            done: Vec::new(),
            written: None,
            written_breaks: None,
            budget: usize::try_from(budget).unwrap_or(usize::MAX),
        }
    }

    /// Simulates the plan that the experiment writes, beside the budget.
    pub(super) fn write(&mut self, choice: Choice) -> Result<(), Error> {
        self.seen.insert(choice.clone());
        let written = self.evaluator.run(&[choice], self.bounded, self.progress)?;
        match written.into_iter().next() {
            Some(Ok(written)) => self.written = Some(written),
            Some(Err(reason)) => self.written_breaks = Some(reason),
            None => {}
        }
        if let Some(w) = &self.written {
            self.best.take(w.value, [w.latency_s, w.energy_j]);
        }
        Ok(())
    }

    /// The value of a plan that was simulated.
    pub(super) fn value_of(&self, choice: &Choice) -> Option<f64> {
        self.done.iter().chain(&self.written).find(|d| d.choice == *choice).map(|d| d.value)
    }

    /// Plans that the budget has room for, until so many have been simulated.
    pub(super) fn room(&self, until: usize) -> usize {
        until.min(self.budget).saturating_sub(self.done.len())
    }

    /// Simulates a round; of each plan its value, where it is legal.
    pub(super) fn run(&mut self, round: &[Choice]) -> Result<Vec<Option<f64>>, Error> {
        let mut values = Vec::with_capacity(round.len());
        for result in self.evaluator.run(round, self.bounded, self.progress)? {
            match result {
                Ok(simulated) => {
                    self.best.take(simulated.value, [simulated.latency_s, simulated.energy_j]);
                    values.push(Some(simulated.value));
                    self.done.push(simulated);
                }
                Err(reason) => {
                    *self.refused.entry(reason).or_insert(0) += 1;
                    values.push(None);
                }
            }
        }
        Ok(values)
    }

    /// Whether a plan is legal as far as is known and its bound leaves it a chance to be better than all that were simulated.
    pub(super) fn may_be_best(&self, choice: &Choice) -> bool {
        let Some(least) = self.bounded.of(choice) else { return false };
        let bound = self.objective.of(least.seconds, least.joules, self.bounded.tokens);
        self.best.may_be_beaten_by(bound, [least.seconds, least.joules])
    }

    /// The bound of a plan, in the objective.
    pub(super) fn bound_of(&self, choice: &Choice) -> Option<f64> {
        let least = self.bounded.of(choice)?;
        Some(self.objective.of(least.seconds, least.joules, self.bounded.tokens))
    }
}
