//! By how much steps of CTAs differ on two H200 (`tests/reference/gpu/device_phases.csv`): where the machine's number comes from.
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use banksia_hw::gpu::device;

/// The parameter is the median of what was measured, by the CTAs that share an SM.
#[test]
fn the_spread_of_steps_is_what_was_measured() {
    let spec = device("h200").unwrap();
    let text = include_str!("../../tests/reference/gpu/device_phases.csv");
    let mut cycles: [Vec<f64>; 4] = Default::default();
    for f in text.lines().skip(3).map(|l| l.split(',').collect::<Vec<_>>()) {
        let x = |i: usize| f[i].parse::<f64>().unwrap();
        cycles[x(9) as usize - 1].push(x(12) * x(13) / 1e3);
    }
    for (n, all) in cycles.iter_mut().enumerate() {
        all.sort_by(f64::total_cmp);
        let median = f64::midpoint(all[(all.len() - 1) / 2], all[all.len() / 2]);
        let got = spec.sm.step_spread_cycles[n];
        println!("{} CTAs an SM: {median:.1} cycles in {} cases, {got:.1} in the catalog", n + 1, all.len());
        assert!(all.len() >= 2 && (got / median - 1.0).abs() < 0.02);
    }
}
