//! TensorRT-LLM: lengths, rotation and cache in kernels of its own.

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::spec::GpuSpec;

use super::call::{AttentionCall, in_16_bits};
use crate::gpu::attention::{
    Decode, Flash3, attention4, auxiliary, cache_write, decode_kernel, flash2, flash3, grouped_decode,
    grouped_decode_hopper, head_decode,
};

/// Its attention packs no heads in prefill; in decode it has three kernels, of which two prepare, rotate and write the cache themselves.
pub(super) fn attention(call: &AttentionCall, spec: &GpuSpec) -> Vec<Kernel> {
    let a = &call.attention;
    let prompt = call.of_prompt();
    let decode = decode_kernel(a, spec);
    // 128 elements are rotated, which the kernel by warpgroups does if a head has so many (`appliesRoPEInXqaKernel`).
    let writes = !prompt
        && match decode {
            Decode::SingleHeads => true,
            Decode::SharedKeys => false,
            Decode::SharedKeysHopper => a.head_dim >= 128,
        };
    let blackwell = spec.tensor.memory_bytes > 0;
    let mut kernels = Vec::new();
    if !writes || blackwell {
        kernels.push(cache_write(a, spec, true));
        let beside = if prompt { 4 } else { 1 };
        kernels.extend((0..beside).map(|_| auxiliary(spec, 1024)));
    }
    kernels.push(match decode {
        _ if blackwell => attention4(a, prompt, spec),
        _ if prompt && spec.tensor.warpgroup && !call.triton && a.window == 0 => {
            flash3(a, spec, Flash3 { unpacked: true, ..Flash3::default() })
        }
        // Its windows do not run at the rate of its warp-specialised kernels, nor faster in eight bits.
        _ if prompt => flash2(&in_16_bits(a), spec),
        Decode::SingleHeads => head_decode(a, spec, call.keys_only),
        Decode::SharedKeys => grouped_decode(a, spec, call.keys_only),
        Decode::SharedKeysHopper => grouped_decode_hopper(a, spec),
    });
    kernels
}
