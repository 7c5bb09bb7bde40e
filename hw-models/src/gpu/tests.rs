//! The catalog parses, and what is wrong is said.

use super::program::{Barrier, Dtype, Kernel, Op, Role, Trips};
use super::{CATALOG, CacheState, Gpu, GpuError, GpuSpec, LaunchOptions, catalog, device};

fn kernel(ops: Vec<Op>) -> Kernel {
    Kernel {
        name: "test".into(),
        threads: 32,
        registers: 32,
        shared_bytes: 0,
        cluster: 1,
        grid: 1,
        items: vec![[0; 6]],
        tensors: Vec::new(),
        barriers: vec![Barrier { arrivals: 1, credits: 0 }],
        roles: vec![Role { warps: 1, ops }],
        pipelined: false,
    }
}

#[test]
fn every_catalog_entry_is_valid_and_named_after_its_file() {
    for (name, _) in CATALOG {
        let spec = device(name).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(spec.name, name);
    }
}

/// Peaks of the data sheets, and of the chips that are known from those alone: dense 16-bit TFLOP/s and GB/s of memory.
#[test]
fn peaks_are_those_of_the_data_sheets() {
    for (name, dtype, tflops, gb_s) in [
        ("h200", Dtype::Bf16, 1070.0, 4815.0),
        ("h100", Dtype::Bf16, 1070.0, 3352.0),
        ("a100", Dtype::Bf16, 312.0, 2039.0),
        ("v100", Dtype::Fp16, 125.0, 900.0),
        ("t4", Dtype::Fp16, 65.0, 320.0),
        ("l40s", Dtype::Bf16, 366.0, 864.0),
        ("l40s", Dtype::Fp8, 733.0, 864.0),
        ("rtx-4090", Dtype::Bf16, 165.2, 1008.0),
        ("a6000", Dtype::Bf16, 154.8, 768.0),
        ("a40", Dtype::Bf16, 149.7, 696.0),
        ("a10g", Dtype::Bf16, 70.0, 600.0),
        ("rtx-pro-6000", Dtype::Fp4, 2000.0, 1792.0),
        // The data sheet's 2.25 and 9 PFLOP/s are at 1856 MHz (`power.tensor_clock_mhz`).
        ("b200", Dtype::Bf16, 2250.0 * 1965.0 / 1856.0, 8000.0),
        ("b200", Dtype::Fp4, 9000.0 * 1965.0 / 1856.0, 8000.0),
    ] {
        let spec = device(name).unwrap();
        let t = spec.tensor_peak_flops_per_s(dtype) / 1e12;
        assert!((t / tflops - 1.0).abs() < 0.01, "{name}: {t} TFLOP/s");
        let g = spec.dram_peak_bytes_per_s() / 1e9;
        assert!((g / gb_s - 1.0).abs() < 0.01, "{name}: {g} GB/s");
    }
}

#[test]
fn wrong_values_are_refused_with_their_key() {
    let source = catalog("h200").unwrap();
    for (setting, key) in [
        ("l2.partitions=3", "l2.partitions"),
        ("dram.channels=0", "dram.channels"),
        ("sm_clock_mhz=-1.0", "sm_clock_mhz"),
        ("launch.graph_gap_us=-2.0", "launch.graph_gap_us"),
        ("sms_per_gpc=[]", "sms_per_gpc"),
        ("tensor.memory_bytes=99999999", "tensor.memory_bytes"),
    ] {
        let changed = source.with_settings(&[setting]).unwrap();
        let error = GpuSpec::from_source(&changed).unwrap_err().to_string();
        assert!(error.contains(key), "{setting}: {error}");
    }
    assert!(device("h300").unwrap_err().to_string().contains("h200"));
}

/// A memory for sums is the asynchronous path's.
#[test]
fn sums_have_a_memory_only_where_something_fills_it() {
    let source = catalog("l40s").unwrap().with_settings(&["tensor.memory_bytes=262144"]).unwrap();
    let error = GpuSpec::from_source(&source).unwrap_err().to_string();
    assert!(error.contains("tensor.memory_bytes") && error.contains("tensor.warpgroup"), "{error}");
}

#[test]
fn elements_of_four_bits_lie_two_in_a_byte() {
    assert_eq!((Dtype::Fp4.bits(), Dtype::Fp4.bytes()), (4, 1));
    for dtype in Dtype::ALL {
        assert_eq!(dtype.bytes_of(6), 6 * dtype.bits() / 8, "{dtype}");
        assert_eq!(dtype.elements_in(dtype.bytes_of(64)), 64, "{dtype}");
    }
    assert_eq!(Dtype::Fp4.bytes_of(7), 4, "the last byte is half empty");
    assert_eq!(Dtype::Fp4.bytes_of(u32::MAX), 1 << 31);
}

#[test]
fn malformed_programs_are_refused() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    for ops in [
        vec![Op::End],
        vec![Op::Loop(Trips::Const(2))],
        vec![Op::Wait(1)],
        vec![Op::MmaWait(4)],
        vec![Op::Loop(Trips::Const(1)), Op::Next, Op::End],
        vec![Op::Loop(Trips::Once(6, 0)), Op::End],
        vec![Op::Loop(Trips::ExceptLast(1)), Op::End],
    ] {
        let error = gpu.run(&kernel(ops.clone()), &LaunchOptions::default()).unwrap_err();
        assert!(matches!(error, GpuError::Kernel(_)), "{ops:?}: {error}");
    }
}

#[test]
fn a_program_that_stops_is_an_error() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let error = gpu.run(&kernel(vec![Op::Wait(0)]), &LaunchOptions::default()).unwrap_err();
    assert!(matches!(error, GpuError::Deadlock { .. }), "{error}");
}

#[test]
fn what_does_not_fit_or_is_not_there_is_an_error() {
    let mut gpu = Gpu::new(device("v100").unwrap());
    let big = Kernel { shared_bytes: 1 << 20, ..kernel(Vec::new()) };
    assert!(matches!(gpu.run(&big, &LaunchOptions::default()), Err(GpuError::DoesNotFit { .. })));
    let fp8 = kernel(vec![Op::Mma { dtype: Dtype::Fp8, m: 16, n: 8, k: 32, sync: true }]);
    assert!(matches!(gpu.run(&fp8, &LaunchOptions::default()), Err(GpuError::NoSuchType { .. })));
}

#[test]
fn loops_of_no_turns_are_skipped() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let ops = vec![Op::Loop(Trips::Work(0, 0)), Op::Loop(Trips::Const(3)), Op::Delay(1e6), Op::End, Op::End];
    let r = gpu.run(&kernel(ops), &LaunchOptions { cache: CacheState::Empty, ..LaunchOptions::default() }).unwrap();
    assert!(r.span_s < 1e-6, "{}", r.span_s);
}

/// Four turns of a loop with something once in each of the first three, and something once where the item says so.
#[test]
fn what_runs_ahead_stops_before_the_last_turns() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let mut span = |number: i32, ops: Vec<Op>| {
        let k = Kernel { items: vec![[number; 6]], ..kernel(ops) };
        gpu.run(&k, &LaunchOptions { cache: CacheState::Empty, ..LaunchOptions::default() }).unwrap().span_s
    };
    let nothing = span(0, Vec::new());
    let us = Op::Delay(1e3);
    let turns = |of: Trips| vec![Op::Loop(Trips::Const(4)), Op::Loop(of), us, Op::End, Op::End];
    for (number, ops, times) in [
        (0, turns(Trips::ExceptLast(1)), 3.0),
        (0, turns(Trips::ExceptLast(3)), 1.0),
        (0, turns(Trips::ExceptLast(9)), 0.0),
        (3, turns(Trips::Once(0, -2)), 4.0),
        (3, turns(Trips::Once(0, -3)), 0.0),
    ] {
        let taken = (span(number, ops.clone()) - nothing) * 1e6;
        assert!((taken - times).abs() < 1e-6, "{ops:?}: {taken}");
    }
}
