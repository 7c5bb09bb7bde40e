//! `models.csv`: whole steps of models on an H200, as `banksia run` runs them.

use banksia_hw::gpu::sampling::Detail;

use crate::gpus::Devices;
use crate::rows::{Row, number};
use crate::value::Value;

fn step(op: &str) -> Result<(f64, f64), String> {
    match op {
        "vision" | "diffusion" => Err("vision and diffusion models are not modelled yet".into()),
        "train" => Err("training is not modelled yet".into()),
        _ => Err("not modelled yet".into()),
    }
}

pub(super) fn row(row: &Row, _devices: &mut Devices, _detail: Detail) -> Vec<Value> {
    let get = |key: &str| row.get(key).cloned().unwrap_or_default();
    let (op, args) = (get("op"), get("args"));
    let step = step(&op);
    let value = |metric, column: &str, predicted| Value {
        device: "h200".into(),
        op: op.clone(),
        metric,
        label: args.clone(),
        measured: number(row, column).unwrap_or(f64::NAN),
        predicted,
    };
    let energy = step.clone().map(|s| s.1);
    vec![value("latency", "latency_us", step.map(|s| s.0 * 1e6)), value("energy", "energy_j", energy)]
}
