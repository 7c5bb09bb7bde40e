//! Energy of the simulated H200 against `tests/reference/gpu/device_power.csv`.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::program::{Dtype, Kernel, VectorWork};
use banksia_hw::gpu::sampling::{Detail, LaunchTotals, simulate, sustained};
use banksia_hw::gpu::{CacheState, Gpu, KernelResult, LaunchOptions, device};
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::layers;
use banksia_mappers::gpu::probes;
use banksia_mappers::gpu::select::{Found, gemm};

const MEASURED: &str = include_str!("../../tests/reference/gpu/device_power.csv");

/// Power over that of the chip with its clocks up, and units a second: picojoules a unit.
fn measured_pj(name: &str, data: &str) -> f64 {
    let row = MEASURED.lines().find(|l| l.starts_with(&format!("{name},{data},")));
    let row: Vec<&str> = row.unwrap_or_else(|| panic!("no row {name} {data}")).split(',').collect();
    (row[2].parse::<f64>().unwrap() - 122.0) / row[3].parse::<f64>().unwrap() * 1e12
}

fn near(what: &str, got: f64, measured: f64, percent: f64) {
    let error = (got / measured - 1.0) * 100.0;
    assert!(error.abs() <= percent, "{what}: {got:.3} against {measured:.3}, {error:+.1} %");
}

fn dynamic_pj(r: &KernelResult, units: f64) -> f64 {
    (r.energy.total_j() - r.energy.idle_j) / units * 1e12
}

/// Picojoules of a lane in a loop around vector work of 32 warps an SM.
fn lanes_pj(work: VectorWork) -> f64 {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let k: Kernel = probes::lanes_only(132, 1024, work, 20);
    let options = LaunchOptions { grain_bytes: 4096, cache: CacheState::Empty, ..LaunchOptions::default() };
    dynamic_pj(&gpu.run(&k, &options).unwrap(), 132.0 * 1024.0 * 20.0)
}

#[test]
fn instructions_cost_what_their_pipe_costs() {
    let n = 64.0 * 32.0 * 32.0;
    let issue = n / 32.0;
    let none = VectorWork::default();
    // Additions, products and multiply-adds of the FMA lanes differ by half; one number stands for them.
    let fma = ["ffma_32_warps", "fadd_32_warps", "fmul_32_warps"].map(|name| measured_pj(name, "normal fp32"));
    near("fma", lanes_pj(VectorWork { issue, fma: n, ..none }) / 64.0, fma.iter().sum::<f64>() / 3.0, 8.0);
    let alu = ["fmax_32_warps", "prmt_32_warps", "lop3_32_warps"].map(|name| measured_pj(name, "normal fp32"));
    near("alu", lanes_pj(VectorWork { issue, alu: n, ..none }) / 64.0, alu.iter().sum::<f64>() / 3.0, 8.0);
    near(
        "sfu",
        lanes_pj(VectorWork { issue, sfu: n, ..none }) / 64.0,
        measured_pj("ex2_lg2_32_warps", "normal fp32"),
        3.0,
    );
    near("zeros", lanes_pj(VectorWork { issue, ..none }) / 64.0, measured_pj("ffma_32_warps", "zeros"), 5.0);
}

#[test]
fn a_mix_of_instructions_costs_the_sum_of_its_parts() {
    // SASS of the loop: 8 elements a lane take 112 instructions of the FMA lanes, 80 of the integer lanes, 8 MUFU, 4 others.
    let lanes = 32.0 * 32.0;
    let work = VectorWork {
        issue: 204.0 * 32.0,
        fma: 112.0 * lanes,
        alu: 80.0 * lanes,
        sfu: 8.0 * lanes,
        ..VectorWork::default()
    };
    near("gelu", lanes_pj(work) / 8.0, measured_pj("erf_gelu_in_registers", "normal fp32"), 15.0);
}

#[test]
fn copies_and_additions_of_normal_numbers_cost_what_they_cost() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let cold = CacheState::Foreign { dirty: 0.5 };
    let bytes = 256u64 << 20;
    let copied = simulate(&mut gpu, &layers::copy_bytes(bytes), &cold, Detail::DEFAULT).unwrap();
    near("copy", dynamic_pj(&copied, 2.0 * bytes as f64), measured_pj("memory_copy", "normal bf16"), 8.0);
    let (rows, columns) = (1u32 << 15, 1u32 << 12);
    let added = layers::row_operator("add", rows, columns).unwrap();
    let cold = CacheState::Foreign { dirty: 0.33 };
    let added = simulate(&mut gpu, &added, &cold, Detail::DEFAULT).unwrap();
    let bytes = 6.0 * f64::from(rows) * f64::from(columns);
    near("add", dynamic_pj(&added, bytes), measured_pj("memory_add", "normal bf16"), 8.0);
}

/// H. He, "Strangely, matrix multiplications on GPUs run faster when given predictable data" (thonking.ai, 2024): 8192^3 in 16 bits on an A100 with
/// cuBLAS, 257 TFLOP/s on normally distributed data and 295 on zeros, which stay under the 400 W.
#[test]
fn an_a100_is_bound_by_its_power_on_random_data_only() {
    let mut gpu = Gpu::new(device("a100").unwrap());
    let g = Gemm::new(8192, 8192, 8192, Dtype::Bf16);
    let (plan, first) = gemm(&mut Simulation::new(&mut gpu, Detail::DEFAULT), &g, Found::COLD, 2).unwrap();
    let tflops = |o: &LaunchTotals| 2.0 * g.fma() / o.latency_s / 1e12;
    near("TFLOP/s at the full clock", tflops(&first), 295.0, 5.0);
    let slow = sustained(&mut gpu, &plan.steps, Detail::DEFAULT, &first).unwrap();
    near("TFLOP/s at the power limit", tflops(&slow), 257.0, 3.0);
    assert!(slow.energy.total_j() / slow.latency_s <= 1.03 * gpu.spec().power.limit_w);
}
