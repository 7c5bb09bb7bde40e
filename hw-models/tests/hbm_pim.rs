//! Samsung HBM-PIM against its public simulator's measured cycles (`tests/reference/pim`).
#![allow(clippy::unwrap_used)]

use banksia_hw::dram::catalog;
use banksia_hw::pim::HostKernel;

fn cycles(make: impl FnOnce(&mut HostKernel), refresh: bool) -> u64 {
    let device = catalog::load("hbm2-pim").unwrap();
    let mut kernel = HostKernel::new("hbm2-pim", &device).unwrap();
    make(&mut kernel);
    kernel.execute(refresh).unwrap().cycles
}

fn gemv(outputs: u64, inputs: u64) -> u64 {
    cycles(|k| k.gemv(outputs, inputs).unwrap(), true)
}

#[track_caller]
fn within(got: u64, expected: f64, share: f64) {
    let error = (got as f64 - expected).abs() / expected;
    assert!(error <= share, "{got} where {expected} is expected: {:.2} % off", error * 100.0);
}

#[test]
fn measured_kernels_are_met_within_two_per_cent() {
    within(gemv(1024, 1024), 3662.0, 0.02);
    within(gemv(4096, 1024), 3662.0, 0.02);
    within(cycles(|k| k.add(1 << 20).unwrap(), true), 3349.0, 0.02);
}

/// 494 + 396 for every 128 inputs is a fit over large shapes, in which refresh takes its average share.
#[test]
fn the_fit_is_met_where_it_holds() {
    for inputs in [1024, 2048, 4096, 8192] {
        within(gemv(4096, inputs), 494.0 + 396.0 * inputs as f64 / 128.0, 0.025);
    }
}

#[test]
fn refresh_can_be_switched_off() {
    let without = cycles(|k| k.gemv(1024, 4096).unwrap(), false);
    let with = gemv(1024, 4096);
    assert!(without < with && (with as f64) < without as f64 * 1.15, "{without} and {with}");
}
