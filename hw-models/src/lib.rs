//! Machines that run programs: DRAM, PIM, GPU, networks.

pub mod dram;
pub mod pim;
pub mod program;
