//! H2-LLM's fixed mappings of a decoder on an NPU with near-memory channels (ISCA 2025, its artifact's evaluator), by our own roofline of the same machine.
//!
//! Of each row the three times; and of each setting that has several mappings, Kendall's tau of their order as `order`.

use std::collections::BTreeMap;

use banksia_hw::nmp::{NmpMachine, Rules};
use banksia_input::InputError;
use banksia_mappers::nmp::{Choice, Sizes, Step, layer};
use banksia_workloads::{GptConfig, zoo};

use crate::rows::{Row, number, whole};
use crate::value::Value;

/// The suites, and how each puts times together: as the artifact does, and as the machine needs it, whose errors are what changes.
pub(crate) const SUITES: [(&str, Rules); 2] = [("h2llm", Rules::Artifact), ("h2llm-machine", Rules::Machine)];
/// Its rows: every other of the artifact's.
pub(crate) const ROWS: &str = include_str!("../../tests/reference/pim/h2llm_fixed_mappings.csv");

/// The longest context of the artifact's tokens, whatever the model: its rows of longer ones take what this takes.
const ARTIFACT_CONTEXT: u64 = 2048;

/// Columns of the times, and what each is of.
const TIMES: [(&str, &str); 3] =
    [("e2e_s_per_layer", "latency_s"), ("prefill_s_per_layer", "prefill_s"), ("decode_s_per_layer", "decode_s")];

/// Models of the artifact, by the names of the zoo.
fn model(name: &str) -> Result<GptConfig, String> {
    let known = match name {
        "Llama-3-8B" => "llama3.1-8b",
        "OPT-6.7B" => "opt-6.7b",
        "PaLM-8B" => "palm-8b",
        other => other,
    };
    zoo::gpt(known).map_err(|e| first_line(&e))
}

fn first_line(e: &InputError) -> String {
    let mut text = e.to_string();
    text.truncate(text.find('\n').unwrap_or(text.len()));
    text
}

/// The numbers of a text, in their order.
fn numbers(text: &str) -> Vec<f64> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|n| n.parse().ok()).collect()
}

/// The machine of a row: its channels, and processors `(UNITS FPU, CLOCK MHz, RATE GB/s)`.
fn machine(row: &Row) -> Result<NmpMachine, String> {
    let mut machine = NmpMachine::load("h2-llm").map_err(|e| first_line(&e))?;
    machine.channels.count = whole(row, "channels", 1..=1 << 12)?;
    machine.channels.near_memory = whole(row, "nmp_channels", 0..=machine.channels.count)?;
    let pe = row.get("pe").ok_or("no column pe")?;
    let &[units, clock, rate] = numbers(pe).as_slice() else {
        return Err(format!("pe is `{pe}`: must be units, clock in MHz and rate in GB/s"));
    };
    if !(1.0..=4096.0).contains(&units) || !(1e-3..=1e6).contains(&clock) || !(1e-3..=1e6).contains(&rate) {
        return Err(format!("pe is `{pe}`: out of range"));
    }
    machine.processor.units = units as u32;
    machine.processor.clock_mhz = clock;
    machine.processor.bandwidth_gb_per_s = rate;
    Ok(machine)
}

/// Seconds of a layer: of all, of the prompt, and of all tokens that are generated.
fn predict(row: &Row, rules: Rules) -> Result<[f64; 3], String> {
    let name = row.get("mapping").ok_or("no column mapping")?;
    let choice = Choice::named(name).ok_or_else(|| format!("mapping {name} is not one of H2-LLM's"))?;
    let machine = choice.machine(&machine(row)?);
    if machine.channels.near_memory == 0 && choice.npus == 1 && name != "npu_only" {
        return Err(format!("mapping {name} without near-memory channels"));
    }
    let gpt = model(row.get("model").map_or("", String::as_str))?;
    let sizes = Sizes {
        width: gpt.width,
        heads: gpt.heads,
        kv_heads: gpt.kv_heads,
        ffn_width: gpt.ffn_width,
        gated: gpt.gated,
    };
    let of = |key: &str, most: u32| whole(row, key, 1..=most).map(u64::from);
    let (batch, prompt, generated) = (of("batch", 1 << 16)?, of("prompt", 1 << 20)?, of("generated", 1 << 20)?);
    let seconds = |step: Step, is_prompt: bool| -> f64 {
        let jobs = layer(&sizes, &step).into_iter().map(|(o, p)| choice.place(&machine, o, p, is_prompt));
        jobs.map(|job| machine.seconds(&job, rules)).sum()
    };
    let first = seconds(Step { batch, new: prompt, context: prompt }, true);
    let token = |context| seconds(Step { batch, new: 1, context }, false);
    let rest = match rules {
        // The artifact takes every token for the last, and no context for longer than the model's.
        Rules::Artifact => token((prompt + generated).min(ARTIFACT_CONTEXT)) * generated as f64,
        Rules::Machine => (1..=generated).map(|i| token(prompt + i)).sum(),
    };
    Ok([first + rest, first, rest])
}

/// The values of all rows.
pub(crate) fn values(rows: &[Row], rules: Rules, progress: &(dyn Fn(u64, u64) + Sync)) -> Vec<Value> {
    let mut values = Vec::new();
    let mut settings: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        let predicted = predict(row, rules);
        let get = |key: &str| row.get(key).map_or("", String::as_str);
        let setting = ["model", "dataset", "batch"].map(get).join(" ");
        for (place, (column, metric)) in TIMES.into_iter().enumerate() {
            let measured = number(row, column);
            if let (0, Ok(measured), Ok(times)) = (place, &measured, &predicted) {
                settings
                    .entry(
                        ["channels", "nmp_channels", "pe"]
                            .map(get)
                            .iter()
                            .fold(setting.clone(), |s, of| format!("{s} {of}")),
                    )
                    .or_default()
                    .push((*measured, times[0]));
            }
            values.push(Value {
                device: "h2-llm".to_owned(),
                op: get("mapping").to_owned(),
                metric,
                label: setting.clone(),
                predicted: measured.clone().and_then(|_| predicted.clone()).map(|times| times[place]),
                measured: measured.unwrap_or(0.0),
            });
        }
        progress(i as u64 + 1, rows.len() as u64);
    }
    for (label, pairs) in settings {
        if let Some(tau) = banksia_reports::kendall_tau(&pairs) {
            let (op, device) = ("order".to_owned(), "h2-llm".to_owned());
            values.push(Value { device, op, metric: "kendall_tau", label, measured: 1.0, predicted: Ok(tau) });
        }
    }
    values
}
