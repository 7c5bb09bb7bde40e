//! What a launch is given and what it returns.

use serde::{Deserialize, Serialize};

use super::power::{EnergyParts, Work};
use super::program::{Kernel, KernelError};
use super::room::Room;
use super::spec::GpuSpec;
use super::traffic::Traffic;

/// What L2 holds when a kernel starts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum CacheState {
    /// Nothing: the cache was flushed.
    Empty,
    /// Other data everywhere, of which this share must be written back when it goes.
    Foreign {
        /// Share of lines that are dirty.
        dirty: f64,
    },
    /// What a ledger says that earlier kernels have left there.
    Held(L2Start),
    /// What the machine's last launch left there, if it was of matrices of the same sizes at the same grain; nothing otherwise.
    Left,
    /// The tensors of this list, in its order, as far as they fit, and other data elsewhere.
    Resident {
        /// Indices into the kernel's tensors, and whether they must be written back when they go.
        tensors: Vec<(usize, bool)>,
        /// Share of the other lines that are dirty.
        dirty: f64,
    },
}

/// The unit of shares in [`HeldTensor`].
pub const SIXTEENTHS: u64 = 16;
/// The unit of [`L2Start::others_dirty`].
pub(super) const DIRTY_UNITS: u64 = 128;

/// How much of a tensor lies in L2, in sixteenths: steps so coarse that equal launches begin alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
pub struct HeldTensor {
    /// Share of the tensor.
    pub share: u8,
    /// Share of that which must be written back when it goes.
    pub dirty: u8,
}

/// What L2 holds when a kernel starts: of its own tensors, and of others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct L2Start {
    /// Of each of the kernel's tensors.
    pub tensors: Vec<HeldTensor>,
    /// Share of the lines of other data that must be written back, in 128ths.
    pub others_dirty: u16,
}

/// What of a tensor lies in L2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInL2 {
    /// Bytes of it.
    pub bytes: u64,
    /// Those of them that must be written back.
    pub dirty_bytes: u64,
}

/// A GPU's links to its peers, taken together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeerLink {
    /// Bytes a second, in each direction.
    pub bytes_per_s: f64,
    /// From an SM's port until a peer that polls for it knows that it is there, nanoseconds.
    pub latency_ns: f64,
}

/// How one launch of a kernel is run.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchOptions {
    /// Bytes of a memory request: 128 follows every line, larger is faster.
    pub grain_bytes: u32,
    /// What L2 holds.
    pub cache: CacheState,
    /// The SM clock is no higher than this.
    pub clock_limit_mhz: f64,
    /// The links to peers that do the same.
    pub peer: Option<PeerLink>,
    /// Only the first so many work items are run.
    pub items: Option<usize>,
    /// What had happened when so many work items were done is kept, and when so many more.
    pub marks: Option<(usize, usize)>,
}

impl Default for LaunchOptions {
    fn default() -> Self {
        Self {
            grain_bytes: 16384,
            cache: CacheState::Foreign { dirty: 0.3 },
            clock_limit_mhz: f64::INFINITY,
            peer: None,
            items: None,
            marks: None,
        }
    }
}

/// Why a kernel cannot be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GpuError {
    /// The program is malformed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// No CTA fits an SM.
    #[error("kernel {kernel} does not fit one SM of {device}: {need}")]
    DoesNotFit {
        /// The kernel.
        kernel: String,
        /// The device.
        device: String,
        /// What is too much.
        need: String,
    },
    /// The device has no matrix units for a type.
    #[error("kernel {kernel} multiplies {dtype}, which {device} cannot")]
    NoSuchType {
        /// The kernel.
        kernel: String,
        /// The device.
        device: String,
        /// The type.
        dtype: &'static str,
    },
    /// The address space of the run is too large for the grain.
    #[error("kernel {kernel} {problem}")]
    TooLarge {
        /// The kernel.
        kernel: String,
        /// What is too large.
        problem: String,
    },
    /// A launch among others refers to what is not there.
    #[error("kernel {kernel} {problem}")]
    Submitted {
        /// The kernel.
        kernel: String,
        /// What is wrong.
        problem: String,
    },
    /// The kernel stores to a peer, and there is none.
    #[error("kernel {kernel} reaches into a peer's memory, and {device} has no links here")]
    NoPeer {
        /// The kernel.
        kernel: String,
        /// The device.
        device: String,
    },
    /// CTAs wait for each other.
    #[error("kernel {kernel} stops: {waiting} roles wait for barriers that no one completes")]
    Deadlock {
        /// The kernel.
        kernel: String,
        /// Roles that wait.
        waiting: usize,
    },
}

/// What one launch did.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct KernelResult {
    /// From the launch's first moment to its last store in L2, without the gap between launches.
    pub span_s: f64,
    /// With the gap of a CUDA graph: the interval of such kernels in a row.
    pub latency_s: f64,
    /// Bytes moved.
    pub traffic: Traffic,
    /// Work of the SMs.
    pub work: Work,
    /// Energy over `latency_s`.
    pub energy: EnergyParts,
    /// Average SM clock.
    pub clock_mhz: f64,
    /// CTAs that fit one SM.
    pub ctas_per_sm: u32,
    /// Share of the matrix units' time, over all SMs.
    pub tensor_busy: f64,
    /// Share of L2's busiest half's time.
    pub l2_busy: f64,
    /// Share of the channels' time.
    pub dram_busy: f64,
    /// Average warps resident on an SM while any is, of its most.
    pub occupancy: f64,
    /// Ops executed.
    pub steps: u64,
    /// Not all of the launch was run: the rest follows from what was.
    pub continued: bool,
    /// What had happened when the items of [`LaunchOptions::marks`] were done.
    pub progress: Option<[Progress; 2]>,
}

/// A launch when some of its work items were done.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Seconds from the start.
    pub at_s: f64,
    /// Bytes moved until then.
    pub traffic: Traffic,
    /// Work of the SMs until then.
    pub work: Work,
    /// Its energy, without what runs whatever the kernel does.
    pub energy: EnergyParts,
}

/// CTAs of a kernel that fit one SM of a device together.
///
/// # Errors
/// Not even one does.
pub fn occupancy(spec: &GpuSpec, kernel: &Kernel) -> Result<u32, GpuError> {
    let sm = &spec.sm;
    let fail =
        |need: String| Err(GpuError::DoesNotFit { kernel: kernel.name.clone(), device: spec.name.clone(), need });
    if kernel.shared_bytes > sm.shared_memory_per_cta_bytes {
        return fail(format!("{} bytes of shared memory of {}", kernel.shared_bytes, sm.shared_memory_per_cta_bytes));
    }
    let n = Room::of_sm(sm).holds(&Room::of_cta(sm, kernel));
    if n == 0 {
        return fail(format!("{} threads of {} registers", kernel.threads, kernel.registers));
    }
    Ok(n)
}
