//! `torch._grouped_mm`.

use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::spec::GpuSpec;

use super::super::launch::{Item, Operand};
use super::cutlass2;
use super::hopper::{Grouped, HopperTile, hopper};
use super::pieces;

/// The one CTA that writes pointers, strides and sizes of all groups: a scan over the groups' ends in shared memory, and a thread's stores one after
/// another (`prepare_grouped_gemm_data`, a thread a group, 38 registers).
const PREPARE_NS: f64 = 500.0;

/// Rows sorted by expert `[rows, k]` by `[experts, k, n]` in bfloat16: two launches on Hopper and later, by CUTLASS; a product an expert before.
///
/// The tile is that of `dispatch_bf16_grouped_kernel_on_tile_size` (`GroupMM.cu` of PyTorch 2.8): 64x128 by two warpgroups in turns where an expert has 128
/// rows or fewer in the mean, or 128 columns or fewer; else 128x256 by both; in clusters of two that share weights.
pub fn grouped_mm(rows: &[u32], n: u32, k: u32, spec: &GpuSpec, [a, b, c]: &[Operand; 3]) -> Vec<Item> {
    let g =
        Grouped { rows, n, k, dtype: Dtype::Bf16, weight_bits: 16, out_bytes: 2, by_depth: true, block_scales: false };
    let groups = (rows.len() as u32).max(1);
    let operands = || [a.clone(), b.clone(), c.clone()];
    if !spec.tensor.warpgroup {
        return cutlass2::product(&g, None, spec).map(|kernel| Item::kernel(kernel, operands())).into_iter().collect();
    }
    let mean = g.total() / groups;
    let small = mean <= 128 || n <= 128;
    let tile = HopperTile {
        tokens: if small { 64 } else { 128 },
        columns: if small { 128 } else { 256 },
        depth_bytes: if small { 256 } else { 128 },
        cluster: (2, 1),
        pingpong: small,
        weights_first: false,
        descriptors: true,
    };
    let prepare = pieces::chain("prepare groups", groups.clamp(32, 1024), PREPARE_NS);
    let mut items = vec![Item::kernel(prepare, [Operand::shared("offsets"), Operand::shared("groups")])];
    items.extend(hopper(&g, &tile, spec).map(|kernel| Item::kernel(kernel, operands())));
    items
}
