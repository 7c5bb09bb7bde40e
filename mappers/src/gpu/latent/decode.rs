//! Latent attention of new tokens over the cache, as frameworks launch it.

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::spec::GpuSpec;

use super::launches::{cache_write, concatenated, copied, rotated};
use super::{LatentCall, LatentOperands, flashmla, items, latent3};
use crate::gpu::attention::{SplitDecode, auxiliary, one_cache, prepare_varlen, split_decode};
use crate::gpu::frameworks::Framework;
use crate::gpu::launch::Item;
use crate::gpu::quantise;

/// The launches of a decode or of a verification of drafts, without the products of [`super::absorb`] and [`super::expand`] around it.
///
/// # Errors
/// A size that no kernel can have.
pub fn decode(
    framework: Framework,
    call: &LatentCall,
    operands: &LatentOperands,
    spec: &GpuSpec,
) -> Result<Vec<Item>, String> {
    call.check()?;
    Ok(decode_items(framework, call, call.heads.saturating_mul(call.queries), operands, spec))
}

/// The same where FlashMLA's scheduler was told of so many rows of queries a token.
pub fn decode_items(
    framework: Framework,
    call: &LatentCall,
    for_rows: u32,
    operands: &LatentOperands,
    spec: &GpuSpec,
) -> Vec<Item> {
    items(decode_kernels(framework, call, spec, for_rows), operands)
}

/// The kernels of [`decode`]. On Hopper SGLang, and vLLM and PyTorch over 16 bits, take FlashAttention-3; TensorRT-LLM, and vLLM over 8 bits,
/// FlashMLA, whose scheduler is told of so many rows a token. Others take kernels of `mma.sync` that split keys. `for_rows` must be positive.
pub fn decode_kernels(framework: Framework, call: &LatentCall, spec: &GpuSpec, for_rows: u32) -> Vec<Kernel> {
    let hopper = spec.tensor.warpgroup;
    let eight_bits = call.cache_bytes < 2;
    let mut kernels = Vec::new();
    match framework {
        Framework::Trtllm => {
            // Rotates, puts queries together, writes the cache (`applyMLARopeAndAssignQKVKernelGeneration`), in eight bits converts all queries.
            let per_head = if eight_bits { call.width() } else { 2 * call.rope };
            kernels.push(rotated(spec, call.of_heads(per_head) + u64::from(call.tokens()) * u64::from(call.width())));
            if hopper {
                kernels.extend(flashmla(call, spec, for_rows));
            } else {
                kernels.extend(over_lanes(call, spec));
            }
        }
        Framework::Vllm | Framework::Torch | Framework::Compiled => {
            kernels.push(cache_write(call, spec));
            if hopper && eight_bits {
                kernels.push(concatenated(spec, call.of_heads(call.width())));
                let rows = call.tokens().saturating_mul(call.heads).max(1);
                kernels.push(quantise::with_scale(rows, call.width()));
                kernels.extend(flashmla(call, spec, for_rows));
            } else if hopper {
                kernels.extend(latent3(call, spec, true));
            } else {
                kernels.push(concatenated(spec, call.of_heads(call.width())));
                kernels.extend(over_lanes(call, spec));
            }
        }
        Framework::Sglang => {
            kernels.push(cache_write(call, spec));
            if hopper {
                kernels.extend(converted(call, spec));
                kernels.push(prepare_varlen(spec, call.batch));
                kernels.extend(latent3(call, spec, false));
            } else {
                kernels.extend(over_lanes(call, spec));
            }
        }
    }
    kernels
}

/// SGLang's cache of eight bits is converted as a whole before each attention (`get_key_buffer(..).to(q.dtype)`).
pub(super) fn converted(call: &LatentCall, spec: &GpuSpec) -> Option<Kernel> {
    let elements = u64::from(call.batch) * u64::from(call.keys) * u64::from(call.width());
    (call.cache_bytes < 2).then(|| conversion(spec, elements))
}

/// PyTorch's conversion of eight bits to 16 (`direct_copy_kernel_cuda` with operands of two types): types are found at run time, element by
/// element, by comparisons when it is loaded and when it is stored (about 24 instructions each), sign, exponent and mantissa are taken apart by
/// integer instructions and a count of leading zeros (`fp8e4m3fn_to_fp32_value`, 15), addresses and bounds (8). Counted by hand.
fn conversion(spec: &GpuSpec, elements: u64) -> Kernel {
    let mut k = copied(spec, elements);
    k.name = "convert cache to 16 bits".into();
    if let Some(t) = k.tensors.first_mut() {
        t.row_bytes = elements;
        t.piece_bytes = (t.piece_bytes / 2).max(32);
    }
    for op in k.roles.iter_mut().flat_map(|r| &mut r.ops) {
        match op {
            banksia_hw::gpu::program::Op::Copy { tile, .. } => {
                tile.bytes /= 2;
                for c in &mut tile.byte.work {
                    *c /= 2;
                }
            }
            banksia_hw::gpu::program::Op::Vector(v) => {
                let n = 1024.0;
                v.issue += n * 71.0 / 32.0;
                v.alu += n * 40.0;
                v.sfu += n;
            }
            _ => {}
        }
    }
    k
}

/// Kernels without warpgroups: heads are rows of a tile, keys are split; values are read where the keys are.
fn over_lanes(call: &LatentCall, spec: &GpuSpec) -> Vec<Kernel> {
    let a = call.absorbed();
    let rows = call.heads.saturating_mul(call.queries).clamp(16, 64).next_multiple_of(16);
    let mut kernels = split_decode(&a, spec, SplitDecode { rows, keys: 64, stages: 1, per_sm: 1, packed: true });
    if let Some(first) = kernels.first_mut() {
        one_cache(first);
    }
    if call.batch > 0 {
        kernels.insert(0, auxiliary(spec, 1024));
    }
    kernels
}
