//! Latent attention of prompts, as frameworks launch it.

use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::spec::GpuSpec;

use super::decode::converted;
use super::launches::{cache_write, concatenated, copied, rotated};
use super::{LatentCall, LatentOperands, items, latent3};
use crate::gpu::attention::{Attention, Flash3, auxiliary, flash2, flash3, prepare_varlen};
use crate::gpu::frameworks::Framework;
use crate::gpu::gemm::Gemm;
use crate::gpu::launch::{Item, Operand};
use crate::gpu::quantise;

/// The launches of prompts with keys and values of each head. `products` says whether the product that makes these from latent vectors is
/// among them.
///
/// # Errors
/// A size that no kernel can have.
pub fn prefill(
    framework: Framework,
    call: &LatentCall,
    products: bool,
    operands: &LatentOperands,
    spec: &GpuSpec,
) -> Result<Vec<Item>, String> {
    call.check()?;
    let hopper = spec.tensor.warpgroup;
    let (k, v) = (Operand::shared("k"), Operand::shared("v"));
    let new = call.tokens();
    let up =
        |m: u32| Gemm::new(m, call.heads.saturating_mul(call.nope.saturating_add(call.value)), call.latent, call.dtype);
    let mut all = Vec::new();
    let whole = call.batch.saturating_mul(call.keys);
    let make = |all: &mut Vec<Item>| {
        if products {
            all.push(Item::product(up(whole), operands.latent.clone(), operands.weights.clone(), v.clone()));
        }
    };
    match framework {
        Framework::Trtllm => {
            make(&mut all);
            // Rotates parts of queries in place, gives each head its copy of the rotated key, writes the cache.
            let moved = call.of_heads(call.rope) * 3 / 2 + u64::from(new) * u64::from(call.width());
            let mut kernels: Vec<Kernel> = (0..3).map(|_| auxiliary(spec, 1024)).collect();
            kernels.push(rotated(spec, moved));
            all.extend(items(kernels, operands));
            let mut a = Attention { ..call.expanded() };
            if call.cache_bytes < 2 && hopper {
                let width = a.head_dim * 2 + a.value_dim;
                let rows = new.saturating_mul(call.heads).max(1);
                all.push(Item::kernel(quantise::with_scale(rows, width), [operands.queries.clone(), k.clone()]));
                a = Attention { dtype: Dtype::Fp8, kv_bytes: 1, ..a };
            }
            all.push(over(&a, spec, Flash3 { unpacked: true, ..Flash3::default() }, operands, [k, v]));
        }
        Framework::Vllm | Framework::Torch | Framework::Compiled | Framework::Sglang => {
            all.extend(items(vec![cache_write(call, spec)], operands));
            make(&mut all);
            let mut a = call.expanded();
            let kept = call.of_heads(a.head_dim);
            all.push(Item::kernel(concatenated(spec, kept), [v.clone(), k.clone()]));
            if hopper {
                all.extend(items(vec![prepare_varlen(spec, call.batch)], operands));
            } else {
                // Values are padded to the size of keys, and the result is cut.
                all.push(Item::kernel(concatenated(spec, kept), [v.clone(), v.clone()]));
                a.value_dim = 0;
            }
            all.push(over(&a, spec, Flash3 { varlen: true, ..Flash3::default() }, operands, [k, v]));
            let result = copied(spec, call.of_heads(call.value));
            all.push(Item::kernel(result, [operands.out.clone(), Operand::shared("attention_result")]));
        }
    }
    Ok(all)
}

/// FlashAttention over keys and values of each head.
fn over(a: &Attention, spec: &GpuSpec, kind: Flash3, operands: &LatentOperands, [k, v]: [Operand; 2]) -> Item {
    let kernel = if spec.tensor.warpgroup {
        flash3(a, spec, kind)
    } else {
        flash2(&Attention { dtype: a.wide(), kv_bytes: 2, ..*a }, spec)
    };
    let spilled = kernel.tensors.len().saturating_sub(4);
    let names = [operands.queries.clone(), k, v].into_iter().chain((0..spilled).map(|_| Operand::shared("scratch")));
    Item::kernel(kernel, names.chain([operands.out.clone()]))
}

/// The kernels of prompts over the cache itself, heads as rows: SGLang's FlashAttention-3 with queries that the products were moved to.
pub fn absorbed_prefill(call: &LatentCall, spec: &GpuSpec) -> Vec<Kernel> {
    let mut kernels = vec![cache_write(call, spec)];
    kernels.extend(converted(call, spec));
    if spec.tensor.warpgroup {
        kernels.push(prepare_varlen(spec, call.batch));
        kernels.extend(latent3(call, spec, false));
    } else {
        kernels.push(flash2(&Attention { kv_bytes: 2, ..call.absorbed() }, spec));
    }
    kernels
}
