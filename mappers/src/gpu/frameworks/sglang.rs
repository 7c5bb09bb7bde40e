//! SGLang: FlashAttention-3 everywhere.

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::spec::GpuSpec;

use super::call::{AttentionCall, in_16_bits, triton_decode};
use crate::gpu::attention::{
    Flash3, attention4, cache_write, decode3, flash2, flash3, flash3_sync, prepare_varlen, quantise_queries,
};

/// Version 3 has kernels for devices before Hopper in SGLang's library. Its decode on Hopper leaves no time for the cache write.
pub(super) fn attention(call: &AttentionCall, spec: &GpuSpec) -> Vec<Kernel> {
    let a = &call.attention;
    let hopper = spec.tensor.warpgroup;
    let prompt = call.of_prompt();
    if spec.tensor.memory_bytes > 0 && !call.triton {
        // `trtllm_mha`: FlashInfer's entry to TensorRT-LLM's kernels.
        let mut kernels = vec![cache_write(a, spec, false)];
        if a.kv_bytes < 2 {
            kernels.push(quantise_queries(a, spec));
        }
        kernels.push(attention4(a, prompt, spec));
        return kernels;
    }
    let mut kernels = Vec::new();
    if !hopper || prompt {
        kernels.push(cache_write(a, spec, false));
    }
    if !call.triton {
        kernels.push(prepare_varlen(spec, a.batch));
    }
    let varlen = Flash3 { varlen: true, paged: true, ..Flash3::default() };
    match (prompt, call.triton) {
        _ if !hopper => kernels.extend(flash3_sync(a, spec)),
        (true, false) => kernels.push(flash3(a, spec, varlen)),
        (false, false) => kernels.extend(decode3(a, spec, varlen, true)),
        (true, true) => kernels.push(flash2(&in_16_bits(a), spec)),
        (false, true) => kernels.extend(triton_decode(a, spec)),
    }
    kernels
}
