//! AttAcc's public simulator: steps of dense transformers on a node of GPUs, with attention on the GPUs, on the host or in stacks, and their operators.

use std::sync::LazyLock;

use banksia_hw::roofline::node::{Cost, RooflineNode};
use banksia_hw::roofline::nodes;
use banksia_hw::roofline::stacks::PimStacks;
use banksia_input::InputError;
use banksia_mappers::pim_systems::attacc::{Attention, Priced, StackRuns, Stacks, decode, prefill};
use banksia_mappers::pim_systems::transformer::{Batch, DenseModel, dense_model};

use super::rows::{Row, number, whole};
use crate::value::Value;

/// Runs in stacks are known over all rows.
static RUNS: LazyLock<StackRuns> = LazyLock::new(StackRuns::default);

/// Tokens of a batch whose keys and values a step goes over.
const MOST_TOKENS: u64 = 1 << 22;

/// What a row is about.
struct Case {
    node: RooflineNode,
    stacks: Option<PimStacks>,
    host: bool,
    limited: bool,
    pipelined: bool,
    feed_forward: bool,
    model: DenseModel,
    batch: Batch,
}

fn plain(error: &InputError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn text<'a>(row: &'a Row, key: &str) -> Result<&'a str, String> {
    row.get(key).map(String::as_str).ok_or_else(|| format!("no column {key}"))
}

fn flag(row: &Row, key: &str) -> Result<bool, String> {
    match text(row, key)? {
        "0" => Ok(false),
        "1" => Ok(true),
        other => Err(format!("column {key} is {other}, not 0 or 1")),
    }
}

/// The catalog's stacks of a row, or the name of its node.
pub(super) fn device(row: &Row) -> String {
    let level = row.get("pim").map_or("", String::as_str);
    match level {
        "bank" | "buffer" => format!("attacc-{level}"),
        "bg" => "attacc-bank-group".to_owned(),
        _ => gpu_node(row.get("gpu").map_or("", String::as_str)).to_owned(),
    }
}

fn gpu_node(gpu: &str) -> &str {
    match gpu {
        "A100a" => "dgx-a100-hbm3",
        "H100" => "dgx-h100",
        other => other,
    }
}

impl Case {
    fn of(row: &Row) -> Result<Self, String> {
        let mut node = nodes::node(gpu_node(text(row, "gpu")?)).map_err(|e| plain(&e))?;
        let system = text(row, "system")?;
        let stacks = match system {
            "dgx" | "dgx-cpu" => None,
            "dgx-attacc" => Some(nodes::stacks(&device(row)).map_err(|e| plain(&e))?),
            other => return Err(format!("system is {other}, not dgx, dgx-cpu or dgx-attacc")),
        };
        // The host's node is of as many GPUs as it has by itself, whatever is asked for.
        if system != "dgx-cpu" {
            node.gpus = whole(row, "ngpu", 1..=1024)?;
        }
        let model = dense_model(text(row, "model")?).map_err(|e| plain(&e))?;
        if model.heads < node.gpus {
            return Err(format!("{} heads are fewer than {} GPUs", model.heads, node.gpus));
        }
        let bytes = match text(row, "dtype")? {
            "W16A16" => 2,
            "W8A8" => 1,
            other => return Err(format!("dtype is {other}, not W16A16 or W8A8")),
        };
        let keys = whole(row, "kv_len", 1..=1 << 17)?;
        let batch = Batch { sequences: whole(row, "batch", 1..=4096)?, new: 1, keys, bytes };
        if u64::from(batch.sequences) * u64::from(keys) > MOST_TOKENS {
            return Err(format!(
                "{} tokens: at most {MOST_TOKENS} are simulated",
                u64::from(batch.sequences) * u64::from(keys)
            ));
        }
        Ok(Self {
            node,
            stacks,
            host: system == "dgx-cpu",
            limited: flag(row, "powerlimit")?,
            pipelined: flag(row, "pipeopt")?,
            feed_forward: flag(row, "ffopt")?,
            model,
            batch,
        })
    }

    fn decode(&self) -> Result<Vec<Priced>, String> {
        let at = match &self.stacks {
            Some(stacks) => Attention::Stacks(Stacks {
                stacks,
                limited: self.limited,
                pipelined: self.pipelined,
                feed_forward: self.feed_forward,
                runs: &RUNS,
            }),
            None if self.host => Attention::Host,
            None => Attention::Gpu,
        };
        decode(&self.node, &self.model, &self.batch, &at).map_err(|e| plain(&e))
    }

    fn prefill(&self, lin: u32) -> Vec<Priced> {
        let batch = Batch { new: lin, keys: lin, ..self.batch };
        prefill(&self.node, &self.model, &batch, self.stacks.is_some() || self.host)
    }
}

/// The values of a row, of a step or of an operator.
pub(super) fn row(row: &Row) -> Vec<Value> {
    let mut label: Vec<String> = Vec::new();
    for key in ["system", "gpu", "ngpu", "model", "dtype", "powerlimit", "pipeopt", "ffopt", "batch", "lin", "stage"] {
        if let Some(value) = row.get(key) {
            label.push(format!("{key}={value}"));
        }
    }
    let label = label.join(" ");
    if row.contains_key("op") { operator(row, &label) } else { step(row, &label) }
}

const METRICS: [(&str, &str); 12] = [
    ("prefill", "prefill_ms"),
    ("step", "decode_step_ms"),
    ("fc", "decode_fc_ms"),
    ("attention", "decode_attn_ms"),
    ("softmax", "decode_softmax_ms"),
    ("comm_g2g", "decode_comm_g2g_ms"),
    ("comm_x2g", "decode_comm_x2g_ms"),
    ("activation", "decode_act_ms"),
    ("norm", "decode_norm_ms"),
    ("step", "decode_energy_mJ"),
    ("step", "decode_dram_mJ"),
    ("step", "required_cap_GB"),
];

fn step(row: &Row, label: &str) -> Vec<Value> {
    let all = Case::of(row).and_then(|case| step_values(&case, row));
    METRICS
        .iter()
        .enumerate()
        .filter(|(_, (_, metric))| row.contains_key(*metric))
        .map(|(i, (op, metric))| {
            let measured = number(row, metric);
            Value {
                device: device(row),
                op: (*op).to_owned(),
                metric,
                label: label.to_owned(),
                predicted: measured.clone().and_then(|_| all.clone()).map(|all| all[i]),
                measured: measured.unwrap_or(0.0),
            }
        })
        .filter(|v| v.measured > 0.0 || v.predicted.as_ref().map_or(true, |p| *p > 0.0))
        .collect()
}

fn step_values(case: &Case, row: &Row) -> Result<[f64; METRICS.len()], String> {
    let lin = whole(row, "lin", 1..=1 << 17)?;
    let layers = f64::from(case.model.layers);
    let decode = case.decode()?;
    let ms = |names: &[&str]| -> f64 {
        let named = decode.iter().filter(|p| names.is_empty() || names.contains(&p.operator.name));
        named.map(|p| p.cost.seconds).sum::<f64>() * layers * 1e3
    };
    let mj = |part: fn(&Cost) -> f64| decode.iter().map(|p| part(&p.cost)).sum::<f64>() * layers * 1e-9;
    // The simulator leaves the transfer of keys and values out of the prompt's time.
    let prompt = case.prefill(lin).into_iter().filter(|p| p.operator.name != "comm_x2g");
    let prompt_ms = prompt.map(|p| p.cost.seconds).sum::<f64>() * layers * 1e3;
    Ok([
        prompt_ms,
        ms(&[]),
        ms(&["qkv", "proj", "ff1", "ff2", "ff3"]),
        ms(&["score", "context"]),
        ms(&["softmax"]),
        ms(&["comm_g2g"]),
        ms(&["comm_x2g"]),
        ms(&["gelu", "relu", "glu"]),
        ms(&["norm1", "norm2"]),
        mj(|c| c.memory_pj + c.on_chip_pj + c.link_pj),
        mj(|c| c.memory_pj),
        case.model.required_bytes(&case.batch) / 1e9,
    ])
}

/// A part of a cost.
type Part = (&'static str, fn(&Cost) -> f64);

const PARTS: [Part; 4] = [
    ("time_us_per_layer", |c| c.seconds * 1e6),
    ("e_mem_nJ", |c| c.memory_pj * 1e-3),
    ("e_comp_nJ", |c| c.on_chip_pj * 1e-3),
    ("e_comm_nJ", |c| c.link_pj * 1e-3),
];

fn operator(row: &Row, label: &str) -> Vec<Value> {
    let op = row.get("op").cloned().unwrap_or_default();
    let found = Case::of(row).and_then(|case| {
        let layer = match text(row, "stage")? {
            "prefill" => case.prefill(whole(row, "lin", 1..=1 << 17)?),
            "decode" => case.decode()?,
            other => return Err(format!("stage is {other}, not prefill or decode")),
        };
        // One name may stand twice: the sizes say which.
        let sizes = [number(row, "m")?, number(row, "n")?, number(row, "num_op")?];
        let same = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
        let fits = |p: &&Priced| {
            let s = &p.operator.sizes;
            p.operator.name == op && same(s.m, sizes[0]) && same(s.n, sizes[1]) && same(s.count, sizes[2])
        };
        layer.iter().find(fits).copied().ok_or_else(|| format!("no operator {op} of these sizes in a layer"))
    });
    let place = row.get("device").cloned().unwrap_or_default();
    let name = if place == "GPU" { op.clone() } else { format!("{op} ({place})") };
    PARTS
        .iter()
        .filter(|(metric, _)| row.contains_key(*metric))
        .map(|(metric, part)| {
            let measured = number(row, metric);
            Value {
                device: device(row),
                op: name.clone(),
                metric,
                label: label.to_owned(),
                predicted: measured.clone().and_then(|_| found.clone()).map(|p| part(&p.cost)),
                measured: measured.unwrap_or(0.0),
            }
        })
        .filter(|v| v.measured > 0.0 || v.predicted.as_ref().map_or(true, |p| *p > 0.0))
        .collect()
}
