//! An input-queued router with virtual channels: its state, and the steps of its pipeline.
//!
//! A head flit's route is computed, then it asks for an output virtual channel, then each flit asks for the crossbar, and crosses it. Work
//! waits in queues, in the order in which it came; a step that takes several cycles holds up what is queued behind it. An allocator's
//! outcome depends on the state at the start of the cycle: every stage is evaluated before any stage's outcome is put in place.

mod pipeline;
mod stages;

use std::collections::VecDeque;

use super::allocator::Allocator;
use super::config::RouterConfig;
use super::credits::Credits;
use super::flit::Flit;
use super::random::Draws;
use super::routing::{Route, Routing, Surroundings};
use super::topology::Ports;
use super::watch::{Place, Wait};

/// What all routers of a network share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) config: RouterConfig,
    pub(super) routing: Routing,
}

/// What routers of a network change together.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) draws: &'a mut Draws,
    /// Slots taken of the buffers behind each output, all routers after each other, and where each router's outputs begin.
    pub(super) used: &'a mut [u32],
    pub(super) first_output: &'a [u32],
    /// Flits that crossed to each output.
    pub(super) sent: &'a mut [u64],
}

impl Shared<'_> {
    pub(super) fn surroundings(&mut self) -> Surroundings<'_> {
        Surroundings { draws: self.draws, used: self.used, first_output: self.first_output }
    }
}

/// Where the packet at the front of a virtual channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Idle,
    Routing,
    VcAllocation,
    Active,
}

/// A virtual channel of an input; its flits are a ring in the router's memory.
#[derive(Debug, Clone, Copy, Default)]
struct InputVc {
    state: State,
    route: Route,
    out_port: u16,
    out_vc: u8,
    start: u16,
    len: u16,
    priority: i32,
}

/// Not evaluated yet.
const UNSET: u64 = u64::MAX;
/// No outcome yet; what is lower is a stall.
const NOTHING: i32 = -1;
/// Nothing is free, or nothing was granted.
const STALL: i32 = -2;

/// A virtual channel that waits in a stage.
#[derive(Debug, Clone, Copy)]
struct Work {
    /// The cycle in which the stage is done with it.
    done: u64,
    input: u16,
    vc: u16,
    /// What it got: an output and virtual channel, or an output of the crossbar.
    outcome: i32,
}

/// A flit in the crossbar.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    done: u64,
    output: u16,
    flit: Flit,
}

/// What leaves a router in a cycle.
pub(super) trait Wires {
    /// A flit by an output.
    fn flit(&mut self, output: usize, flit: Flit);
    /// Credits by an input, a bit for each virtual channel.
    fn credit(&mut self, input: usize, mask: u64);
}

/// One router.
#[derive(Debug)]
pub(super) struct Router {
    id: usize,
    vcs: usize,
    depth: usize,
    inputs: Vec<InputVc>,
    flits: Vec<Flit>,
    credits: Vec<Credits>,
    /// The router and input behind each output; none behind a terminal's.
    behind: Vec<Option<(u32, u16)>>,
    vc_allocator: Allocator,
    sw_allocator: Allocator,
    /// Whose turn among the virtual channels of a crossbar input it is.
    vc_turns: Vec<u16>,
    /// Held ways through the crossbar: by crossbar input the output and the virtual channel, by output whether it is held.
    held_output: Vec<Option<u16>>,
    held_vc: Vec<Option<u16>>,
    held: Vec<bool>,
    arrived: Vec<(u16, Flit)>,
    returned: VecDeque<(u64, u16, u64)>,
    routing: VecDeque<(u64, u16, u16)>,
    allocating: Vec<Work>,
    holding: VecDeque<Work>,
    switching: Vec<Work>,
    /// Memory for the queue that is being worked on.
    spare: Vec<Work>,
    crossing: VecDeque<Crossing>,
    out_flits: Vec<VecDeque<Flit>>,
    out_credits: Vec<VecDeque<u64>>,
    /// Credits of this step by input, and the inputs and outputs that have something to send.
    step_credits: Vec<u64>,
    credit_inputs: u64,
    flit_outputs: u64,
    step_inputs: u64,
}

impl Router {
    pub(super) fn new(id: usize, ports: &Ports, common: &Common) -> Router {
        let c = &common.config;
        let (ins, outs, vcs) = (ports.inputs.len(), ports.outputs.len(), c.virtual_channels);
        let (wide_in, wide_out) = (ins * c.input_speedup, outs * c.output_speedup);
        Router {
            id,
            vcs,
            depth: c.buffer_flits,
            inputs: vec![InputVc::default(); ins * vcs],
            flits: vec![Flit::default(); ins * vcs * c.buffer_flits],
            credits: vec![Credits::new(vcs, c.buffer_flits, c.wait_for_tail_credit); outs],
            behind: ports.outputs.iter().map(|e| (!e.terminal).then_some((e.to, e.port))).collect(),
            vc_allocator: Allocator::new(c.vc_allocator, ins * vcs, outs * vcs),
            sw_allocator: Allocator::new(c.sw_allocator, wide_in, wide_out),
            vc_turns: (0..wide_in).map(|i| (i % c.input_speedup) as u16).collect(),
            held_output: vec![None; wide_in],
            held_vc: vec![None; wide_in],
            held: vec![false; wide_out],
            arrived: Vec::new(),
            returned: VecDeque::new(),
            routing: VecDeque::new(),
            allocating: Vec::new(),
            holding: VecDeque::new(),
            switching: Vec::new(),
            spare: Vec::new(),
            crossing: VecDeque::new(),
            out_flits: vec![VecDeque::new(); outs],
            out_credits: vec![VecDeque::new(); ins],
            step_credits: vec![0; ins],
            credit_inputs: 0,
            flit_outputs: 0,
            step_inputs: 0,
        }
    }

    /// A flit comes in; it is buffered in this cycle's step.
    pub(super) fn receive(&mut self, input: u16, flit: Flit) {
        self.arrived.push((input, flit));
    }

    /// Credits come in; they count once the credit delay is over.
    pub(super) fn receive_credit(&mut self, usable: u64, output: u16, mask: u64) {
        self.returned.push_back((usable, output, mask));
    }

    /// Whether there is nothing to do until something comes in.
    pub(super) fn is_idle(&self) -> bool {
        self.arrived.is_empty()
            && self.returned.is_empty()
            && self.routing.is_empty()
            && self.allocating.is_empty()
            && self.holding.is_empty()
            && self.switching.is_empty()
            && self.crossing.is_empty()
            && self.flit_outputs == 0
            && self.credit_inputs == 0
    }

    /// One step of the pipeline.
    pub(super) fn step(&mut self, now: u64, common: &Common, shared: &mut Shared<'_>) {
        self.buffer_arrivals(common);
        self.use_credits(now, shared);
        for work in &mut self.routing {
            if work.0 != UNSET {
                break;
            }
            work.0 = now + common.config.routing_delay - 1;
        }
        self.vc_allocator.clear();
        if !self.allocating.is_empty() {
            self.evaluate_vcs(now, common);
        }
        if !self.holding.is_empty() {
            self.evaluate_held(now, common);
        }
        self.sw_allocator.clear();
        if !self.switching.is_empty() {
            self.evaluate_switch(now, common);
        }
        for crossing in &mut self.crossing {
            if crossing.done != UNSET {
                break;
            }
            crossing.done = now + common.config.crossbar_delay - 1;
        }
        self.update_routes(now, common, shared);
        if !self.allocating.is_empty() {
            self.update_vcs(now, common);
        }
        self.update_held(common, shared);
        if !self.switching.is_empty() {
            self.update_switch(now, common, shared);
        }
        self.update_crossing(now);
        self.queue_credits();
    }

    /// What leaves in this cycle: one flit an output, one credit an input.
    pub(super) fn send(&mut self, wires: &mut impl Wires) {
        let mut left = self.flit_outputs;
        while left != 0 {
            let output = left.trailing_zeros() as usize;
            left &= left - 1;
            if let Some(flit) = self.out_flits[output].pop_front() {
                wires.flit(output, flit);
            }
            if self.out_flits[output].is_empty() {
                self.flit_outputs &= !(1 << output);
            }
        }
        let mut left = self.credit_inputs;
        while left != 0 {
            let input = left.trailing_zeros() as usize;
            left &= left - 1;
            if let Some(mask) = self.out_credits[input].pop_front() {
                wires.credit(input, mask);
            }
            if self.out_credits[input].is_empty() {
                self.credit_inputs &= !(1 << input);
            }
        }
    }

    /// Who waits here, and for whom.
    pub(super) fn waits(&self, ports: &Ports, waits: &mut Vec<Wait>) {
        let places = self.inputs.iter().enumerate().filter(|(_, vc)| vc.len > 0);
        for (place, vc) in places.filter(|(_, vc)| matches!(vc.state, State::VcAllocation | State::Active)) {
            let active = vc.state == State::Active;
            let (output, out_vcs) = if active {
                (usize::from(vc.out_port), 1 << vc.out_vc)
            } else {
                (usize::from(vc.route.port), vc.route.vcs())
            };
            let full = self.credits[output].is_full(usize::from(vc.out_vc));
            let end = ports.outputs[output];
            if end.terminal || (active && !full) {
                continue;
            }
            let held = if active { out_vcs } else { out_vcs & !self.credits[output].free() };
            let mut on: Vec<Place> =
                (0..self.vcs as u16).filter(|v| held >> v & 1 == 1).map(|v| (end.to, end.port, v)).collect();
            if !active {
                let owns = |o: &InputVc| {
                    o.state == State::Active && usize::from(o.out_port) == output && held >> o.out_vc & 1 == 1
                };
                let owners = self.inputs.iter().enumerate().filter(|(_, o)| owns(o));
                on.extend(owners.map(|(p, _)| (self.id as u32, (p / self.vcs) as u16, (p % self.vcs) as u16)));
            }
            waits.push(Wait {
                at: (self.id as u32, (place / self.vcs) as u16, (place % self.vcs) as u16),
                to: self.front(place).to,
                output: (output as u16, out_vcs.trailing_zeros() as u16),
                for_slot: active,
                on,
            });
        }
    }

    /// Takes the work that is done from the front of a queue. What is not done stays in the queue.
    fn take_done(queue: &mut Vec<Work>, spare: &mut Vec<Work>, now: u64) -> Vec<Work> {
        let waits = |w: &Work| w.done == UNSET || now < w.done;
        let count = queue.iter().position(waits).unwrap_or(queue.len());
        let mut rest = std::mem::take(spare);
        rest.clear();
        rest.extend_from_slice(&queue[count..]);
        let mut done = std::mem::replace(queue, rest);
        done.truncate(count);
        done
    }

    fn at(&self, input: u16, vc: u16) -> usize {
        usize::from(input) * self.vcs + usize::from(vc)
    }

    fn front(&self, place: usize) -> Flit {
        self.flits[place * self.depth + usize::from(self.inputs[place].start)]
    }

    fn push(&mut self, place: usize, flit: Flit, follow: bool) {
        let state = &mut self.inputs[place];
        let slot = usize::from(state.start) + usize::from(state.len);
        let slot = if slot >= self.depth { slot - self.depth } else { slot };
        state.len += 1;
        self.flits[place * self.depth + slot] = flit;
        self.follow_front(place, follow);
    }

    fn pop(&mut self, place: usize, follow: bool) -> Flit {
        let flit = self.front(place);
        let state = &mut self.inputs[place];
        state.start = if usize::from(state.start) + 1 == self.depth { 0 } else { state.start + 1 };
        state.len -= 1;
        self.follow_front(place, follow);
        flit
    }

    /// Where flits have priorities, a virtual channel has that of its front.
    fn follow_front(&mut self, place: usize, follow: bool) {
        if follow && self.inputs[place].len > 0 {
            self.inputs[place].priority = self.front(place).priority;
        }
    }
}
