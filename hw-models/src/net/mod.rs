//! Networks between devices.

pub mod collective;
