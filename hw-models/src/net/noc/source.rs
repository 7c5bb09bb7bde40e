//! Terminals: one packet at a time enters the network, a flit a cycle.

use super::credits::Credits;
use super::flit::Flit;

/// A packet that a terminal begins to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// What its flits carry to say whose they are.
    pub(super) packet: u32,
    /// The terminal it goes to.
    pub(super) to: u32,
    /// Its flits, at least one.
    pub(super) flits: u32,
    /// Its class of messages.
    pub(super) class: u8,
    pub(super) priority: i32,
}

/// A terminal as a sender.
#[derive(Debug)]
pub(super) struct Terminal {
    /// The packet that is being sent, and those of its flits that have left.
    current: Option<(Start, u32)>,
    vc: u8,
    /// What it knows of the buffers that it sends to, if nobody tells it.
    credits: Option<Credits>,
    last_vc: Option<u8>,
}

impl Terminal {
    pub(super) fn new(credits: Option<Credits>) -> Terminal {
        Terminal { current: None, vc: 0, credits, last_vc: None }
    }

    pub(super) fn restore(&mut self, mask: u64) {
        if let Some(credits) = &mut self.credits {
            credits.restore(mask);
        }
    }

    /// Whether it sends nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    pub(super) fn start(&mut self, packet: Start) {
        self.current = Some((packet, 0));
    }

    /// The packet whose head asks for a virtual channel.
    pub(super) fn asks(&self) -> Option<Start> {
        self.current.filter(|(_, sent)| *sent == 0).map(|(packet, _)| packet)
    }

    /// The next flit, if a virtual channel has room for it, which `has_room` tells where there are no credits. A head takes the next
    /// virtual channel in turn of its range that is free and has room; if the last one taken was not of its range, it looks at the first
    /// one alone.
    #[inline]
    pub(super) fn next_flit(
        &mut self,
        (first, last): (usize, usize),
        has_room: impl Fn(usize) -> bool,
    ) -> Option<Flit> {
        let (packet, sent) = self.current.as_mut()?;
        let credits = self.credits.as_ref();
        let has_room = |vc: usize| credits.map_or_else(|| has_room(vc), |c| !c.is_full(vc));
        let head = *sent == 0;
        if head {
            let free = |vc: &usize| credits.is_none_or(|c| c.is_free(*vc)) && has_room(*vc);
            let vc = match self.last_vc.map(usize::from).filter(|vc| (first..=last).contains(vc)) {
                None => Some(first).filter(free),
                Some(vc) => (vc + 1..=last).chain(first..=vc).find(free),
            }?;
            self.vc = vc as u8;
            self.last_vc = Some(vc as u8);
            if let Some(credits) = &mut self.credits {
                credits.take(vc);
            }
        } else if !has_room(usize::from(self.vc)) {
            return None;
        }
        *sent += 1;
        let tail = *sent == packet.flits;
        if let Some(credits) = &mut self.credits {
            credits.send(usize::from(self.vc), tail);
        }
        let flit = Flit {
            packet: packet.packet,
            to: packet.to,
            priority: packet.priority,
            vc: self.vc,
            class: packet.class,
            head,
            tail,
            ..Flit::default()
        };
        if tail {
            self.current = None;
        }
        Some(flit)
    }
}
