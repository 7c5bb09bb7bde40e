//! `zero_bubble_tables4_5.csv` (arXiv 2401.10241): schedules of GPT on up to 32 A100.
//!
//! Open in the rows, and taken from the paper's Table 3: layers, heads, widths, 1,024 tokens, sequences of a micro batch; one layer less on the
//! first and the last stage; each layer a chunk of the interleaved schedule. Not said, and taken: 50,304 words, bfloat16, no
//! recomputation, no FlashAttention (Megatron-LM of 2023), sends that the stream and the host wait for in all schedules.

use banksia_mappers::parallel::{Overlap, Parallel, Precision, Schedule, Shape, Software, Train};

use super::case::{Case, number, whole};
use crate::rows::Row;

/// Layers, heads, hidden elements and sequences of a micro batch (Table 3).
const MODELS: [(&str, [u32; 4]); 4] = [
    ("1.5B", [22, 24, 2304, 6]),
    ("6.2B", [30, 32, 4096, 3]),
    ("14.6B", [46, 40, 5120, 1]),
    ("28.3B", [62, 48, 6144, 1]),
];

/// A row: its measured seconds are those of the throughput, where it has one.
pub(crate) fn case(row: &Row) -> Result<Case, String> {
    let model = row.get("model").map_or("", String::as_str);
    let Some((_, [layers, heads, hidden, micro_batch])) = MODELS.iter().find(|(n, _)| *n == model) else {
        return Err(format!("model {model} is not in the paper's Table 3"));
    };
    let (stages, micros) = (whole(row, "pipeline_stages")?, whole(row, "microbatches")?);
    let name = row.get("schedule").map_or("", String::as_str);
    let schedule = match name {
        "1F1B" => Schedule::OneForwardOneBackward,
        "1F1B-I" => Schedule::Interleaved,
        "ZB-H1" => Schedule::ZbH1,
        "ZB-H2" => Schedule::ZbH2,
        "ZB-1p" => Schedule::Zb1p,
        "ZB-2p" => Schedule::Zb2p,
        "ZB-V" => Schedule::ZbV,
        other => return Err(format!("schedule {other} is not one of ours")),
    };
    let virtual_stages = match schedule {
        Schedule::Interleaved => (layers + 2) / stages,
        Schedule::ZbV => 2,
        _ => 1,
    };
    let global_batch = micros * micro_batch;
    let per_gpu = number(row, "samples_per_gpu_s_measured");
    let measured = per_gpu.map_or(f64::NAN, |v| f64::from(global_batch) / (v * f64::from(stages)));
    let parallel = Parallel {
        pp: stages,
        virtual_stages,
        schedule,
        ends_count: true,
        overlap: Overlap::default(),
        ..Parallel::default()
    };
    Ok(Case {
        label: format!("{model} pp{stages} m{micros} {name}"),
        measured,
        shape: Shape::gpt(*layers, *hidden, *heads, 50_304, 1024),
        parallel,
        train: Train {
            micro_batch: *micro_batch,
            global_batch,
            sequence: 1024,
            precision: Precision::Bf16,
            ..Train::default()
        },
        software: Software { scatter_gather: false, ..Software::MEGATRON_2022 },
        machine: "a100-selene",
    })
}
