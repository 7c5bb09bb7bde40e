//! DRAM commands per second of a PIM channel, stepping every command and skipping exact repetitions: a matrix product, the
//! writing of the global buffer, and accesses that never repeat.
//!
//! `cargo bench -p banksia-hw --bench pim`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use banksia_hw::dram::catalog;
use banksia_hw::pim::{CompiledPattern, PimChannel};
use banksia_hw::program::{Pattern, PatternStep};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn step(command: &str, first_node: u32, count: u32, row: Option<u32>) -> PatternStep {
    PatternStep { command: command.into(), first_node, nodes: 1, count, row, column: 0, open_with: None }
}

/// Name, pattern, iterations: what the PIM-GPT mapping issues, and its worst case.
fn workloads() -> Vec<(&'static str, Pattern, u32)> {
    // A row of weights a bank, its sum, the next row: a matrix whose inputs fill the global buffer.
    let product = vec![step("MAC16", 0, 64, Some(0)), step("PREab", 0, 1, None), step("RDMAC16", 0, 1, None)];
    let buffer = vec![step("WRGB", 0, 64, None)];
    // One column in each of 16 banks, each in a row of its own: as many commands to work out as there are.
    let scattered = (0..16).map(|bank| step("RD", bank, 1, Some(bank))).collect();
    vec![
        ("matrix product", Pattern { steps: product, rows: 1 }, 1024),
        ("buffer write", Pattern { steps: buffer, rows: 0 }, 1024),
        ("scattered reads, one iteration at a time", Pattern { steps: scattered, rows: 16 }, 1),
    ]
}

fn channel(c: &mut Criterion) {
    let Ok(device) = catalog::load("gddr6-pim-gpt") else { return };
    for (name, pattern, iterations) in workloads() {
        let Ok(compiled) = CompiledPattern::new(0, &pattern, &device) else { return };
        let mut group = c.benchmark_group(name);
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2)).sample_size(20);
        for (how, stepping) in [("stepping", true), ("skipping", false)] {
            let fresh = PimChannel::new(Arc::clone(&device), true, stepping);
            let mut once = fresh.clone();
            once.run(&compiled, 0, iterations, 0);
            group.throughput(Throughput::Elements(once.dram().counts().iter().sum()));
            let mut channel = fresh;
            let mut free = 0;
            group.bench_function(how, |b| {
                b.iter(|| {
                    free = channel.run(black_box(&compiled), 0, iterations, free).free;
                    free
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, channel);
criterion_main!(benches);
