//! A model's file: how it is read, and what it is called.

use std::path::Path;

use banksia_input::{InputError, Source};

use super::name::of_folder;
use super::reader::Reader;
use super::{Naming, Parts, import, quantised};
use crate::model::Model;

/// Reads a model's file: a Hugging Face configuration where its name ends in `.json`, otherwise TOML.
///
/// # Errors
/// The file cannot be read, or is refused as by [`import_hf_file`] or [`Model::from_source`].
pub fn load_model(path: &Path) -> Result<Model, InputError> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        return import_hf_file(path, None, Parts::Whole);
    }
    Model::from_source(&Source::read(path)?)
}

/// [`import_hf`](crate::import_hf) of a file. The model is called `name`, or as the file names it (`_name_or_path`), or as
/// the file is called; a file called `config.json` lends its folder's name.
///
/// # Errors
/// The file cannot be read or imported, or a file beside it (`hf_quant_config.json`, `quantize_config.json`,
/// `quant_config.json`) says that its weights are quantised in a way that cannot be expressed.
pub fn import_hf_file(path: &Path, name: Option<&str>, parts: Parts) -> Result<Model, InputError> {
    let source = Source::read(path)?;
    let naming = Naming { given: name, otherwise: file_name(path) };
    let reader = Reader::new(source.name(), source.text())?;
    let mut model = import(&reader, &naming, parts)?;
    quantised::beside(path, &mut model)?;
    Ok(model)
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
