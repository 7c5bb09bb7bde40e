//! The families that are imported: one list.

use super::family::Family;
use super::{gpt_neox, gpt2, llama, opt};

/// All families.
pub(super) const FAMILIES: &[&Family] = &[
    // Decoders of one plain block.
    &gpt2::FAMILY,
    &opt::FAMILY,
    &gpt_neox::FAMILY,
    &llama::LLAMA,
    &llama::MISTRAL,
    // Mixtures of experts.
    // Recurrences and hybrids.
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
