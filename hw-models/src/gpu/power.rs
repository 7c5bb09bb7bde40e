//! Energy by cause, and what limits the SM clock.

use serde::{Deserialize, Serialize};

use super::program::Dtype;
use super::spec::GpuSpec;

/// What the SMs did, for energy and for counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Multiply-adds of the warpgroup path, weighted by operand bytes over two.
    pub tensor_weighted_fma: f64,
    /// The same of the synchronous path.
    pub tensor_sync_weighted_fma: f64,
    /// Multiply-adds of the matrix units, unweighted.
    pub tensor_fma: f64,
    /// Lanes of all instructions issued, whatever they do.
    pub issued_lanes: f64,
    /// Lane operations of the FMA and integer lanes.
    pub vector_ops: f64,
    /// Special-function lane operations.
    pub sfu_ops: f64,
    /// Bytes through shared memory.
    pub shared_bytes: f64,
}

impl Work {
    /// Each count from those of some launches.
    pub fn combine<const N: usize>(all: [&Self; N], f: impl Fn([f64; N]) -> f64) -> Self {
        Self {
            tensor_weighted_fma: f(all.map(|w| w.tensor_weighted_fma)),
            tensor_sync_weighted_fma: f(all.map(|w| w.tensor_sync_weighted_fma)),
            tensor_fma: f(all.map(|w| w.tensor_fma)),
            issued_lanes: f(all.map(|w| w.issued_lanes)),
            vector_ops: f(all.map(|w| w.vector_ops)),
            sfu_ops: f(all.map(|w| w.sfu_ops)),
            shared_bytes: f(all.map(|w| w.shared_bytes)),
        }
    }
}

/// Energy of a launch by cause, in joules. They add up to the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EnergyParts {
    /// Leakage, clocks and everything that runs whatever the kernel does.
    pub idle_j: f64,
    /// Matrix units.
    pub tensor_j: f64,
    /// Instructions: issue, registers, lanes.
    pub vector_j: f64,
    /// Shared memory, and hits in L1, which is the same memory.
    pub shared_j: f64,
    /// L2 and crossbar.
    pub l2_j: f64,
    /// Device memory.
    pub dram_j: f64,
}

impl EnergyParts {
    /// The sum.
    pub fn total_j(&self) -> f64 {
        self.idle_j + self.tensor_j + self.vector_j + self.shared_j + self.l2_j + self.dram_j
    }

    /// Each part from those of some launches.
    pub fn combine<const N: usize>(all: [&Self; N], f: impl Fn([f64; N]) -> f64) -> Self {
        Self {
            idle_j: f(all.map(|e| e.idle_j)),
            tensor_j: f(all.map(|e| e.tensor_j)),
            vector_j: f(all.map(|e| e.vector_j)),
            shared_j: f(all.map(|e| e.shared_j)),
            l2_j: f(all.map(|e| e.l2_j)),
            dram_j: f(all.map(|e| e.dram_j)),
        }
    }
}

/// The operand width that energy scales with, relative to 16 bits.
pub(crate) fn width_factor(dtype: Dtype) -> f64 {
    f64::from(dtype.bits()) / 16.0
}

/// Energy of work done at a clock: voltage goes with the clock, so switching energy with its square. The device memory
/// and the crossbar's far side keep theirs.
pub(crate) fn energy(
    spec: &GpuSpec,
    work: &Work,
    traffic: &super::traffic::Traffic,
    seconds: f64,
    clock_mhz: f64,
) -> EnergyParts {
    let p = &spec.power;
    let v2 = (clock_mhz / p.reference_clock_mhz).powi(2);
    let pj = 1e-12;
    let crossbar = (traffic.crossbar_read_bytes + traffic.crossbar_write_bytes) as f64;
    let slices = (traffic.l2_read_bytes + traffic.l2_write_bytes) as f64;
    EnergyParts {
        idle_j: p.active_idle_w * seconds,
        tensor_j: pj
            * v2
            * (work.tensor_weighted_fma * p.tensor_pj_per_fma
                + work.tensor_sync_weighted_fma * p.tensor_sync_pj_per_fma),
        vector_j: pj
            * v2
            * (work.issued_lanes * p.issue_pj_per_lane
                + work.vector_ops * p.vector_pj_per_op
                + work.sfu_ops * p.sfu_pj_per_op),
        shared_j: pj * v2 * (work.shared_bytes + traffic.l1_hit_bytes as f64) * p.shared_pj_per_byte,
        l2_j: pj * v2 * (crossbar * p.crossbar_pj_per_byte + slices * p.l2_pj_per_byte),
        dram_j: pj * (traffic.dram_read_bytes + traffic.dram_write_bytes) as f64 * p.dram_pj_per_byte,
    }
}
