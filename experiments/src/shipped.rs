//! The experiments that come with the program: they run by name, without their files.

use banksia_input::Source;

/// `(name, text)` of each, in alphabetical order: files of `configs` that name no other file.
const SHIPPED: &[(&str, &str)] = &[
    ("aim/gpt3-xl", include_str!("../../configs/aim/gpt3-xl.toml")),
    ("aim/llama2-7b", include_str!("../../configs/aim/llama2-7b.toml")),
    ("attacc/gpt3-xl", include_str!("../../configs/attacc/gpt3-xl.toml")),
    ("attacc/llama2-7b", include_str!("../../configs/attacc/llama2-7b.toml")),
    ("gpu/gpt2-xl-h200", include_str!("../../configs/gpu/gpt2-xl-h200.toml")),
    ("gpu/gpt3-xl-a100", include_str!("../../configs/gpu/gpt3-xl-a100.toml")),
    ("hbm-pim/gpt3-xl", include_str!("../../configs/hbm-pim/gpt3-xl.toml")),
    ("hbm-pim/llama2-7b", include_str!("../../configs/hbm-pim/llama2-7b.toml")),
    ("hybrid/llama2-7b-h200-aim", include_str!("../../configs/hybrid/llama2-7b-h200-aim.toml")),
    ("hybrid/llama2-7b-h200-attacc", include_str!("../../configs/hybrid/llama2-7b-h200-attacc.toml")),
    ("models/aim", include_str!("../../configs/models/aim.toml")),
    ("models/attacc", include_str!("../../configs/models/attacc.toml")),
    ("models/h200", include_str!("../../configs/models/h200.toml")),
    ("models/h200-aim", include_str!("../../configs/models/h200-aim.toml")),
    ("models/h200-attacc", include_str!("../../configs/models/h200-attacc.toml")),
    ("models/hbm-pim", include_str!("../../configs/models/hbm-pim.toml")),
    ("pim-gpt/gpt2-large", include_str!("../../configs/pim-gpt/gpt2-large.toml")),
    ("pim-gpt/gpt2-medium", include_str!("../../configs/pim-gpt/gpt2-medium.toml")),
    ("pim-gpt/gpt2-small", include_str!("../../configs/pim-gpt/gpt2-small.toml")),
    ("pim-gpt/gpt2-xl", include_str!("../../configs/pim-gpt/gpt2-xl.toml")),
    ("pim-gpt/gpt3-large", include_str!("../../configs/pim-gpt/gpt3-large.toml")),
    ("pim-gpt/gpt3-medium", include_str!("../../configs/pim-gpt/gpt3-medium.toml")),
    ("pim-gpt/gpt3-small", include_str!("../../configs/pim-gpt/gpt3-small.toml")),
    ("pim-gpt/gpt3-xl", include_str!("../../configs/pim-gpt/gpt3-xl.toml")),
    ("pim-systems/cent", include_str!("../../configs/pim-systems/cent.toml")),
];

/// Their names, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// One of them.
pub fn source(name: &str) -> Option<Source> {
    let (name, text) = SHIPPED.iter().find(|(n, _)| *n == name)?;
    Some(Source::from_text(*name, *text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_can_be_read_and_none_is_missing() {
        assert!(names().is_sorted());
        for name in names() {
            let source = source(name).unwrap_or_else(|| Source::from_text("", ""));
            crate::Experiment::new(&source, None).map(|_| ()).unwrap_or_else(|e| panic!("{e}"));
        }
        let configs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        for folder in ["aim", "attacc", "gpu", "hbm-pim", "hybrid", "pim-gpt"] {
            for entry in std::fs::read_dir(configs.join(folder)).into_iter().flatten().flatten() {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let stem = entry.path().file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
                let is_experiment = text.contains("[machine]") && text.contains("[workload");
                let known = names().any(|n| n == format!("{folder}/{stem}"));
                assert_eq!(is_experiment, known, "{folder}/{stem}: add it to SHIPPED");
            }
        }
    }
}
