//! The families that are imported: one list.

use super::family::Family;
use super::{
    baichuan, bamba, bert, bloom, cohere, dbrx, deepseek, deepseek_v4, ernie_moe, falcon, gemma, gemma4, glm, glm4_moe,
    gpt_bigcode, gpt_j, gpt_neo, gpt_neox, gpt_oss, gpt2, granite_moe, hunyuan_moe, jamba, lfm2, llama, llama_likes,
    llama4, mamba, mamba2, mimo, minicpm3, minimax, minimax_m2, mixtral, mllama, mpt, nemotron, nemotron_h, olmo, opt,
    phi, qwen, qwen_moe, qwen3_next, recurrent_gemma, rwkv, seq_decoders, step3, t5, whisper, zamba,
};

/// All families.
pub(super) const FAMILIES: &[&Family] = &[
    // Decoders before LLaMA.
    &gpt2::FAMILY,
    &opt::FAMILY,
    &gpt_neox::FAMILY,
    &seq_decoders::GPT,
    &gpt_neo::FAMILY,
    &gpt_j::FAMILY,
    &gpt_bigcode::FAMILY,
    &bloom::FAMILY,
    &mpt::FAMILY,
    &falcon::FAMILY,
    &seq_decoders::XGLM,
    &seq_decoders::BIOGPT,
    &seq_decoders::CTRL,
    // LLaMA and what is like it.
    &llama::LLAMA,
    &llama_likes::YI,
    &llama::MISTRAL,
    &llama_likes::MINISTRAL,
    &qwen::QWEN,
    &qwen::QWEN2,
    &qwen::QWEN3,
    &llama_likes::INTERNLM2,
    &llama_likes::INTERNLM3,
    &baichuan::FAMILY,
    &llama_likes::SMOLLM3,
    &llama_likes::SEED_OSS,
    &llama_likes::ARCEE,
    &llama_likes::HELIUM,
    &llama_likes::HUNYUAN,
    &llama_likes::ERNIE4_5,
    &llama_likes::GRANITE,
    &llama_likes::APERTUS,
    &llama_likes::MINICPM,
    &minicpm3::FAMILY,
    &llama_likes::PHI3,
    &olmo::OLMO,
    &olmo::OLMO2,
    &olmo::EXAONE4,
    &nemotron::NEMOTRON,
    &nemotron::NAS,
    &glm::GLM,
    &glm::CHATGLM,
    &phi::PHI,
    &phi::STABLELM,
    &phi::PERSIMMON,
    &phi::STARCODER2,
    &cohere::COHERE,
    &cohere::COHERE2,
    &gemma::GEMMA,
    &gemma::GEMMA2,
    &gemma::GEMMA3,
    &mllama::FAMILY,
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
    &bert::BERT,
    &bert::ROBERTA,
    &bert::ALBERT,
    &t5::FAMILY,
    &whisper::FAMILY,
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
