//! Kernels of linear attention: they are programs that the machine takes, on every device and for every size; their time grows with what they
//! do, and is never less than their bytes and their products take. And they take the time of the published kernels on a device.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::program::{Dtype, Op};
use banksia_hw::gpu::sampling::{Detail, simulate};
use banksia_hw::gpu::{CacheState, Gpu, device};
use banksia_mappers::gpu::launch::{Item, Launch, resolve};
use banksia_mappers::gpu::linear::{
    Convolution, LinearCall, Names, Rule, Source, chunk, convolution, convolution_along, convolution_update,
    fused_prefill, recurrent,
};

const DEVICES: [&str; 5] = ["v100", "t4", "a100", "h100", "h200"];
const RULES: [Rule; 7] =
    [Rule::Gla, Rule::Retention, Rule::SimpleGla, Rule::Delta, Rule::GatedDelta, Rule::Kda, Rule::Hgrn];
const SOURCES: [Source; 4] = [Source::Fla, Source::Sglang, Source::Vllm, Source::Trtllm];
const DETAIL: Detail = Detail { grain_bytes: 16384, waves: 3 };

fn launches(gpu: &mut Gpu, items: Vec<Item>) -> Vec<Launch> {
    resolve(items, &mut Simulation::new(gpu, DETAIL)).unwrap()
}

/// Microseconds of all launches, each with nothing in L2.
fn time_us(name: &str, items: Vec<Item>) -> f64 {
    let mut gpu = Gpu::new(device(name).unwrap());
    let launches = launches(&mut gpu, items);
    let run = |l: &Launch| simulate(&mut gpu, &l.kernel, &CacheState::Empty, DETAIL).unwrap().span_s;
    launches.iter().map(run).sum::<f64>() * 1e6
}

fn names() -> Names {
    Names::of("linear")
}

fn conv(batch: u32, tokens: u32, channels: u32) -> Convolution {
    let (width, bytes, weight_bytes, tokens_first, cta_channels) = (4, 2, 2, true, 256);
    Convolution { batch, tokens, channels, width, bytes, weight_bytes, tokens_first, cta_channels }
}

/// Whatever the size, the program is whole and its CTAs fit.
#[test]
fn programs_are_whole_and_fit_every_device() {
    // Batch, tokens, heads of keys, of values, their sizes: ones, primes, powers, halves of tiles.
    let sizes = [
        (1, 1, 1, 1, 1, 1),
        (1, 2, 1, 3, 7, 5),
        (3, 63, 2, 2, 64, 64),
        (2, 65, 1, 4, 96, 80),
        (1, 131, 5, 5, 128, 128),
        (2, 257, 4, 8, 128, 256),
        (1, 64, 2, 2, 192, 33),
        (1, 70, 3, 3, 256, 512),
        (17, 19, 1, 1, 16, 16),
    ];
    for name in DEVICES {
        let mut gpu = Gpu::new(device(name).unwrap());
        let spec = gpu.spec().clone();
        let mut all = Vec::new();
        for (batch, tokens, key_heads, heads, key_dim, value_dim) in sizes {
            for rule in RULES {
                let call = LinearCall { key_heads, ..LinearCall::new(rule, batch, tokens, heads, key_dim, value_dim) };
                for source in SOURCES {
                    for carries_state in [true, false] {
                        let call = LinearCall { carries_state, ..call };
                        all.extend(chunk(source, &call, &spec, &names()).unwrap());
                        all.extend(recurrent(source, &call, &spec, &names()).unwrap());
                    }
                    let kept = LinearCall { keeps_all_states: true, state_bytes: (2, 4), ..call };
                    all.extend(recurrent(source, &kept, &spec, &names()).unwrap());
                }
                let fused = fused_prefill(&call, &spec, &names());
                let fits = rule == Rule::GatedDelta && key_dim <= 128 && value_dim <= 128 && spec.tensor.warpgroup;
                assert_eq!(fused.is_ok(), fits, "{fused:?}");
                all.extend(fused.unwrap_or_default());
            }
            let c = conv(batch, tokens, heads * value_dim);
            for c in [c, Convolution { tokens_first: false, cta_channels: 64, width: 2, ..c }] {
                all.extend(convolution(&c, &spec, &names()).unwrap());
                all.extend(convolution_update(&c, &spec, &names()).unwrap());
                all.extend(convolution_along(&c, &spec, &names()).unwrap());
            }
        }
        for launch in launches(&mut gpu, all) {
            let k = &launch.kernel;
            k.check().unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(launch.operands.len(), k.tensors.len());
            let registers = k.registers * k.threads;
            assert!(
                k.shared_bytes <= spec.sm.shared_memory_per_cta_bytes,
                "{name}: {} bytes: {}",
                k.shared_bytes,
                k.name
            );
            assert!(registers <= 65536, "{name}: {registers} registers: {}", k.name);
        }
    }
}

/// Nonsense is refused, not computed.
#[test]
fn what_kernels_cannot_do_is_refused() {
    let spec = device("h200").unwrap();
    let good = LinearCall::new(Rule::GatedDelta, 1, 64, 2, 128, 128);
    let bad = [
        LinearCall { batch: 0, ..good },
        LinearCall { tokens: 0, ..good },
        LinearCall { key_heads: 0, ..good },
        LinearCall { key_heads: 3, heads: 4, ..good },
        LinearCall { key_dim: 4096, ..good },
        LinearCall { batch: u32::MAX, tokens: u32::MAX, ..good },
        LinearCall { heads: u32::MAX, key_heads: 1, ..good },
    ];
    for call in bad {
        for rule in RULES {
            let call = LinearCall { rule, ..call };
            assert!(chunk(Source::Fla, &call, &spec, &names()).is_err(), "{call:?}");
            assert!(recurrent(Source::Fla, &call, &spec, &names()).is_err(), "{call:?}");
        }
        assert!(fused_prefill(&call, &spec, &names()).is_err());
    }
    for c in [conv(0, 1, 1), conv(1, 1, 0), Convolution { width: 1, ..conv(1, 1, 1) }, conv(u32::MAX, u32::MAX, 1)] {
        assert!(convolution(&c, &spec, &names()).is_err(), "{c:?}");
        assert!(convolution_update(&c, &spec, &names()).is_err(), "{c:?}");
        assert!(convolution_along(&c, &spec, &names()).is_err(), "{c:?}");
    }
}

/// More tokens, sequences and heads take longer.
#[test]
fn time_grows_with_what_is_done() {
    let spec = device("h200").unwrap();
    for rule in RULES {
        let of = |batch, tokens, heads| {
            let call = LinearCall::new(rule, batch, tokens, heads, 128, 128);
            time_us("h200", chunk(Source::Fla, &call, &spec, &names()).unwrap())
        };
        let small = of(1, 512, 4);
        let (tokens, heads) = (of(1, 1024, 4), of(16, 512, 16));
        assert!(tokens > 1.1 * small, "{rule:?}: tokens, {small} us and {tokens}");
        // HGRN is a scan: one step after another, of which few fill a device as little as many.
        let least = if rule == Rule::Hgrn { 1.0 } else { 1.2 };
        assert!(heads > least * small, "{rule:?}: sequences and heads, {small} us and {heads}");
    }
    let decode = |batch| {
        let call = LinearCall::new(Rule::GatedDelta, batch, 1, 32, 128, 128);
        time_us("h200", recurrent(Source::Vllm, &call, &spec, &names()).unwrap())
    };
    assert!(decode(128) > 1.8 * decode(64));
}

/// No faster than memory and matrix units.
#[test]
fn bytes_and_products_bound_the_time() {
    for name in ["a100", "h200"] {
        let spec = device(name).unwrap();
        let bandwidth = spec.dram_peak_bytes_per_s();
        // The state is read and written.
        let call = LinearCall::new(Rule::GatedDelta, 128, 1, 32, 128, 128);
        let state = 2.0 * 4.0 * 128.0 * 32.0 * 128.0 * 128.0;
        for source in SOURCES {
            let us = time_us(name, recurrent(source, &call, &spec, &names()).unwrap());
            assert!(us > state / bandwidth * 1e6, "{name} {source:?}: {us}");
            assert!(us < 2.5 * state / bandwidth * 1e6, "{name} {source:?}: {us}");
        }
        let call = LinearCall::new(Rule::Retention, 8, 1024, 16, 128, 128);
        let items = chunk(Source::Fla, &call, &spec, &names()).unwrap();
        let mut gpu = Gpu::new(spec.clone());
        let fma: f64 = launches(&mut gpu, items.clone())
            .iter()
            .map(|l| {
                let each = |op: &Op| match *op {
                    Op::Mma { m, n, k, .. } => f64::from(m) * f64::from(n) * f64::from(k),
                    _ => 0.0,
                };
                l.kernel.items.len() as f64 * l.kernel.roles[0].ops.iter().map(each).sum::<f64>()
            })
            .sum();
        let us = time_us(name, items);
        assert!(us > 2.0 * fma / spec.tensor_peak_flops_per_s(Dtype::Bf16) * 1e6, "{name}: {us}");
        let bytes = 8.0 * 1024.0 * 16.0 * 128.0 * 2.0 * 4.0;
        assert!(us > bytes / bandwidth * 1e6, "{name}: {us}");
    }
}

/// The rows of `device_linear.csv` of one kernel, its grid and its threads: microseconds.
fn measured(kernel: &str, grid: &str, block: &str) -> f64 {
    let text = include_str!("../../tests/reference/gpu/device_linear.csv");
    let row = text.lines().map(|l| l.split(',').collect::<Vec<_>>()).find(|r| r[1..4] == [kernel, grid, block]);
    row.unwrap_or_else(|| panic!("no {kernel} {grid} {block}"))[6].parse().unwrap()
}

/// Each kernel of a call takes the published kernel's time on an H200 with nothing in L2, as Nsight Compute ran them: two sequences of 2048 tokens.
#[test]
fn kernels_take_the_time_of_the_published_ones() {
    let spec = device("h200").unwrap();
    let mut gpu = Gpu::new(spec.clone());
    let h = "chunk_gated_delta_rule_fwd_kernel_h_blockdim64";
    let solve = "chunk_gated_delta_rule_fwd_kkt_solve_kernel";
    let sums = ("chunk_local_cumsum_scalar_kernel", "32x32x1", "32");
    let results = ("chunk_fwd_kernel_o", "2x32x32", "128");
    let w = ("recompute_w_u_fwd_kernel", "32x32x1", "128");
    let fill = ("fill", "4096x1x1", "128");
    let cases = [
        (
            Rule::Gla,
            (8, 256),
            vec![
                ("chunk_local_cumsum_vector_kernel", "2x32x16", "64"),
                ("chunk_fwd_kernel_h", "4x8x16", "32"),
                ("chunk_gla_fwd_A_kernel_intra_sub_inter", "32x16x16", "32"),
                ("chunk_gla_fwd_A_kernel_intra_sub_intra", "32x4x16", "32"),
                ("fill", "8192x1x1", "128"),
                ("chunk_gla_fwd_kernel_o", "4x32x16", "64"),
            ],
        ),
        (Rule::SimpleGla, (16, 128), vec![sums, ("chunk_fwd_kernel_h", "4x4x32", "32"), results]),
        (
            Rule::Delta,
            (16, 128),
            vec![
                ("chunk_scaled_dot_kkt_fwd_kernel", "32x32x1", "128"),
                fill,
                ("merge_16x16_to_64x64_inverse_kernel", "32x32x1", "64"),
                w,
                (h, "128x1x1", "64"),
                results,
            ],
        ),
        (Rule::GatedDelta, (16, 128), vec![sums, fill, (solve, "32x32x1", "32"), w, (h, "128x1x1", "64"), results]),
        (
            Rule::Kda,
            (16, 128),
            vec![
                ("chunk_local_cumsum_vector_kernel", "2x32x32", "64"),
                fill,
                ("chunk_kda_fwd_kernel_intra_token_parallel", "4096x4x1", "32"),
                ("chunk_kda_fwd_kernel_inter_solve_fused", "32x32x1", "32"),
                ("recompute_w_u_fwd_kda_kernel", "32x32x1", "128"),
                (h, "128x1x1", "128"),
                ("chunk_gla_fwd_kernel_o", "2x32x32", "64"),
            ],
        ),
    ];
    let mut errors = Vec::new();
    for (rule, (heads, value_dim), kernels) in cases {
        let call = LinearCall { carries_state: false, ..LinearCall::new(rule, 2, 2048, heads, 128, value_dim) };
        let items = chunk(Source::Fla, &call, &spec, &names()).unwrap();
        let launches = launches(&mut gpu, items);
        assert_eq!(launches.len(), kernels.len(), "{rule:?}");
        for (launch, (kernel, grid, block)) in launches.iter().zip(kernels) {
            let us = simulate(&mut gpu, &launch.kernel, &CacheState::Empty, Detail::DEFAULT).unwrap().span_s * 1e6;
            let measured = measured(kernel, grid, block);
            println!("{rule:?} {kernel}: {us:.1} us, measured {measured:.1}, {:+.0} %", (us / measured - 1.0) * 100.0);
            errors.push((us / measured - 1.0).abs());
        }
    }
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    println!("mean {:.1} %", mean * 100.0);
    assert!(mean < 0.25, "mean error {mean}");
}
