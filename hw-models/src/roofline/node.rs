//! A node of GPUs as AttAcc's and Pimba's own simulators have one: a roofline with fixed shares of its peaks, traffic by a search of tiles, and straight lines
//! for element-wise work and for the exchange between GPUs.
//!
//! It is there to reproduce what was published on it and to set the PIM part beside theirs on equal ground; it is not this project's model of those GPUs. Every
//! figure is in the node's file. The two simulators share the tile search; where they differ, the file says which form holds.

use banksia_input::{InputError, Source};
use serde::{Deserialize, Serialize};

pub use super::tiles::Sizes;
use super::tiles::{Caches, busy, traffic};

/// A node: GPUs that share the work evenly, the links between them, and what may stand beside them.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RooflineNode {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Where the figures come from.
    pub source: String,
    /// GPUs.
    pub gpus: u32,
    /// One of them.
    pub gpu: GpuRoofline,
    /// The link of a GPU.
    pub link: LinkLine,
    /// Times of element-wise work.
    pub elementwise: Elementwise,
    /// Energy of a GPU.
    pub energy: GpuEnergy,
    /// A host that computes attention in place of the GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostRoofline>,
    /// The stacks of a GPU's own memory, where units may be in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stacks: Option<MemoryStacks>,
}

/// Stacks of a GPU's memory.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryStacks {
    /// Stacks of a GPU.
    pub count: u32,
    /// Channels of a stack.
    pub channels: u32,
    /// Their clock, which cycles of the units are counted in.
    pub clock_mhz: f64,
    /// Requests that a channel's controller holds.
    pub queue: u32,
}

/// A GPU.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GpuRoofline {
    /// Peak arithmetic at 16 bits, multiply and add counted as two.
    pub peak_tflop_per_s: f64,
    /// Peak rate of its memory.
    pub bandwidth_gb_per_s: f64,
    /// Share of the arithmetic that is reached, where every SM has work.
    pub compute_share: f64,
    /// Likewise of the memory's rate.
    pub memory_share: f64,
    /// SMs.
    pub sms: u32,
    /// Bytes near an SM that a tile fits in.
    pub l1_bytes: f64,
    /// Bytes of the cache that a larger tile fits in.
    pub l2_bytes: f64,
    /// Sides of tiles that are tried.
    pub tiles: Vec<f64>,
    /// Bytes of its memory.
    pub memory_gib: f64,
}

/// The link between GPUs, as a straight line through measured messages.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LinkLine {
    /// Rate of a GPU's links, both ways together.
    pub gb_per_s: f64,
    /// Time of an empty message.
    pub latency_ns: f64,
    /// Time for each byte of a message, at `measured_gb_per_s`.
    pub ns_per_byte: f64,
    /// The rate of the links that `ns_per_byte` was measured on.
    pub measured_gb_per_s: f64,
    /// How an all-reduce is done.
    pub all_reduce: AllReduce,
}

/// Steps of an all-reduce over some GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AllReduce {
    /// One step less than there are GPUs, of a share each: half of a ring's steps.
    Shares,
    /// As many steps as the GPUs can be halved, of the whole each.
    Halving,
}

/// Straight lines of element-wise work: `us` and so much for each byte that goes to or from memory, at a rate of `at_gb_per_s`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Elementwise {
    /// The memory's rate that the slopes hold at.
    pub at_gb_per_s: f64,
    /// Activations.
    pub activation: Line,
    /// Norms.
    pub norm: Line,
    /// Softmax, where it is such a line; otherwise it is bounded by memory as a product is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softmax: Option<Line>,
}

/// A straight line.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Microseconds of no bytes.
    pub us: f64,
    /// Microseconds of each byte.
    pub us_per_byte: f64,
}

/// Picojoules by byte, and by multiplication and addition.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GpuEnergy {
    /// Registers, for each operand of a multiplication.
    pub register_pj: f64,
    /// Near an SM.
    pub l1_pj_per_byte: f64,
    /// The shared cache.
    pub l2_pj_per_byte: f64,
    /// Memory.
    pub memory_pj_per_byte: f64,
    /// A multiplication and an addition.
    pub mac_pj: f64,
    /// The link.
    pub link_pj_per_byte: f64,
    /// What an exchange pays by byte: the link at every GPU, or the memory of one.
    pub exchange: Exchange,
}

/// See [`GpuEnergy::exchange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exchange {
    /// Every GPU sends all of it over its link.
    Link,
    /// A GPU's memory is accessed once.
    Memory,
}

/// A host's sockets.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HostRoofline {
    /// Peak arithmetic.
    pub peak_tflop_per_s: f64,
    /// Peak rate of its memory.
    pub bandwidth_gb_per_s: f64,
    /// Rate of its caches, where it bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_gb_per_s: Option<f64>,
    /// Rate of its link to the GPUs, both ways together.
    pub link_gb_per_s: f64,
    /// Bytes near a core, and of the shared cache.
    pub l1_bytes: f64,
    /// See `l1_bytes`.
    pub l2_bytes: f64,
    /// Cores.
    pub cores: u32,
}

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Work {
    /// A product with weights, which is spread over all SMs by its tiles.
    Weights,
    /// Products of activations, each on one SM.
    Products,
    /// Softmax.
    Softmax,
    /// An activation of so many operations an element; a gated one reads two elements.
    Activation {
        /// Operations an element.
        flops: f64,
        /// Whether it reads two.
        gated: bool,
    },
    /// A norm.
    Norm,
}

/// Time and energy of one GPU.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Seconds.
    pub seconds: f64,
    /// Whether arithmetic takes longer than memory.
    pub compute_bound: bool,
    /// Picojoules of memory.
    pub memory_pj: f64,
    /// Picojoules of caches, registers and arithmetic.
    pub on_chip_pj: f64,
    /// Picojoules of links.
    pub link_pj: f64,
}

impl Work {
    /// Operations.
    #[must_use]
    pub fn flops(self, s: &Sizes) -> f64 {
        match self {
            Work::Weights | Work::Products => 2.0 * s.m * s.n * s.k * s.count,
            Work::Softmax | Work::Norm => 5.0 * s.m * s.n * s.count,
            Work::Activation { flops, .. } => flops * s.m * s.n * s.count,
        }
    }

    /// Bytes that go in and out once.
    #[must_use]
    pub fn bytes(self, s: &Sizes) -> f64 {
        let elements = s.count * s.m * s.n * s.bytes;
        match self {
            Work::Weights | Work::Products => s.count * s.bytes * (s.m * s.k + s.n * s.k + s.m * s.n),
            Work::Softmax | Work::Activation { gated: false, .. } => 2.0 * elements,
            Work::Norm | Work::Activation { gated: true, .. } => 3.0 * elements,
        }
    }
}

impl RooflineNode {
    /// The node of a file's text.
    ///
    /// # Errors
    /// The file is not one of a node, or a figure is out of range.
    pub fn read(source: &Source) -> Result<Self, InputError> {
        let node: Self = source.parse()?;
        let positive = 1e-9..=1e12;
        source.check("gpus", f64::from(node.gpus), 1.0..=1024.0)?;
        source.check("gpu.peak_tflop_per_s", node.gpu.peak_tflop_per_s, positive.clone())?;
        source.check("gpu.bandwidth_gb_per_s", node.gpu.bandwidth_gb_per_s, positive.clone())?;
        source.check("gpu.compute_share", node.gpu.compute_share, 1e-6..=1.0)?;
        source.check("gpu.memory_share", node.gpu.memory_share, 1e-6..=1.0)?;
        source.check("gpu.sms", f64::from(node.gpu.sms), 1.0..=100_000.0)?;
        source.check("link.gb_per_s", node.link.gb_per_s, positive.clone())?;
        source.check("link.measured_gb_per_s", node.link.measured_gb_per_s, positive)?;
        if let Some(stacks) = &node.stacks {
            source.check("stacks.count", stacks.count, 1..=1024)?;
            source.check("stacks.channels", stacks.channels, 1..=1024)?;
            source.check("stacks.queue", stacks.queue, 2..=4096)?;
            source.check("stacks.clock_mhz", stacks.clock_mhz, 1e-3..=1e6)?;
        }
        let smallest = node.gpu.tiles.iter().copied().fold(f64::INFINITY, f64::min);
        if smallest.is_nan()
            || smallest < 1.0
            || (2.0 * smallest * 32.0 + smallest * smallest) * 2.0 > node.gpu.l1_bytes
        {
            let problem = "are empty, below one, or no pair of them fits `gpu.l1_bytes` at two bytes a number";
            return Err(source.error("gpu.tiles", problem));
        }
        Ok(node)
    }

    /// Bytes a second of a GPU's memory.
    #[must_use]
    pub fn memory_rate(&self) -> f64 {
        self.gpu.bandwidth_gb_per_s * 1e9
    }

    /// Operations a second of a GPU at 16 bits.
    #[must_use]
    pub fn compute_rate(&self) -> f64 {
        self.gpu.peak_tflop_per_s * 1e12
    }

    /// What some work takes on one GPU.
    #[must_use]
    pub fn gpu_cost(&self, work: Work, s: &Sizes) -> Cost {
        let gpu = &self.gpu;
        let sms = f64::from(gpu.sms);
        let caches = Caches { l1: gpu.l1_bytes, l2: gpu.l2_bytes, cores: sms, sides: &gpu.tiles };
        let product = matches!(work, Work::Weights | Work::Products).then(|| caches.tiles(s, work == Work::Weights));
        let blocks = match &product {
            Some(t) if work == Work::Weights => (s.m / t.m).ceil() * (s.n / t.n).ceil() * s.count,
            _ => s.count,
        };
        let share = busy(blocks, sms);
        let flops = work.flops(s);
        let compute = flops / (self.compute_rate() * gpu.compute_share * share * (2.0 / s.bytes).floor());
        let memory = product.as_ref().map_or(work.bytes(s), |t| t.memory);
        let line = |line: &Line| {
            (line.us_per_byte * (self.elementwise.at_gb_per_s * 1e9 / self.memory_rate()) * memory + line.us) / 1e6
        };
        let moved = match (work, &self.elementwise.softmax) {
            (Work::Activation { .. }, _) => line(&self.elementwise.activation),
            (Work::Norm, _) => line(&self.elementwise.norm),
            (Work::Softmax, Some(softmax)) => line(softmax),
            _ => memory / (self.memory_rate() * gpu.memory_share * share),
        };
        let e = &self.energy;
        let (l2, l1, registers) = match &product {
            Some(t) => (traffic(s, (t.m, t.n)), traffic(s, (16.0, 16.0)), 3.0 * s.m * s.n * s.k),
            None => (memory, memory, memory),
        };
        Cost {
            seconds: compute.max(moved),
            compute_bound: compute > moved,
            memory_pj: memory * e.memory_pj_per_byte,
            on_chip_pj: l2 * e.l2_pj_per_byte
                + l1 * e.l1_pj_per_byte
                + registers * e.register_pj
                + flops / 2.0 * e.mac_pj,
            link_pj: 0.0,
        }
    }

    /// What some work takes on the host. Its energy is not known: zero.
    #[must_use]
    pub fn host_cost(&self, host: &HostRoofline, work: Work, s: &Sizes) -> Cost {
        let caches =
            Caches { l1: host.l1_bytes, l2: host.l2_bytes, cores: f64::from(host.cores), sides: &self.gpu.tiles };
        let product = matches!(work, Work::Weights | Work::Products).then(|| caches.tiles(s, work == Work::Weights));
        let memory = product.as_ref().map_or(work.bytes(s), |t| t.memory);
        let cached = product.as_ref().map_or(memory, |t| traffic(s, (t.m, t.n)));
        let compute = work.flops(s) / (host.peak_tflop_per_s * 1e12 * self.gpu.compute_share * (2.0 / s.bytes).floor());
        let moved = (memory / (host.bandwidth_gb_per_s * 1e9 * self.gpu.memory_share))
            .max(host.cache_gb_per_s.map_or(0.0, |rate| cached / (rate * 1e9)));
        Cost { seconds: compute.max(moved), compute_bound: compute > moved, ..Cost::default() }
    }

    /// A message between two GPUs.
    fn message(&self, bytes: f64) -> f64 {
        let link = &self.link;
        let line = (link.latency_ns + link.ns_per_byte * bytes * (link.measured_gb_per_s / link.gb_per_s)) / 1e9;
        line.max(bytes / (link.gb_per_s * 1e9 / 2.0))
    }

    /// An all-reduce of so many bytes over the node's GPUs; its energy is that of one GPU's share of the node.
    #[must_use]
    pub fn all_reduce(&self, bytes: f64) -> Cost {
        let gpus = f64::from(self.gpus);
        let seconds = match self.link.all_reduce {
            AllReduce::Shares => self.message(bytes / gpus) * (gpus - 1.0),
            AllReduce::Halving => self.message(bytes) * gpus.log2(),
        };
        let cost = Cost { seconds, compute_bound: true, ..Cost::default() };
        match self.energy.exchange {
            Exchange::Link => Cost { link_pj: bytes * self.energy.link_pj_per_byte, ..cost },
            Exchange::Memory => Cost { memory_pj: bytes * self.energy.memory_pj_per_byte, ..cost },
        }
    }

    /// A transfer over half of a link's rate, each way having its own.
    #[must_use]
    pub fn transfer(&self, bytes: f64, link_gb_per_s: f64) -> Cost {
        Cost {
            seconds: bytes / (link_gb_per_s * 1e9 / 2.0),
            compute_bound: true,
            link_pj: bytes * self.energy.link_pj_per_byte,
            ..Cost::default()
        }
    }
}
