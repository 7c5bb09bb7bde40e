//! `moe_folding_table3/4/5*.csv` (MoE Parallel Folding, arXiv 2504.14960): MFU of five ways to train mixtures of experts on H100.
//!
//! Open in the rows, and taken: micro batches of one; stages cut into chunks of one layer; experts without drop and in balance (a capacity factor
//! of one); FlashAttention, bfloat16, a distributed optimiser, gradients and parameters overlapped. Table 4 has no mappings: a method has that of
//! Table 3 for its model where there is one, else the nearest of [`MAPPINGS`].

use banksia_mappers::parallel::{
    Experts, Overlap, Parallel, Precision, Schedule, Shape, Software, Train, TrainReport, Zero,
};

use super::case::{Case, number, whole, whole_or};
use crate::rows::Row;

/// Model and method, and its `[cp, tp, ep, pp, etp]`; `etp` of 0 is that of `tp`. Those of Table 3 as far as its
/// rows have them; else assumed: experts over the eight devices of a node where a method spreads them without stages.
const MAPPINGS: [(&str, &str, [u32; 5]); 20] = [
    ("Mixtral-8x22B", "FSDP", [1, 8, 1, 1, 0]),
    ("Mixtral-8x22B", "FSDP + EP", [1, 4, 8, 1, 0]),
    ("Mixtral-8x22B", "TP + EP + DP", [1, 4, 8, 1, 0]),
    ("Mixtral-8x22B", "MCore", [1, 2, 4, 8, 0]),
    ("Mixtral-8x22B", "MCore w/ Folding", [1, 2, 8, 8, 1]),
    ("Qwen2-57B-A14B", "FSDP", [1, 2, 1, 1, 0]),
    ("Qwen2-57B-A14B", "FSDP + EP", [1, 2, 8, 1, 0]),
    ("Qwen2-57B-A14B", "TP + EP + DP", [1, 4, 8, 1, 0]),
    ("Qwen2-57B-A14B", "MCore", [1, 2, 4, 4, 0]),
    ("Qwen2-57B-A14B", "MCore w/ Folding", [1, 2, 4, 4, 1]),
    ("Mixtral-8x22B-G8T8", "FSDP", [1, 8, 1, 1, 0]),
    ("Mixtral-8x22B-G8T8", "FSDP + EP", [1, 4, 8, 1, 0]),
    ("Mixtral-8x22B-G8T8", "TP + EP + DP", [1, 8, 8, 1, 0]),
    ("Mixtral-8x22B-G8T8", "MCore", [1, 2, 8, 8, 0]),
    ("Mixtral-8x22B-G8T8", "MCore w/ Folding", [1, 4, 8, 8, 1]),
    ("Llama3-8x70B", "FSDP", [1, 8, 1, 1, 0]),
    ("Llama3-8x70B", "FSDP + EP", [1, 8, 8, 1, 0]),
    ("Llama3-8x70B", "TP + EP + DP", [1, 8, 8, 1, 0]),
    ("Llama3-8x70B", "MCore", [1, 8, 4, 8, 0]),
    ("Llama3-8x70B", "MCore w/ Folding", [1, 8, 8, 16, 1]),
];

/// The models: Mixtral 8x22B and Qwen2-57B-A14B by their configurations; G8T8 cuts each expert of Mixtral in eight; Llama 3 70B has eight of its
/// feed-forward layers as experts, two of them for a token.
fn shape(model: &str) -> Option<Shape> {
    let of = |shape: Shape, count, top_k, ffn, shared_ffn| {
        Some(Shape { experts: Some(Experts { count, top_k, ffn, shared_ffn }), ..shape })
    };
    match model {
        "Mixtral-8x22B" => of(Shape::llama(56, 6144, [48, 8], 16_384, 32_768), 8, 2, 16_384, 0),
        "Mixtral-8x22B-G8T8" => of(Shape::llama(56, 6144, [48, 8], 16_384, 32_768), 64, 8, 2048, 0),
        "Qwen2-57B-A14B" => of(Shape::llama(28, 3584, [28, 4], 18_944, 151_936), 64, 8, 2560, 20_480),
        "Llama3-8x70B" => of(Shape::llama(80, 8192, [64, 8], 28_672, 128_256), 8, 2, 28_672, 0),
        _ => None,
    }
}

/// MFU as the paper has it, per cent: of 989.5 TFLOP/s, each query with the keys before it alone (the rows of long sequences show that).
pub(crate) fn mfu_pct(case: &Case, report: &TrainReport) -> f64 {
    let per_token = case.shape.model_flops_per_token(case.train.sequence, true);
    100.0 * per_token * report.tokens_per_s / (f64::from(report.devices) * 989.5e12)
}

/// A row of any of the three tables; `measured` is its MFU, per cent.
pub(crate) fn case(row: &Row) -> Result<Case, String> {
    let (model, method) =
        (row.get("model").cloned().unwrap_or_default(), row.get("method").cloned().unwrap_or_default());
    let Some(shape) = shape(&model) else { return Err(format!("model {model} is not known")) };
    let known = MAPPINGS.iter().find(|(m, w, _)| *m == model && *w == method).map(|(_, _, map)| *map);
    let Some([cp, tp, ep, pp, etp]) = known else { return Err(format!("method {method} is not known")) };
    let (cp, tp, ep) = (whole_or(row, "cp", cp)?, whole_or(row, "tp", tp)?, whole_or(row, "ep", ep)?);
    let (pp, etp) = (whole_or(row, "pp", pp)?, whole_or(row, "etp", etp)?);
    let gpus = whole(row, "gpus")?;
    let sequence = whole_or(row, "seq", 4096)?;
    // Table 4's global batch stands in its caption.
    let strong = !row.contains_key("tp");
    let global_batch = whole_or(row, "gbs", if strong { 1024 } else { 256 })?;
    let dp = (gpus / (tp * cp * pp).max(1)).max(1);
    let sharded = method.starts_with("FSDP");
    let virtual_stages = if pp > 1 && shape.layers.is_multiple_of(pp) { shape.layers / pp } else { 1 };
    let parallel = Parallel {
        tp,
        cp,
        ep,
        pp,
        dp,
        expert_tp: etp,
        sequence: tp > 1,
        virtual_stages,
        schedule: Schedule::OneForwardOneBackward,
        zero: if sharded { Zero::Weights } else { Zero::Optimizer },
        overlap: Overlap { gradients: true, parameters: true, pipeline: true, ..Overlap::default() },
        ..Parallel::default()
    };
    Ok(Case {
        label: format!("{model} {method} gpus{gpus} s{sequence} tp{tp} cp{cp} ep{ep} pp{pp} dp{dp} etp{etp}"),
        measured: number(row, "mfu_pct")?,
        shape,
        parallel,
        train: Train { micro_batch: 1, global_batch, sequence, precision: Precision::Bf16, ..Train::default() },
        software: Software::MEGATRON_CORE,
        machine: "h100-eos",
    })
}
