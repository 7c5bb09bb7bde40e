//! Machines that run programs: DRAM, PIM, GPU, networks.

pub mod dram;
pub mod machines;
pub mod outcome;
pub mod pim;
pub mod program;
pub mod roofline;
