//! The models that come with Banksia: one TOML file each, under `workloads/models/`, embedded in the binary.

use banksia_input::InputError;

use crate::config::GptConfig;

/// Name and text of each embedded file.
const MODELS: [(&str, &str); 11] = [
    ("gpt2-small", include_str!("../models/gpt2-small.toml")),
    ("gpt2-medium", include_str!("../models/gpt2-medium.toml")),
    ("gpt2-large", include_str!("../models/gpt2-large.toml")),
    ("gpt2-xl", include_str!("../models/gpt2-xl.toml")),
    ("gpt3-small", include_str!("../models/gpt3-small.toml")),
    ("gpt3-medium", include_str!("../models/gpt3-medium.toml")),
    ("gpt3-large", include_str!("../models/gpt3-large.toml")),
    ("gpt3-xl", include_str!("../models/gpt3-xl.toml")),
    ("opt-1.3b", include_str!("../models/opt-1.3b.toml")),
    ("pythia-1.4b", include_str!("../models/pythia-1.4b.toml")),
    ("llama2-7b", include_str!("../models/llama2-7b.toml")),
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
pub fn load(name: &str) -> Result<GptConfig, InputError> {
    let text = text(name).ok_or_else(|| InputError::unknown_name("models", "model", name, names()))?;
    GptConfig::from_toml(&format!("models/{name}.toml"), text)
}
