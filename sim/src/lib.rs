//! Time, events, ports, statistics and observers. Knows no hardware.

pub mod clock;
pub mod queue;
pub mod rng;
pub mod time;

pub use clock::Clock;
pub use queue::EventQueue;
pub use time::{Cycles, Time, TimeError};
