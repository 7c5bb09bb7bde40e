//! The vector unit beside the PIM channels: pools of adders and multipliers over one SRAM.

use crate::program::{VectorFunction, VectorPhase};

/// Throughputs, latencies and capacity of a vector unit, in its own clock's cycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorUnit {
    /// Additions (or comparisons) begun in a cycle.
    pub adders: u64,
    /// Multiplications begun in a cycle.
    pub multipliers: u64,
    /// Cycles from the operands of an addition to its result.
    pub add_latency: u64,
    /// Cycles from the operands of a multiplication to its result.
    pub multiply_latency: u64,
    /// Bytes that the SRAM delivers in a cycle.
    pub sram_read_bytes_per_cycle: u64,
    /// Bytes that the SRAM takes in a cycle.
    pub sram_write_bytes_per_cycle: u64,
    /// Bytes of the SRAM.
    pub sram_bytes: u64,
}

impl VectorUnit {
    /// Cycles of a function: its phases one after the other.
    pub fn cycles(&self, function: &VectorFunction) -> u64 {
        function.phases.iter().map(|p| self.phase_cycles(p)).fold(0, u64::saturating_add)
    }

    /// Cycles of a phase: pipelined work at the rate of the busiest of adders, multipliers and SRAM ports, then the chain of
    /// dependent operations until the last result is there.
    fn phase_cycles(&self, phase: &VectorPhase) -> u64 {
        let work = phase
            .adds
            .div_ceil(self.adders)
            .max(phase.multiplies.div_ceil(self.multipliers))
            .max(phase.read_bytes.div_ceil(self.sram_read_bytes_per_cycle))
            .max(phase.write_bytes.div_ceil(self.sram_write_bytes_per_cycle));
        // A program file may ask for more than can be counted; the run then stops at the end of countable time.
        let adds = u64::from(phase.add_depth).saturating_mul(self.add_latency);
        let multiplies = u64::from(phase.multiply_depth).saturating_mul(self.multiply_latency);
        work.saturating_add(adds).saturating_add(multiplies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: VectorUnit = VectorUnit {
        adders: 256,
        multipliers: 128,
        add_latency: 3,
        multiply_latency: 4,
        sram_read_bytes_per_cycle: 1024,
        sram_write_bytes_per_cycle: 512,
        sram_bytes: 131_072,
    };

    #[test]
    fn the_busiest_resource_sets_the_rate() {
        let cycles = |phase| UNIT.cycles(&VectorFunction { phases: vec![phase] });
        assert_eq!(cycles(VectorPhase { adds: 1024, ..VectorPhase::default() }), 4);
        assert_eq!(cycles(VectorPhase { adds: 1024, multiplies: 1024, ..VectorPhase::default() }), 8);
        assert_eq!(cycles(VectorPhase { adds: 1, write_bytes: 5120, ..VectorPhase::default() }), 10);
        assert_eq!(
            cycles(VectorPhase { adds: 1, add_depth: 2, multiply_depth: 1, ..VectorPhase::default() }),
            1 + 6 + 4
        );
    }

    #[test]
    fn phases_add_up() {
        let phase = VectorPhase { adds: 512, add_depth: 1, ..VectorPhase::default() };
        assert_eq!(UNIT.cycles(&VectorFunction { phases: vec![phase; 3] }), 3 * 5);
        assert_eq!(UNIT.cycles(&VectorFunction { phases: vec![] }), 0);
    }
}
