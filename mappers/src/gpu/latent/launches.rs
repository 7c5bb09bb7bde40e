//! What frameworks launch beside a latent attention.

use banksia_hw::gpu::program::{Kernel, Op};
use banksia_hw::gpu::spec::GpuSpec;

use super::LatentCall;
use crate::gpu::attention::setup;
use crate::gpu::rows::{ElementWork, Elementwise, elementwise};

/// An elementwise kernel that reads and writes as many elements of two bytes.
fn moved(spec: &GpuSpec, name: &str, elements: u64, work: ElementWork) -> Kernel {
    let e = Elementwise { elements: elements.max(1), inputs: 1, element_bytes: 2, per_cta: 1024, threads: 128, work };
    let mut k = elementwise(&e);
    k.name = name.into();
    k.roles[0].ops.insert(0, setup(spec));
    k
}

/// Latent vectors and rotated keys of new tokens into the cache: a slot's number is loaded, then the row, and it is stored.
pub(super) fn cache_write(call: &LatentCall, spec: &GpuSpec) -> Kernel {
    let elements = u64::from(call.tokens()) * u64::from(call.width());
    let work = ElementWork { fma: 0.0, alu: 4.0, sfu: 0.0, other: 2.0, stall: 2.5 };
    let mut k = moved(spec, "latent cache write", elements, work);
    let ops = &mut k.roles[0].ops;
    let load = ops[1];
    ops.splice(0..0, [load, Op::Wait(0)]);
    k
}

/// Rotates parts of so many elements of each head's vectors: sines and cosines are read before, pairs are exchanged between lanes.
pub(super) fn rotated(spec: &GpuSpec, elements: u64) -> Kernel {
    let work = ElementWork { fma: 2.0, alu: 6.0, sfu: 0.0, other: 3.0, stall: 2.5 };
    let mut k = moved(spec, "rotate and assign", elements, work);
    let ops = &mut k.roles[0].ops;
    let load = ops[1];
    ops.splice(0..0, [load, Op::Wait(0)]);
    k
}

/// Puts parts of vectors of each head one behind the other, element by element over tensors of three dimensions (PyTorch's `cat`).
pub(super) fn concatenated(spec: &GpuSpec, elements: u64) -> Kernel {
    let work = ElementWork { fma: 0.0, alu: 20.0, sfu: 0.0, other: 4.0, stall: 2.5 };
    moved(spec, "concatenate", elements, work)
}

/// A copy as it is.
pub(super) fn copied(spec: &GpuSpec, elements: u64) -> Kernel {
    let work = ElementWork { fma: 0.0, alu: 2.0, sfu: 0.0, other: 2.0, stall: 2.5 };
    moved(spec, "copy", elements, work)
}
