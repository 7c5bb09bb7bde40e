//! What a network on a chip is made of: its shape, the pipeline of its routers, their buffers and allocators.
//!
//! Delays are in cycles of the network, sizes in flits. The names and the meaning of the parameters are those of BookSim2 (Jiang et al.,
//! "A detailed and flexible cycle-accurate network-on-chip simulator", ISPASS 2013), so that a configuration can be compared with it.

use std::fmt;

use super::shape::{RoutingFunction, Shape};

/// Classes of messages: any, read request, write request, read reply, write reply.
pub(super) const CLASSES: usize = 5;

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

/// A network: its shape, its routing and its routers.
#[derive(Debug, Clone, PartialEq)]
pub struct NocConfig {
    /// Its shape.
    pub shape: Shape,
    /// Its routing function.
    pub routing: RoutingFunction,
    /// Whether links take one cycle, however long they are.
    pub unit_latency: bool,
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
    /// Refuses what cannot be built: a routing function that the shape does not have, or too few virtual channels for it.
    pub(super) fn check(&self) -> Result<(), NocError> {
        self.router.check()?;
        let (routing, shape) = (self.routing, &self.shape);
        if !routing.fits(shape) {
            let known: Vec<&str> = RoutingFunction::of(shape).iter().map(|r| r.name()).collect();
            let (routing, shape) = (routing.name(), shape.name());
            return Err(NocError(format!("a {shape} has no routing `{routing}`; it has {}", known.join(", "))));
        }
        let (least, most) = (routing.least_vcs(shape), self.router.virtual_channels);
        if most < least {
            let routing = routing.name();
            return Err(NocError(format!("routing `{routing}` needs {least} virtual channels, not {most}")));
        }
        Ok(())
    }
}

impl NocConfig {
    /// All virtual channels for every class of messages.
    pub(super) fn all_classes(&self) -> [(usize, usize); CLASSES] {
        [(0, self.router.virtual_channels - 1); CLASSES]
    }
}
