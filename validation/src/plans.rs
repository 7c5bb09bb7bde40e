//! `device_plans.csv`: steps of four decoder layers on an H200, each as every plan of a GPU's mapping that could be launched there.
//!
//! Of each row the time and energy of a step in a loop that lasts (of launches from the host the least of fifteen, since that host is shared); of each step the order of its plans (`kendall_tau`), and as `regret` what is lost by
//! taking the plan that the simulator calls the fastest: the time that it took, against the least that any took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use banksia_experiments::cache::Cache;
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::{GpuSpec, LaunchCache, device};
use banksia_hw::system::{Machine, RunOptions, System};
use banksia_input::Source;
use banksia_mappers::gpu::GpuMapper;
use banksia_mappers::{Mapper, Problem};
use banksia_workloads::model::{HeadSpec, Model, Norm, Types, WeightFormat};
use banksia_workloads::{DataType, Generation};
use rayon::prelude::*;

use crate::models::{Taken, attention, feed_forward, lasting, model};
use crate::rows::{Row, number, whole};
use crate::value::Value;

/// The suite.
pub(crate) const SUITE: &str = "plans";
/// Its rows.
pub(crate) const ROWS: &str = include_str!("../../tests/reference/gpu/device_plans.csv");

/// The layers of a model's name, as the program that measured them has them.
fn layers(name: &str, format: &str, layers: u32) -> Result<Model, String> {
    let (width, heads, inner) = match name {
        "llama3.2-1b" => (2048, [32, 8, 64], 8192),
        "llama3.1-8b" => (4096, [32, 8, 128], 14336),
        "llama2-13b" => (5120, [40, 40, 128], 13824),
        "llama3.1-70b" => (8192, [64, 8, 128], 28672),
        _ => return Err(format!("model {name} is not one of llama3.2-1b, llama3.1-8b, llama2-13b, llama3.1-70b")),
    };
    let mut model = model(name, width, 0, &[vec![attention(heads), feed_forward(inner)]], &[(0, layers)]);
    model.head = HeadSpec::of(Norm::RmsNorm, 0);
    match format {
        "bf16" => {}
        "fp8" => {
            let weights = WeightFormat::plain(DataType::Fp8);
            model.types = Types { weights, operands: Some(DataType::Fp8), ..model.types };
        }
        _ => return Err(format!("format {format} is not one of bf16, fp8")),
    }
    Ok(model)
}

/// Seconds and joules of a step in a loop that lasts.
fn predict(row: &Row, machine: &Machine, known: &Arc<dyn LaunchCache>) -> Result<Taken, String> {
    let get = |key: &str| row.get(key).map(String::as_str).ok_or_else(|| format!("no column {key}"));
    let of = |key: &str, most: u32| whole(row, key, 1..=most).map(u64::from);
    let model = layers(get("model")?, get("format")?, whole(row, "layers", 1..=256)?)?;
    let (batch, new, context) = (of("batch", 1 << 16)?, of("new", 1 << 20)?, of("context", 1 << 22)?);
    let base = Generation { batch, lm_head: false, embedding: false, ..Generation::default() };
    let generation = match new {
        1 => Generation { context_tokens: context.saturating_sub(1).max(1), prompt_tokens: 0, ..base },
        _ => Generation { context_tokens: context.saturating_sub(new), prompt_tokens: new, ..base },
    };
    let plan = ["framework", "attention", "launch"].map(|key| get(key).map(|value| format!("{key} = \"{value}\"\n")));
    let mut text = "[mapping]\n".to_owned();
    for line in plan {
        text += &line?;
    }
    let source = Source::from_text("plans.csv", text);
    let problem = Problem { model: &model, generation: &generation, machine, source: &source };
    let mut plan = GpuMapper.plan(&problem).map_err(|e| e.to_string())?;
    let mut system = System::new(machine, RunOptions::default());
    system.remember(known);
    let program = Arc::new(plan.lower(0, &mut system).map_err(|e| e.to_string())?);
    lasting(machine, &program, Detail::DEFAULT, Some(known))
}

/// A plan's time as measured and as predicted.
type Times = (f64, f64);

/// The step that a row is of: all but the plan.
fn step_of(row: &Row) -> String {
    let get = |key: &str| row.get(key).map_or("", String::as_str);
    format!("{} {} layers, {} x {} at {}", get("model"), get("layers"), get("batch"), get("new"), get("context"))
}

/// The orders of the steps' plans.
fn orders(steps: &BTreeMap<String, Vec<Times>>) -> Vec<Value> {
    let mut values = Vec::new();
    for (label, plans) in steps {
        let mut value = |metric, measured, predicted| {
            let (device, op) = ("h200".to_owned(), "order".to_owned());
            values.push(Value { device, op, metric, label: label.clone(), measured, predicted: Ok(predicted) });
        };
        if let Some(tau) = banksia_reports::kendall_tau(plans) {
            value("kendall_tau", 1.0, tau);
        }
        let best = plans.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
        if let Some(chosen) = plans.iter().min_by(|a, b| a.1.total_cmp(&b.1)) {
            value("regret", best, chosen.0);
        }
    }
    values
}

/// The values of all rows.
pub(crate) fn values(rows: &[Row], progress: &(dyn Fn(u64, u64) + Sync)) -> Vec<Value> {
    let spec: Result<GpuSpec, String> = device("h200").map_err(|e| e.to_string());
    let machine = spec.map(|spec| Machine::of_gpu(&Arc::new(spec)));
    let known = Cache::in_memory();
    let done = AtomicU64::new(0);
    let predicted: Vec<Result<Taken, String>> = rows
        .par_iter()
        .map(|row| {
            let taken = machine.as_ref().map_err(Clone::clone).and_then(|machine| predict(row, machine, &known));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, rows.len() as u64);
            taken
        })
        .collect();
    let mut values = Vec::new();
    let mut steps: BTreeMap<String, Vec<Times>> = BTreeMap::new();
    for (row, predicted) in rows.iter().zip(predicted) {
        let get = |key: &str| row.get(key).map_or("", String::as_str);
        let op = format!("{} {} {}", get("framework"), get("attention"), get("launch"));
        let energy = predicted.clone().map(|(_, joules)| joules);
        let seconds = predicted.map(|(seconds, _)| seconds * 1e6);
        let column = if get("launch") == "eager" { "min_us" } else { "sustained_us" };
        if let (Ok(measured), Ok(predicted)) = (number(row, column), &seconds) {
            steps.entry(step_of(row)).or_default().push((measured, *predicted));
        }
        let sets = [("latency", column, seconds), ("energy", "energy_j", energy)];
        for (metric, column, predicted) in sets {
            let measured = number(row, column);
            let predicted = measured.clone().and(predicted);
            let label = format!("{} {}", step_of(row), get("format"));
            let (device, op, measured) = ("h200".to_owned(), op.clone(), measured.unwrap_or(0.0));
            values.push(Value { device, op, metric, label, measured, predicted });
        }
    }
    values.extend(orders(&steps));
    values
}
