//! What an output knows of the buffers it feeds: free slots, and which virtual channels have an owner.

/// The buffers behind one output, a virtual channel each; sets of virtual channels are the bits of a word.
#[derive(Debug, Clone)]
pub(super) struct Credits {
    occupied: Vec<u32>,
    depth: u32,
    wait_for_tail: bool,
    owned: u64,
    full: u64,
    filled: u64,
    tail_sent: u64,
}

impl Credits {
    pub(super) fn new(vcs: usize, depth: usize, wait_for_tail: bool) -> Credits {
        let depth = depth as u32;
        Credits { occupied: vec![0; vcs], depth, wait_for_tail, owned: 0, full: 0, filled: 0, tail_sent: 0 }
    }

    /// Whether the virtual channel has no slot left.
    pub(super) fn is_full(&self, vc: usize) -> bool {
        self.full >> vc & 1 == 1
    }

    /// Whether no packet owns the virtual channel.
    pub(super) fn is_free(&self, vc: usize) -> bool {
        self.owned >> vc & 1 == 0
    }

    /// The virtual channels that no packet owns.
    pub(super) fn free(&self) -> u64 {
        !self.owned
    }

    /// The virtual channels that have a slot left.
    pub(super) fn with_room(&self) -> u64 {
        !self.full
    }

    /// The virtual channels that have a flit.
    pub(super) fn filled(&self) -> u64 {
        self.filled
    }

    /// A packet takes the virtual channel.
    pub(super) fn take(&mut self, vc: usize) {
        self.owned |= 1 << vc;
        self.tail_sent &= !(1 << vc);
    }

    /// A flit leaves for the virtual channel.
    pub(super) fn send(&mut self, vc: usize, tail: bool) {
        self.occupied[vc] += 1;
        self.filled |= 1 << vc;
        if self.occupied[vc] == self.depth {
            self.full |= 1 << vc;
        }
        if tail {
            self.tail_sent |= 1 << vc;
            if !self.wait_for_tail {
                self.owned &= !(1 << vc);
            }
        }
    }

    /// A slot of each virtual channel in the mask is free again.
    pub(super) fn restore(&mut self, mut mask: u64) {
        self.full &= !mask;
        while mask != 0 {
            let vc = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            self.occupied[vc] -= 1;
            if self.occupied[vc] == 0 {
                self.filled &= !(1 << vc);
                if self.wait_for_tail && self.tail_sent >> vc & 1 == 1 {
                    self.owned &= !(1 << vc);
                }
            }
        }
    }
}
