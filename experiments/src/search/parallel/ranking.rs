//! What a walk over settings says: the ranking, the proof, and what excluded each alternative.

use std::collections::BTreeMap;

use banksia_mappers::parallel::space::{Setting, Settings};

use super::super::found::{Found, no_legal, open};
use super::super::options::{Ranked, SearchOptions, gap};
use super::super::space::inline;
use super::super::why::{Other, Why};
use super::problem::{Problem, Simulated, settings};
use super::walk::Walked;
use crate::error::Error;
use crate::experiment::Experiment;

/// The tables of a setting, to write into an experiment.
fn tables(setting: &Setting) -> String {
    let lines = |table: &str| {
        let own = Settings::of(setting).into_iter().filter_map(|(key, value)| {
            let key = key.strip_prefix(table)?.strip_prefix('.')?;
            Some(format!("{key} = {}\n", inline(&value)))
        });
        own.collect::<String>()
    };
    format!("[parallel]\n{}\n[train]\n{}", lines("parallel"), lines("train"))
}

/// Whether no other is both faster and of less energy: of settings by time, those of less energy than all before.
fn front(done: &[Simulated]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..done.len()).collect();
    let of = |i: &usize| done.get(*i).map_or((0.0, 0.0), |d| (d.latency_s, d.energy_j));
    order.sort_by(|a, b| {
        let (a, b) = (of(a), of(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let mut on = vec![false; done.len()];
    let mut least: Option<(f64, f64)> = None;
    for i in order {
        let (seconds, joules) = of(&i);
        if least.is_none_or(|(s, j)| joules < j || (joules <= j && seconds <= s)) {
            least = Some((seconds, joules));
            if let Some(slot) = on.get_mut(i) {
                *slot = true;
            }
        }
    }
    on
}

pub(super) fn found(
    experiment: &Experiment,
    problem: &Problem,
    options: &SearchOptions,
    said: &[&str],
    walked: Walked,
) -> Result<Found, Error> {
    let Walked { mut done, refused: late, left, bounds, simulated, taken, operators } = walked;
    let mut refused = problem.refused.clone();
    for (reason, n) in late {
        *refused.entry(reason).or_insert(0) += n;
    }
    if done.is_empty() {
        return Err(no_legal(std::path::Path::new(&experiment.name), &refused));
    }
    done.sort_by(|a, b| a.value.total_cmp(&b.value).then(a.point.cmp(&b.point)));
    let value = done.first().map_or(0.0, |d| d.value);
    let bound = left.map_or(value, |b| b.min(value));
    let on = front(&done);
    let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    let ranked = |(place, (s, pareto)): (usize, (&Simulated, bool))| Ranked {
        rank: place as u64 + 1,
        settings: problem.points.get(s.point).map(|p| settings(&p.setting)).unwrap_or_default(),
        latency_s: s.latency_s,
        energy_j: s.energy_j,
        tokens_per_s: ratio(problem.tokens, s.latency_s),
        tokens_per_j: ratio(problem.tokens, s.energy_j),
        bound_s: s.bound_s,
        value: s.value,
        gap: gap(s.value, bound),
        pareto,
    };
    let ranking: Vec<Ranked> = done.iter().zip(on).enumerate().map(ranked).collect();
    let written = done.iter().position(|d| Some(d.point) == problem.written);
    let written = written.and_then(|place| ranking.get(place).cloned());
    let best = done.first().and_then(|d| problem.points.get(d.point));
    let knobs = problem.settings.knobs();
    Ok(Found {
        experiment: experiment.name.clone(),
        machine: problem.machine(),
        strategy: experiment.mapper.to_owned(),
        objective: options.objective,
        seed: options.seed,
        space: knobs.iter().map(open).collect(),
        pinned: said.iter().map(|s| (*s).to_owned()).collect(),
        plans: problem.points.len() as f64,
        simulated,
        taken,
        operators,
        refused,
        bound,
        gap: gap(value, bound),
        proved: left.is_none(),
        broken_bounds: done.iter().filter(|d| d.bound_s > d.latency_s).count() as u64,
        written,
        written_breaks: None,
        why: why(problem, options, &done, &bounds),
        mapping: best.map(|p| tables(&p.setting)).unwrap_or_default(),
        ranking,
    })
}

/// For each choice, what excluded the others: the best setting with each that was simulated, or the least bound of any.
fn why(problem: &Problem, options: &SearchOptions, done: &[Simulated], bounds: &[[f64; 2]]) -> Vec<Why> {
    let Some(best) = done.first() else { return Vec::new() };
    let value_of = |point: usize, key: &str| {
        let setting = problem.points.get(point).map(|p| p.setting)?;
        Settings::of(&setting).into_iter().find(|(k, _)| *k == key).map(|(_, v)| inline(&v))
    };
    let loss = |value: f64| (value - best.value) / best.value.max(f64::MIN_POSITIVE);
    let of_knob = |knob: &banksia_mappers::Knob| {
        let chosen = value_of(best.point, &knob.key);
        // By value: the best that was simulated, and the least bound.
        let mut by: BTreeMap<String, (Option<f64>, f64)> = BTreeMap::new();
        for (point, least) in bounds.iter().enumerate() {
            let Some(value) = value_of(point, &knob.key) else { continue };
            let bound = problem.value(options.objective, least[0], least[1]);
            let entry = by.entry(value).or_insert((None, f64::INFINITY));
            entry.1 = entry.1.min(bound);
        }
        for simulated in done {
            let Some(value) = value_of(simulated.point, &knob.key) else { continue };
            if let Some(entry) = by.get_mut(&value) {
                entry.0 = Some(entry.0.map_or(simulated.value, |v| v.min(simulated.value)));
            }
        }
        let others = knob.values.iter().map(inline).filter(|v| Some(v) != chosen.as_ref()).map(|value| {
            let (excluded_by, loses) = match by.get(&value) {
                Some((Some(simulated), _)) => ("simulated", Some(loss(*simulated))),
                Some((None, bound)) if *bound >= best.value => ("bound", Some(loss(*bound))),
                Some(_) => ("open", None),
                None => ("illegal", None),
            };
            Other { value, excluded_by, loses }
        });
        let mut others: Vec<Other> = others.collect();
        others.sort_by(|a, b| a.loses.unwrap_or(f64::INFINITY).total_cmp(&b.loses.unwrap_or(f64::INFINITY)));
        Why { key: knob.key.clone(), meaning: knob.meaning.to_owned(), chosen, others }
    };
    problem.settings.knobs().iter().map(of_knob).collect()
}
