//! Training: from the graph of a region to its backward pass, and a step of both with its update.
//!
//! The pass walks a graph from its last operator to its first. Each family of operators (one file each) says which nodes give the gradients of
//! its inputs and parameters, and what of the forward pass these read: that is what must be kept. Gradients of a tensor that several operators
//! read are added up; those of its parts (queries, keys, values) are put together.

mod attention;
mod counts;
mod elements;
mod experts;
mod forward;
mod node;
mod norms;
mod outside;
mod pass;
mod products;
mod recurrent;
mod spec;
mod step;
mod tape;

pub use node::{
    AttentionShape, HIDDEN, HIDDEN_GRADIENT, NEXT_HIDDEN, NEXT_HIDDEN_GRADIENT, Role, TrainNode, TrainOp, Value,
};
pub use pass::NoGradient;
pub use spec::{Optimizer, Pass, Precision, Recompute, TrainingSpec};
pub use step::{Parameter, Scheduled, TrainRegion, TrainingStep};
