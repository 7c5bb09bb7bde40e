//! Plans that a search evaluates a second on one thread, by simulation of every command: `cargo bench -p banksia-experiments --bench search`.
//!
//! What a search does once (reading, bounds) is left out: the time of a search of few plans is taken from that of one of many.

#![allow(clippy::panic)]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use banksia_experiments::search::{SearchOptions, search};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const FEW: u64 = 32;
const MANY: u64 = 288;

fn plans(c: &mut Criterion) {
    let mut group = c.benchmark_group("search");
    group.sample_size(10).throughput(Throughput::Elements(MANY - FEW));
    for name in ["layer-aim", "layer-hbm-pim"] {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "configs", "search", name].iter().collect();
        let path = path.with_extension("toml");
        let of = |budget: u64| {
            let options = SearchOptions { budget, jobs: Some(1), exhaustive: true, ..SearchOptions::default() };
            let begun = Instant::now();
            black_box(search(&path, &[], &options, &|_| {})).unwrap_or_else(|e| panic!("{e}"));
            begun.elapsed()
        };
        group.bench_function(name, |b| {
            b.iter_custom(|times| (0..times).map(|_| of(MANY).saturating_sub(of(FEW))).sum::<Duration>());
        });
    }
    group.finish();
}

criterion_group!(benches, plans);
criterion_main!(benches);
