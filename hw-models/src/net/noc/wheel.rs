//! What is on the wires, by the cycle in which it is seen: a ring of lists as long as the longest channel.

/// A ring of lists of events.
#[derive(Debug)]
pub(super) struct Wheel<E> {
    slots: Vec<Vec<E>>,
    pending: u64,
}

impl<E> Wheel<E> {
    /// A wheel for events up to `longest` cycles ahead.
    pub(super) fn new(longest: u64) -> Wheel<E> {
        let slots = (longest + 2).next_power_of_two() as usize;
        Wheel { slots: (0..slots).map(|_| Vec::new()).collect(), pending: 0 }
    }

    /// Puts an event that is seen in cycle `at`, which is not further ahead than the longest.
    pub(super) fn put(&mut self, at: u64, event: E) {
        let slot = at as usize & (self.slots.len() - 1);
        self.slots[slot].push(event);
        self.pending += 1;
    }

    /// The events of a cycle; the list comes back by [`Wheel::give_back`], so that it keeps its memory.
    pub(super) fn take(&mut self, now: u64) -> Vec<E> {
        let slot = now as usize & (self.slots.len() - 1);
        let events = std::mem::take(&mut self.slots[slot]);
        self.pending -= events.len() as u64;
        events
    }

    pub(super) fn give_back(&mut self, now: u64, mut events: Vec<E>) {
        events.clear();
        let slot = now as usize & (self.slots.len() - 1);
        self.slots[slot] = events;
    }

    /// The next cycle from `now` on in which something is seen.
    pub(super) fn next(&self, now: u64) -> Option<u64> {
        if self.pending == 0 {
            return None;
        }
        let length = self.slots.len();
        (now..now + length as u64).find(|t| !self.slots[*t as usize & (length - 1)].is_empty())
    }
}
