//! Processing in memory: channels that run command patterns, and the vector unit (ASIC) beside them.

mod account;
pub mod channel;
pub mod config;
pub mod courses;
pub mod hbm_pim;
mod host_controller;
pub mod isa;
mod isa_access;
pub mod isa_trace;
pub mod pattern;
pub mod system;
pub mod vector;

pub use channel::{BlockTiming, PimChannel};
pub use config::{PimFile, PimMachine};
pub use hbm_pim::HostKernel;
pub use isa::{IsaMachine, IsaOutcome};
pub use isa_trace::{Instruction, IsaSet};
pub use pattern::CompiledPattern;
pub use system::{PimSystem, RunError, RunOptions};
pub use vector::VectorUnit;
