//! FlashMLA (`flash_fwd_mla_kernel.h`, as TensorRT-LLM and vLLM have it): 64 rows a tile, 64 tokens a block. A warpgroup multiplies queries
//! and keys and takes the softmax; the other fetches the next block and, where the cache has eight bits, turns the values for their product;
//! both multiply with half of the values. Blocks of all sequences are dealt to as many parts as there are SMs.

use banksia_hw::gpu::program::{
    Barrier, Dtype, Expr, Kernel, Op, Path, Role, Tensor, Tile, Trips, VectorWork, WORK_VARS,
};
use banksia_hw::gpu::spec::GpuSpec;

use super::flash3::{epilogue, rescale, softmax, work};
use super::{LatentCall, values_are_keys};
use crate::gpu::attention::index::{BLOCKS, K, O, OUT, Q, trips};
use crate::gpu::attention::{Attention, Grid, PAGED, setup};
use crate::gpu::copy;

const TILE: u32 = 64;
/// Blocks that a sequence more in a part counts as (`fixed_overhead_num_blocks`).
const OVERHEAD: i64 = 5;

/// Blocks of sequences dealt to parts: for each part, what it has of which sequences.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Units {
    /// Of each part: sequence, first block, blocks, and which part of the sequence's this is.
    pub parts: Vec<Vec<[u32; 4]>>,
    /// Parts that each sequence is in.
    pub splits: Vec<u32>,
}

impl Units {
    /// As the library's scheduler deals them (`get_mla_metadata_kernel`).
    pub fn deal(blocks: &[u32], parts: u32) -> Self {
        let parts = i64::from(parts.max(1));
        let total: i64 = blocks.iter().map(|&b| i64::from(b.max(1)) + OVERHEAD).sum();
        let payload = (total + parts - 1) / parts + OVERHEAD;
        let mut units = Self { parts: Vec::new(), splits: vec![0; blocks.len()] };
        let (mut sequence, mut block) = (0_usize, 0_i64);
        while sequence < blocks.len() {
            let mut remain = payload;
            let mut own = Vec::new();
            while let Some(&all) = blocks.get(sequence) {
                let left = i64::from(all.max(1)) - block;
                let taken = if remain >= left + OVERHEAD { left } else { (remain - OVERHEAD).min(left) };
                if taken <= 0 {
                    break;
                }
                own.push([sequence as u32, block as u32, taken as u32, units.splits[sequence]]);
                units.splits[sequence] += 1;
                if taken < left {
                    block += taken;
                    break;
                }
                remain -= left + OVERHEAD;
                sequence += 1;
                block = 0;
            }
            units.parts.push(own);
        }
        units
    }
}

const Q_FULL: u8 = 0;
const K_FULL: u8 = 1;
const TURN: u8 = 2;
const P_FULL: u8 = 3;
const TURNED: u8 = 4;
const BOTH: u8 = 5;

/// The kernel, and the one that joins the parts of sequences that are in several. `for_rows` is how many rows of queries a token has as the
/// scheduler was told: it leaves an SM for each 64 of them to every part.
pub fn flashmla(call: &LatentCall, spec: &GpuSpec, for_rows: u32) -> Vec<Kernel> {
    let eight_bits = call.cache_bytes < 2;
    let dtype = if eight_bits { Dtype::Fp8 } else { call.dtype };
    let a = &Attention { dtype, ..call.absorbed() };
    let rows = call.heads.saturating_mul(call.queries);
    let row_tiles = rows.div_ceil(TILE);
    let parts = (spec.sms() / for_rows.max(1).div_ceil(TILE)).max(1);
    let units = Units::deal(&vec![call.keys.div_ceil(TILE); call.batch as usize], parts);
    let grid = Grid { bm: TILE, bn: TILE, packed: true, longest_first: 0 };
    let most = units.splits.iter().copied().max().unwrap_or(1);
    let split = most > 1;
    // First what each part begins with; then the largest of what comes next goes to the part that is done first, which began with the smallest.
    let rounds = units.parts.iter().map(Vec::len).max().unwrap_or(0);
    let mut items: Vec<[i32; WORK_VARS]> = Vec::new();
    for round in 0..rounds {
        let mut here: Vec<[u32; 4]> = units.parts.iter().filter_map(|p| p.get(round).copied()).collect();
        if round > 0 {
            here.sort_by_key(|u| std::cmp::Reverse(u[2]));
        }
        for [sequence, first, blocks, of] in here {
            for tile in 0..row_tiles {
                let (sequence, tile) = (u64::from(sequence), u64::from(tile * TILE));
                let q = sequence * u64::from(rows) + tile;
                let last = u64::from(first) + u64::from(blocks) - 1;
                let key = sequence * u64::from(call.keys) + last * u64::from(TILE);
                let part = sequence * u64::from(most) + u64::from(of);
                let out = if split { part * u64::from(rows) + tile } else { q };
                items.push([q, key, u64::from(blocks), 0, 0, out].map(|x| x.min(i32::MAX as u64) as i32));
            }
        }
    }
    let (half, width) = (a.value_dim / 2, a.head_dim);
    let e = dtype.bytes();
    let block_bytes = f64::from(TILE * width * e);
    let out_bytes = if split { 4 } else { 2 };
    let mut out = grid.q_tile(a, O, out_bytes);
    out.row = Expr::work(OUT, 1);
    let values = Op::Mma { dtype, m: TILE, n: half, k: TILE, sync: false };
    // An instruction and its address for each 512 bytes that a warp copies, and a page's number.
    let fetch = Op::Vector(VectorWork {
        issue: PAGED * block_bytes / 512.0,
        alu: 32.0 * block_bytes / 512.0,
        stall: 2.0,
        ..VectorWork::default()
    });
    // Of each 64 x 64 bytes a thread loads 32 by two `ldmatrix`, orders them by eight `prmt`, stores them by two `stmatrix`; four addresses. What
    // is stored waits for what is loaded: 33 cycles, and the order.
    let pieces = f64::from(a.value_dim / 64);
    let turn = Op::Vector(VectorWork {
        latency_cycles: pieces * 70.0,
        ..work(16.0 * pieces, 0.0, 2.0 * f64::from(TILE * a.value_dim))
    });
    let kv = |at: i64| copy(grid.kv_tile(a, K, at), Path::Async, K_FULL);
    let mut first = vec![setup(spec), Op::Loop(trips(BLOCKS, 0)), Op::Arrive(TURN), Op::Wait(TURN)];
    first.extend([Op::Mma { dtype, m: TILE, n: TILE, k: width, sync: false }, Op::MmaWait(0)]);
    // Scores of eight bits are exchanged between lanes for the product.
    let permute = if eight_bits { 1.0 } else { 0.0 };
    first.extend([softmax(a.value_dim, e, permute), Op::Arrive(P_FULL)]);
    if eight_bits {
        first.extend([Op::Wait(TURNED), Op::Arrive(BOTH), Op::Wait(BOTH)]);
    }
    first.extend([values, Op::MmaWait(0), Op::End, epilogue(a.value_dim, out_bytes)]);
    first.extend([Op::Store { tile: out, reduce: false }, Op::Sync, Op::NextFree]);
    let number = copy(Tile { rows: 1, bytes: 32, ..grid.q_tile(a, Q, e) }, Path::LoadL1, Q_FULL);
    // The part's sequences, the sequence's length, a page's number.
    let mut second = vec![setup(spec), number, Op::Wait(Q_FULL), number, Op::Wait(Q_FULL), number, Op::Wait(Q_FULL)];
    second.extend([copy(grid.q_tile(a, Q, e), Path::Async, Q_FULL), fetch, kv(0), Op::Wait(Q_FULL)]);
    second.extend([Op::Loop(trips(BLOCKS, 0)), Op::Wait(K_FULL), Op::Arrive(TURN), Op::Wait(TURN)]);
    second.extend([Op::Loop(Trips::ExceptLast(1)), fetch, kv(1), Op::End]);
    if eight_bits {
        second.extend([turn, Op::Arrive(TURNED)]);
    }
    second.extend([Op::Wait(P_FULL), rescale(a.value_dim)]);
    if eight_bits {
        second.extend([Op::Arrive(BOTH), Op::Wait(BOTH)]);
    }
    second.extend([values, Op::MmaWait(0), Op::End, epilogue(a.value_dim, out_bytes), Op::NextFree]);
    let mut tensors = a.tensors(TILE.min(rows), TILE.min(a.keys));
    values_are_keys(&mut tensors);
    if split {
        let o = &mut tensors[usize::from(O)];
        o.rows = u64::from(call.batch) * u64::from(most) * u64::from(rows);
        o.row_bytes *= 2;
    }
    let (one, two) = (Barrier { arrivals: 1, credits: 0 }, Barrier { arrivals: 2, credits: 0 });
    let shared = (3 * TILE * width * e) + if eight_bits { TILE * a.value_dim } else { 0 } + TILE * TILE * e + 1024;
    let ctas = u32::try_from(units.parts.len()).unwrap_or(u32::MAX).saturating_mul(row_tiles);
    let mut kernels = vec![Kernel {
        name: format!("FlashMLA {}x{} heads, {} keys in {}", a.batch, a.heads, a.keys, units.parts.len()),
        threads: 256,
        registers: 255,
        shared_bytes: shared.min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid: ctas.min(u32::try_from(items.len()).unwrap_or(u32::MAX)).max(1),
        items,
        tensors,
        barriers: vec![one, one, two, one, one, two],
        roles: vec![Role { warps: 4, ops: first }, Role { warps: 4, ops: second }],
        pipelined: true,
    }];
    kernels.push(join(call, spec, &units.splits));
    kernels
}

/// A CTA of 128 threads for each row reads how many parts its sequence has, and returns where that is one; else it reads one after the other
/// (`flash_fwd_splitkv_mla_combine_kernel`).
fn join(call: &LatentCall, spec: &GpuSpec, splits: &[u32]) -> Kernel {
    let rows = u64::from(call.heads) * u64::from(call.queries);
    // Beyond a million CTAs, one stands for several.
    let together = (u64::from(call.batch) * rows).div_ceil(1 << 20).max(1);
    let row_bytes = call.latent.saturating_mul(4);
    let most = u64::from(splits.iter().copied().max().unwrap_or(1).max(1));
    let mut items: Vec<[i32; WORK_VARS]> = Vec::new();
    for (sequence, &of) in splits.iter().enumerate() {
        let of = if of > 1 { of } else { 0 };
        for row in (0..rows).step_by(together as usize) {
            let part = (sequence as u64 * most * rows + row).min(i32::MAX as u64) as i32;
            items.push([part, of as i32, (sequence as u64 * rows + row).min(i32::MAX as u64) as i32, 0, 0, 0]);
        }
    }
    let n = together as u32;
    let part = Tile {
        tensor: 0,
        row: Expr::work(0, 1).plus_loop(0, i64::try_from(rows).unwrap_or(i64::MAX)),
        byte: Expr::default(),
        rows: n,
        bytes: row_bytes,
    };
    let number = Tile { rows: 1, bytes: 32, row: Expr::work(0, 1), ..part };
    let out = Tile { tensor: 1, row: Expr::work(2, 1), byte: Expr::default(), rows: n, bytes: call.latent * 2 };
    let elements = f64::from(call.latent) / 128.0;
    let add =
        VectorWork { issue: 4.0 * (20.0 + 2.0 * elements), latency_cycles: 60.0, stall: 2.0, ..VectorWork::default() };
    let scales = VectorWork { issue: 90.0, latency_cycles: 400.0, stall: 2.0, ..VectorWork::default() };
    let ops = vec![
        setup(spec),
        copy(number, Path::LoadL1, 0),
        Op::Wait(0),
        Op::Loop(Trips::Once(1, 0)),
        copy(number, Path::Load, 0),
        Op::Wait(0),
        Op::Vector(scales),
        Op::Sync,
        Op::End,
        Op::Loop(Trips::Work(1, 0)),
        copy(part, Path::Load, 0),
        Op::Wait(0),
        Op::Vector(add),
        Op::End,
        Op::Loop(Trips::Once(1, 0)),
        Op::Store { tile: out, reduce: false },
        Op::End,
    ];
    let all = u64::from(call.batch) * rows;
    Kernel {
        name: format!("join parts of {all} rows"),
        threads: 128,
        registers: 40,
        shared_bytes: 1024,
        cluster: 1,
        grid: u32::try_from(items.len()).unwrap_or(u32::MAX).max(1),
        items,
        tensors: vec![
            Tensor::matrix(all * most, u64::from(row_bytes), 1, row_bytes.min(256)),
            Tensor::matrix(all, u64::from(call.latent) * 2, 1, (call.latent * 2).min(256)),
        ],
        barriers: vec![Barrier { arrivals: 1, credits: 0 }],
        roles: vec![Role { warps: 4, ops }],
        pipelined: false,
    }
}
