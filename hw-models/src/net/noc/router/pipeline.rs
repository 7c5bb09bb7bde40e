//! The stages evaluated: who asks for what, and who gets it.

use super::super::allocator::Request;
use super::super::arbiter::supersedes;
use super::{Common, NOTHING, Router, STALL, State, UNSET};

impl Router {
    /// Heads ask for each virtual channel of their route that has no owner.
    pub(super) fn evaluate_vcs(&mut self, now: u64, common: &Common) {
        let c = &common.config;
        let plain = self.vc_allocator.is_plain();
        for work in &mut self.allocating {
            if work.done != UNSET {
                break;
            }
            let place = usize::from(work.input) * self.vcs + usize::from(work.vc);
            let (route, priority) = (self.inputs[place].route, self.inputs[place].priority);
            let mut asked = false;
            for (port, vcs, wanted) in route.ways() {
                let credits = &self.credits[port];
                let mut free = credits.free() & vcs;
                if c.vc_busy_when_full {
                    free &= credits.with_room();
                }
                asked |= free != 0;
                if plain {
                    if free != 0 {
                        self.vc_allocator.ask_plain(place, free << (port * self.vcs));
                    }
                    continue;
                }
                while free != 0 {
                    let out_vc = free.trailing_zeros() as usize;
                    free &= free - 1;
                    let emptier_first = c.vc_prioritize_empty && credits.filled() >> out_vc & 1 == 1;
                    let input_priority = if emptier_first { wanted + i32::MIN } else { wanted };
                    let request = Request { label: 0, input_priority, output_priority: priority };
                    self.vc_allocator.requests.add(place, port * self.vcs + out_vc, request);
                }
            }
            if !asked {
                work.outcome = STALL;
            }
        }
        self.vc_allocator.allocate();
        for work in &mut self.allocating {
            if work.done != UNSET {
                break;
            }
            work.done = now + c.vc_alloc_delay - 1;
            if work.outcome == NOTHING {
                let place = usize::from(work.input) * self.vcs + usize::from(work.vc);
                work.outcome = self.vc_allocator.requests.granted(place).map_or(STALL, |o| o as i32);
            }
        }
        if c.vc_alloc_delay == 1 {
            return;
        }
        // What was granted some cycles ago may have been taken since.
        for work in &mut self.allocating {
            if work.done == UNSET || now < work.done {
                break;
            }
            if work.outcome >= 0 {
                let credits = &self.credits[work.outcome as usize / self.vcs];
                let out_vc = work.outcome as usize % self.vcs;
                if !credits.is_free(out_vc) || (c.vc_busy_when_full && credits.is_full(out_vc)) {
                    work.outcome = STALL;
                }
            }
        }
    }

    /// Flits that hold their way through the crossbar need only a credit.
    pub(super) fn evaluate_held(&mut self, now: u64, common: &Common) {
        let c = &common.config;
        for work in &mut self.holding {
            if work.done != UNSET {
                break;
            }
            work.done = now;
            let state = &self.inputs[usize::from(work.input) * self.vcs + usize::from(work.vc)];
            let output = usize::from(state.out_port);
            let wide = output * c.output_speedup + usize::from(work.input) % c.output_speedup;
            let full = self.credits[output].is_full(usize::from(state.out_vc));
            work.outcome = if full { STALL } else { wide as i32 };
        }
    }

    /// Flits with a credit ask for the crossbar; so do heads that may get a virtual channel in this cycle, after all others.
    pub(super) fn evaluate_switch(&mut self, now: u64, common: &Common) {
        let c = &common.config;
        for index in 0..self.switching.len() {
            let work = self.switching[index];
            if work.done != UNSET {
                break;
            }
            let state = self.inputs[self.at(work.input, work.vc)];
            let active = state.state == State::Active;
            let room = |output: usize| c.output_buffer.is_none_or(|bound| self.out_flits[output].len() < bound);
            if active {
                let output = usize::from(state.out_port);
                if self.credits[output].is_full(usize::from(state.out_vc)) || !room(output) {
                    self.switching[index].outcome = STALL;
                } else {
                    self.ask(work.input, work.vc, output, state.priority, common);
                }
                continue;
            }
            for (output, vcs, _) in state.route.ways() {
                let credits = &self.credits[output];
                let room = c.output_buffer.is_none_or(|bound| self.out_flits[output].len() < bound);
                if credits.free() & credits.with_room() & vcs == 0 || !room {
                    self.switching[index].outcome = STALL;
                } else {
                    self.ask(work.input, work.vc, output, state.priority.wrapping_add(i32::MIN), common);
                }
            }
        }
        self.sw_allocator.allocate();
        for work in &mut self.switching {
            if work.done != UNSET {
                break;
            }
            work.done = now + c.sw_alloc_delay - 1;
            if work.outcome != NOTHING {
                continue;
            }
            let wide = usize::from(work.input) * c.input_speedup + usize::from(work.vc) % c.input_speedup;
            let requests = &self.sw_allocator.requests;
            work.outcome = match requests.granted(wide) {
                Some(out) if requests.get(wide, out).is_some_and(|r| r.label == u32::from(work.vc)) => {
                    self.vc_turns[wide] = ((usize::from(work.vc) + c.input_speedup) % self.vcs) as u16;
                    out as i32
                }
                _ => STALL,
            };
        }
        if c.speculative || c.sw_alloc_delay > 1 {
            self.recheck_switch(now, common);
        }
    }

    /// A request for the crossbar. Of two virtual channels of one crossbar input that want the same output, the higher priority or the
    /// one in turn asks.
    fn ask(&mut self, input: u16, vc: u16, output: usize, priority: i32, common: &Common) {
        let c = &common.config;
        let wide_in = usize::from(input) * c.input_speedup + usize::from(vc) % c.input_speedup;
        let wide_out = output * c.output_speedup + usize::from(input) % c.output_speedup;
        if self.held_output[wide_in].is_some() || self.held[wide_out] {
            return;
        }
        let turn = usize::from(self.vc_turns[wide_in]);
        let first = self.sw_allocator.requests.get(wide_in, wide_out).is_none_or(|other| {
            supersedes(usize::from(vc), priority, other.label as usize, other.input_priority, turn, self.vcs)
        });
        if first {
            let request = Request { label: u32::from(vc), input_priority: priority, output_priority: priority };
            self.sw_allocator.requests.add(wide_in, wide_out, request);
        }
    }

    /// Grants that cannot be used: of a speculative head that got no virtual channel, or of a flit whose credits went since.
    fn recheck_switch(&mut self, now: u64, common: &Common) {
        let c = &common.config;
        for work in &mut self.switching {
            if work.done == UNSET || now < work.done {
                break;
            }
            if work.outcome < 0 {
                continue;
            }
            let output = work.outcome as usize / c.output_speedup;
            let place = usize::from(work.input) * self.vcs + usize::from(work.vc);
            let wide_in = usize::from(work.input) * c.input_speedup + usize::from(work.vc) % c.input_speedup;
            let state = &self.inputs[place];
            let credits = &self.credits[output];
            let usable = if self.held_output[wide_in].is_some() || self.held[work.outcome as usize] {
                false
            } else if state.state == State::VcAllocation {
                let got = self.vc_allocator.requests.granted(place);
                got.is_some_and(|g| g / self.vcs == output && !credits.is_full(g % self.vcs))
            } else {
                !credits.is_full(usize::from(state.out_vc))
            };
            if !usable {
                work.outcome = STALL;
            }
        }
    }
}
