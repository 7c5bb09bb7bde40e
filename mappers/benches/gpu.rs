//! Speed of the GPU machine: tile steps (ops of roles) and memory transactions a second, at three grains.
#![allow(clippy::unwrap_used, missing_docs)]

use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::{Detail, simulate};
use banksia_hw::gpu::{CacheState, Gpu, LaunchOptions, device};
use banksia_mappers::gpu::gemm::{Gemm, Specialised, specialised};
use banksia_mappers::gpu::raster::{Raster, by_gpc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A tile of cuBLAS's for large products.
fn tile(raster: Raster) -> Specialised {
    Specialised { bm: 256, bn: 128, bk: 64, stages: 4, cluster: (1, 2), split: 1, raster, grid: 132 }
}

fn gemm(c: &mut Criterion) {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let tile = tile(Raster::rows(8));
    let k = specialised(&Gemm::new(2048, 2048, 2048, Dtype::Bf16), &tile);
    let mut group = c.benchmark_group("gpu gemm 2048");
    for grain_bytes in [128, 4096, 16384] {
        let options =
            LaunchOptions { grain_bytes, cache: CacheState::Foreign { dirty: 0.3 }, ..LaunchOptions::default() };
        let r = gpu.run(&k, &options).unwrap();
        group.throughput(Throughput::Elements(r.traffic.transactions));
        group.bench_function(format!("memory transactions of {grain_bytes} bytes"), |b| {
            b.iter(|| gpu.run(&k, &options).unwrap());
        });
        group.throughput(Throughput::Elements(r.steps));
        group.bench_function(format!("tile steps at {grain_bytes} bytes"), |b| {
            b.iter(|| gpu.run(&k, &options).unwrap());
        });
    }
    group.finish();
}

/// A large product as commands simulate it, and line by line.
fn large(c: &mut Criterion) {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let tile = tile(Raster::cublas(132, (256, 128), (1, 2), true));
    let mut k = specialised(&Gemm::new(8192, 8192, 8192, Dtype::Bf16), &tile);
    by_gpc(&mut k.items, k.grid, k.cluster, gpu.spec());
    let cache = CacheState::Foreign { dirty: 0.3 };
    let mut group = c.benchmark_group("gpu gemm 8192");
    group.sample_size(10);
    for (name, detail) in [("default detail", Detail::DEFAULT), ("finest detail", Detail::FINEST)] {
        group.throughput(Throughput::Elements(simulate(&mut gpu, &k, &cache, detail).unwrap().traffic.transactions));
        group.bench_function(name, |b| b.iter(|| simulate(&mut gpu, &k, &cache, detail).unwrap()));
    }
    group.finish();
}

criterion_group!(benches, gemm, large);
criterion_main!(benches);
