//! Marlin: 16-bit activations with weights of four or eight bits, converted between shared memory and the matrix units.

use banksia_hw::gpu::program::{Barrier, Dtype, Expr, Kernel, Op, Path, Tensor, Tile, Trips, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::signed;
use crate::gpu::{copy, one_role};

/// A product with converted weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Marlin {
    /// Rows of activations.
    pub m: u64,
    /// Columns: rows of the weights.
    pub n: u64,
    /// Depth.
    pub k: u64,
    /// Type of activations and of the product: 16 bits.
    pub dtype: Dtype,
    /// Bits of a weight: 4 or 8.
    pub weight_bits: u32,
    /// Depth that shares a scale; 0 for a scale a column.
    pub group: u64,
    /// Bytes of a scale.
    pub scale_bytes: u32,
}

/// Buffers of a CTA, its warps (`marlin_cuda_kernel.cu`: `pipe_stages`, `THREADS`), and rows of activations of a tile at most.
const STAGES: u32 = 4;
const WARPS: u32 = 8;
const ROWS: u64 = 64;
/// Instructions of a lane for a weight: of eight weights of four bits four `lop3`, two shifts, and eight halves' subtractions and multiply-adds in pairs
/// (`dequant` and `scale`).
const PER_WEIGHT: (f64, f64) = (0.75, 0.75);

/// Depth and columns of a tile: 128 x 128 for up to 16 rows, else 64 x 256 (`determine_thread_config`).
fn tile(m: u64, n: u64) -> (u64, u64) {
    if m <= 16 || n < 256 { (128, 128) } else { (64, 256) }
}

/// The kernel. Tensors: activations `[m, k]`, weights as rows of a tile's columns, scales, output `[m, n]`.
///
/// A CTA an SM. Tiles of weights, column by column of tiles and along the depth within one, are cut into stripes of equal length, one a CTA; what CTAs have of one
/// column is added up in L2, one after another.
pub fn marlin(c: &Marlin, spec: &GpuSpec) -> Kernel {
    let (m, n, k) = (c.m.max(1), c.n.max(1), c.k.max(1));
    let (tk, tn) = tile(m, n);
    let bits = u64::from(c.weight_bits.clamp(1, 16));
    let (steps, across, down) = (k.div_ceil(tk), n.div_ceil(tn), m.div_ceil(ROWS));
    let rows = ROWS.min(m.next_multiple_of(16));
    let (items, grid) = stripes(steps, across, down, u64::from(spec.sms()));
    let weight_step = tk * tn * bits / 8;
    let groups = if c.group == 0 { 1 } else { tk.div_ceil(c.group).max(1) };
    let scale_step = tn * u64::from(c.scale_bytes.max(1)) * groups;
    // Item: column of tiles, first step, steps, row of tiles, whether it is the only one of its column, the same the other way.
    let (column, first, count, row) = (0, 1, 2, 3);
    let along = |tensor, row_var: Option<usize>, step: u64, height: u64| Tile {
        tensor,
        row: row_var.map_or_else(Expr::default, |v| Expr::work(v, signed(height))),
        byte: Expr::work(first, signed(step)).plus_loop(0, signed(step)),
        rows: height as u32,
        bytes: step as u32,
    };
    let activations = along(0, Some(row), tk * 2, rows);
    let weights = along(1, Some(column), weight_step, 1);
    let scales = along(2, Some(column), scale_step, 1);
    let output = Tile {
        tensor: 3,
        row: Expr::work(row, signed(rows)),
        byte: Expr::work(column, signed(tn * 2)),
        rows: rows as u32,
        bytes: (tn * 2) as u32,
    };
    let weights_of_step = (tk * tn) as f64;
    let per = if bits >= 8 { (PER_WEIGHT.0, PER_WEIGHT.1 * 0.75) } else { PER_WEIGHT };
    let work = VectorWork {
        issue: weights_of_step * (per.0 + per.1) / 32.0 + 8.0 * 30.0,
        fma: weights_of_step * per.1,
        alu: weights_of_step * per.0,
        shared_bytes: weight_step as f64 + (rows * tk * 2) as f64 * (tn as f64 / 64.0),
        stall: 1.5,
        ..VectorWork::default()
    };
    let product = Op::MmaAmong { dtype: c.dtype, m: rows as u32, n: tn as u32, k: tk as u32, others: 0.0 };
    let path = Path::AsyncRows;
    let sums = rows as f64 * tn as f64;
    let leave = VectorWork {
        issue: sums / 32.0 * 2.0,
        alu: sums,
        shared_bytes: sums * 8.0,
        latency_cycles: 200.0,
        ..VectorWork::default()
    };
    let ops = vec![
        Op::Loop(Trips::Work(count as u8, 0)),
        Op::Wait(1),
        copy(activations, path, 0),
        copy(weights, path, 0),
        copy(scales, path, 0),
        Op::End,
        Op::Next,
    ];
    let consumer = vec![
        Op::Loop(Trips::Work(count as u8, 0)),
        Op::Wait(0),
        Op::Sync,
        Op::Vector(work),
        product,
        Op::MmaWait(0),
        Op::Arrive(1),
        Op::End,
        Op::Vector(leave),
        // Alone, or after the CTA before has let it go: a lock and the sums so far are read, and more are added.
        Op::Loop(Trips::Once(4, 0)),
        Op::Store { tile: output, reduce: false },
        Op::End,
        Op::Loop(Trips::Once(5, 0)),
        Op::Store { tile: output, reduce: true },
        Op::StoreWait,
        Op::End,
        Op::Next,
    ];
    let stage = rows * tk * 2 + weight_step + scale_step;
    let fit = (u64::from(spec.sm.shared_memory_per_cta_bytes) / stage.max(1)).clamp(1, u64::from(STAGES)) as u32;
    let mut roles = one_role(WARPS, consumer);
    // Its own warps copy four buffers ahead; the copies are a role by themselves here, which issues them when a buffer is free.
    roles.push(banksia_hw::gpu::program::Role { warps: 1, ops });
    let power = |b: u64| b.next_power_of_two().clamp(32, 1 << 16) as u32;
    Kernel {
        name: format!("marlin {m}x{n}x{k}, {bits} bits"),
        threads: WARPS * 32,
        registers: 255,
        shared_bytes: (u64::from(fit) * stage).min(u64::from(spec.sm.shared_memory_per_cta_bytes)) as u32,
        cluster: 1,
        grid,
        items,
        tensors: vec![
            Tensor::matrix(m, k * 2, rows as u32, power(tk * 2)),
            Tensor::matrix(across, steps * weight_step, 1, power(weight_step)),
            Tensor::matrix(across, steps * scale_step, 1, power(scale_step)),
            Tensor::matrix(m, n * 2, rows as u32, power(tn * 2)),
        ],
        barriers: vec![Barrier { arrivals: 3, credits: 0 }, Barrier { arrivals: 1, credits: fit }],
        roles,
        pipelined: false,
    }
}

/// Work items of stripes, round by round of the CTAs, and CTAs.
fn stripes(steps: u64, across: u64, down: u64, sms: u64) -> (Vec<[i32; WORK_VARS]>, u32) {
    let total = steps * across;
    let ctas = sms.min(total).max(1);
    let per = total.div_ceil(ctas);
    let mut of: Vec<Vec<[i32; WORK_VARS]>> = Vec::new();
    for c in 0..total.div_ceil(per.max(1)) {
        let (mut at, end) = (c * per, ((c + 1) * per).min(total));
        let mut parts = Vec::new();
        while at < end {
            let (column, first) = (at / steps, at % steps);
            let count = (steps - first).min(end - at);
            let alone = i32::from(count == steps);
            parts.extend((0..down).map(|row| {
                let whole = |x: u64| i32::try_from(x).unwrap_or(i32::MAX);
                [whole(column), whole(first), whole(count), whole(row), alone, 1 - alone]
            }));
            at += count;
        }
        of.push(parts);
    }
    let rounds = of.iter().map(Vec::len).max().unwrap_or(1);
    let grid = of.len().max(1);
    let idle = [0, 0, 0, 0, 0, 0];
    let mut items: Vec<[i32; WORK_VARS]> =
        (0..rounds).flat_map(|r| of.iter().map(move |parts| parts.get(r).copied().unwrap_or(idle))).collect();
    if items.is_empty() {
        items.push(idle);
    }
    (items, grid as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every step of every column is some CTA's, once.
    #[test]
    fn stripes_cover_all_steps() {
        for (steps, across, down, sms) in [(1, 1, 1, 132), (32, 32, 1, 132), (86, 17, 4, 108), (7, 1000, 2, 40)] {
            let (items, grid) = stripes(steps, across, down, sms);
            let covered: i64 = items.iter().map(|i| i64::from(i[2])).sum();
            assert_eq!(covered, (steps * across * down) as i64);
            assert!(u64::from(grid) <= sms);
        }
    }
}
