//! What an SM has left for CTAs of any kernel, and what a CTA takes of it.

use super::program::Kernel;
use super::spec::SmSpec;

/// Threads, registers, shared memory and slots: of a CTA, or those that an SM has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Threads, in whole warps.
    pub(crate) threads: u32,
    /// 32-bit registers, given to warps in steps of 256.
    pub(crate) registers: u32,
    /// Bytes of shared memory, with what the system takes of each CTA.
    pub(crate) shared: u32,
    /// CTAs.
    pub(crate) ctas: u32,
}

impl Room {
    /// All that an SM has.
    pub(crate) fn of_sm(sm: &SmSpec) -> Self {
        Self { threads: sm.max_threads, registers: sm.registers, shared: sm.shared_memory_bytes, ctas: sm.max_ctas }
    }

    /// What one CTA of a kernel takes.
    pub(crate) fn of_cta(sm: &SmSpec, kernel: &Kernel) -> Self {
        let warps = kernel.threads.div_ceil(32);
        Self {
            threads: warps * 32,
            registers: (kernel.registers.max(16) * 32).next_multiple_of(256) * warps,
            shared: kernel.shared_bytes + sm.shared_memory_reserved_bytes,
            ctas: 1,
        }
    }

    /// So many like `one` are in it.
    pub(crate) fn holds(&self, one: &Self) -> u32 {
        let times = |all: u32, part: u32| all.checked_div(part).unwrap_or(u32::MAX);
        times(self.threads, one.threads)
            .min(times(self.registers, one.registers))
            .min(times(self.shared, one.shared))
            .min(times(self.ctas, one.ctas))
    }

    /// A CTA takes its part.
    pub(crate) fn take(&mut self, one: &Self) {
        self.threads = self.threads.saturating_sub(one.threads);
        self.registers = self.registers.saturating_sub(one.registers);
        self.shared = self.shared.saturating_sub(one.shared);
        self.ctas = self.ctas.saturating_sub(one.ctas);
    }

    /// And gives it back.
    pub(crate) fn give(&mut self, one: &Self) {
        self.threads += one.threads;
        self.registers += one.registers;
        self.shared += one.shared;
        self.ctas += one.ctas;
    }
}
