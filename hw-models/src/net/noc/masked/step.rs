//! A step of a router: who asks for what, who gets it, and what crosses.

use super::super::bits;
use super::Masked;
use super::state::{PLACES, State, in_turn, pop};

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
            let route = self.inputs[base + place].route;
            let port = usize::from(route.port);
            let free = (self.outputs[outputs + port].free(now) & route.vcs()) << (port << self.lanes);
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
                    let place = in_turn(heads, self.output_vcs[base + out].turn);
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
            self.output_vcs[base + out].turn = place as u8 + 1;
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

    /// The front flit of a virtual channel crosses: its slot is given back, one of the next buffer is taken, and the flit is on its way.
    fn cross(&mut self, router: usize, input: usize, lane: usize, now: u64) {
        let place = (input << self.lanes) + lane;
        let index = router * self.stride + place;
        let into = &mut self.ports_in[router * self.ports + input];
        into.lane_turn = if lane + 1 == self.vcs { 0 } else { lane as u8 + 1 };
        let feed = into.feed;
        let front = self.front(index);
        let mut flit = self.flits[front];
        let vc = &mut self.inputs[index];
        vc.start = if usize::from(vc.start) + 1 == self.depth { 0 } else { vc.start + 1 };
        vc.len -= 1;
        let (len, port, out_vc) = (vc.len, usize::from(vc.out_port), usize::from(vc.out_vc));
        flit.hops += 1;
        // The credit.
        let back = now + u64::from(feed.latency) + 1;
        if feed.terminal {
            self.slot(back).terminal_credits.push((feed.to, lane as u8));
        } else {
            let usable = back + self.credit_delay;
            self.slot(usable).credits.push(feed.to + lane as u32);
        }
        // The slot behind the output.
        let out = router * self.stride + (port << self.lanes) + out_vc;
        let behind = &mut self.output_vcs[out];
        behind.taken += 1;
        let full = usize::from(behind.taken) == self.depth;
        let output = &mut self.outputs[router * self.ports + port];
        if full {
            output.full |= 1 << out_vc;
        }
        if flit.is_tail() {
            output.owned &= !(1 << out_vc);
        }
        output.sent += 1;
        let end = output.end;
        self.moved = now;
        // A cycle for the crossbar, the channel's, and one to be seen.
        let seen = now + u64::from(end.latency) + 2;
        if end.terminal {
            self.slot(seen).exits.push((end.to, flit.flit(out_vc)));
        } else {
            self.write(seen, end.to as usize + out_vc, flit);
        }
        // What comes next in this virtual channel.
        if len == 0 {
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

    /// Heads that were left alone in a router cross in this cycle, as if the steps since they came had been made, this one among them.
    pub(super) fn cross_alone(&mut self, router: usize, now: u64) {
        let (base, outputs) = (router * self.stride, router * self.ports);
        let since = (now as u32).wrapping_sub(1 + u32::from(self.routes_here));
        let (mut left, mut due) = (self.stages[router].alone, 0_u64);
        while left != 0 {
            let place = pop(&mut left);
            let vc = &self.inputs[base + place];
            if vc.since != since {
                continue;
            }
            let port = usize::from(vc.route.port);
            let output = &self.outputs[outputs + port];
            // It asked in the cycle before.
            let free = output.free(now.wrapping_sub(1)) & vc.route.vcs();
            let out = if free == 0 { 0 } else { in_turn(free << (port << self.lanes), self.inputs[base + place].turn) };
            if free == 0 || output.full >> (out & self.lane_mask()) & 1 == 1 {
                // It has to wait, and the step is made for all.
                while due != 0 {
                    self.scratch.wanted[pop(&mut due)] = 0;
                }
                self.make_up(router, now);
                self.step_router(router, now);
                return;
            }
            due |= 1 << place;
            self.scratch.wanted[place] = out as u64;
        }
        while due != 0 {
            let place = pop(&mut due);
            let out = std::mem::take(&mut self.scratch.wanted[place]) as usize;
            let port = out >> self.lanes;
            self.stages[router].alone &= !(1 << place);
            self.give(router, place, out, true);
            self.turn(router, place >> self.lanes, port);
            self.stages[router].switching |= 1 << place;
            let held = 1 << (out & self.lane_mask());
            let output = &mut self.outputs[outputs + port];
            (output.last_crossed, output.held_then) = (now as u32, held);
            self.cross(router, place >> self.lanes, place & self.lane_mask(), now);
        }
        if !self.stages[router].is_idle() {
            // What follows asks from the next step on, and so does what is left alone.
            self.make_up(router, now + 1);
            bits::set(&mut self.busy, router);
        }
    }
}
