use banksia_hw::gpu::{CacheState, Gpu, device};
use banksia_mappers::gpu::gemm::{Gemm, Multistage, multistage};
use banksia_mappers::gpu::rows::{ElementWork, Elementwise, RowKernel, elementwise, row_kernel};
use banksia_mappers::gpu::simulate::{Detail, simulate};
use banksia_hw::gpu::program::Dtype;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let text = std::fs::read_to_string(&args[1]).unwrap();
    let grain: u32 = args.get(2).map_or(16384, |s| s.parse().unwrap());
    let mut spec = device("h200").unwrap();
    if let Ok(v) = std::env::var("MERGE") { spec.crossbar.merge_window_ns = v.parse().unwrap(); }
    if let Ok(v) = std::env::var("LSU") { spec.sm.async_copy_bytes_per_cycle = v.parse().unwrap(); }
    let mut gpu = Gpu::new(spec);
    let (mut sum, mut n) = (std::collections::BTreeMap::<String, f64>::new(), std::collections::BTreeMap::<String, f64>::new());
    let t0 = std::time::Instant::now();
    for line in text.lines().skip(1) {
        let f: Vec<&str> = line.split(',').collect();
        let u = |i: usize| f[i].parse::<u32>().unwrap_or(0);
        let k = match f[0] {
            "gemm" => multistage(&Gemm::new(u(1), u(2), u(3), Dtype::Bf16), &Multistage { bm: u(4), bn: u(5), bk: u(6), stages: u(7), warps: u(8), group: u(9), registers: u(12), shared_bytes: u(11), split: 1 }, true),
            "add" => elementwise(&Elementwise { elements: u(1) as u64, inputs: 2, element_bytes: 2, per_cta: u(4), threads: 32 * u(8), work: ElementWork { fma: 1.0, alu: 1.5, sfu: 0.0, other: 0.6 } }),
            _ => row_kernel(&RowKernel { rows: u(1), columns: u(2), element_bytes: 2, rows_per_cta: 1, threads: 32 * u(8), registers: 32, passes: 2, keeps: true, weights: 1, across_warps: true,
                reduce_work: ElementWork { fma: 1.0, alu: 1.0, sfu: 0.0, other: 0.2 }, last_work: ElementWork { fma: 2.0, alu: 1.0, sfu: 0.0, other: 0.2 } }),
        };
        let all = (0..k.tensors.len()).map(|t| (t, t + 1 == k.tensors.len())).collect();
        let t = std::time::Instant::now();
        let r = simulate(&mut gpu, &k, &CacheState::Resident { tensors: all, dirty: 0.3 }, Detail { grain_bytes: grain, waves: 6 }).unwrap();
        let m: f64 = f[10].parse().unwrap();
        let p = r.latency_s * 1e6;
        println!("{:7} {:28} {:22} occ{} meas {:9.2} pred {:9.2} {:+6.1}%  clk {:6.0} tb {:.2} l2 {:.2} dr {:.2} x {:6.2} TB/s rd/x {:.2} drd {:7.1}MB steps {} {:.0}ms", f[0], f[1..4].join("x"), f[4..10].join(","), r.ctas_per_sm, m, p, (p / m - 1.0) * 100.0, r.clock_mhz, r.tensor_busy, r.l2_busy, r.dram_busy, r.traffic.crossbar_read_bytes as f64 / r.span_s / 1e12, r.traffic.l2_read_bytes as f64 / r.traffic.crossbar_read_bytes as f64, r.traffic.dram_read_bytes as f64 / 1e6, r.steps, t.elapsed().as_secs_f64() * 1e3);
        *sum.entry(f[0].into()).or_default() += (p / m - 1.0).abs();
        *n.entry(f[0].into()).or_default() += 1.0;
    }
    for (k, s) in &sum { println!("{k} mape {:.2}% of {}", s / n[k] * 100.0, n[k]); }
    println!("{:.1}s", t0.elapsed().as_secs_f64());
}
