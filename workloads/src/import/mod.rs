//! Reads the `config.json` of a Hugging Face model: one small file for each family.

mod family;

mod gpt2;
mod gpt_neox;
mod keys;
mod llama;
mod load;
mod name;
mod opt;
mod python_json;
mod quantised;
mod reader;

use banksia_input::{InputError, Source};
use serde_json::Value;

use self::family::Family;
pub use self::load::{import_hf_file, load_model};
use self::name::plain_name;
use self::reader::Reader;
use crate::config::{GptConfig, GptFile};

const FAMILIES: [Family; 5] = [gpt2::FAMILY, opt::FAMILY, gpt_neox::FAMILY, llama::LLAMA, llama::MISTRAL];

/// Reads the text of a Hugging Face `config.json`: GPT-2, OPT, GPT-NeoX, LLaMA and Mistral models.
///
/// A file without an element type is read as bf16. Keys that are known to change no shape (dropout, epsilons, rope
/// scaling, token numbers) are ignored; settings that would make another graph than [`GptConfig`] can express, and keys
/// of which nobody can say whether they do, are errors. The JSON is Python's: `NaN` and `Infinity` are read.
///
/// The model is named as the file names it (`_name_or_path`: a repository, or the last part of a path), or else by its
/// family and size. [`import_hf_file`] knows better names, and what lies beside the file.
///
/// # Errors
/// The text is not a JSON object, the family or its `architectures` is not one of those above, a size is missing or
/// absurd, or a setting cannot be expressed faithfully (post-normalisation, sliding windows, quantised weights, biases on
/// some layers only).
pub fn import_hf(config_json: &str) -> Result<GptConfig, InputError> {
    import_hf_named("config.json", config_json)
}

/// [`import_hf`], with the file's name for errors.
///
/// # Errors
/// As [`import_hf`].
pub fn import_hf_named(file: &str, config_json: &str) -> Result<GptConfig, InputError> {
    import(file, config_json, None, None)
}

/// Imports a text under a given name, or the file's own, or another, in this order.
fn import(
    file: &str,
    config_json: &str,
    given_name: Option<&str>,
    other_name: Option<String>,
) -> Result<GptConfig, InputError> {
    let reader = Reader::new(file, config_json)?;
    let model_type = reader.text("model_type")?.ok_or_else(|| reader.missing("model_type"))?;
    let Some(family) = FAMILIES.iter().find(|family| family.model_type == model_type) else {
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.model_type).collect();
        // The nearest name would be that of another graph: no hint.
        let error = reader.error("model_type", format!("is `{model_type}`, a family that is not imported"));
        return Err(error.help(format!("imported are {}", known.join(", "))));
    };
    check_architectures(&reader, family)?;
    keys::check_common(&reader)?;
    let model = (family.read)(&reader)?;
    keys::check(&reader, family.model_type, model.bias)?;
    let own = || reader.text("_name_or_path").map(|name| name.and_then(plain_name));
    let name = match given_name {
        Some(name) => name.to_owned(),
        None => {
            own()?.or(other_name).unwrap_or_else(|| format!("{}-{}x{}", family.model_type, model.layers, model.width))
        }
    };
    let source = format!("imported from a Hugging Face config.json of model_type {}", family.model_type);
    // The same checks as TOML's; errors speak of the keys that the file has.
    GptFile { name, source, ..model }
        .resolve(&Source::from_text(file, ""), "")
        .map_err(|error| reader.in_its_terms(error))
}

fn check_architectures(reader: &Reader<'_>, family: &Family) -> Result<(), InputError> {
    let key = "architectures";
    let list = match reader.get(key) {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(reader.error(key, format!("is {other}: must be a list of names"))),
    };
    let known = |name: &Value| name.as_str().is_some_and(|name| family.architectures.contains(&name));
    match list.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(other) => {
            let problem = format!("has {other}, which is another graph than the `{}` imported here", family.model_type);
            let mut help = format!("imported of this model_type: {}", family.architectures.join(", "));
            // Read for the sake of its keys only: those that are left say what the variant has.
            let biased = (family.read)(reader).is_ok_and(|model| model.bias);
            let own: Vec<&str> = keys::unknown(reader, biased).map(|(key, _)| key).collect();
            if !own.is_empty() {
                help.push_str(&format!("; keys of this file that they do not have: {}", own.join(", ")));
            }
            Err(reader.error(key, problem).help(help))
        }
    }
}
