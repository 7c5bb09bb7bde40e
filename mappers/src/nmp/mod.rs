//! A decoder on an NPU with near-memory channels: named choices of where each operator runs, and so where its operand lies.

pub mod choice;
pub mod layer;

pub use choice::{Choice, Where};
pub use layer::{Operator, Sizes, Step, layer};
