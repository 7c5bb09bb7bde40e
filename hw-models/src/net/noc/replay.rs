//! A trace as what is sent.

use std::collections::VecDeque;

use super::bits;
use super::config::{NocConfig, NocError, Priority};
use super::engine::Engine;
use super::flit::Flit;
use super::random::{Draws, Sequence};
use super::sim::age;
use super::source::Start;
use super::topology::Topology;
use super::trace::{Packet, PacketTimes};
use super::workload::Workload;

/// What a simulation of a trace gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The packets' times, in the order of the trace.
    pub packets: Vec<PacketTimes>,
    /// The cycle after the last flit's arrival.
    pub cycles: u64,
    /// Flits times the routers they went through.
    pub flit_hops: u64,
    /// Flits that left sources.
    pub flits_sent: u64,
    /// Flits that arrived.
    pub flits_arrived: u64,
    /// Flits that each router's outputs sent, all routers after each other.
    pub link_flits: Vec<u64>,
}

/// Simulates the packets of a trace, which are sorted by time.
///
/// # Errors
/// The network cannot be built, a packet's terminals are not in it, packets are out of order, or the network deadlocks.
pub fn simulate(config: &NocConfig, packets: &[Packet]) -> Result<Outcome, NocError> {
    run(config, packets, true, false)
}

/// The same without skipping: every router is stepped in every cycle, and by the general router. Slow; for tests that neither skipping
/// nor the router for usual configurations changes anything.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_every_cycle(config: &NocConfig, packets: &[Packet]) -> Result<Outcome, NocError> {
    run(config, packets, false, true)
}

fn run(config: &NocConfig, packets: &[Packet], skip: bool, general: bool) -> Result<Outcome, NocError> {
    config.check()?;
    let topology = Topology::new(&config.shape, config.unit_latency)?;
    let ends = topology.entries.len();
    if let Some(pair) = packets.windows(2).find(|p| p[0].time > p[1].time) {
        let (first, second) = (pair[0].time, pair[1].time);
        return Err(NocError(format!("a packet of cycle {second} comes after one of cycle {first}")));
    }
    let outside = |p: &&Packet| p.from as usize >= ends || p.to as usize >= ends || p.flits == 0;
    if let Some(p) = packets.iter().find(outside) {
        return Err(NocError(format!(
            "a packet of {} flits from {} to {}: there are {ends} terminals",
            p.flits, p.from, p.to
        )));
    }
    let draws = Draws::Sequence(Box::new(Sequence::new(0)));
    let mut engine = Engine::new(config, &topology, config.all_classes(), draws, skip, general);
    let mut replay = Replay::new(packets, ends, config.router.priority == Priority::Age);
    let all: u64 = packets.iter().map(|p| u64::from(p.flits)).sum();
    while engine.flits_arrived() < all {
        engine.cycle(u64::MAX, &mut replay)?;
    }
    Ok(Outcome {
        packets: replay.times,
        cycles: engine.now(),
        flit_hops: engine.flit_hops(),
        flits_sent: engine.flits_sent(),
        flits_arrived: engine.flits_arrived(),
        link_flits: engine.link_flits(),
    })
}

/// The packets of a trace; each source has an unbounded queue of those whose time has come.
struct Replay<'a> {
    packets: &'a [Packet],
    /// The first packet whose time has not come, and the next number of a packet.
    next: usize,
    number: u32,
    by_age: bool,
    queues: Vec<VecDeque<u32>>,
    /// Sources whose queue has something.
    waiting: Vec<u64>,
    times: Vec<PacketTimes>,
}

impl<'a> Replay<'a> {
    fn new(packets: &'a [Packet], terminals: usize, by_age: bool) -> Replay<'a> {
        Replay {
            packets,
            next: 0,
            number: 0,
            by_age,
            queues: vec![VecDeque::new(); terminals],
            waiting: vec![0; bits::words(terminals)],
            times: vec![PacketTimes::default(); packets.len()],
        }
    }
}

impl Workload for Replay<'_> {
    fn generate(&mut self, now: u64, idle: &[u64], _: &mut Draws, started: &mut Vec<(u32, Start)>) {
        while let Some(p) = self.packets.get(self.next).filter(|p| p.time <= now) {
            self.queues[p.from as usize].push_back(self.next as u32);
            bits::set(&mut self.waiting, p.from as usize);
            self.next += 1;
        }
        for (word, idle) in idle.iter().enumerate() {
            let mut left = self.waiting[word] & idle;
            while left != 0 {
                let place = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                let queue = &mut self.queues[place];
                let Some(packet) = queue.pop_front() else { continue };
                if queue.is_empty() {
                    bits::clear(&mut self.waiting, place);
                }
                let Packet { time, to, flits, .. } = self.packets[packet as usize];
                let priority = if self.by_age { age(time) } else { 0 };
                started.push((place as u32, Start { packet, to, flits, class: 0, priority }));
                let times = &mut self.times[packet as usize];
                (times.number, times.created) = (self.number, time);
                self.number += 1;
            }
        }
    }

    fn next(&self, now: u64, idle: &[u64]) -> Option<u64> {
        if self.waiting.iter().zip(idle).any(|(w, i)| w & i != 0) {
            return Some(now);
        }
        self.packets.get(self.next).map(|p| p.time.max(now))
    }

    fn left(&mut self, now: u64, _: u32, flit: &Flit) {
        if flit.head {
            self.times[flit.packet as usize].head_left = now;
        }
    }

    fn arrived(&mut self, now: u64, _: u32, flit: &Flit) {
        let times = &mut self.times[flit.packet as usize];
        if flit.head {
            times.head_arrived = now;
        }
        if flit.tail {
            times.tail_arrived = now;
            times.hops = u32::from(flit.hops);
        }
    }
}
