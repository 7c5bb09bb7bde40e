//! `ladder_residual_h100.csv` (arXiv 2501.06589): tokens a second of Llama 3 over tensor-parallel H100, and speed-ups over the standard residual.
//!
//! Open, and taken: bfloat16 (gpt-fast), kernels from graphs; prompt and generated tokens as the setting says (1,024 and 512). Rows with
//! peer-to-peer copies switched off go over the host's memory, which is not modelled.

use std::collections::BTreeMap;

use banksia_mappers::parallel::inference::{Requests, Residual};
use banksia_mappers::parallel::{Shape, Software};

use super::case::{number, whole};
use crate::rows::Row;

/// A row as requests.
#[derive(Debug, Clone)]
pub(crate) struct Ladder {
    /// What it is.
    pub(crate) label: String,
    /// The model.
    pub(crate) shape: Shape,
    /// Tensor-parallel ranks.
    pub(crate) tp: u32,
    /// The way of its layers.
    pub(crate) residual: Residual,
    /// The requests.
    pub(crate) requests: Requests,
    /// What the standard residual was measured at, where that is known.
    pub(crate) standard: Option<f64>,
    /// The value is a speed-up over the standard residual; else tokens a second.
    pub(crate) speed_up: bool,
    /// The value.
    pub(crate) measured: f64,
    /// The framework.
    pub(crate) software: Software,
}

/// What tells rows apart that differ in the way of their layers alone.
const SAME: [&str; 5] = ["model", "batch", "links", "tp", "setting"];

/// Rows with what the standard residual was measured at beside them, where the file has it.
pub(crate) fn with_standard(mut rows: Vec<Row>) -> Vec<Row> {
    let key = |row: &Row| SAME.map(|k| row.get(k).cloned().unwrap_or_default());
    let is = |row: &Row, name: &str, value: &str| row.get(name).is_some_and(|v| v == value);
    let standard: BTreeMap<[String; 5], String> = rows
        .iter()
        .filter(|r| is(r, "variant", "standard") && is(r, "unit", "tokens/s"))
        .filter_map(|r| Some((key(r), r.get("value")?.clone())))
        .collect();
    for row in &mut rows {
        if let Some(value) = standard.get(&key(row)).filter(|_| is(row, "unit", "tokens/s")) {
            row.insert("standard".to_owned(), value.clone());
        }
    }
    rows
}

/// A row.
pub(crate) fn ladder(row: &Row) -> Result<Ladder, String> {
    let text = |key: &str| row.get(key).map_or("", String::as_str);
    if text("links") != "P2P on (NVLink)" {
        return Err("peer-to-peer copies are off: over the host's memory, which is not modelled".into());
    }
    let shape = match text("model") {
        "Llama-3-70B" => Shape::llama(80, 8192, [64, 8], 28_672, 128_256),
        "Llama-3-405B" => Shape::llama(126, 16_384, [128, 8], 53_248, 128_256),
        other => return Err(format!("model {other} is not known")),
    };
    let residual = match text("variant") {
        "standard" => Residual::Standard,
        "ladder" => Residual::Ladder,
        "parallel" => Residual::Parallel,
        "upper_bound" => Residual::NoCommunication,
        other => return Err(format!("variant {other} is not known")),
    };
    let measured = number(row, "value").map_err(|_| "did not fit in memory".to_owned())?;
    let (batch, tp) = (whole(row, "batch")?, whole(row, "tp")?);
    Ok(Ladder {
        label: format!("{} batch {batch} tp{tp} {}", text("model"), text("variant")),
        shape,
        tp,
        residual,
        requests: Requests { batch, prompt: 1024, generated: 512 },
        speed_up: text("unit").starts_with("speedup"),
        standard: number(row, "standard").ok().filter(|_| residual != Residual::Standard),
        measured,
        software: Software { graphs: true, ..Software::MEGATRON_CORE },
    })
}
