//! Reads the `config.json` of a Hugging Face model: one small file for each family.

mod build;
mod families;
mod family;
mod keys;
mod left_out;
mod load;
mod name;
mod python_json;
mod quantised;
mod reader;
mod rotary;
mod sizes;
mod table;
mod values;
mod windows;
mod wrappers;

mod baichuan;
mod bamba;
mod bert;
mod bloom;
mod classic;
mod cohere;
mod dbrx;
mod deepseek;
mod deepseek_v4;
mod ernie_moe;
mod falcon;
mod gemma;
mod gemma4;
mod glm;
mod glm4_moe;
mod gpt2;
mod gpt_bigcode;
mod gpt_j;
mod gpt_neo;
mod gpt_neox;
mod gpt_oss;
mod granite_moe;
mod hunyuan_moe;
mod hybrid;
mod jamba;
mod lfm2;
mod llama;
mod llama4;
mod llama_likes;
mod mamba;
mod mamba2;
mod mamba2_sizes;
mod mimo;
mod minicpm3;
mod minimax;
mod minimax_m2;
mod mixtral;
mod mllama;
mod moe;
mod mpt;
mod nemotron;
mod nemotron_h;
mod olmo;
mod opt;
mod phi;
mod qwen;
mod qwen3_next;
mod qwen_moe;
mod recurrent_gemma;
mod rwkv;
mod seq_decoders;
mod step3;
mod t5;
mod whisper;
mod zamba;

use banksia_input::{InputError, Source};
use serde_json::Value;

use self::families::FAMILIES;
use self::family::Family;
pub use self::load::{import_hf_file, load_model};
use self::name::plain_name;
use self::reader::Reader;
pub use self::table::{import_table, import_wrappers};
use crate::model::Model;

/// How much of a file is imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Parts {
    /// All of it: a model with towers for pictures or sound is refused.
    #[default]
    Whole,
    /// Of a model with towers, the language model alone.
    TextOnly,
}

/// Reads the text of a Hugging Face `config.json`: docs/models.md lists the families.
///
/// A file without an element type is read as bf16. Keys that are known to change no shape (dropout, epsilons, rope
/// scaling, token numbers) are ignored; settings that would make another graph than [`Model`] can express, and keys
/// of which nobody can say whether they do, are errors. The JSON is Python's: `NaN` and `Infinity` are read.
///
/// The model is named as the file names it (`_name_or_path`: a repository, or the last part of a path), or else by its
/// family and size. [`import_hf_file`] knows better names, and what lies beside the file.
///
/// # Errors
/// The text is not a JSON object, the family or its `architectures` is not a known one, a size is missing or absurd, or
/// a setting cannot be expressed faithfully.
pub fn import_hf(config_json: &str) -> Result<Model, InputError> {
    import_hf_named("config.json", config_json)
}

/// [`import_hf`], with the file's name for errors.
///
/// # Errors
/// As [`import_hf`].
pub fn import_hf_named(file: &str, config_json: &str) -> Result<Model, InputError> {
    import(&Reader::new(file, config_json)?, &Naming::default(), Parts::Whole)
}

/// What a model may be called.
#[derive(Default)]
struct Naming<'a> {
    /// Before anything that the file says.
    given: Option<&'a str>,
    /// If the file says nothing.
    otherwise: Option<String>,
}

fn import(reader: &Reader<'_>, naming: &Naming<'_>, parts: Parts) -> Result<Model, InputError> {
    let (model_type, family) = match reader.text("model_type")? {
        Some(model_type) => (model_type.to_owned(), families::by_type(model_type)),
        None => {
            let family = only_architecture(reader).and_then(families::by_architecture);
            let family = family.ok_or_else(|| reader.missing("model_type"))?;
            (family.name().to_owned(), Some(family))
        }
    };
    let source = format!("imported from a Hugging Face config.json of model_type {model_type}");
    if let Some(wrapper) = wrappers::by_type(&model_type) {
        if parts == Parts::Whole || wrapper.family.is_empty() {
            return Err(wrapper.refusal(reader, &model_type));
        }
        let source = format!("{source}: the language model alone");
        let flat = wrapper.text.is_empty() || reader.get(wrapper.text).is_none_or(Value::is_null);
        let inner = if flat {
            // Files of the first versions have the language model's sizes among the others.
            reader.same_without(wrapper.towers)
        } else {
            reader.inside(wrapper.text, &["dtype", "torch_dtype", "tie_word_embeddings", "quantization_config"])?
        };
        let own = if flat { None } else { inner.text("model_type")? };
        let name = own.unwrap_or(wrapper.family);
        let family = families::by_type(name).ok_or_else(|| unknown_family(&inner, name))?;
        return read(&inner, family, !flat).and_then(|model| named(model, reader, family, naming, source));
    }
    let family = family.ok_or_else(|| unknown_family(reader, &model_type))?;
    read(reader, family, true).and_then(|model| named(model, reader, family, naming, source))
}

fn unknown_family(reader: &Reader<'_>, model_type: &str) -> InputError {
    let known: Vec<&str> = FAMILIES.iter().flat_map(|family| family.model_types).copied().collect();
    // The nearest name would be that of another graph: no hint.
    let error = reader.error("model_type", format!("is `{model_type}`, a family that is not imported"));
    error.help(format!("imported are {}", known.join(", ")))
}

/// The one entry of `architectures`.
fn only_architecture<'r>(reader: &'r Reader<'_>) -> Option<&'r str> {
    match reader.get("architectures")?.as_array()?.as_slice() {
        [only] => only.as_str(),
        _ => None,
    }
}

/// Reads and checks the sizes of a family.
fn read(reader: &Reader<'_>, family: &Family, architectures: bool) -> Result<Model, InputError> {
    if architectures {
        check_architectures(reader, family)?;
    }
    let mut model = (family.read)(reader)?;
    keys::check_common(reader)?;
    quantised::of_file(reader, &mut model)?;
    keys::check(reader, family.name(), build::biased(&model))?;
    Ok(model)
}

fn named(
    mut model: Model,
    reader: &Reader<'_>,
    family: &Family,
    naming: &Naming<'_>,
    source: String,
) -> Result<Model, InputError> {
    model.name = match naming.given {
        Some(name) => name.to_owned(),
        None => {
            let own = reader.text("_name_or_path")?.and_then(plain_name);
            let size = || format!("{}-{}x{}", family.name(), model.layers(), model.width);
            own.or(naming.otherwise.clone()).unwrap_or_else(size)
        }
    };
    model.source = source;
    // The same checks as TOML's; errors speak of the keys that the file has.
    model.check(&Source::from_text(reader.file(), ""), "").map_err(|error| reader.in_its_terms(error))?;
    Ok(model)
}

fn check_architectures(reader: &Reader<'_>, family: &Family) -> Result<(), InputError> {
    let key = "architectures";
    let none = Vec::new();
    let list = match reader.get(key) {
        None | Some(Value::Null) => &none,
        Some(Value::Array(list)) => list,
        Some(other) => return Err(reader.error(key, format!("is {other}: must be a list of names"))),
    };
    let known = |name: &Value| name.as_str().is_some_and(|name| family.architectures.contains(&name));
    if let Some(other) = list.iter().find(|name| !known(name)) {
        let problem = format!("has {other}, which is another graph than the `{}` imported here", family.name());
        let mut help = format!("imported of this model_type: {}", family.architectures.join(", "));
        // Read for the sake of its keys only: those that are left say what the variant has.
        let biased = (family.read)(reader).is_ok_and(|model| build::biased(&model));
        let own: Vec<&str> = keys::unknown(reader, biased).map(|(key, _)| key).collect();
        if !own.is_empty() {
            help.push_str(&format!("; keys of this file that they do not have: {}", own.join(", ")));
        }
        return Err(reader.error(key, problem).help(help));
    }
    if !list.is_empty() {
        // Code of the model's own, under a name whose graph is known.
        reader.get("auto_map");
    }
    Ok(())
}
