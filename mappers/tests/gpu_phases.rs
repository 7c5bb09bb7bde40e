//! By how much steps of CTAs differ on two H200 (`tests/reference/gpu/device_phases.csv`): where the machine's numbers come from, and what they do.
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::{Detail, simulate};
use banksia_hw::gpu::spec::GpuSpec;
use banksia_hw::gpu::{CacheState, Gpu, device};
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::multistage::{Multistage, Writer, multistage};

/// What is left beside the order of CTAs is the median of what was measured, the order is the mean, by the CTAs that share an SM.
#[test]
fn the_spread_of_steps_is_what_was_measured() {
    let sm = device("h200").unwrap().sm;
    let text = include_str!("../../tests/reference/gpu/device_phases.csv");
    let mut rest: [Vec<f64>; 4] = Default::default();
    let mut order: [Vec<Vec<f64>>; 4] = Default::default();
    for f in text.lines().filter(|l| !l.starts_with('#')).skip(1).map(|l| l.split(',').collect::<Vec<_>>()) {
        let x = |i: usize| f[i].parse::<f64>().unwrap();
        let n = x(9) as usize - 1;
        let cycles = |ns: f64| ns * x(14) / 1e3;
        rest[n].push(cycles(x(13)));
        order[n].push(f[15].split(' ').map(|r| cycles((r.parse::<f64>().unwrap() - 1.0) * x(11))).collect());
    }
    for (n, all) in rest.iter_mut().enumerate() {
        all.sort_by(f64::total_cmp);
        let median = f64::midpoint(all[(all.len() - 1) / 2], all[all.len() / 2]);
        let got = sm.step_spread_cycles[n];
        println!("{} CTAs an SM: {median:.1} cycles in {} cases, {got:.1} in the catalog", n + 1, all.len());
        assert!(all.len() >= 2 && (got / median - 1.0).abs() < 0.02);
    }
    for (n, late) in [(3, &sm.step_order_of_three_cycles[..]), (4, &sm.step_order_of_four_cycles[..])] {
        for (i, got) in late.iter().enumerate() {
            let all = &order[n - 1];
            let mean = all.iter().map(|o| o[i]).sum::<f64>() / all.len() as f64;
            println!("{n} CTAs an SM, {}. that came: {mean:.1} cycles late, {got:.1} in the catalog", i + 1);
            assert!((got - mean).abs() < 1.5);
        }
    }
}

/// A product in tiles of 64x128, two CTAs an SM, on operands in L2: passes of a byte in L2 and the bytes that SMs receive.
fn passes(spec: &GpuSpec) -> (f64, u64) {
    let t = Multistage {
        bm: 64,
        bn: 128,
        bk: 64,
        stages: 4,
        warps: 4,
        group: 8,
        registers: 118,
        shared_bytes: 98304,
        split: 1,
        writer: Writer::Triton,
        copy_bytes: 16,
    };
    let k = multistage(&Gemm::new(4096, 4096, 4096, Dtype::Bf16), &t, spec);
    let cache = CacheState::Resident { tensors: vec![(2, true), (0, false), (1, false)], dirty: 0.3 };
    let detail = Detail { grain_bytes: 4096, waves: 6 };
    let r = simulate(&mut Gpu::new(spec.clone()), &k, &cache, detail).unwrap();
    (r.traffic.l2_read_bytes as f64 / r.traffic.crossbar_read_bytes as f64, r.traffic.crossbar_read_bytes)
}

/// CTAs that fall out of step ask L2 more often for as many bytes.
#[test]
fn fewer_requests_meet_where_steps_differ() {
    let spec = device("h200").unwrap();
    let mut even = spec.clone();
    even.sm.step_spread_cycles = [0.0; 4];
    let ((apart, received), (together, as_many)) = (passes(&spec), passes(&even));
    println!("passes of a byte {apart:.3}, in step {together:.3}");
    assert!(received.abs_diff(as_many) < received / 100);
    assert!(apart > together + 0.03);
}
