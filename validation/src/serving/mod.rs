//! `ttft_tpot.csv`, `ttft_tpot_ranks.csv`: time to the first token and between tokens of models that vLLM, SGLang and TensorRT-LLM serve on one GPU, or
//! on tensor- and expert-parallel ranks of a node.
//!
//! The load is the one that the rows were taken with and the engine is set up as theirs were ([`settings`]), it forms steps as the framework does
//! ([`banksia_experiments::serving::load`]), and a step takes what `banksia run` says of it ([`steps`]). What a framework does on the host between steps, and the way to the client,
//! are in none of it.

mod models;
mod ranks;
mod settings;
mod steps;
mod taken;

use banksia_experiments::serving::load::{Arrivals, Composition, serve};
use banksia_hw::gpu::sampling::Detail;

use crate::gpus::Devices;
use crate::rows::{Row, device_of, number, whole};
use crate::value::Value;
use models::Served;
use ranks::Placed;
use settings::Memory;
use steps::Steps;
use taken::Taken;

/// Milliseconds to the first token and between tokens.
fn predicted(row: &Row, devices: &mut Devices, detail: Detail) -> Result<(f64, f64), String> {
    let text = |key: &str| row.get(key).map_or("", |t| t.trim());
    let spec = devices.get(device_of(text("system")))?.spec().clone();
    let (isl, osl) = (whole(row, "isl", 1..=1 << 20)?, whole(row, "osl", 1..=1 << 20)?);
    let at_once = whole(row, "batch_size", 1..=1 << 12)?;
    let (taken, served) = (Taken::of(row), Served::of(row)?);
    let placed = Placed::of(row, &served)?;
    let (isl, osl) = (u64::from(isl), u64::from(osl));
    let requests = taken.requests(isl, osl, at_once);
    let means = taken.means(isl, osl);
    let mut steps = Steps::new(&spec, &served, placed, detail, means, u64::from(at_once))?;
    let weights = steps.weights()?;
    let memory = Memory { capacity: spec.dram.capacity_bytes as f64, weights, cache_share: steps.cache_share()? };
    let engine = taken.engine(&served, memory, (isl, osl), u64::from(at_once))?;
    steps.set_engine(engine);
    let load = Arrivals::Kept(at_once as usize);
    let answered = serve(&requests, load, engine, &mut |step: Composition| steps.seconds(step))?;
    let (first_s, token_s) = answered.means();
    Ok((first_s * 1e3, token_s * 1e3))
}

pub(super) fn row(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let get = |key: &str| row.get(key).cloned().unwrap_or_default();
    let predicted = predicted(row, devices, detail);
    let model = get("model_path").rsplit('/').next().unwrap_or_default().to_owned();
    let kind = [get("backend"), model, get("precision")].into_iter().filter(|t| !t.is_empty());
    let op = kind.collect::<Vec<_>>().join(" ");
    let value = |metric, column: &str, predicted| Value {
        device: device_of(&get("system")).to_owned(),
        op: op.clone(),
        metric,
        label: get("id"),
        measured: number(row, column).unwrap_or(f64::NAN),
        predicted,
    };
    let first = predicted.clone().map(|(first, _)| first);
    vec![value("ttft", "silicon_ttft_ms", first), value("tpot", "silicon_tpot_ms", predicted.map(|(_, token)| token))]
}
