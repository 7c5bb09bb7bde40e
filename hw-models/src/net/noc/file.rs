//! A network, its traffic and how it is measured from a TOML file.

use std::path::Path;

use banksia_input::{InputError, Source};

use super::config::{AllocatorKind, ArbiterKind, NocConfig, NocError, Priority, RouterConfig};
use super::energy::Energy;
use super::measure::Protocol;
use super::shape::{RoutingFunction, Shape};
use super::tables::{NetFile, OnDeadlock, RouterTable, TopologyTable, TrafficTable};
use super::trace::{self, Packet};
use super::traffic::{Digits, Pattern, Process, ReadWrite, Sampling, Traffic};

/// A network file that was read and holds together.
#[derive(Debug, Clone, PartialEq)]
pub struct NetRun {
    /// The network's name: the file's, or its shape's.
    pub name: String,
    /// The network.
    pub config: NocConfig,
    /// What to do where it may deadlock.
    pub deadlock: OnDeadlock,
    /// What is sent, at rates to come.
    pub traffic: Traffic,
    /// Packets that are sent in place of that.
    pub trace: Option<Vec<Packet>>,
    /// Offered flits a terminal and cycle.
    pub rates: Vec<f64>,
    /// How a rate is measured.
    pub protocol: Protocol,
    /// The part of a rate to which saturation is looked for.
    pub resolution: f64,
    /// What a flit's way costs.
    pub energy: Energy,
}

impl NetRun {
    /// Reads a network file; what it names lies beside it.
    ///
    /// # Errors
    /// It is no such file, or what it says does not hold together.
    pub fn read(path: &Path) -> Result<NetRun, InputError> {
        NetRun::of(&Source::read(path)?, path.parent().unwrap_or(Path::new("")))
    }

    /// The same from a source, whose files lie in a folder.
    ///
    /// # Errors
    /// As [`NetRun::read`].
    pub fn of(source: &Source, folder: &Path) -> Result<NetRun, InputError> {
        let file: NetFile = source.parse()?;
        let shape = file.topology.shape(source, folder)?;
        let routing = match &file.routing.function {
            None => RoutingFunction::of(&shape).first().copied().unwrap_or(RoutingFunction::Minimal),
            Some(name) => {
                let known = RoutingFunction::of(&shape);
                let found = known.iter().find(|r| r.name() == name).copied();
                let unknown = || {
                    source.unknown_name("routing.function", "routing function", name, known.iter().map(|r| r.name()))
                };
                found.ok_or_else(unknown)?
            }
        };
        let router = file.router.config(source)?;
        let config = NocConfig { shape, routing, unit_latency: file.topology.unit_latency, router };
        config.check().map_err(|e| source.error("router", e.to_string()))?;
        let traffic = file.traffic.traffic(source, &config)?;
        traffic.check().map_err(|e| source.error("traffic.packet_flits", e.to_string()))?;
        let trace = match &file.traffic.trace {
            None => None,
            Some(name) => {
                let packets = Source::read(&folder.join(name))?;
                let parsed = trace::parse(packets.text());
                Some(parsed.map_err(|e| InputError::new(packets.name(), e.to_string()))?)
            }
        };
        let s = &file.sweep;
        for (i, rate) in s.rates.iter().enumerate() {
            source.check(&format!("sweep.rates[{i}]"), *rate, 0.0..=64.0)?;
        }
        if s.rates.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(source
                .error("sweep.rates", "are not ascending")
                .help("a curve ends at its first unstable rate"));
        }
        let protocol = Protocol {
            sample_cycles: source.check("sweep.sample_cycles", s.sample_cycles, 1..=1 << 32)?,
            warmup_samples: s.warmup_samples,
            most_samples: source.check("sweep.most_samples", s.most_samples, s.warmup_samples + 1..=1 << 20)?,
            latency_limit: source.check("sweep.latency_limit_cycles", s.latency_limit_cycles, 1.0..=1e12)?,
            ..Protocol::default()
        };
        file.energy.check(source)?;
        Ok(NetRun {
            name: file.name.unwrap_or_else(|| config.shape.name().to_owned()),
            config,
            deadlock: file.routing.deadlock,
            traffic,
            trace,
            rates: s.rates.clone(),
            protocol,
            resolution: source.check("sweep.saturation_resolution", s.saturation_resolution, 0.001..=1.0)?,
            energy: file.energy,
        })
    }
}

impl TopologyTable {
    fn shape(&self, source: &Source, folder: &Path) -> Result<Shape, InputError> {
        let missing = |key: &str, what: &str| {
            source.error("topology", format!("a {} needs `{key}`", self.shape)).help(format!("`{key}` is {what}"))
        };
        let radix = || self.radix.ok_or_else(|| missing("radix", "a whole number of at least 2"));
        let dimensions = || self.dimensions.ok_or_else(|| missing("dimensions", "a whole number of at least 1"));
        Ok(match self.shape.as_str() {
            "mesh" => Shape::Mesh { radix: radix()?, dimensions: dimensions()? },
            "torus" => Shape::Torus { radix: radix()?, dimensions: dimensions()? },
            "butterfly" => Shape::Butterfly { radix: radix()?, stages: dimensions()? },
            "concentrated-mesh" => Shape::ConcentratedMesh { radix: radix()? },
            "flattened-butterfly" => {
                let side = self.side.unwrap_or(1);
                Shape::FlattenedButterfly { radix: radix()?, dimensions: dimensions()?, side }
            }
            "fat-tree" => Shape::FatTree { radix: radix()?, levels: dimensions()? },
            "quad-tree" => Shape::QuadTree,
            "tree4" => Shape::Tree4,
            "dragonfly" => Shape::Dragonfly { radix: radix()? },
            "graph" => match (&self.links, &self.links_file) {
                (Some(text), _) => Shape::Links(text.clone()),
                (None, Some(name)) => Shape::Links(Source::read(&folder.join(name))?.text().to_owned()),
                (None, None) => {
                    return Err(missing("links", "lines such as `router 0 node 0 router 1 5`, or `links_file`"));
                }
            },
            other => {
                let known = [
                    "mesh",
                    "torus",
                    "butterfly",
                    "concentrated-mesh",
                    "flattened-butterfly",
                    "fat-tree",
                    "quad-tree",
                    "tree4",
                    "dragonfly",
                    "graph",
                ];
                return Err(source.unknown_name("topology.shape", "shape", other, known));
            }
        })
    }
}

impl RouterTable {
    fn config(&self, source: &Source) -> Result<RouterConfig, InputError> {
        let arbiter = match self.arbiter.as_str() {
            "round-robin" => ArbiterKind::RoundRobin,
            "matrix" => ArbiterKind::Matrix,
            other => return Err(source.unknown_name("router.arbiter", "arbiter", other, ["round-robin", "matrix"])),
        };
        let iterations = source.check("router.allocator_iterations", self.allocator_iterations, 1..=64)?;
        let allocator = |key: &str, name: &str| {
            Ok(match name {
                "islip" => AllocatorKind::Islip { iterations },
                "select" => AllocatorKind::Select { iterations },
                "separable-input-first" => AllocatorKind::SeparableInputFirst(arbiter),
                "separable-output-first" => AllocatorKind::SeparableOutputFirst(arbiter),
                "wavefront" => AllocatorKind::Wavefront,
                "lonely-output" => AllocatorKind::LonelyOutput,
                "maximum-size" => AllocatorKind::MaximumSize,
                other => {
                    let known = [
                        "islip",
                        "select",
                        "separable-input-first",
                        "separable-output-first",
                        "wavefront",
                        "lonely-output",
                        "maximum-size",
                    ];
                    return Err(source.unknown_name(key, "allocator", other, known));
                }
            })
        };
        let priority = match self.priority.as_str() {
            "none" => Priority::None,
            "age" => Priority::Age,
            "network-age" => Priority::NetworkAge,
            other => {
                return Err(source.unknown_name("router.priority", "priority", other, ["none", "age", "network-age"]));
            }
        };
        let delay = |key: &str, cycles: u64, least: u64| source.check(&format!("router.{key}"), cycles, least..=1024);
        Ok(RouterConfig {
            virtual_channels: source.check("router.virtual_channels", self.virtual_channels, 1..=64)?,
            buffer_flits: source.check("router.buffer_flits", self.buffer_flits, 1..=1 << 14)?,
            routing_delay: delay("routing_cycles", self.routing_cycles, 0)?,
            vc_alloc_delay: delay("vc_allocation_cycles", self.vc_allocation_cycles, 1)?,
            sw_alloc_delay: delay("switch_allocation_cycles", self.switch_allocation_cycles, 1)?,
            crossbar_delay: delay("crossbar_cycles", self.crossbar_cycles, 1)?,
            credit_delay: delay("credit_cycles", self.credit_cycles, 0)?,
            vc_allocator: allocator("router.vc_allocator", &self.vc_allocator)?,
            sw_allocator: allocator("router.switch_allocator", &self.switch_allocator)?,
            input_speedup: source.check("router.input_speedup", self.input_speedup, 1..=64)?,
            output_speedup: source.check("router.output_speedup", self.output_speedup, 1..=64)?,
            internal_speedup: source.check("router.internal_speedup", self.internal_speedup, 1.0..=16.0)?,
            output_buffer: self.output_buffer_flits,
            speculative: self.speculative,
            hold_switch_for_packet: self.hold_switch_for_packet,
            wait_for_tail_credit: self.wait_for_tail_credit,
            vc_busy_when_full: self.vc_busy_when_full,
            vc_prioritize_empty: self.vc_prioritize_empty,
            priority,
        })
    }
}

impl TrafficTable {
    fn traffic(&self, source: &Source, config: &NocConfig) -> Result<Traffic, InputError> {
        let weight = |weights: &[u32], i: usize| weights.get(i).copied().unwrap_or(1);
        let pattern = match self.pattern.as_str() {
            "hotspot" => {
                let spots = self.terminals.iter().enumerate();
                Pattern::Hotspot(spots.map(|(i, spot)| (*spot, weight(&self.weights, i))).collect())
            }
            "background" => Pattern::Background(self.terminals.clone()),
            "permutation" => Pattern::Permutation(self.terminals.clone()),
            "random-permutation" => Pattern::RandomPermutation { seed: self.permutation_seed },
            name => {
                let plain = Pattern::PLAIN.iter().find(|(known, _)| *known == name);
                let names = Pattern::PLAIN.iter().map(|(known, _)| *known);
                let all = names.chain(["random-permutation", "hotspot", "background", "permutation"]);
                let unknown = || source.unknown_name("traffic.pattern", "traffic pattern", name, all);
                plain.map(|(_, pattern)| pattern.clone()).ok_or_else(unknown)?
            }
        };
        let sampling = match self.sampling.as_str() {
            "gaps" => Sampling::Gaps,
            "sequence" => Sampling::Sequence,
            other => return Err(source.unknown_name("traffic.sampling", "sampling", other, ["gaps", "sequence"])),
        };
        let sizes = self.packet_flits.iter().enumerate();
        Ok(Traffic {
            pattern,
            digits: digits(&config.shape),
            process: self.bursts.map_or(Process::Bernoulli, |b| Process::OnOff { on: b.on, off: b.off }),
            packet_rate: 0.0,
            sizes: sizes.map(|(i, size)| (*size, weight(&self.packet_weights, i))).collect(),
            read_write: self.requests.map(|r| ReadWrite {
                flits: r.flits,
                vcs: r.vcs.map(|[first, last]| (first, last)),
                writes: r.writes,
            }),
            seed: self.seed,
            sampling,
        })
    }
}

/// The digits of a shape's terminals.
fn digits(shape: &Shape) -> Digits {
    let (radix, dimensions) = match shape {
        Shape::Mesh { radix, dimensions } | Shape::Torus { radix, dimensions } => (*radix, *dimensions),
        Shape::Butterfly { radix, stages } => (*radix, *stages),
        Shape::ConcentratedMesh { radix } => (2 * radix, 2),
        Shape::FlattenedButterfly { radix, dimensions, side } => (radix * side, *dimensions),
        Shape::FatTree { radix, levels } => (*radix, *levels),
        Shape::QuadTree | Shape::Tree4 => (4, 3),
        Shape::Dragonfly { radix } => (*radix, 1),
        // A graph's terminals are one ring.
        Shape::Links(text) => (text.matches("node").count().max(1), 1),
    };
    Digits { radix, dimensions }
}

impl From<NocError> for InputError {
    fn from(error: NocError) -> InputError {
        InputError::new("network", error.to_string())
    }
}
