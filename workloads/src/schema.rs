//! What editors know of models: the JSON schemas of a model's file and of what an experiment names one by.

use banksia_input::schema::of_file;
use schemars::{JsonSchema, Schema};

use crate::config::GptFile;
use crate::model::Model;
use crate::zoo;

/// A model's file: blocks and a pattern, or the sizes of a decoder of one plain block.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum ModelFile {
    /// A decoder of one plain block, by its sizes.
    Sizes(GptFile),
    /// Blocks, and the pattern in which they follow one another.
    Blocks(Box<Model>),
}

/// `workload.model` of an experiment.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum ModelKey {
    /// A model of `banksia list models`, a TOML file, or a Hugging Face config.json; files are found beside the experiment.
    Name(#[schemars(extend("examples" = zoo::names().collect::<Vec<_>>()))] String),
    /// A decoder of one plain block, by its sizes.
    Sizes(GptFile),
    /// Blocks, and the pattern in which they follow one another.
    Blocks(Box<Model>),
}

/// The schema of a model's file.
pub fn schema() -> Schema {
    of_file::<ModelFile>("Banksia: a model")
}
