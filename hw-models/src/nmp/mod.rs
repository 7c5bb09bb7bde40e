//! An NPU whose memory channels have processors beside their banks: both as rooflines.

pub mod file;
pub mod roofline;

pub use file::{CATALOG, NmpMachine};
pub use roofline::{Job, Product, Rules, Site};
