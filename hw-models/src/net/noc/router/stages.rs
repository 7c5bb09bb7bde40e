//! The stages' outcomes put in place: flits buffered, routes and virtual channels taken, flits sent across.

use super::super::config::Priority;
use super::super::flit::Flit;
use super::{Common, Crossing, NOTHING, Router, Shared, State, UNSET, Work};

impl Router {
    pub(super) fn buffer_arrivals(&mut self, common: &Common) {
        if self.arrived.len() > 1 {
            self.arrived.sort_unstable_by_key(|a| a.0);
        }
        let follow = common.config.priority != Priority::None;
        for index in 0..self.arrived.len() {
            let (input, flit) = self.arrived[index];
            let vc = u16::from(flit.vc);
            let place = self.at(input, vc);
            let alone = self.inputs[place].len == 0;
            self.push(place, flit, follow);
            match self.inputs[place].state {
                State::Idle => self.start_packet(input, vc, flit, common),
                State::Active if alone => {
                    let speedup = common.config.input_speedup;
                    let wide = usize::from(input) * speedup + usize::from(vc) % speedup;
                    let work = Work { done: UNSET, input, vc, outcome: NOTHING };
                    if self.held_vc[wide] == Some(vc) {
                        self.holding.push_back(work);
                    } else {
                        self.switching.push(work);
                    }
                }
                _ => {}
            }
        }
        self.arrived.clear();
    }

    /// A head is at the front of its virtual channel: it goes to the first stage.
    fn start_packet(&mut self, input: u16, vc: u16, head: Flit, common: &Common) {
        let place = self.at(input, vc);
        if common.config.routing_delay > 0 {
            self.inputs[place].state = State::Routing;
            self.routing.push_back((UNSET, input, vc));
        } else {
            self.inputs[place].route = head.ahead;
            self.wait_for_vc(input, vc, common);
        }
    }

    fn wait_for_vc(&mut self, input: u16, vc: u16, common: &Common) {
        let place = self.at(input, vc);
        self.inputs[place].state = State::VcAllocation;
        let work = Work { done: UNSET, input, vc, outcome: NOTHING };
        if common.config.speculative {
            self.switching.push(work);
        }
        self.allocating.push(work);
    }

    pub(super) fn use_credits(&mut self, now: u64, shared: &mut Shared<'_>) {
        while let Some((usable, output, mask)) = self.returned.front().copied() {
            if now < usable {
                break;
            }
            self.credits[usize::from(output)].restore(mask);
            shared.used[shared.first_output[self.id] as usize + usize::from(output)] -= mask.count_ones();
            self.returned.pop_front();
        }
    }

    pub(super) fn update_routes(&mut self, now: u64, common: &Common, shared: &mut Shared<'_>) {
        while let Some((done, input, vc)) = self.routing.front().copied() {
            if done == UNSET || now < done {
                break;
            }
            let place = self.at(input, vc);
            let slot = place * self.depth + usize::from(self.inputs[place].start);
            let flit = &mut self.flits[slot];
            let around = &mut shared.surroundings();
            self.inputs[place].route = common.routing.next(self.id, usize::from(input), flit, around);
            self.wait_for_vc(input, vc, common);
            self.routing.pop_front();
        }
    }

    pub(super) fn update_vcs(&mut self, now: u64, common: &Common) {
        let done = Self::take_done(&mut self.allocating, &mut self.spare, now);
        for work in done.iter().copied() {
            let place = self.at(work.input, work.vc);
            let again = Work { done: UNSET, outcome: NOTHING, ..work };
            if work.outcome >= 0 {
                let (output, out_vc) = (work.outcome as usize / self.vcs, work.outcome as usize % self.vcs);
                self.credits[output].take(out_vc);
                let state = &mut self.inputs[place];
                (state.out_port, state.out_vc, state.state) = (output as u16, out_vc as u8, State::Active);
                if !common.config.speculative {
                    self.switching.push(again);
                }
            } else {
                self.allocating.push(again);
            }
        }
        self.spare = done;
    }

    pub(super) fn update_held(&mut self, common: &Common, shared: &mut Shared<'_>) {
        let c = &common.config;
        while let Some(work) = self.holding.front().copied() {
            if work.done == UNSET {
                break;
            }
            let place = self.at(work.input, work.vc);
            let wide_in = usize::from(work.input) * c.input_speedup + usize::from(work.vc) % c.input_speedup;
            let again = Work { done: UNSET, outcome: NOTHING, ..work };
            let room = |output: usize| c.output_buffer.is_none_or(|bound| self.out_flits[output].len() < bound);
            if work.outcome >= 0 && room(work.outcome as usize / c.output_speedup) {
                let flit = self.cross(work, common, shared);
                if self.inputs[place].len == 0 {
                    self.release(wide_in);
                    if flit.tail {
                        self.inputs[place].state = State::Idle;
                    }
                } else if flit.tail {
                    self.release(wide_in);
                    self.start_packet(work.input, work.vc, self.front(place), common);
                } else {
                    self.holding.push_back(again);
                }
            } else {
                self.release(wide_in);
                self.switching.push(again);
            }
            self.holding.pop_front();
        }
    }

    fn release(&mut self, wide_in: usize) {
        if let Some(output) = self.held_output[wide_in].take() {
            self.held[usize::from(output)] = false;
        }
        self.held_vc[wide_in] = None;
    }

    pub(super) fn update_switch(&mut self, now: u64, common: &Common, shared: &mut Shared<'_>) {
        let c = &common.config;
        let done = Self::take_done(&mut self.switching, &mut self.spare, now);
        for work in done.iter().copied() {
            let again = Work { done: UNSET, outcome: NOTHING, ..work };
            if work.outcome >= 0 {
                let flit = self.cross(work, common, shared);
                let place = self.at(work.input, work.vc);
                if self.inputs[place].len == 0 {
                    if flit.tail {
                        self.inputs[place].state = State::Idle;
                    }
                } else if flit.tail {
                    self.start_packet(work.input, work.vc, self.front(place), common);
                } else if c.hold_switch_for_packet {
                    let wide_in = usize::from(work.input) * c.input_speedup + usize::from(work.vc) % c.input_speedup;
                    self.held_vc[wide_in] = Some(work.vc);
                    self.held_output[wide_in] = Some(work.outcome as u16);
                    self.held[work.outcome as usize] = true;
                    self.holding.push_back(again);
                } else {
                    self.switching.push(again);
                }
            } else {
                self.switching.push(again);
            }
        }
        self.spare = done;
    }

    /// The front flit enters the crossbar: its slot is given back, and one of the next buffer is taken.
    fn cross(&mut self, work: Work, common: &Common, shared: &mut Shared<'_>) -> Flit {
        let c = &common.config;
        let place = self.at(work.input, work.vc);
        let output = work.outcome as usize / c.output_speedup;
        let out_vc = self.inputs[place].out_vc;
        let mut flit = self.pop(place, c.priority != Priority::None);
        flit.hops += 1;
        flit.vc = out_vc;
        if c.routing_delay == 0
            && flit.head
            && let Some((router, input)) = self.behind[output]
        {
            let around = &mut shared.surroundings();
            flit.ahead = common.routing.next(router as usize, usize::from(input), &mut flit, around);
        }
        self.credits[output].send(usize::from(out_vc), flit.tail);
        let place = shared.first_output[self.id] as usize + output;
        shared.used[place] += 1;
        shared.sent[place] += 1;
        self.crossing.push_back(Crossing { done: UNSET, output: output as u16, flit });
        self.step_credits[usize::from(work.input)] |= 1 << work.vc;
        self.step_inputs |= 1 << work.input;
        flit
    }

    pub(super) fn update_crossing(&mut self, now: u64) {
        while let Some(crossing) = self.crossing.front().copied() {
            if crossing.done == UNSET || now < crossing.done {
                break;
            }
            self.out_flits[usize::from(crossing.output)].push_back(crossing.flit);
            self.flit_outputs |= 1 << crossing.output;
            self.crossing.pop_front();
        }
    }

    pub(super) fn queue_credits(&mut self) {
        let mut left = std::mem::take(&mut self.step_inputs);
        self.credit_inputs |= left;
        while left != 0 {
            let input = left.trailing_zeros() as usize;
            left &= left - 1;
            let mask = std::mem::take(&mut self.step_credits[input]);
            self.out_credits[input].push_back(mask);
        }
    }
}
