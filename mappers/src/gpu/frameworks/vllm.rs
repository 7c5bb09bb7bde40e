//! vLLM: FlashAttention over the pages of its cache.

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::spec::GpuSpec;

use super::call::{AttentionCall, triton_decode};
use crate::gpu::attention::{
    Flash3, attention4, cache_write, decode2, decode3, flash2_paged, flash3, prepare_varlen, quantise_queries,
};

/// New keys and values are written into the cache, then FlashAttention runs over its pages: version 3 on Hopper, with the kernel that
/// prepares variable lengths; version 2 before, whose paged kernels are those that split keys.
pub(super) fn attention(call: &AttentionCall, spec: &GpuSpec) -> Vec<Kernel> {
    let a = &call.attention;
    let hopper = spec.tensor.warpgroup;
    let version3 = hopper && !call.triton;
    let mut kernels = vec![cache_write(a, spec, false)];
    let blackwell = spec.tensor.memory_bytes > 0 && !call.triton;
    if version3 && !blackwell {
        kernels.push(prepare_varlen(spec, a.batch));
    }
    if a.kv_bytes < 2 {
        // Eight-bit keys are multiplied by eight-bit queries.
        kernels.push(quantise_queries(a, spec));
    }
    if blackwell {
        // FlashInfer's entry to TensorRT-LLM's kernels.
        kernels.push(attention4(a, call.of_prompt(), spec));
        return kernels;
    }
    let varlen = Flash3 { varlen: true, paged: true, one_group: true, ..Flash3::default() };
    match (call.of_prompt(), version3) {
        (true, true) => kernels.push(flash3(a, spec, varlen)),
        (false, true) => kernels.extend(decode3(a, spec, varlen, true)),
        (true, false) => kernels.push(flash2_paged(a, spec)),
        (false, false) if hopper => kernels.extend(triton_decode(a, spec)),
        (false, false) => kernels.extend(decode2(a, spec)),
    }
    kernels
}
