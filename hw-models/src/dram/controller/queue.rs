//! A queue of up to 64 requests, sorted by bank and by what each bank could do next.

use super::super::{Cycle, NO_ROW, OPENING};

/// No slot.
pub(super) const NIL: u8 = 255;

/// A request in a controller.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub address: u64,
    /// The tick of its acceptance.
    pub arrival: Cycle,
    /// The tick from which on it was offered.
    pub asked: Cycle,
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

/// A bank's requests, in the order of arrival, and those among them that may be next.
#[derive(Debug, Clone, Copy)]
struct List {
    first: u8,
    last: u8,
    /// The oldest for the open row.
    hit: u8,
    /// The oldest for another.
    conflict: u8,
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
    banks: Vec<List>,
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
            banks: vec![List { first: NIL, last: NIL, hit: NIL, conflict: NIL }; banks],
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
        let list = &mut self.banks[bank];
        if list.first == NIL {
            list.first = s;
        } else {
            self.next[list.last as usize & 63] = s;
        }
        list.last = s;
        if view.held || view.capped || view.protect {
            self.classify(bank, view);
        } else if view.row == NO_ROW {
            if list.first == s {
                self.class[OPEN] |= 1 << slot;
            }
        } else if view.row == entry.row {
            if list.hit == NIL {
                list.hit = s;
                self.class[ACCESS] |= 1 << slot;
            }
        } else if view.row != OPENING && list.conflict == NIL {
            list.conflict = s;
            if !view.active {
                self.class[CLOSE] |= 1 << slot;
            }
        }
    }

    /// Sorts a bank's requests anew after the bank has changed.
    #[inline(always)]
    pub(super) fn classify(&mut self, bank: usize, view: BankView) {
        let list = &mut self.banks[bank];
        if list.first == NIL {
            return;
        }
        if list.hit != NIL {
            self.class[ACCESS] &= !(1 << list.hit);
            list.hit = NIL;
        }
        if list.conflict != NIL {
            self.class[CLOSE] &= !(1 << list.conflict);
            list.conflict = NIL;
        }
        self.class[OPEN] &= !(1 << list.first);
        if view.row == NO_ROW {
            if !view.held {
                self.class[OPEN] |= 1 << list.first;
            }
            return;
        }
        if view.row == OPENING {
            return;
        }
        let mut slot = list.first;
        while slot != NIL {
            let i = slot as usize & 63;
            let (kept, other) = if self.entries[i].row == view.row {
                (&mut list.hit, list.conflict)
            } else {
                (&mut list.conflict, list.hit)
            };
            if *kept == NIL {
                *kept = slot;
                if other != NIL {
                    break;
                }
            }
            slot = self.next[i];
        }
        let (hit, conflict) = (list.hit, list.conflict);
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

    /// After the access of a request that had left the queue: its bank may be closed again.
    #[inline(always)]
    pub(super) fn release(&mut self, bank: usize) {
        let conflict = self.banks[bank].conflict;
        if conflict != NIL {
            self.class[CLOSE] |= 1 << conflict;
        }
    }

    /// After the access of a request of this queue, which was its bank's hit and has been removed; the bank's row stays open.
    #[inline(always)]
    pub(super) fn next_hit(&mut self, slot: usize, bank: usize, row: u32) {
        let mut slot = self.next[slot & 63];
        while slot != NIL {
            let i = slot as usize & 63;
            if self.entries[i].row == row {
                self.banks[bank].hit = slot;
                self.class[ACCESS] |= 1 << slot;
                return;
            }
            slot = self.next[i];
        }
    }

    /// Takes a request out; its bank must be classified again.
    #[inline(always)]
    pub(super) fn remove(&mut self, slot: usize) -> Entry {
        let slot = slot & 63;
        let entry = self.entries[slot];
        let list = &mut self.banks[entry.bank as usize];
        self.len -= 1;
        let keep = !(1 << slot);
        self.used &= keep;
        for class in &mut self.class {
            *class &= keep;
        }
        self.filter[hash(entry.address)] -= 1;
        let s = slot as u8;
        if list.hit == s {
            list.hit = NIL;
        }
        if list.conflict == s {
            list.conflict = NIL;
        }
        let next = self.next[slot];
        if list.first == s {
            list.first = next;
            if next == NIL {
                list.last = NIL;
            }
            return entry;
        }
        let mut before = list.first;
        while self.next[before as usize & 63] != s {
            before = self.next[before as usize & 63];
        }
        self.next[before as usize & 63] = next;
        if list.last == s {
            list.last = before;
        }
        entry
    }

    /// The slot of a bank that stands in a class, if any.
    #[inline(always)]
    pub(super) fn candidate(&self, class: usize, bank: usize) -> Option<usize> {
        let slot = match class {
            ACCESS => self.banks[bank].hit,
            OPEN => self.banks[bank].first,
            _ => self.banks[bank].conflict,
        };
        (slot != NIL && self.class[class] & (1 << slot) != 0).then_some(slot as usize)
    }

    /// Whether some request wants this row of this bank, whatever its class.
    pub(super) fn wants(&self, bank: usize, row: u32) -> bool {
        let mut slot = self.banks[bank].first;
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
