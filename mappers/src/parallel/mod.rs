//! Training and inference over many devices: parallelism as a pass over a model's layers, and a step of it.
//!
//! A [`Shape`] and a [`Parallel`] give, for a rank of each role, lists of what it does: operators on its device, collectives with others, and what
//! its host takes to start them (`dense`, `attention`, `moe`, `ends`, `update`). Each operator gets its time from the GPU machine
//! ([`engine`]), each collective from the fabric ([`collectives`]); a list becomes a map of the rank's clocks ([`maxplus`]); the
//! pipeline's tasks are run event by event over these maps ([`pipeline`]). Ranks that do the same are simulated once. `docs/parallel.md` has
//! the mechanisms, the sources of all numbers and the errors.

mod attention;
pub mod bounded;
pub mod check;
pub mod collectives;
pub mod compile;

mod dense;
mod ends;
pub mod engine;
mod error;
pub mod experiment;
mod fits;
pub mod floor;
#[cfg(test)]
mod floor_laws;
mod greedy;
mod groups;
pub mod inference;
pub mod lists;
pub mod maxplus;
pub mod memory;
mod moe;
pub mod op;
pub mod orders;
mod outer;
pub mod pipeline;
mod power;
mod report;
pub mod schedule;
mod settings;
mod shape;
mod simulate;
mod software;
pub mod space;
pub mod stage;
pub mod times;
#[cfg(test)]
mod unfolded;
mod update;

pub use crate::offload::Offload;
pub use error::ParallelError;
pub use groups::{Group, simulate_groups};
pub use report::{ClassReport, Energy, RankReport, TrainReport};
pub use settings::{
    Context, Dispatch, Exchange, Optimizer, OuterSum, Overlap, Parallel, Precision, Recompute, Schedule, Train, Zero,
};
pub use shape::{Experts, Shape};
pub use simulate::{Detail, Machine, layer_seconds, simulate};
pub use software::{EPYC_7742, HostCosts, Software};
