//! The models that come with Banksia: one TOML file each, under `workloads/models/`, embedded in the binary.

use banksia_input::InputError;

use crate::config::GptConfig;
use crate::model::Model;

/// Name and text of each embedded file.
const MODELS: [(&str, &str); 37] = [
    ("gpt2-small", include_str!("../models/gpt2-small.toml")),
    ("gpt2-medium", include_str!("../models/gpt2-medium.toml")),
    ("gpt2-large", include_str!("../models/gpt2-large.toml")),
    ("gpt2-xl", include_str!("../models/gpt2-xl.toml")),
    ("gpt3-small", include_str!("../models/gpt3-small.toml")),
    ("gpt3-medium", include_str!("../models/gpt3-medium.toml")),
    ("gpt3-large", include_str!("../models/gpt3-large.toml")),
    ("gpt3-xl", include_str!("../models/gpt3-xl.toml")),
    ("opt-1.3b", include_str!("../models/opt-1.3b.toml")),
    ("opt-6.7b", include_str!("../models/opt-6.7b.toml")),
    ("pythia-1.4b", include_str!("../models/pythia-1.4b.toml")),
    ("llama2-7b", include_str!("../models/llama2-7b.toml")),
    ("llama2-13b", include_str!("../models/llama2-13b.toml")),
    ("llama2-70b", include_str!("../models/llama2-70b.toml")),
    ("palm-8b", include_str!("../models/palm-8b.toml")),
    ("llama3.2-1b", include_str!("../models/llama3.2-1b.toml")),
    ("llama3.1-8b", include_str!("../models/llama3.1-8b.toml")),
    ("llama3.1-70b", include_str!("../models/llama3.1-70b.toml")),
    ("qwen2.5-14b", include_str!("../models/qwen2.5-14b.toml")),
    ("gemma2-9b", include_str!("../models/gemma2-9b.toml")),
    ("mixtral-8x7b", include_str!("../models/mixtral-8x7b.toml")),
    ("qwen3-30b-a3b", include_str!("../models/qwen3-30b-a3b.toml")),
    ("deepseek-moe-16b", include_str!("../models/deepseek-moe-16b.toml")),
    ("deepseek-v3", include_str!("../models/deepseek-v3.toml")),
    ("deepseek-v3-group", include_str!("../models/deepseek-v3-group.toml")),
    ("gpt-oss-20b", include_str!("../models/gpt-oss-20b.toml")),
    ("mamba-2.8b", include_str!("../models/mamba-2.8b.toml")),
    ("mamba2-2.7b", include_str!("../models/mamba2-2.7b.toml")),
    ("mamba2-hybrid-8b", include_str!("../models/mamba2-hybrid-8b.toml")),
    ("nemotron-h-8b", include_str!("../models/nemotron-h-8b.toml")),
    ("jamba", include_str!("../models/jamba.toml")),
    ("falcon-h1", include_str!("../models/falcon-h1.toml")),
    ("qwen3-next-80b-a3b", include_str!("../models/qwen3-next-80b-a3b.toml")),
    ("rwkv", include_str!("../models/rwkv.toml")),
    ("recurrentgemma-2b", include_str!("../models/recurrentgemma-2b.toml")),
    ("bert-large", include_str!("../models/bert-large.toml")),
    ("t5-large", include_str!("../models/t5-large.toml")),
];

/// Every model's name; the eight of the PIM-GPT paper first.
pub fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|(name, _)| *name)
}

/// A model's TOML as it is embedded.
pub fn text(name: &str) -> Option<&'static str> {
    MODELS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The model of a name.
///
/// # Errors
/// There is no model of that name; the error suggests the nearest.
pub fn load(name: &str) -> Result<Model, InputError> {
    Model::from_toml(&format!("models/{name}.toml"), known(name)?)
}

/// The model of a name, as a decoder of one plain block.
///
/// # Errors
/// There is no model of that name, or it is more than one plain block.
pub fn gpt(name: &str) -> Result<GptConfig, InputError> {
    let file = format!("models/{name}.toml");
    let model = Model::from_toml(&file, known(name)?)?;
    model.as_gpt().ok_or_else(|| InputError::new(file, "is not a decoder of one plain block"))
}

/// The names of decoders of one plain block.
pub fn plain_names() -> impl Iterator<Item = &'static str> {
    names().filter(|name| gpt(name).is_ok())
}

fn known(name: &str) -> Result<&'static str, InputError> {
    text(name).ok_or_else(|| InputError::unknown_name("models", "model", name, names()))
}
