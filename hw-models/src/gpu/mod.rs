//! GPUs: kernels as tile programs, run by CTAs on SMs over a crossbar, a sliced L2 and channels of device memory.
//!
//! A [`Kernel`](program::Kernel) says what every CTA does; a [`Gpu`] runs it event by event. Pipelines,
//! waves, sharing of bandwidth and reuse in L2 are not coefficients here: they come out of CTAs that wait for barriers,
//! units that serve one request after another, and a cache that holds what was last touched. `docs/gpu.md` describes
//! the machine and where every number comes from.

mod cache;
mod dram_timings;
pub mod estimate;
mod executor;
mod instructions;
mod lanes;
mod launch;
mod ledger;
pub mod machine;
mod memory;
mod power;
pub mod program;
mod room;
pub mod sampling;
pub mod spec;
#[cfg(test)]
mod tests;
mod together;
mod traffic;
mod units;

pub use cache::{Cached, LaunchCache};
pub use dram_timings::DramTimings;
pub use executor::GpuExecutor;
pub use launch::{
    CacheState, GpuError, HeldTensor, KernelResult, L2Start, LaunchOptions, PeerLink, Progress, SIXTEENTHS, TensorInL2,
    occupancy,
};
pub use machine::Gpu;
pub use power::{EnergyParts, Work};
pub use spec::{CATALOG, GpuSpec, catalog, device};
pub use together::{Ran, Submitted, Together};
pub use traffic::Traffic;
