//! PyTorch: FlashAttention over caches that lie in one piece.

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::spec::GpuSpec;

use super::call::AttentionCall;
use crate::gpu::attention::{Flash3, SplitDecode, attention4, decode3, flash2, flash3, split_decode};

/// FlashAttention-3 where the device has `wgmma`, -4 where it has `tcgen05`, else -2; in decode the cache is split over CTAs.
pub(super) fn attention(call: &AttentionCall, spec: &GpuSpec) -> Vec<Kernel> {
    let a = &call.attention;
    if spec.tensor.memory_bytes > 0 {
        return vec![attention4(a, call.of_prompt(), spec)];
    }
    match (call.of_prompt(), spec.tensor.warpgroup) {
        (true, true) => vec![flash3(a, spec, Flash3::default())],
        (true, false) => vec![flash2(a, spec)],
        (false, true) => decode3(a, spec, Flash3::default(), true),
        (false, false) => {
            split_decode(a, spec, SplitDecode { rows: 64, keys: 128, stages: 1, per_sm: 1, packed: true })
        }
    }
}
