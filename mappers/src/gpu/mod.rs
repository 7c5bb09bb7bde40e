//! Kernels of transformers as tile programs for the GPU machine, and the choice among them.

pub mod attention;
pub mod collective;
pub mod cutlass;
pub mod frameworks;
pub mod fused;
pub mod gemm;
pub mod gemv;
pub mod latent;
pub mod launch;
pub mod layers;
pub mod libraries;
pub mod linear;
pub mod low_bit;
pub mod model;
pub mod moe;
pub mod multistage;
pub mod probes;
pub mod quantise;
pub mod raster;
pub mod routing;
pub mod rows;
pub mod select;
pub mod ssm;
pub mod streams;
pub mod training;
pub mod umma;

pub use model::GpuMapper;

use banksia_hw::gpu::program::{Multicast, Op, Path, Role, Tile, VectorWork};

/// Registers of a thread that simple kernels take, as compilers give them (32 to 40 in `counters.csv`).
pub(crate) const PLAIN_REGISTERS: u32 = 32;

pub(crate) fn copy(tile: Tile, path: Path, barrier: u8) -> Op {
    Op::Copy { tile, path, multicast: Multicast::NONE, barrier }
}

pub(crate) fn one_role(warps: u32, ops: Vec<Op>) -> Vec<Role> {
    vec![Role { warps, ops }]
}

/// Lane work of `n` elements: so many FMA, integer and special-function lane operations each, and the warp instructions
/// that carry them besides (`other`: loads, conversions, addresses).
pub(crate) fn lanes(n: f64, fma: f64, alu: f64, sfu: f64, other: f64) -> VectorWork {
    VectorWork {
        issue: n * (fma + alu + sfu + other) / 32.0,
        fma: n * fma,
        alu: n * alu,
        sfu: n * sfu,
        shared_bytes: 0.0,
        latency_cycles: 20.0,
        ..VectorWork::default()
    }
}

/// Cycles of a reduction over the warps of a CTA: five shuffles, shared memory, and five more, each a dependent step.
pub(crate) fn reduction(warps: u32) -> VectorWork {
    let w = f64::from(warps);
    VectorWork {
        issue: w * 14.0,
        shared_bytes: w * 8.0,
        latency_cycles: 10.0 * 24.0 + 2.0 * 29.0,
        ..VectorWork::default()
    }
}
