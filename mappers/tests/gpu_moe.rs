//! Grouped products and mixtures of experts: laws that hold for any sizes, on every GPU of the catalog.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::sampling::{Detail, simulate_steps};
use banksia_hw::gpu::{CATALOG, CacheState, Gpu, GpuSpec, device, occupancy};
use banksia_mappers::gpu::frameworks::Framework;
use banksia_mappers::gpu::launch::{Item, Operand};
use banksia_mappers::gpu::moe::routing::{Distribution, draw};
use banksia_mappers::gpu::moe::{Format, MoeCall, MoeMemory, grouped_mm, mixture};

fn kernels(items: Vec<Item>) -> Vec<Kernel> {
    let of = |item| match item {
        Item::Kernel(launch) => launch.kernel.as_ref().clone(),
        Item::Product(..) => panic!("a product that a library chooses"),
    };
    items.into_iter().map(of).collect()
}

fn seconds(gpu: &mut Gpu, kernels: Vec<Kernel>) -> f64 {
    let cold = |k| (k, CacheState::Foreign { dirty: 0.3 });
    let steps: Vec<_> = kernels.into_iter().map(cold).collect();
    simulate_steps(gpu, &steps, Detail::DEFAULT, f64::INFINITY).unwrap().latency_s
}

fn call(tokens: u32, format: Format) -> MoeCall {
    let rows = draw(Distribution::PowerLaw(1.2), tokens, 2, 8, 2, 1).rows().to_vec();
    MoeCall { tokens, hidden: 512, inter: 384, experts: 8, top_k: 2, rows, format, gated: true, routed: false }
}

const FORMATS: [Format; 8] = [
    Format::Bf16,
    Format::Fp8,
    Format::Fp8Block,
    Format::Weights4 { group: 128 },
    Format::Mxfp4,
    Format::Mxfp4Fp8,
    Format::Weights4Fp8,
    Format::Nvfp4,
];

const FUSED: [Framework; 3] = [Framework::Vllm, Framework::Sglang, Framework::Trtllm];

/// Programs are whole and fit on an SM, whatever the sizes: none of an expert's rows, one row, primes, many.
#[test]
fn kernels_of_any_sizes_are_whole_and_fit() {
    for (name, _) in CATALOG {
        let spec: GpuSpec = device(name).unwrap();
        let memory = MoeMemory::of("moe");
        for rows in [vec![0], vec![1], vec![0, 0, 7, 0], vec![1000, 1, 0, 129, 64], vec![3; 37]] {
            for (hidden, inter) in [(1, 1), (2048, 768), (127, 131)] {
                let total: u32 = rows.iter().sum();
                for format in FORMATS {
                    if !spec.tensor.fma_per_cycle.contains_key(&format.multiplied()) {
                        continue;
                    }
                    for (framework, gated) in FUSED.into_iter().flat_map(|f| [(f, false), (f, true)]) {
                        let c = MoeCall {
                            tokens: total.max(1),
                            hidden,
                            inter,
                            experts: 64,
                            top_k: 2,
                            rows: rows.clone(),
                            format,
                            gated,
                            routed: false,
                        };
                        for kernel in kernels(mixture(framework, &c, &spec, &memory).unwrap()) {
                            kernel.check().unwrap();
                            if let Err(e) = occupancy(&spec, &kernel) {
                                // Triton's tiles are the same on every device: those of SGLang in 8 bits take more than small devices have.
                                assert!(
                                    framework != Framework::Trtllm && spec.sm.shared_memory_per_cta_bytes < 200_000,
                                    "{name}: {e}"
                                );
                            }
                        }
                    }
                }
            }
            let memory = ["a", "b", "c"].map(Operand::shared);
            for kernel in kernels(grouped_mm(&rows, 130, 70, &spec, &memory)) {
                kernel.check().unwrap();
                occupancy(&spec, &kernel).unwrap();
            }
        }
    }
}

/// No launch beats its bytes or its multiply-adds, and more rows or more experts with rows take longer.
#[test]
fn time_is_bounded_and_grows() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let memory = ["a", "b", "c"].map(Operand::shared);
    let (n, k) = (2048, 1024);
    let mut last = 0.0;
    for rows in [1, 64, 1024, 4096] {
        let counts = vec![rows; 8];
        let items = grouped_mm(&counts, n, k, gpu.spec(), &memory);
        let s = seconds(&mut gpu, kernels(items));
        let fma = 8.0 * f64::from(rows) * f64::from(n) * f64::from(k);
        let bytes = 8.0 * f64::from(n) * f64::from(k) * 2.0;
        let peak = gpu.spec().tensor_peak_flops_per_s(banksia_hw::gpu::program::Dtype::Bf16);
        assert!(s > 2.0 * fma / peak && s > bytes / gpu.spec().dram_peak_bytes_per_s(), "{rows}: {s}");
        // Up to a tile of rows the time is that of the weights.
        let grown = if rows > 128 { 1.1 } else { 0.99 };
        assert!(s > grown * last, "{rows} rows: {s} after {last}");
        last = s;
    }
    let few = grouped_mm(&[8, 0, 0, 0], n, k, gpu.spec(), &memory);
    let many = grouped_mm(&[2, 2, 2, 2], n, k, gpu.spec(), &memory);
    assert!(seconds(&mut gpu, kernels(few)) < seconds(&mut gpu, kernels(many)));
}

/// Frameworks' mixtures run on what the catalog has, and weights of fewer bits take less from memory.
#[test]
fn mixtures_run_and_fewer_bits_are_fewer_bytes() {
    let memory = MoeMemory::of("moe");
    for (name, _) in CATALOG {
        let mut gpu = Gpu::new(device(name).unwrap());
        for framework in FUSED {
            let items = mixture(framework, &call(16, Format::Weights4 { group: 128 }), gpu.spec(), &memory).unwrap();
            let four: u64 = kernels(items).iter().map(Kernel::footprint_bytes).sum();
            if !gpu.spec().tensor.fma_per_cycle.contains_key(&Format::Bf16.multiplied()) {
                continue;
            }
            let items = mixture(framework, &call(16, Format::Bf16), gpu.spec(), &memory).unwrap();
            let sixteen: u64 = kernels(items.clone()).iter().map(Kernel::footprint_bytes).sum();
            assert!(four < sixteen, "{name} {framework}");
            assert!(seconds(&mut gpu, kernels(items)) > 0.0);
        }
    }
}

/// What no kernel is written for is an error that says so.
#[test]
fn wrong_sizes_are_refused() {
    let spec = device("h200").unwrap();
    let memory = MoeMemory::of("moe");
    let of = |c: MoeCall| mixture(Framework::Sglang, &c, &spec, &memory).err().unwrap_or_default();
    assert!(of(MoeCall { hidden: 0, ..call(4, Format::Bf16) }).contains("hidden size is 0"));
    assert!(of(MoeCall { rows: Vec::new(), ..call(4, Format::Bf16) }).contains("0 experts"));
    assert!(of(MoeCall { rows: vec![u32::MAX; 9], ..call(4, Format::Bf16) }).contains("rows of experts"));
    assert!(mixture(Framework::Torch, &call(4, Format::Bf16), &spec, &memory).is_err());
}

/// `device_grouped.csv`: what a group costs. Tiles of little depth follow each other sooner where all are of one group, and by about what was measured.
#[test]
fn groups_cost_what_was_measured() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let memory = ["a", "b", "c"].map(Operand::shared);
    let mut of = |groups: usize, n: u32| {
        let items = grouped_mm(&vec![16; groups], n, 128, gpu.spec(), &memory);
        seconds(&mut gpu, kernels(items)) * 1e6
    };
    let (one, many, wide) = (of(1, 8448), of(64, 8448), of(1, 135_168));
    let (a_group, a_tile) = ((many - one) / 63.0, (wide - one) / 15.0);
    assert!((a_group / 2.03 - 1.0).abs() < 0.35, "{a_group} us a group, not 2.03");
    assert!((a_tile / 1.18 - 1.0).abs() < 0.35, "{a_tile} us a tile, not 1.18");
}
