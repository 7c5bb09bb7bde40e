//! What frameworks launch beside attention.

use banksia_hw::gpu::CacheState;
use banksia_hw::gpu::program::{Kernel, Op};
use banksia_hw::gpu::spec::GpuSpec;

use super::Attention;
use super::flash2::setup;
use crate::gpu::rows::{ElementWork, Elementwise, elementwise};

/// An elementwise kernel with a set-up.
fn set_up(spec: &GpuSpec, name: &str, e: &Elementwise) -> Kernel {
    let mut k = elementwise(e);
    k.name = name.into();
    k.roles[0].ops.insert(0, setup(spec));
    k
}

fn small(spec: &GpuSpec, name: &str, elements: u64, inputs: u32) -> Kernel {
    let work = ElementWork { fma: 0.0, alu: 4.0, sfu: 0.0, other: 2.0, stall: 2.5 };
    let elements = elements.max(1);
    set_up(spec, name, &Elementwise { elements, inputs, element_bytes: 2, per_cta: 1024, threads: 128, work })
}

/// Kernels launched again and again on the same operands: each finds in L2 what fits, what it wrote last time dirty.
pub fn replayed(kernels: Vec<Kernel>) -> Vec<(Kernel, CacheState)> {
    let state = |k: Kernel| {
        let tensors = (0..k.tensors.len()).map(|t| (t, t + 1 == k.tensors.len())).collect();
        (k, CacheState::Resident { tensors, dirty: 0.2 })
    };
    kernels.into_iter().map(state).collect()
}

/// A small kernel: three dependent loads and a store.
pub fn auxiliary(spec: &GpuSpec, elements: u64) -> Kernel {
    let mut k = small(spec, "auxiliary", elements, 1);
    let ops = &mut k.roles[0].ops;
    let load = ops[1];
    for _ in 0..2 {
        ops.splice(0..0, [load, Op::Wait(0)]);
    }
    k
}

/// Sets a counter, without a set-up of its own.
pub fn fill(spec: &GpuSpec) -> Kernel {
    let mut k = small(spec, "fill", 32, 0);
    k.roles[0].ops.remove(0);
    k
}

/// FlashAttention-3's `prepare_varlen_num_blocks`: one CTA scans the lengths. `device_attention.csv`: 1.6 us longer than a
/// fill for up to 31 sequences, 2.8 us for 64 and more (a warp takes 31, and several warps exchange sums).
pub fn prepare_varlen(spec: &GpuSpec, batch: u32) -> Kernel {
    let mut k = small(spec, "prepare varlen", 32, 1);
    k.roles[0].ops.insert(0, Op::Delay(if batch > 31 { 2300.0 } else { 1100.0 }));
    k
}

/// New keys and values into the pages of the cache: a slot number is loaded, then the rows, and they are stored.
/// With `queries` these pass through it too: they are rotated.
pub fn cache_write(a: &Attention, spec: &GpuSpec, queries: bool) -> Kernel {
    let heads = 2 * a.kv_heads + if queries { a.heads } else { 0 };
    let new = u64::from(a.batch) * u64::from(heads) * u64::from(a.queries) * u64::from(a.head_dim);
    let mut k = small(spec, "cache write", new, 1);
    let ops = &mut k.roles[0].ops;
    let load = ops[1];
    ops.splice(0..0, [load, Op::Wait(0)]);
    k
}

/// Queries to eight bits by a scale that is known.
pub fn quantise_queries(a: &Attention, spec: &GpuSpec) -> Kernel {
    let elements = u64::from(a.batch) * u64::from(a.heads) * u64::from(a.queries) * u64::from(a.head_dim);
    small(spec, "quantise queries", elements, 1)
}

/// PyTorch's copy between tensors of different order: a CTA of 128 threads takes 512 elements one by one, and finds where
/// each lies by divisions by multiplication: three or four dimensions of two tensors, six instructions each.
pub(super) fn rearranged(spec: &GpuSpec, elements: u64, bytes: u32) -> Kernel {
    let work = ElementWork { fma: 0.0, alu: 40.0, sfu: 0.0, other: 8.0, stall: 2.5 };
    let elements = elements.max(1);
    let e = Elementwise { elements, inputs: 1, element_bytes: bytes, per_cta: 512, threads: 128, work };
    set_up(spec, "rearrange", &e)
}

/// A copy of so many elements of two bytes as they are.
pub(super) fn copied(spec: &GpuSpec, elements: u64) -> Kernel {
    small(spec, "copy", elements, 1)
}
