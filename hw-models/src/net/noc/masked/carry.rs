//! These routers as what carries flits from terminal to terminal.

use super::super::bits;
use super::super::fabric::{Deliveries, Fabric};
use super::super::flit::Flit;
use super::super::random::Draws;
use super::super::watch::Wait;
use super::Masked;
use super::state::{InputVc, PLACES, Packed, State};

impl Fabric for Masked {
    fn deliver(&mut self, now: u64, to_terminals: &mut Deliveries) {
        let index = now as usize & (self.slots.len() - 1);
        let mut slot = std::mem::take(&mut self.slots[index]);
        for at in slot.credits.drain(..) {
            let at = at as usize;
            let index = self.index(at);
            self.output_vcs[index].taken -= 1;
            let (port, vc) = ((at % PLACES) >> self.lanes, at & ((1 << self.lanes) - 1));
            self.outputs[at / PLACES * self.ports + port].full &= !(1 << vc);
        }
        for at in slot.arrivals.drain(..) {
            self.arrive(now, at as usize);
        }
        for (terminal, flit) in slot.exits.drain(..) {
            let exit = self.exits[terminal as usize];
            let usable = now + u64::from(exit.latency) + 1 + self.credit_delay;
            self.slot(usable).credits.push(exit.to + u32::from(flit.vc));
            to_terminals.flits.push((terminal, flit));
        }
        to_terminals.credits.extend(slot.terminal_credits.drain(..).map(|(terminal, vc)| (terminal, 1 << vc)));
        // The slot keeps its memory, and the crossings of this cycle.
        slot.events = 0;
        std::mem::swap(&mut self.slots[index], &mut slot);
    }

    fn entry_vcs(&self, class: u8, packet: u32, now: u64, draws: &mut Draws) -> (usize, usize) {
        self.routing.entry_vcs(class, packet, now, draws)
    }

    fn send(&mut self, now: u64, terminal: usize, flit: Flit, _: &mut Draws) {
        let entry = self.entries[terminal];
        let seen = now + u64::from(entry.latency) + 1;
        self.write(seen, entry.to as usize + usize::from(flit.vc), Packed::new(&flit));
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
        // A router whose heads cross alone is not among those.
        let index = now as usize & (self.slots.len() - 1);
        let mut crossings = std::mem::take(&mut self.slots[index].crossings);
        for at in crossings.drain(..) {
            self.cross_alone(at as usize / PLACES, now);
        }
        self.slots[index].crossings = crossings;
    }

    fn next(&self, now: u64) -> Option<u64> {
        if self.busy.iter().any(|w| *w != 0) {
            return Some(now);
        }
        let length = self.slots.len();
        (now..now + length as u64).find(|t| self.slots[*t as usize & (length - 1)].events > 0)
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
        for (index, vc) in self.inputs.iter().enumerate().filter(|(_, vc)| waiting(vc)) {
            let router = index / self.stride;
            let active = vc.state == State::Active;
            let port = usize::from(if active { vc.out_port } else { vc.route.port });
            let output = &self.outputs[router * self.ports + port];
            let vcs: u64 = if active { 1 << vc.out_vc } else { vc.route.vcs() & output.owned };
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
