//! How synthetic traffic is measured: warm-up, samples until they agree, and a drain, as BookSim2 does (Dally and Towles, chapter 24).

use super::booksim::Keys;
use super::config::{NocConfig, NocError};
use super::engine::Engine;
use super::random::{Draws, Sequence};
use super::topology::Topology;
use super::traffic::{Phase, Sampling, Synthetic, Traffic};

/// Packets and flits that a network may hold at once, so that each has a number.
const MOST_SLOTS: usize = 1 << 22;

/// Cycles between looks at whether a drain will end.
const DRAIN_CHECK: u64 = 1000;

/// The protocol of a measurement. The defaults are BookSim2's.
#[derive(Debug, Clone, PartialEq)]
pub struct Protocol {
    /// Cycles of a sample.
    pub sample_cycles: u64,
    /// Samples before any counts.
    pub warmup_samples: u32,
    /// Samples at most, those of the warm-up among them.
    pub most_samples: u32,
    /// Change of the mean latency, and of the accepted rate, between samples up to which they agree; three that agree end it.
    pub agreement: f64,
    /// Mean latency in cycles, with the age of what is on its way, above which the network is unstable.
    pub latency_limit: f64,
    /// Whether what is left in the network after the measured packets is waited for.
    pub empty: bool,
}

impl Default for Protocol {
    fn default() -> Self {
        Protocol {
            sample_cycles: 1000,
            warmup_samples: 3,
            most_samples: 10,
            agreement: 0.05,
            latency_limit: 500.0,
            empty: false,
        }
    }
}

impl Protocol {
    /// The protocol in BookSim2's words.
    ///
    /// # Errors
    /// A key's value cannot be read.
    pub fn from_booksim_keys(keys: &Keys<'_>) -> Result<Protocol, NocError> {
        let d = Protocol::default();
        Ok(Protocol {
            sample_cycles: keys.number("sample_period", d.sample_cycles)?,
            warmup_samples: keys.number("warmup_periods", d.warmup_samples)?,
            most_samples: keys.number("max_samples", d.most_samples)?,
            agreement: keys.number("stopping_thres", d.agreement)?,
            latency_limit: keys.number("latency_thres", d.latency_limit)?,
            empty: d.empty,
        })
    }
}

/// Whether a network takes what is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Latency stays below the limit.
    Stable,
    /// It does not: packets queue up at their sources.
    Unstable,
}

/// What was measured at one rate. Latencies are in cycles, rates a terminal and cycle.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// Whether the network takes what is offered.
    pub status: Status,
    /// From when a packet is made to its last flit's arrival: mean, least and most.
    pub latency: [f64; 3],
    /// The latency that 50, 95 and 99 of 100 packets do not exceed.
    pub latency_quantiles: [u64; 3],
    /// From when a packet's first flit leaves its source, on average.
    pub network_latency: f64,
    /// Routers on the way, on average.
    pub hops: f64,
    /// Cycles that a packet's flits came in beyond one a cycle, on average.
    pub fragmentation: f64,
    /// Flits that left sources, and that arrived.
    pub injected_flits: f64,
    /// Flits that arrived.
    pub accepted_flits: f64,
    /// Packets that arrived.
    pub accepted_packets: f64,
    /// Flits that arrived at the terminal with the fewest.
    pub least_accepted_flits: f64,
    /// Packets whose latency was measured.
    pub packets: u64,
    /// Cycles that were simulated.
    pub cycles: u64,
    /// Flits times routers, over all cycles.
    pub flit_hops: u64,
    /// Flits that arrived, over all cycles.
    pub flits: u64,
    /// Flits that each router's outputs sent, all routers after each other, in the cycles of `link_cycles`.
    pub link_flits: Vec<u64>,
    /// Cycles over which flits of links were counted: those of the measurement.
    pub link_cycles: u64,
}

/// Measures a network under a traffic.
///
/// # Errors
/// The network or the traffic cannot be built, or the network deadlocks.
pub fn measure(config: &NocConfig, traffic: &Traffic, protocol: &Protocol) -> Result<Measurement, NocError> {
    measure_with(config, traffic, protocol, true, false)
}

/// The same without skipping and by the general router: for tests that neither changes anything.
///
/// # Errors
/// As [`measure`].
pub fn measure_every_cycle(
    config: &NocConfig,
    traffic: &Traffic,
    protocol: &Protocol,
) -> Result<Measurement, NocError> {
    measure_with(config, traffic, protocol, false, true)
}

fn measure_with(
    config: &NocConfig,
    traffic: &Traffic,
    protocol: &Protocol,
    skip: bool,
    general: bool,
) -> Result<Measurement, NocError> {
    config.check()?;
    if protocol.sample_cycles == 0 || protocol.most_samples <= protocol.warmup_samples {
        return Err(NocError("a sample has cycles, and there are more samples than those of the warm-up".to_owned()));
    }
    let topology = Topology::new(&config.shape, config.unit_latency)?;
    let nodes = topology.entries.len();
    let inputs: usize = topology.routers.iter().map(|r| r.inputs.len()).sum();
    let c = &config.router;
    let slots = inputs.saturating_mul(c.virtual_channels).saturating_mul(c.buffer_flits);
    if slots.saturating_add(nodes) > MOST_SLOTS {
        return Err(NocError(format!("the network's buffers hold {slots} flits: at most {MOST_SLOTS} are modelled")));
    }
    let draws = match traffic.sampling {
        Sampling::Sequence => Draws::Sequence(Box::new(Sequence::new(traffic.seed))),
        Sampling::Gaps => Draws::Hash { seed: u64::from(traffic.seed) },
    };
    let classes = traffic.classes(config)?;
    let work = Synthetic::new(traffic, config, nodes)?;
    let mut run = Run { engine: Engine::new(config, &topology, classes, draws, skip, general), work, nodes };
    run.protocol(protocol)
}

struct Run {
    engine: Engine,
    work: Synthetic,
    nodes: usize,
}

impl Run {
    fn until(&mut self, end: u64) -> Result<(), NocError> {
        while self.engine.now() < end {
            self.engine.cycle(end, &mut self.work)?;
        }
        Ok(())
    }

    /// Whether packets, those on their way with their age so far among them, are late on average.
    fn is_late(&self, limit: f64) -> bool {
        let (flits, ages) = self.work.in_flight(self.engine.now());
        let packets = &self.work.stats.packet;
        (packets.sum + ages) as f64 / (packets.count + flits) as f64 > limit
    }

    fn protocol(&mut self, protocol: &Protocol) -> Result<Measurement, NocError> {
        let (mut latency_before, mut accepted_before) = (0.0_f64, 0.0_f64);
        let (mut measuring, mut agree, mut sample) = (false, 0, 0);
        let mut links = Vec::new();
        let mut status = Status::Stable;
        while sample < protocol.most_samples && !(measuring && agree >= 3) {
            let now = self.engine.now();
            // What is counted begins with the first measured sample; while the network warms up, with every second one.
            let begins = if measuring { sample == protocol.warmup_samples } else { sample.is_multiple_of(2) };
            if begins {
                self.work.clear(now);
                links = self.engine.link_flits();
            }
            self.until(now + protocol.sample_cycles)?;
            let stats = &self.work.stats;
            let latency = stats.packet.mean();
            let counted = self.engine.now() - stats.since;
            let accepted = stats.accepted_flits as f64 / counted as f64 / self.nodes as f64;
            let changes = [(latency, &mut latency_before), (accepted, &mut accepted_before)].map(|(now, before)| {
                let change = ((now - *before) / now).abs();
                *before = now;
                change
            });
            if self.is_late(protocol.latency_limit) {
                status = Status::Unstable;
                break;
            }
            sample += 1;
            if measuring {
                // Where nothing was seen, the change is not a number and does not exceed anything.
                let changed = changes.iter().any(|c| *c > protocol.agreement);
                agree = if changed { 0 } else { agree + 1 };
            } else if sample >= protocol.warmup_samples {
                measuring = true;
                self.work.set_phase(Phase::Measuring);
            }
        }
        let end = self.engine.now();
        let link_flits = self.engine.link_flits().iter().zip(&links).map(|(now, before)| now - before).collect();
        let link_cycles = end - self.work.stats.since;
        if status == Status::Stable {
            status = self.drain(end, protocol)?;
        }
        Ok(self.result(status, end, link_flits, link_cycles))
    }

    /// Waits for the measured packets.
    fn drain(&mut self, from: u64, protocol: &Protocol) -> Result<Status, NocError> {
        self.work.set_phase(Phase::Draining { from });
        let mut check = from + DRAIN_CHECK;
        while self.work.is_outstanding() {
            self.engine.cycle(check, &mut self.work)?;
            if self.engine.now() == check {
                if self.is_late(protocol.latency_limit) {
                    return Ok(Status::Unstable);
                }
                check += DRAIN_CHECK;
            }
        }
        if protocol.empty {
            self.work.set_phase(Phase::Emptying);
            while self.work.in_flight(self.engine.now()).0 > 0 {
                self.engine.cycle(u64::MAX, &mut self.work)?;
            }
        }
        Ok(Status::Stable)
    }

    fn result(&self, status: Status, end: u64, link_flits: Vec<u64>, link_cycles: u64) -> Measurement {
        let s = &self.work.stats;
        let cycles = (end - s.since).max(1) as f64;
        let rate = |count: u64| count as f64 / cycles / self.nodes as f64;
        Measurement {
            status,
            latency: [s.packet.mean(), s.packet.least as f64, s.packet.most as f64],
            latency_quantiles: [0.5, 0.95, 0.99].map(|part| s.quantile(part)),
            network_latency: s.network.mean(),
            hops: s.hops.mean(),
            fragmentation: s.fragmentation.mean(),
            injected_flits: rate(s.sent_flits),
            accepted_flits: rate(s.accepted_flits),
            accepted_packets: rate(s.accepted_packets),
            least_accepted_flits: s.arrived_at.iter().min().map_or(0.0, |n| *n as f64 / cycles),
            packets: s.packet.count,
            cycles: self.engine.now(),
            flit_hops: self.engine.flit_hops(),
            flits: self.engine.flits_arrived(),
            link_flits,
            link_cycles,
        }
    }
}
