//! Issue and instruction supply of the simulated H200 against `tests/reference/gpu/device_issue.csv`.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

use banksia_hw::gpu::program::{Kernel, VectorWork};
use banksia_hw::gpu::{CacheState, Gpu, RunOptions, device};
use banksia_mappers::gpu::probes;

const MEASURED: &str = include_str!("../../tests/reference/gpu/device_issue.csv");

fn measured(name: &str, argument: &str) -> f64 {
    let row = MEASURED.lines().find(|l| l.starts_with(&format!("{name},{argument},")));
    row.unwrap_or_else(|| panic!("no row {name} {argument}")).split(',').nth(2).unwrap().parse().unwrap()
}

fn near(what: &str, got: f64, measured: f64, percent: f64) {
    let error = (got / measured - 1.0) * 100.0;
    assert!(error.abs() <= percent, "{what}: {got:.3} against {measured:.3}, {error:+.1} %");
}

/// Cycles of one turn of a loop around vector work, in steady state.
fn turn(threads: u32, work: VectorWork) -> f64 {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let mut time = |turns| {
        let k: Kernel = probes::lanes_only(132, threads, work, turns);
        let options = RunOptions { grain_bytes: 4096, cache: CacheState::Empty, ..RunOptions::default() };
        gpu.run(&k, &options).unwrap().span_s
    };
    (time(40) - time(20)) / 20.0 * 1.98e9
}

#[test]
fn code_beyond_the_instruction_cache_arrives_at_its_rate() {
    for kb in [16u32, 64, 96, 192, 256] {
        let instructions = f64::from(kb) * 64.0;
        let warps = 4.0;
        let work = VectorWork {
            issue: instructions * warps,
            fma: instructions * warps * 32.0,
            code_bytes: kb * 1024,
            ..VectorWork::default()
        };
        let per_instruction = turn(128, work) / instructions;
        near(&format!("{kb} KB"), per_instruction, measured("straight_line_code", &format!("{kb} KB 4 warps")), 12.0);
    }
}

#[test]
fn kinds_of_instructions_share_the_schedulers() {
    let n = 4096.0;
    let of =
        |fma: f64, alu: f64| VectorWork { issue: n, fma: n * 32.0 * fma, alu: n * 32.0 * alu, ..VectorWork::default() };
    for (name, work) in
        [("issue_ffma", of(1.0, 0.0)), ("issue_ffma_fmax", of(0.5, 0.5)), ("issue_ffma3_fmax", of(0.75, 0.25))]
    {
        near(name, n / turn(1024, work), measured(name, "32 warps"), 6.0);
    }
    // A lone chain waits for each result.
    let chain = VectorWork { stall: 3.0, ..of(1.0, 0.0) };
    near("issue_ffma_dep", n / turn(128, chain), measured("issue_ffma_dep", "4 warps"), 6.0);
}

#[test]
fn arithmetic_of_a_function_takes_what_its_instructions_take() {
    let per_warp = |name: &str| measured(&format!("erf_gelu_of_8_elements_{name}"), "");
    let warps = 32.0;
    let work = VectorWork {
        issue: per_warp("instructions") * warps,
        fma: per_warp("fma") * warps * 32.0,
        alu: per_warp("alu") * warps * 32.0,
        sfu: per_warp("xu") * warps * 32.0,
        ..VectorWork::default()
    };
    // Of a warp on its sub-partition, which eight of the 32 share.
    near("erf GELU", turn(1024, work) / 8.0, measured("erf_gelu_of_8_elements", "32 warps"), 10.0);
}
