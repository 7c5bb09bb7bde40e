//! What is computed, and nothing about what computes it.
//!
//! A [`GptConfig`] describes a decoder-only transformer (read from TOML, from the embedded [`zoo`], or imported from a
//! Hugging Face `config.json` with [`import_hf`]); a [`Generation`] says how it is used (prompt, tokens, batch); each
//! [`Step`] of a generation becomes a [`Graph`] of [`OperatorNode`]s whose edges carry [`Tensor`]s and whose shapes are
//! checked. Counts here are of the algorithm: floating-point operations and bytes of operands. This crate knows no
//! hardware: no cycles, no bandwidth, no units of a machine.
//!
//! ```
//! use banksia_workloads::{Generation, zoo};
//!
//! let model = zoo::gpt("gpt2-small").unwrap();
//! assert_eq!(model.parameters(), 124_439_808);
//!
//! let generation = Generation { prompt_tokens: 1, generated_tokens: 1024, ..Generation::default() };
//! let contexts: Vec<u64> = generation.steps().map(|step| step.context()).collect();
//! assert_eq!((contexts.len(), contexts[0], contexts[1023]), (1024, 1, 1024));
//!
//! let graph = model.step_graph(&generation.step(1023).unwrap(), &generation);
//! graph.validate().unwrap();
//! assert_eq!(graph.operators().count(), 12 * 13 + 5);
//! ```

mod activation;
pub mod backward;
mod build;
mod config;
mod counts;
mod decoder;
mod generation;
mod graph;
mod import;
mod key;
mod known_keys;
pub mod model;
mod op;
pub mod schema;
pub mod shard;
mod tensor;
pub mod zoo;

pub use activation::ActivationKind;
pub use build::{Place, Region, StepGraph};
pub use config::{GptConfig, GptFile, Positions, WeightMatrix};
pub use generation::{Generation, GenerationFile, Phase, Run, Step};
pub use graph::{Graph, GraphError};
pub use import::{Parts, import_hf, import_hf_file, import_hf_named, import_table, import_wrappers, load_model};
pub use known_keys::{explain_key, not_modelled};
pub use model::{Model, Norm};
pub use op::{Communication, NodeTypes, Op, OperatorNode};
pub use tensor::{DataType, Tensor, TensorKind};
