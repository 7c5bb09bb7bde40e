//! A model's file: how it is read, and what the model is called.

use std::path::Path;

use banksia_input::{InputError, Source};

use super::{import, quantised};
use crate::config::GptConfig;

/// Reads a model's file: a Hugging Face configuration where its name ends in `.json`, otherwise TOML.
///
/// # Errors
/// The file cannot be read, or is refused as by [`import_hf_file`] or [`GptConfig::from_source`].
pub fn load_model(path: &Path) -> Result<GptConfig, InputError> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        return import_hf_file(path, None);
    }
    GptConfig::from_source(&Source::read(path)?)
}

/// [`import_hf`](crate::import_hf) of a file. The model is called `name`, or as the file names it (`_name_or_path`), or as
/// the file is called; a file called `config.json` lends its folder's name.
///
/// # Errors
/// The file cannot be read or imported, or a file beside it (`hf_quant_config.json`, `quantize_config.json`,
/// `quant_config.json`) says that its weights are quantised.
pub fn import_hf_file(path: &Path, name: Option<&str>) -> Result<GptConfig, InputError> {
    let source = Source::read(path)?;
    let model = import(source.name(), source.text(), name, file_name(path))?;
    quantised::check_beside(path)?;
    Ok(model)
}

/// The name that a file's `_name_or_path` gives: a repository's, or the last part of a path.
pub(super) fn plain_name(text: &str) -> Option<String> {
    let unified = text.trim().replace('\\', "/");
    let trimmed = unified.trim_end_matches('/');
    let drive = trimmed.as_bytes().get(1) == Some(&b':');
    let is_path =
        drive || text.contains('\\') || trimmed.starts_with(['.', '~', '/']) || unified.matches('/').count() > 1;
    let name = if is_path { of_folder(Path::new(trimmed)) } else { Some(trimmed.to_owned()) };
    name.filter(|name| !name.trim().is_empty() && name != "~")
}

/// The name that a file's own name gives.
fn file_name(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    if !stem.eq_ignore_ascii_case("config") {
        return Some(stem.to_owned()).filter(|stem| !stem.trim().is_empty());
    }
    // `config.json` alone lies in a folder too.
    of_folder(path.canonicalize().ok()?.parent()?)
}

/// A folder's name; in the cache of the Hugging Face Hub (`models--owner--name/snapshots/hash`), the repository's.
fn of_folder(folder: &Path) -> Option<String> {
    let name = folder.file_name()?.to_str()?;
    let snapshots = folder.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"));
    let cached = snapshots
        .and_then(|parent| parent.parent()?.file_name()?.to_str()?.strip_prefix("models--"))
        .map(|repository| repository.replace("--", "/"));
    Some(cached.unwrap_or_else(|| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn a_path_is_no_name() {
        for (text, name) in [
            ("meta-llama/Llama-2-7b-chat-hf", Some("meta-llama/Llama-2-7b-chat-hf")),
            ("gpt2", Some("gpt2")),
            ("/path/to/Llama-3.1-70B-Instruct", Some("Llama-3.1-70B-Instruct")),
            ("/path/to/Llama-3.1-70B-Instruct/", Some("Llama-3.1-70B-Instruct")),
            ("./checkpoints/x", Some("x")),
            ("~/x", Some("x")),
            ("../x", Some("x")),
            ("data/models/x", Some("x")),
            ("C:\\models\\x", Some("x")),
            ("C:/x", Some("x")),
            ("/hub/models--mistralai--Mistral-7B-v0.3/snapshots/ab12", Some("mistralai/Mistral-7B-v0.3")),
            ("", None),
            (" ", None),
            ("/", None),
            (".", None),
            ("..", None),
            ("~", None),
            ("./", None),
        ] {
            assert_eq!(plain_name(text).as_deref(), name, "`{text}`");
        }
    }
}
