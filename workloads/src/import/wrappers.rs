//! Multimodal models: a language model behind towers for pictures or sound, which are not modelled.

use banksia_input::InputError;

use super::reader::Reader;

/// Models of several kinds of input.
pub(super) struct Wrapper {
    /// What the file's `model_type` may say.
    pub(super) model_types: &'static [&'static str],
    /// The table with the language model's sizes; empty where they lie among the others.
    pub(super) text: &'static str,
    /// The `model_type` of the language model, where the table has none.
    pub(super) family: &'static str,
    /// Keys that describe towers.
    pub(super) towers: &'static [&'static str],
}

/// All wrappers.
pub(super) const WRAPPERS: &[Wrapper] = &[
    Wrapper { model_types: &["llama4"], text: "text_config", family: "llama4_text", towers: TOWERS },
    Wrapper { model_types: &["gemma4"], text: "text_config", family: "gemma4_text", towers: TOWERS },
    Wrapper { model_types: &["qwen3_5"], text: "text_config", family: "qwen3_5_text", towers: TOWERS },
    Wrapper { model_types: &["qwen3_5_moe"], text: "text_config", family: "qwen3_5_moe_text", towers: TOWERS },
    Wrapper { model_types: &["qwen3_vl_moe"], text: "text_config", family: "qwen3_vl_moe_text", towers: TOWERS },
    Wrapper { model_types: &["kimi_k25"], text: "text_config", family: "deepseek_v3", towers: TOWERS },
];

/// Tables of towers, as most files call them.
const TOWERS: &[&str] = &["vision_config", "audio_config"];

/// The wrapper of a `model_type`.
pub(super) fn by_type(model_type: &str) -> Option<&'static Wrapper> {
    WRAPPERS.iter().find(|wrapper| wrapper.model_types.contains(&model_type))
}

impl Wrapper {
    /// The error that the file has more than a language model.
    pub(super) fn refusal(&self, reader: &Reader<'_>, model_type: &str) -> InputError {
        let key = self.towers.iter().find(|key| reader.get(key).is_some()).or(self.towers.first());
        let problem = format!("describes a part of `{model_type}` that is not a language model, and is not modelled");
        let help = "give --text-only to import the language model alone";
        reader.error(key.copied().unwrap_or("model_type"), problem).help(help)
    }
}
