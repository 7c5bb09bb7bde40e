//! Processing in memory: channels that run command patterns, and the vector unit (ASIC) beside them.

pub mod channel;
pub mod pattern;

pub use channel::{BlockTiming, PimChannel};
pub use pattern::CompiledPattern;
