//! Strategies that lower operator graphs to programs: where data lies, in what order work is done, which unit does it.
//! Mappers know what a machine has; how long anything takes is the machine's to find out.

pub mod gpu;
pub mod pim_gpt;
