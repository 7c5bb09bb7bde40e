//! Bounded first-in-first-out ports with back-pressure.
//!
//! A full port gives the value back and remembers the sender. Each time the receiver takes a value, the freed place is
//! kept for the sender that has waited longest, which is touched once; a newcomer cannot take it. So blocked senders
//! go in the order in which they were refused, and none starves.

use std::collections::VecDeque;

use crate::clock::Clock;
use crate::component::{ComponentId, Wait, Wakes};
use crate::stats::TimeWeighted;
use crate::time::{Cycles, Time};

/// A bounded queue from any number of senders to one receiver.
#[derive(Clone, Debug)]
pub struct Port<T> {
    name: String,
    receiver: ComponentId,
    capacity: usize,
    latency: Latency,
    /// Values with their times of arrival, which do not decrease.
    items: VecDeque<(Time, T)>,
    /// Refused senders, longest waiting first; each at most once.
    waiting: VecDeque<ComponentId>,
    /// Senders that were touched and have a place kept for them.
    granted: Vec<ComponentId>,
    /// Values accepted.
    pub sent: u64,
    /// Values taken out.
    pub received: u64,
    /// Attempts refused because the port was full.
    pub refused: u64,
    /// Values in the port, over time.
    pub occupancy: TimeWeighted,
}

#[derive(Clone, Copy, Debug)]
enum Latency {
    Fixed(Time),
    Clocked(Clock, Cycles),
}

/// A refused value: the port is full, and the sender will be touched when there is room for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

impl<T> Port<T> {
    /// A port with room for `capacity` values (0 counts as 1), which arrive at once.
    #[must_use]
    pub fn new(name: impl Into<String>, receiver: ComponentId, capacity: usize) -> Port<T> {
        let capacity = capacity.max(1);
        Port {
            name: name.into(),
            receiver,
            capacity,
            latency: Latency::Fixed(Time::ZERO),
            items: VecDeque::new(),
            waiting: VecDeque::new(),
            granted: Vec::new(),
            sent: 0,
            received: 0,
            refused: 0,
            occupancy: TimeWeighted::default(),
        }
    }

    /// The same port, in which a value can be received `latency` after it was sent.
    #[must_use]
    pub fn with_latency(mut self, latency: Time) -> Port<T> {
        self.latency = Latency::Fixed(latency);
        self
    }

    /// The same port, in which a value sent at or before an edge of `clock` can be received `latency` edges later.
    #[must_use]
    pub fn with_cycles(mut self, clock: Clock, latency: Cycles) -> Port<T> {
        self.latency = Latency::Clocked(clock, latency);
        self
    }

    /// Sends `value`, and touches the receiver. A sender that waits has a place kept for it once it is touched.
    ///
    /// # Errors
    /// [`Full`] gives the value back if there is no room for this sender. The sender is remembered and touched when
    /// there is; until then it can do nothing about this port: see [`Port::is_waiting`].
    #[inline]
    pub fn try_send(&mut self, now: Time, from: ComponentId, value: T, wakes: &mut Wakes) -> Result<(), Full<T>> {
        if !self.granted.is_empty()
            && let Some(at) = self.granted.iter().position(|&g| g == from)
        {
            self.granted.swap_remove(at);
        } else if !self.has_room() {
            self.refused += 1;
            if !self.waiting.contains(&from) {
                self.waiting.push_back(from);
            }
            return Err(Full(value));
        }
        let arrives = match self.latency {
            Latency::Fixed(latency) => now.saturating_add(latency),
            Latency::Clocked(clock, latency) => clock.edge(clock.cycle_at_or_after(now).saturating_add(latency)),
        };
        let arrives = self.items.back().map_or(arrives, |&(last, _)| arrives.max(last));
        self.items.push_back((arrives, value));
        self.sent += 1;
        self.occupancy.set(now, self.items.len() as u64);
        wakes.touch(self.receiver);
        Ok(())
    }

    /// Whether a send by `from` would be accepted now.
    #[inline]
    #[must_use]
    pub fn has_room_for(&self, from: ComponentId) -> bool {
        self.has_room() || self.granted.contains(&from)
    }

    /// Room for a sender that has no place kept. While somebody waits there is none.
    #[inline]
    fn has_room(&self) -> bool {
        self.items.len() + self.granted.len() < self.capacity
    }

    /// Whether `from` was refused and has not been touched since. It can do nothing about this port until then, which
    /// is what its `next_action` should say; without having been refused it would not be touched.
    #[inline]
    #[must_use]
    pub fn is_waiting(&self, from: ComponentId) -> bool {
        !self.waiting.is_empty() && self.waiting.contains(&from)
    }

    /// `from` no longer wants to send: forgets that it waits, or passes on the place kept for it. Without this call a
    /// sender that was refused and changed its mind would hold a place for ever.
    pub fn cancel(&mut self, from: ComponentId, wakes: &mut Wakes) {
        self.waiting.retain(|&w| w != from);
        if let Some(at) = self.granted.iter().position(|&g| g == from) {
            self.granted.swap_remove(at);
            self.grant(wakes);
        }
    }

    /// Takes the oldest value if it has arrived, and lets the sender that waited longest have its place.
    #[inline]
    pub fn recv(&mut self, now: Time, wakes: &mut Wakes) -> Option<T> {
        if self.ready_at()? > now {
            return None;
        }
        let (_, value) = self.items.pop_front()?;
        self.received += 1;
        self.occupancy.set(now, self.items.len() as u64);
        self.grant(wakes);
        Some(value)
    }

    #[inline]
    fn grant(&mut self, wakes: &mut Wakes) {
        if let Some(first) = self.waiting.pop_front() {
            self.granted.push(first);
            wakes.touch(first);
        }
    }

    /// The oldest value, if it has arrived.
    #[inline]
    #[must_use]
    pub fn peek(&self, now: Time) -> Option<&T> {
        self.items.front().filter(|(arrives, _)| *arrives <= now).map(|(_, value)| value)
    }

    /// When the oldest value can be received: what a receiver's `next_action` is made of.
    #[inline]
    #[must_use]
    pub fn ready_at(&self) -> Option<Time> {
        self.items.front().map(|&(arrives, _)| arrives)
    }

    /// How many values are in the port, arrived or under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no value is in the port.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The most values that the port holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The name it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who receives from it.
    #[must_use]
    pub fn receiver(&self) -> ComponentId {
        self.receiver
    }

    /// Why a refused sender waits: for the receiver to make room.
    #[must_use]
    pub fn wait_for_room(&self) -> Wait {
        let kept = if self.granted.is_empty() { String::new() } else { format!(", {} kept", self.granted.len()) };
        let what = format!("room in `{}` ({} of {} full{kept})", self.name, self.items.len(), self.capacity);
        Wait { on: self.receiver, what }
    }

    /// Why a receiver waits: for `sender` to send something.
    #[must_use]
    pub fn wait_for_value(&self, sender: ComponentId) -> Wait {
        Wait { on: sender, what: format!("a value in `{}`", self.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const R: ComponentId = ComponentId(100);

    #[test]
    fn latency_is_kept_and_rounded_up_to_edges() {
        let mut wakes = Wakes::new();
        let t = Time::from_fs;
        let mut port = Port::new("p", R, 4).with_latency(t(10));
        port.try_send(t(5), ComponentId(0), 'a', &mut wakes).unwrap();
        assert_eq!(port.ready_at(), Some(t(15)));
        assert_eq!(port.peek(t(14)), None);
        assert_eq!(port.recv(t(14), &mut wakes), None);
        assert_eq!(port.peek(t(15)), Some(&'a'));
        assert_eq!(port.recv(t(15), &mut wakes), Some('a'));

        let clock = Clock::from_mhz(1000.0).unwrap();
        let mut port = Port::new("p", R, 4).with_cycles(clock, Cycles(2));
        port.try_send(t(1_000_000), ComponentId(0), 'a', &mut wakes).unwrap();
        assert_eq!(port.ready_at(), Some(t(3_000_000)));
        port.try_send(t(1_000_001), ComponentId(0), 'b', &mut wakes).unwrap();
        port.recv(t(3_000_000), &mut wakes);
        assert_eq!(port.ready_at(), Some(t(4_000_000)));
    }

    #[test]
    fn a_newcomer_cannot_take_the_place_of_one_who_waits() {
        let mut wakes = Wakes::new();
        let (a, b, c) = (ComponentId(0), ComponentId(1), ComponentId(2));
        let mut port = Port::new("p", R, 1);
        assert_eq!(port.try_send(Time::ZERO, a, 1, &mut wakes), Ok(()));
        assert_eq!(port.try_send(Time::ZERO, b, 2, &mut wakes), Err(Full(2)));
        assert_eq!(wakes.drain().collect::<Vec<_>>(), [R]);
        assert_eq!(port.recv(Time::ZERO, &mut wakes), Some(1));
        assert_eq!(wakes.drain().collect::<Vec<_>>(), [b]);
        assert_eq!(port.try_send(Time::ZERO, c, 3, &mut wakes), Err(Full(3)));
        assert!(port.has_room_for(b) && !port.has_room_for(c));
        // b gives up; its place goes to c, who waits.
        port.cancel(b, &mut wakes);
        assert_eq!(wakes.drain().collect::<Vec<_>>(), [c]);
        assert_eq!(port.try_send(Time::ZERO, c, 3, &mut wakes), Ok(()));
        assert_eq!(port.recv(Time::ZERO, &mut wakes), Some(3));
        assert!(port.has_room_for(a));
    }

    proptest! {
        /// Never over capacity, in order, nothing lost, each refused sender touched once, in order of refusal.
        #[test]
        fn the_laws_of_a_port(capacity in 1usize..5, ops in prop::collection::vec((0u32..8, 0u64..3), 1..300)) {
            let mut port = Port::new("p", R, capacity);
            let mut wakes = Wakes::new();
            let (mut accepted, mut received) = (Vec::new(), Vec::new());
            let (mut refused, mut woken) = (Vec::new(), Vec::new());
            // Senders 0 to 4; operations 5 to 7 receive. A sender that waits does nothing until it is touched.
            let mut waits = [false; 5];
            let mut now = Time::ZERO;
            for (serial, (op, dt)) in ops.into_iter().enumerate() {
                now = now.saturating_add(Time::from_fs(dt));
                if op < 5 && !waits[op as usize] {
                    let from = ComponentId(op);
                    let room = port.has_room_for(from);
                    match port.try_send(now, from, serial, &mut wakes) {
                        Ok(()) => accepted.push(serial),
                        Err(Full(value)) => {
                            prop_assert_eq!(value, serial);
                            waits[op as usize] = true;
                            refused.push(from);
                        }
                    }
                    prop_assert_eq!(room, !waits[op as usize]);
                    prop_assert_eq!(port.is_waiting(from), waits[op as usize]);
                } else if op >= 5 && let Some(value) = port.recv(now, &mut wakes) {
                    received.push(value);
                }
                prop_assert!(port.len() <= capacity);
                for id in wakes.drain() {
                    if id != R {
                        prop_assert!(waits[id.index()], "touched without waiting");
                        waits[id.index()] = false;
                        woken.push(id);
                        // A place is kept, so the value is now accepted.
                        prop_assert!(port.has_room_for(id));
                    }
                }
            }
            prop_assert_eq!(&refused[..woken.len()], &woken[..]);
            let still = waits.iter().filter(|w| **w).count();
            prop_assert_eq!(refused.len(), woken.len() + still);
            while let Some(value) = port.recv(now, &mut wakes) {
                received.push(value);
            }
            prop_assert_eq!(&received, &accepted);
            prop_assert_eq!((port.sent, port.received), (accepted.len() as u64, received.len() as u64));
            prop_assert!(port.occupancy.max <= capacity as u64);
        }
    }
}
