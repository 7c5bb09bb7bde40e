//! FlashAttention-3's kernels for GPUs before Hopper, which SGLang calls there: `mma.sync`, one stage, over pages.

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::spec::GpuSpec;

use super::flash2::Tiled;
use super::{Attention, SplitDecode, combine, flash2, split_decode, splits};

/// A tile of `tile_size_fwd_sm8x` (FlashAttention's `hopper/tile_size.h`; pages, no window, 16 bits). Devices with less than 100 KB of shared memory for
/// a CTA (8.6, 8.9) have some of their own.
struct Shape {
    rows: u32,
    keys: u32,
    warps: u32,
    queries_in_registers: bool,
}

impl Shape {
    fn of(d: u32, split: bool, spec: &GpuSpec) -> Self {
        let small = spec.sm.shared_memory_per_cta_bytes < 150_000;
        let (keys, warps, queries_in_registers) = match d {
            0..=64 => (if split { 80 } else { 112 }, 4, false),
            65..=96 => (if split { 48 } else { 64 }, 4, false),
            97..=128 if split => (112, 8, true),
            97..=128 if small => (128, 8, true),
            97..=128 => (64, 4, false),
            129..=192 => (64, 8, false),
            _ if small => (if split { 48 } else { 64 }, 8, true),
            _ => (if split { 64 } else { 96 }, 8, false),
        };
        Self { rows: 128, keys, warps, queries_in_registers }
    }
}

/// Sequences of which the lengths are prepared by one CTA; beyond, keys are not split.
const BATCH: u32 = 992;

/// Cycles until a persistent CTA knows its next tile: as on Hopper, 0.45 us there.
const HANDOVER: f64 = 890.0;

/// Prefill and decode: query heads that share keys are rows of one tile. Keys may be split where the tiles of one sequence
/// leave SMs idle; how many parts there are is found on the device, from the work of all sequences. A second kernel joins
/// them, or finds nothing to join.
pub fn flash3_sync(a: &Attention, spec: &GpuSpec) -> Vec<Kernel> {
    let a = &Attention { causal: a.causal && a.queries > 1, ..*a };
    // The library has no kernels for larger heads; those of version 2's structure take their place.
    if a.head_dim.max(a.values()) > 256 {
        let layout = SplitDecode { rows: 64, keys: 64, stages: 1, per_sm: 1, packed: true };
        return if a.queries > 1 { vec![flash2(a, spec)] } else { split_decode(a, spec, layout) };
    }
    let rows = a.queries * a.group();
    let tiles = |bm: u32| a.kv_heads * rows.div_ceil(bm);
    let Shape { rows: bm, keys: bn, .. } = Shape::of(a.head_dim, true, spec);
    let of_batch = if a.batch > BATCH { a.batch } else { 1 };
    let bound = splits(tiles(bm) * of_batch, spec.sms(), a.keys.div_ceil(bn));
    let Shape { rows: bm, keys: bn, warps, queries_in_registers } = Shape::of(a.head_dim, bound > 1, spec);
    let blocks = a.keys.div_ceil(bn);
    let per_sm = (f64::from(blocks * tiles(bm)) * f64::from(a.batch) * 1.1 / f64::from(spec.sms())).ceil();
    let parts = if bound > 1 { ((f64::from(blocks) / per_sm).ceil() as u32).clamp(1, bound) } else { 1 };
    let kind = Tiled {
        packed: true,
        paged: true,
        values_first: true,
        queries_in_registers,
        parts,
        handover_cycles: (bound > 1).then_some(HANDOVER),
        ..Tiled::new(bm, bn, warps)
    };
    let name = format!("flash-3 by mma.sync {}x{} heads, {} queries, {parts} parts", a.batch, a.heads, a.queries);
    let mut kernels = vec![kind.kernel(a, spec, name)];
    if bound > 1 {
        kernels.push(combine(a, spec, parts));
    }
    kernels
}
