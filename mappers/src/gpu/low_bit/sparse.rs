//! Products with weights of which two in four are zero, as cuSPARSELt launches them.

use banksia_hw::gpu::program::{
    Barrier, Dtype, Expr, Kernel, Multicast, Op, Path, Role, Tensor, Tile, Trips, VectorWork, WORK_VARS,
};
use banksia_hw::gpu::spec::GpuSpec;

use crate::gpu::copy;
use crate::gpu::fused::memset;
use crate::gpu::gemm::{STEP_LATENCY, epilogue};
use crate::gpu::launch::{Item, Operand};

/// Rows of weights and columns of activations of a tile, depth of a step; CTAs of a cluster, along the weights' rows
/// (`sm90_xmma_sparse_gemm_bf16..._tilesize64x256x64_cgasize8x1x1_warpgroupsize1x1x1`).
const BM: u32 = 64;
const BN: u32 = 256;
const BK: u32 = 64;
const CLUSTER: u32 = 8;

/// Weights `[rows, k]` with two of four zero, and activations `[k, columns]`, 16 bits each. The weights' tensor has half of the numbers and two bits for each that is left.
///
/// A warpgroup multiplies, and before each step reads the places of the numbers that are left into registers: a step's product begins when that has come
/// and the next when it is done. A device without warpgroups copies by its warps and multiplies by `mma.sp`.
///
/// # Errors
/// The device has no sparse matrix units.
pub fn sparse_product(
    rows: u32,
    columns: u32,
    k: u32,
    spec: &GpuSpec,
    [weights, activations, output]: &[Operand; 3],
) -> Result<Vec<Item>, String> {
    if spec.tensor.sparse_factor < 2.0 {
        return Err(format!("{} has no sparse matrix units", spec.name));
    }
    let kernel = kernel(rows.max(1), columns.max(1), k.max(1), spec);
    Ok(vec![
        // The counter from which tiles are drawn.
        Item::kernel(memset(128), [Operand::shared("counter")]),
        Item::kernel(
            kernel,
            [
                weights.clone(),
                Operand { name: format!("{}.places", weights.name), ..weights.clone() },
                activations.clone(),
                output.clone(),
            ],
        ),
    ])
}

fn kernel(rows: u32, columns: u32, k: u32, spec: &GpuSpec) -> Kernel {
    let groups = spec.tensor.warpgroup;
    let cluster = if groups { CLUSTER } else { 1 };
    let (down, across) = (rows.div_ceil(BM).next_multiple_of(cluster), columns.div_ceil(BN));
    let steps = k.div_ceil(BK);
    let mut items: Vec<[i32; WORK_VARS]> = Vec::with_capacity(down as usize * across as usize);
    for first in (0..down).step_by(cluster as usize) {
        for c in 0..across {
            items.extend((first..first + cluster).map(|r| [r, c, 0, 0, 0, 0].map(|x: u32| x as i32)));
        }
    }
    let per_sm = if groups { 1 } else { 2 };
    // A cluster fewer than fit: 120 CTAs of eight a cluster on 132 SMs.
    let slots = if groups { spec.cluster_slots(cluster) } else { spec.sms() * per_sm };
    let grid = (slots / cluster * cluster).clamp(cluster, items.len() as u32);
    let numbers = Tile {
        tensor: 0,
        row: Expr::work(0, i64::from(BM)),
        byte: Expr::default().plus_loop(0, i64::from(BK)),
        rows: BM,
        bytes: BK,
    };
    let places = Tile { tensor: 1, byte: Expr::default().plus_loop(0, i64::from(BK / 8)), bytes: BK / 8, ..numbers };
    let others = Tile {
        tensor: 2,
        row: Expr::default().plus_loop(0, i64::from(BK)),
        byte: Expr::work(1, i64::from(BN * 2)),
        rows: BK,
        bytes: BN * 2,
    };
    let out = Tile {
        tensor: 3,
        row: Expr::work(0, i64::from(BM)),
        byte: Expr::work(1, i64::from(BN * 2)),
        rows: BM,
        bytes: BN * 2,
    };
    let path = if groups { Path::Bulk } else { Path::AsyncRows };
    let shared = Multicast { ctas: cluster as u8, apart: 1 };
    let producer = vec![
        Op::Loop(Trips::Const(steps)),
        Op::Wait(1),
        copy(numbers, path, 0),
        copy(places, path, 0),
        Op::Copy { tile: others, path, multicast: if groups { shared } else { Multicast::NONE }, barrier: 0 },
        Op::End,
        Op::Next,
    ];
    // Half of the multiply-adds are left. The units read all of the other operand for them: its bytes, not those of half of the depth.
    let product = Op::Mma { dtype: Dtype::Bf16, m: BM, n: BN, k: BK / 2, sync: !groups };
    let rest = f64::from(BN * BK / 2 * 2);
    let turn = VectorWork {
        issue: 4.0 * 12.0,
        shared_bytes: f64::from(BM * BK / 8) + rest,
        latency_cycles: STEP_LATENCY + spec.sm.shared_latency_cycles,
        ..VectorWork::default()
    };
    let consumer = vec![
        Op::Loop(Trips::Const(steps)),
        Op::Wait(0),
        Op::Vector(turn),
        product,
        Op::MmaWait(0),
        Op::Arrive(1),
        Op::End,
        Op::Vector(epilogue(BM, BN, 2)),
        Op::Store { tile: out, reduce: false },
        Op::Next,
    ];
    let stages = 5;
    let stage = BM * BK + BM * BK / 8 + BN * BK * 2;
    let held = if groups { stages } else { 3 };
    let roles = if groups {
        vec![Role { warps: 4, ops: consumer }, Role { warps: 1, ops: producer }]
    } else {
        vec![Role { warps: 4, ops: consumer }, Role { warps: 4, ops: producer }]
    };
    let shared_bytes = (held * stage).min(spec.sm.shared_memory_per_cta_bytes);
    Kernel {
        name: format!("sparse product {rows}x{columns}x{k}"),
        threads: if groups { 384 } else { 256 },
        registers: if groups { 168 } else { 128 },
        shared_bytes,
        cluster,
        grid,
        items,
        tensors: vec![
            Tensor::matrix(u64::from(rows), u64::from(k), BM, BK),
            Tensor::matrix(u64::from(rows), (u64::from(k) / 8).max(1), BM, 32),
            Tensor::matrix(u64::from(k), u64::from(columns) * 2, (BK / cluster).max(1), BN * 2),
            Tensor::matrix(u64::from(rows), u64::from(columns) * 2, BM, 128),
        ],
        barriers: vec![
            Barrier { arrivals: 3, credits: 0 },
            Barrier { arrivals: 1, credits: (shared_bytes / stage).clamp(1, 16) },
        ],
        roles,
        pipelined: groups,
    }
}
