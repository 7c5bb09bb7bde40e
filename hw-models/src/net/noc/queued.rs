//! Routers of every kind: each stage of a router's pipeline is a queue of work.

use super::bits;
use super::config::{NocConfig, RouterConfig};
use super::fabric::{Deliveries, Fabric};
use super::flit::Flit;
use super::random::Draws;
use super::router::{Common, Router, Shared, Wires};
use super::routing::Routing;
use super::topology::{End, Ports, Topology};
use super::watch::Wait;
use super::wheel::Wheel;

/// Something on a wire, for its end.
#[derive(Debug, Clone, Copy)]
enum Event {
    Flit(End, Flit),
    Credit(End, u64),
}

/// Routers and wires.
#[derive(Debug)]
pub(super) struct Queued {
    ports: Vec<Ports>,
    entries: Vec<End>,
    exits: Vec<End>,
    common: Common,
    routers: Vec<Router>,
    /// Routers that have something to do.
    busy: Vec<u64>,
    wheel: Wheel<Event>,
    used: Vec<u32>,
    first_output: Vec<u32>,
    sent: Vec<u64>,
    moved: u64,
    steps: Steps,
}

/// How often routers step in a cycle: the internal speed-up adds up, and each whole one is a step.
#[derive(Debug)]
struct Steps {
    speedup: f64,
    partial: f64,
    cycles: u64,
}

impl Steps {
    /// The steps of cycle `now`, which is after all cycles that were asked for.
    fn of(&mut self, now: u64) -> u32 {
        if self.speedup <= 1.0 {
            return 1;
        }
        let mut steps = 0;
        while self.cycles <= now {
            steps = 0;
            self.cycles += 1;
            self.partial += self.speedup;
            while self.partial >= 1.0 {
                self.partial -= 1.0;
                steps += 1;
            }
        }
        steps
    }
}

/// A router's sending side: where its ports lead.
struct Sender<'a> {
    now: u64,
    outputs: &'a [End],
    inputs: &'a [End],
    wheel: &'a mut Wheel<Event>,
    any: bool,
}

/// When what is sent now by a channel is seen at its end.
fn seen(now: u64, end: End) -> u64 {
    now + u64::from(end.latency) + 1
}

impl Wires for Sender<'_> {
    fn flit(&mut self, output: usize, flit: Flit) {
        let end = self.outputs[output];
        self.wheel.put(seen(self.now, end), Event::Flit(end, flit));
        self.any = true;
    }

    fn credit(&mut self, input: usize, mask: u64) {
        let end = self.inputs[input];
        self.wheel.put(seen(self.now, end), Event::Credit(end, mask));
    }
}

impl Queued {
    pub(super) fn new(topology: Topology, config: &NocConfig, routing: Routing) -> Queued {
        let common = Common { config: config.router.clone(), routing };
        let longest = topology.longest();
        let routers: Vec<Router> =
            topology.routers.iter().enumerate().map(|(id, ports)| Router::new(id, ports, &common)).collect();
        let first_output = topology.first_outputs();
        let outputs: usize = topology.routers.iter().map(|r| r.outputs.len()).sum();
        let RouterConfig { internal_speedup: speedup, .. } = config.router;
        Queued {
            busy: vec![0; bits::words(routers.len())],
            wheel: Wheel::new(longest),
            used: vec![0; outputs],
            sent: vec![0; outputs],
            first_output,
            moved: 0,
            steps: Steps { speedup, partial: 0.0, cycles: 0 },
            ports: topology.routers,
            entries: topology.entries,
            exits: topology.exits,
            common,
            routers,
        }
    }
}

impl Fabric for Queued {
    const TELLS_ROOM: bool = false;

    fn deliver(&mut self, now: u64, to_terminals: &mut Deliveries) {
        let events = self.wheel.take(now);
        for event in &events {
            match *event {
                Event::Flit(end, flit) if end.terminal => {
                    let exit = self.exits[end.to as usize];
                    self.wheel.put(seen(now, exit), Event::Credit(exit, 1 << flit.vc));
                    to_terminals.flits.push((end.to, flit));
                }
                Event::Flit(end, flit) => {
                    self.routers[end.to as usize].receive(end.port, flit);
                    bits::set(&mut self.busy, end.to as usize);
                }
                Event::Credit(end, mask) if end.terminal => to_terminals.credits.push((end.to, mask)),
                Event::Credit(end, mask) => {
                    let usable = now + self.common.config.credit_delay;
                    self.routers[end.to as usize].receive_credit(usable, end.port, mask);
                    bits::set(&mut self.busy, end.to as usize);
                }
            }
        }
        self.wheel.give_back(now, events);
    }

    fn entry_vcs(&self, class: u8, packet: u32, now: u64, draws: &mut Draws) -> (usize, usize) {
        self.common.routing.entry_vcs(class, packet, now, draws)
    }

    fn has_room(&self, _: u64, _: usize, _: usize) -> bool {
        true
    }

    fn send(&mut self, now: u64, terminal: usize, mut flit: Flit, draws: &mut Draws) {
        let entry = self.entries[terminal];
        if flit.head && self.common.config.routing_delay == 0 {
            let (used, first_output) = (&mut self.used[..], &self.first_output[..]);
            let mut shared = Shared { draws, used, first_output, sent: &mut self.sent };
            let (router, input) = (entry.to as usize, usize::from(entry.port));
            flit.ahead = self.common.routing.next(router, input, &mut flit, &mut shared.surroundings());
        }
        self.wheel.put(seen(now, entry), Event::Flit(entry, flit));
    }

    fn step(&mut self, now: u64, draws: &mut Draws, all: bool) {
        if all {
            (0..self.routers.len()).for_each(|r| bits::set(&mut self.busy, r));
        }
        let steps = self.steps.of(now);
        for word in 0..self.busy.len() {
            let mut left = self.busy[word];
            while left != 0 {
                let id = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                let stepped = &mut self.routers[id];
                let (used, first_output, sent) = (&mut self.used[..], &self.first_output[..], &mut self.sent[..]);
                let mut shared = Shared { draws, used, first_output, sent };
                for _ in 0..steps {
                    stepped.step(now, &self.common, &mut shared);
                }
                let Ports { outputs, inputs } = &self.ports[id];
                let mut sender = Sender { now, outputs, inputs, wheel: &mut self.wheel, any: false };
                stepped.send(&mut sender);
                if sender.any {
                    self.moved = now;
                }
                if stepped.is_idle() {
                    bits::clear(&mut self.busy, id);
                }
            }
        }
    }

    fn next(&self, now: u64) -> Option<u64> {
        if self.busy.iter().any(|w| *w != 0) {
            return Some(now);
        }
        self.wheel.next(now)
    }

    fn moved(&self) -> u64 {
        self.moved
    }

    fn sent(&self) -> Vec<u64> {
        self.sent.clone()
    }

    fn waits(&self) -> Vec<Wait> {
        let mut waits = Vec::new();
        for (router, ports) in self.routers.iter().zip(&self.ports) {
            router.waits(ports, &mut waits);
        }
        waits
    }
}
