//! What an output knows of the buffers it feeds: free slots, and which virtual channels have an owner.

#[derive(Debug, Clone, Copy, Default)]
struct Downstream {
    occupied: u32,
    owned: bool,
    tail_sent: bool,
}

/// The buffers behind one output, a virtual channel each.
#[derive(Debug, Clone)]
pub(super) struct Credits {
    vcs: Vec<Downstream>,
    depth: u32,
    wait_for_tail: bool,
}

impl Credits {
    pub(super) fn new(vcs: usize, depth: usize, wait_for_tail: bool) -> Credits {
        Credits { vcs: vec![Downstream::default(); vcs], depth: depth as u32, wait_for_tail }
    }

    pub(super) fn is_full(&self, vc: usize) -> bool {
        self.vcs[vc].occupied >= self.depth
    }

    pub(super) fn is_empty(&self, vc: usize) -> bool {
        self.vcs[vc].occupied == 0
    }

    pub(super) fn is_free(&self, vc: usize) -> bool {
        !self.vcs[vc].owned
    }

    /// A packet takes the virtual channel.
    pub(super) fn take(&mut self, vc: usize) {
        self.vcs[vc].owned = true;
        self.vcs[vc].tail_sent = false;
    }

    /// A flit leaves for the virtual channel.
    pub(super) fn send(&mut self, vc: usize, tail: bool) {
        let state = &mut self.vcs[vc];
        state.occupied += 1;
        if tail {
            state.tail_sent = true;
            state.owned &= self.wait_for_tail;
        }
    }

    /// A slot of each virtual channel in the mask is free again.
    pub(super) fn restore(&mut self, mut mask: u64) {
        while mask != 0 {
            let state = &mut self.vcs[mask.trailing_zeros() as usize];
            mask &= mask - 1;
            state.occupied -= 1;
            if self.wait_for_tail && state.occupied == 0 && state.tail_sent {
                state.owned = false;
            }
        }
    }
}
