//! Products of few bits: grids as launched, laws, any size on any device.
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::sampling::{Detail, simulate};
use banksia_hw::gpu::{CacheState, Gpu, device, occupancy};
use banksia_mappers::gpu::frameworks::Framework;
use banksia_mappers::gpu::launch::{Item, Operand};
use banksia_mappers::gpu::low_bit::{
    LowBit, LowBitCall, LowBitNames, Marlin, int8_product, low_bit, low_rank, marlin, sparse_product, tinygemm,
};

const DETAIL: Detail = Detail { grain_bytes: 8192, waves: 6 };

fn names() -> LowBitNames {
    LowBitNames { input: Operand::shared("x"), weight: Operand::own("w"), output: Operand::shared("y") }
}

fn kernels(items: &[Item]) -> Vec<Kernel> {
    let kernel = |i: &Item| match i {
        Item::Kernel(launch) => {
            assert_eq!(launch.operands.len(), launch.kernel.tensors.len(), "{}", launch.kernel.name);
            Some(launch.kernel.as_ref().clone())
        }
        Item::Product(..) => None,
    };
    items.iter().filter_map(kernel).collect()
}

fn of(m: u64, n: u64, k: u64) -> Marlin {
    Marlin { m, n, k, dtype: Dtype::Fp16, weight_bits: 4, group: 128, scale_bytes: 2 }
}

/// Grids, blocks and shared memory of launches on an H200.
#[test]
fn grids_are_those_that_libraries_launch() {
    let spec = device("h200").unwrap();
    let t = tinygemm(64, 12288, 4096, 128);
    assert_eq!((t.grid, t.threads, t.registers), (1536 * 4, 256, 64));
    let operands = ["a", "b", "c"].map(Operand::shared);
    let int8 = kernels(&int8_product(8192, 8192, 8192, &spec, &operands).unwrap());
    assert_eq!((int8.len(), int8[0].threads, int8[0].registers, int8[0].shared_bytes), (1, 256, 230, 147_456));
    let sparse = kernels(&sparse_product(4096, 2048, 4096, &spec, &operands).unwrap());
    assert_eq!((sparse[1].threads, sparse[1].registers, sparse[1].cluster), (384, 168, 8));
}

#[test]
fn products_of_any_size_are_whole_and_fit_every_device() {
    let formats = [
        LowBit::Int4 { group: 0 },
        LowBit::Int4 { group: 128 },
        LowBit::Nf4 { block: 64 },
        LowBit::Fp8WeightOnly,
        LowBit::Fp4 { group: 16 },
        LowBit::Int8,
        LowBit::Int8Outliers { columns: 40 },
        LowBit::Sparse24,
    ];
    for name in ["v100", "t4", "a100", "h100", "h200"] {
        let spec = device(name).unwrap();
        for (m, n, k) in [(0, 0, 0), (1, 1, 1), (1, 4096, 4096), (17, 333, 1021), (300, 1536, 7168)] {
            for format in formats {
                for framework in Framework::ALL {
                    let call = LowBitCall { m, n, k, format, dtype: Dtype::Fp16 };
                    let items = match low_bit(framework, &call, &spec, &names()) {
                        Ok(items) => items,
                        Err(e) => {
                            assert!(e.contains(name), "{e}");
                            continue;
                        }
                    };
                    for kernel in kernels(&items) {
                        assert_eq!(kernel.check(), Ok(()), "{} on {name}", kernel.name);
                        occupancy(&spec, &kernel).unwrap_or_else(|e| panic!("{} on {name}: {e}", kernel.name));
                    }
                }
            }
        }
    }
}

#[test]
fn a_low_rank_pair_is_two_thin_products_and_an_adapter_adds_its_result() {
    let call = LowBitCall { m: 16, n: 4096, k: 4096, format: LowBit::Fp8WeightOnly, dtype: Dtype::Bf16 };
    assert_eq!(low_rank(&call, 64, false, &names()).len(), 2);
    assert_eq!(low_rank(&call, 64, true, &names()).len(), 3);
}

#[test]
fn more_takes_longer_and_no_product_beats_memory_or_units() {
    let spec = device("h200").unwrap();
    let mut gpu = Gpu::new(spec.clone());
    let mut time = |k: &Kernel| simulate(&mut gpu, k, &CacheState::Empty, DETAIL).unwrap().span_s;
    let rate = spec.dram_peak_bytes_per_s();
    let peak = |d| spec.tensor_peak_flops_per_s(d) / 2.0;
    let weights = 4096.0 * 4096.0 / 2.0;
    for make in [(|m| tinygemm(m, 4096, 4096, 128)) as fn(u64) -> Kernel, |m| {
        marlin(&of(m, 4096, 4096), &device("h200").unwrap())
    }] {
        let (few, many) = (time(&make(1)), time(&make(256)));
        assert!(few >= weights / rate && few < many, "{few} {many}");
        assert!(many >= 256.0 * 4096.0 * 4096.0 / peak(Dtype::Fp16));
    }
    let operands = ["a", "b", "c"].map(Operand::shared);
    let int8 = kernels(&int8_product(1024, 4096, 4096, &spec, &operands).unwrap());
    let int8: f64 = int8.iter().map(&mut time).sum();
    assert!(int8 >= 1024.0 * 4096.0 * 4096.0 / peak(Dtype::Int8));
    let sparse = kernels(&sparse_product(4096, 1024, 4096, &spec, &operands).unwrap());
    let sparse: f64 = sparse.iter().map(&mut time).sum();
    assert!(sparse >= 1024.0 * 4096.0 * 4096.0 / peak(Dtype::Bf16) / 2.0);
}
