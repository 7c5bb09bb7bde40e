//! Laws of launches of several streams: one by itself is what it is alone, two share what they need and nothing is lost.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

use banksia_hw::gpu::program::{
    Barrier, Dtype, Expr, Kernel, Multicast, Op, Path, Role, Tensor, Tile, Trips, VectorWork,
};
use banksia_hw::gpu::{CacheState, Gpu, GpuError, LaunchOptions, PeerLink, Submitted, Together, device};
use proptest::prelude::*;

/// Bytes of a turn of a CTA.
const TURN: u32 = 8192;

/// What a kernel's CTAs do in a turn.
#[derive(Debug, Clone, Copy)]
struct Shape {
    ctas: u32,
    turns: u32,
    threads: u32,
    shared_bytes: u32,
    /// Warp instructions of a turn.
    issue: u32,
    /// Depth of a matrix product of a turn; none at zero.
    depth: u32,
    stores: bool,
    /// CTAs that stay and take several items.
    persistent: bool,
    cluster: u32,
}

fn kernel(s: Shape) -> Kernel {
    let items = if s.persistent { 3 * s.ctas } else { s.ctas };
    let byte = Expr::work(0, i64::from(s.turns * TURN)).plus_loop(0, i64::from(TURN));
    let tile = |tensor| Tile { tensor, row: Expr::default(), byte, rows: 1, bytes: TURN };
    let mut ops = vec![
        Op::Loop(Trips::Const(s.turns)),
        Op::Copy { tile: tile(0), path: Path::Load, multicast: Multicast::NONE, barrier: 0 },
        Op::Wait(0),
        Op::Vector(VectorWork { issue: f64::from(s.issue), fma: f64::from(s.issue), ..VectorWork::default() }),
    ];
    if s.depth > 0 {
        ops.extend([Op::Mma { dtype: Dtype::Bf16, m: 64, n: 64, k: s.depth, sync: true }, Op::MmaWait(0)]);
    }
    if s.stores {
        ops.push(Op::Store { tile: tile(1), reduce: false });
    }
    ops.push(Op::End);
    if s.persistent {
        ops.push(Op::Next);
    }
    let bytes = u64::from(items) * u64::from(s.turns * TURN);
    Kernel {
        name: format!("{s:?}"),
        threads: s.threads,
        registers: 64,
        shared_bytes: s.shared_bytes,
        cluster: s.cluster,
        grid: s.ctas,
        items: (0..items as i32).map(|i| [i, 0, 0, 0, 0, 0]).collect(),
        tensors: vec![Tensor::stream(bytes), Tensor::stream(bytes)],
        barriers: vec![Barrier { arrivals: 1, credits: 0 }],
        roles: vec![Role { warps: s.threads / 32, ops }],
        pipelined: false,
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let numbers = (1_u32..400, 1_u32..12, 1_u32..=8, 0_u32..=96, 0_u32..600, 0_u32..3);
    (numbers, any::<bool>(), any::<bool>(), 1_u32..=2).prop_map(|(n, stores, persistent, cluster)| {
        let (ctas, turns, warps, kib, issue, depth) = n;
        let ctas = if cluster == 2 { ctas.min(120).div_ceil(2) * 2 } else { ctas };
        let (threads, shared_bytes) = (128 * warps, kib * 2048);
        Shape { ctas, turns, threads, shared_bytes, issue, depth: depth * 64, stores, persistent, cluster }
    })
}

/// Each kernel on a stream of its own, both from the begin.
fn together(gpu: &mut Gpu, kernels: &[&Kernel], options: &LaunchOptions) -> Result<Together, GpuError> {
    let mut tensors = Vec::new();
    let mut launches = Vec::new();
    for kernel in kernels {
        let first = tensors.len() as u16;
        tensors.extend(kernel.tensors.iter().copied());
        let own = first..tensors.len() as u16;
        launches.push(Submitted { kernel, tensors: own.collect(), after: Vec::new(), gap_s: 0.0 });
    }
    gpu.run_together(&tensors, &launches, options)
}

/// How much fuller than alone an SM may be with CTAs of a kernel that waits for places: alone they spread over all SMs,
/// and behind another kernel as many as fit go to the first SM that it leaves.
fn piled(gpu: &Gpu, kernel: &Kernel) -> f64 {
    let fit = gpu.occupancy(kernel).unwrap();
    let alone = kernel.grid.div_ceil(gpu.spec().sms()).min(fit);
    f64::from(fit) / f64::from(alone)
}

fn options() -> LaunchOptions {
    LaunchOptions { grain_bytes: 8192, cache: CacheState::Empty, ..LaunchOptions::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn one_launch_by_itself_is_what_it_is_alone(s in shape()) {
        let mut gpu = Gpu::new(device("h200").unwrap());
        let k = kernel(s);
        let alone = gpu.run(&k, &options()).unwrap();
        let by_itself = together(&mut gpu, &[&k], &options()).unwrap();
        prop_assert_eq!(by_itself.span_s.to_bits(), alone.span_s.to_bits());
        prop_assert_eq!(by_itself.traffic, alone.traffic);
        prop_assert_eq!(by_itself.launches[0].work, alone.work);
        prop_assert_eq!(by_itself.launches[0].steps, alone.steps);
    }

    /// Two take no less than the longer of them and little more than both after each other, and move what they move alone.
    /// What a CTA takes depends on where it lies: beside another kernel its lines may be nearer than they are alone (of
    /// 6,000 pairs the best gains 7.6 %), and its SM fuller ([`piled`]).
    #[test]
    fn two_at_once_lie_between_the_longer_and_the_sum(a in shape(), b in shape()) {
        let mut gpu = Gpu::new(device("h200").unwrap());
        let (a, b) = (kernel(a), kernel(b));
        let alone = [&a, &b].map(|k| gpu.run(k, &options()).unwrap());
        let both = together(&mut gpu, &[&a, &b], &options()).unwrap();
        let spans = alone.map(|r| r.span_s);
        let (longer, sum) = (spans[0].max(spans[1]), spans[0] + spans[1]);
        prop_assert!(both.span_s >= longer * 0.90 - 1e-7, "{} of {spans:?}", both.span_s);
        let most = sum + (piled(&gpu, &b) - 1.0) * spans[1];
        prop_assert!(both.span_s <= most * 1.10 + 1e-6, "{} of {spans:?}", both.span_s);
        for (ran, alone) in both.launches.iter().zip(&alone) {
            prop_assert_eq!(ran.traffic.crossbar_read_bytes, alone.traffic.crossbar_read_bytes);
            prop_assert_eq!(ran.traffic.crossbar_write_bytes, alone.traffic.crossbar_write_bytes);
            prop_assert_eq!(ran.work.tensor_fma, alone.work.tensor_fma);
            prop_assert_eq!(ran.steps, alone.steps);
            prop_assert!(ran.end_s <= both.span_s && ran.begin_s <= ran.placed_s);
        }
        // What memory gave them they had asked for; L2 begins empty.
        let asked: u64 = [&a, &b].iter().map(|k| k.tensors[0].bytes()).sum();
        prop_assert!(both.traffic.dram_read_bytes >= asked, "{} of {asked}", both.traffic.dram_read_bytes);
        let parts: u64 = both.launches.iter().map(|l| l.traffic.dram_read_bytes + l.traffic.dram_write_bytes).sum();
        prop_assert_eq!(parts, both.traffic.dram_read_bytes + both.traffic.dram_write_bytes);
        // The second begins where all of the first have their places.
        prop_assert!(both.launches[0].placed_s <= both.launches[1].placed_s);
    }
}

/// A kernel of few CTAs that memory does not bound.
const SMALL: Shape = Shape {
    ctas: 60,
    turns: 40,
    threads: 256,
    shared_bytes: 0,
    issue: 400,
    depth: 0,
    stores: false,
    persistent: false,
    cluster: 1,
};

#[test]
fn equal_kernels_share_equally() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    // Two CTAs of each on every SM, whose registers that is all of, and whose lanes they share.
    let k = kernel(Shape { ctas: 2 * 132, issue: 3000, ..SMALL });
    let both = together(&mut gpu, &[&k, &k], &options()).unwrap();
    let [a, b] = [both.launches[0], both.launches[1]].map(|l| l.end_s);
    assert!((a / b - 1.0).abs() < 0.05, "{a} and {b}");
    let alone = gpu.run(&k, &options()).unwrap().span_s;
    // Alone, its two CTAs leave lanes idle while they wait for memory.
    let times = both.span_s / alone;
    assert!((1.2..2.1).contains(&times), "{times} of {alone}");
}

#[test]
fn kernels_that_need_different_sms_do_not_meet() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let k = kernel(SMALL);
    let alone = gpu.run(&k, &options()).unwrap().span_s;
    let both = together(&mut gpu, &[&k, &k], &options()).unwrap();
    assert!(both.span_s < 1.1 * alone, "{} against {alone}", both.span_s);
}

/// CTAs that take whole SMs leave no room: the second waits for the first one's to end.
#[test]
fn a_full_chip_makes_the_next_wait() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let k = kernel(Shape { ctas: 132, shared_bytes: 200 << 10, ..SMALL });
    let alone = gpu.run(&k, &options()).unwrap().span_s;
    let both = together(&mut gpu, &[&k, &k], &options()).unwrap();
    assert!(both.span_s > 1.9 * alone, "{} against {alone}", both.span_s);
    assert!(both.launches[1].placed_s > 0.8 * alone, "{:?}", both.launches[1]);
}

#[test]
fn launches_wait_for_those_they_come_after() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let k = kernel(SMALL);
    let launch =
        |first: u16, after: Vec<usize>| Submitted { kernel: &k, tensors: vec![first, first + 1], after, gap_s: 1e-6 };
    let tensors = [k.tensors.clone(), k.tensors.clone()].concat();
    let chain = [launch(0, vec![]), launch(2, vec![0])];
    let r = gpu.run_together(&tensors, &chain, &options()).unwrap();
    assert!((r.launches[1].begin_s - r.launches[0].end_s - 1e-6).abs() < 1e-12, "{:?}", r.launches);
    for wrong in [launch(3, vec![]), launch(0, vec![0])] {
        let error = gpu.run_together(&tensors, &[wrong], &options()).unwrap_err();
        assert!(matches!(error, GpuError::Submitted { .. }), "{error}");
    }
}

/// What a peer stores here comes with what goes there: the links' bytes over their rate are a bound, and there must be links.
#[test]
fn stores_to_a_peer_pass_the_links() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let mut k = kernel(Shape { ctas: 132, stores: true, ..SMALL });
    k.barriers.push(Barrier { arrivals: 1, credits: 0 });
    for op in &mut k.roles[0].ops {
        if let Op::Store { tile, .. } = *op {
            *op = Op::PeerStore { tile, barrier: 1 };
        }
    }
    assert!(matches!(gpu.run(&k, &options()), Err(GpuError::NoPeer { .. })));
    let bytes = k.tensors[1].bytes();
    let mut last = 0.0;
    for gb_s in [1000.0, 300.0, 100.0] {
        let peer = Some(PeerLink { bytes_per_s: gb_s * 1e9, latency_ns: 500.0 });
        let r = gpu.run(&k, &LaunchOptions { peer, ..options() }).unwrap();
        assert_eq!(r.traffic.peer_bytes, bytes);
        assert!(r.span_s >= bytes as f64 / gb_s * 1e-9 && r.span_s >= last, "{} at {gb_s} GB/s", r.span_s);
        last = r.span_s;
    }
}
