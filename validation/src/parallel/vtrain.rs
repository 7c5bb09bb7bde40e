//! `vtrain_a100_single_node.csv` and `vtrain_a100_multi_node.csv`: GPT under Megatron-DeepSpeed on A100 (vTrain, MICRO'24).
//!
//! The rows say sizes, ranks and batches. Open, and taken: 50,257 words (GPT-2), filled up to 128 a rank where tensor ranks share them, and as they are on one rank (its head runs at a
//! third of the rate there); full recomputation of every layer, half precision and 1F1B, as the
//! repository says; all-reduced gradients of two bytes; fused softmax, no FlashAttention (2022).

use banksia_mappers::parallel::{Overlap, Parallel, Precision, Recompute, Shape, Software, Train};

use super::case::{Case, number, whole};
use crate::rows::Row;

/// A row of either table.
pub(crate) fn case(row: &Row) -> Result<Case, String> {
    let [layers, hidden, heads, sequence] =
        ["layers", "hidden_size", "attention_heads", "sequence_length"].map(|k| whole(row, k));
    let (layers, hidden, heads, sequence) = (layers?, hidden?, heads?, sequence?);
    let (tp, dp, pp) =
        (whole(row, "tensor_parallelism")?, whole(row, "data_parallelism")?, whole(row, "pipeline_parallelism")?);
    let (micro_batch, global_batch) = (whole(row, "micro_batch")?, whole(row, "global_batch")?);
    let parallel = Parallel {
        tp,
        dp,
        pp,
        overlap: Overlap { tensor_gradients: false, ..Overlap::default() },
        ..Parallel::default()
    };
    let train = Train {
        micro_batch,
        global_batch,
        sequence,
        recompute: Recompute::Full,
        precision: Precision::Fp16,
        ..Train::default()
    };
    Ok(Case {
        label: format!("h{hidden} L{layers} mb{micro_batch} gb{global_batch} tp{tp} dp{dp} pp{pp}"),
        measured: number(row, "iteration_time_ms")? * 1e-3,
        shape: Shape::gpt(layers, hidden, heads, 50_257, sequence),
        parallel,
        train,
        software: Software { pads_vocabulary: tp > 1, ..Software::MEGATRON_DEEPSPEED },
        machine: "vtrain-a100",
    })
}
