//! Routers of the usual kind, whose state is a few words of bits: iSLIP allocators of one cycle, no speed-ups, no speculation, no
//! priorities, and routing that looks at nothing. They do what the general routers do, flit by flit and cycle by cycle.
//!
//! Four things make them fast. What waits in a stage is a bit of a word, and so is what a stage may grant. A flit is written once into
//! the buffer that it goes to, when it is sent. Credits are no events: a buffer knows in which cycles those that it gave count, and only
//! an output that has no slot left is told when it has one. And heads that come to a router in which no others wait, each to
//! an output of its own in its cycle, are left alone until the cycle in which they cross, for what happens to them until then is known:
//! such a hop is one event, made when the head is sent, which takes the head past all buffers. If anything comes in between, the steps that were left out are made up, and heads
//! that have not come yet come as others do.

mod carry;
mod state;
mod step;

use super::bits;
use super::config::{AllocatorKind, NocConfig, Priority, RouterConfig};
use super::flit::Flit;
use super::random::Draws;
use super::routing::{Route, Routing, Surroundings};
use super::topology::{End, Topology};
use state::{Far, HORIZON, Input, InputVc, Output, PLACES, Packed, Scratch, Slot, Stages, State, pop};

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
    iterations: [u32; 2],
    stages: Vec<Stages>,
    busy: Vec<u64>,
    /// Places of a router.
    stride: usize,
    /// Virtual channels of inputs, and after them those of terminals, of which only credits count.
    inputs: Vec<InputVc>,
    flits: Vec<Packed>,
    outputs: Vec<Output>,
    ports_in: Vec<Input>,
    /// By virtual channel of an output: whose turn among the heads it is.
    turns: Vec<u8>,
    entries: Vec<Far>,
    /// By terminal: cycles from a flit's arrival until its slot is usable again.
    exit_delays: Vec<u16>,
    slots: Vec<Slot>,
    /// Slots of the wheel that have something.
    pending: Vec<u64>,
    degrees: Vec<u32>,
    moved: u64,
    /// The output for each terminal, a row a router, where it depends on nothing else; empty elsewhere.
    table: Vec<u8>,
    draws: Draws,
    scratch: Scratch,
}

/// Cycles that anything lies ahead, at most: a terminal's credit for a flit that crosses now.
fn longest_wait(topology: &Topology, credit_delay: u64) -> u64 {
    (2 * topology.longest()).saturating_add(credit_delay).saturating_add(8)
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
        // Terminals give slots back by bits.
        let mut exits = topology
            .exits
            .iter()
            .map(|end| (2 * u64::from(end.latency) + 3).saturating_add(config.router.credit_delay));
        routes
            && small
            && exits.all(|wait| wait <= HORIZON)
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
        let far = |end: &End, more: u64| Far {
            to: if end.terminal { end.to } else { end.to * PLACES as u32 + (u32::from(end.port) << lanes) },
            delay: end.latency.saturating_add(more as u16),
            terminal: end.terminal,
        };
        let nowhere = Far { to: 0, delay: 1, terminal: true };
        let mut outputs = vec![Output::new(nowhere); routers * ports];
        let mut ports_in = vec![Input { feed: nowhere, turn: 0, lane_turn: 0 }; routers * ports];
        for (router, ends) in topology.routers.iter().enumerate() {
            for (port, end) in ends.outputs.iter().enumerate() {
                // A cycle for the crossbar, the channel's, and one to be seen.
                outputs[router * ports + port].end = far(end, 2);
            }
            for (port, end) in ends.inputs.iter().enumerate() {
                // A terminal sees a credit when it comes.
                ports_in[router * ports + port].feed = far(end, if end.terminal { 1 } else { 1 + c.credit_delay });
            }
        }
        let slots = longest_wait(topology, c.credit_delay).next_power_of_two() as usize;
        let places = routers * (ports << lanes);
        let buffers = places + (topology.entries.len() << lanes);
        let mut masked = Masked {
            routing,
            ports,
            vcs,
            lanes,
            depth,
            routes_here: c.routing_delay > 0,
            iterations,
            stages: vec![Stages::default(); routers],
            busy: vec![0; bits::words(routers)],
            stride: ports << lanes,
            inputs: vec![InputVc::default(); buffers],
            flits: vec![Packed::default(); places * depth],
            outputs,
            ports_in,
            turns: vec![0; places],
            entries: topology.entries.iter().map(|end| far(end, 1)).collect(),
            exit_delays: topology.exits.iter().map(|end| far(end, 1 + c.credit_delay).delay).collect(),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            pending: vec![0; bits::words(slots)],
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

    #[inline(always)]
    fn slot(&mut self, at: u64) -> &mut Slot {
        let slot = at as usize & (self.slots.len() - 1);
        bits::set(&mut self.pending, slot);
        &mut self.slots[slot]
    }

    /// Where a place lies among those of all routers. Numbers on the wheel are a router's times the bits of a word, plus the place.
    #[inline(always)]
    fn index(&self, at: usize) -> usize {
        at / PLACES * self.stride + at % PLACES
    }

    /// Where the front flit of a virtual channel of an input lies.
    #[inline(always)]
    fn front(&self, index: usize) -> usize {
        index * self.depth + usize::from(self.inputs[index].start)
    }

    /// A flit is on its way to an input, in which it arrives at cycle `seen`: when its sender knows of a free slot again, if it is not in
    /// the next cycle.
    #[inline(always)]
    fn write(&mut self, now: u64, seen: u64, at: usize, mut flit: Packed) -> Option<u64> {
        let index = self.index(at);
        let vc = &self.inputs[index];
        if vc.state == State::Idle && vc.coming == 0 && self.stages[at / PLACES].is_idle() {
            // It will be the front flit. Its route depends on nothing that changes, and may be known now.
            let route = self.route(at, &mut flit);
            let alone = self.leave_alone(now, seen, at, route.port, flit);
            let vc = &mut self.inputs[index];
            vc.set_route(route);
            if alone {
                (vc.state, vc.len) = (State::Asking, 1);
                return vc.full_until(now, self.depth);
            }
            vc.state = State::Coming;
        }
        let vc = &mut self.inputs[index];
        let slot = usize::from(vc.start) + vc.occupied() as usize;
        self.flits[index * self.depth + if slot >= self.depth { slot - self.depth } else { slot }] = flit;
        vc.coming += 1;
        let full = vc.full_until(now, self.depth);
        self.slot(seen).arrivals.push(at as u32);
        full
    }

    /// Leaves a head that comes in cycle `seen` alone until it crosses, if no other one crosses to its output then.
    #[inline(always)]
    fn leave_alone(&mut self, now: u64, seen: u64, at: usize, port: u8, flit: Packed) -> bool {
        let (router, place) = (at / PLACES, at % PLACES);
        let crosses = seen + 1 + u64::from(self.routes_here);
        if crosses - now > HORIZON {
            return false;
        }
        if !self.outputs[router * self.ports + usize::from(port)].reserve(now, crosses - now) {
            return false;
        }
        self.stages[router].alone |= 1 << place;
        self.inputs[router * self.stride + place].since = seen as u32;
        self.slot(crosses).crossings.push((at as u32, flit));
        true
    }

    /// The route of a head that is in a virtual channel of an input.
    #[inline(always)]
    fn route(&mut self, at: usize, packed: &mut Packed) -> Route {
        let (router, place) = (at / PLACES, at % PLACES);
        if let Some(port) = self.table.get(router * self.entries.len() + packed.to as usize) {
            return self.routing.to_port(*port, packed.class());
        }
        let mut nothing = Surroundings { draws: &mut self.draws, used: &[], first_output: &[] };
        let mut flit = Flit { vc: (place & ((1 << self.lanes) - 1)) as u8, ..packed.flit() };
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
            State::Idle | State::Coming => {
                if vc.state == State::Idle {
                    self.ask(at);
                }
                let front = self.flits[self.front(index)];
                let vc = &mut self.inputs[index];
                vc.state = State::Asking;
                let port = vc.port;
                if self.stages[router].is_idle() && self.leave_alone(now, now, at, port, front) {
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
    fn ask(&mut self, at: usize) {
        let index = self.index(at);
        let front = self.front(index);
        let mut flit = self.flits[front];
        let route = self.route(at, &mut flit);
        if self.table.is_empty() {
            self.flits[front] = flit;
        }
        let vc = &mut self.inputs[index];
        vc.set_route(route);
        vc.state = State::Asking;
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
        let mut left = std::mem::take(&mut self.stages[router].alone);
        if left == 0 {
            return;
        }
        let base = router * self.stride;
        let later = std::mem::take(&mut self.stages[router]);
        let age = |masked: &Masked, place: usize| (now as u32).wrapping_sub(masked.inputs[base + place].since) as i32;
        let places = |mut left: u64| std::iter::from_fn(move || (left != 0).then(|| pop(&mut left)));
        let mut oldest = 0;
        for place in places(left) {
            let (ago, at) = (age(self, place), router * PLACES + place);
            oldest = oldest.max(ago);
            // It lies in the buffer from now on.
            let crosses = (now + 1 + u64::from(self.routes_here)).wrapping_add_signed(-i64::from(ago));
            let slot = crosses as usize & (self.slots.len() - 1);
            let event = self.slots[slot].crossings.iter().find(|(place, _)| *place as usize == at);
            let flit = event.map_or_else(Packed::default, |(_, flit)| *flit);
            let front = self.front(base + place);
            self.flits[front] = flit;
            let vc = &mut self.inputs[base + place];
            self.outputs[router * self.ports + usize::from(vc.port)].reserved = 0;
            if ago < 0 {
                // It has not come yet, and comes as others do.
                left &= !(1 << place);
                (vc.state, vc.len, vc.coming) = (State::Coming, 0, vc.coming + 1);
                self.slot(now + u64::from(ago.unsigned_abs())).arrivals.push(at as u32);
            }
        }
        for ago in (1..=oldest).rev() {
            for place in places(left) {
                if age(self, place) == ago {
                    self.begin(router * PLACES + place);
                }
            }
            self.step_router(router, now - u64::from(ago.unsigned_abs()));
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
