//! Row kernels that frameworks fuse, and PyTorch's own between them, against launches of whole models on an H200.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::sampling::{Detail, simulate};
use banksia_hw::gpu::{CacheState, Gpu, GpuSpec, device, occupancy};
use banksia_mappers::gpu::fused::{
    Cost, NormCall, Pointwise, Reduction, Rotation, RowWriter, Way, by_chance, convert, fill, gated, gather_rows,
    memcpy, memset, norm, pointwise, reduce_rows, rotary, softmax_rows, strided_copy,
};

const DETAIL: Detail = Detail { grain_bytes: 8192, waves: 6 };

fn table(rows: u64, row_bytes: u64, table_rows: u64, few: bool) -> Kernel {
    gather_rows(rows, row_bytes, table_rows, &by_chance(table_rows), few)
}

/// The kernel of a row of the file, and which of its tensors a model finds in L2: what the kernel before it has just written.
fn kernel(kind: &str, rows: u32, columns: u32) -> (Vec<Kernel>, Vec<usize>) {
    let elements = u64::from(rows) * u64::from(columns);
    let triton = RowWriter::Triton;
    match kind {
        "rms" => (vec![norm(triton, &NormCall::rms(rows, columns).with_residual())], vec![0, 1, 3]),
        "gate" => (vec![norm(triton, &NormCall::rms(rows, columns).with_gate())], vec![0, 1, 3]),
        "silu" => (vec![gated(triton, u64::from(rows), columns)], vec![0, 1]),
        "argmax" => (reduce_rows(Reduction::ArgMax, u64::from(rows), u64::from(columns), 2, 8), vec![0, 1]),
        "sum" => (reduce_rows(Reduction::Sum, u64::from(rows), u64::from(columns), 4, 4), vec![0, 1]),
        "gather" | "select" => (vec![table(u64::from(rows), u64::from(columns) * 2, 128_256, true)], vec![2]),
        "softmax" => (vec![softmax_rows(u64::from(rows), u64::from(columns))], vec![0, 1]),
        "strided_copy" => (vec![strided_copy(elements, 2)], vec![0]),
        "strided_binary" => {
            let inputs = vec![2.0, 2.0 / f64::from(columns)];
            let p = Pointwise { elements, inputs, out_bytes: 2, way: Way::Strided, cost: Cost::BINARY };
            (vec![pointwise("product", &p)], vec![0, 1])
        }
        other => panic!("no kernel {other}"),
    }
}

fn rope(tokens: u32, heads: u32, head_dim: u32) -> Kernel {
    let stride = (heads + 8) * head_dim;
    rotary(RowWriter::Triton, &Rotation { tokens, heads, head_dim, rotated: head_dim, stride })
}

fn time_us(gpu: &mut Gpu, kernels: &[Kernel], resident: &[usize]) -> f64 {
    let last = kernels.last().unwrap();
    let tensors = resident.iter().map(|t| (*t, true)).collect();
    simulate(gpu, last, &CacheState::Resident { tensors, dirty: 0.3 }, DETAIL).unwrap().span_s * 1e6
}

/// Mean error of a kind at most, in percent.
const MOST: [(&str, f64); 5] = [("rms", 25.0), ("rope", 20.0), ("gate", 30.0), ("gather", 30.0), ("argmax", 30.0)];

#[test]
fn launches_of_models_take_their_time() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let file = include_str!("../../tests/reference/gpu/launches_rows.csv");
    let mut errors: Vec<(String, f64)> = Vec::new();
    for line in file.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |i: usize| cells[i].parse::<u32>().unwrap();
        let measured: f64 = cells[5].parse().unwrap();
        let (kernels, resident) = match cells[0] {
            "rope" => (vec![rope(number(1), number(2), number(3))], vec![0]),
            kind => kernel(kind, number(1), number(2)),
        };
        let last = kernels.last().unwrap();
        if !matches!(cells[0], "rope" | "gate" | "sum") {
            assert!(last.threads.is_multiple_of(32), "{line}");
        }
        let us = time_us(&mut gpu, &kernels, &resident);
        errors.push((cells[0].to_owned(), us / measured - 1.0));
    }
    let mut kinds: Vec<String> = errors.iter().map(|e| e.0.clone()).collect();
    kinds.dedup();
    for kind in kinds {
        let of: Vec<f64> = errors.iter().filter(|e| e.0 == kind).map(|e| e.1).collect();
        let mean = |f: fn(f64) -> f64| of.iter().map(|e| f(*e)).sum::<f64>() / of.len() as f64 * 100.0;
        let most = MOST.iter().find(|(k, _)| *k == kind).map_or(100.0, |(_, most)| *most);
        assert!(
            mean(f64::abs) < most,
            "{kind}: {} rows, error {:.1} %, bias {:+.1} %",
            of.len(),
            mean(f64::abs),
            mean(|e| e)
        );
    }
}

fn all(rows: u32, columns: u32) -> Vec<Kernel> {
    let (r, c) = (u64::from(rows), u64::from(columns));
    let mut kernels = Vec::new();
    for writer in [RowWriter::Triton, RowWriter::Cuda] {
        let call = NormCall::rms(rows, columns);
        let layer = NormCall { norm: banksia_mappers::gpu::fused::Norm::Layer, ..call };
        for c in [call, call.with_residual(), call.with_gate(), layer, layer.with_residual()] {
            kernels.push(norm(writer, &c));
        }
        kernels.push(gated(writer, r, columns));
        for head_dim in [2, 64, 80, 128] {
            let heads = columns.div_ceil(head_dim);
            kernels.push(rotary(writer, &Rotation { tokens: rows, heads, head_dim, rotated: head_dim, stride: 0 }));
        }
    }
    for reduction in [Reduction::Sum, Reduction::ArgMax] {
        kernels.extend(reduce_rows(reduction, r, c, 2, 8));
    }
    kernels.extend([
        table(r, c * 2, 1000, true),
        table(r, c * 2, 1, false),
        softmax_rows(r, c),
        strided_copy(r * c, 2),
        convert(r * c, 2, 4),
        fill(r * c, 8),
        memset(r * c),
        memcpy(r * c),
    ]);
    kernels
}

fn fits(spec: &GpuSpec, kernel: &Kernel) {
    assert_eq!(kernel.check(), Ok(()), "{}", kernel.name);
    occupancy(spec, kernel).unwrap_or_else(|e| panic!("{} on {}: {e}", kernel.name, spec.name));
}

#[test]
fn kernels_of_any_size_are_whole_and_fit_every_device() {
    for name in ["v100", "t4", "a100", "h100", "h200"] {
        let spec = device(name).unwrap();
        for (rows, columns) in [(1, 1), (1, 7), (3, 257), (17, 5120), (1000, 1021), (2, 262_144), (0, 0)] {
            for kernel in all(rows, columns) {
                fits(&spec, &kernel);
            }
        }
    }
}

#[test]
fn more_rows_take_longer_and_no_kernel_beats_the_memory() {
    let spec = device("h200").unwrap();
    let mut gpu = Gpu::new(spec.clone());
    let mut time = |k: &Kernel| simulate(&mut gpu, k, &CacheState::Empty, DETAIL).unwrap().span_s;
    for (few, many) in all(64, 4096).iter().zip(&all(8192, 4096)) {
        let (few_s, many_s) = (time(few), time(many));
        assert!(many_s >= few_s, "{}: {few_s} s, {}: {many_s} s", few.name, many.name);
        // A copy of memory counts bytes, the others elements of two bytes.
        let of_one = if many.name.starts_with("memory copy") { 1.0 } else { 2.0 };
        let bytes = 8192.0 * 4096.0 * of_one;
        let moves = ["norm", "gate ", "softmax", "copy", "conversion", "rotary"].iter().any(|n| many.name.contains(n));
        assert!(!moves || many_s >= bytes / spec.dram_peak_bytes_per_s(), "{}: {many_s} s", many.name);
    }
}
