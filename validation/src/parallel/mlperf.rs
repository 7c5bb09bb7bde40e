//! `mlperf_training_llm.csv`: seconds of a step of MLPerf Training on nodes of H100, H200 and B200, and racks of GB200.
//!
//! Taken where a row leaves it open: Llama-3.1-405B has the settings of its file, or of another system of the same GPU: eight stages with
//! eight chunks each, two context-parallel ranks, tensor parallel over eight H100 and over four others, the embedding and the head for a layer each.
//! Llama-3.1-8B has as many replicas as sequences of a step over its accumulated batches, and tensor parallel over the rest. All run in eight
//! bits with FlashAttention, sequence parallel in pieces beside products, a distributed optimiser, gradients and parameters
//! overlapped, no recomputation, kernels from graphs. GB200 of round 5.0 (eight bits) lie in racks of one NVLink domain, 64 GPUs of each. Other benchmarks,
//! other makers' devices, GB300 and what ran in four bits are not predicted.

use banksia_mappers::parallel::{Overlap, Parallel, Precision, Schedule, Shape, Software, Train, Zero};

use super::case::{Case, number, whole, whole_or};
use crate::rows::Row;

/// A row with seconds of its steps.
pub(crate) fn case(row: &Row) -> Result<Case, String> {
    let text = |key: &str| row.get(key).map_or("", String::as_str);
    let measured = number(row, "step_s_median").map_err(|_| "has no seconds of a step".to_owned())?;
    let accelerator = text("accelerator");
    let machine = match accelerator {
        a if a.contains("GB300") => return Err("the GB300's GPU, and training in four bits, are not modelled".into()),
        // Llama-3.1-405B in round 5.1 ran in four bits there; so, it is taken, did 8B.
        a if a.contains("GB200") && text("round") != "v5.0" => {
            return Err("training in four bits (NVFP4) is not modelled".into());
        }
        a if a.contains("GB200") => "gb200-nvl72",
        a if a.contains("H200") => "h200",
        a if a.contains("H100") => "h100-eos",
        a if a.contains("B200") => "b200",
        _ => return Err(format!("accelerator {accelerator} is not modelled")),
    };
    let (nodes, per_node) = (whole(row, "nodes")?, whole(row, "accel_per_node")?);
    let ranks = nodes * per_node;
    let global_batch = whole(row, "global_batch")?;
    let micro_batch = whole_or(row, "mbs", 1)?.max(1);
    let sequence = whole_or(row, "seq", 8192)?;
    let benchmark = text("benchmark");
    let (shape, parallel) = match benchmark {
        "llama31_405b" => {
            let shape = Shape::llama(126, 16_384, [128, 8], 53_248, 128_256);
            let tp = whole_or(row, "tp", if machine == "h100-eos" { 8 } else { 4 })?;
            let (pp, cp) = (whole_or(row, "pp", 8)?, whole_or(row, "cp", 2)?);
            let virtual_stages = whole_or(row, "vp", 8)?;
            (shape, Parallel { tp, pp, cp, virtual_stages, ends_count: true, ..Parallel::default() })
        }
        "llama31_8b" => {
            let accumulated = number(row, "grad_accum").map_or(1, |v| v as u32).max(1);
            let dp = (global_batch / (accumulated * micro_batch)).clamp(1, ranks);
            let rest = (ranks / dp).max(1);
            let tp = whole_or(row, "tp", rest)?;
            (
                Shape::llama(32, 4096, [32, 8], 14_336, 128_256),
                Parallel { tp, cp: whole_or(row, "cp", 1)?, ..Parallel::default() },
            )
        }
        other => return Err(format!("benchmark {other} is not modelled")),
    };
    let dp = ranks / parallel.model_ranks().max(1);
    let parallel = Parallel {
        dp,
        sequence: parallel.tp > 1,
        schedule: Schedule::OneForwardOneBackward,
        zero: Zero::Optimizer,
        overlap: Overlap { tensor: true, gradients: true, parameters: true, pipeline: true, ..Overlap::default() },
        ..parallel
    };
    Ok(Case {
        label: format!(
            "{benchmark} {ranks}x{machine} gb{global_batch} tp{} pp{} cp{} dp{dp}",
            parallel.tp, parallel.pp, parallel.cp
        ),
        measured,
        shape,
        parallel,
        train: Train { micro_batch, global_batch, sequence, precision: Precision::Fp8, ..Train::default() },
        software: Software { graphs: true, ..Software::MEGATRON_CORE },
        machine,
    })
}
