//! Instruction supply: straight-line code that the SM's instruction cache does not hold arrives at a rate.
//!
//! Large kernels unroll their loops' first and last turns: each of these bodies runs once a CTA, and together they exceed the
//! cache, so that every warp that gets there waits for its instructions (`no_instruction`, the first reason for stalls in short
//! causal prefill). Code is held by *section*, least recently used first out.

use super::spec::SmSpec;
use super::units::Server;

/// Bytes of an instruction.
pub(crate) const INSTRUCTION_BYTES: f64 = 16.0;

#[derive(Debug, Clone, Copy)]
struct Section {
    id: u16,
    bytes: u32,
    /// When its last instruction has arrived.
    ready: u64,
    used: u64,
}

/// The instruction cache of one SM.
#[derive(Debug, Clone, Default)]
pub(crate) struct InstructionCache {
    sections: Vec<Section>,
    held: u32,
    supply: Server,
}

impl InstructionCache {
    pub(crate) fn clear(&mut self) {
        self.sections.clear();
        self.held = 0;
        self.supply = Server::default();
    }

    /// When the last instruction of a section is there for a role that begins it now. `rate` is in femtoseconds for a byte.
    pub(crate) fn fetch(&mut self, now: u64, id: u16, bytes: u32, capacity: u32, rate: f64) -> u64 {
        if let Some(s) = self.sections.iter_mut().find(|s| s.id == id) {
            s.used = now;
            return s.ready;
        }
        let ready = self.supply.serve(now, (f64::from(bytes) * rate) as u64);
        if bytes > capacity {
            return ready;
        }
        while self.held + bytes > capacity {
            let Some(oldest) = (0..self.sections.len()).min_by_key(|&i| self.sections[i].used) else { break };
            self.held -= self.sections.swap_remove(oldest).bytes;
        }
        self.sections.push(Section { id, bytes, ready, used: now });
        self.held += bytes;
        ready
    }
}

/// Cycles for an instruction from beyond the first cache, for a kernel with so much code in all.
pub(crate) fn supply_cycles(sm: &SmSpec, code_bytes: u64) -> f64 {
    if code_bytes <= u64::from(sm.instruction_second_cache_bytes) {
        sm.instruction_second_cache_cycles
    } else {
        sm.instruction_l2_cycles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_fits_is_fetched_once_and_code_that_does_not_every_time() {
        let mut cache = InstructionCache::default();
        assert_eq!(cache.fetch(0, 0, 400, 1000, 1.0), 400);
        assert_eq!(cache.fetch(1000, 1, 400, 1000, 1.0), 1400);
        assert_eq!(cache.fetch(2000, 0, 400, 1000, 1.0), 400, "held");
        // The third does not fit beside the two: the one used longest ago goes.
        assert_eq!(cache.fetch(3000, 2, 400, 1000, 1.0), 3400);
        assert_eq!(cache.fetch(4000, 0, 400, 1000, 1.0), 400, "still held");
        assert_eq!(cache.fetch(5000, 1, 400, 1000, 1.0), 5400, "gone");
    }

    #[test]
    fn roles_that_begin_a_section_together_share_its_arrival() {
        let mut cache = InstructionCache::default();
        let first = cache.fetch(0, 7, 500, 1000, 2.0);
        assert_eq!(cache.fetch(100, 7, 500, 1000, 2.0), first);
        // Another section waits for the supply.
        assert_eq!(cache.fetch(100, 8, 500, 1000, 2.0), 2000);
    }
}
