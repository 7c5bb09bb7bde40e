//! Multimodal models: a language model behind towers for pictures or sound, which are not modelled.

use banksia_input::InputError;

use super::reader::Reader;

/// Models of several kinds of input.
pub(super) struct Wrapper {
    /// What the file's `model_type` may say.
    pub(super) model_types: &'static [&'static str],
    /// The table with the language model's sizes, if they do not lie among the others.
    pub(super) text: &'static str,
    /// The `model_type` of the language model, where the table has none; empty where nothing says it.
    pub(super) family: &'static str,
    /// Keys that describe towers; the first that the file has is named when it is refused.
    pub(super) towers: &'static [&'static str],
}

/// All wrappers.
pub(super) const WRAPPERS: &[Wrapper] = &[
    wrapper(&["gemma3"], "text_config", "gemma3_text", &["vision_config", "mm_", "image_", "boi_", "eoi_"]),
    wrapper(
        &["llava"],
        "text_config",
        "llama",
        &[
            "vision_config",
            "mm_vision_tower",
            "mm_",
            "image_",
            "vision_",
            "tune_",
            "freeze_",
            "unfreeze_",
            "use_mm_",
            "projector_",
        ],
    ),
    wrapper(
        &["llava_next", "vipllava", "video_llava"],
        "text_config",
        "llama",
        &["vision_config", "image_", "vision_", "projector_"],
    ),
    wrapper(&["llava_llama"], "llm_cfg", "llama", &["vision_tower_cfg", "mm_"]),
    wrapper(&["qwen2_vl"], "text_config", "qwen2_vl_text", &["vision_config", "vision_", "image_", "video_"]),
    wrapper(&["qwen2_5_vl"], "text_config", "qwen2_5_vl_text", &["vision_config", "vision_", "image_", "video_"]),
    wrapper(&["qwen3_vl"], "text_config", "qwen3_vl_text", &["vision_config", "vision_", "image_", "video_"]),
    wrapper(&["qwen2_audio"], "text_config", "qwen2", &["audio_config", "audio_"]),
    wrapper(
        &["qwen2_5_omni"],
        "thinker_config.text_config",
        "qwen2",
        &["thinker_config.audio_config", "thinker_config.vision_config"],
    ),
    wrapper(&["qwen3_asr"], "thinker_config.text_config", "qwen3", &["thinker_config.audio_config", "audio_config"]),
    wrapper(&["internvl_chat", "internvl"], "llm_config", "qwen2", &["vision_config"]),
    wrapper(&["mistral3", "pixtral"], "text_config", "mistral", &["vision_config"]),
    wrapper(&["mllama"], "text_config", "mllama_text_model", &["vision_config"]),
    wrapper(&["llama4"], "text_config", "llama4_text", &["vision_config", "image_", "boi_", "eoi_"]),
    wrapper(
        &["gemma4"],
        "text_config",
        "gemma4_text",
        &["vision_config", "audio_config", "vision_", "image_", "video_", "audio_", "boa_", "boi_", "eoa_", "eoi_"],
    ),
    wrapper(&["qwen3_5"], "text_config", "qwen3_5_text", &["vision_config", "vision_", "image_", "video_"]),
    wrapper(&["qwen3_5_moe"], "text_config", "qwen3_5_moe_text", &["vision_config", "vision_", "image_", "video_"]),
    wrapper(&["qwen3_vl_moe"], "text_config", "qwen3_vl_moe_text", &["vision_config", "vision_", "image_", "video_"]),
    wrapper(
        &["kimi_k25"],
        "text_config",
        "deepseek_v3",
        &["vision_config", "media_", "video_", "use_unified_vision_chunk"],
    ),
    wrapper(&["minicpmv", "minicpmo"], "", "", &["vision_config", "vision_batch_size", "image_size"]),
];

const fn wrapper(
    model_types: &'static [&'static str],
    text: &'static str,
    family: &'static str,
    towers: &'static [&'static str],
) -> Wrapper {
    Wrapper { model_types, text, family, towers }
}

/// The wrapper of a `model_type`.
pub(super) fn by_type(model_type: &str) -> Option<&'static Wrapper> {
    WRAPPERS.iter().find(|wrapper| wrapper.model_types.contains(&model_type))
}

impl Wrapper {
    /// The error that the file has more than a language model.
    pub(super) fn refusal(&self, reader: &Reader<'_>, model_type: &str) -> InputError {
        let key = self.towers.iter().find(|key| reader.get(key).is_some()).or(self.towers.first());
        let problem = format!("describes a part of `{model_type}` that is not a language model, and is not modelled");
        let help = if self.family.is_empty() {
            "import the language model that it was made from"
        } else {
            "give --text-only to import the language model alone"
        };
        reader.error(key.copied().unwrap_or("model_type"), problem).help(help)
    }
}
