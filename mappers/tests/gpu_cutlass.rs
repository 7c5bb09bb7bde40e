//! CUTLASS's products of eight bits by tile, grid and depth, and the quantisation before them, against their intervals on one H200
//! (`tests/reference/gpu/device_cutlass.csv`).
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::sampling::{Detail, simulate};
use banksia_hw::gpu::{CacheState, Gpu, device};
use banksia_mappers::gpu::cutlass::{Collective, collective};
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::quantise::{by_row, with_scale};

fn predicted_us(gpu: &mut Gpu, k: &Kernel) -> f64 {
    let tensors =
        if k.tensors.len() > 2 { vec![(2, true), (0, false), (1, false)] } else { vec![(1, true), (0, false)] };
    let detail = Detail { grain_bytes: 4096, waves: 6 };
    simulate(gpu, k, &CacheState::Resident { tensors, dirty: 0.3 }, detail).unwrap().latency_s * 1e6
}

fn rows(set: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let text = include_str!("../../tests/reference/gpu/device_cutlass.csv");
    text.lines().map(|l| l.split(',').collect::<Vec<_>>()).filter(move |f| f[0] == set)
}

/// Mean absolute and mean error in percent.
fn errors(pairs: &[(f64, f64)]) -> (f64, f64) {
    let e: Vec<f64> = pairs.iter().map(|(got, measured)| 100.0 * (got / measured - 1.0)).collect();
    let n = e.len() as f64;
    (e.iter().map(|x| x.abs()).sum::<f64>() / n, e.iter().sum::<f64>() / n)
}

#[test]
fn products_take_their_time_at_every_depth_and_grid() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let mut pairs = Vec::new();
    for f in rows("product").filter(|f| f[7] == "1") {
        let u = |i: usize| f[i].parse::<u32>().unwrap();
        let cluster = (u(4), u(5));
        let grid = gpu.spec().cluster_slots(cluster.0 * cluster.1);
        let t = Collective { bm: u(1), bn: u(2), bk: u(3), cluster, pingpong: f[6] == "pingpong", grid };
        let g = Gemm::new(u(9) * t.bm, u(10) * t.bn, u(11), Dtype::Fp8);
        let k = collective(&g, &t, gpu.spec().sm.shared_memory_per_cta_bytes);
        let (got, measured) = (predicted_us(&mut gpu, &k), f[12].parse::<f64>().unwrap());
        println!(
            "{} {}x{} tiles: {got:.2} us, measured {measured:.2} ({:+.0} %)",
            k.name,
            u(9),
            u(10),
            100.0 * (got / measured - 1.0)
        );
        pairs.push((got, measured));
    }
    let (mean, bias) = errors(&pairs);
    println!("{} kernels: {mean:.1} % mean, {bias:+.1} % bias", pairs.len());
    assert!(mean < 15.0 && bias.abs() < 10.0);
}

#[test]
fn quantisation_takes_its_time() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let mut pairs = Vec::new();
    for f in rows("quantise") {
        let (m, k) = (f[9].parse::<u32>().unwrap(), f[11].parse::<u32>().unwrap());
        // The measured kernel has a CTA a row at any size.
        let kernel = if f[6] == "row" { by_row(m, k, u32::MAX / 16) } else { with_scale(m, k) };
        let (got, measured) = (predicted_us(&mut gpu, &kernel), f[12].parse::<f64>().unwrap());
        println!(
            "{} {}: {got:.2} us, measured {measured:.2} ({:+.0} %)",
            f[6],
            kernel.name,
            100.0 * (got / measured - 1.0)
        );
        pairs.push((got, measured));
    }
    let (mean, bias) = errors(&pairs);
    println!("{} kernels: {mean:.1} % mean, {bias:+.1} % bias", pairs.len());
    assert!(mean < 15.0 && bias.abs() < 10.0);
}
