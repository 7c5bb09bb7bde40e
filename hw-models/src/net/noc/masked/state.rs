//! The state of these routers: virtual channels, outputs, stages as words, and what is on the wires.

use super::super::flit::Flit;
use super::super::routing::Route;

/// Virtual channels of all inputs of a router, at most: bits of a word.
pub(super) const PLACES: usize = 64;

/// Where the packet at the front of a virtual channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Idle,
    /// It has not come yet, but its route is known.
    Coming,
    /// Its route is computed, or it asks for a virtual channel.
    Asking,
    Active,
}

/// A flit as it lies in a buffer here: its virtual channel is where it lies, and its route is worked out when it gets to the front.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Packed {
    pub(super) packet: u32,
    pub(super) to: u32,
    pub(super) way: u32,
    pub(super) hops: u16,
    pub(super) phase: u8,
    /// Head 1, tail 2, and its class of messages.
    pub(super) flags: u8,
}

impl Packed {
    pub(super) fn new(flit: &Flit) -> Packed {
        let flags = u8::from(flit.head) | u8::from(flit.tail) << 1 | flit.class << 2;
        Packed { packet: flit.packet, to: flit.to, way: flit.way, hops: flit.hops, phase: flit.phase, flags }
    }

    pub(super) fn is_tail(self) -> bool {
        self.flags & 2 != 0
    }

    pub(super) fn class(self) -> u8 {
        self.flags >> 2
    }

    pub(super) fn flit(self) -> Flit {
        Flit {
            packet: self.packet,
            to: self.to,
            way: self.way,
            hops: self.hops,
            phase: self.phase,
            class: self.class(),
            head: self.flags & 1 != 0,
            tail: self.is_tail(),
            ..Flit::default()
        }
    }
}

/// A virtual channel of an input; its flits are a ring. Beside it stands what its sender knows of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InputVc {
    /// Credits on their way to the sender: a bit for each of the cycles from `credits_from` on, in which one counts.
    credits: u64,
    credits_from: u32,
    /// The cycle in which a head that is left alone comes, in its lower bits.
    pub(super) since: u32,
    /// Credits that take longer than bits reach: each is told when it counts.
    pub(super) far_credits: u16,
    pub(super) start: u16,
    pub(super) len: u16,
    /// Flits on the wire, whose slots after the others are written already.
    pub(super) coming: u16,
    /// The head's route: an output, and the first and last of its virtual channels.
    pub(super) port: u8,
    first: u8,
    last: u8,
    pub(super) out_port: u8,
    pub(super) out_vc: u8,
    pub(super) state: State,
    /// Whose turn among the virtual channels of outputs it is.
    pub(super) turn: u8,
}

/// Cycles ahead that bits of credits and reservations reach.
pub(super) const HORIZON: u64 = 60;

/// When a virtual channel that is full has room again: it is not yet known.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// A word of bits for the cycles from `from` on, as one for those from `now` on.
#[inline]
fn advanced(word: u64, from: u32, now: u64) -> u64 {
    let by = (now as u32).wrapping_sub(from);
    if by < 64 { word >> by } else { 0 }
}

impl InputVc {
    pub(super) fn set_route(&mut self, route: Route) {
        (self.port, self.first, self.last) = (route.port, route.first, route.last);
    }

    /// The virtual channels of the output that the head may take.
    #[inline(always)]
    pub(super) fn vcs(&self) -> u64 {
        (u64::MAX >> (63 - (self.last - self.first))) << self.first
    }

    /// Slots that have a flit, or for which one is on its way.
    #[inline(always)]
    pub(super) fn occupied(&self) -> u32 {
        u32::from(self.len) + u32::from(self.coming)
    }

    /// A credit leaves in cycle `now`, and counts `delay` cycles later.
    #[inline(always)]
    pub(super) fn give_credit(&mut self, now: u64, delay: u64) {
        self.credits = advanced(self.credits, self.credits_from, now) | 1 << delay;
        self.credits_from = now as u32;
    }

    /// Whether the sender knows of a slot that is free in cycle `now`.
    pub(super) fn has_room(&self, now: u64, depth: usize) -> bool {
        let later = advanced(self.credits, self.credits_from, now) >> 1;
        ((self.occupied() + u32::from(self.far_credits) + later.count_ones()) as usize) < depth
    }

    /// In cycle `now`: when the sender knows of a free slot again, if it is not in the next cycle.
    #[inline(always)]
    pub(super) fn full_until(&self, now: u64, depth: usize) -> Option<u64> {
        // Credits that count in the next cycle are in time.
        let later = advanced(self.credits, self.credits_from, now) >> 2;
        if later == 0 {
            let taken = self.occupied() + u32::from(self.far_credits);
            return (taken as usize == depth).then_some(UNKNOWN);
        }
        let full = (self.occupied() + later.count_ones()) as usize == depth;
        full.then(|| now + 2 + u64::from(later.trailing_zeros()))
    }
}

/// An input as a whole: what feeds it, and the turns of its grants from outputs and of its virtual channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    pub(super) feed: Far,
    pub(super) turn: u8,
    pub(super) lane_turn: u8,
}

/// An output, and what it knows of the buffers behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) owned: u64,
    pub(super) full: u64,
    /// Cycles from `reserved_from` on in which heads that are left alone cross to it, a bit each.
    pub(super) reserved: u64,
    reserved_from: u32,
    /// The cycle in which the latest of the heads that were left alone crossed to it, in its lower bits, and the virtual channel that it
    /// held until the end of it.
    pub(super) last_crossed: u32,
    pub(super) held_then: u64,
    pub(super) end: Far,
    /// Whose turn among the inputs it is.
    pub(super) turn: u8,
    /// Flits that crossed to it.
    pub(super) sent: u64,
}

impl Output {
    pub(super) fn new(end: Far) -> Output {
        Output {
            owned: 0,
            full: 0,
            reserved: 0,
            reserved_from: 0,
            last_crossed: 0,
            held_then: 0,
            end,
            turn: 0,
            sent: 0,
        }
    }

    /// The virtual channels that no packet owns in the midst of cycle `now`, which may be over.
    #[inline(always)]
    pub(super) fn free(&self, now: u64) -> u64 {
        let held = if self.last_crossed == now as u32 { self.held_then } else { 0 };
        !(self.owned | held)
    }

    /// In cycle `now`, reserves the one `ahead` cycles later; whether it was free.
    #[inline(always)]
    pub(super) fn reserve(&mut self, now: u64, ahead: u64) -> bool {
        self.reserved = advanced(self.reserved, self.reserved_from, now);
        self.reserved_from = now as u32;
        let free = self.reserved >> ahead & 1 == 0;
        self.reserved |= 1 << ahead;
        free
    }
}

/// The other end of a channel: the first place of a router's port, or a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Far {
    pub(super) to: u32,
    /// Cycles from when something is put on its way until it counts there.
    pub(super) delay: u16,
    pub(super) terminal: bool,
}

/// The stages of a router as words: a bit for each virtual channel of its inputs that is in them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stages {
    pub(super) routing: u64,
    pub(super) allocating: u64,
    pub(super) switching: u64,
    /// Heads that are left alone.
    pub(super) alone: u64,
}

impl Stages {
    pub(super) fn is_idle(&self) -> bool {
        self.routing | self.allocating | self.switching == 0
    }
}

/// What happens in a cycle.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Virtual channels of inputs that get a flit.
    pub(super) arrivals: Vec<u32>,
    /// Virtual channels of inputs one of whose slots counts as free again.
    pub(super) credits: Vec<u32>,
    /// Virtual channels of outputs that were full and are no longer.
    pub(super) opens: Vec<u32>,
    /// Flits that come to terminals.
    pub(super) exits: Vec<(u32, Packed)>,
    /// Virtual channels of inputs whose head that was left alone crosses, and that head.
    pub(super) crossings: Vec<(u32, Packed)>,
}

/// Memory for what is asked for in a step; it is empty between steps.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Inputs that ask for each output, virtual channels of both, and those granted to each input.
    pub(super) wanted: [u64; PLACES],
    pub(super) granted: [u64; PLACES],
    /// Virtual channels of an input that want an output, a row an input.
    pub(super) lanes: Vec<u64>,
}

impl Scratch {
    pub(super) fn new(ports: usize) -> Scratch {
        Scratch { wanted: [0; PLACES], granted: [0; PLACES], lanes: vec![0; ports * ports] }
    }
}

/// The first bit of a word that is not zero, from `turn` on and around.
pub(super) fn in_turn(word: u64, turn: u8) -> usize {
    let from = word & (u64::MAX << (turn & 63));
    (if from == 0 { word } else { from }).trailing_zeros() as usize
}

/// The lowest bit, which is taken out.
pub(super) fn pop(word: &mut u64) -> usize {
    let bit = word.trailing_zeros() as usize;
    *word &= *word - 1;
    bit
}
