//! Launches that may overlap: what the machine is given and what it returns.

use super::power::{EnergyParts, Work};
use super::program::Kernel;
use super::traffic::Traffic;

/// A launch among others.
#[derive(Debug, Clone)]
pub struct Submitted<'a> {
    /// What is launched.
    pub kernel: &'a Kernel,
    /// Which of the run's tensors each of its own is.
    pub tensors: Vec<u16>,
    /// Launches, by their place in the list and before it there, that must have ended.
    pub after: Vec<usize>,
    /// From their end, or the begin of all, to when the scheduler has it: seconds.
    pub gap_s: f64,
}

/// What one of them did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ran {
    /// When the scheduler had it, from the begin of all.
    pub begin_s: f64,
    /// When its first CTA was placed.
    pub placed_s: f64,
    /// When its last store was in L2.
    pub end_s: f64,
    /// Bytes moved for it. Lines that it makes another's go to memory count here.
    pub traffic: Traffic,
    /// Work of the SMs for it.
    pub work: Work,
    /// Ops executed.
    pub steps: u64,
}

/// What launches did together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Together {
    /// From the begin to the last store in L2, or until memory has written what it owes.
    pub span_s: f64,
    /// Each of them, in the order in which they were given.
    pub launches: Vec<Ran>,
    /// Bytes moved by all.
    pub traffic: Traffic,
    /// Energy of all over the span.
    pub energy: EnergyParts,
    /// Average SM clock.
    pub clock_mhz: f64,
}
