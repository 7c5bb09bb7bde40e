//! The artifact's points: a model, its division, a context; and what each costs here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use banksia_experiments::cxl::CxlRunner;
use banksia_hw::cxl::{Accounting, CxlMachine, TokenCost};
use banksia_input::InputError;
use banksia_mappers::cent::{Shape, Split};
use banksia_workloads::zoo;
use rayon::prelude::*;

use crate::rows::{Row, whole};
use crate::value::Value;

/// A model and its division.
pub(super) type Division = (String, Split);
/// A division and a context.
pub(super) type Point = (Division, u64);
/// What points cost, or why nothing can be said.
pub(super) type Costs = BTreeMap<Point, Result<TokenCost, String>>;

/// Longest context of a row.
const MOST_CONTEXT: u32 = 1 << 20;

/// A value of the suite.
pub(super) fn value(
    op: &str,
    metric: &'static str,
    label: &str,
    measured: Result<f64, String>,
    predicted: Result<f64, String>,
) -> Value {
    Value {
        device: "cent".to_owned(),
        op: op.to_owned(),
        metric,
        label: label.to_owned(),
        predicted: measured.clone().and(predicted),
        measured: measured.unwrap_or(0.0),
    }
}

/// The division of a row of either layout.
pub(super) fn division(row: &Row) -> Result<Division, String> {
    let model = row.get("Model").ok_or("no column `Model`")?;
    let of = |key: &str| whole(row, key, 1..=1 << 16).map(u64::from);
    let split = Split {
        devices: of("Device number")?,
        pipeline: of("Pipeline parallelism")?,
        tensor: of("Tensor parallelism")?,
    };
    Ok((model.to_lowercase(), split))
}

/// The point of a token's row.
pub(super) fn point(row: &Row) -> Result<Point, String> {
    Ok((division(row)?, whole(row, "Sequence length", 1..=MOST_CONTEXT)?.into()))
}

/// How a row is called.
pub(super) fn label((model, split): &Division) -> String {
    let Split { devices, pipeline, tensor } = split;
    format!("{model}, {devices} devices, {pipeline} stages of {tensor}")
}

fn first_line(e: &InputError) -> String {
    e.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Costs of points: what is the same for all contexts of a division is run once.
///
/// # Errors
/// The machine of the catalog cannot be had.
pub(super) fn costs(
    wanted: Vec<Point>,
    accounting: Accounting,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Costs, InputError> {
    let runner = CxlRunner::new(CxlMachine::load("cent")?, accounting)?;
    let mut divisions: BTreeMap<Division, BTreeSet<u64>> = BTreeMap::new();
    for (division, context) in wanted {
        divisions.entry(division).or_default().insert(context);
    }
    let all = divisions.values().map(|c| c.len() as u64).sum();
    let done = AtomicU64::new(0);
    progress(0, all);
    let found: Vec<Vec<(Point, Result<TokenCost, String>)>> = divisions
        .into_par_iter()
        .map(|(division, contexts)| {
            let longest = contexts.last().copied().unwrap_or(1);
            let prepared = zoo::gpt(&division.0)
                .and_then(|gpt| {
                    let gated = || InputError::new(&*division.0, "has feed-forward layers without a gate");
                    Shape::of_config(&gpt).ok_or_else(gated)
                })
                .and_then(|shape| runner.prepare(shape, division.1, longest))
                .map_err(|e| first_line(&e));
            contexts
                .into_par_iter()
                .map(|context| {
                    let cost = match &prepared {
                        Ok(prepared) => runner.token(prepared, context).map_err(|e| first_line(&e)),
                        Err(reason) => Err(reason.clone()),
                    };
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1, all);
                    ((division.clone(), context), cost)
                })
                .collect()
        })
        .collect();
    Ok(found.into_iter().flatten().collect())
}
