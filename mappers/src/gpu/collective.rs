//! NCCL's ring kernels of the protocol Simple as programs of CTAs: what a collective takes of SMs, L2 and memory while it runs.
//!
//! All ranks do the same at the same time, so that one GPU is simulated: what it stores to its neighbour, the other neighbour stores here
//! ([`Op::PeerStore`]). A channel is a CTA. Its threads go through a chunk in slices, a slice in turns of so many bytes as they load at once; a step of the ring is
//! loads of what the step reads (the buffer that the neighbour fills, the input), then stores (output, the neighbour's buffer), as NCCL's `reduceCopy` does
//! (`src/device/common_kernel.h`, `prims_simple.h`).

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Multicast, Op, Path, Role, Tensor, Tile, Trips, VectorWork};
use banksia_hw::net::collective::algorithm::Op as Collective;

/// Worker threads of the protocol Simple (`NCCL_SIMPLE_MAX_NTHREADS`), and a warp that posts.
const WORKERS: u32 = 512;
const THREADS: u32 = WORKERS + 32;
/// Registers of NCCL's kernels (`-maxrregcount=96`).
const REGISTERS: u32 = 96;
/// Shared memory of a CTA (`ncclShmem`), bytes.
const SHARED: u32 = 82 * 1024;
/// Bytes of a step of a channel's buffer (`NCCL_BUFFSIZE` over `NCCL_STEPS`), and the steps.
const STEP: u64 = 512 << 10;
const STEPS: u64 = 8;
/// Steps of a chunk of rings (`ALLREDUCE_CHUNKSTEPS`), and slices of it.
const CHUNK_STEPS: u64 = 4;
const SLICES: u32 = 2;
/// Bytes that a thread loads before it stores: sixteen at a time, unrolled (`COLL_UNROLL` on Hopper).
const THREAD_BYTES: u32 = 16 * 4;
/// CTAs of a cluster (`NCCL_CGA_CLUSTER_SIZE` on Hopper), halved until it divides the channels.
const CLUSTER: u64 = 4;
const IN: u8 = 0;
const OUT: u8 = 1;
const BUFFER: u8 = 2;
const LOADED: u8 = 0;
const ARRIVED: u8 = 1;

/// One step of a chunk through the ring: what is loaded, and where the result goes.
#[derive(Debug, Clone, Copy)]
struct Step {
    receives: bool,
    input: bool,
    output: bool,
    sends: bool,
    /// Which rank's part of the data it is, counted from the GPU's own.
    part: u32,
}

/// The steps of a ring, as NCCL's kernels call its primitives.
fn steps(op: Collective, ranks: u32) -> Vec<Step> {
    let step = |receives, input, output, sends, part| Step { receives, input, output, sends, part };
    let middle = 1..ranks.saturating_sub(1);
    match op {
        Collective::AllReduce => {
            let mut all = vec![step(false, true, false, true, 0)];
            all.extend(middle.clone().map(|p| step(true, true, false, true, p)));
            all.push(step(true, true, true, true, ranks - 1));
            all.extend(middle.map(|p| step(true, false, true, true, p - 1)));
            all.push(step(true, false, true, false, ranks - 2));
            all
        }
        Collective::ReduceScatter => {
            let mut all = vec![step(false, true, false, true, 0)];
            all.extend(middle.map(|p| step(true, true, false, true, p)));
            all.push(step(true, true, true, false, ranks - 1));
            all
        }
        // A rank sends all of what it has in one exchange.
        Collective::SendRecv | Collective::Exchange => {
            vec![step(false, true, false, true, 0), step(true, false, true, false, 0)]
        }
        Collective::AllGather | Collective::AllToAll | Collective::Broadcast | Collective::Reduce => {
            let mut all = vec![step(false, true, true, true, 0)];
            all.extend(middle.map(|p| step(true, false, true, true, p)));
            all.push(step(true, false, true, false, ranks - 1));
            all
        }
    }
}

/// The kernel of a ring over `ranks` GPUs for a buffer of so many bytes (of all ranks, as nccl-tests count), on so many channels. `setup_ns` is what
/// a CTA takes before its first byte: its work's description, its connections.
/// Tensors: input, output, the channels' buffers.
///
/// Sums through trees, multicast and the protocols LL are not among these kernels. A ring from or to a root is taken as an all-gather's.
pub fn ring(op: Collective, ranks: u32, bytes: u64, channels: u32, setup_ns: f64) -> Kernel {
    let ranks = ranks.max(2);
    let parts = if matches!(op, Collective::SendRecv | Collective::Exchange) { 1 } else { u64::from(ranks) };
    let part = bytes.div_ceil(parts).max(16);
    let channels = u64::from(channels.max(1)).min(part.div_ceil(16));
    // Chunks of equal size, of equal slices, of equal turns: in units of sixteen bytes.
    let own = part.div_ceil(channels);
    let chunks = own.div_ceil(CHUNK_STEPS * STEP);
    let slice = own.div_ceil(chunks * u64::from(SLICES));
    let turns = slice.div_ceil(u64::from(WORKERS * THREAD_BYTES)) as u32;
    let turn = slice.div_ceil(u64::from(turns)).next_multiple_of(16) as u32;
    let (slice, chunk) = (u64::from(turn) * u64::from(turns), u64::from(turn) * u64::from(turns) * u64::from(SLICES));
    let all = steps(op, ranks);
    let at = |base: i64, var: usize| {
        Expr::at(base).plus_work(var, 16).plus_loop(0, slice as i64).plus_loop(1, i64::from(turn))
    };
    let tile = |tensor: u8, byte: Expr| Tile { tensor, row: Expr::default(), byte, rows: 1, bytes: turn };
    let of_part = |tensor: u8, p: u32| tile(tensor, at((u64::from(p) * part) as i64, 0));
    // Each step of a chunk takes other slots of the buffer.
    let slots = |sent: usize| tile(BUFFER, at((sent as u64 * chunk % (STEPS * STEP)) as i64, 1));
    let load = |tile| Op::Copy { tile, path: Path::Load, multicast: Multicast::NONE, barrier: LOADED };
    let warps = f64::from(WORKERS / 32);
    let per_warp = f64::from(turn) / 16.0 / f64::from(WORKERS);
    let mut ops = vec![Op::Setup(setup_ns)];
    let mut sent = 0usize;
    for s in &all {
        let streams = u32::from(s.receives) + u32::from(s.input) + u32::from(s.output) + u32::from(s.sends);
        ops.push(Op::Loop(Trips::Const(SLICES)));
        if s.receives {
            ops.push(Op::Wait(ARRIVED));
        }
        ops.push(Op::Loop(Trips::Const(turns)));
        // Loads of the turn go out together.
        let mut loads = 0;
        if s.receives {
            ops.push(load(slots(sent - 1)));
            loads += 1;
        }
        if s.input {
            ops.push(load(of_part(IN, if op == Collective::AllGather { 0 } else { s.part })));
            loads += 1;
        }
        ops.extend((0..loads).map(|_| Op::Wait(LOADED)));
        ops.push(Op::Vector(VectorWork {
            issue: warps * (per_warp * f64::from(streams) + 8.0),
            fma: if s.receives && s.input { f64::from(turn) / 2.0 } else { 0.0 },
            ..VectorWork::default()
        }));
        if s.output {
            ops.push(Op::Store {
                tile: of_part(OUT, if op == Collective::ReduceScatter { 0 } else { s.part }),
                reduce: false,
            });
        }
        if s.sends {
            ops.push(Op::PeerStore { tile: slots(sent), barrier: ARRIVED });
        }
        ops.extend([Op::End, Op::Sync, Op::End]);
        sent += usize::from(s.sends);
    }
    ops.push(Op::Next);
    let units = |bytes: u64| (bytes / 16) as i32;
    let sends = all.iter().filter(|s| s.sends).count() as u64;
    let items = (0..chunks)
        .flat_map(|j| {
            (0..channels).map(move |c| {
                let buffer = c * STEPS * STEP + j * sends * chunk % (STEPS * STEP);
                [units(c * chunk * chunks + j * chunk), units(buffer), 0, 0, 0, 0]
            })
        })
        .collect();
    let (given, got) = match op {
        Collective::AllGather => (part, part * u64::from(ranks)),
        Collective::ReduceScatter => (part * u64::from(ranks), part),
        _ => (part * parts, part * parts),
    };
    Kernel {
        name: format!("ring of {ranks}, {channels} channels"),
        threads: THREADS,
        registers: REGISTERS,
        shared_bytes: SHARED,
        cluster: (1u64 << channels.trailing_zeros()).min(CLUSTER) as u32,
        grid: channels as u32,
        items,
        tensors: vec![
            Tensor::stream(given),
            Tensor::stream(got),
            // Slots that reach beyond the last channel's.
            Tensor::stream((channels + 1) * STEPS * STEP),
        ],
        barriers: vec![Barrier { arrivals: 1, credits: 0 }, Barrier { arrivals: turns, credits: 0 }],
        roles: vec![Role { warps: WORKERS / 32, ops }],
        pipelined: false,
    }
}
