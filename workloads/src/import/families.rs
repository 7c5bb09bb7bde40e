//! The families that are imported: one list.

use super::family::Family;
use super::{
    bamba, dbrx, deepseek, deepseek_v4, ernie_moe, gemma4, glm4_moe, gpt_neox, gpt_oss, gpt2, granite_moe, hunyuan_moe, jamba, lfm2, llama,
    llama4, mamba, mamba2, mimo, minimax, minimax_m2, mixtral, nemotron_h, opt, qwen_moe, qwen3_next, recurrent_gemma,
    rwkv, step3, zamba,
};

/// All families.
pub(super) const FAMILIES: &[&Family] = &[
    // Decoders of one plain block.
    &gpt2::FAMILY,
    &opt::FAMILY,
    &gpt_neox::FAMILY,
    &llama::LLAMA,
    &llama::MISTRAL,
    // Mixtures of experts.
    &mixtral::MIXTRAL,
    &mixtral::PHIMOE,
    &mixtral::OLMOE,
    &qwen_moe::QWEN2_MOE,
    &qwen_moe::QWEN3_MOE,
    &qwen_moe::QWEN3_VL_MOE,
    &dbrx::FAMILY,
    &gpt_oss::FAMILY,
    &granite_moe::GRANITE_MOE,
    &llama4::FAMILY,
    &deepseek::V2,
    &deepseek::V3,
    &deepseek::V32,
    &deepseek::GLM_DSA,
    &deepseek::GLM_LITE,
    &deepseek_v4::FAMILY,
    &glm4_moe::FAMILY,
    &minimax_m2::FAMILY,
    &mimo::FAMILY,
    &gemma4::FAMILY,
    &step3::FAMILY,
    &hunyuan_moe::FAMILY,
    &ernie_moe::FAMILY,
    // Recurrences and hybrids.
    &mamba::MAMBA,
    &mamba::FALCON_MAMBA,
    &mamba2::FAMILY,
    &minimax::FAMILY,
    &jamba::FAMILY,
    &bamba::BAMBA,
    &bamba::FALCON_H1,
    &zamba::ZAMBA,
    &zamba::ZAMBA2,
    &nemotron_h::FAMILY,
    &granite_moe::GRANITE_HYBRID,
    &qwen3_next::QWEN3_NEXT,
    &qwen3_next::QWEN3_5,
    &qwen3_next::QWEN3_5_MOE,
    &recurrent_gemma::FAMILY,
    &rwkv::FAMILY,
    &lfm2::LFM2,
    &lfm2::LFM2_MOE,
    // Encoders, and decoders with them.
];

/// The family of a `model_type`.
pub(super) fn by_type(model_type: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.model_types.contains(&model_type)).copied()
}

/// The family that alone has an architecture: of files without a `model_type`.
pub(super) fn by_architecture(name: &str) -> Option<&'static Family> {
    let mut found = FAMILIES.iter().filter(|family| family.architectures.contains(&name));
    found.next().filter(|_| found.next().is_none()).copied()
}
