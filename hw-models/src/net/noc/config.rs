//! What a network on a chip is made of: its shape, the pipeline of its routers, their buffers and allocators.
//!
//! Delays are in cycles of the network, sizes in flits. The names and the meaning of the parameters are those of BookSim2 (Jiang et al.,
//! "A detailed and flexible cycle-accurate network-on-chip simulator", ISPASS 2013), so that a configuration can be compared with it.

use std::collections::BTreeMap;
use std::fmt;

/// A network or a trace that cannot be simulated, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NocError(pub String);

impl fmt::Display for NocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NocError {}

/// How requests for output virtual channels, or for the crossbar, are matched with what is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllocatorKind {
    /// Iterations of a grant by each output and an acceptance by each input, in turn (McKeown 1999).
    Islip {
        /// Rounds of grant and acceptance in one cycle.
        iterations: u32,
    },
    /// Each input chooses one output, then each output one of the inputs that chose it.
    SeparableInputFirst(ArbiterKind),
    /// Each output chooses one input, then each input one of the outputs that chose it.
    SeparableOutputFirst(ArbiterKind),
    /// Diagonals of the request matrix, the first of which moves by one each time (Tamir and Chi 1993).
    Wavefront,
    /// Each input asks for the output that the fewest inputs want: lonely outputs first.
    LonelyOutput,
    /// A matching of maximum size, by shortest augmenting paths.
    MaximumSize,
    /// As iSLIP, but the highest priority wins before the turn does.
    Select {
        /// Rounds of grant and acceptance in one cycle.
        iterations: u32,
    },
}

/// How one of several requests is chosen by a separable allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArbiterKind {
    /// The turn passes to the one after the winner.
    RoundRobin,
    /// The one that won longest ago.
    Matrix,
}

/// Whose flit goes first where the allocator looks at priorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// All flits are alike.
    None,
    /// The packet that was made first.
    Age,
    /// The flit that entered the network first.
    NetworkAge,
}

/// The shape of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// `radix` routers in each of `dimensions`, one terminal at each router, links of one cycle, dimension-order routing.
    Mesh {
        /// Routers along a dimension.
        radix: usize,
        /// Dimensions.
        dimensions: usize,
    },
    /// A mesh whose rows are rings, with links of two cycles and a dateline that halves the virtual channels.
    Torus {
        /// Routers along a dimension.
        radix: usize,
        /// Dimensions.
        dimensions: usize,
    },
    /// A butterfly of `stages` stages of `radix` x `radix` routers, routed by the destination's digits; one stage is a single router.
    Butterfly {
        /// Inputs and outputs of a router.
        radix: usize,
        /// Routers on a way.
        stages: usize,
    },
    /// A square mesh of `radix` x `radix` routers with four terminals each, routed without the express links of its edges.
    ConcentratedMesh {
        /// Routers along a side.
        radix: usize,
    },
    /// Routers, terminals and links of given latencies, one router a line (`router 0 node 0 router 1 5`), routed along shortest paths.
    Links(String),
}

/// The routers, all alike.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterConfig {
    /// Virtual channels of an input.
    pub virtual_channels: usize,
    /// Flits of a virtual channel's buffer.
    pub buffer_flits: usize,
    /// Cycles of the route computation; 0 is routing one hop ahead.
    pub routing_delay: u64,
    /// Cycles of the allocation of a virtual channel.
    pub vc_alloc_delay: u64,
    /// Cycles of the allocation of the crossbar.
    pub sw_alloc_delay: u64,
    /// Cycles of the crossbar: its preparation and its traversal.
    pub crossbar_delay: u64,
    /// Cycles from a credit's arrival to its use.
    pub credit_delay: u64,
    /// What gives output virtual channels to packets.
    pub vc_allocator: AllocatorKind,
    /// What gives the crossbar to flits.
    pub sw_allocator: AllocatorKind,
    /// Crossbar ports an input has; its virtual channels are spread over them.
    pub input_speedup: usize,
    /// Crossbar ports an output has; the inputs are spread over them.
    pub output_speedup: usize,
    /// Steps of the router in a cycle of the links.
    pub internal_speedup: f64,
    /// Flits an output's queue may hold before the switch waits; `None` for no bound.
    pub output_buffer: Option<usize>,
    /// Heads ask for the crossbar while they still ask for a virtual channel.
    pub speculative: bool,
    /// A packet keeps its way through the crossbar while its flits follow each other.
    pub hold_switch_for_packet: bool,
    /// A virtual channel is free again only when the credit of its packet's last flit has returned.
    pub wait_for_tail_credit: bool,
    /// A virtual channel without credits is not asked for.
    pub vc_busy_when_full: bool,
    /// Empty virtual channels are asked for with a higher priority.
    pub vc_prioritize_empty: bool,
    /// Whose flit goes first.
    pub priority: Priority,
}

/// A network: its shape and its routers.
#[derive(Debug, Clone, PartialEq)]
pub struct NocConfig {
    /// Its shape, which has its routing with it.
    pub shape: Shape,
    /// Its routers.
    pub router: RouterConfig,
}

impl Default for RouterConfig {
    fn default() -> Self {
        RouterConfig {
            virtual_channels: 4,
            buffer_flits: 8,
            routing_delay: 1,
            vc_alloc_delay: 1,
            sw_alloc_delay: 1,
            crossbar_delay: 1,
            credit_delay: 0,
            vc_allocator: AllocatorKind::Islip { iterations: 1 },
            sw_allocator: AllocatorKind::Islip { iterations: 1 },
            input_speedup: 1,
            output_speedup: 1,
            internal_speedup: 1.0,
            output_buffer: None,
            speculative: false,
            hold_switch_for_packet: false,
            wait_for_tail_credit: false,
            vc_busy_when_full: false,
            vc_prioritize_empty: false,
            priority: Priority::None,
        }
    }
}

impl RouterConfig {
    /// Refuses what the routers do not have.
    pub(super) fn check(&self) -> Result<(), NocError> {
        let bad = |what: &str| Err(NocError(what.to_owned()));
        if !(1..=64).contains(&self.virtual_channels) {
            return bad("an input has 1 to 64 virtual channels");
        }
        if self.buffer_flits == 0 {
            return bad("a virtual channel's buffer holds at least one flit");
        }
        if self.vc_alloc_delay == 0 || self.sw_alloc_delay == 0 || self.crossbar_delay == 0 {
            return bad("allocation and the crossbar take at least one cycle");
        }
        if self.input_speedup == 0 || self.output_speedup == 0 || !(1.0..=16.0).contains(&self.internal_speedup) {
            return bad("speed-ups are at least 1, and the internal one at most 16");
        }
        Ok(())
    }
}

impl NocConfig {
    /// A configuration in BookSim2's words: `key=value` joined by semicolons or lines. `links` gives the text of a `network_file`.
    pub fn from_booksim(text: &str, links: impl Fn(&str) -> Result<String, NocError>) -> Result<NocConfig, NocError> {
        let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
        for pair in text.split([';', '\n']).map(str::trim).filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| NocError(format!("`{pair}` is no `key=value`")))?;
            keys.insert(key.trim(), value.trim());
        }
        let whole = |key: &str, other: usize| match keys.get(key) {
            None => Ok(other),
            Some(v) => v.parse().map_err(|_| NocError(format!("{key} is `{v}`, not a whole number"))),
        };
        let yes = |key: &str| Ok::<bool, NocError>(whole(key, 0)? > 0);
        let word = |key: &str, other: &'static str| keys.get(key).copied().unwrap_or(other);
        let (radix, dimensions) = (whole("k", 8)?, whole("n", 2)?);
        let shape = match (word("topology", "torus"), word("routing_function", "none")) {
            ("mesh", "dim_order" | "dor") => Shape::Mesh { radix, dimensions },
            ("torus", "dim_order") => Shape::Torus { radix, dimensions },
            ("fly", "dest_tag") => Shape::Butterfly { radix, stages: dimensions },
            ("cmesh", "dor_no_express") => Shape::ConcentratedMesh { radix },
            ("anynet", "min") => Shape::Links(links(word("network_file", ""))?),
            (shape, routing) => return Err(NocError(format!("no routing `{routing}` on the topology `{shape}`"))),
        };
        let priority = match word("priority", "none") {
            "none" => Priority::None,
            "age" => Priority::Age,
            "network_age" => Priority::NetworkAge,
            other => return Err(NocError(format!("no priority `{other}`"))),
        };
        let speedup = word("internal_speedup", "1.0");
        let routers = RouterConfig {
            virtual_channels: whole("num_vcs", 16)?,
            buffer_flits: whole("vc_buf_size", 8)?,
            routing_delay: whole("routing_delay", 1)? as u64,
            vc_alloc_delay: whole("vc_alloc_delay", 1)? as u64,
            sw_alloc_delay: whole("sw_alloc_delay", 1)? as u64,
            crossbar_delay: (whole("st_prepare_delay", 0)? + whole("st_final_delay", 1)?) as u64,
            credit_delay: whole("credit_delay", 0)? as u64,
            vc_allocator: allocator(word("vc_allocator", "islip"))?,
            sw_allocator: allocator(word("sw_allocator", "islip"))?,
            input_speedup: whole("input_speedup", 1)?,
            output_speedup: whole("output_speedup", 1)?,
            internal_speedup: speedup.parse().map_err(|_| NocError(format!("internal_speedup is `{speedup}`")))?,
            output_buffer: keys.get("output_buffer_size").and_then(|v| v.parse().ok()),
            speculative: yes("speculative")?,
            hold_switch_for_packet: yes("hold_switch_for_packet")?,
            wait_for_tail_credit: yes("wait_for_tail_credit")?,
            vc_busy_when_full: yes("vc_busy_when_full")?,
            vc_prioritize_empty: yes("vc_prioritize_empty")?,
            priority,
        };
        routers.check()?;
        Ok(NocConfig { shape, router: routers })
    }
}

/// An allocator by its name, with its parameter in brackets: `islip(2)`, `separable_input_first(matrix)`. As BookSim2's routers do, the
/// keys `alloc_iters` and `arb_type` are not looked at: only a parameter in the name counts.
fn allocator(text: &str) -> Result<AllocatorKind, NocError> {
    let (name, parameter) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.trim_end_matches(')')),
        None => (text, ""),
    };
    let iterations = || match parameter {
        "" => Ok(1),
        p => p.parse().map_err(|_| NocError(format!("`{text}`: iterations are a whole number"))),
    };
    let chooser = || match parameter {
        "" | "round_robin" => Ok(ArbiterKind::RoundRobin),
        "matrix" => Ok(ArbiterKind::Matrix),
        other => Err(NocError(format!("no arbiter `{other}`"))),
    };
    Ok(match name {
        "islip" => AllocatorKind::Islip { iterations: iterations()? },
        "select" => AllocatorKind::Select { iterations: iterations()? },
        "separable_input_first" => AllocatorKind::SeparableInputFirst(chooser()?),
        "separable_output_first" => AllocatorKind::SeparableOutputFirst(chooser()?),
        "wavefront" => AllocatorKind::Wavefront,
        "loa" => AllocatorKind::LonelyOutput,
        "max_size" => AllocatorKind::MaximumSize,
        "pim" => return Err(NocError("parallel iterative matching draws at random and is not modelled".to_owned())),
        other => return Err(NocError(format!("no allocator `{other}`"))),
    })
}
