//! PyTorch's `scaled_dot_product_attention` by its FlashAttention backend: version 2 on every device that has it, in prefill and in decode.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Tensor, Tile, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::decode::{split, splits2};
use super::flash2::{flash2_of_torch, setup};
use super::{Attention, SplitDecode};
use crate::gpu::{copy, one_role};

/// Keys of a block of the kernels that split keys (`run_mha_fwd_splitkv_dispatch`).
fn block(d: u32) -> u32 {
    match d {
        0..=64 => 256,
        65..=128 => 128,
        _ => 64,
    }
}

/// A single query of heads that share keys becomes as many queries of the shared head (`seqlenq_ngroups_swapped`); one query needs no mask.
fn as_launched(a: &Attention) -> Attention {
    let causal = a.causal && a.queries > 1;
    if a.queries == 1 && a.group() > 1 && a.window == 0 {
        Attention { heads: a.kv_heads, queries: a.group(), causal: false, ..*a }
    } else {
        Attention { causal, ..*a }
    }
}

/// Parts that PyTorch splits the keys into (`set_params_splitkv`): by tiles of 64 queries over twice the SMs, prefill and decode alike.
pub fn sdpa_parts(a: &Attention, spec: &GpuSpec) -> u32 {
    let a = as_launched(a);
    let tiles = a.batch.saturating_mul(a.heads).saturating_mul(a.queries.div_ceil(64));
    splits2(tiles, spec.sms(), a.keys.div_ceil(block(a.padded(2).0)))
}

/// The launches of one attention over caches that lie in one piece: one kernel, or one that splits keys and one that joins its parts.
pub fn torch_sdpa(a: &Attention, spec: &GpuSpec) -> Vec<Kernel> {
    let parts = sdpa_parts(a, spec);
    let a = as_launched(a);
    let (d, _) = a.padded(2);
    if parts <= 1 || d > 256 {
        return vec![flash2_of_torch(&a, spec)];
    }
    let layout = SplitDecode { rows: 64, keys: block(d), stages: 1, per_sm: 2, packed: false };
    let mut kernels = split(&a, spec, layout, parts);
    kernels.truncate(1);
    kernels.push(combine2(&a, spec, parts));
    kernels
}

/// Joins the parts of a split attention (`flash_fwd_splitkv_combine_kernel`): a CTA of 128 threads takes 4, 8 or 16 rows, by the size of a
/// head; it reads the sums of all parts, then one part after the other, none before the one ahead has come.
pub fn combine2(a: &Attention, spec: &GpuSpec, parts: u32) -> Kernel {
    let (dv, padded) = (a.values(), a.padded(2).1);
    let per_cta: u32 = match padded {
        d if d.is_multiple_of(128) => 4,
        d if d.is_multiple_of(64) => 8,
        _ => 16,
    };
    let rows = u64::from(a.batch) * u64::from(a.heads) * u64::from(a.queries);
    let ctas = rows.div_ceil(u64::from(per_cta)).clamp(1, 1 << 24) as u32;
    let parts = parts.max(1);
    let tile = |tensor: u8, bytes: u32, of_part: i64| Tile {
        tensor,
        row: Expr::work(0, i64::from(per_cta)).plus_loop(0, of_part),
        byte: Expr::default(),
        rows: per_cta,
        bytes,
    };
    let scales = Tile {
        rows: 1,
        bytes: 4 * parts * per_cta,
        row: Expr::default(),
        byte: Expr::work(0, i64::from(4 * parts * per_cta)),
        tensor: 0,
    };
    let instructions = |per_warp: f64, latency_cycles: f64| {
        let all = 4.0 * per_warp;
        VectorWork {
            issue: all,
            fma: 0.3 * 32.0 * all,
            alu: 0.3 * 32.0 * all,
            latency_cycles,
            stall: 2.0,
            ..VectorWork::default()
        }
    };
    // Of a part a thread has so many elements: a product and a sum each, the part's scale from shared memory, addresses and bounds.
    let elements = f64::from(per_cta * padded) / 128.0;
    let ops = vec![
        setup(spec),
        copy(scales, Path::Load, 0),
        Op::Wait(0),
        Op::Sync,
        // A maximum and a sum over the parts by shuffles, twice five steps; exponentials; a logarithm; the scales to shared memory.
        Op::Vector(instructions(80.0, 10.0 * 24.0 + 4.0 * 40.0)),
        Op::Sync,
        Op::Loop(Trips::Const(parts)),
        copy(tile(1, dv * 4, rows.min(i64::MAX as u64) as i64), Path::Load, 0),
        Op::Wait(0),
        Op::Vector(instructions(20.0 + 2.0 * elements, 60.0)),
        Op::End,
        Op::Store { tile: tile(2, dv * 2, 0), reduce: false },
    ];
    let accumulated = Tensor::matrix(rows * u64::from(parts), u64::from(dv) * 4, per_cta, (dv * 4).min(256));
    Kernel {
        name: format!("join {parts} parts of {rows} rows"),
        threads: 128,
        registers: 64,
        shared_bytes: 4 * 129 * per_cta,
        cluster: 1,
        grid: ctas,
        items: (0..ctas).map(|i| [i as i32, 0, 0, 0, 0, 0]).collect(),
        tensors: vec![
            Tensor::matrix(1, rows * u64::from(parts) * 4, 1, 256),
            accumulated,
            Tensor::matrix(rows, u64::from(dv) * 2, per_cta, (dv * 2).min(256)),
        ],
        barriers: vec![Barrier { arrivals: 1, credits: 0 }],
        roles: one_role(4, ops),
        pipelined: false,
    }
}
