//! Grouped products of CUTLASS before Hopper: CTAs that stay and take tile after tile (`MoeFCGemm` of TensorRT-LLM, `GemmGrouped`).

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::spec::GpuSpec;

use super::super::multistage::{Multistage, Writer};
use super::copying::{CopyingTile, copying};
use super::hopper::Grouped;

/// Tiles that TensorRT-LLM is compiled with for 16 bits (`get_candidate_tiles`): rows, columns, depth, warps, registers; each with three and four buffers
/// (`get_candidate_configs`).
const TILES: [(u32, u32, u32, u32, u32); 3] = [(32, 128, 64, 4, 128), (64, 128, 64, 4, 152), (128, 128, 64, 8, 128)];

/// Those for weights of four bits.
const NARROW: [(u32, u32, u32, u32, u32); 4] =
    [(16, 128, 64, 4, 128), (32, 128, 64, 4, 152), (64, 128, 64, 4, 200), (128, 128, 64, 4, 255)];

/// The kernel of the least estimated time.
pub fn product(g: &Grouped<'_>, gathered_from: Option<u32>, spec: &GpuSpec) -> Option<Kernel> {
    let tiles: &[_] = if g.weight_bits < 8 { &NARROW } else { &TILES };
    let e = g.dtype.bytes();
    let mut best: Option<(f64, CopyingTile)> = None;
    for &(bm, bn, depth, warps, registers) in tiles {
        for stages in [4, 3] {
            let bk = depth * 2 / e.max(1);
            let shared_bytes = stages * (bm + bn) * bk * e;
            if shared_bytes > spec.sm.shared_memory_per_cta_bytes {
                continue;
            }
            let registers = registers.min(255);
            let by_registers = spec.sm.registers / (registers * warps * 32).max(1);
            let per_sm = (spec.sm.shared_memory_bytes / (shared_bytes + 1024)).min(by_registers).clamp(1, 4);
            let tile = Multistage {
                bm,
                bn,
                bk,
                stages,
                warps,
                group: 1,
                registers,
                shared_bytes,
                split: 1,
                writer: Writer::Cutlass,
                copy_bytes: 16,
            };
            let slots = f64::from(spec.sms() * per_sm);
            let tiles = g.row_tiles(bm) as f64 * f64::from(g.n.div_ceil(bn));
            let waves = (tiles / slots).ceil();
            let rate = spec.tensor.fma_per_cycle.get(&g.dtype).copied().unwrap_or(512.0) * spec.tensor.sync_share;
            let cycles = f64::from(bm * bn) * f64::from(g.k) * f64::from(per_sm) / rate + 2500.0;
            let bytes = f64::from(bm + bn) * f64::from(g.k) * f64::from(e) * f64::from(per_sm);
            let moved = bytes / (spec.crossbar.sm_bytes_per_cycle * 0.5);
            let time = waves * cycles.max(moved);
            if best.as_ref().is_none_or(|b| time < b.0) {
                let t = CopyingTile { tile, gathered_from, idle_rows: 0, stay: Some(spec.sms() * per_sm) };
                best = Some((time, t));
            }
        }
    }
    let (_, tile) = best?;
    copying(g, &tile, spec)
}
