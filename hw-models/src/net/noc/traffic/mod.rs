//! Traffic that is made, not recorded.

mod calendar;
mod in_step;
mod offered;
mod pattern;
mod process;
mod stats;
mod synthetic;

pub use offered::{ReadWrite, Sampling, Traffic};
pub use pattern::{Digits, Pattern};
pub use process::Process;
pub(super) use stats::Phase;
pub(super) use synthetic::Synthetic;
