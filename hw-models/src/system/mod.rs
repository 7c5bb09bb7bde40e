//! Machines: devices, the links between them, and what drives them through a program.
//!
//! ```text
//!   Program ──┬─> Executor of device 0 ──done──┐
//!             ├─> Executor of device 1 ──done──┼─> System: who waited for that? ──release──> Executors
//!             └─> links, which are executors ──┘       (sim's engine says who acts next)
//! ```
//!
//! A lone device is advanced once a step, and keeps its own books of who waits for whom.

mod beside;
mod cluster;
mod executor;
mod fabric;
mod link;
mod machine;
mod order;
mod run;

pub use cluster::ClusterTable;
pub use executor::{Books, Executor, OperatorBooks, RunError, RunOptions, Share};
pub use fabric::{FabricSpec, Role};
pub use link::Link;
pub use machine::schema::{overlay_schema as machine_overlay_schema, schema as machine_schema};
pub use machine::{Device, DeviceFacts, Exclusive, LinkSpec, Machine};
pub use run::System;
