//! Routers of the usual kind, whose state is a few words of bits: iSLIP allocators of one cycle, no speed-ups, no speculation, no
//! priorities, and routing that looks at nothing. They do what the general routers do, flit by flit and cycle by cycle.
//!
//! Three things make them fast. What waits in a stage is a bit of a word, and so is what a stage may grant. A flit is written once into
//! the buffer that it goes to, when it is sent; its arrival is a number on the wheel. And heads that come to a router in which no others
//! wait, each to an output of its own in its cycle, are left alone until the cycle in which they cross, for what happens to them until
//! then is known; if anything comes in between, the steps that were left out are made up.

mod carry;
mod state;
mod step;

use super::bits;
use super::config::{AllocatorKind, NocConfig, Priority, RouterConfig};
use super::random::Draws;
use super::routing::{Route, Routing, Surroundings};
use super::topology::{End, Topology};
use state::{Far, Input, InputVc, Output, OutputVc, PLACES, Packed, Scratch, Slot, Stages, State, pop};

/// Routes that are worked out at the beginning, at most.
const MOST_ROUTES: usize = 1 << 22;

/// Routers and wires.
#[derive(Debug)]
pub(super) struct Masked {
    routing: Routing,
    ports: usize,
    vcs: usize,
    /// Places of a port are this power of two, so that its place is a shift away; of these the first are its virtual channels.
    lanes: u32,
    depth: usize,
    /// Whether routes are computed in a cycle of their own, rather than a hop ahead.
    routes_here: bool,
    credit_delay: u64,
    iterations: [u32; 2],
    stages: Vec<Stages>,
    busy: Vec<u64>,
    /// Places of a router.
    stride: usize,
    inputs: Vec<InputVc>,
    flits: Vec<Packed>,
    outputs: Vec<Output>,
    ports_in: Vec<Input>,
    output_vcs: Vec<OutputVc>,
    entries: Vec<Far>,
    exits: Vec<Far>,
    slots: Vec<Slot>,
    degrees: Vec<u32>,
    moved: u64,
    /// The output for each terminal, a row a router, where it depends on nothing else; empty elsewhere.
    table: Vec<u8>,
    draws: Draws,
    scratch: Scratch,
}

impl Masked {
    /// Whether these routers do what a configuration asks for. With one sequence of random numbers, routing must not draw any.
    pub(super) fn fits(topology: &Topology, config: &NocConfig, routing: &Routing, draws: &Draws) -> bool {
        let RouterConfig {
            virtual_channels,
            routing_delay,
            vc_alloc_delay: 1,
            sw_alloc_delay: 1,
            crossbar_delay: 1,
            vc_allocator: AllocatorKind::Islip { .. },
            sw_allocator: AllocatorKind::Islip { .. },
            input_speedup: 1,
            output_speedup: 1,
            internal_speedup,
            output_buffer: None,
            speculative: false,
            hold_switch_for_packet: false,
            wait_for_tail_credit: false,
            vc_busy_when_full: false,
            vc_prioritize_empty: false,
            priority: Priority::None,
            ..
        } = config.router
        else {
            return false;
        };
        let ports = topology.routers.iter().map(|r| r.inputs.len().max(r.outputs.len())).max().unwrap_or(0);
        let routes = match draws {
            Draws::Sequence(_) => routing.is_plain(),
            Draws::Hash { .. } => routing.is_oblivious(),
            Draws::Script(_) => false,
        };
        let small = config.router.buffer_flits < usize::from(u16::MAX) / 2;
        routes
            && small
            && routing_delay <= 1
            && internal_speedup <= 1.0
            && ports * virtual_channels.next_power_of_two() <= PLACES
    }

    pub(super) fn new(topology: &Topology, config: &NocConfig, routing: Routing, draws: &Draws) -> Masked {
        let c = &config.router;
        let (vcs, depth, routers) = (c.virtual_channels, c.buffer_flits, topology.routers.len());
        let ports = topology.routers.iter().map(|r| r.inputs.len().max(r.outputs.len())).max().unwrap_or(1);
        let lanes = vcs.next_power_of_two().trailing_zeros();
        let iterations = [c.vc_allocator, c.sw_allocator].map(|a| match a {
            AllocatorKind::Islip { iterations } => iterations,
            _ => 1,
        });
        let far = |end: &End| Far {
            to: if end.terminal { end.to } else { end.to * PLACES as u32 + (u32::from(end.port) << lanes) },
            latency: end.latency,
            terminal: end.terminal,
        };
        let nowhere = Far { to: 0, latency: 1, terminal: true };
        let mut outputs =
            vec![
                Output { owned: 0, full: 0, crossed: 0, last_crossed: 0, held_then: 0, end: nowhere, turn: 0, sent: 0 };
                routers * ports
            ];
        let mut ports_in = vec![Input { feed: nowhere, turn: 0, lane_turn: 0 }; routers * ports];
        for (router, ends) in topology.routers.iter().enumerate() {
            for (port, end) in ends.outputs.iter().enumerate() {
                outputs[router * ports + port].end = far(end);
            }
            for (port, end) in ends.inputs.iter().enumerate() {
                ports_in[router * ports + port].feed = far(end);
            }
        }
        let longest = topology.longest() + 3 + c.credit_delay;
        let slots = (longest + 2).next_power_of_two() as usize;
        let mut masked = Masked {
            routing,
            ports,
            vcs,
            lanes,
            depth,
            routes_here: c.routing_delay > 0,
            credit_delay: c.credit_delay,
            iterations,
            stages: vec![Stages::default(); routers],
            busy: vec![0; bits::words(routers)],
            stride: ports << lanes,
            inputs: vec![InputVc::default(); routers * (ports << lanes)],
            flits: vec![Packed::default(); routers * (ports << lanes) * depth],
            outputs,
            ports_in,
            output_vcs: vec![OutputVc::default(); routers * (ports << lanes)],
            entries: topology.entries.iter().map(far).collect(),
            exits: topology.exits.iter().map(far).collect(),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            degrees: topology.routers.iter().map(|r| r.outputs.len() as u32).collect(),
            moved: 0,
            table: Vec::new(),
            draws: match draws {
                Draws::Hash { seed } => Draws::Hash { seed: *seed },
                // Nothing is drawn.
                Draws::Sequence(_) | Draws::Script(_) => Draws::Hash { seed: 0 },
            },
            scratch: Scratch::new(ports),
        };
        masked.fill_table();
        masked
    }

    /// Works out all routes, where there are not too many and they depend on nothing but where a packet is and goes.
    fn fill_table(&mut self) {
        let (routers, terminals) = (self.stages.len(), self.entries.len());
        if !self.routing.is_stateless() || routers.saturating_mul(terminals) > MOST_ROUTES {
            return;
        }
        let mut table = Vec::with_capacity(routers * terminals);
        for router in 0..routers {
            for to in 0..terminals {
                let mut flit = Packed { to: to as u32, ..Packed::default() };
                table.push(self.route(router * PLACES, &mut flit).port);
            }
        }
        self.table = table;
    }

    #[inline]
    fn slot(&mut self, at: u64) -> &mut Slot {
        let slot = at as usize & (self.slots.len() - 1);
        let slot = &mut self.slots[slot];
        slot.events += 1;
        slot
    }

    /// Where a place lies among those of all routers. Numbers on the wheel are a router's times the bits of a word, plus the place.
    #[inline]
    fn index(&self, at: usize) -> usize {
        at / PLACES * self.stride + at % PLACES
    }

    /// Where the front flit of a virtual channel of an input lies.
    #[inline]
    fn front(&self, index: usize) -> usize {
        index * self.depth + usize::from(self.inputs[index].start)
    }

    /// Writes a flit into the buffer of an input, in which it arrives at cycle `seen`.
    #[inline]
    fn write(&mut self, seen: u64, at: usize, flit: Packed) {
        let index = self.index(at);
        let vc = &mut self.inputs[index];
        let slot = usize::from(vc.start) + usize::from(vc.len) + usize::from(vc.coming);
        vc.coming += 1;
        self.flits[index * self.depth + if slot >= self.depth { slot - self.depth } else { slot }] = flit;
        self.slot(seen).arrivals.push(at as u32);
    }

    /// The route of a head that is in a virtual channel of an input.
    #[inline]
    fn route(&mut self, at: usize, packed: &mut Packed) -> Route {
        let (router, place) = (at / PLACES, at % PLACES);
        if let Some(port) = self.table.get(router * self.entries.len() + packed.to as usize) {
            return self.routing.to_port(*port, packed.class());
        }
        let mut nothing = Surroundings { draws: &mut self.draws, used: &[], first_output: &[] };
        let mut flit = packed.flit(place & ((1 << self.lanes) - 1));
        let route = self.routing.next(router, place >> self.lanes, &mut flit, &mut nothing);
        (packed.phase, packed.way) = (flit.phase, flit.way);
        route
    }

    /// A flit of a virtual channel of an input is there.
    fn arrive(&mut self, now: u64, at: usize) {
        let (router, place, index) = (at / PLACES, at % PLACES, self.index(at));
        let vc = &mut self.inputs[index];
        vc.coming -= 1;
        vc.len += 1;
        match vc.state {
            State::Idle => {
                let route = self.ask(at);
                let crosses = now + 1 + u64::from(self.routes_here);
                let output = &mut self.outputs[router * self.ports + usize::from(route.port)];
                let stages = &mut self.stages[router];
                if stages.is_idle() && output.crossed != crosses as u32 {
                    output.crossed = crosses as u32;
                    stages.alone |= 1 << place;
                    self.inputs[index].since = now as u32;
                    self.slot(crosses).crossings.push(at as u32);
                    return;
                }
                self.make_up(router, now);
                self.begin(at);
            }
            State::Active if vc.len == 1 => {
                self.make_up(router, now);
                self.stages[router].switching |= 1 << place;
            }
            State::Asking | State::Active => return,
        }
        bits::set(&mut self.busy, router);
    }

    /// A head is at the front of its virtual channel. Its route depends on nothing that changes: it is worked out at once.
    fn ask(&mut self, at: usize) -> Route {
        let index = self.index(at);
        let front = self.front(index);
        let mut flit = self.flits[front];
        let route = self.route(at, &mut flit);
        if self.table.is_empty() {
            self.flits[front] = flit;
        }
        let vc = &mut self.inputs[index];
        (vc.route, vc.state) = (route, State::Asking);
        route
    }

    /// A head whose route is known goes to the first stage.
    fn begin(&mut self, at: usize) {
        let (stages, place) = (&mut self.stages[at / PLACES], at % PLACES);
        if self.routes_here {
            stages.routing |= 1 << place;
        } else {
            stages.allocating |= 1 << place;
        }
    }

    /// Makes the steps before `now` that a router left out for heads that were left alone. What is in its stages has come there since.
    fn make_up(&mut self, router: usize, now: u64) {
        let left = std::mem::take(&mut self.stages[router].alone);
        if left == 0 {
            return;
        }
        let later = std::mem::take(&mut self.stages[router]);
        let age = |masked: &Masked, place: usize| {
            (now as u32).wrapping_sub(masked.inputs[router * masked.stride + place].since)
        };
        let places = |mut left: u64| std::iter::from_fn(move || (left != 0).then(|| pop(&mut left)));
        let oldest = places(left).map(|place| age(self, place)).max().unwrap_or(0);
        for ago in (1..=oldest).rev() {
            for place in places(left) {
                if age(self, place) == ago {
                    self.begin(router * PLACES + place);
                }
            }
            self.step_router(router, now - u64::from(ago));
        }
        for place in places(left) {
            if age(self, place) == 0 {
                self.begin(router * PLACES + place);
            }
        }
        let stages = &mut self.stages[router];
        stages.routing |= later.routing;
        stages.allocating |= later.allocating;
        stages.switching |= later.switching;
        bits::set(&mut self.busy, router);
    }
}
