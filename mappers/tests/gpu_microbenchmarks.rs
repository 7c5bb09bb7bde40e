//! The simulated H200, given the programs of `tests/reference/gpu/microbenchmarks*.csv`, reproduces their numbers. This
//! is where the machine's parameters come from, so the bounds here are tight and each names its row.
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use banksia_hw::gpu::program::{Dtype, Kernel, VectorWork};
use banksia_hw::gpu::{CacheState, Gpu, KernelResult, LaunchOptions, device};
use banksia_mappers::gpu::probes;
use banksia_mappers::gpu::rows::{ElementWork, Elementwise, elementwise};

fn h200() -> Gpu {
    Gpu::new(device("h200").unwrap())
}

fn run(gpu: &mut Gpu, k: &Kernel, cache: CacheState, grain: u32) -> KernelResult {
    gpu.run(k, &LaunchOptions { grain_bytes: grain, cache, ..LaunchOptions::default() }).unwrap()
}

fn resident(k: &Kernel) -> CacheState {
    CacheState::Resident { tensors: (0..k.tensors.len()).map(|t| (t, false)).collect(), dirty: 0.0 }
}

/// Within `percent` of a measurement.
fn near(what: &str, got: f64, measured: f64, percent: f64) {
    let error = (got / measured - 1.0) * 100.0;
    println!("{what}: {got:.4} against {measured:.4}, {error:+.1} %");
    assert!(error.abs() <= percent, "{what}: {got:.4} against {measured:.4}, {error:+.1} %");
}

/// Cycles of one dependent load at the full clock.
fn hop(gpu: &mut Gpu, footprint: u64, hops: u32, cached: bool) -> f64 {
    let time = |gpu: &mut Gpu, n: u32| {
        let k = probes::pointer_chase(footprint, n);
        let cache = if cached { resident(&k) } else { CacheState::Empty };
        run(gpu, &k, cache, 128).span_s
    };
    (time(gpu, hops) - time(gpu, hops / 2)) / f64::from(hops - hops / 2) * 1.98e9
}

#[test]
fn latency_of_l2_and_of_memory() {
    let mut gpu = h200();
    near("latency_cg 1 MiB", hop(&mut gpu, 1 << 20, 2048, true), 302.5, 8.0);
    near("latency_cg 8 MiB", hop(&mut gpu, 8 << 20, 2048, true), 328.2, 10.0);
    near("latency_cg 1 GiB", hop(&mut gpu, 1 << 30, 2048, false), 679.8, 15.0);
}

#[test]
fn launch_intervals() {
    let mut gpu = h200();
    for (ctas, measured) in [(1, 0.493368), (132, 0.555640), (1056, 1.098728), (8448, 5.562640)] {
        let r = run(&mut gpu, &probes::empty(ctas, 256), CacheState::Empty, 4096);
        near(&format!("launch_graph {ctas}"), r.latency_s * 1e6, measured, 12.0);
    }
    for (ctas, cycles, measured) in [(132, 2000.0, 1.5544), (132, 10000.0, 5.59456), (1320, 10000.0, 10.972864)] {
        let r = run(&mut gpu, &probes::spin(ctas, 256, cycles / 1.98), CacheState::Empty, 4096);
        near(&format!("graph_interval_spin{cycles} {ctas}"), r.latency_s * 1e6, measured, 12.0);
    }
}

#[test]
fn streaming_from_memory_and_from_l2() {
    let mut gpu = h200();
    let rate = |gpu: &mut Gpu, bytes: u64, passes: u32, cached: bool, sharers: u32, ctas: u32| {
        let time = |gpu: &mut Gpu, passes: u32| {
            let k = probes::read(ctas, 1024, bytes, 16384, passes, sharers);
            let cache = if cached { resident(&k) } else { CacheState::Empty };
            (run(gpu, &k, cache, 16384).span_s, k.tensors[0].bytes() as f64 * f64::from(sharers))
        };
        let (a, b) = (time(gpu, passes), time(gpu, 2 * passes));
        (b.1 * f64::from(passes)) / (b.0 - a.0)
    };
    // Two gigabytes pass by: each pass finds nothing of the one before.
    near("loop_read_bw 1 GiB", rate(&mut gpu, 1 << 30, 1, false, 1, 264), 4418.9e9, 8.0);
    // Loads of full width (the reference's loop keeps two words of four, and the compiler fetches those apart: 4539 GB/s of
    // 16-byte vectors are 9078 GB/s of requests): device_measurements.csv.
    near("read of distinct lines in L2", rate(&mut gpu, 17 << 20, 4, true, 1, 264), 9436e9, 10.0);
}

#[test]
fn one_sm_is_bound_by_its_port() {
    let mut gpu = h200();
    let time = |gpu: &mut Gpu, passes| {
        let k = probes::read(1, 1024, 1 << 20, 65536, passes, 1);
        run(gpu, &k, resident(&k), 16384).span_s
    };
    let rate = 4.0 * (1 << 20) as f64 / (time(&mut gpu, 8) - time(&mut gpu, 4));
    near("read by one SM, batches of 64 KB", rate, 134.8e9, 12.0);
}

#[test]
fn lanes_and_matrix_units() {
    let mut gpu = h200();
    let per_cycle = |gpu: &mut Gpu, work: VectorWork, n: f64| {
        let time = |gpu: &mut Gpu, turns| {
            run(gpu, &probes::lanes_only(132, 1024, work, turns), CacheState::Empty, 4096).span_s
        };
        n * 100.0 / ((time(gpu, 200) - time(gpu, 100)) * 1.98e9)
    };
    let n = 1024.0 * 64.0;
    let fma = VectorWork { issue: n / 32.0, fma: n, ..VectorWork::default() };
    near("FMA (device measurement 122.6, data sheet 128)", per_cycle(&mut gpu, fma, n), 122.6, 6.0);
    let ex2 = VectorWork { issue: n / 32.0, sfu: n, ..VectorWork::default() };
    near("ex2_per_sm", per_cycle(&mut gpu, ex2, n), 15.998785, 3.0);
    let shared = VectorWork { issue: n / 32.0, shared_bytes: n * 16.0, ..VectorWork::default() };
    near("smem_bw_per_sm", per_cycle(&mut gpu, shared, n * 16.0), 125.051689, 4.0);

    let fma_per_cycle = |gpu: &mut Gpu, warps, mnk: [u32; 3], sync| {
        let run_at = |gpu: &mut Gpu, turns| {
            let k = probes::matrix_only(132, warps, Dtype::Bf16, mnk, sync, turns);
            run(gpu, &k, CacheState::Empty, 4096)
        };
        let (a, b) = (run_at(gpu, 100), run_at(gpu, 200));
        let cycles = b.span_s * b.clock_mhz * 1e6 - a.span_s * a.clock_mhz * 1e6;
        f64::from(mnk[0]) * f64::from(mnk[1]) * f64::from(mnk[2]) * 100.0 / cycles
    };
    near("mma_sync 1 warp", fma_per_cycle(&mut gpu, 1, [16, 64, 64], true), 314.9, 8.0);
    near("mma_sync 8 warps", fma_per_cycle(&mut gpu, 8, [128, 64, 64], true), 1352.2, 3.0);
    near("wgmma n256", fma_per_cycle(&mut gpu, 8, [128, 256, 64], false), 2048.0, 3.0);
    near(
        "wgmma n8 (device measurement: 21.7 cycles)",
        fma_per_cycle(&mut gpu, 8, [128, 8, 64], false),
        64.0 * 8.0 * 16.0 / 21.0,
        6.0,
    );
}

#[test]
fn the_clock_falls_with_matrix_work() {
    let mut gpu = h200();
    let k = probes::matrix_only(132, 8, Dtype::Bf16, [128, 256, 128], false, 2000);
    let r = run(&mut gpu, &k, CacheState::Empty, 4096);
    near("wgmma on normal data, MHz (device measurement)", r.clock_mhz, 1704.0, 2.0);
}

#[test]
fn writes_and_copies() {
    let mut gpu = h200();
    let work = ElementWork { fma: 0.0, alu: 1.0, sfu: 0.0, other: 1.0, stall: 0.0 };
    let stream = |inputs, bytes: u64| {
        elementwise(&Elementwise { elements: bytes / 2, inputs, element_bytes: 2, per_cta: 8192, threads: 256, work })
    };
    let time = |gpu: &mut Gpu, inputs, bytes| {
        run(gpu, &stream(inputs, bytes), CacheState::Foreign { dirty: 0.5 }, 16384).latency_s * 1e6
    };
    near("write_cold 256 MiB", time(&mut gpu, 0, 1 << 28), 64.0, 12.0);
    near("copy_cold 256 MiB", time(&mut gpu, 1, 1 << 28), 138.5, 10.0);
}

/// One access in 188 pseudo-channels' activations: what `random_sectors` shows beyond L2 (41.3 at 4 GiB; 43.7 at 1 GiB, of
/// which 5 % are hits). Nothing here is fitted: it is the device's tFAW, its refresh and the queue.
#[test]
fn random_sectors_are_bound_by_activations() {
    let mut gpu = h200();
    let ctas = 132 * 32;
    let mut time = |n| run(&mut gpu, &probes::random_sectors(ctas, 1 << 28, n), CacheState::Empty, 32).span_s;
    let rate = f64::from(ctas) * 48.0 / (time(96) - time(48));
    near("random_sectors 4 GiB", rate / 1e9, 41.27, 8.0);
}

/// Rate by the number of CTAs and threads, each thread with so many bytes under way as the reference's loop has.
#[test]
fn memory_rate_by_ctas() {
    let mut gpu = h200();
    for (threads, ctas, measured, percent) in [
        (128u32, 16, 272.2, 10.0),
        (128, 132, 2065.4, 15.0),
        (256, 64, 2007.7, 10.0),
        (256, 132, 3476.8, 8.0),
        (1024, 132, 4511.2, 5.0),
    ] {
        let mut time = |bytes| {
            let k = probes::read(ctas, threads, bytes, threads * 64, 1, 1);
            run(&mut gpu, &k, CacheState::Empty, 16384).span_s
        };
        let rate = f64::from(1 << 27) / (time(1 << 28) - time(1 << 27));
        near(&format!("dram_read_bw_ctas_of_{threads} {ctas}"), rate / 1e9, measured, percent);
    }
}

/// Tiles of rows 16 KB apart (device measurement `tiles_memory`): the worst of 128 rows waits for a bank in refresh, and
/// many CTAs wait for activations and for the bus.
#[test]
fn strided_tiles() {
    let mut gpu = h200();
    for (piece, stages, ctas, measured, percent) in [
        (64, 2, 1, 1446.4, 10.0),
        (128, 2, 1, 1528.5, 10.0),
        (128, 3, 1, 797.9, 10.0),
        (256, 3, 1, 920.3, 10.0),
        (64, 4, 64, 595.8, 15.0),
        (128, 3, 64, 883.9, 12.0),
        (256, 3, 64, 1129.6, 10.0),
        (64, 4, 132, 786.6, 12.0),
        // 3.6 ns for each activation of a channel on the chip, less than a quarter of the tFAW assumed.
        (64, 6, 132, 633.9, 20.0),
        (128, 2, 132, 1736.8, 12.0),
        (128, 3, 132, 1159.5, 12.0),
        (128, 5, 132, 926.0, 15.0),
        (256, 3, 132, 1845.9, 15.0),
    ] {
        // 0.7 us are the launch and the first tile.
        let r = run(&mut gpu, &probes::tiles(ctas, piece, stages, 16384), CacheState::Empty, 1024);
        let cycles = (r.span_s - 0.7e-6) / f64::from((16384 / piece).min(256)) * 1.98e9;
        near(&format!("tiles of {piece} bytes, {stages} stages, {ctas} CTAs"), cycles, measured, percent);
    }
}
