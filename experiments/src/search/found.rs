//! What a search found, and why it found nothing.

use std::collections::BTreeMap;
use std::path::Path;

use banksia_input::InputError;
use banksia_mappers::Knob;
use serde::Serialize;

use super::objective::Objective;
use super::options::Ranked;
use super::space::inline;
use super::why::Why;
use crate::error::Error;

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
    /// Plans that were simulated, or whose results a store had.
    pub simulated: u64,
    /// Of these, what a store had.
    pub taken: u64,
    /// Operators that were simulated for them, where settings share them.
    pub operators: u64,
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
    /// The constraint that the plan as the experiment writes it breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_breaks: Option<String>,
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

pub(super) fn open(knob: &Knob) -> Open {
    let values = knob.values.iter().map(inline).collect();
    Open { key: knob.key.clone(), meaning: knob.meaning.to_owned(), values }
}

/// No plan is legal: what each broke.
pub(super) fn no_legal(path: &Path, refused: &BTreeMap<String, u64>) -> Error {
    let reasons: Vec<String> = refused.iter().map(|(reason, n)| format!("{n} plans: {reason}")).collect();
    let error = InputError::new(path.display().to_string(), format!("no mapping is legal: {}", reasons.join("; ")));
    error.help("change the workload or the machine as the constraint says, or leave out what [mapping] pins").into()
}
