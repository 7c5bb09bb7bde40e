//! What lies in L2 between one kernel and the next, by buffer: the initial condition of each launch is the final one of the launch
//! before, so that bytes are conserved over a whole run.
//!
//! What SMs store becomes dirty in L2, once for each byte however often it is stored over, and is written to memory when its line must go. So over
//! any run `bytes written to memory = bytes that became dirty - bytes that are still dirty`, which is never more than was stored.
//! The machine simulates which lines go; the ledger carries the sums, and corrects what sampling and coarse steps would break.

use super::launch::{DIRTY_UNITS, HeldTensor, L2Start, SIXTEENTHS, TensorInL2};
use super::traffic::Traffic;

/// A buffer of which something lies in L2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    buffer: u32,
    bytes: u64,
    dirty: u64,
}

/// L2's contents. Buffers are in the order of their last use, the one used longest ago first.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    capacity: u64,
    entries: Vec<Entry>,
}

impl Ledger {
    /// An L2 with nothing in it that the run knows of.
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, entries: Vec::new() }
    }

    /// Bytes that must be written back.
    #[cfg(test)]
    pub(crate) fn dirty(&self) -> u64 {
        self.entries.iter().map(|e| e.dirty).sum()
    }

    /// How a kernel finds L2 whose tensors lie in some buffers; sizes are the tensors'.
    pub(crate) fn start(&self, operands: &[(u32, u64)]) -> L2Start {
        let (mut own, mut others_dirty) = (0, 0);
        for e in &self.entries {
            if operands.iter().any(|o| o.0 == e.buffer) {
                own += e.bytes;
            } else {
                others_dirty += e.dirty;
            }
        }
        let tensors = operands
            .iter()
            .map(|&(buffer, size)| {
                let Some(e) = self.entries.iter().find(|e| e.buffer == buffer && e.bytes > 0) else {
                    return HeldTensor::default();
                };
                let share = (e.bytes.min(size) * SIXTEENTHS / size.max(1)) as u8;
                // What is dirty of it matters less than what is there: in quarters.
                HeldTensor { share, dirty: (e.dirty * 4 / e.bytes * (SIXTEENTHS / 4)) as u8 }
            })
            .collect();
        let room = self.capacity.saturating_sub(own).max(1);
        L2Start { tensors, others_dirty: (others_dirty.min(room) * DIRTY_UNITS / room) as u16 }
    }

    /// A kernel has run: takes over what it left of its tensors, of which L2 holds `all` bytes with copies, and returns the bytes
    /// that went to memory.
    pub(crate) fn finish(&mut self, operands: &[(u32, u64)], left: &[TensorInL2], all: u64, traffic: &Traffic) -> u64 {
        let is_operand = |e: &Entry| operands.iter().any(|o| o.0 == e.buffer);
        let own_before: u64 = self.entries.iter().filter(|e| is_operand(e)).map(|e| e.dirty).sum();
        self.entries.retain(|e| !is_operand(e));
        // Its own: what became dirty and what was, less what went; no more than lies there.
        let became = own_before + traffic.l2_dirtied_bytes;
        let mut own_written = traffic.dram_write_bytes.saturating_sub(traffic.others_written_bytes).min(became);
        let resident: u64 = left.iter().map(|l| l.bytes).sum();
        let stays = (became - own_written).min(resident);
        own_written = became - stays;
        // Others': as many as went, those used longest ago first.
        let mut others_written = 0;
        let mut to_write = traffic.others_written_bytes;
        for e in &mut self.entries {
            let written = e.dirty.min(to_write);
            e.dirty -= written;
            to_write -= written;
            others_written += written;
        }
        // What has no room any more is gone.
        let room = self.capacity.saturating_sub(all);
        let mut over = self.entries.iter().map(|e| e.bytes).sum::<u64>().saturating_sub(room);
        for e in &mut self.entries {
            let gone = e.bytes.min(over);
            e.bytes -= gone;
            over -= gone;
            let written = e.dirty.saturating_sub(e.bytes);
            e.dirty -= written;
            others_written += written;
        }
        self.entries.retain(|e| e.bytes > 0);
        own_written += self.take(operands, left, stays, resident);
        own_written + others_written
    }

    /// Notes what lies there of a kernel's tensors, `dirty` bytes of it in all; returns those for which there is no room.
    fn take(&mut self, operands: &[(u32, u64)], left: &[TensorInL2], mut dirty: u64, resident: u64) -> u64 {
        let known: u64 = left.iter().map(|l| l.dirty_bytes).sum();
        let first = self.entries.len();
        for (&(buffer, _), l) in operands.iter().zip(left) {
            if l.bytes == 0 {
                continue;
            }
            // By what the machine has of each; where it has none, by size.
            let (part, whole) = if known > 0 { (l.dirty_bytes, known) } else { (l.bytes, resident.max(1)) };
            let share = (u128::from(dirty) * u128::from(part) / u128::from(whole)) as u64;
            let share = share.min(l.bytes);
            match self.entries[first..].iter_mut().find(|e| e.buffer == buffer) {
                Some(e) => {
                    e.bytes = e.bytes.max(l.bytes);
                    e.dirty = (e.dirty + share).min(e.bytes);
                }
                None => self.entries.push(Entry { buffer, bytes: l.bytes, dirty: share }),
            }
        }
        // What rounding and limits left out goes where there is room.
        dirty -= self.entries[first..].iter().map(|e| e.dirty).sum::<u64>().min(dirty);
        for e in &mut self.entries[first..] {
            let more = (e.bytes - e.dirty).min(dirty);
            e.dirty += more;
            dirty -= more;
        }
        dirty
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever kernels report, bytes are conserved, nothing outgrows L2, and starts are within their units.
        #[test]
        fn bytes_are_conserved(
            capacity in 1u64..1_000,
            launches in prop::collection::vec(
                (prop::collection::vec((0u32..6, 1u64..500, 0u64..500, 0u64..500), 1..4), 0u64..800, 0u64..800, 0u64..400),
                1..30,
            ),
        ) {
            let mut ledger = Ledger::new(capacity);
            let (mut became, mut written) = (0, 0);
            for (tensors, dirtied, to_memory, others) in launches {
                let operands: Vec<(u32, u64)> = tensors.iter().map(|t| (t.0, t.1)).collect();
                let start = ledger.start(&operands);
                prop_assert!(start.tensors.iter().all(|t| t.share <= 16 && t.dirty <= 16) && start.others_dirty <= 128);
                // A buffer twice among the operands lies there once.
                let mut seen = std::collections::BTreeSet::new();
                let mut rest = capacity;
                let left: Vec<TensorInL2> = tensors
                    .iter()
                    .map(|t| {
                        let bytes = if seen.insert(t.0) { t.2.min(t.1).min(rest) } else { 0 };
                        rest -= bytes;
                        TensorInL2 { bytes, dirty_bytes: t.3.min(bytes) }
                    })
                    .collect();
                let traffic = Traffic {
                    l2_dirtied_bytes: dirtied,
                    dram_write_bytes: to_memory.max(others),
                    others_written_bytes: others,
                    ..Traffic::default()
                };
                became += dirtied;
                written += ledger.finish(&operands, &left, capacity - rest, &traffic);
                prop_assert_eq!(became, written + ledger.dirty());
                prop_assert!(ledger.entries.iter().map(|e| e.bytes).sum::<u64>() <= capacity);
                prop_assert!(ledger.entries.iter().all(|e| e.dirty <= e.bytes));
            }
        }
    }
}
