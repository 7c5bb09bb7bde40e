//! The network on a chip: flits times routers a second, from a nearly idle network to one that saturates.

use std::hint::black_box;

use banksia_hw::net::noc::{
    Digits, NocConfig, Pattern, Process, Protocol, RouterConfig, RoutingFunction, Sampling, Shape, Traffic, measure,
    measure_every_cycle,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn traffic(rate: f64) -> Traffic {
    Traffic {
        pattern: Pattern::Uniform,
        digits: Digits { radix: 8, dimensions: 2 },
        process: Process::Bernoulli,
        packet_rate: rate,
        sizes: vec![(1, 1)],
        read_write: None,
        seed: 1,
        sampling: Sampling::Gaps,
    }
}

/// Cycles over which about as many flits are sent at each rate.
fn protocol(rate: f64) -> Protocol {
    let cycles = (400.0 / rate) as u64;
    Protocol {
        sample_cycles: cycles / 4,
        warmup_samples: 1,
        most_samples: 4,
        latency_limit: 1e9,
        ..Protocol::default()
    }
}

fn noc(c: &mut Criterion) {
    let mut group = c.benchmark_group("noc");
    group.sample_size(10);
    let shape = Shape::Mesh { radix: 8, dimensions: 2 };
    let router = RouterConfig::default();
    let config = NocConfig { shape, routing: RoutingFunction::DimensionOrder, unit_latency: false, router };
    for rate in [0.001, 0.01, 0.04, 0.2, 0.4] {
        let (traffic, protocol) = (traffic(rate), protocol(rate));
        let hops = measure(&config, &traffic, &protocol).map_or(0, |m| m.flit_hops);
        group.throughput(Throughput::Elements(hops));
        group.bench_function(BenchmarkId::new("mesh-8x8/flit-hops", rate), |b| {
            b.iter(|| measure(black_box(&config), &traffic, &protocol));
        });
    }
    // The general routers, stepped in every cycle.
    let (traffic, protocol) = (traffic(0.2), protocol(0.2));
    let hops = measure(&config, &traffic, &protocol).map_or(0, |m| m.flit_hops);
    group.throughput(Throughput::Elements(hops));
    group.bench_function("mesh-8x8-every-cycle/flit-hops", |b| {
        b.iter(|| measure_every_cycle(black_box(&config), &traffic, &protocol));
    });
    group.finish();
}

criterion_group!(benches, noc);
criterion_main!(benches);
