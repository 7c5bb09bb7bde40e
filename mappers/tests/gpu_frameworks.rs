//! What frameworks launch runs on every GPU of the catalog in a type that it multiplies.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::{Detail, simulate_steps};
use banksia_hw::gpu::{CATALOG, Gpu, GpuError, device};
use banksia_mappers::gpu::attention::{Attention, replayed};
use banksia_mappers::gpu::frameworks::{AttentionCall, Framework, attention};

#[test]
fn half_precision_generates_on_every_device() {
    for (name, _) in CATALOG {
        let mut gpu = Gpu::new(device(name).unwrap());
        for framework in Framework::ALL {
            for (queries, keys, kv_bytes) in [(1, 9, 2), (1, 2000, 2), (1, 500, 1), (128, 128, 2)] {
                let a = Attention {
                    batch: 2,
                    heads: 8,
                    kv_heads: 4,
                    queries,
                    keys,
                    head_dim: 64,
                    causal: true,
                    window: 0,
                    dtype: Dtype::Fp16,
                    kv_bytes,
                    ..Attention::default()
                };
                let steps = replayed(attention(framework, &AttentionCall::new(a, queries > 1), gpu.spec()));
                let run = simulate_steps(&mut gpu, &steps, Detail::DEFAULT, f64::INFINITY);
                // Not every framework has kernels that fit every device; PyTorch does.
                match run {
                    Ok(o) => assert!(o.latency_s > 0.0),
                    Err(GpuError::DoesNotFit { .. }) => assert_ne!(framework, Framework::Torch, "{name}, {keys} keys"),
                    Err(e) => panic!("{name} {framework} {keys} keys: {e}"),
                }
            }
        }
    }
}
