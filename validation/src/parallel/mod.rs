//! Published training steps: a row becomes the settings that `simulate` runs, the same as of a user's `[parallel]` experiment.

pub(crate) mod case;
pub(crate) mod ladder;
pub(crate) mod megatron;
pub(crate) mod mlperf;
pub(crate) mod moe_folding;
pub(crate) mod vtrain;
pub(crate) mod zero_bubble;

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use banksia_hw::gpu::sampling::Detail;
use banksia_hw::net::fabric::cluster::cluster;
use banksia_mappers::parallel::collectives::ClusterTimes;
use banksia_mappers::parallel::engine::Engine;
use banksia_mappers::parallel::inference::{Residual, infer};
use banksia_mappers::parallel::op::LocalOp;
use banksia_mappers::parallel::times::{OpCost, OperatorTimes};
use banksia_mappers::parallel::{self, Machine, ParallelError, Software, TrainReport};

use crate::gpus::Devices;
use crate::rows::Row;
use crate::value::Value;
use case::Case;

/// The suites of this module, in the order in which they run.
pub(crate) const SUITES: [&str; 9] = [
    "vtrain",
    "vtrain-multi",
    "korthikanti",
    "sc21",
    "megatron-2024",
    "mlperf",
    "zero-bubble",
    "moe-folding",
    "ladder",
];

/// Operators that are known, by device: rows of a suite have most of theirs in common. A value does not depend on who asked first.
static KNOWN: LazyLock<Mutex<BTreeMap<(String, LocalOp), OpCost>>> = LazyLock::new(Mutex::default);

/// A device's operators, remembered for all rows.
struct Known<'a> {
    device: &'a str,
    engine: Engine<'a>,
}

impl OperatorTimes for Known<'_> {
    fn cost(&mut self, op: &LocalOp) -> Result<OpCost, ParallelError> {
        let key = (self.device.to_owned(), *op);
        if let Some(known) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(*known);
        }
        let cost = self.engine.cost(op)?;
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(key, cost);
        Ok(cost)
    }
}

/// Runs something on a machine of the catalog.
fn on_machine<T>(
    (name, software): (&str, Software),
    devices: &mut Devices,
    detail: Detail,
    run: impl FnOnce(&mut Machine<'_>) -> Result<T, ParallelError>,
) -> Result<T, String> {
    let machine = cluster(name).map_err(|e| e.to_string())?;
    let device = machine.gpu().to_owned();
    let gpu = devices.get(&device)?;
    let spec = gpu.spec().clone();
    let times = ClusterTimes::new(machine);
    let mut operators = Known { device: &device, engine: Engine::new(gpu, detail) };
    let mut machine = Machine { gpu: &spec, operators: &mut operators, collectives: &times, software };
    run(&mut machine).map_err(|e| e.to_string())
}

/// A step of a case. Memory is not refused here: what was measured ran.
fn step(case: &Case, devices: &mut Devices, detail: Detail) -> Result<TrainReport, String> {
    let brief = parallel::Detail { exposed: false, fits: false };
    on_machine((case.machine, case.software), devices, detail, |m| {
        parallel::simulate(&case.shape, m, &case.parallel, &case.train, brief, |_| {})
    })
}

/// A row of the suite `ladder`: tokens a second, or a speed-up over the standard residual.
fn ladder(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    const MACHINE: &str = "h100-eos";
    let value = |op: &str, metric, label: &str, measured, predicted| Value {
        device: MACHINE.to_owned(),
        op: op.to_owned(),
        metric,
        label: label.to_owned(),
        measured,
        predicted,
    };
    let l = match ladder::ladder(row) {
        Ok(l) => l,
        Err(e) => return vec![value("ladder", "tokens_per_s", "row", f64::NAN, Err(e))],
    };
    let mut run = |residual| {
        on_machine((MACHINE, l.software), devices, detail, |m| infer(&l.shape, m, l.tp, residual, l.requests))
            .map(|r| r.tokens_per_s)
    };
    let own = run(l.residual);
    if l.speed_up {
        let speed_up = own.and_then(|own| Ok(own / run(Residual::Standard)?));
        return vec![value("ladder", "speed_up", &l.label, l.measured, speed_up)];
    }
    let mut values = vec![value("ladder", "tokens_per_s", &l.label, l.measured, own.clone())];
    if let Some(standard) = l.standard {
        let speed_up = own.and_then(|own| Ok(own / run(Residual::Standard)?));
        values.push(value("ladder", "speed_up", &l.label, l.measured / standard, speed_up));
    }
    values
}

/// Throughput, and the share of the time without bubbles, of a row of the suite `zero-bubble`, as far as it has them.
fn zero_bubble_values(
    row: &Row,
    report: &Result<TrainReport, String>,
    value: impl Fn(&'static str, f64, Result<f64, String>) -> Value,
) -> Vec<Value> {
    let per_device = |r: &TrainReport, sequence: f64| r.tokens_per_s / sequence / f64::from(r.devices);
    let mut values = Vec::new();
    if let Ok(measured) = case::number(row, "samples_per_gpu_s_measured") {
        let predicted = report.clone().map(|r| per_device(&r, 1024.0));
        values.push(value("samples_per_gpu_s", measured, predicted));
    }
    if let Ok(rate) = case::number(row, "bubble_rate_computed_from_profile") {
        let busy = report.clone().map(|r| 100.0 * (1.0 - r.bubble_fraction));
        values.push(value("busy_pct", 100.0 * (1.0 - rate), busy));
    }
    values
}

/// Rows of a suite as they are compared: those of `ladder` have the standard residual's value beside their own.
pub(crate) fn prepared(suite: &str, rows: Vec<Row>) -> Vec<Row> {
    if suite == "ladder" { ladder::with_standard(rows) } else { rows }
}

/// A row of one of the suites.
pub(crate) fn row(suite: &str, row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let value =
        |case: Result<&Case, &String>, metric: &'static str, measured: f64, predicted: Result<f64, String>| Value {
            device: case.map_or("a100", |c| c.machine).to_owned(),
            op: suite.to_owned(),
            metric,
            label: case.map_or_else(|_| "row".to_owned(), |c| c.label.clone()),
            measured,
            predicted,
        };
    if suite == "korthikanti" && row.contains_key("forward_ms") {
        return match megatron::layer(row) {
            Ok((case, [forward, backward])) => {
                let times = on_machine((case.machine, case.software), devices, detail, |m| {
                    parallel::layer_seconds(&case.shape, m, &case.parallel, &case.train)
                });
                vec![
                    value(Ok(&case), "layer_forward_s", forward, times.clone().map(|t| t[0])),
                    value(Ok(&case), "layer_backward_s", backward, times.map(|t| t[1])),
                ]
            }
            Err(e) => vec![value(Err(&e), "layer_forward_s", f64::NAN, Err(e.clone()))],
        };
    }
    if suite == "ladder" {
        return ladder(row, devices, detail);
    }
    let case = match suite {
        "vtrain" | "vtrain-multi" => vtrain::case(row),
        "korthikanti" => megatron::korthikanti(row),
        "sc21" => megatron::sc21(row),
        "megatron-2024" => megatron::core_2024(row),
        "mlperf" => mlperf::case(row),
        "zero-bubble" => zero_bubble::case(row),
        "moe-folding" => moe_folding::case(row),
        other => Err(format!("{other} is not a suite of training steps")),
    };
    match case {
        Ok(case) => {
            let report = step(&case, devices, detail);
            if suite == "zero-bubble" {
                return zero_bubble_values(row, &report, |metric, measured, predicted| {
                    value(Ok(&case), metric, measured, predicted)
                });
            }
            let (metric, predicted) = match suite {
                "moe-folding" => ("mfu_pct", report.map(|r| moe_folding::mfu_pct(&case, &r))),
                _ => ("step_s", report.map(|r| r.step_s)),
            };
            vec![value(Ok(&case), metric, case.measured, predicted)]
        }
        Err(e) => vec![value(Err(&e), "step_s", f64::NAN, Err(e.clone()))],
    }
}
