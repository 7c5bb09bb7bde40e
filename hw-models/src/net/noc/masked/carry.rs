//! These routers as what carries flits from terminal to terminal.

use super::super::bits;
use super::super::fabric::{Deliveries, Fabric};
use super::super::flit::Flit;
use super::super::random::Draws;
use super::super::watch::Wait;
use super::Masked;
use super::state::{InputVc, PLACES, Packed, State};

impl Fabric for Masked {
    const TELLS_ROOM: bool = true;

    fn deliver(&mut self, now: u64, to_terminals: &mut Deliveries) {
        let index = now as usize & (self.slots.len() - 1);
        if !bits::get(&self.pending, index) {
            return;
        }
        for at in self.slots[index].credits.drain(..) {
            let (router, place) = (at as usize / PLACES, at as usize % PLACES);
            self.inputs[router * self.stride + place].far_credits -= 1;
            let feed = self.ports_in[router * self.ports + (place >> self.lanes)].feed;
            if !feed.terminal {
                let to = feed.to as usize;
                let port = (to % PLACES) >> self.lanes;
                self.outputs[to / PLACES * self.ports + port].full &= !(1 << (place & ((1 << self.lanes) - 1)));
            }
        }
        for at in self.slots[index].opens.drain(..) {
            let at = at as usize;
            let (port, vc) = ((at % PLACES) >> self.lanes, at & ((1 << self.lanes) - 1));
            self.outputs[at / PLACES * self.ports + port].full &= !(1 << vc);
        }
        let exits = self.slots[index].exits.drain(..);
        to_terminals.flits.extend(exits.map(|(terminal, flit)| (terminal, flit.flit())));
        if !self.slots[index].arrivals.is_empty() {
            // The slot keeps its memory.
            let mut arrivals = std::mem::take(&mut self.slots[index].arrivals);
            for at in arrivals.drain(..) {
                self.arrive(now, at as usize);
            }
            self.slots[index].arrivals = arrivals;
        }
    }

    fn entry_vcs(&self, class: u8, packet: u32, now: u64, draws: &mut Draws) -> (usize, usize) {
        self.routing.entry_vcs(class, packet, now, draws)
    }

    fn has_room(&self, now: u64, terminal: usize, vc: usize) -> bool {
        self.inputs[self.index(self.entries[terminal].to as usize + vc)].has_room(now, self.depth)
    }

    fn send(&mut self, now: u64, terminal: usize, flit: Flit, _: &mut Draws) {
        let entry = self.entries[terminal];
        let seen = now + u64::from(entry.delay);
        self.write(now, seen, entry.to as usize + usize::from(flit.vc), Packed::new(&flit));
    }

    fn step(&mut self, now: u64, _: &mut Draws, _: bool) {
        for word in 0..self.busy.len() {
            let mut left = self.busy[word];
            while left != 0 {
                let router = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                self.step_router(router, now);
                if self.stages[router].is_idle() {
                    bits::clear(&mut self.busy, router);
                }
            }
        }
        let index = now as usize & (self.slots.len() - 1);
        if !bits::get(&self.pending, index) {
            return;
        }
        bits::clear(&mut self.pending, index);
        // A router whose heads cross alone is not among those above. Nothing comes up in this cycle for this cycle.
        for event in 0..self.slots[index].crossings.len() {
            let (at, flit) = self.slots[index].crossings[event];
            self.cross_alone(at as usize, flit, now);
        }
        self.slots[index].crossings.clear();
    }

    fn next(&self, now: u64) -> Option<u64> {
        if self.busy.iter().any(|w| *w != 0) {
            return Some(now);
        }
        let length = self.slots.len();
        let start = now as usize & (length - 1);
        let place = bits::next(&self.pending, start).or_else(|| bits::next(&self.pending, 0))?;
        Some(now + ((place + length - start) & (length - 1)) as u64)
    }

    fn moved(&self) -> u64 {
        self.moved
    }

    fn sent(&self) -> Vec<u64> {
        let routers = self.degrees.iter().enumerate();
        routers
            .flat_map(|(router, degree)| {
                let first = router * self.ports;
                self.outputs[first..first + *degree as usize].iter().map(|o| o.sent)
            })
            .collect()
    }

    fn waits(&self) -> Vec<Wait> {
        let mut waits = Vec::new();
        let waiting = |vc: &InputVc| vc.len > 0 && vc.state != State::Idle;
        for (index, vc) in self.inputs[..self.turns.len()].iter().enumerate().filter(|(_, vc)| waiting(vc)) {
            let router = index / self.stride;
            let active = vc.state == State::Active;
            let port = usize::from(if active { vc.out_port } else { vc.port });
            let output = &self.outputs[router * self.ports + port];
            let vcs: u64 = if active { 1 << vc.out_vc } else { vc.vcs() & output.owned };
            if output.end.terminal || vcs == 0 || (active && vcs & output.full == 0) {
                continue;
            }
            let place_of = |at: usize| {
                let place = at % PLACES;
                ((at / PLACES) as u32, (place >> self.lanes) as u16, (place & ((1 << self.lanes) - 1)) as u16)
            };
            let mut on: Vec<_> =
                (0..self.vcs).filter(|v| vcs >> v & 1 == 1).map(|v| place_of(output.end.to as usize + v)).collect();
            if !active {
                let first = router * self.stride;
                let mine = self.inputs[first..first + self.stride].iter().enumerate();
                let owns = |o: &InputVc| {
                    o.state == State::Active && usize::from(o.out_port) == port && vcs >> o.out_vc & 1 == 1
                };
                on.extend(mine.filter(|(_, o)| owns(o)).map(|(p, _)| place_of(router * PLACES + p)));
            }
            waits.push(Wait {
                at: place_of(router * PLACES + index % self.stride),
                to: self.flits[self.front(index)].to,
                output: (port as u16, vcs.trailing_zeros() as u16),
                for_slot: active,
                on,
            });
        }
        waits
    }
}
