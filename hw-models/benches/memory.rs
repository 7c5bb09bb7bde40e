//! Speed of the memory controller: requests per second on saturated traffic, and simulated cycles per second with one request
//! outstanding. The traffic is that of `docs/memory-controller.md`: splitmix64 from 1, 2^27 transactions, a third of writes in
//! `mix`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use banksia_hw::dram::catalog;
use banksia_hw::dram::controller::{Controller, ControllerConfig, ControllerOptions, Request, Silent};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn requests(pattern: &str, count: u64) -> Vec<Request> {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..count)
        .map(|sequence| {
            let index = if pattern == "sequential" { sequence } else { random() & ((1 << 27) - 1) };
            let write = pattern == "mix" && random().is_multiple_of(3);
            Request { write, index, arrival: 0, sequence }
        })
        .collect()
}

fn run(device: &str, requests: &[Request], outstanding: Option<usize>) -> u64 {
    let device = catalog::load(device).unwrap();
    let config = ControllerConfig::reference();
    let options = ControllerOptions { config, channels: 1, outstanding, exact_stepping: false };
    let mut controller = Controller::new(&device, &options, Silent).unwrap();
    controller.advance(requests, true);
    controller.statistics().ticks
}

fn controllers(c: &mut Criterion) {
    for device in ["ddr4-2400r", "hbm3-6400"] {
        let mut group = c.benchmark_group(device);
        group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
        for pattern in ["random", "mix", "sequential"] {
            let requests = requests(pattern, 200_000);
            group.throughput(Throughput::Elements(requests.len() as u64));
            group.bench_function(format!("{pattern}, requests"), |b| b.iter(|| run(device, &requests, None)));
        }
        let requests = requests("chase", 100_000);
        group.throughput(Throughput::Elements(run(device, &requests, Some(1))));
        group.bench_function("one outstanding, cycles", |b| b.iter(|| run(device, &requests, Some(1))));
        group.finish();
    }
}

criterion_group!(benches, controllers);
criterion_main!(benches);
