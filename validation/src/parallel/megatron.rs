//! Tables of the Megatron-LM papers: GPT on DGX A100 of Selene, and of Megatron-Core on DGX H100.

use banksia_mappers::parallel::{Overlap, Parallel, Precision, Recompute, Schedule, Shape, Software, Train, Zero};

use super::case::{Case, number, whole, whole_or};
use crate::rows::Row;

/// Sizes that all tables name alike.
fn shape(row: &Row) -> Result<Shape, String> {
    let [layers, hidden, heads] = ["layers", "hidden", "heads"].map(|k| whole(row, k));
    Ok(Shape::gpt(layers?, hidden?, heads?, whole_or(row, "vocab", 51_200)?, whole_or(row, "seq", 2048)?))
}

fn name(row: &Row) -> String {
    row.get("model").cloned().unwrap_or_default()
}

/// `korthikanti_table5.csv` (arXiv 2205.05198): seconds of an iteration. Open, and taken: half precision; 1F1B, interleaved where the row says;
/// full recomputation of every layer; gradients of four bytes, not overlapped.
pub(crate) fn korthikanti(row: &Row) -> Result<Case, String> {
    let mode = row.get("mode").map_or("", String::as_str);
    let sequence = mode.contains("sequence parallel");
    let recompute = match mode {
        m if m.contains("full") => Recompute::Full,
        m if m.contains("selective") => Recompute::Selective,
        _ => Recompute::None,
    };
    let parallel = Parallel {
        tp: whole(row, "tp")?,
        pp: whole(row, "pp")?,
        dp: whole(row, "dp")?,
        virtual_stages: whole_or(row, "interleave", 1)?.max(1),
        sequence,
        ..Parallel::default()
    };
    let train = Train {
        micro_batch: whole(row, "mbs")?,
        global_batch: whole(row, "gbs")?,
        sequence: whole_or(row, "seq", 2048)?,
        recompute,
        precision: Precision::Fp16,
        ..Train::default()
    };
    Ok(Case {
        label: format!("{} {} dp{}", name(row), mode, parallel.dp),
        measured: number(row, "iteration_s")?,
        shape: shape(row)?,
        parallel,
        train,
        software: Software::MEGATRON_2022,
        machine: "a100-selene",
    })
}

/// A layer of the 22B model (arXiv 2205.05198, Table 4): what is measured forward and backward, and the setting. Eight tensor-parallel ranks,
/// micro batches of four, as in Table 5.
pub(crate) fn layer(row: &Row) -> Result<(Case, [f64; 2]), String> {
    let experiment = row.get("experiment").map_or("", String::as_str);
    let sequence = experiment.contains("sequence");
    let recompute = match experiment {
        e if e.contains("selective") => Recompute::Selective,
        e if e.contains("with recompute") => Recompute::Full,
        _ => Recompute::None,
    };
    let times = [number(row, "forward_ms")? * 1e-3, number(row, "backward_ms")? * 1e-3];
    let case = Case {
        label: format!("layer of 22B, {experiment}"),
        measured: times[0] + times[1],
        shape: Shape::gpt(48, 6144, 64, 51_200, 2048),
        parallel: Parallel { tp: 8, sequence, ..Parallel::default() },
        train: Train {
            micro_batch: 4,
            global_batch: 4,
            sequence: 2048,
            recompute,
            precision: Precision::Fp16,
            ..Train::default()
        },
        software: Software::MEGATRON_2022,
        machine: "a100-selene",
    };
    Ok((case, times))
}

/// `megatron_sc21_table1_a100.csv` (arXiv 2104.04473): seconds by its equation 3. Open, and taken: one virtual stage where no layers of one are
/// given; full recomputation, half precision; gradients of four bytes, not overlapped; sends scattered and gathered.
pub(crate) fn sc21(row: &Row) -> Result<Case, String> {
    let (layers, pp) = (whole(row, "layers")?, whole(row, "pp")?);
    let per_chunk = whole_or(row, "layers_per_virtual_stage", 0)?;
    let virtual_stages = if per_chunk > 0 && pp > 1 { (layers / pp / per_chunk).max(1) } else { 1 };
    let parallel = Parallel {
        tp: whole(row, "tp")?,
        pp,
        dp: whole(row, "dp")?,
        virtual_stages,
        overlap: Overlap { tensor_gradients: false, ..Overlap::default() },
        ..Parallel::default()
    };
    let train = Train {
        micro_batch: whole(row, "mbs")?,
        global_batch: whole(row, "gbs")?,
        sequence: whole_or(row, "seq", 2048)?,
        recompute: Recompute::Full,
        precision: Precision::Fp16,
        ..Train::default()
    };
    Ok(Case {
        label: format!("{} tp{} pp{pp} dp{} v{virtual_stages}", name(row), parallel.tp, parallel.dp),
        measured: number(row, "iteration_s_derived_from_eq3")?,
        shape: shape(row)?,
        parallel,
        train,
        software: Software::MEGATRON_2021,
        machine: "a100-selene",
    })
}

/// Whichever of some columns a row has.
fn first_of(row: &Row, keys: &[&str]) -> Result<f64, String> {
    keys.iter()
        .find(|k| row.get(**k).is_some_and(|v| !v.trim().is_empty()))
        .map_or_else(|| Err(format!("has none of the columns {}", keys.join(", "))), |key| number(row, key))
}

/// `megatron_2024_h100.csv` (README of Megatron-LM, 2024): weak scaling of GPT on DGX H100. Open, and taken: 4,096 tokens, 131,072 words,
/// micro batches of one where the row has no other, bfloat16, FlashAttention, sequence parallel, a distributed optimiser, gradients and
/// parameters overlapped, pieces of tensor parallelism beside products, no recomputation.
pub(crate) fn core_2024(row: &Row) -> Result<Case, String> {
    let mut shape = shape(row)?;
    shape.vocab = whole_or(row, "vocab", 131_072)?;
    shape.dropout = false;
    let sequence = whole_or(row, "seq", 4096)?;
    shape.positions = sequence;
    let (tp, pp) = (whole(row, "tp")?, whole(row, "pp")?);
    let gpus = whole(row, "gpus")?;
    let dp = whole_or(row, "dp", gpus / (tp * pp).max(1))?;
    let parallel = Parallel {
        tp,
        pp,
        dp,
        sequence: tp > 1,
        virtual_stages: virtual_stages(row, shape.layers, pp)?,
        schedule: Schedule::OneForwardOneBackward,
        zero: Zero::Optimizer,
        overlap: Overlap { gradients: true, parameters: true, tensor: true, pipeline: true, ..Overlap::default() },
        ..Parallel::default()
    };
    let train = Train {
        micro_batch: whole_or(row, "mbs", 1)?,
        global_batch: whole(row, "gbs")?,
        sequence,
        precision: Precision::Bf16,
        ..Train::default()
    };
    let tokens = f64::from(train.global_batch) * f64::from(sequence);
    let measured =
        first_of(row, &["iteration_s", "iteration_s_derived", "iteration_s_derived_from_eq3"]).or_else(|_| {
            let tflops = first_of(row, &["tflops_per_gpu", "tflops"])?;
            let flops = shape.model_flops_per_token(sequence, false) * tokens;
            Ok::<f64, String>(flops / (tflops * 1e12 * f64::from(gpus)))
        })?;
    Ok(Case {
        label: format!("{} tp{tp} pp{pp} dp{dp}", name(row)),
        measured,
        shape,
        parallel,
        train,
        software: Software::MEGATRON_CORE,
        machine: "h100-eos",
    })
}

fn virtual_stages(row: &Row, layers: u32, pp: u32) -> Result<u32, String> {
    let direct = whole_or(row, "vp", 0)?.max(whole_or(row, "virtual_stages", 0)?);
    if direct > 0 {
        return Ok(direct);
    }
    let per_chunk = whole_or(row, "layers_per_virtual_stage", 0)?;
    Ok(if per_chunk > 0 && pp > 1 { (layers / pp / per_chunk).max(1) } else { 1 })
}
