//! The machines embedded in the binary, and machine files given by path.

use std::path::Path;

use banksia_input::{InputError, Source};

const EMBEDDED: &[(&str, &str)] = &[
    ("h200-aim", include_str!("../catalog/machines/h200-aim.toml")),
    ("h200-attacc", include_str!("../catalog/machines/h200-attacc.toml")),
    ("pim-gpt", include_str!("../catalog/machines/pim-gpt.toml")),
    ("aim", include_str!("../catalog/machines/aim.toml")),
    ("hbm-pim", include_str!("../catalog/machines/hbm-pim.toml")),
    ("attacc", include_str!("../catalog/machines/attacc.toml")),
    ("attacc-bank-group", include_str!("../catalog/machines/attacc-bank-group.toml")),
    ("attacc-buffer", include_str!("../catalog/machines/attacc-buffer.toml")),
    ("h100-attacc", include_str!("../catalog/machines/h100-attacc.toml")),
    ("h100-attacc-bank-group", include_str!("../catalog/machines/h100-attacc-bank-group.toml")),
    ("h100-attacc-buffer", include_str!("../catalog/machines/h100-attacc-buffer.toml")),
    ("neupims", include_str!("../catalog/machines/neupims.toml")),
    ("neupims-blocked", include_str!("../catalog/machines/neupims-blocked.toml")),
    ("neupims-npu", include_str!("../catalog/machines/neupims-npu.toml")),
    ("neupims-pim", include_str!("../catalog/machines/neupims-pim.toml")),
    ("duplex", include_str!("../catalog/machines/duplex.toml")),
    ("duplex-pim", include_str!("../catalog/machines/duplex-pim.toml")),
    ("ianus", include_str!("../catalog/machines/ianus.toml")),
    ("ianus-npu", include_str!("../catalog/machines/ianus-npu.toml")),
    ("ianus-pim", include_str!("../catalog/machines/ianus-pim.toml")),
    ("sieve", include_str!("../catalog/machines/sieve.toml")),
    ("cent-32", include_str!("../catalog/machines/cent-32.toml")),
    ("cent-20", include_str!("../catalog/machines/cent-20.toml")),
    ("cent-8", include_str!("../catalog/machines/cent-8.toml")),
];

/// Bases of bases, at most.
const MAX_DEPTH: usize = 8;

/// The names of the embedded machines but GPUs, which are [`crate::gpu::CATALOG`]'s.
pub fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|(name, _)| *name)
}

/// The file of a machine: a name in the catalog, or a path that ends in `.toml`; a relative path is taken from the folder
/// of `beside`.
///
/// # Errors
/// There is no such machine, or its file cannot be read.
pub fn open(name: &str, beside: Option<&Path>) -> Result<Source, InputError> {
    open_within(name, beside, 0)
}

/// A file may build on another by `base`, whose keys its own are written over.
fn open_within(name: &str, beside: Option<&Path>, depth: usize) -> Result<Source, InputError> {
    #[derive(serde::Deserialize)]
    struct Base {
        base: Option<String>,
    }
    if let Some(path) = as_path(name, beside) {
        let source = Source::read(&path)?;
        let Some(base) = source.parse::<Base>()?.base else { return Ok(source) };
        if depth >= MAX_DEPTH {
            let error = source.error("base", "goes round or too deep");
            return Err(error.help("a machine builds on another that does not build on it"));
        }
        let under = open_within(&base, Some(&path), depth + 1).map_err(|e| {
            let problem = format!("names `{base}`, which cannot be used: {}: {}", e.file, e.problem);
            InputError { help: e.help.clone(), ..source.error("base", problem) }
        })?;
        return under.overlaid(&source, "", &["base"]);
    }
    EMBEDDED
        .iter()
        .chain(&crate::gpu::CATALOG)
        .find(|(n, _)| *n == name)
        .map(|(n, text)| Source::from_text(format!("catalog:{n}"), *text))
        .ok_or_else(|| {
            let known = names().chain(crate::gpu::CATALOG.iter().map(|(n, _)| *n));
            InputError::unknown_name("catalog", "machine", name, known)
        })
}

/// The path that a name stands for, where it is one.
pub(crate) fn as_path(name: &str, beside: Option<&Path>) -> Option<std::path::PathBuf> {
    let path = Path::new(name);
    path.extension().is_some_and(|e| e == "toml").then(|| match beside.and_then(Path::parent) {
        Some(folder) if path.is_relative() => folder.join(path),
        _ => path.to_owned(),
    })
}
