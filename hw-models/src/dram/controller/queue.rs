//! A queue of up to 64 requests, sorted by bank and by what each bank could do next.

use super::super::{Cycle, NO_ROW, OPENING};

/// No slot.
pub(super) const NIL: u8 = 255;

/// A request in a controller.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub address: u64,
    pub arrival: Cycle,
    pub sequence: u64,
    pub row: u32,
    pub bank: u16,
    pub write: bool,
    /// A command was issued for it.
    pub started: bool,
}

/// What a bank is like, as far as it decides what a request of it may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct BankView {
    /// The open row, [`NO_ROW`] or [`OPENING`].
    pub row: u32,
    /// An activated request waits for its access.
    pub active: bool,
    /// Nothing of it may be scheduled (it sleeps, or a refresh waits for it).
    pub held: bool,
    /// Its row has had as many accesses as the cap allows.
    pub capped: bool,
    /// Its row is not closed while requests for it wait.
    pub protect: bool,
}

/// The requests of one kind.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    pub entries: [Entry; 64],
    pub bank: [u16; 64],
    pub arrival: [Cycle; 64],
    next: [u8; 64],
    pub used: u64,
    pub len: u32,
    pub capacity: u32,
    first: Vec<u8>,
    last: Vec<u8>,
    hit: Vec<u8>,
    conflict: Vec<u8>,
    /// Slots whose next command is an access, an activation, a precharge: at most one of each for a bank, its oldest.
    pub class: [u64; 3],
    /// Counts of addresses by hash: most searches for an address end here.
    filter: [u8; 256],
}

/// Class of an access.
pub(super) const ACCESS: usize = 0;
/// Class of an activation.
pub(super) const OPEN: usize = 1;
/// Class of a precharge.
pub(super) const CLOSE: usize = 2;

fn hash(address: u64) -> usize {
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

impl Queue {
    pub(super) fn new(banks: usize, capacity: u32) -> Self {
        Self {
            entries: [Entry::default(); 64],
            bank: [0; 64],
            arrival: [0; 64],
            next: [NIL; 64],
            used: 0,
            len: 0,
            capacity,
            first: vec![NIL; banks],
            last: vec![NIL; banks],
            hit: vec![NIL; banks],
            conflict: vec![NIL; banks],
            class: [0; 3],
            filter: [0; 256],
        }
    }

    /// Whether a request for this address waits.
    #[inline(always)]
    pub(super) fn has(&self, address: u64) -> bool {
        if self.filter[hash(address)] == 0 {
            return false;
        }
        let mut slots = self.used;
        while slots != 0 {
            let slot = slots.trailing_zeros() as usize;
            slots &= slots - 1;
            if self.entries[slot].address == address {
                return true;
            }
        }
        false
    }

    /// Takes a request in. The queue must not be full.
    #[inline(always)]
    pub(super) fn push(&mut self, entry: Entry, view: BankView) {
        let slot = (!self.used).trailing_zeros() as usize & 63;
        self.used |= 1 << slot;
        self.len += 1;
        self.entries[slot] = entry;
        self.bank[slot] = entry.bank;
        self.arrival[slot] = entry.arrival;
        self.next[slot] = NIL;
        self.filter[hash(entry.address)] += 1;
        let bank = entry.bank as usize;
        let s = slot as u8;
        if self.first[bank] == NIL {
            self.first[bank] = s;
        } else {
            self.next[self.last[bank] as usize & 63] = s;
        }
        self.last[bank] = s;
        if view.held || view.capped || view.protect {
            self.classify(bank, view);
        } else if view.row == NO_ROW {
            if self.first[bank] == s {
                self.class[OPEN] |= 1 << slot;
            }
        } else if view.row == entry.row {
            if self.hit[bank] == NIL {
                self.hit[bank] = s;
                self.class[ACCESS] |= 1 << slot;
            }
        } else if view.row != OPENING && self.conflict[bank] == NIL {
            self.conflict[bank] = s;
            if !view.active {
                self.class[CLOSE] |= 1 << slot;
            }
        }
    }

    /// Sorts a bank's requests anew after the bank has changed.
    #[inline(always)]
    pub(super) fn classify(&mut self, bank: usize, view: BankView) {
        let first = self.first[bank];
        if self.hit[bank] != NIL {
            self.class[ACCESS] &= !(1 << self.hit[bank]);
            self.hit[bank] = NIL;
        }
        if self.conflict[bank] != NIL {
            self.class[CLOSE] &= !(1 << self.conflict[bank]);
            self.conflict[bank] = NIL;
        }
        if first == NIL {
            return;
        }
        self.class[OPEN] &= !(1 << first);
        if view.row == NO_ROW {
            if !view.held {
                self.class[OPEN] |= 1 << first;
            }
            return;
        }
        if view.row == OPENING {
            return;
        }
        let mut slot = first;
        while slot != NIL {
            let i = slot as usize & 63;
            let kept = if self.entries[i].row == view.row { &mut self.hit[bank] } else { &mut self.conflict[bank] };
            if *kept == NIL {
                *kept = slot;
            }
            slot = self.next[i];
        }
        let (hit, conflict) = (self.hit[bank], self.conflict[bank]);
        if view.held {
            return;
        }
        let passed_over = view.capped && conflict != NIL;
        if hit != NIL && !passed_over {
            self.class[ACCESS] |= 1 << hit;
        }
        if conflict != NIL && !view.active && (hit == NIL || passed_over || !view.protect) {
            self.class[CLOSE] |= 1 << conflict;
        }
    }

    /// Takes a request out; its bank must be classified again.
    #[inline(always)]
    pub(super) fn remove(&mut self, slot: usize) -> Entry {
        let slot = slot & 63;
        let entry = self.entries[slot];
        let bank = entry.bank as usize;
        self.len -= 1;
        self.used &= !(1 << slot);
        for class in &mut self.class {
            *class &= !(1 << slot);
        }
        self.filter[hash(entry.address)] -= 1;
        let s = slot as u8;
        if self.hit[bank] == s {
            self.hit[bank] = NIL;
        }
        if self.conflict[bank] == s {
            self.conflict[bank] = NIL;
        }
        let (mut before, mut at) = (NIL, self.first[bank]);
        while at != s {
            before = at;
            at = self.next[at as usize & 63];
        }
        if before == NIL {
            self.first[bank] = self.next[slot];
        } else {
            self.next[before as usize & 63] = self.next[slot];
        }
        if self.last[bank] == s {
            self.last[bank] = before;
        }
        entry
    }

    /// The slot of a bank that stands in a class, if any.
    #[inline(always)]
    pub(super) fn candidate(&self, class: usize, bank: usize) -> Option<usize> {
        let slot = match class {
            ACCESS => self.hit[bank],
            OPEN => self.first[bank],
            _ => self.conflict[bank],
        };
        (slot != NIL && self.class[class] & (1 << slot) != 0).then_some(slot as usize)
    }

    /// Whether some request wants this row of this bank, whatever its class.
    pub(super) fn wants(&self, bank: usize, row: u32) -> bool {
        let mut slot = self.first[bank];
        while slot != NIL {
            if self.entries[slot as usize & 63].row == row {
                return true;
            }
            slot = self.next[slot as usize & 63];
        }
        false
    }

    /// The slot of the oldest request.
    pub(super) fn oldest(&self) -> Option<usize> {
        let mut slots = self.used;
        let mut best: Option<usize> = None;
        while slots != 0 {
            let slot = slots.trailing_zeros() as usize;
            slots &= slots - 1;
            if best.is_none_or(|b| self.arrival[slot] < self.arrival[b]) {
                best = Some(slot);
            }
        }
        best
    }
}
