//! A step of a router: who asks for what, who gets it, and what crosses.

use super::super::bits;
use super::Masked;
use super::state::{HORIZON, PLACES, Packed, State, UNKNOWN, in_turn, pop};

impl Masked {
    /// The bits of a place that tell the virtual channels of a port apart.
    fn lane_mask(&self) -> usize {
        (1 << self.lanes) - 1
    }

    /// One step of the pipeline. Stages are evaluated on what was there at its beginning.
    pub(super) fn step_router(&mut self, router: usize, now: u64) {
        let stages = self.stages[router];
        // Routes computed now count from the next step on, as do virtual channels given now.
        let given = if stages.allocating == 0 { 0 } else { self.allocate(router, stages.allocating, now) };
        let now_stages = &mut self.stages[router];
        now_stages.allocating = stages.allocating & !given | stages.routing;
        now_stages.routing = 0;
        if stages.switching != 0 {
            self.switch(router, stages.switching, now);
        }
        self.stages[router].switching |= given;
    }

    /// Virtual channel allocation: gives output virtual channels to heads, and says which heads got one.
    fn allocate(&mut self, router: usize, asking: u64, now: u64) -> u64 {
        let (base, outputs) = (router * self.stride, router * self.ports);
        let (mut wanted, mut shared, mut asks) = (0_u64, false, 0_u64);
        let mut left = asking;
        while left != 0 {
            let place = pop(&mut left);
            let vc = &self.inputs[base + place];
            let port = usize::from(vc.port);
            let free = (self.outputs[outputs + port].free(now) & vc.vcs()) << (port << self.lanes);
            if free != 0 {
                self.scratch.granted[place] = free;
                asks |= 1 << place;
                shared |= wanted & free != 0;
                wanted |= free;
            }
        }
        if !shared {
            // No output virtual channel is asked for twice: each head takes the first in turn.
            let mut left = asks;
            while left != 0 {
                let place = pop(&mut left);
                let free = std::mem::take(&mut self.scratch.granted[place]);
                let out = in_turn(free, self.inputs[base + place].turn);
                self.give(router, place, out, true);
            }
            return asks;
        }
        let mut left = asks;
        while left != 0 {
            let place = pop(&mut left);
            let mut free = std::mem::take(&mut self.scratch.granted[place]);
            while free != 0 {
                self.scratch.wanted[pop(&mut free)] |= 1 << place;
            }
        }
        let (mut given, mut open) = (0_u64, wanted);
        for iteration in 0..self.iterations[0] {
            let (mut outs, mut accepting) = (open, 0_u64);
            while outs != 0 {
                let out = pop(&mut outs);
                let heads = self.scratch.wanted[out] & !given;
                if heads != 0 {
                    let place = in_turn(heads, self.turns[base + out]);
                    self.scratch.granted[place] |= 1 << out;
                    accepting |= 1 << place;
                }
            }
            if accepting == 0 {
                break;
            }
            given |= accepting;
            while accepting != 0 {
                let place = pop(&mut accepting);
                let grants = std::mem::take(&mut self.scratch.granted[place]);
                let out = in_turn(grants, self.inputs[base + place].turn);
                open &= !(1 << out);
                self.give(router, place, out, iteration == 0);
            }
        }
        while wanted != 0 {
            self.scratch.wanted[pop(&mut wanted)] = 0;
        }
        given
    }

    /// A head gets an output virtual channel; turns pass on for what was accepted on the first iteration.
    fn give(&mut self, router: usize, place: usize, out: usize, turns: bool) {
        let base = router * self.stride;
        if turns {
            self.turns[base + out] = place as u8 + 1;
            self.inputs[base + place].turn = out as u8 + 1;
        }
        let (port, vc) = (out >> self.lanes, out & self.lane_mask());
        self.outputs[router * self.ports + port].owned |= 1 << vc;
        let input = &mut self.inputs[base + place];
        (input.out_port, input.out_vc, input.state) = (port as u8, vc as u8, State::Active);
    }

    /// Allocation of the crossbar, and what gets it crosses.
    fn switch(&mut self, router: usize, switching: u64, now: u64) {
        let (base, ports, lanes) = (router * self.stride, self.ports, self.lanes);
        let (mut ins, mut outs, mut shared) = (0_u64, 0_u64, false);
        let mut left = switching;
        while left != 0 {
            let place = pop(&mut left);
            let vc = &self.inputs[base + place];
            let port = usize::from(vc.out_port);
            if self.outputs[router * ports + port].full >> vc.out_vc & 1 == 1 {
                continue;
            }
            let input = place >> lanes;
            shared |= (ins >> input | outs >> port) & 1 == 1;
            ins |= 1 << input;
            outs |= 1 << port;
            self.scratch.lanes[input * ports + port] |= 1 << (place & self.lane_mask());
            self.scratch.wanted[port] |= 1 << input;
        }
        if !shared {
            // No input and no output is asked for twice.
            while outs != 0 {
                let port = pop(&mut outs);
                let input = std::mem::take(&mut self.scratch.wanted[port]).trailing_zeros() as usize;
                let lane = std::mem::take(&mut self.scratch.lanes[input * ports + port]).trailing_zeros() as usize;
                self.turn(router, input, port);
                self.cross(router, input, lane, now);
            }
            return;
        }
        let (mut matched, mut open) = (0_u64, outs);
        for iteration in 0..self.iterations[1] {
            let (mut left, mut accepting) = (open, 0_u64);
            while left != 0 {
                let port = pop(&mut left);
                let asking = self.scratch.wanted[port] & !matched;
                if asking != 0 {
                    let input = in_turn(asking, self.outputs[router * ports + port].turn);
                    self.scratch.granted[input] |= 1 << port;
                    accepting |= 1 << input;
                }
            }
            if accepting == 0 {
                break;
            }
            matched |= accepting;
            while accepting != 0 {
                let input = pop(&mut accepting);
                let grants = std::mem::take(&mut self.scratch.granted[input]);
                let port = in_turn(grants, self.ports_in[router * ports + input].turn);
                open &= !(1 << port);
                if iteration == 0 {
                    self.turn(router, input, port);
                }
                let lane =
                    in_turn(self.scratch.lanes[input * ports + port], self.ports_in[router * ports + input].lane_turn);
                self.cross(router, input, lane, now);
            }
        }
        while outs != 0 {
            let port = pop(&mut outs);
            let mut asked = std::mem::take(&mut self.scratch.wanted[port]);
            while asked != 0 {
                self.scratch.lanes[pop(&mut asked) * ports + port] = 0;
            }
        }
    }

    /// The turns of an input and output of the crossbar that were matched.
    fn turn(&mut self, router: usize, input: usize, port: usize) {
        self.outputs[router * self.ports + port].turn = input as u8 + 1;
        self.ports_in[router * self.ports + input].turn = port as u8 + 1;
    }

    /// The front flit of a virtual channel crosses.
    fn cross(&mut self, router: usize, input: usize, lane: usize, now: u64) {
        let place = (input << self.lanes) + lane;
        let index = router * self.stride + place;
        let flit = self.flits[self.front(index)];
        let vc = &self.inputs[index];
        let (port, out_vc) = (usize::from(vc.out_port), usize::from(vc.out_vc));
        if flit.is_tail() {
            self.outputs[router * self.ports + port].owned &= !(1 << out_vc);
        }
        self.give_back(router, input, lane, now);
        self.forward(router, port, out_vc, flit, now);
        // What comes next in this virtual channel.
        let left = self.inputs[index].len;
        if left == 0 {
            self.stages[router].switching &= !(1 << place);
            if flit.is_tail() {
                self.inputs[index].state = State::Idle;
            }
        } else if flit.is_tail() {
            self.stages[router].switching &= !(1 << place);
            self.ask(router * PLACES + place);
            self.begin(router * PLACES + place);
        }
    }

    /// The slot of the front flit of a virtual channel is free; its turn among those of the input is over.
    #[inline(always)]
    fn give_back(&mut self, router: usize, input: usize, lane: usize, now: u64) {
        let into = &mut self.ports_in[router * self.ports + input];
        into.lane_turn = if lane + 1 == self.vcs { 0 } else { lane as u8 + 1 };
        let feed = into.feed;
        let vc = &mut self.inputs[router * self.stride + (input << self.lanes) + lane];
        let was_full = vc.occupied() as usize == self.depth;
        vc.start = if usize::from(vc.start) + 1 == self.depth { 0 } else { vc.start + 1 };
        vc.len -= 1;
        let usable = now + u64::from(feed.delay);
        if u64::from(feed.delay) > HORIZON {
            vc.far_credits += 1;
            let at = router * PLACES + (input << self.lanes) + lane;
            self.slot(usable).credits.push(at as u32);
            return;
        }
        vc.give_credit(now, u64::from(feed.delay));
        // An output is told that waits for it.
        if was_full && !feed.terminal {
            self.slot(usable).opens.push(feed.to + lane as u32);
        }
    }

    /// A flit leaves by a virtual channel of an output.
    #[inline(always)]
    fn forward(&mut self, router: usize, port: usize, out_vc: usize, mut flit: Packed, now: u64) {
        flit.hops += 1;
        let output = &mut self.outputs[router * self.ports + port];
        output.sent += 1;
        let end = output.end;
        self.moved = now;
        let seen = now + u64::from(end.delay);
        let full = if end.terminal {
            self.slot(seen).exits.push((end.to, flit));
            // The terminal gives the slot back when the flit comes.
            let delay = u64::from(end.delay + self.exit_delays[end.to as usize]);
            let vc = &mut self.inputs[self.turns.len() + ((end.to as usize) << self.lanes) + out_vc];
            vc.give_credit(now, delay);
            vc.full_until(now, self.depth)
        } else {
            self.write(now, seen, end.to as usize + out_vc, flit)
        };
        if let Some(until) = full {
            self.outputs[router * self.ports + port].full |= 1 << out_vc;
            if until != UNKNOWN {
                let out = router * PLACES + (port << self.lanes) + out_vc;
                self.slot(until).opens.push(out as u32);
            }
        }
    }

    /// A head that was left alone crosses in this cycle, as if the steps since it came had been made, this one among them; unless they were
    /// made up.
    #[inline(always)]
    pub(super) fn cross_alone(&mut self, at: usize, flit: Packed, now: u64) {
        let (router, place) = (at / PLACES, at % PLACES);
        let (base, outputs) = (router * self.stride, router * self.ports);
        let since = (now as u32).wrapping_sub(1 + u32::from(self.routes_here));
        let vc = &mut self.inputs[base + place];
        let stages = &mut self.stages[router];
        if stages.alone >> place & 1 == 0 || vc.since != since {
            return;
        }
        let (port, lane_mask) = (usize::from(vc.port), (1 << self.lanes) - 1);
        let output = &mut self.outputs[outputs + port];
        // It asked for a virtual channel in the cycle before.
        let free = output.free(now.wrapping_sub(1)) & vc.vcs();
        let out = in_turn(free << (port << self.lanes), vc.turn);
        let out_vc = out & lane_mask;
        if free == 0 || output.full >> out_vc & 1 == 1 {
            // It has to wait, and the step is made for all.
            self.make_up(router, now);
            self.step_router(router, now);
            return;
        }
        stages.alone &= !(1 << place);
        let (input, lane) = (place >> self.lanes, place & lane_mask);
        (output.turn, vc.turn) = (input as u8 + 1, out as u8 + 1);
        (output.last_crossed, output.held_then) = (now as u32, 1 << out_vc);
        self.turns[base + out] = place as u8 + 1;
        self.ports_in[outputs + input].turn = port as u8 + 1;
        if flit.is_tail() {
            vc.state = State::Idle;
        } else {
            output.owned |= 1 << out_vc;
            (vc.out_port, vc.out_vc, vc.state) = (port as u8, out_vc as u8, State::Active);
        }
        self.give_back(router, input, lane, now);
        self.forward(router, port, out_vc, flit, now);
        if self.inputs[base + place].len > 0 {
            // What follows asks from the next step on, and so does what is left alone.
            if flit.is_tail() {
                self.ask(at);
                self.begin(at);
            } else {
                self.stages[router].switching |= 1 << place;
            }
            self.make_up(router, now + 1);
            bits::set(&mut self.busy, router);
        }
    }
}
