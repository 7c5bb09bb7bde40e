//! Machines that run programs: DRAM, PIM, GPU, networks.

pub mod cxl;
pub mod dram;
pub mod gpu;
pub mod host;
pub mod machines;
pub mod net;
pub mod nmp;
pub mod outcome;
pub mod pim;
pub mod program;
pub mod roofline;
pub mod system;
