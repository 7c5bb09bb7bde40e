//! The simulation: what is on the wires, cycle by cycle, skipping what is idle.
//!
//! A flit or credit sent in cycle `t` over a channel of latency `l` is seen at the other end in cycle `t + l + 1`. Only routers that have
//! something in them are stepped, and cycles in which nothing has anything to do are passed over; neither changes a result.

use super::bits;
use super::config::{NocConfig, NocError, Priority};
use super::flit::Flit;
use super::router::{Common, Router, Wires};
use super::routing::Routing;
use super::source::{Sending, Terminal};
use super::topology::{End, Topology};
use super::trace::{Packet, PacketTimes};

/// Cycles without any flit moving after which a network with flits in it is given up as deadlocked.
const DEADLOCK: u64 = 1 << 16;

/// What a simulation gave.
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
}

/// Something on a wire, for its end.
#[derive(Debug, Clone, Copy)]
enum Event {
    Flit(End, Flit),
    Credit(End, u64),
}

/// What is on the wires, by the cycle in which it is seen; a ring as long as the longest channel.
#[derive(Debug)]
struct Wheel {
    slots: Vec<Vec<Event>>,
    pending: u64,
}

impl Wheel {
    fn new(longest: u64) -> Wheel {
        Wheel { slots: vec![Vec::new(); (longest + 2).next_power_of_two() as usize], pending: 0 }
    }

    fn put(&mut self, now: u64, end: End, event: Event) {
        let slot = (now + u64::from(end.latency) + 1) as usize & (self.slots.len() - 1);
        self.slots[slot].push(event);
        self.pending += 1;
    }

    fn slot(&mut self, now: u64) -> &mut Vec<Event> {
        let slot = now as usize & (self.slots.len() - 1);
        &mut self.slots[slot]
    }

    /// The next cycle from `now` on in which something is seen.
    fn next(&self, now: u64) -> Option<u64> {
        let ahead =
            (now..now + self.slots.len() as u64).find(|t| !self.slots[*t as usize & (self.slots.len() - 1)].is_empty());
        ahead.filter(|_| self.pending > 0)
    }
}

/// A router's sending side: where its ports lead.
struct Sender<'a> {
    now: u64,
    outputs: &'a [End],
    inputs: &'a [End],
    wheel: &'a mut Wheel,
    sent: u64,
}

impl Wires for Sender<'_> {
    fn flit(&mut self, output: usize, flit: Flit) {
        let end = self.outputs[output];
        self.wheel.put(self.now, end, Event::Flit(end, flit));
        self.sent += 1;
    }

    fn credit(&mut self, input: usize, mask: u64) {
        let end = self.inputs[input];
        self.wheel.put(self.now, end, Event::Credit(end, mask));
    }
}

/// Simulates the packets of a trace, which are sorted by time.
///
/// # Errors
/// The network cannot be built, a packet's terminals are not in it, packets are out of order, or the network deadlocks.
pub fn simulate(config: &NocConfig, packets: &[Packet]) -> Result<Outcome, NocError> {
    Simulation::new(config, packets)?.run(true)
}

/// The same without skipping: every router is stepped in every cycle. Slow; for tests that the skipping changes nothing.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_every_cycle(config: &NocConfig, packets: &[Packet]) -> Result<Outcome, NocError> {
    Simulation::new(config, packets)?.run(false)
}

struct Simulation<'a> {
    topology: Topology,
    common: Common,
    packets: &'a [Packet],
    routers: Vec<Router>,
    terminals: Vec<Terminal>,
    /// Routers and terminals that have something to do.
    busy_routers: Vec<u64>,
    busy_terminals: Vec<u64>,
    wheel: Wheel,
    /// The trace's next packet, and the next number of a packet.
    next_packet: usize,
    next_number: u32,
    moved: u64,
    outcome: Outcome,
}

impl<'a> Simulation<'a> {
    fn new(config: &NocConfig, packets: &'a [Packet]) -> Result<Simulation<'a>, NocError> {
        config.router.check()?;
        let graph = Topology::new(&config.shape)?;
        let ends = graph.entries.len() as u32;
        for pair in packets.windows(2) {
            if pair[0].time > pair[1].time {
                return Err(NocError(format!(
                    "a packet of cycle {} comes after one of cycle {}",
                    pair[1].time, pair[0].time
                )));
            }
        }
        if let Some(p) = packets.iter().find(|p| p.from >= ends || p.to >= ends || p.flits == 0) {
            return Err(NocError(format!(
                "a packet of {} flits from {} to {}: there are {ends} terminals",
                p.flits, p.from, p.to
            )));
        }
        let c = &config.router;
        let route = Routing::new(&config.shape, c.virtual_channels, graph.routes.clone());
        let common = Common { config: c.clone(), routing: route };
        let all_ends = graph.routers.iter().flat_map(|r| r.outputs.iter().chain(&r.inputs));
        let longest = all_ends.chain(&graph.entries).map(|e| u64::from(e.latency)).max().unwrap_or(1);
        let routers: Vec<Router> =
            graph.routers.iter().enumerate().map(|(id, ports)| Router::new(id, ports, &common)).collect();
        let terminal = || Terminal::new(c.virtual_channels, c.buffer_flits, c.wait_for_tail_credit);
        Ok(Simulation {
            busy_routers: vec![0; bits::words(routers.len())],
            busy_terminals: vec![0; bits::words(ends as usize)],
            wheel: Wheel::new(longest),
            terminals: (0..ends).map(|_| terminal()).collect(),
            routers,
            next_packet: 0,
            next_number: 0,
            moved: 0,
            outcome: Outcome {
                packets: vec![PacketTimes::default(); packets.len()],
                cycles: 0,
                flit_hops: 0,
                flits_sent: 0,
                flits_arrived: 0,
            },
            topology: graph,
            common,
            packets,
        })
    }

    fn run(mut self, skip: bool) -> Result<Outcome, NocError> {
        let all: u64 = self.packets.iter().map(|p| u64::from(p.flits)).sum();
        let mut now = 0;
        while self.outcome.flits_arrived < all {
            if skip {
                now = self.next_busy(now);
            } else {
                (0..self.routers.len()).for_each(|r| bits::set(&mut self.busy_routers, r));
            }
            self.deliver(now);
            self.inject(now);
            self.step_routers(now);
            if now - self.moved.min(now) > DEADLOCK && self.outcome.flits_sent > self.outcome.flits_arrived {
                let left = self.outcome.flits_sent - self.outcome.flits_arrived;
                return Err(NocError(format!("deadlock: {left} flits stand still since cycle {}", self.moved)));
            }
            now += 1;
        }
        self.outcome.cycles = now;
        Ok(self.outcome)
    }

    /// The first cycle from `now` on in which anything has something to do.
    fn next_busy(&self, now: u64) -> u64 {
        let any = |set: &[u64]| set.iter().any(|w| *w != 0);
        if any(&self.busy_routers) || any(&self.busy_terminals) {
            return now;
        }
        let sent = self.packets.get(self.next_packet).map(|p| p.time.max(now));
        self.wheel.next(now).into_iter().chain(sent).min().unwrap_or(now)
    }

    /// What the wires bring: flits and credits to routers and terminals.
    fn deliver(&mut self, now: u64) {
        let mut events = std::mem::take(self.wheel.slot(now));
        self.wheel.pending -= events.len() as u64;
        for event in events.drain(..) {
            match event {
                Event::Flit(end, flit) if end.terminal => self.arrive(now, end.to, flit),
                Event::Flit(end, flit) => {
                    self.routers[end.to as usize].receive(end.port, flit);
                    bits::set(&mut self.busy_routers, end.to as usize);
                }
                Event::Credit(end, mask) if end.terminal => self.terminals[end.to as usize].restore(mask),
                Event::Credit(end, mask) => {
                    let usable = now + self.common.config.credit_delay;
                    self.routers[end.to as usize].receive_credit(usable, end.port, mask);
                    bits::set(&mut self.busy_routers, end.to as usize);
                }
            }
        }
        // The slot keeps its memory.
        *self.wheel.slot(now) = events;
    }

    /// A flit is at its destination, which gives the slot back at once.
    fn arrive(&mut self, now: u64, terminal: u32, flit: Flit) {
        let exit = self.topology.exits[terminal as usize];
        self.wheel.put(now, exit, Event::Credit(exit, 1 << flit.vc));
        let times = &mut self.outcome.packets[flit.packet as usize];
        if flit.head {
            times.head_arrived = now;
        }
        if flit.tail {
            times.tail_arrived = now;
            times.hops = u32::from(flit.hops);
        }
        self.outcome.flits_arrived += 1;
        self.outcome.flit_hops += u64::from(flit.hops);
        self.moved = now;
    }

    /// Terminals take up the packets whose time has come, and send a flit each where there is room.
    fn inject(&mut self, now: u64) {
        while let Some(p) = self.packets.get(self.next_packet).filter(|p| p.time <= now) {
            self.terminals[p.from as usize].waiting.push_back(self.next_packet as u32);
            bits::set(&mut self.busy_terminals, p.from as usize);
            self.next_packet += 1;
        }
        let priority = self.common.config.priority;
        let age = |time: u64| i32::MAX - i32::try_from(time).unwrap_or(i32::MAX);
        for word in 0..self.busy_terminals.len() {
            let mut left = self.busy_terminals[word];
            while left != 0 {
                let place = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                let terminal = &mut self.terminals[place];
                if terminal.current.is_none()
                    && let Some(packet) = terminal.waiting.pop_front()
                {
                    let p = &self.packets[packet as usize];
                    let own = if priority == Priority::Age { age(p.time) } else { 0 };
                    terminal.current = Some(Sending::new(packet, p.to, p.flits, own));
                    let times = &mut self.outcome.packets[packet as usize];
                    (times.number, times.created) = (self.next_number, p.time);
                    self.next_number += 1;
                }
                if let Some(mut flit) = terminal.next_flit() {
                    let entry = self.topology.entries[place];
                    if flit.head {
                        self.outcome.packets[flit.packet as usize].head_left = now;
                        if self.common.config.routing_delay == 0 {
                            let (router, input) = (entry.to as usize, usize::from(entry.port));
                            let (to, upper) = (flit.to as usize, &mut flit.upper);
                            flit.ahead = self.common.routing.next(router, input, to, upper);
                        }
                    }
                    if priority == Priority::NetworkAge {
                        flit.priority = age(now);
                    }
                    self.wheel.put(now, entry, Event::Flit(entry, flit));
                    self.outcome.flits_sent += 1;
                    self.moved = now;
                }
                if self.terminals[place].is_idle() {
                    bits::clear(&mut self.busy_terminals, place);
                }
            }
        }
    }

    fn step_routers(&mut self, now: u64) {
        let speedup = self.common.config.internal_speedup;
        let steps =
            if speedup <= 1.0 { 1 } else { ((now + 1) as f64 * speedup) as u64 - (now as f64 * speedup) as u64 };
        for word in 0..self.busy_routers.len() {
            let mut left = self.busy_routers[word];
            while left != 0 {
                let id = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                let stepped = &mut self.routers[id];
                for _ in 0..steps {
                    stepped.step(now, &self.common);
                }
                let ports = &self.topology.routers[id];
                let mut sender =
                    Sender { now, outputs: &ports.outputs, inputs: &ports.inputs, wheel: &mut self.wheel, sent: 0 };
                stepped.send(&mut sender);
                if sender.sent > 0 {
                    self.moved = now;
                }
                if stepped.is_idle() {
                    bits::clear(&mut self.busy_routers, id);
                }
            }
        }
    }
}
