//! Training on one GPU: kernels of backward passes and updates as PyTorch launches them, programs of whole steps, the host that launches them, and the memory that they take.

pub mod allocator;
pub mod attention;
mod experts;
mod forward;
pub mod host;
pub mod loss;
pub mod lower;
pub mod memory;
pub mod norms;
pub mod optimizer;
mod optimizers;
mod plan;
mod recurrent;
pub mod rows;
pub mod table;
#[cfg(test)]
mod tests;

pub use plan::{TrainingError, TrainingPlan};
