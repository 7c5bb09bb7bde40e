//! Why the best is the best: for each choice, what excluded the others.

use serde::Serialize;

use super::evaluate::Simulated;
use super::objective::Objective;
use super::space::{Bounded, Space, inline};

/// One choice of the best plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Why {
    /// The key below `[mapping]`.
    pub key: String,
    /// What it decides.
    pub meaning: String,
    /// The value of the best plan; `None` where the experiment's own stands.
    pub chosen: Option<String>,
    /// The others, the nearest first.
    pub others: Vec<Other>,
}

/// A value that was not chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Other {
    /// The value.
    pub value: String,
    /// What excluded it: `simulated` (a plan with it was, and is no better), `bound` (none with it can be better), `illegal` (no plan with it),
    /// or `open` (the budget was spent before).
    pub excluded_by: &'static str,
    /// What a plan with it loses at least, of the best: a share; by simulation of the best that was, or by its bound.
    pub loses: Option<f64>,
}

/// Why, of plans that were simulated, the best first; `proved` where nothing that was left out can be better.
pub(super) fn why(
    space: &Space,
    bounded: &Bounded,
    objective: Objective,
    done: &[Simulated],
    proved: bool,
) -> Vec<Why> {
    let Some(best) = done.first() else { return Vec::new() };
    let of_knob = |(number, knob): (usize, &banksia_mappers::Knob)| {
        let chosen = best.choice.get(number).copied().flatten();
        let others = (0..knob.values.len()).filter(|v| Some(*v) != chosen).map(|value| {
            let with = done.iter().find(|d| d.choice.get(number).copied().flatten() == Some(value));
            let bound = bounded.of_value(number, value).map(|l| objective.of(l.seconds, l.joules, best.tokens));
            let loss = |value: f64| (value - best.value) / best.value.max(f64::MIN_POSITIVE);
            let (excluded_by, loses) = match (with, bound) {
                (Some(simulated), _) => ("simulated", Some(loss(simulated.value))),
                (None, Some(bound)) if bound >= best.value => ("bound", Some(loss(bound))),
                // By the bounds of its plans one by one, which are nearer than that of all of them.
                (None, Some(_)) if proved => ("bound", None),
                (None, Some(_)) => ("open", None),
                (None, None) => ("illegal", None),
            };
            Other { value: knob.values.get(value).map(inline).unwrap_or_default(), excluded_by, loses }
        });
        let mut others: Vec<Other> = others.collect();
        others.sort_by(|a, b| a.loses.unwrap_or(f64::INFINITY).total_cmp(&b.loses.unwrap_or(f64::INFINITY)));
        Why {
            key: knob.key.clone(),
            meaning: knob.meaning.to_owned(),
            chosen: chosen.and_then(|v| knob.values.get(v)).map(inline),
            others,
        }
    };
    space.knobs.iter().enumerate().map(of_knob).collect()
}
