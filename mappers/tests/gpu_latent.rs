//! Latent attention, and attention of sizes that whole models have: laws that any kernel keeps, on every device.
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::sampling::{Detail, simulate, simulate_steps};
use banksia_hw::gpu::{CacheState, Gpu, GpuSpec, device};
use banksia_mappers::gpu::attention::{
    Attention, Flash3, decode3, encoder, flash2, flash3, ragged, sdpa_parts, torch_sdpa,
};
use banksia_mappers::gpu::frameworks::{self, AttentionCall, Framework};
use banksia_mappers::gpu::latent::{
    LatentCall, LatentOperands, Units, absorb, absorbed_prefill, decode, decode_kernels, expand, flashmla, latent3,
    prefill,
};
use banksia_mappers::gpu::launch::Item;

const DEVICES: [&str; 5] = ["v100", "t4", "a100", "h100", "h200"];

fn fits(kernel: &Kernel, spec: &GpuSpec) {
    assert_eq!(kernel.check(), Ok(()), "{} on {}", kernel.name, spec.name);
    // Libraries of devices with less shared memory have tiles of their own, which older kernels here do not.
    let room = spec.sm.shared_memory_per_cta_bytes;
    assert!(kernel.shared_bytes <= room || room < 150_000, "{} on {}", kernel.name, spec.name);
    assert!(kernel.threads * kernel.registers <= spec.sm.registers, "{} on {}", kernel.name, spec.name);
    assert!(kernel.items.len() <= 1 << 21, "{}: {} items", kernel.name, kernel.items.len());
}

fn seconds(gpu: &mut Gpu, kernels: Vec<Kernel>) -> f64 {
    let steps: Vec<_> = kernels.into_iter().map(|k| (k, CacheState::Foreign { dirty: 0.2 })).collect();
    simulate_steps(gpu, &steps, Detail::DEFAULT, f64::INFINITY).unwrap().latency_s
}

#[test]
fn every_framework_has_latent_kernels_for_every_device_and_odd_sizes() {
    let operands = LatentOperands::default();
    for name in DEVICES {
        let spec = device(name).unwrap();
        for framework in Framework::ALL {
            for (batch, heads, queries, keys, cache_bytes) in
                [(1, 1, 1, 1, 2), (3, 7, 1, 1000, 1), (2, 128, 4, 77, 2), (257, 16, 1, 65, 2), (1, 128, 64, 4097, 1)]
            {
                let call = LatentCall { batch, heads, queries, keys, cache_bytes, ..LatentCall::default() };
                let mut items = decode(framework, &call, &operands, &spec).unwrap();
                items.extend(absorb(&call, false, &operands, &spec));
                items.extend(expand(&call, true, &operands, &spec));
                let prompt = LatentCall { queries: keys, batch: batch.min(2), ..call };
                items.extend(prefill(framework, &prompt, true, &operands, &spec).unwrap());
                for item in &items {
                    if let Item::Kernel(launch) = item {
                        fits(&launch.kernel, &spec);
                        assert_eq!(launch.operands.len(), launch.kernel.tensors.len());
                    }
                }
                for kernel in absorbed_prefill(&prompt, &spec) {
                    fits(&kernel, &spec);
                }
            }
        }
    }
}

#[test]
fn sizes_that_no_kernel_has_are_refused_by_name() {
    let spec = device("h200").unwrap();
    let operands = LatentOperands::default();
    for (call, name) in [
        (LatentCall { heads: 0, ..LatentCall::default() }, "heads"),
        (LatentCall { latent: 513, ..LatentCall::default() }, "latent"),
        (LatentCall { queries: 9, keys: 8, ..LatentCall::default() }, "keys"),
        (LatentCall { batch: u32::MAX, ..LatentCall::default() }, "rows"),
    ] {
        let error = decode(Framework::Vllm, &call, &operands, &spec).unwrap_err();
        assert!(error.contains(name), "{error}");
        assert!(prefill(Framework::Vllm, &call, true, &operands, &spec).is_err());
    }
}

/// No kernel reads its cache faster than memory gives it, or multiplies faster than the units do; more tokens and more heads take longer.
#[test]
fn latent_decode_keeps_to_the_roofline_and_grows() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let spec = gpu.spec().clone();
    let bandwidth = spec.dram_peak_bytes_per_s();
    for framework in [Framework::Vllm, Framework::Sglang, Framework::Trtllm] {
        let mut last = 0.0;
        for (batch, heads, keys) in [(1, 16, 512), (16, 16, 4096), (64, 16, 16384), (64, 128, 16384)] {
            let call = LatentCall { batch, heads, keys, ..LatentCall::default() };
            let time = seconds(&mut gpu, decode_kernels(framework, &call, &spec, heads));
            let bytes = f64::from(batch) * f64::from(keys) * 576.0 * 2.0;
            assert!(time > bytes / bandwidth, "{framework} {call:?}: {time}");
            let fma = f64::from(batch * heads) * f64::from(keys) * 1088.0;
            let peak = 2048.0 * f64::from(spec.sms()) * spec.sm_clock_mhz * 1e6;
            assert!(time > fma / peak, "{framework} {call:?}: {time}");
            assert!(time > last, "{framework} {call:?}: {time} after {last}");
            last = time;
        }
    }
}

/// The cache is read once from memory where one tile has all rows; a second tile of rows finds it in L2.
#[test]
fn latent_kernels_read_their_cache() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let spec = gpu.spec().clone();
    for (heads, times) in [(16, 1.0), (128, 2.0)] {
        let call = LatentCall { batch: 32, heads, keys: 8192, ..LatentCall::default() };
        for kernel in [latent3(&call, &spec, true).remove(0), flashmla(&call, &spec, heads).remove(0)] {
            let cold = CacheState::Foreign { dirty: 0.2 };
            let got = simulate(&mut gpu, &kernel, &cold, Detail::DEFAULT).unwrap().traffic;
            let cache = 32.0 * 8192.0 * 1152.0;
            let received = got.crossbar_read_bytes as f64 / cache;
            assert!((received / times - 1.0).abs() < 0.03, "{}: {received:.3}", kernel.name);
        }
    }
}

/// Every block of every sequence is in exactly one part, in order, and parts have no more than their share.
#[test]
fn the_scheduler_deals_all_blocks_once() {
    for (blocks, parts) in
        [(vec![1], 132), (vec![1024; 256], 132), (vec![3, 1, 4096, 17, 17], 66), (vec![7; 1000], 132)]
    {
        let units = Units::deal(&blocks, parts);
        assert!(units.parts.len() <= parts as usize, "{} of {parts}", units.parts.len());
        let mut seen = vec![0; blocks.len()];
        for [sequence, first, n, of] in units.parts.iter().flatten() {
            let s = *sequence as usize;
            assert_eq!(*first, seen[s], "sequence {s} in order");
            assert!(*of < units.splits[s]);
            seen[s] += n;
        }
        assert_eq!(seen, blocks);
    }
}

/// Head sizes up to 512, values of another size, windows, caps and lengths that are no whole tiles have kernels on every device.
#[test]
fn attention_of_whole_models_has_kernels_everywhere() {
    for name in DEVICES {
        let spec = device(name).unwrap();
        for (head_dim, value_dim) in
            [(32, 0), (64, 0), (72, 0), (80, 0), (96, 0), (160, 0), (192, 128), (256, 0), (512, 0), (576, 512)]
        {
            for (queries, keys, window, causal) in
                [(1, 1, 0, true), (1, 3001, 1024, true), (7, 900, 0, true), (300, 300, 128, true), (77, 1500, 0, false)]
            {
                let a = Attention {
                    batch: 2,
                    heads: 8,
                    kv_heads: 2,
                    queries,
                    keys,
                    head_dim,
                    value_dim,
                    window,
                    causal,
                    soft_cap: true,
                    sinks: true,
                    dtype: Dtype::Fp16,
                    ..Attention::default()
                };
                let mut kernels = torch_sdpa(&a, &spec);
                for framework in Framework::ALL {
                    kernels.extend(frameworks::attention(framework, &AttentionCall::new(a, queries > 1), &spec));
                    kernels.extend(encoder(framework, &a, &spec));
                }
                for kernel in &kernels {
                    fits(kernel, &spec);
                }
            }
        }
    }
}

/// A window makes decode and prefill read and take less, a cap makes them take longer, if anything.
#[test]
fn windows_shrink_and_caps_cost() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let spec = gpu.spec().clone();
    let prompt = Attention {
        batch: 1,
        heads: 16,
        kv_heads: 8,
        queries: 4096,
        keys: 4096,
        head_dim: 256,
        ..Attention::default()
    };
    let token = Attention { batch: 16, queries: 1, keys: 16384, ..prompt };
    for framework in Framework::ALL {
        let mut time = |a: Attention| {
            seconds(&mut gpu, frameworks::attention(framework, &AttentionCall::new(a, a.queries > 1), &spec))
        };
        // TensorRT-LLM's windows of prompts go through another, slower kernel.
        for a in [prompt, token].into_iter().skip(usize::from(framework == Framework::Trtllm)) {
            let (full, local) = (time(a), time(Attention { window: 1024, ..a }));
            assert!(local < 0.7 * full, "{framework}: {local} with a window of {full}");
            assert!(time(Attention { soft_cap: true, ..a }) >= 0.999 * full, "{framework}: a cap of {full}");
        }
    }
}

/// PyTorch's parts as it launched them (kernel lists of whole models on an H200: grids of `flash_fwd_splitkv_kernel`).
#[test]
fn torch_splits_keys_as_its_launches_show() {
    let spec = device("h200").unwrap();
    let decode = |batch, heads, kv_heads, keys| Attention { batch, heads, kv_heads, keys, ..Attention::default() };
    for (a, parts) in [
        (decode(1, 32, 8, 1024), 8),
        (decode(1, 32, 8, 32768), 29),
        (decode(1, 40, 8, 1024), 8),
        (decode(1, 32, 4, 1024), 8),
        (decode(16, 32, 8, 2048), 2),
        (decode(64, 32, 8, 1024), 1),
        (decode(128, 32, 8, 4096), 1),
        (Attention { queries: 256, causal: false, head_dim: 72, ..decode(2, 16, 16, 256) }, 2),
        (Attention { queries: 2048, ..decode(1, 32, 32, 2048) }, 1),
    ] {
        assert_eq!(sdpa_parts(&a, &spec), parts, "{a:?}");
        let kernels = torch_sdpa(&a, &spec);
        assert_eq!(kernels.len(), if parts > 1 { 2 } else { 1 });
    }
    // Grids: parts times tiles; 4 rows a CTA of the kernel that joins, or 16 for heads of 96.
    let k = torch_sdpa(&decode(1, 32, 8, 32768), &spec);
    assert_eq!((k[0].grid, k[1].grid), (29 * 8, 8));
    let k = torch_sdpa(&Attention { queries: 256, causal: false, head_dim: 72, ..decode(2, 16, 16, 256) }, &spec);
    assert_eq!((k[0].grid, k[1].grid), (4 * 2 * 32, 512));
}

/// Runs of sequences in one launch have the work of all: never less than the longest by itself, never more than one after the other.
#[test]
fn ragged_runs_share_a_launch() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let spec = gpu.spec().clone();
    let run = |batch, queries, keys| Attention { batch, queries, keys, heads: 32, kv_heads: 8, ..Attention::default() };
    let varlen = Flash3 { varlen: true, paged: true, ..Flash3::default() };
    for runs in [
        vec![run(1, 2048, 2048), run(32, 1, 4096)],
        vec![run(4, 5, 8192), run(1, 300, 300), run(7, 1, 100)],
        vec![run(3, 1, 1000), run(3, 1, 64)],
    ] {
        for launches in [
            &(|a: &Attention| decode3(a, &spec, varlen, true)) as &dyn Fn(&Attention) -> Vec<Kernel>,
            &|a: &Attention| vec![flash3(a, &spec, varlen)],
            &|a: &Attention| vec![flash2(a, &spec)],
            &|a: &Attention| torch_sdpa(a, &spec),
        ] {
            let together = ragged(&runs, launches);
            for kernel in &together {
                fits(kernel, &spec);
            }
            let alone: Vec<f64> = runs.iter().map(|r| seconds(&mut gpu, launches(r))).collect();
            let time = seconds(&mut gpu, together);
            let (longest, sum) = (alone.iter().copied().fold(0.0, f64::max), alone.iter().sum::<f64>());
            assert!(time > 0.9 * longest && time < 1.15 * sum, "{runs:?}: {time}, alone {alone:?}");
        }
    }
    assert!(ragged(&[], |a| vec![flash2(a, &spec)]).is_empty());
}
