//! Kernels beside the products of a mixture: choosing experts, sorting their rows, gates, sums.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Tensor, Tile, Trips, VectorWork, WORK_VARS};

use super::super::rows::ElementWork;
use super::super::{PLAIN_REGISTERS, copy, one_role};

/// A kernel that reads some streams, works, and writes one: so many bytes of each for a CTA.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Its name in reports.
    pub name: String,
    /// CTAs.
    pub ctas: u32,
    /// Threads of a CTA.
    pub threads: u32,
    /// Bytes that a CTA reads of each stream, and whether all of its parts are asked for at once.
    pub reads: Vec<u32>,
    /// Bytes that it writes.
    pub writes: u32,
    /// Lane work of a CTA.
    pub work: VectorWork,
    /// Nanoseconds before its first load: constants, and dependent round trips.
    pub wait_ns: f64,
    /// Nanoseconds that the last CTA waits at its end: a queue that all of them are in.
    pub last_ns: f64,
}

/// The kernel. Tensors are the streams that are read, then the one that is written.
pub fn pass(p: &Pass) -> Kernel {
    let ctas = p.ctas.clamp(1, 1 << 20);
    let stream = |bytes: u32| Tensor {
        rows: 1,
        row_bytes: u64::from(ctas) * u64::from(bytes.max(1)),
        piece_bytes: bytes.next_power_of_two().clamp(32, 1 << 14),
        piece_rows: 1,
    };
    let tile = |tensor: usize, bytes: u32| Tile {
        tensor: tensor as u8,
        row: Expr::default(),
        byte: Expr::work(0, i64::from(bytes)),
        rows: 1,
        bytes,
    };
    let mut ops = Vec::new();
    if p.wait_ns > 0.0 {
        ops.push(Op::Setup(p.wait_ns));
    }
    ops.extend(p.reads.iter().enumerate().map(|(i, &bytes)| copy(tile(i, bytes), Path::Load, 0)));
    if !p.reads.is_empty() {
        ops.push(Op::Wait(0));
    }
    ops.extend([Op::Vector(p.work), Op::Store { tile: tile(p.reads.len(), p.writes), reduce: false }]);
    if p.last_ns > 0.0 {
        ops.extend([Op::Loop(Trips::Once(1, 0)), Op::Delay(p.last_ns), Op::End]);
    }
    let mut tensors: Vec<Tensor> = p.reads.iter().map(|&b| stream(b)).collect();
    tensors.push(stream(p.writes));
    let mut items: Vec<[i32; WORK_VARS]> = Vec::with_capacity(ctas as usize);
    items.extend((0..ctas).map(|i| [i as i32, i32::from(i + 1 == ctas), 0, 0, 0, 0]));
    Kernel {
        name: p.name.clone(),
        threads: p.threads,
        registers: PLAIN_REGISTERS,
        shared_bytes: 1024,
        cluster: 1,
        grid: ctas,
        items,
        tensors,
        barriers: vec![Barrier { arrivals: p.reads.len().max(1) as u32, credits: 0 }],
        roles: one_role(p.threads.div_ceil(32).max(1), ops),
        pipelined: false,
    }
}

/// Rows of so many bytes read and written, a CTA for some of them.
fn by_rows(name: &str, rows: u32, reads: &[u32], writes: u32, threads: u32, work: VectorWork) -> Kernel {
    pass(&Pass {
        name: format!("{name} {rows}"),
        ctas: rows,
        threads,
        reads: reads.to_vec(),
        writes,
        work,
        wait_ns: 0.0,
        last_ns: 0.0,
    })
}

/// Softmax and the best `top_k` of `experts` for every token: a warp for a token or several (`topkGating`), each of the choices a reduction over lanes.
pub fn choose(tokens: u32, experts: u32, top_k: u32) -> Kernel {
    let tokens_per_cta = 4;
    let ctas = tokens.div_ceil(tokens_per_cta);
    let n = f64::from(experts * tokens_per_cta);
    // A maximum over lanes and its index: five exchanges of two numbers, compared; then the winner is taken out.
    let rounds = f64::from(top_k + 2);
    let a_warp = rounds * (5.0 * 4.0 + f64::from(experts.div_ceil(32)) * 2.0) + f64::from(experts.div_ceil(32)) * 10.0;
    let work = VectorWork {
        issue: a_warp * f64::from(tokens_per_cta),
        alu: a_warp * f64::from(tokens_per_cta) * 16.0,
        sfu: n,
        latency_cycles: rounds * 5.0 * 30.0,
        ..VectorWork::default()
    };
    pass(&Pass {
        name: format!("choose {top_k} of {experts}"),
        ctas,
        threads: 128,
        reads: vec![experts * 2 * tokens_per_cta],
        writes: top_k * 8 * tokens_per_cta,
        work,
        wait_ns: 0.0,
        last_ns: 0.0,
    })
}

/// PyTorch's selection of the best (`gatherTopK`): a CTA a token goes through its scores once for each two bits of their 16, counts, and sums over its
/// warps, then twice more to write them.
pub fn select(tokens: u32, experts: u32) -> Kernel {
    let threads = experts.next_multiple_of(32).clamp(32, 1024);
    let warps = f64::from(threads / 32);
    let passes = 8.0 + 2.0;
    let issue = passes * warps * 45.0;
    pass(&Pass {
        name: format!("select of {experts}"),
        ctas: tokens,
        threads,
        reads: vec![experts * 2],
        writes: 64,
        // Counts of a pass: votes of a warp, additions in shared memory, two barriers.
        work: VectorWork { issue, alu: issue * 16.0, latency_cycles: passes * 320.0, ..VectorWork::default() },
        wait_ns: 0.0,
        last_ns: 0.0,
    })
}

/// Its sort of a few (`bitonicSortKVInPlace`), a CTA for several tokens: a step of exchange and barrier for each pair of powers of two.
pub fn sort(tokens: u32, top_k: u32) -> Kernel {
    let log = f64::from(top_k.next_power_of_two().max(32)).log2();
    let steps = log * (log + 1.0) / 2.0;
    let issue = steps * 14.0 * 16.0;
    pass(&Pass {
        name: format!("sort of {top_k}"),
        ctas: tokens.div_ceil(16),
        threads: 512,
        reads: vec![top_k * 12 * 16],
        writes: top_k * 12 * 16,
        work: VectorWork { issue, alu: issue * 16.0, latency_cycles: steps * 75.0, ..VectorWork::default() },
        wait_ns: 0.0,
        last_ns: 0.0,
    })
}

/// Elementwise work over so many bytes, read and written.
pub fn elementwise(name: &str, bytes: u64) -> Kernel {
    let per_cta = 2048;
    let n = f64::from(per_cta) / 2.0;
    let work = ElementWork { fma: 0.0, alu: 1.0, sfu: 0.0, other: 1.0, stall: 2.5 }.of(n);
    pass(&Pass {
        name: name.into(),
        ctas: u32::try_from(bytes.div_ceil(u64::from(per_cta)).max(1)).unwrap_or(u32::MAX),
        threads: 128,
        reads: vec![per_cta.min(bytes.max(32) as u32)],
        writes: per_cta.min(bytes.max(32) as u32),
        work,
        wait_ns: 0.0,
        last_ns: 0.0,
    })
}

/// One CTA that counts choices: a thread takes every so-manieth, each a load and an addition in shared memory; then sums over experts.
pub fn count(pairs: u32, experts: u32, threads: u32, then_ns: f64) -> Kernel {
    let rounds = f64::from(pairs.div_ceil(threads.max(1)));
    // Loads of four rounds are under way at once: a round trip to L2 each four; additions of a warp's lanes to few experts follow one another.
    let chain = (rounds / 4.0).ceil() * 560.0 + rounds * 40.0;
    // A sum over experts takes a step for each power of two.
    let scan = f64::from(experts.max(2)).log2().ceil() * 60.0 + 200.0;
    let issue = f64::from(pairs) / 32.0 * 12.0 + f64::from(threads) / 32.0 * 60.0;
    pass(&Pass {
        name: format!("count {pairs} of {experts}"),
        ctas: 1,
        threads,
        reads: vec![(pairs.saturating_mul(4)).clamp(32, 1 << 20)],
        writes: experts.saturating_mul(4).max(32),
        work: VectorWork { issue, alu: issue * 16.0, latency_cycles: chain + scan, ..VectorWork::default() },
        wait_ns: then_ns,
        last_ns: 0.0,
    })
}

/// CTAs that look through the choices of a thread each for one expert, so many of a token, and add up over their threads (`blockExpertPrefixSum`,
/// `mergeExpertPrefixSum` of TensorRT-LLM).
pub fn scan(name: &str, ctas: u32, threads: u32, choices: u32) -> Kernel {
    let warps = f64::from(threads.div_ceil(32));
    let issue = warps * (60.0 + 3.0 * f64::from(choices));
    pass(&Pass {
        name: name.into(),
        ctas,
        threads,
        reads: vec![threads * 4 * choices],
        writes: threads * 4,
        work: VectorWork { issue, alu: issue * 16.0, latency_cycles: 700.0, ..VectorWork::default() },
        wait_ns: 0.0,
        last_ns: 0.0,
    })
}

/// Places of rows among their expert's: a thread for each choice adds to its expert's counter in L2 and writes where it lies. Additions to one counter follow
/// one another: the fullest expert's choices at one a clock of L2.
pub fn place(pairs: u32, fullest: u32, l2_clock_mhz: f64) -> Kernel {
    let threads = 256;
    let ctas = pairs.div_ceil(threads).max(1);
    let queue_ns = f64::from(fullest) * 1e3 / l2_clock_mhz.max(1.0);
    let issue = 8.0 * 20.0;
    pass(&Pass {
        name: format!("place {pairs}"),
        ctas,
        threads,
        reads: vec![threads * 4],
        writes: threads * 4,
        work: VectorWork { issue, alu: issue * 16.0, latency_cycles: 600.0, ..VectorWork::default() },
        wait_ns: 0.0,
        last_ns: queue_ns,
    })
}

/// The gate of every row: `[rows, 2 n]` to `[rows, n]` (`silu_and_mul`), a CTA a row; or `[rows, n]` to itself where there is no gate.
pub fn gate(rows: u32, n: u32, gated: bool, out_bytes: u32) -> Kernel {
    let reads = if gated { n * 4 } else { n * 2 };
    let threads = n.div_ceil(8).next_multiple_of(32).clamp(32, 1024);
    let work = ElementWork { fma: 4.0, alu: 2.0, sfu: 2.0, other: 2.0, stall: 2.5 };
    by_rows("gate", rows, &[reads], n * out_bytes, threads, work.of(f64::from(n)))
}

/// Sums of every token's `top_k` rows of `hidden` numbers.
pub fn sum(tokens: u32, top_k: u32, hidden: u32, out_bytes: u32) -> Kernel {
    // A CTA has up to 2048 numbers of a token.
    let parts = hidden.div_ceil(2048).max(1);
    let width = hidden.div_ceil(parts);
    let work = ElementWork { fma: f64::from(top_k), alu: 1.0, sfu: 0.0, other: 0.5 * f64::from(top_k), stall: 2.5 };
    let threads = width.div_ceil(8).next_multiple_of(32).clamp(32, 256);
    let ctas = tokens.saturating_mul(parts);
    by_rows("sum", ctas, &[width * 2 * top_k], width * out_bytes, threads, work.of(f64::from(width)))
}

/// Rows of tokens copied to where their experts' rows lie, and converted.
pub fn expand(rows: u32, hidden: u32, out_bytes: u32) -> Kernel {
    let fma = if out_bytes < 2 { 1.0 } else { 0.0 };
    let work = ElementWork { fma, alu: 1.0 + 3.0 * fma, sfu: 0.0, other: 1.0, stall: 1.5 };
    by_rows("expand", rows, &[hidden * 2], hidden * out_bytes, 256, work.of(f64::from(hidden)))
}

/// One CTA's small work that a launch does in a chain of so many nanoseconds.
pub fn chain(name: &str, threads: u32, ns: f64) -> Kernel {
    pass(&Pass {
        name: name.into(),
        ctas: 1,
        threads,
        reads: vec![32],
        writes: 32,
        work: VectorWork { issue: f64::from(threads), ..VectorWork::default() },
        wait_ns: ns,
        last_ns: 0.0,
    })
}
