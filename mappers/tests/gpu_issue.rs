//! Issue and instruction supply of the simulated H200 against `tests/reference/gpu/device_issue.csv`.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

use banksia_hw::gpu::program::{Barrier, Dtype, Kernel, Op, Role, Trips, VectorWork};
use banksia_hw::gpu::{CacheState, Gpu, LaunchOptions, device};
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
        let options = LaunchOptions { grain_bytes: 4096, cache: CacheState::Empty, ..LaunchOptions::default() };
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

/// Products of one CTA take the issue slots that another's lane work needs. The stall of the lane work is that of a CTA by
/// itself; what two and three take together follows, a little fast where each waits much for its own results.
#[test]
fn products_and_lane_work_of_two_ctas_share_the_schedulers() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    for (instructions, chains, percent) in [(512, 4, 8.0), (1024, 4, 8.0), (512, 2, 16.0)] {
        let row = |n: u32| {
            let argument =
                format!("128 mma then {instructions} lane instructions in {chains} chains {n} CTAs of 4 warps");
            measured("mma_phases", &argument)
        };
        let n = f64::from(instructions);
        let mma = 128.0 * 6.1;
        let stall = (row(1) - mma) / n - 1.0;
        let work = VectorWork { issue: 4.0 * n, fma: 64.0 * n, alu: 64.0 * n, stall, ..VectorWork::default() };
        let mut cycles = |ctas: u32, turns| {
            let ops = vec![
                Op::Loop(Trips::Const(turns)),
                Op::Mma { dtype: Dtype::Bf16, m: 64, n: 128, k: 128, sync: true },
                Op::MmaWait(0),
                Op::Vector(work),
                Op::End,
            ];
            let k = Kernel {
                name: "phases".into(),
                threads: 128,
                registers: 64,
                shared_bytes: 228_000 / ctas - 1024,
                cluster: 1,
                grid: 132 * ctas,
                items: vec![[0; 6]; 132 * ctas as usize],
                tensors: Vec::new(),
                barriers: vec![Barrier { arrivals: 1, credits: 0 }],
                roles: vec![Role { warps: 4, ops }],
                pipelined: false,
            };
            let r = gpu.run(&k, &LaunchOptions { cache: CacheState::Empty, ..LaunchOptions::default() }).unwrap();
            r.span_s * r.clock_mhz * 1e6
        };
        for ctas in [2, 3] {
            let turn = (cycles(ctas, 120) - cycles(ctas, 20)) / 100.0 / f64::from(ctas);
            println!("{instructions} in {chains}, {ctas} CTAs: {turn:.0} against {:.0}", row(ctas));
            near(&format!("{instructions} in {chains}, {ctas} CTAs"), turn, row(ctas), percent);
        }
    }
}
