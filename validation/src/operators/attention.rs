//! Attention of PyTorch: FlashAttention-2, forward.

use banksia_hw::gpu::GpuSpec;
use banksia_mappers::gpu::attention::{Attention, torch_sdpa};
use banksia_mappers::gpu::launch::{Item, Operand};
use serde_json::Value as Json;

use super::call::{Call, argument};
use crate::rows;

pub(super) fn call(args: &Json, spec: &GpuSpec) -> Result<Call, String> {
    let u = |key: &str, most: u64| argument(args, key, most).map(|n| n as u32);
    let a = Attention {
        batch: u("b", 1 << 16)?,
        heads: u("h", 4096)?,
        kv_heads: u("hk", 4096)?,
        queries: u("l", 1 << 20)?,
        keys: u("l", 1 << 20)?,
        head_dim: u("d", 4096)?,
        causal: u("causal", 1)? == 1,
        ..Attention::default()
    };
    if a.batch == 0 || a.queries == 0 || a.kv_heads == 0 || a.head_dim == 0 {
        return Err("attention of nothing: b, l, hk and d must be at least 1".into());
    }
    rows::attention(&a, spec)?;
    let kernels = torch_sdpa(&a, spec);
    let result = if kernels.len() > 1 { "parts" } else { "out" };
    let items = kernels
        .into_iter()
        .map(|k| match k.tensors.len() {
            0..=3 => Item::kernel(k, ["sums", "parts", "out"].map(Operand::shared)),
            n => {
                // What spills lies between the values and the result.
                let spilled = (4..n).map(|_| Operand::shared("scratch"));
                let operands = ["q", "k", "v"].map(Operand::own).into_iter().chain(spilled);
                Item::kernel(k, operands.chain([Operand::shared(result)]))
            }
        })
        .collect();
    // One set of operands (`fa` of the program that measured it).
    Ok(Call { items, copies: 1 })
}
