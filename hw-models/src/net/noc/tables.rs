//! A network file as it is written: its tables and keys.

use banksia_input::schema::of_file;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::config::RouterConfig;
use super::energy::Energy;
use super::measure::Protocol;

/// A network file as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetFile {
    /// What the network is called.
    #[serde(default)]
    pub name: Option<String>,
    /// Its shape.
    pub topology: TopologyTable,
    /// Where packets go.
    #[serde(default)]
    pub routing: RoutingTable,
    /// Its routers.
    #[serde(default)]
    pub router: RouterTable,
    /// What is sent.
    #[serde(default)]
    pub traffic: TrafficTable,
    /// The rates at which it is measured, and how.
    #[serde(default)]
    pub sweep: SweepTable,
    /// What a flit's way costs.
    #[serde(default)]
    pub energy: Energy,
}

/// The shape of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopologyTable {
    /// mesh, torus, butterfly, concentrated-mesh, flattened-butterfly, fat-tree, quad-tree, tree4, dragonfly or graph.
    pub shape: String,
    /// Routers along a dimension; of a butterfly and a fat tree the links of a router in one direction; of a dragonfly a router's terminals.
    #[serde(default)]
    pub radix: Option<usize>,
    /// Dimensions; stages of a butterfly, levels of a fat tree.
    #[serde(default)]
    pub dimensions: Option<usize>,
    /// Terminals along a side of a router of a flattened butterfly.
    #[serde(default)]
    pub side: Option<usize>,
    /// Of a graph: one router a line, as in `router 0 node 0 router 1 5`, a link of 5 cycles to router 1.
    #[serde(default)]
    pub links: Option<String>,
    /// The same as a file, beside this one.
    #[serde(default)]
    pub links_file: Option<String>,
    /// Whether links take one cycle, however long they are.
    #[serde(default)]
    pub unit_latency: bool,
}

/// What to do where the routing may deadlock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnDeadlock {
    /// Say which channels wait for one another, and run nothing.
    #[default]
    Refuse,
    /// Say so, and run.
    Warn,
    /// Do not look.
    Off,
}

/// The routing of a network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutingTable {
    /// The routing function [default: the shape's plainest].
    #[serde(default)]
    pub function: Option<String>,
    /// What to do where it may deadlock.
    #[serde(default)]
    pub deadlock: OnDeadlock,
}

/// The routers of a network. The defaults are those of [`RouterConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouterTable {
    /// Virtual channels of an input.
    pub virtual_channels: usize,
    /// Flits of a virtual channel's buffer.
    pub buffer_flits: usize,
    /// Cycles of the route computation; 0 is routing one hop ahead.
    pub routing_cycles: u64,
    /// Cycles of the allocation of a virtual channel.
    pub vc_allocation_cycles: u64,
    /// Cycles of the allocation of the crossbar.
    pub switch_allocation_cycles: u64,
    /// Cycles of the crossbar.
    pub crossbar_cycles: u64,
    /// Cycles from a credit's arrival to its use.
    pub credit_cycles: u64,
    /// islip, select, separable-input-first, separable-output-first, wavefront, lonely-output or maximum-size.
    pub vc_allocator: String,
    /// The same for the crossbar.
    pub switch_allocator: String,
    /// Rounds of islip and select in a cycle.
    pub allocator_iterations: u32,
    /// How a separable allocator's arbiters choose: round-robin or matrix.
    pub arbiter: String,
    /// Crossbar ports of an input, and of an output.
    pub input_speedup: usize,
    /// Crossbar ports of an output.
    pub output_speedup: usize,
    /// Steps of the router in a cycle of the links.
    pub internal_speedup: f64,
    /// Flits an output's queue may hold; none for no bound.
    pub output_buffer_flits: Option<usize>,
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
    /// none, age or network-age.
    pub priority: String,
}

impl Default for RouterTable {
    fn default() -> Self {
        let d = RouterConfig::default();
        RouterTable {
            virtual_channels: d.virtual_channels,
            buffer_flits: d.buffer_flits,
            routing_cycles: d.routing_delay,
            vc_allocation_cycles: d.vc_alloc_delay,
            switch_allocation_cycles: d.sw_alloc_delay,
            crossbar_cycles: d.crossbar_delay,
            credit_cycles: d.credit_delay,
            vc_allocator: "islip".to_owned(),
            switch_allocator: "islip".to_owned(),
            allocator_iterations: 1,
            arbiter: "round-robin".to_owned(),
            input_speedup: d.input_speedup,
            output_speedup: d.output_speedup,
            internal_speedup: d.internal_speedup,
            output_buffer_flits: d.output_buffer,
            speculative: d.speculative,
            hold_switch_for_packet: d.hold_switch_for_packet,
            wait_for_tail_credit: d.wait_for_tail_credit,
            vc_busy_when_full: d.vc_busy_when_full,
            vc_prioritize_empty: d.vc_prioritize_empty,
            priority: "none".to_owned(),
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrafficTable {
    /// uniform, bit-complement, bit-reverse, transpose, shuffle, tornado, neighbor, random-permutation, diagonal, asymmetric, taper64,
    /// next-group, worst-column, hotspot, background or permutation.
    pub pattern: String,
    /// The terminals of hotspot, those left out by background, or the destination of each source of permutation.
    pub terminals: Vec<u32>,
    /// Weights of the hotspot's terminals [default: all alike].
    pub weights: Vec<u32>,
    /// Seed of a random permutation.
    pub permutation_seed: u32,
    /// Flits of a packet, or several sizes.
    pub packet_flits: Vec<u32>,
    /// Weights of the sizes [default: all alike].
    pub packet_weights: Vec<u32>,
    /// Bursts in place of even chances: the chance a cycle of being turned on and off.
    pub bursts: Option<BurstTable>,
    /// Requests with replies in place of packets.
    pub requests: Option<RequestTable>,
    /// A file of packets `time source destination flits`, beside this one, in place of all that.
    pub trace: Option<String>,
    /// The seed.
    pub seed: u32,
    /// gaps, or sequence, which gives the packets of BookSim2 for the same seed.
    pub sampling: String,
}

impl Default for TrafficTable {
    fn default() -> Self {
        TrafficTable {
            pattern: "uniform".to_owned(),
            terminals: Vec::new(),
            weights: Vec::new(),
            permutation_seed: 0,
            packet_flits: vec![1],
            packet_weights: Vec::new(),
            bursts: None,
            requests: None,
            trace: None,
            seed: 1,
            sampling: "gaps".to_owned(),
        }
    }
}

/// Bursts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BurstTable {
    /// Chance a cycle of being turned on.
    pub on: f64,
    /// Chance a cycle of being turned off.
    pub off: f64,
}

/// Requests and their replies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestTable {
    /// Flits of a request to read, its reply, a request to write, and its reply.
    pub flits: [u32; 4],
    /// First and last virtual channel of each of these.
    pub vcs: [[usize; 2]; 4],
    /// The part of requests that write.
    #[serde(default = "half")]
    pub writes: f64,
}

fn half() -> f64 {
    0.5
}

/// Rates, and how each is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SweepTable {
    /// Offered flits a terminal and cycle [default: 0.05 to 1 in steps of 0.05].
    pub rates: Vec<f64>,
    /// Cycles of a sample.
    pub sample_cycles: u64,
    /// Samples of the warm-up.
    pub warmup_samples: u32,
    /// Samples at most.
    pub most_samples: u32,
    /// Mean latency in cycles above which the network is unstable.
    pub latency_limit_cycles: f64,
    /// Whether the rate at which it saturates is looked for between the last two rates, to a part of this.
    pub saturation_resolution: f64,
}

impl Default for SweepTable {
    fn default() -> Self {
        let d = Protocol::default();
        SweepTable {
            rates: (1..=20).map(|n| f64::from(n) * 0.05).collect(),
            sample_cycles: d.sample_cycles,
            warmup_samples: d.warmup_samples,
            most_samples: d.most_samples,
            latency_limit_cycles: d.latency_limit,
            saturation_resolution: 0.01,
        }
    }
}

/// The schema of a network's file.
pub fn schema() -> Schema {
    of_file::<NetFile>("Banksia: a network on a chip")
}
