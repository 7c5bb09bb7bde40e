//! The simulated H200 runs FlashAttention-2 and -3 programs against the same kernels on the chip
//! (`tests/reference/gpu/device_attention.csv`: graph replays, warm).
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use std::collections::BTreeMap;

use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::{CacheState, Gpu, device};
use banksia_mappers::gpu::attention::{Attention, Flash3, decode3, fill, flash2, flash3, prepare_varlen};
use banksia_mappers::gpu::simulate::{Detail, simulate_steps};

fn launches(kind: &str, a: &Attention, gpu: &Gpu) -> Option<Vec<Kernel>> {
    let spec = gpu.spec();
    let varlen = |paged| Flash3 { varlen: true, paged, ..Flash3::default() };
    Some(match kind {
        "fa2-causal" | "fa2-full" => vec![flash2(a, spec)],
        "fa3-full" => vec![flash3(a, spec, Flash3::default())],
        "fa3-causal" | "fa3-window" => vec![fill(), flash3(a, spec, Flash3::default())],
        "fa3-varlen" => vec![prepare_varlen(a.batch), flash3(a, spec, varlen(false))],
        "fa3-varlen-paged" => vec![prepare_varlen(a.batch), flash3(a, spec, varlen(true))],
        "fa3-decode-one" => decode3(a, spec, Flash3::default(), false),
        "fa3-decode" => decode3(a, spec, Flash3::default(), true),
        "fa3-decode-paged-varlen" => {
            let mut k = decode3(a, spec, varlen(true), true);
            k.insert(0, prepare_varlen(a.batch));
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
        };
        let Some(kernels) = launches(f[0], &a, &gpu) else { continue };
        let measured: f64 = f[8].parse().unwrap();
        let steps: Vec<_> = kernels
            .into_iter()
            .map(|k| {
                let tensors = (0..k.tensors.len()).map(|t| (t, t + 1 == k.tensors.len())).collect();
                (k, CacheState::Resident { tensors, dirty: 0.2 })
            })
            .collect();
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
