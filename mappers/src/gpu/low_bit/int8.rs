//! Products of eight-bit integers, as cuBLASLt launches them.

use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::spec::GpuSpec;

use crate::gpu::gemm::{Gemm, split_reduce};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::multistage::{Multistage, Writer, multistage};

/// Tiles of CUTLASS's `i16832gemm_s8` kernels: rows, columns, depth, stages, warps (the names in cuBLASLt's library; `128x256_128x3` is what it takes for large products on an H200,
/// which have no kernel by warpgroups with 32-bit results).
const TILES: [(u32, u32, u32, u32, u32); 8] = [
    (128, 256, 128, 3, 8),
    (256, 128, 128, 3, 8),
    (128, 128, 128, 4, 4),
    (256, 64, 128, 4, 4),
    (64, 256, 128, 4, 4),
    (128, 64, 128, 4, 4),
    (64, 128, 128, 4, 4),
    (64, 64, 128, 6, 4),
];
const SPLITS: [u32; 5] = [1, 2, 4, 8, 16];

/// The kernel of a tile: 230 registers of a thread where it holds 128 sums (its launches).
fn tile(t: (u32, u32, u32, u32, u32), split: u32) -> Multistage {
    let (bm, bn, bk, stages, warps) = t;
    let sums = bm * bn / (32 * warps);
    Multistage {
        bm,
        bn,
        bk,
        stages,
        warps,
        group: 1,
        registers: (102 + sums).min(255),
        shared_bytes: stages * (bm + bn) * bk,
        split,
        writer: Writer::Cutlass,
        copy_bytes: 16,
    }
}

/// Cycles that a choice takes by the units that bound it: steps of its CTAs, in waves.
fn estimate(spec: &GpuSpec, g: &Gemm, t: &Multistage, rate: f64) -> f64 {
    let by_registers = spec.sm.registers / (t.registers.next_multiple_of(8) * t.warps * 32).max(1);
    let per_sm = (spec.sm.shared_memory_bytes / (t.shared_bytes + 1024)).min(by_registers).max(1);
    let ctas = f64::from(g.m.div_ceil(t.bm)) * f64::from(g.n.div_ceil(t.bn)) * f64::from(t.split);
    let waves = (ctas / f64::from(spec.sms() * per_sm)).ceil();
    let together = f64::from(per_sm).min(ctas / f64::from(spec.sms())).max(1.0);
    let steps = f64::from(g.k.div_ceil(t.bk).div_ceil(t.split));
    let product = f64::from(t.bm) * f64::from(t.bn) * f64::from(t.bk) / (rate * spec.tensor.sync_share);
    let bytes = f64::from((t.bm + t.bn) * t.bk);
    let active = ctas.min(f64::from(spec.sms()));
    let memory = spec.dram_peak_bytes_per_s() / (spec.sm_clock_mhz * 1e6) / active;
    let copied = bytes / spec.sm.async_rows_bytes_per_cycle;
    // What comes from memory once is shared by all CTAs of a row or a column of tiles.
    let compulsory = g.compulsory_bytes() / (ctas * steps).max(1.0) / memory.max(1e-9);
    let step = (product * together).max(copied * together).max(compulsory * together).max(400.0);
    let sums =
        if t.split > 1 { 3000.0 + f64::from(g.m) * f64::from(g.n) * f64::from(t.split) * 4.0 / 2000.0 } else { 0.0 };
    waves * (steps * step + 2500.0) + sums
}

/// `[m, k] x [n, k]^T` of eight-bit integers to 32-bit results (`torch._int_mm`), and the sum of its parts where the depth is split.
///
/// # Errors
/// The device multiplies no eight-bit integers.
pub fn int8_product(m: u32, n: u32, k: u32, spec: &GpuSpec, [a, b, c]: &[Operand; 3]) -> Result<Vec<Item>, String> {
    let Some(rate) = spec.tensor.fma_per_cycle.get(&Dtype::Int8).copied() else {
        return Err(format!("{} has no matrix units for eight-bit integers", spec.name));
    };
    let g = Gemm { out_bytes: 4, ..Gemm::new(m.max(1), n.max(1), k.max(1), Dtype::Int8) };
    let fits = |t: &Multistage| t.shared_bytes <= spec.sm.shared_memory_per_cta_bytes;
    let legal = |t: &Multistage| t.split == 1 || g.k / (t.bk * t.split) >= 4;
    let best = TILES
        .iter()
        .flat_map(|t| SPLITS.map(|s| tile(*t, s)))
        .filter(|t| fits(t) && legal(t))
        .min_by(|x, y| estimate(spec, &g, x, rate).total_cmp(&estimate(spec, &g, y, rate)));
    let Some(best) = best else { return Err(format!("no kernel for eight-bit integers fits {}", spec.name)) };
    let kernel: Kernel = multistage(&g, &best, spec);
    if best.split == 1 {
        return Ok(vec![Item::kernel(kernel, [a.clone(), b.clone(), c.clone()])]);
    }
    let workspace = Operand::shared("workspace");
    Ok(vec![
        Item::kernel(kernel, [a.clone(), b.clone(), workspace.clone()]),
        Item::kernel(split_reduce(&g, best.split), [workspace, c.clone()]),
    ])
}
