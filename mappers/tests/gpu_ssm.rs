//! Kernels of state-space models: they fit every device, take what their bytes and instructions take at least, and grow with their sizes.
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use std::sync::Arc;

use banksia_hw::gpu::program::{Kernel, Op};
use banksia_hw::gpu::sampling::{Detail, simulate};
use banksia_hw::gpu::{CATALOG, CacheState, Gpu, GpuSpec, device};
use banksia_mappers::gpu::launch::Item;
use banksia_mappers::gpu::ssm::*;

fn h200() -> GpuSpec {
    device("h200").unwrap()
}

fn kernels(items: Vec<Item>) -> Vec<Arc<Kernel>> {
    let kernel = |item| match item {
        Item::Kernel(launch) => {
            assert_eq!(launch.kernel.tensors.len(), launch.operands.len(), "{}", launch.kernel.name);
            launch.kernel
        }
        Item::Product(..) => unreachable!("no product is among them"),
    };
    items.into_iter().map(kernel).collect()
}

fn seconds(gpu: &mut Gpu, kernels: &[Arc<Kernel>]) -> f64 {
    let run = |gpu: &mut Gpu, k: &Arc<Kernel>| simulate(gpu, k, &CacheState::Empty, Detail::DEFAULT).unwrap().span_s;
    kernels.iter().map(|k| run(gpu, k)).sum()
}

fn scan(batch: u32, tokens: u32, heads: u32, chunk: u32) -> Ssd {
    Ssd {
        batch,
        tokens,
        heads,
        head_dim: 64,
        state: 128,
        groups: 1,
        chunk,
        element_bytes: 2,
        packed: true,
        step_pitch: heads,
        softplus: true,
        skip: true,
        gate: false,
        initial: false,
    }
}

fn update(batch: u32, heads: u32) -> StateUpdate {
    StateUpdate {
        batch,
        heads,
        head_dim: 64,
        state: 128,
        groups: 1,
        state_bytes: 4,
        element_bytes: 2,
        tied: true,
        gate: false,
    }
}

fn conv(batch: u32, tokens: u32, channels: u32, kernel: ConvKernel) -> ConvCall {
    ConvCall { batch, tokens, channels, taps: 4, silu: true, keep_state: true, kernel }
}

const CONVOLUTIONS: [ConvKernel; 3] = [ConvKernel::Triton, ConvKernel::ChannelFirst, ConvKernel::ChannelLast];
const STEPS: [ConvUpdateKernel; 3] = [ConvUpdateKernel::Fused, ConvUpdateKernel::General, ConvUpdateKernel::Operators];

/// All of a few odd sizes: single tokens, primes, heads wider than a tile, states that fill none.
fn all(spec: &GpuSpec) -> Vec<Arc<Kernel>> {
    let mut items = Vec::new();
    for s in [
        scan(1, 1, 1, 16),
        scan(3, 257, 5, 64),
        scan(1, 700, 4, 256),
        Ssd { head_dim: 24, state: 16, packed: false, gate: true, initial: true, ..scan(2, 100, 3, 32) },
        Ssd { head_dim: 128, state: 256, groups: 2, skip: false, ..scan(1, 300, 4, 128) },
        Ssd { head_dim: 64, state: 64, groups: 4, gate: true, ..scan(1, 4096, 8, 256) },
    ] {
        items.extend(ssd(&s, spec, &SsdNames::default()).unwrap());
    }
    for u in [
        update(1, 1),
        StateUpdate { heads: 1, head_dim: 5120, state: 16, tied: false, gate: true, ..update(7, 1) },
        StateUpdate { state: 7, head_dim: 3, state_bytes: 2, ..update(3, 6) },
        StateUpdate { state: 300, groups: 2, ..update(2, 4) },
    ] {
        items.extend(state_update(&u, spec, &StateUpdateNames::default()).unwrap());
    }
    for kernel in CONVOLUTIONS {
        for (b, t, c) in [(1, 1, 1), (2, 3, 65), (3, 1031, 130), (1, 2048, 64), (2, 513, 100)] {
            items.extend(causal_conv(&conv(b, t, c, kernel), spec, &ConvNames::default()).unwrap());
        }
    }
    for kernel in STEPS {
        for (batch, channels) in [(1, 1), (3, 1000), (64, 4352)] {
            let step = ConvUpdate { batch, channels, taps: 4, kernel };
            items.extend(conv_update(&step, spec, &ConvNames::default()).unwrap());
        }
    }
    for (tokens, state) in [(1, 1), (200, 16), (2500, 16)] {
        let s = SelectiveScan { batch: 2, tokens, channels: 17, state, groups: 1, gate: tokens > 1 };
        items.extend(selective_scan(&s, spec, &SelectiveNames::default()).unwrap());
        let d = Diagonal { batch: 2, tokens, channels: 100 };
        items.extend(diagonal_scan(&d, spec, &DiagonalNames::default()).unwrap());
        let w = Wkv { batch: 2, tokens, heads: 3, head_dim: 64, delta: tokens > 1, keep_state: true };
        items.extend(wkv(&w, spec, &WkvNames::default()).unwrap());
    }
    kernels(items)
}

#[test]
fn every_kernel_fits_every_device_and_ends() {
    for (name, _) in CATALOG {
        let spec = device(name).unwrap();
        let mut gpu = Gpu::new(spec.clone());
        for k in all(&spec) {
            assert!(gpu.accepts(&k).unwrap() >= 1, "{} on {}", k.name, spec.name);
            if spec.name == "h200" || spec.name == "v100" {
                let r = simulate(&mut gpu, &k, &CacheState::Empty, Detail::DEFAULT).unwrap();
                assert!(r.span_s > 0.0 && r.span_s < 1e-2, "{} on {}: {}", k.name, spec.name, r.span_s);
            }
        }
    }
}

#[test]
fn no_kernel_is_faster_than_its_bytes_and_its_products() {
    let spec = h200();
    let mut gpu = Gpu::new(spec.clone());
    let peak = spec.dram_peak_bytes_per_s();
    let u = update(64, 80);
    let t = seconds(&mut gpu, &kernels(state_update(&u, &spec, &StateUpdateNames::default()).unwrap()));
    // Half of them are read; what is written may stay in L2.
    assert!(t > u.bytes() as f64 / 2.0 / peak && t < 3.0 * u.bytes() as f64 / peak, "{t}");
    for kernel in CONVOLUTIONS {
        let c = conv(4, 2048, 4352, kernel);
        let bytes = 2.0 * 4.0 * 2048.0 * 4352.0;
        let t = seconds(&mut gpu, &kernels(causal_conv(&c, &spec, &ConvNames::default()).unwrap()));
        assert!(t > bytes / peak && t < 6.0 * bytes / peak, "{kernel:?}: {t}");
    }
    let s = scan(1, 4096, 32, 256);
    let tensor = spec.tensor_peak_flops_per_s(banksia_hw::gpu::program::Dtype::Bf16) / 2.0;
    let t = seconds(&mut gpu, &kernels(ssd(&s, &spec, &SsdNames::default()).unwrap()));
    assert!(t > s.fma() / tensor, "{t}");
}

#[test]
fn time_grows_with_sizes() {
    let spec = h200();
    let mut gpu = Gpu::new(spec.clone());
    let mut grows = |what: &str, calls: Vec<Vec<Item>>| {
        let times: Vec<f64> = calls.into_iter().map(|c| seconds(&mut gpu, &kernels(c))).collect();
        assert!(times.windows(2).all(|w| w[1] > w[0]), "{what}: {times:?}");
    };
    let scans = [scan(1, 512, 8, 256), scan(1, 2048, 8, 256), scan(1, 2048, 32, 256), scan(4, 2048, 32, 256)];
    grows("ssd", scans.iter().map(|s| ssd(s, &spec, &SsdNames::default()).unwrap()).collect());
    let updates = [update(1, 8), update(16, 8), update(16, 80), update(64, 80)];
    grows(
        "state update",
        updates.iter().map(|u| state_update(u, &spec, &StateUpdateNames::default()).unwrap()).collect(),
    );
    for kernel in CONVOLUTIONS {
        let calls = [conv(1, 256, 512, kernel), conv(1, 2048, 2048, kernel), conv(2, 2048, 2048, kernel)];
        let name = format!("{kernel:?}");
        grows(&name, calls.iter().map(|c| causal_conv(c, &spec, &ConvNames::default()).unwrap()).collect());
    }
    for kernel in STEPS {
        let calls = [1, 64, 512].map(|batch| ConvUpdate { batch, channels: 5376, taps: 4, kernel });
        let name = format!("{kernel:?}");
        grows(&name, calls.iter().map(|c| conv_update(c, &spec, &ConvNames::default()).unwrap()).collect());
    }
    // Up to 128 tokens are one turn of a warp.
    let tokens = [100, 700, 3000];
    let scan = |tokens| SelectiveScan { batch: 1, tokens, channels: 256, state: 16, groups: 1, gate: true };
    grows("selective", tokens.map(|t| selective_scan(&scan(t), &spec, &SelectiveNames::default()).unwrap()).to_vec());
    let d = |tokens| Diagonal { batch: 1, tokens, channels: 256 };
    grows("diagonal", tokens.map(|t| diagonal_scan(&d(t), &spec, &DiagonalNames::default()).unwrap()).to_vec());
    let w = |tokens| Wkv { batch: 1, tokens, heads: 4, head_dim: 64, delta: true, keep_state: true };
    grows("wkv", tokens.map(|t| wkv(&w(t), &spec, &WkvNames::default()).unwrap()).to_vec());
}

/// A sequence whose length is no multiple of 16 bytes is loaded number by number: more instructions, the same bytes.
#[test]
fn rows_that_are_not_aligned_take_longer() {
    let spec = h200();
    let mut gpu = Gpu::new(spec.clone());
    let mut time = |tokens| {
        let c = conv(8, tokens, 4096, ConvKernel::ChannelFirst);
        seconds(&mut gpu, &kernels(causal_conv(&c, &spec, &ConvNames::default()).unwrap()))
    };
    assert!(time(63) > 1.1 * time(64));
}

#[test]
fn what_kernels_do_not_take_is_said() {
    let spec = h200();
    let names = SsdNames::default();
    for (s, part) in [
        (Ssd { chunk: 48, ..scan(1, 64, 2, 64) }, "power of two"),
        (Ssd { head_dim: 100, ..scan(1, 64, 2, 64) }, "multiple of 64"),
        (Ssd { groups: 3, ..scan(1, 64, 4, 64) }, "groups must be alike"),
        (Ssd { tokens: 0, ..scan(1, 64, 4, 64) }, "tokens is 0"),
        (Ssd { batch: 1 << 20, tokens: 1 << 24, ..scan(1, 64, 4, 64) }, "elements"),
        (Ssd { batch: 1 << 19, ..scan(1, 64, 64, 64) }, "CTAs"),
    ] {
        let error = ssd(&s, &spec, &names).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let error = conv_update(
        &ConvUpdate { batch: 1, channels: 8, taps: 9, kernel: ConvUpdateKernel::Fused },
        &spec,
        &ConvNames::default(),
    );
    assert!(error.unwrap_err().contains("taps"));
    let error = state_update(&StateUpdate { state: u32::MAX, ..update(1, 1) }, &spec, &StateUpdateNames::default());
    assert!(error.unwrap_err().contains("state"));
}

/// Each kernel's tensors are all used, and no copy or store begins outside of its tensor.
#[test]
fn tiles_begin_inside_their_tensors() {
    for k in all(&h200()) {
        for op in k.roles.iter().flat_map(|r| &r.ops) {
            let (Op::Copy { tile, .. } | Op::Store { tile, .. }) = op else { continue };
            let tensor = &k.tensors[usize::from(tile.tensor)];
            for item in [&k.items[0], k.items.last().unwrap()] {
                let at = |e: &banksia_hw::gpu::program::Expr| {
                    e.base + e.work.iter().zip(item).map(|(c, x)| c * i64::from(*x)).sum::<i64>()
                };
                // Stages before the first step may lie beyond the last; taps before the first token before it.
                assert!(at(&tile.byte) < tensor.row_bytes as i64 + 64 * 256 * 4, "{}: {tile:?}", k.name);
                assert!(at(&tile.row) < tensor.rows as i64 + 256, "{}: {tile:?}", k.name);
            }
        }
    }
}
