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

    pub(super) fn flit(self, vc: usize) -> Flit {
        Flit {
            packet: self.packet,
            to: self.to,
            way: self.way,
            hops: self.hops,
            vc: vc as u8,
            phase: self.phase,
            class: self.class(),
            head: self.flags & 1 != 0,
            tail: self.is_tail(),
            ..Flit::default()
        }
    }
}

/// A virtual channel of an input; its flits are a ring.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InputVc {
    pub(super) route: Route,
    pub(super) start: u16,
    pub(super) len: u16,
    /// Flits on the wire, whose slots after the others are written already.
    pub(super) coming: u16,
    pub(super) out_port: u8,
    pub(super) out_vc: u8,
    pub(super) state: State,
    /// Whose turn among the virtual channels of outputs it is.
    pub(super) turn: u8,
    /// The cycle in which a head that is left alone came, in its lower bits.
    pub(super) since: u32,
}

/// An input as a whole: what feeds it, and the turns of its grants from outputs and of its virtual channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    pub(super) feed: Far,
    pub(super) turn: u8,
    pub(super) lane_turn: u8,
}

/// A virtual channel of an output: slots taken behind it, and whose turn among the heads it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OutputVc {
    pub(super) taken: u16,
    pub(super) turn: u8,
}

/// An output, and what it knows of the buffers behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) owned: u64,
    pub(super) full: u64,
    /// The cycle in which the latest of the heads that are left alone crosses to it, in its lower bits.
    pub(super) crossed: u32,
    /// The cycle in which the latest of them did, and the virtual channel that it held until the end of it.
    pub(super) last_crossed: u32,
    pub(super) held_then: u64,
    pub(super) end: Far,
    /// Whose turn among the inputs it is.
    pub(super) turn: u8,
    /// Flits that crossed to it.
    pub(super) sent: u64,
}

impl Output {
    /// The virtual channels that no packet owns in the midst of cycle `now`, which may be over.
    pub(super) fn free(&self, now: u64) -> u64 {
        let held = if self.last_crossed == now as u32 { self.held_then } else { 0 };
        !(self.owned | held)
    }
}

/// The other end of a channel: the first place of a router's port, or a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Far {
    pub(super) to: u32,
    pub(super) latency: u16,
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
    /// How much of anything.
    pub(super) events: u32,
    /// Virtual channels of inputs that get a flit.
    pub(super) arrivals: Vec<u32>,
    /// Virtual channels of outputs that get a slot back.
    pub(super) credits: Vec<u32>,
    pub(super) exits: Vec<(u32, Flit)>,
    pub(super) terminal_credits: Vec<(u32, u8)>,
    /// Virtual channels of inputs whose head that was left alone crosses.
    pub(super) crossings: Vec<u32>,
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
