//! The event queue: a priority queue over [`Time`], first in first out among equals.
//!
//! It is a hierarchical timing wheel with one wide digit, and a short sorted list in front:
//!
//! ```text
//!   early      front (sorted)      wheel: level l, slot s holds the events whose highest
//!   (heap)     <= 64 times         digit that differs from `base` is digit l, of value s
//!   t < base   base <= t <= last   digits have 6 bits (64 slots), but one has 12 (4096 slots)
//! ```
//!
//! Pushing is a shift and an exclusive or. When the front is empty, `pop` takes the first occupied slot of the lowest
//! occupied level, found in two or three words of bits: a single event is the result, a few are sorted into the front,
//! and many are spread over the finer levels below. An event moves down at most once a level and there are at most
//! twelve, so skewed times cannot make the cost quadratic.
//!
//! The wide digit is put where an occupied slot rarely holds a second event: most events then need no sorting, and only
//! one spreading, in a long and foreseeable loop. As the run goes on, the queue counts how full those slots are, and moves
//! the digit when they are too full or too empty. Where it lies changes the speed and never the order.
//!
//! Events of equal time are one linked list, and lists are moved front to back, which keeps them first in first out
//! without a sequence number.
//!
//! Any time may be pushed at any moment, also one earlier than the last that was popped; it is simply the next to come
//! out. (A simulation that does so has broken causality; the [engine](crate::engine) checks that, the queue does not.)
//! Times before `base`, which only such pushes and those after a `peek_time` have, go to a small binary heap.
//!
//! Events live in one slab that grows to the largest number that was ever pending, and nothing else is allocated.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Time;

/// Bits of an ordinary digit of a time.
const DIGIT: u32 = 6;
const SLOTS: usize = 1 << DIGIT;
/// Bits of the wide digit.
const WIDE: u32 = 2 * DIGIT;
const WIDE_SLOTS: usize = 1 << WIDE;
/// The most digits that a time has, wherever the wide one lies.
const LEVELS: usize = 12;

/// A slot with at most this many events is sorted into the front at once.
const FEW: u32 = 24;
/// The front is spread over the wheel when pushes make it longer than this.
const LONGEST_FRONT: usize = 64;

/// Where the wide digit starts at first, until it is known how dense events are: slots of 4 ps.
const FIRST_WIDE_SHIFT: u32 = 12;
/// The place of the wide digit is judged after this many of its slots, and as many events as are pending.
const JUDGE_AFTER: usize = 256;
/// Distinct times in an occupied slot of the wide level, in hundredths: with more than the upper bound its slots become
/// finer, with fewer than the lower coarser. By chance alone (Poisson) that is one event for every 6 to 25 slots: almost
/// every slot taken then holds a single event, which needs no sorting, and the processor foresees that.
const FILL: (usize, usize) = (102, 109);

/// No list. A list is circular and named by its last node, whose `next` is the first: four bytes to a slot, and two
/// lists are joined by exchanging their last nodes' `next`.
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
    digits: Digits,
    wheel: Box<[[u32; SLOTS]; LEVELS]>,
    /// Bit s of `occupied[l]`: slot s of level l is not empty; for the wide level, word s of `wide_occupied`.
    occupied: [u64; LEVELS],
    wide: Box<[u32; WIDE_SLOTS]>,
    wide_occupied: [u64; SLOTS],
    fill: Fill,
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

/// The events of one time.
#[derive(Clone, Copy, Debug)]
struct Run {
    time: u64,
    list: u32,
}

/// Which bits of a time make up which digit: the wide digit starts at bit `shift[wide]`.
#[derive(Clone, Debug)]
struct Digits {
    level_of_bit: [u8; 64],
    shift: [u8; LEVELS],
    wide: usize,
}

impl Digits {
    fn new(wide_shift: u32) -> Digits {
        let mut digits = Digits { level_of_bit: [0; 64], shift: [0; LEVELS], wide: 0 };
        let (mut level, mut bit) = (0, 0);
        while bit < u64::BITS && level < LEVELS {
            let end = match bit {
                b if b < wide_shift => (b + DIGIT).min(wide_shift),
                b if b == wide_shift => b + WIDE,
                b => b + DIGIT,
            }
            .min(u64::BITS);
            if bit == wide_shift {
                digits.wide = level;
            }
            digits.shift[level] = bit as u8;
            digits.level_of_bit[bit as usize..end as usize].fill(level as u8);
            (level, bit) = (level + 1, end);
        }
        digits
    }
}

/// How full the wide level's slots have been since its place was last judged.
#[derive(Clone, Copy, Debug, Default)]
struct Fill {
    slots: usize,
    extra: usize,
    events: usize,
    judge_at: usize,
}

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
            digits: Digits::new(FIRST_WIDE_SHIFT),
            wheel: Box::new([[NIL; SLOTS]; LEVELS]),
            occupied: [0; LEVELS],
            wide: Box::new([NIL; WIDE_SLOTS]),
            wide_occupied: [0; SLOTS],
            fill: Fill::default(),
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
            self.insert_wheel(time, node);
        }
    }

    /// Takes the earliest event; among equals the one pushed first.
    #[inline]
    pub fn pop(&mut self) -> Option<(Time, E)> {
        if !self.early.is_empty() {
            return self.pop_early();
        }
        if self.front.is_empty()
            && let Some((time, node)) = self.refill(true)
        {
            return self.release(time, node);
        }
        let run = self.front.last()?;
        let (time, last) = (run.time, run.list);
        let node = self.nodes[last as usize].next;
        if node == last {
            self.front.pop();
        } else {
            self.nodes[last as usize].next = self.nodes[node as usize].next;
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
            self.refill(false);
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
        self.wheel.fill([NIL; SLOTS]);
        self.occupied = [0; LEVELS];
        self.wide.fill(NIL);
        self.wide_occupied = [0; SLOTS];
        self.levels = 0;
        self.early.clear();
    }

    fn allocate(&mut self, time: u64, event: E) -> u32 {
        if let Some(node) = self.nodes.get_mut(self.free as usize) {
            let index = self.free;
            self.free = node.next;
            *node = Node { time, next: index, event: Some(event) };
            index
        } else {
            let index = self.nodes.len();
            assert!(index < NIL as usize, "more than 2^32 - 2 pending events");
            let index = index as u32;
            self.nodes.push(Node { time, next: index, event: Some(event) });
            index
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

    /// Appends list `b` to list `a`; `b`'s name is the name of both.
    #[inline]
    fn join(&mut self, a: u32, b: u32) {
        let first = self.nodes[a as usize].next;
        self.nodes[a as usize].next = self.nodes[b as usize].next;
        self.nodes[b as usize].next = first;
    }

    /// Puts a list of events of one time in its place in the front, behind those of its time.
    #[inline]
    fn insert_front(&mut self, time: u64, list: u32) {
        let mut at = self.front.len();
        while at > 0 {
            let run = self.front[at - 1];
            if run.time > time {
                break;
            }
            if run.time == time {
                self.join(run.list, list);
                self.front[at - 1].list = list;
                return;
            }
            at -= 1;
        }
        // Mostly a step or two: a loop beats the call that `Vec::insert` makes.
        self.front.push(Run { time, list });
        let mut hole = self.front.len() - 1;
        while hole > at {
            self.front[hole] = self.front[hole - 1];
            hole -= 1;
        }
        self.front[at] = Run { time, list };
    }

    /// Appends a list of events of one time, not before `base`, to its slot.
    #[inline]
    fn insert_wheel(&mut self, time: u64, list: u32) {
        let differs = time ^ self.base;
        let wide = self.digits.wide;
        let above = differs >> self.digits.shift[wide];
        // The wide level is the usual one: found without the tables.
        let (level, slot, index) = if above != 0 && above < WIDE_SLOTS as u64 {
            let digit = (time >> self.digits.shift[wide]) as usize % WIDE_SLOTS;
            self.wide_occupied[digit / SLOTS] |= 1 << (digit % SLOTS);
            (wide, &mut self.wide[digit], digit / SLOTS)
        } else {
            let bit = u64::BITS - 1 - (differs | 1).leading_zeros();
            let level = self.digits.level_of_bit[bit as usize] as usize;
            let index = (time >> self.digits.shift[level]) as usize % SLOTS;
            (level, &mut self.wheel[level][index], index)
        };
        let before = std::mem::replace(slot, list);
        if before == NIL {
            self.occupied[level] |= 1 << index;
            self.levels |= 1 << level;
        } else {
            self.join(before, list);
        }
    }

    /// Takes the first slot of the lowest occupied level off the wheel, with its level and first time.
    fn take_slot(&mut self) -> Option<(usize, u64, u32)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        let shift = self.digits.shift[level];
        let index = self.occupied[level].trailing_zeros() as usize % SLOTS;
        let (slot, digit, mask) = if level == self.digits.wide {
            let word = &mut self.wide_occupied[index];
            let digit = index * SLOTS + word.trailing_zeros() as usize % SLOTS;
            *word &= *word - 1;
            if *word == 0 {
                self.occupied[level] &= !(1 << index);
            }
            (&mut self.wide[digit], digit, WIDE_SLOTS - 1)
        } else {
            self.occupied[level] &= !(1 << index);
            (&mut self.wheel[level][index], index, SLOTS - 1)
        };
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
        // The slot's times share all digits above this with the base.
        let below = (1u64 << shift) - 1;
        let start = (self.base & !(((mask as u64) << shift) | below)) | ((digit as u64) << shift);
        Some((level, start, std::mem::replace(slot, NIL)))
    }

    /// Fills the empty front with the earliest events of the wheel, if it has any. If that is a single event and
    /// `take` is set, returns it instead: with slots as fine as they are, that is the usual case.
    #[inline]
    fn refill(&mut self, take: bool) -> Option<(u64, u32)> {
        if self.fill.events > self.fill.judge_at {
            self.judge();
        }
        while let Some((level, start, list)) = self.take_slot() {
            let below = (1u64 << self.digits.shift[level]) - 1;
            self.base = start;
            self.last = start | below;
            let wide = level == self.digits.wide;
            self.fill.slots += usize::from(wide);
            let Node { time, next: first, .. } = self.nodes[list as usize];
            if first == list {
                self.fill.events += 1;
                if take {
                    return Some((time, list));
                }
                self.front.push(Run { time, list });
                return None;
            }
            if below == 0 {
                self.front.push(Run { time, list });
                return None;
            }
            if self.has_few(list) {
                let mut node = first;
                loop {
                    let Node { time, next, .. } = self.nodes[node as usize];
                    self.nodes[node as usize].next = node;
                    self.insert_front(time, node);
                    if node == list {
                        break;
                    }
                    node = next;
                }
                self.fill.events += self.front.len();
                self.fill.extra += if wide { self.front.len() - 1 } else { 0 };
                return None;
            }
            let count = self.insert_list(list);
            if wide {
                // Too full, unless it is that many events share a few times, which finer slots would not part.
                let finer: u32 = self.occupied[..level].iter().map(|o| o.count_ones()).sum();
                self.fill.extra += if finer > 4 { count - 1 } else { 0 };
            }
        }
        None
    }

    /// Whether a list has at most [`FEW`] events.
    fn has_few(&self, list: u32) -> bool {
        let mut node = list;
        for _ in 0..FEW {
            node = self.nodes[node as usize].next;
            if node == list {
                return true;
            }
        }
        false
    }

    /// Puts the events of a list into their slots, in order; returns how many there are.
    fn insert_list(&mut self, list: u32) -> usize {
        let mut node = self.nodes[list as usize].next;
        let mut count = 0;
        loop {
            let Node { time, next, .. } = self.nodes[node as usize];
            self.nodes[node as usize].next = node;
            self.insert_wheel(time, node);
            count += 1;
            if node == list {
                return count;
            }
            node = next;
        }
    }

    /// Moves the wide digit if its slots hold too many distinct times (slow to sort) or hardly more than one each (then
    /// it spans less time than it could, and more events pass through a coarser slot first). Costs a pass over all
    /// pending events, of which at least as many have been popped since the last.
    #[cold]
    fn judge(&mut self) {
        let Fill { slots, extra, .. } = self.fill;
        let times = slots + extra;
        self.fill = Fill { judge_at: self.len.max(JUDGE_AFTER), ..Fill::default() };
        let shift = u32::from(self.digits.shift[self.digits.wide]);
        let new = if 100 * times > FILL.1 * slots {
            shift.saturating_sub((2 * times / slots).ilog2().max(1)).max(1)
        } else if 100 * times < FILL.0 * slots {
            (shift + 1).min(u64::BITS - WIDE)
        } else {
            shift
        };
        if new == shift {
            return;
        }
        // All lists become one, in which events of one time keep their order, as they came from one slot.
        let mut all = NIL;
        while let Some((_, _, list)) = self.take_slot() {
            if all != NIL {
                self.join(all, list);
            }
            all = list;
        }
        self.digits = Digits::new(new);
        if all != NIL {
            self.insert_list(all);
        }
    }

    /// Moves the front to the wheel's levels below that of the slot it came from, all of which are empty.
    #[cold]
    fn spread_front(&mut self) {
        for i in 0..self.front.len() {
            let Run { time, list } = self.front[i];
            self.insert_wheel(time, list);
        }
        self.front.clear();
    }
}
