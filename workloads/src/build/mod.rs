//! From a model and a step to its graph: regions of layers that are alike, each a graph of operators.

mod attention;
mod experts;
mod feed_forward;
mod flow;
mod latent;
mod outside;
mod recurrent;
mod regions;

pub use regions::{Place, Region, StepGraph};
