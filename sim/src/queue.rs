//! The event queue: a priority queue over [`Time`], first in first out among equals.
//!
//! It is a hierarchical timing wheel, digits of 6 bits, with a short sorted list in front:
//!
//! ```text
//!   early      front (sorted)      wheel: level l, slot s holds the events whose highest
//!   (heap)     <= 64 times         digit that differs from `base` is digit l, of value s
//!   t < base   base <= t <= last   level 0: 64 slots of 1 fs; level 1: 64 of 64 fs; ... level 10
//! ```
//!
//! Pushing is a shift and an exclusive or. When the front is empty, `pop` takes the first occupied slot of the lowest
//! occupied level: if few events lie there, it sorts them into the front; if many, it spreads them over the finer level
//! below. So slots become as fine as the events are dense, whatever their distribution: an event moves down at most
//! once a level, and skewed times cannot make the cost quadratic. Events of equal time are one linked list, and lists
//! are moved front to back, which keeps them first in first out without a sequence number.
//!
//! Any time may be pushed at any moment, also one earlier than the last that was popped; it is simply the next to come
//! out. (A simulation that does so has broken causality; the [engine](crate::engine) checks that, the queue does not.)
//! Times before `base`, which only such pushes and those after a `peek_time` have, go to a small binary heap.
//!
//! Events live in one slab that grows to the largest number that was ever pending, and nothing else is allocated.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Time;

/// Bits of one digit of the wheel, and what follows from them.
const DIGIT: u32 = 6;
const SLOTS: usize = 1 << DIGIT;
const LEVELS: usize = (u64::BITS as usize).div_ceil(DIGIT as usize);

/// A slot with at most this many events is sorted into the front at once.
const FEW: u32 = 24;
/// The front is spread over the wheel when pushes make it longer than this.
const LONGEST_FRONT: usize = 64;

/// End of a list.
const NIL: u32 = u32::MAX;

/// Pending events in order of (time, order of insertion).
#[derive(Clone, Debug)]
pub struct EventQueue<E> {
    nodes: Vec<Node<E>>,
    /// First of the free nodes.
    free: u32,
    len: usize,
    /// Distinct times from `base` to `last`, latest first, each with its events.
    front: Vec<Run>,
    /// The wheel's digits are relative to this; no event of front or wheel is earlier.
    base: u64,
    /// Pushes from `base` to `last` belong to the front while it is not empty.
    last: u64,
    wheel: Box<[[Slot; SLOTS]; LEVELS]>,
    /// Bit s of `occupied[l]`: slot s of level l is not empty.
    occupied: [u64; LEVELS],
    /// Bit l: some slot of level l is not empty.
    levels: u32,
    /// Events before `base`, by (time, sequence number).
    early: BinaryHeap<Reverse<(u64, u64, u32)>>,
    early_pushed: u64,
}

#[derive(Clone, Debug)]
struct Node<E> {
    time: u64,
    next: u32,
    event: Option<E>,
}

/// The events of one time, as a list.
#[derive(Clone, Copy, Debug)]
struct Run {
    time: u64,
    head: u32,
    tail: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    head: u32,
    tail: u32,
    count: u32,
}

const EMPTY: Slot = Slot { head: NIL, tail: NIL, count: 0 };

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        EventQueue::new()
    }
}

impl<E> EventQueue<E> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        EventQueue::with_capacity(0)
    }

    /// An empty queue that allocates nothing more until `n` events are pending.
    #[must_use]
    pub fn with_capacity(n: usize) -> Self {
        EventQueue {
            nodes: Vec::with_capacity(n),
            free: NIL,
            len: 0,
            front: Vec::with_capacity(LONGEST_FRONT + 1),
            base: 0,
            last: 0,
            wheel: Box::new([[EMPTY; SLOTS]; LEVELS]),
            occupied: [0; LEVELS],
            levels: 0,
            early: BinaryHeap::new(),
            early_pushed: 0,
        }
    }

    /// How many events are pending.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no event is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds `event` at `time`, behind all pending events of that time.
    ///
    /// # Panics
    /// If 2^32 - 1 events are already pending.
    #[inline]
    pub fn push(&mut self, time: Time, event: E) {
        let time = time.as_fs();
        if time < self.base && self.len == 0 {
            self.base = 0;
        }
        let node = self.allocate(time, event);
        self.len += 1;
        if time < self.base {
            self.early.push(Reverse((time, self.early_pushed, node)));
            self.early_pushed += 1;
        } else if time <= self.last && !self.front.is_empty() {
            self.insert_front(time, node);
            if self.front.len() > LONGEST_FRONT {
                self.spread_front();
            }
        } else {
            self.insert_wheel(Run { time, head: node, tail: node }, 1);
        }
    }

    /// Takes the earliest event; among equals the one pushed first.
    #[inline]
    pub fn pop(&mut self) -> Option<(Time, E)> {
        if !self.early.is_empty() {
            return self.pop_early();
        }
        if self.front.is_empty() {
            self.refill();
        }
        let run = self.front.last_mut()?;
        let (time, node) = (run.time, run.head);
        if run.head == run.tail {
            self.front.pop();
        } else {
            run.head = self.nodes[node as usize].next;
        }
        self.release(time, node)
    }

    /// The time of the earliest event. Not `&self`: it may sort some events to find out.
    #[inline]
    pub fn peek_time(&mut self) -> Option<Time> {
        if let Some(Reverse((time, _, _))) = self.early.peek() {
            return Some(Time::from_fs(*time));
        }
        if self.front.is_empty() {
            self.refill();
        }
        self.front.last().map(|run| Time::from_fs(run.time))
    }

    /// Removes all events, and keeps the memory.
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.free = NIL;
        self.len = 0;
        self.front.clear();
        (self.base, self.last) = (0, 0);
        self.wheel.fill([EMPTY; SLOTS]);
        self.occupied = [0; LEVELS];
        self.levels = 0;
        self.early.clear();
    }

    fn allocate(&mut self, time: u64, event: E) -> u32 {
        if let Some(node) = self.nodes.get_mut(self.free as usize) {
            let index = self.free;
            self.free = node.next;
            *node = Node { time, next: NIL, event: Some(event) };
            index
        } else {
            let index = self.nodes.len();
            assert!(index < NIL as usize, "more than 2^32 - 2 pending events");
            self.nodes.push(Node { time, next: NIL, event: Some(event) });
            index as u32
        }
    }

    #[inline]
    fn release(&mut self, time: u64, index: u32) -> Option<(Time, E)> {
        let node = &mut self.nodes[index as usize];
        node.next = self.free;
        self.free = index;
        self.len -= 1;
        node.event.take().map(|event| (Time::from_fs(time), event))
    }

    #[cold]
    fn pop_early(&mut self) -> Option<(Time, E)> {
        let Reverse((time, _, node)) = self.early.pop()?;
        self.release(time, node)
    }

    /// Puts one event in its place in the front, behind those of its time.
    #[inline]
    fn insert_front(&mut self, time: u64, node: u32) {
        let mut at = self.front.len();
        while at > 0 {
            let run = &mut self.front[at - 1];
            if run.time > time {
                break;
            }
            if run.time == time {
                self.nodes[run.tail as usize].next = node;
                run.tail = node;
                return;
            }
            at -= 1;
        }
        // Mostly a step or two: a loop beats the call that `Vec::insert` makes.
        let new = Run { time, head: node, tail: node };
        self.front.push(new);
        let mut hole = self.front.len() - 1;
        while hole > at {
            self.front[hole] = self.front[hole - 1];
            hole -= 1;
        }
        self.front[at] = new;
    }

    /// Appends a list of `count` events of one time, not before `base`, to its slot.
    #[inline]
    fn insert_wheel(&mut self, run: Run, count: u32) {
        let differs = run.time ^ self.base;
        let level = ((u64::BITS - 1 - (differs | 1).leading_zeros()) / DIGIT) as usize;
        let index = (run.time >> (level as u32 * DIGIT)) as usize % SLOTS;
        let slot = &mut self.wheel[level][index];
        if slot.count == 0 {
            self.occupied[level] |= 1 << index;
            self.levels |= 1 << level;
            slot.head = run.head;
        } else {
            self.nodes[slot.tail as usize].next = run.head;
        }
        slot.tail = run.tail;
        slot.count += count;
    }

    /// Fills the empty front with the earliest events of the wheel, if it has any.
    fn refill(&mut self) {
        while self.levels != 0 {
            let level = self.levels.trailing_zeros() as usize % LEVELS;
            let index = self.occupied[level].trailing_zeros() as usize % SLOTS;
            let slot = std::mem::replace(&mut self.wheel[level][index], EMPTY);
            self.occupied[level] &= !(1 << index);
            if self.occupied[level] == 0 {
                self.levels &= !(1 << level);
            }
            // The slot's times share all digits above `level` with the base, and have this one.
            let shift = level as u32 * DIGIT;
            let below = (1u64 << shift) - 1;
            let digit = (SLOTS as u64 - 1) << shift;
            self.base = (self.base & !(digit | below)) | ((index as u64) << shift);
            self.last = self.base | below;
            if level == 0 {
                self.front.push(Run { time: self.base, head: slot.head, tail: slot.tail });
                return;
            }
            let mut node = slot.head;
            if slot.count <= FEW {
                for _ in 0..slot.count {
                    let Node { time, next, .. } = self.nodes[node as usize];
                    self.insert_front(time, node);
                    node = next;
                }
                return;
            }
            for _ in 0..slot.count {
                let Node { time, next, .. } = self.nodes[node as usize];
                self.insert_wheel(Run { time, head: node, tail: node }, 1);
                node = next;
            }
        }
    }

    /// Moves the front to the wheel's levels below that of the slot it came from, all of which are empty.
    #[cold]
    fn spread_front(&mut self) {
        for i in 0..self.front.len() {
            let run = self.front[i];
            let mut count = 1;
            let mut node = run.head;
            while node != run.tail {
                node = self.nodes[node as usize].next;
                count += 1;
            }
            self.insert_wheel(run, count);
        }
        self.front.clear();
    }
}
