//! Products whose result or depth lies on fewer than 16 bytes, against their intervals on one H200
//! (`tests/reference/gpu/device_unaligned.csv`), and beside products of neighbouring widths that lie on 16.
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use std::collections::BTreeMap;

use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::{Gpu, device};
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::select::{Found, gemm};

/// Weights come from memory, activations from L2.
fn search(gpu: &mut Gpu, (m, n, k): (u32, u32, u32)) -> (f64, String) {
    let found = Found { a: true, b: false, c: false };
    let mut judge = Simulation::new(gpu, Detail::DEFAULT);
    let (plan, outcome) = gemm(&mut judge, &Gemm::new(m, n, k, Dtype::Bf16), found, 2).unwrap();
    (outcome.latency_s * 1e6, plan.steps[0].0.name.clone())
}

/// Which kernels cuBLAS took.
fn class(kernels: &str) -> &'static str {
    ["gemv", "gemmSN", "align1", "align2", "nvjet"].into_iter().find(|c| kernels.contains(c)).unwrap()
}

#[test]
fn unaligned_products_take_their_time() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let mut errors: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in include_str!("../../tests/reference/gpu/device_unaligned.csv").lines().skip(1) {
        let f: Vec<&str> = row.split(',').collect();
        let u = |i: usize| f[i].parse::<u32>().unwrap();
        let measured: f64 = f[4].parse().unwrap();
        let (got, name) = search(&mut gpu, (u(0), u(1), u(2)));
        let error = 100.0 * (got / measured - 1.0);
        println!("{:60} {got:8.2} us, measured {measured:8.2} ({error:+4.0} %) {}", name, f[6]);
        errors.entry(class(f[6])).or_default().push(error);
    }
    let most = BTreeMap::from([("gemv", 15.0), ("gemmSN", 15.0), ("align1", 20.0), ("align2", 14.0), ("nvjet", 16.0)]);
    for (class, e) in errors {
        let mape = e.iter().map(|x| x.abs()).sum::<f64>() / e.len() as f64;
        let bias = e.iter().sum::<f64>() / e.len() as f64;
        println!("{class}: {} rows, {mape:.1} % mean, {bias:+.1} % bias", e.len());
        assert!(mape < most[class], "{class}: {mape}");
    }
}

/// Products of 1 to 48 rows of GPT's sizes, whose operands lie on 16 bytes (`device_few_rows.csv`).
///
/// A known gap: all come out too fast. On weights that come round after 400 MB a launch begins 0.6 to 0.9 us later after the one before than in
/// graphs of a few launches, as if something were read anew for each; and for one to four rows by some 1000 to 1600 columns the library takes
/// tiles of 8 or 16 weights by 64 rows, at up to twice the time of its own kernel for 16 rows. This fails when either closes.
#[test]
fn products_of_few_rows_take_their_time() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let mut errors: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in include_str!("../../tests/reference/gpu/device_few_rows.csv").lines().skip(1) {
        let f: Vec<&str> = row.split(',').collect();
        let u = |i: usize| f[i].parse::<u32>().unwrap();
        let measured: f64 = f[4].parse().unwrap();
        let (got, name) = search(&mut gpu, (u(0), u(1), u(2)));
        let error = 100.0 * (got / measured - 1.0);
        println!("{:60} {got:8.2} us, measured {measured:8.2} ({error:+4.0} %) {}", name, f[6]);
        let class = if f[6].contains("splitK") {
            "parts"
        } else if u(0) < 8 {
            "1 to 4 rows"
        } else {
            "8 to 48 rows"
        };
        errors.entry(class).or_default().push(error);
    }
    for (class, e) in errors {
        let mape = e.iter().map(|x| x.abs()).sum::<f64>() / e.len() as f64;
        let bias = e.iter().sum::<f64>() / e.len() as f64;
        println!("{class}: {} rows, {mape:.1} % mean, {bias:+.1} % bias", e.len());
        assert!((8.0..18.0).contains(&mape) && bias < -8.0, "{class}: {mape} %, bias {bias} %");
    }
}

/// One column more or less than a multiple of eight: below twice the time for one row, as measured (28.9 against 22.4 us).
#[test]
fn one_row_has_no_cliff_at_an_odd_width() {
    for name in ["a100", "h200"] {
        let mut gpu = Gpu::new(device(name).unwrap());
        for (n, k) in [(50257, 768), (1001, 1536), (500, 1536)] {
            let aligned = search(&mut gpu, (1, n / 8 * 8, k)).0;
            let unaligned = search(&mut gpu, (1, n, k)).0;
            assert!(unaligned < 2.0 * aligned, "{name} 1x{n}x{k}: {unaligned} us, beside it {aligned}");
        }
    }
}
