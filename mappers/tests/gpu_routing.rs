//! Routing and the operators of PyTorch that it is made of: grids as launched, laws, any size on any device.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::sampling::{Detail, simulate};
use banksia_hw::gpu::{CacheState, Gpu, GpuSpec, device, occupancy};
use banksia_mappers::gpu::launch::{Item, Operand};
use banksia_mappers::gpu::routing::{
    IndexAdd, RouteCall, RouteNames, SortCall, SortNames, TopK, TopKNames, combine, cumulative_sum, histogram,
    index_add, route, sort, topk, transpose_copy,
};

const DETAIL: Detail = Detail { grain_bytes: 8192, waves: 6 };

fn named(name: &str) -> Operand {
    Operand::shared(name)
}

fn kernels(items: &[Item]) -> Vec<Kernel> {
    let kernel = |i: &Item| match i {
        Item::Kernel(launch) => {
            assert_eq!(launch.operands.len(), launch.kernel.tensors.len(), "{}", launch.kernel.name);
            launch.kernel.as_ref().clone()
        }
        Item::Product(..) => panic!("a product"),
    };
    items.iter().map(kernel).collect()
}

fn sorted(rows: u64, columns: u64, key_bytes: u32, spec: &GpuSpec) -> Vec<Kernel> {
    let names = SortNames { input: named("x"), keys: named("keys"), indices: named("indices") };
    kernels(&sort(&SortCall { rows, columns, key_bytes }, &names, spec))
}

fn largest(rows: u64, columns: u64, k: u64, spec: &GpuSpec) -> Vec<Kernel> {
    let names = TopKNames { input: named("x"), values: named("values"), indices: named("indices") };
    kernels(&topk(&TopK { rows, columns, k }, &names, spec))
}

fn call(tokens: u64, experts: u64, k: u64) -> RouteCall {
    RouteCall { tokens, experts, k, hidden: 2048, normalised: true, offsets: true }
}

fn routed(tokens: u64, experts: u64, k: u64, spec: &GpuSpec) -> Vec<Kernel> {
    let names = RouteNames { logits: named("logits"), hidden: named("hidden"), permuted: named("rows") };
    let mut items = route(&call(tokens, experts, k), &names, spec);
    items.extend(combine(&call(tokens, experts, k), &named("rows"), &named("y"), spec));
    kernels(&items)
}

fn grids(kernels: &[Kernel]) -> Vec<(u32, u32)> {
    kernels.iter().map(|k| (k.grid, k.threads)).collect()
}

/// Grids and blocks of launches on an H200 (132 SMs).
#[test]
fn grids_are_those_that_pytorch_launches() {
    let spec = device("h200").unwrap();
    assert_eq!(grids(&largest(4096, 64, 6, &spec)), [(4096, 64), (820, 96)]);
    assert_eq!(grids(&largest(16384, 256, 8, &spec)), [(16384, 256), (1024, 256)]);
    let sweeps = |k: &[Kernel]| -> Vec<(u32, u32)> {
        k.iter().filter(|k| k.name.starts_with("sweep")).map(|k| (k.grid, k.shared_bytes)).collect()
    };
    assert_eq!(sweeps(&sorted(1, 131_072, 8, &spec)), [(29, 38912); 8]);
    assert_eq!(sweeps(&sorted(1, 24_576, 8, &spec)), [(6, 38912); 8]);
    let rows = sweeps(&sorted(64, 65536, 4, &spec));
    assert_eq!(rows, [(781, 45056), (781, 45056), (781, 45056), (781, 45056), (729, 48128)]);
    let block = sorted(1, 2048, 8, &spec);
    let last = block.last().unwrap();
    assert_eq!((last.grid, last.threads, last.registers), (1, 64, 220));
    for (rows, columns, grid, threads) in [(4096, 4096, 128, 512), (64, 65536, 64, 512), (65536, 256, 2048, 512)] {
        assert_eq!(grids(&cumulative_sum(rows, columns)), [(grid, threads)]);
    }
    let added = index_add(&IndexAdd { rows: 16384, columns: 4096, into: 4096 }, &spec);
    assert_eq!((added.grid, added.threads), (1056, 128));
    assert_eq!(transpose_copy(4096, 4096, 2).grid, 32768);
}

#[test]
fn kernels_of_any_size_are_whole_and_fit_every_device() {
    for name in ["v100", "t4", "a100", "h100", "h200"] {
        let spec = device(name).unwrap();
        let mut all = Vec::new();
        for (rows, columns) in [(0, 0), (1, 1), (1, 40), (7, 33), (3, 257), (17, 5003), (130, 4097), (5000, 129)] {
            all.extend(sorted(rows, columns, 4, &spec));
            all.extend(sorted(rows, columns, 8, &spec));
            all.extend(largest(rows, columns, 8, &spec));
            all.extend(largest(rows, columns, 100, &spec));
            all.extend(cumulative_sum(rows, columns));
            all.push(histogram(rows * columns, columns));
            all.push(index_add(&IndexAdd { rows, columns, into: rows / 4 }, &spec));
            all.push(transpose_copy(rows, columns, 2));
        }
        for (tokens, experts, k) in [(1, 8, 2), (1, 128, 8), (33, 7, 3), (3000, 256, 8)] {
            all.extend(routed(tokens, experts, k, &spec));
        }
        for kernel in &all {
            assert_eq!(kernel.check(), Ok(()), "{} on {name}", kernel.name);
            occupancy(&spec, kernel).unwrap_or_else(|e| panic!("{} on {name}: {e}", kernel.name));
        }
    }
}

#[test]
fn more_takes_longer_and_not_less_than_its_bytes() {
    let spec = device("h200").unwrap();
    let mut gpu = Gpu::new(spec.clone());
    let mut time = |kernels: &[Kernel]| -> f64 {
        kernels.iter().map(|k| simulate(&mut gpu, k, &CacheState::Empty, DETAIL).unwrap().span_s).sum()
    };
    let rate = spec.dram_peak_bytes_per_s();
    let (few, many) = (time(&largest(256, 64, 8, &spec)), time(&largest(8192, 64, 8, &spec)));
    assert!(few < many && many > 8192.0 * 64.0 * 4.0 / rate);
    let (few, many) = (time(&sorted(1, 8192, 8, &spec)), time(&sorted(1, 1 << 20, 8, &spec)));
    // Eight sweeps read and write keys and places.
    assert!(few < many && many > (1 << 20) as f64 * 16.0 * 8.0 * 2.0 / rate / 2.0);
    let (few, many) = (time(&cumulative_sum(64, 1024)), time(&cumulative_sum(64, 16384)));
    // Sixteen times the columns, by four times the threads along a row.
    assert!(few * 3.0 < many, "{few} {many}");
    let (few, many) = (time(&routed(16, 64, 6, &spec)), time(&routed(2048, 64, 6, &spec)));
    assert!(few < many);
}
