//! The simulation: terminals, and what carries their flits, cycle by cycle, skipping what is idle.
//!
//! Only routers and terminals that have something to do are stepped, and cycles in which nothing has are passed over; neither changes a
//! result.

use super::bits;
use super::config::{NocConfig, NocError, Priority};
use super::credits::Credits;
use super::fabric::{Deliveries, Fabric};
use super::random::Draws;
use super::source::{Start, Terminal};
use super::topology::Topology;
use super::watch;
use super::workload::Workload;

/// Cycles without any flit moving after which a network with flits in it is given up as deadlocked.
const DEADLOCK: u64 = 1 << 16;

/// A network with its terminals.
#[derive(Debug)]
pub(super) struct Simulation<F> {
    fabric: F,
    draws: Draws,
    terminals: Vec<Terminal>,
    /// Terminals that send nothing, and those that do.
    idle: Vec<u64>,
    sending: Vec<u64>,
    network_age: bool,
    skip: bool,
    deliveries: Deliveries,
    started: Vec<(u32, Start)>,
    /// The next cycle.
    now: u64,
    moved: u64,
    sent: u64,
    arrived: u64,
    flit_hops: u64,
}

/// The priority of what is older than others: the earlier the higher.
pub(super) fn age(time: u64) -> i32 {
    i32::MAX - i32::try_from(time).unwrap_or(i32::MAX)
}

impl<F: Fabric> Simulation<F> {
    pub(super) fn new(config: &NocConfig, topology: &Topology, fabric: F, draws: Draws, skip: bool) -> Simulation<F> {
        let (c, ends) = (&config.router, topology.entries.len());
        let credits = || Credits::new(c.virtual_channels, c.buffer_flits, c.wait_for_tail_credit);
        let terminal = || Terminal::new((!F::TELLS_ROOM).then(credits));
        let mut idle = vec![0; bits::words(ends)];
        (0..ends).for_each(|t| bits::set(&mut idle, t));
        Simulation {
            fabric,
            draws,
            terminals: (0..ends).map(|_| terminal()).collect(),
            sending: vec![0; idle.len()],
            idle,
            network_age: c.priority == Priority::NetworkAge,
            skip,
            deliveries: Deliveries::default(),
            started: Vec::new(),
            now: 0,
            moved: 0,
            sent: 0,
            arrived: 0,
            flit_hops: 0,
        }
    }

    /// The next cycle.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Flits that left sources.
    pub(super) fn flits_sent(&self) -> u64 {
        self.sent
    }

    /// Flits that arrived.
    pub(super) fn flits_arrived(&self) -> u64 {
        self.arrived
    }

    /// Flits times the routers they went through.
    pub(super) fn flit_hops(&self) -> u64 {
        self.flit_hops
    }

    /// Flits that each output has sent.
    pub(super) fn link_flits(&self) -> Vec<u64> {
        self.fabric.sent()
    }

    /// Simulates the cycle `now`, or the first one before `end` in which anything has something to do; the next cycle is the one after it,
    /// or `end`.
    ///
    /// # Errors
    /// The network is deadlocked.
    pub(super) fn cycle(&mut self, end: u64, work: &mut impl Workload) -> Result<(), NocError> {
        if self.skip {
            self.now = self.next_busy(work).unwrap_or(end).min(end);
            if self.now == end {
                return Ok(());
            }
        }
        let now = self.now;
        self.deliver(now, work);
        self.inject(now, work);
        self.fabric.step(now, &mut self.draws, !self.skip);
        let moved = self.moved.max(self.fabric.moved());
        if self.sent > self.arrived && now - moved.min(now) > DEADLOCK {
            return Err(watch::stuck(moved, self.sent - self.arrived, &self.fabric.waits()));
        }
        self.now += 1;
        Ok(())
    }

    /// The first cycle from now on in which anything has something to do.
    fn next_busy(&self, work: &impl Workload) -> Option<u64> {
        if self.sending.iter().any(|w| *w != 0) {
            return Some(self.now);
        }
        let wires = self.fabric.next(self.now);
        if wires == Some(self.now) {
            return wires;
        }
        wires.into_iter().chain(work.next(self.now, &self.idle)).min()
    }

    /// What the wires bring.
    fn deliver(&mut self, now: u64, work: &mut impl Workload) {
        self.fabric.deliver(now, &mut self.deliveries);
        // In one order, whichever way the wires bring them: what is numbered by arrivals is part of the result.
        if self.deliveries.flits.len() > 1 {
            self.deliveries.flits.sort_unstable_by_key(|delivery| delivery.0);
        }
        for (terminal, flit) in self.deliveries.flits.drain(..) {
            work.arrived(now, terminal, &flit);
            self.arrived += 1;
            self.flit_hops += u64::from(flit.hops);
            self.moved = now;
        }
        for (terminal, mask) in self.deliveries.credits.drain(..) {
            self.terminals[terminal as usize].restore(mask);
        }
    }

    /// Terminals that send nothing take up packets, and those that send do so, a flit each, where there is room.
    fn inject(&mut self, now: u64, work: &mut impl Workload) {
        work.generate(now, &self.idle, &mut self.draws, &mut self.started);
        for (terminal, packet) in self.started.drain(..) {
            self.terminals[terminal as usize].start(packet);
            bits::clear(&mut self.idle, terminal as usize);
            bits::set(&mut self.sending, terminal as usize);
        }
        for word in 0..self.sending.len() {
            let mut left = self.sending[word];
            while left != 0 {
                let place = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                let terminal = &mut self.terminals[place];
                let range = match terminal.asks() {
                    Some(packet) => self.fabric.entry_vcs(packet.class, packet.packet, now, &mut self.draws),
                    None => (0, 0),
                };
                let fabric = &self.fabric;
                let Some(mut flit) = terminal.next_flit(range, |vc| fabric.has_room(now, place, vc)) else { continue };
                if self.network_age {
                    flit.priority = age(now);
                }
                work.left(now, place as u32, &flit);
                self.sent += 1;
                self.moved = now;
                self.fabric.send(now, place, flit, &mut self.draws);
                if terminal.is_idle() {
                    bits::clear(&mut self.sending, place);
                    bits::set(&mut self.idle, place);
                }
            }
        }
    }
}
