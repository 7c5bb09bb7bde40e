//! Terminals: an unbounded queue of packets, of which one at a time enters the network, a flit a cycle.

use std::collections::VecDeque;

use super::credits::Credits;
use super::flit::Flit;

/// A terminal as a sender.
#[derive(Debug)]
pub(super) struct Terminal {
    /// Packets whose time has come, in the order of the trace.
    pub(super) waiting: VecDeque<u32>,
    /// The packet at the head, its flits and those of them that have left.
    pub(super) current: Option<Sending>,
    credits: Credits,
    last_vc: Option<u8>,
    vcs: usize,
}

/// A packet that is being sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    pub(super) packet: u32,
    pub(super) to: u32,
    pub(super) flits: u32,
    pub(super) sent: u32,
    pub(super) priority: i32,
    vc: u8,
}

impl Sending {
    pub(super) fn new(packet: u32, to: u32, flits: u32, priority: i32) -> Sending {
        Sending { packet, to, flits, sent: 0, priority, vc: 0 }
    }
}

impl Terminal {
    pub(super) fn new(vcs: usize, depth: usize, wait_for_tail: bool) -> Terminal {
        let slots = Credits::new(vcs, depth, wait_for_tail);
        Terminal { waiting: VecDeque::new(), current: None, credits: slots, last_vc: None, vcs }
    }

    pub(super) fn restore(&mut self, mask: u64) {
        self.credits.restore(mask);
    }

    /// Whether there is anything to send.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }

    /// The next flit, if a virtual channel has room for it. A head takes the next virtual channel in turn that is free and has room; the
    /// first head of all looks at virtual channel 0 alone.
    pub(super) fn next_flit(&mut self) -> Option<Flit> {
        let sending = self.current.as_mut()?;
        let head = sending.sent == 0;
        if head {
            let free = |vc: &usize| self.credits.is_free(*vc) && !self.credits.is_full(*vc);
            let vc = match self.last_vc {
                None => Some(0).filter(free),
                Some(last) => (1..=self.vcs).map(|i| (usize::from(last) + i) % self.vcs).find(free),
            }?;
            sending.vc = vc as u8;
            self.credits.take(vc);
            self.last_vc = Some(vc as u8);
        } else if self.credits.is_full(usize::from(sending.vc)) {
            return None;
        }
        sending.sent += 1;
        let tail = sending.sent == sending.flits;
        self.credits.send(usize::from(sending.vc), tail);
        let next = Flit {
            packet: sending.packet,
            to: sending.to,
            priority: sending.priority,
            vc: sending.vc,
            head,
            tail,
            ..Flit::default()
        };
        if tail {
            self.current = None;
        }
        Some(next)
    }
}
