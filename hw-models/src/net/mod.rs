//! Networks between the units of a machine, and between machines.

pub mod collective;
pub mod fabric;
pub mod noc;
