//! The families that are imported: one list.

use super::family::Family;
use super::{
    baichuan, bert, bloom, cohere, falcon, gemma, glm, gpt_bigcode, gpt_j, gpt_neo, gpt_neox, gpt2, llama, llama_likes,
    minicpm3, mllama, mpt, nemotron, olmo, opt, phi, qwen, seq_decoders, t5, whisper,
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
    // Recurrences and hybrids.
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
