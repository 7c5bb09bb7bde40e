//! Kernels of GPUs that are known from data sheets: products and attention on Blackwell's units, four bits, and laws that hold on any chip.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::{Detail, simulate_steps};
use banksia_hw::gpu::{Gpu, device, occupancy};
use banksia_mappers::gpu::attention::{Attention, decode4, flash4, replayed};
use banksia_mappers::gpu::frameworks::{Framework, quantisation};
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::raster::Raster;
use banksia_mappers::gpu::select::{self, Found};
use banksia_mappers::gpu::umma::{Umma, umma};

const NEW: [&str; 7] = ["a10g", "a40", "a6000", "b200", "l40s", "rtx-4090", "rtx-pro-6000"];

fn seconds(gpu: &mut Gpu, g: &Gemm) -> f64 {
    let detail = Detail { grain_bytes: 1024, ..Detail::DEFAULT };
    select::gemm(&mut Simulation::new(gpu, detail), g, Found::COLD, 1)
        .unwrap_or_else(|e| panic!("{g:?}: {e}"))
        .1
        .latency_s
}

/// Products of any size and of every type of the chip run, no faster than its units and its memory allow.
#[test]
fn products_are_no_faster_than_the_data_sheet() {
    for name in NEW {
        let spec = device(name).unwrap();
        let mut gpu = Gpu::new(spec.clone());
        for dtype in [Dtype::Bf16, Dtype::Fp8, Dtype::Fp4] {
            if !spec.tensor.fma_per_cycle.contains_key(&dtype) {
                continue;
            }
            for (m, n, k) in [(1, 4096, 4096), (7, 136, 96), (333, 1000, 1056), (2048, 2048, 2048)] {
                let g = Gemm::new(m, n, k, dtype);
                let time = seconds(&mut gpu, &g);
                let peak = 2.0 * g.fma() / spec.tensor_peak_flops_per_s(dtype);
                let bytes = g.compulsory_bytes() - f64::from(m) * f64::from(n) * f64::from(g.out_bytes);
                let memory = bytes / spec.dram_peak_bytes_per_s();
                assert!(time > peak.max(memory), "{name} {dtype} {m}x{n}x{k}: {time} s");
            }
        }
    }
}

/// Large products come near the rate of the units, and no further; where that is half of the same SM's (RTX 4090), nearer.
#[test]
fn large_products_approach_the_rate_of_the_units() {
    for (name, least) in [("l40s", 0.45), ("a40", 0.45), ("rtx-4090", 0.6), ("b200", 0.6)] {
        let spec = device(name).unwrap();
        let mut gpu = Gpu::new(spec.clone());
        let g = Gemm::new(8192, 8192, 4096, Dtype::Bf16);
        let share = 2.0 * g.fma() / seconds(&mut gpu, &g) / spec.tensor_peak_flops_per_s(Dtype::Bf16);
        assert!((least..1.0).contains(&share), "{name}: {share} of the peak");
    }
}

/// Persistent kernels of clusters launch as many CTAs as there is room for at once: a few more would wait for a whole round, which doubles the time.
#[test]
fn clusters_of_persistent_kernels_run_at_once() {
    let mut gpu = Gpu::new(device("b200").unwrap());
    let g = Gemm::new(8192, 8192, 4096, Dtype::Bf16);
    let spec = gpu.spec().clone();
    let mut judge = Simulation::new(&mut gpu, Detail::DEFAULT);
    for (_, plan, _) in select::ranking(&mut judge, &g, Found::COLD, 6).unwrap() {
        let (kernel, _) = plan.steps.last().unwrap();
        let room = spec.cluster_slots(kernel.cluster);
        assert!(kernel.grid <= room, "{}: {} CTAs, and room for {room}", kernel.name, kernel.grid);
    }
}

/// Weights of a product of few rows are read in a quarter of the time where they have four bits for sixteen.
#[test]
fn four_bits_take_a_quarter_of_the_bytes() {
    assert!((Gemm::new(1, 2, 32, Dtype::Fp4).compulsory_bytes() - (3.0 * 16.0 + 4.0)).abs() < 1e-9);
    let mut gpu = Gpu::new(device("b200").unwrap());
    let mut of = |dtype| seconds(&mut gpu, &Gemm::new(16, 16384, 16384, dtype));
    let (sixteen, eight, four) = (of(Dtype::Bf16), of(Dtype::Fp8), of(Dtype::Fp4));
    assert!(eight < 0.7 * sixteen && four < 0.75 * eight, "{sixteen} {eight} {four}");
    let g = Gemm::new(64, 4096, 4096, Dtype::Fp4);
    for framework in Framework::ALL {
        let kernels = quantisation(framework, &g, gpu.spec());
        assert!(kernels.len() == 1 && kernels[0].check().is_ok(), "{framework}");
    }
}

/// Every tile of Blackwell's products is a legal program that fits an SM, with pairs and without.
#[test]
fn tiles_of_blackwell_are_legal_programs() {
    let spec = device("b200").unwrap();
    for dtype in [Dtype::Bf16, Dtype::Fp8, Dtype::Fp4] {
        for (m, n, k, batch) in [(1, 8, 32, 1), (129, 257, 4096, 1), (300, 513, 64, 3), (8192, 4096, 4096, 1)] {
            let g = Gemm { batch, ..Gemm::new(m, n, k, dtype) };
            for (bn, pair, cluster) in
                [(16, false, (1, 1)), (96, false, (1, 4)), (256, true, (2, 1)), (64, true, (4, 1))]
            {
                for split in [1, 3] {
                    let tile = Umma { bn, pair, cluster, stages: 4, split, raster: Raster::rows(8), grid: 148 };
                    let kernel = umma(&g, &tile, &spec);
                    assert_eq!(kernel.check(), Ok(()), "{}", kernel.name);
                    assert!(occupancy(&spec, &kernel).is_ok(), "{}", kernel.name);
                }
            }
        }
    }
}

/// A CTA of a pair brings half of the columns' operand: two thirds of the bytes of a tile of 128 x 256.
#[test]
fn pairs_copy_half_of_the_columns() {
    let g = Gemm::new(8192, 8192, 4096, Dtype::Bf16);
    let tile = |pair, cluster| Umma { bn: 256, pair, cluster, stages: 4, split: 1, raster: Raster::rows(8), grid: 148 };
    assert_eq!(tile(false, (1, 1)).step_bytes(&g), (128 + 256) * 128);
    assert_eq!(tile(true, (2, 1)).step_bytes(&g), (128 + 128) * 128);
}

fn attention(batch: u32, queries: u32, keys: u32, head_dim: u32, kv_bytes: u32) -> Attention {
    let (heads, kv_heads, dtype) = (32, 4, Dtype::Bf16);
    Attention {
        batch,
        heads,
        kv_heads,
        queries,
        keys,
        head_dim,
        causal: true,
        window: 0,
        dtype,
        kv_bytes,
        ..Attention::default()
    }
}

/// Attention on Blackwell: legal for any size, longer for more keys, no faster than products and memory allow.
#[test]
fn attention_on_blackwell_keeps_the_bounds() {
    let spec = device("b200").unwrap();
    let mut gpu = Gpu::new(spec.clone());
    let mut time = |k| {
        let detail = Detail { grain_bytes: 1024, ..Detail::DEFAULT };
        simulate_steps(&mut gpu, &replayed(vec![k]), detail, f64::INFINITY).unwrap().latency_s
    };
    for (queries, head_dim, kv_bytes) in [(1, 64, 2), (2, 8, 1), (129, 128, 2), (1023, 256, 2), (700, 96, 1)] {
        for window in [0, 100] {
            let a = Attention { window, ..attention(1, queries, queries, head_dim, kv_bytes) };
            for k in [flash4(&a, &spec), decode4(&Attention { queries: 1, ..a }, &spec)] {
                assert_eq!(k.check(), Ok(()), "{}", k.name);
                assert!(time(k) > 0.0);
            }
        }
    }
    let mut last = 0.0;
    for length in [512, 2048, 8192] {
        let a = attention(1, length, length, 128, 2);
        let taken = time(flash4(&a, &spec));
        assert!(taken > last && taken > 2.0 * a.fma() / spec.tensor_peak_flops_per_s(Dtype::Bf16), "{length}: {taken}");
        last = taken;
    }
    last = 0.0;
    for keys in [300, 5000, 80_000] {
        let a = attention(16, 1, keys, 128, 2);
        let taken = time(decode4(&a, &spec));
        assert!(taken > last, "{keys} keys: {taken}");
        last = taken;
    }
    let bytes = 2.0 * 16.0 * 4.0 * 80_000.0 * 128.0 * 2.0;
    assert!(last > bytes / spec.dram_peak_bytes_per_s(), "{last}");
}
