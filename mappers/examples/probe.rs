//! scratch
use banksia_hw::gpu::{CacheState, Gpu, RunOptions, device};
use banksia_hw::gpu::program::Kernel;
use banksia_mappers::gpu::probes;
use banksia_mappers::gpu::rows::{ElementWork, Elementwise, elementwise};
fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let sets: Vec<String> = std::env::args().skip(2).collect();
    let source = banksia_hw::gpu::catalog("h200").unwrap();
    let sets: Vec<&str> = sets.iter().map(|s| s.as_str()).collect();
    let spec = banksia_hw::gpu::GpuSpec::from_source(&source.with_settings(&sets).unwrap()).unwrap();
    let mut gpu = Gpu::new(spec);
    let _ = device("h200");
    let run = |gpu: &mut Gpu, k: &Kernel, cache: CacheState, grain: u32| {
        let t = std::time::Instant::now();
        let r = gpu.run(k, &RunOptions { grain_bytes: grain, cache, ..RunOptions::default() }).unwrap();
        (r, t.elapsed().as_secs_f64())
    };
    let want = |s: &str| only.is_empty() || only.contains(s);
    if want("hop") {
        for (b, m) in [(1u64<<20, 302.5),(8<<20,328.2),(64<<20,417.8),(1<<30, 679.8)] {
            let mut t = |n| { let k = probes::pointer_chase(b, n); let c = if b < 1<<30 { CacheState::Resident{tensors: vec![(0,false)], dirty:0.0} } else { CacheState::Empty };
              run(&mut gpu, &k, c, 128).0.span_s };
            let h = (t(2048) - t(1024)) / 1024.0 * 1.98e9;
            println!("hop {b}: {h:.1} measured {m}");
        }
    }
    if want("stream") {
        for grain in [16384, 4096, 128] { for (bytes, m) in [(1u64<<30, 4418.9), (1 << 28, 4410.6)] {
            let mut t = |p| { let k = probes::read(264, 1024, bytes, 16384, p, 1); run(&mut gpu, &k, CacheState::Empty, grain) };
            let (a, b) = (t(1), t(2));
            println!("loop_read {bytes} grain {grain}: {:.1} measured {m} ({:.2}s)", bytes as f64 / (b.0.span_s - a.0.span_s) / 1e9, b.1);
        }}
        let k = probes::read(264, 1024, 17 << 20, 16384, 4, 1); let k2 = probes::read(264, 1024, 17 << 20, 16384, 8, 1);
        let c = CacheState::Resident{tensors: vec![(0,false)], dirty:0.0};
        let (a, b) = (run(&mut gpu, &k, c.clone(), 16384).0, run(&mut gpu, &k2, c, 16384).0);
        println!("l2 read {:.1} measured 9436", 4.0 * k.tensors[0].bytes() as f64 / (b.span_s - a.span_s) / 1e9);
    }
    if want("ctas") {
        for (t, ctas, m) in [(128u32,132u32,2065.4),(256,132,3476.8),(512,132,4348.7),(1024,132,4511.2),(1024,64,3394.1),(1024,32,1842.4),(128,16,272.2),(512,16,999.2),(256,64,2007.7)] {
            let batch = t * 64;
            let mut f = |n: u64| { let k = probes::read(ctas, t, n, batch, 1, 1); run(&mut gpu, &k, CacheState::Empty, 16384).0.span_s };
            let d = f(1<<28) - f(1<<27);
            println!("dram_read_bw_ctas_of_{t} {ctas}: {:.1} measured {m}", (1u64<<27) as f64 / d / 1e9);
        }
    }
    if want("sectors") {
        let mut f = |n| run(&mut gpu, &probes::random_sectors(132 * 32, 1 << 29, n), CacheState::Empty, 32);
        let (a, b) = (f(192), f(384));
        println!("random_sectors {:.2} measured 41 ({:.2} s for {})", 132.0 * 32.0 * 192.0 / (b.0.span_s - a.0.span_s) / 1e9, b.1, b.0.traffic.transactions);
    }
    if want("copy") {
        let work = ElementWork { fma: 0.0, alu: 1.0, sfu: 0.0, other: 1.0 };
        for grain in [16384, 128] { for (n, b, m) in [(0u32, 1u64 << 28, 64.0), (1, 1 << 28, 138.5), (0, 1 << 30, 247.0), (1, 1 << 30, 540.8), (1, 1 << 26, 37.5), (0, 1 << 24, 6.9), (1, 1 << 24, 12.86)] {
            let k = elementwise(&Elementwise { elements: b / 2, inputs: n, element_bytes: 2, per_cta: 8192, threads: 256, work });
            let r = run(&mut gpu, &k, CacheState::Foreign { dirty: 0.5 }, grain);
            println!("{} {b} grain {grain}: {:.1} measured {m} ({:.2} s)", if n == 0 { "write" } else { "copy" }, r.0.latency_s * 1e6, r.1);
        }}
    }
    if want("burst") {
        for (n, m) in [(1u32, 700.0), (4, 880.0), (16, 1070.0), (32, 1206.0), (64, 1286.0), (128, 1330.0)] {
            let mut sum = (0.0, 0.0); let c = 16;
            for i in 0..c { let k = probes::burst(n, 16384 + 65536 * i);
              let r = CacheState::Resident { tensors: vec![(0, false)], dirty: 0.0 };
              sum.0 += run(&mut gpu, &k, CacheState::Empty, 128).0.span_s / c as f64 * 1.98e9;
              sum.1 += run(&mut gpu, &k, r, 128).0.span_s / c as f64 * 1.98e9; }
            println!("burst {n}: memory over L2 {:.0} measured {m} less 340 to 590", sum.0 - sum.1);
        }
    }
    if want("tiles") {
        for grain in [16384] {
        for (piece, stages, pitch, ctas, cyc) in [(64u32,2u32,16384u64,1u32,1446.4),(64u32,4u32,16384u64,1u32,499.9),(64u32,6u32,16384u64,1u32,372.6),(128u32,2u32,16384u64,1u32,1528.5),(128u32,3u32,16384u64,1u32,797.9),(128u32,4u32,16384u64,1u32,586.2),(128u32,5u32,16384u64,1u32,570.1),(256u32,3u32,16384u64,1u32,920.3),(64u32,2u32,16384u64,64u32,1493.2),(64u32,4u32,16384u64,64u32,595.8),(64u32,6u32,16384u64,64u32,426.0),(128u32,2u32,16384u64,64u32,1592.7),(128u32,3u32,16384u64,64u32,883.9),(128u32,4u32,16384u64,64u32,683.3),(128u32,5u32,16384u64,64u32,596.8),(256u32,3u32,16384u64,64u32,1129.6),(64u32,2u32,16384u64,132u32,1582.4),(64u32,4u32,16384u64,132u32,786.6),(64u32,6u32,16384u64,132u32,633.9),(128u32,2u32,16384u64,132u32,1736.8),(128u32,3u32,16384u64,132u32,1159.5),(128u32,4u32,16384u64,132u32,998.8),(128u32,5u32,16384u64,132u32,926.0),(256u32,3u32,16384u64,132u32,1845.9),(64u32,2u32,4096u64,1u32,1418.0),(64u32,4u32,4096u64,1u32,478.0),(64u32,6u32,4096u64,1u32,363.3),(128u32,2u32,4096u64,1u32,1494.4),(128u32,3u32,4096u64,1u32,768.2),(128u32,4u32,4096u64,1u32,567.1),(128u32,5u32,4096u64,1u32,541.3),(256u32,3u32,4096u64,1u32,895.6),(64u32,2u32,4096u64,64u32,1457.3),(64u32,4u32,4096u64,64u32,577.6),(64u32,6u32,4096u64,64u32,401.8),(128u32,2u32,4096u64,64u32,1568.7),(128u32,3u32,4096u64,64u32,868.4),(128u32,4u32,4096u64,64u32,650.2),(128u32,5u32,4096u64,64u32,560.6),(256u32,3u32,4096u64,64u32,1105.2),(64u32,2u32,4096u64,132u32,1542.4),(64u32,4u32,4096u64,132u32,746.0),(64u32,6u32,4096u64,132u32,583.0),(128u32,2u32,4096u64,132u32,1683.6),(128u32,3u32,4096u64,132u32,1132.2),(128u32,4u32,4096u64,132u32,970.5),(128u32,5u32,4096u64,132u32,893.0),(256u32,3u32,4096u64,132u32,1809.6),(256u32,2u32,16384u64,64u32,1907.9),(256u32,4u32,16384u64,64u32,985.8),(256u32,2u32,16384u64,132u32,2335.2),(256u32,4u32,16384u64,132u32,1798.1)] {
            let k = probes::tiles(ctas, piece, stages, pitch);
            let r = run(&mut gpu, &k, CacheState::Empty, grain);
            let steps = (pitch / u64::from(piece)).min(256) as f64;
            println!("tiles piece {piece} stages {stages} pitch {pitch} ctas {ctas} grain {grain}: {:.1} cycles/step measured {cyc} ({:+.1} %) dram {:.2} ({:.2} s)", (r.0.span_s - 0.7e-6) / steps * 1.98e9, ((r.0.span_s - 0.7e-6) / steps * 1.98e9 / cyc - 1.0) * 100.0, r.0.dram_busy, r.1);
        }}
    }
    if want("big") {
        use banksia_mappers::gpu::gemm::{Gemm, Specialised, specialised};
        use banksia_hw::gpu::program::Dtype;
        let n: u32 = 8192;
        let tile = Specialised { bm: 256, bn: 128, bk: 64, stages: 4, cluster: (1, 2), split: 1, group: 8, grid: 132 };
        let k = specialised(&Gemm::new(n, n, n, Dtype::Bf16), &tile);
        for grain in [16384, 128] {
            let r = run(&mut gpu, &k, CacheState::Foreign { dirty: 0.3 }, grain);
            println!("gemm {n} grain {grain}: {:.1} us, {:.2} s, {} blocks, {} steps, dram {:.3e} l2 {:.3e}", r.0.latency_s*1e6, r.1, r.0.traffic.transactions, r.0.steps, r.0.traffic.dram_read_bytes as f64, r.0.traffic.l2_read_bytes as f64);
        }
    }
}
