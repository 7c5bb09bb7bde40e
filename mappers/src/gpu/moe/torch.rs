//! `torch._grouped_mm`.

use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::spec::GpuSpec;

use super::super::launch::{Item, Operand};
use super::super::routing::OFFSETS;
use super::hopper::{Grouped, HopperTile, hopper};
use super::pieces;
use super::{cutlass2, gradient};

/// The one CTA that writes pointers, strides and sizes of all groups: a scan over the groups' ends in shared memory, and a thread's stores one after
/// another (`prepare_grouped_gemm_data`, a thread a group, 38 registers).
const PREPARE_NS: f64 = 500.0;

/// Rows sorted by expert `[rows, k]` by `[experts, k, n]` in bfloat16: two launches on Hopper and later, by CUTLASS; a product an expert before.
///
/// The tile is that of `dispatch_bf16_grouped_kernel_on_tile_size` (`GroupMM.cu` of PyTorch 2.8): 64x128 by two warpgroups in turns where an expert has 128
/// rows or fewer in the mean, or 128 columns or fewer; else 128x256 by both; in clusters of two that share weights.
pub fn grouped_mm(rows: &[u32], n: u32, k: u32, spec: &GpuSpec, operands: &[Operand; 3]) -> Vec<Item> {
    products(&Grouped { rows, n, k, by_depth: true, ..PLAIN }, spec, operands)
}

/// The gradient of such a product's input: the same kernel on weights that are transposed, which lie along the depth.
pub fn grouped_input_gradient(rows: &[u32], n: u32, k: u32, spec: &GpuSpec, operands: &[Operand; 3]) -> Vec<Item> {
    products(&Grouped { rows, n, k, by_depth: false, ..PLAIN }, spec, operands)
}

const PLAIN: Grouped<'static> = Grouped {
    rows: &[],
    n: 0,
    k: 0,
    dtype: Dtype::Bf16,
    weight_bits: 16,
    out_bytes: 2,
    by_depth: true,
    block_scales: false,
};

fn products(g: &Grouped<'_>, spec: &GpuSpec, [a, b, c]: &[Operand; 3]) -> Vec<Item> {
    let (rows, n) = (g.rows, g.n);
    let groups = (rows.len() as u32).max(1);
    let operands = || [a.clone(), b.clone(), c.clone()];
    if !spec.tensor.warpgroup {
        return cutlass2::product(g, None, spec).map(|kernel| Item::kernel(kernel, operands())).into_iter().collect();
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
    let mut items = vec![Item::kernel(prepare, [Operand::shared(OFFSETS), Operand::shared("groups")])];
    items.extend(hopper(g, &tile, spec).map(|kernel| Item::kernel(kernel, operands())));
    items
}

/// The gradient of such a product's weights, `[experts, m, n]`: of each expert its rows of the input, transposed, by its rows of the result's gradient. One kernel of
/// CUTLASS on Hopper and later, with the tile that the weight's sides choose; a product an expert before.
pub fn grouped_weight_gradient(rows: &[u32], m: u32, n: u32, spec: &GpuSpec, [a, b, c]: &[Operand; 3]) -> Vec<Item> {
    let operands = || [a.clone(), b.clone(), c.clone()];
    if !spec.tensor.warpgroup {
        // Sides and depth have changed places; what is read and multiplied is as much.
        let experts = (rows.len() as u32).max(1);
        let mean = rows.iter().fold(0u32, |sum, r| sum.saturating_add(*r)) / experts;
        let tall = vec![m; rows.len()];
        let g = Grouped { rows: &tall, n, k: mean.max(1), ..PLAIN };
        return cutlass2::product(&g, None, spec).map(|kernel| Item::kernel(kernel, operands())).into_iter().collect();
    }
    let prepare = pieces::chain("prepare groups", (rows.len() as u32).clamp(32, 1024), PREPARE_NS);
    let mut items = vec![Item::kernel(prepare, [Operand::shared(OFFSETS), Operand::shared("groups")])];
    items.extend(gradient::weights(rows, m, n, spec).map(|kernel| Item::kernel(kernel, operands())));
    items
}
