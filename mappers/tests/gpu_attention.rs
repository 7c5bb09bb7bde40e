//! The simulated H200 runs FlashAttention-2 and -3 programs against the same kernels on the chip
//! (`tests/reference/gpu/device_attention.csv`: graph replays, warm).
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use std::collections::BTreeMap;

use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::sampling::{Detail, simulate, simulate_steps};
use banksia_hw::gpu::{CacheState, Gpu, device};
use banksia_mappers::gpu::attention::{
    Attention, Flash3, decode2, decode3, fill, flash2, flash3, flash3_sync, grouped_decode, grouped_decode_hopper,
    head_decode, prepare_varlen, replayed,
};

fn launches(kind: &str, a: &Attention, gpu: &Gpu) -> Option<Vec<Kernel>> {
    let spec = gpu.spec();
    let varlen = |paged| Flash3 { varlen: true, paged, ..Flash3::default() };
    Some(match kind {
        "fa2-causal" | "fa2-full" => vec![flash2(a, spec)],
        "fa3-full" => vec![flash3(a, spec, Flash3::default())],
        "fa3-causal" | "fa3-window" => vec![fill(spec), flash3(a, spec, Flash3::default())],
        "fa3-varlen" => vec![prepare_varlen(spec, a.batch), flash3(a, spec, varlen(false))],
        "fa3-varlen-paged" => vec![prepare_varlen(spec, a.batch), flash3(a, spec, varlen(true))],
        "fa3-decode-one" => decode3(a, spec, Flash3::default(), false),
        "fa3-decode" => decode3(a, spec, Flash3::default(), true),
        "fa3-decode-paged-varlen" => {
            let mut k = decode3(a, spec, varlen(true), true);
            k.insert(0, prepare_varlen(spec, a.batch));
            k
        }
        _ => return None,
    })
}

#[test]
fn flash_attention_takes_the_time_that_it_takes_on_the_chip() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let text = include_str!("../../tests/reference/gpu/device_attention.csv");
    let mut errors: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for line in text.lines().skip(2) {
        let f: Vec<&str> = line.split(',').collect();
        let n = |i: usize| f[i].parse::<u32>().unwrap();
        if n(4) > 4096 {
            continue;
        }
        let a = Attention {
            batch: n(1),
            heads: n(2),
            kv_heads: n(3),
            queries: n(4),
            keys: n(5),
            head_dim: n(6),
            causal: !f[0].ends_with("full"),
            window: n(7),
            dtype: Dtype::Bf16,
            kv_bytes: 2,
            ..Attention::default()
        };
        let Some(kernels) = launches(f[0], &a, &gpu) else { continue };
        let measured: f64 = f[8].parse().unwrap();
        let steps = replayed(kernels);
        let got = simulate_steps(&mut gpu, &steps, Detail::DEFAULT, f64::INFINITY).unwrap();
        let error = (got.latency_s * 1e6 / measured - 1.0) * 100.0;
        println!("{line} {:.2} {error:+.1}% {:.0} MHz", got.latency_s * 1e6, got.clock_mhz);
        errors.entry(f[0]).or_default().push(error);
    }
    for (kind, e) in &errors {
        let mape = e.iter().map(|x| x.abs()).sum::<f64>() / e.len() as f64;
        let bias = e.iter().sum::<f64>() / e.len() as f64;
        println!("{kind}: {} rows, mean error {mape:.1} %, bias {bias:+.1} %", e.len());
        assert!(mape <= 15.0, "{kind}: {mape:.1} %");
    }
}

/// What SMs receive is what the tiles of queries and the keys that they see amount to, and nothing beyond a sequence: the
/// counts of the kernel itself (`device_flash2.csv`).
#[test]
fn flash_attention_2_reads_what_is_there() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let text = include_str!("../../tests/reference/gpu/device_flash2.csv");
    for (batch, heads, keys, head_dim, causal, name) in [
        (8, 32, 1024, 128, false, "8x32 heads 1024 keys size 128"),
        (8, 32, 1024, 128, true, "8x32 heads 1024 keys size 128 causal"),
        (16, 16, 1024, 64, false, "16x16 heads 1024 keys size 64"),
        (64, 16, 257, 64, true, "64x16 heads 257 keys size 64 causal"),
        (64, 16, 256, 64, true, "64x16 heads 256 keys size 64 causal"),
    ] {
        let count = |quantity: &str| {
            let row = text.lines().find(|l| l.starts_with(&format!("{name},{quantity},")) && l.ends_with("sectors"));
            row.unwrap().split(',').nth(2).unwrap().parse::<f64>().unwrap() * 32.0
        };
        let a = Attention {
            batch,
            heads,
            kv_heads: heads,
            queries: keys,
            keys,
            head_dim,
            causal,
            window: 0,
            dtype: Dtype::Bf16,
            kv_bytes: 2,
            ..Attention::default()
        };
        let kernel = flash2(&a, gpu.spec());
        let got = simulate(&mut gpu, &kernel, &CacheState::Foreign { dirty: 0.2 }, Detail::DEFAULT).unwrap().traffic;
        let received = got.crossbar_read_bytes as f64 / count("received by SMs");
        assert!((received - 1.0).abs() < 0.01, "{name}: {received:.3}");
        let written = got.crossbar_write_bytes as f64 / count("written to L2 by SMs");
        println!("{name}: received {received:.3}, written {written:.3}");
        // Where lengths are not whole tiles the compiled kernel spills more beside its blocks.
        assert!(written > 0.65 && written < 1.05, "{name}: {written:.3}");
    }
}

/// Decode reads each key and value once into the SMs, whatever the kernel and the parts, and queries and parts beside them.
/// Of a cache of keys only memory gives half.
#[test]
fn decode_reads_its_cache_once() {
    let cold = CacheState::Foreign { dirty: 0.2 };
    let case = |batch, heads, kv_heads, keys, kv_bytes| Attention {
        batch,
        heads,
        kv_heads,
        queries: 1,
        keys,
        head_dim: 128,
        causal: true,
        window: 0,
        dtype: Dtype::Bf16,
        kv_bytes,
        ..Attention::default()
    };
    for (device_name, a) in [
        ("a100", case(8, 16, 4, 8192, 2)),
        ("a100", case(300, 8, 8, 1000, 2)),
        ("a100", case(2, 32, 8, 16384, 2)),
        ("h200", case(16, 64, 8, 4096, 1)),
    ] {
        let mut gpu = Gpu::new(device(device_name).unwrap());
        let spec = gpu.spec().clone();
        let cache = f64::from(a.batch * a.kv_heads) * f64::from(a.keys) * f64::from(2 * 128 * a.kv_bytes);
        let mut run = |kernels: Vec<Kernel>| {
            // The first of the kernels that is not a copy of the queries.
            let kernel = kernels.into_iter().find(|k| k.name.contains("decode") || k.name.contains("flash")).unwrap();
            simulate(&mut gpu, &kernel, &cold, Detail::DEFAULT).unwrap().traffic
        };
        let mut kinds = vec![("lanes", vec![head_decode(&a, &spec, false)])];
        if a.group() > 1 {
            kinds.push(("shared keys", vec![grouped_decode(&a, &spec, false)]));
        }
        if device_name == "h200" {
            kinds.push(("warpgroups", vec![grouped_decode_hopper(&a, &spec)]));
        } else {
            kinds.push(("version 2", decode2(&a, &spec)));
            kinds.push(("version 3", flash3_sync(&a, &spec)));
        }
        for (kind, kernels) in kinds {
            // The kernel on the lanes reads keys for each of the heads that share them.
            let times = if kind == "lanes" { f64::from(a.group()) } else { 1.0 };
            let read = run(kernels).crossbar_read_bytes as f64 / cache / times;
            println!("{device_name} {kind} {a:?}: {read:.3}");
            assert!((0.995..1.12).contains(&read), "{device_name} {kind}: {read:.3}");
        }
        if device_name == "a100" && a.group() > 1 {
            let (both, one) = (grouped_decode(&a, &spec, false), grouped_decode(&a, &spec, true));
            let share = run(vec![one]).dram_read_bytes as f64 / run(vec![both]).dram_read_bytes as f64;
            assert!((0.49..0.55).contains(&share), "keys only: {share:.3} of memory's bytes");
        }
    }
}
