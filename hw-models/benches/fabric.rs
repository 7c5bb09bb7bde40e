//! How fast collectives of 1,024 GPUs are simulated.

use std::hint::black_box;

use banksia_hw::net::fabric::cluster::{Collective, Group, cluster};
use banksia_hw::net::fabric::file::topology;
use banksia_hw::net::fabric::folded::run_folded;
use banksia_hw::net::fabric::packet::{Packets, Switching};
use banksia_hw::net::fabric::routing::{Policy, Routes};
use banksia_hw::net::fabric::run::run;
use banksia_hw::net::fabric::schedules::{direct, hierarchical, ring, ring_orders};
use banksia_hw::net::fabric::symmetric;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn fabric(c: &mut Criterion) {
    let t = topology("dgx-h100-128").expect("a fabric of the catalog");
    let n = t.gpus().len() as u32;
    let mut g = c.benchmark_group("fabric");
    g.sample_size(10);
    g.bench_function("routes of 1,024 GPUs", |b| b.iter(|| Routes::new(black_box(&t), Policy::Shortest)));
    let routes = Routes::new(&t, Policy::Shortest);
    // Schedule, paths and flows, each time.
    g.throughput(Throughput::Elements(u64::from(2 * (n - 1) * n * 8)));
    g.bench_function("all-reduce, 8 rings of 1,024 GPUs", |b| {
        b.iter(|| {
            let s = ring(Collective::AllReduce, n, &ring_orders(n, 8, 8), 1, 1 << 30).expect("rings of all ranks");
            run_folded(&s, &routes, t.gpus()).expect("a connected fabric")
        });
    });
    g.bench_function("all-reduce, hierarchical, 1,024 GPUs", |b| {
        b.iter(|| {
            let s = hierarchical(Collective::AllReduce, n, 8, 1 << 30).expect("whole nodes");
            run_folded(&s, &routes, t.gpus()).expect("a connected fabric")
        });
    });
    g.throughput(Throughput::Elements(u64::from(n) * u64::from(n - 1)));
    g.bench_function("all-to-all, 1,024 GPUs, by what is alike", |b| {
        b.iter(|| symmetric::all_to_all(black_box(&routes), 1e9).expect("nodes that are alike"));
    });
    let small = topology("dgx-h100").expect("a fabric of the catalog");
    let small_routes = Routes::new(&small, Policy::Shortest);
    let s = direct(Collective::AllToAll, 8, 1 << 24).expect("ranks");
    g.throughput(Throughput::Elements(56 * (1 << 21) / 4096));
    g.bench_function("packets of an all-to-all, 8 GPUs", |b| {
        b.iter(|| {
            let mut packets = Packets::over(&small, 4096.0, Switching::CutThrough);
            run(&s, &small_routes, small.gpus(), &mut packets).expect("a connected fabric")
        });
    });
    let machine = cluster("h100-eos").expect("a machine of the catalog");
    let group = Group { ranks_per_node: 8, nodes: 128, concurrent: 1 };
    g.throughput(Throughput::Elements(1));
    g.bench_function("a collective of a cluster", |b| {
        b.iter(|| machine.time(black_box(Collective::AllReduce), black_box(group), black_box(1 << 28)));
    });
    g.finish();
}

criterion_group!(benches, fabric);
criterion_main!(benches);
