//! Pimba's public simulator: operators of its units, and layers of recurrent models on GPUs with and without them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use banksia_hw::pim::queue::QueueOutcome;
use banksia_hw::roofline::nodes;
use banksia_input::InputError;
use banksia_mappers::pim_systems::pimba::{OperatorSum, PimbaSystem, UnitRuns, energy_pj};
use banksia_mappers::pim_systems::recurrent::{Category, recurrent_model};
use banksia_mappers::pim_systems::state_stream::{Design, StateOp, StateShape};

use super::rows::{Row, number, whole};
use crate::value::Value;

/// Runs of the units are known over all rows.
static RUNS: LazyLock<UnitRuns> = LazyLock::new(UnitRuns::default);

/// So are generations, of which each row is one operator.
static KNOWN: LazyLock<Mutex<BTreeMap<String, Arc<Vec<OperatorSum>>>>> = LazyLock::new(Mutex::default);

/// Requests that a channel's controller holds: its list takes one more than its limit of 32.
const QUEUE: u32 = 33;

/// Tokens of a batch at the end of its generation.
const MOST_TOKENS: u64 = 1 << 22;

/// Numbers of states that an operator goes over.
const MOST_NUMBERS: u64 = 1 << 33;

fn plain(error: &InputError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn text<'a>(row: &'a Row, key: &str) -> Result<&'a str, String> {
    row.get(key).map(String::as_str).ok_or_else(|| format!("no column {key}"))
}

/// The device of a row: the design of the units, or the system.
pub(super) fn device(row: &Row) -> String {
    row.get("hw").or_else(|| row.get("system")).cloned().unwrap_or_default()
}

/// The values of a row: of an operator of the units, or of a layer's.
pub(super) fn row(row: &Row) -> Vec<Value> {
    if row.contains_key("hw") { operator(row) } else { layer(row) }
}

fn label(row: &Row, keys: &[&str]) -> String {
    let parts: Vec<String> =
        keys.iter().filter_map(|key| row.get(*key).map(|value| format!("{key}={value}"))).collect();
    parts.join(" ")
}

/// A metric's values out of all that a row gives; what is zero on both sides says nothing.
fn values<const N: usize>(
    row: &Row,
    op: &str,
    label: &str,
    metrics: [&'static str; N],
    all: &Result<[f64; N], String>,
) -> Vec<Value> {
    metrics
        .iter()
        .enumerate()
        .filter(|(_, metric)| row.contains_key(**metric))
        .map(|(i, metric)| {
            let measured = number(row, metric);
            Value {
                device: device(row),
                op: op.to_owned(),
                metric,
                label: label.to_owned(),
                predicted: measured.clone().and_then(|_| all.clone()).map(|all| all[i]),
                measured: measured.unwrap_or(0.0),
            }
        })
        .filter(|v| v.measured > 0.0 || v.predicted.as_ref().map_or(true, |p| *p > 0.0))
        .collect()
}

fn shape(row: &Row) -> Result<StateShape, String> {
    let parsed = |key: &str| text(row, key).map(str::to_owned);
    let design: Design = parsed("hw")?.parse().map_err(|e| plain(&e))?;
    let op: StateOp = parsed("op")?.parse().map_err(|e| plain(&e))?;
    let (count, rows) = (whole(row, "num_op", 1..=1 << 20)?, whole(row, "head_dim", 1..=1 << 14)?);
    let columns = whole(row, "state_dim", 1..=1 << 17)?;
    let numbers = u64::from(count) * u64::from(rows) * u64::from(columns);
    if numbers > MOST_NUMBERS {
        return Err(format!("{numbers} numbers of states: at most {MOST_NUMBERS} are simulated"));
    }
    Ok(StateShape {
        design,
        op,
        count,
        rows,
        columns,
        bytes: whole(row, "state_bytes", 1..=2)?,
        channels: whole(row, "channels", 1..=1024)?,
        reference: true,
    })
}

fn operator(row: &Row) -> Vec<Value> {
    let op = row.get("op").cloned().unwrap_or_default();
    let label = label(row, &["num_op", "head_dim", "state_dim", "state_bytes", "channels", "clock_MHz"]);
    let all = shape(row).and_then(|shape| {
        let outcome: Arc<QueueOutcome> = RUNS.operator(&shape, QUEUE).map_err(|e| plain(&e))?;
        let (transfers, others) = energy_pj(&outcome, true).map_err(|e| plain(&e))?;
        let clock = if row.contains_key("clock_MHz") { number(row, "clock_MHz")? } else { 1000.0 };
        Ok([outcome.cycles as f64, outcome.cycles as f64 / clock, transfers, others])
    });
    values(row, &op, &label, ["cycles", "us", "energy_rdwr_pJ", "energy_act_comp_pJ"], &all)
}

fn category(name: &str) -> Result<Category, String> {
    Ok(match name {
        "gemm" => Category::Gemm,
        "state_update" => Category::StateUpdate,
        "gemv" => Category::Gemv,
        "causal_conv1d" => Category::Convolution,
        "discretization" => Category::Discretization,
        "comm" => Category::Exchange,
        "others" => Category::Others,
        other => return Err(format!("category is {other}, which the simulator has not")),
    })
}

fn generation(row: &Row) -> Result<Arc<Vec<OperatorSum>>, String> {
    let key = label(row, &["model", "system", "gpu", "num_gpus", "batch", "lin", "lout"]);
    let find = || KNOWN.lock().ok().and_then(|known| known.get(&key).cloned());
    if let Some(known) = find() {
        return Ok(known);
    }
    let gpu = text(row, "gpu")?.to_ascii_lowercase();
    let mut node = nodes::node(&format!("pimba-{gpu}")).map_err(|e| plain(&e))?;
    node.gpus = whole(row, "num_gpus", 1..=64)?;
    let (design, state_bytes) = match text(row, "system")? {
        "GPU" => (None, 2),
        "GPU+Q" => (None, 1),
        "GPU+PIM" => (Some(Design::HbmPim), 2),
        "Pimba" => (Some(Design::Pimba), 1),
        "Pipelined" => (Some(Design::Pipelined), 2),
        "Time-multiplexed" => (Some(Design::TimeMultiplexed), 2),
        other => return Err(format!("system is {other}, which the simulator has not")),
    };
    let model = recurrent_model(text(row, "model")?).map_err(|e| plain(&e))?;
    let system = PimbaSystem { node: &node, design, state_bytes, reference: true, runs: &RUNS };
    let lengths = (whole(row, "lin", 0..=1 << 17)?, whole(row, "lout", 2..=1 << 14)?);
    let sequences = whole(row, "batch", 1..=4096)?;
    let tokens = u64::from(sequences) * u64::from(lengths.0 + lengths.1);
    if tokens > MOST_TOKENS {
        return Err(format!("{tokens} tokens: at most {MOST_TOKENS} are simulated"));
    }
    let sums = Arc::new(system.generation(&model, sequences, lengths).map_err(|e| plain(&e))?);
    if let Ok(mut known) = KNOWN.lock() {
        known.insert(key, sums.clone());
    }
    Ok(sums)
}

fn layer(row: &Row) -> Vec<Value> {
    let op = row.get("category").cloned().unwrap_or_default();
    let label = label(row, &["model", "name", "gpu", "num_gpus", "batch", "lin", "lout"]);
    let all = generation(row).and_then(|sums| {
        let (category, name) = (category(text(row, "category")?)?, text(row, "name")?);
        let found = sums.iter().find(|s| s.category == category && s.name == name);
        let sum = found.ok_or_else(|| format!("no operator {name} in the model's layers"))?;
        let tokens = number(row, "lout")? - 1.0;
        Ok([sum.seconds, sum.memory_pj, sum.other_pj, sum.seconds * 1e6 / tokens])
    });
    values(row, &op, &label, ["time_s", "power_1_pJ", "power_2_pJ", "per_token_us"], &all)
}
