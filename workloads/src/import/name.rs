//! What a model is called after a path.

use std::path::Path;

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

/// A folder's name; in the cache of the Hugging Face Hub (`models--owner--name/snapshots/hash`), the repository's.
pub(super) fn of_folder(folder: &Path) -> Option<String> {
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
