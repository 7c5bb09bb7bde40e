//! Files beside a `config.json` that say that the weights are quantised, where the `config.json` says nothing.

use std::path::{Path, PathBuf};

use banksia_input::{InputError, Source};
use serde_json::Value;

use super::python_json::scan;
use super::reader::Reader;
use crate::model::Model;

const HELP: &str = "import the 16-bit checkpoint that it was made from, or write a model that is of one type throughout as TOML (dtype = \"fp8\")";

/// What the file itself says of its number formats.
pub(super) fn of_file(reader: &Reader<'_>, _model: &mut Model) -> Result<(), InputError> {
    for key in ["quantization_config", "compression_config"] {
        let fine = reader.get(key).is_none_or(Value::is_null);
        reader.refuse_unless(key, fine, "describes quantised weights, which differ in type from layer to layer")?;
    }
    Ok(())
}

/// Refuses a checkpoint whose neighbours say that it is quantised: its weights, activations, tables and cache differ in
/// type, and a model has one.
pub(super) fn beside(config: &Path, _model: &mut Model) -> Result<(), InputError> {
    for path in optimiser_files(config).into_iter().filter(|path| path.is_file()) {
        check_optimiser(&path, config)?;
    }
    if config.file_name().is_some_and(|name| name == "config.json") {
        for name in ["quantize_config.json", "quant_config.json"] {
            let path = config.with_file_name(name);
            if path.is_file() {
                let problem = format!("says that the weights of {} are quantised", config.display());
                return Err(InputError::new(path.display().to_string(), problem).help(HELP));
            }
        }
    }
    Ok(())
}

/// Where TensorRT Model Optimizer's file may lie: beside the configuration, or, in a collection, with its prefix.
fn optimiser_files(config: &Path) -> Vec<PathBuf> {
    let mut files = vec![config.with_file_name("hf_quant_config.json")];
    if let Some(name) = config.file_name().and_then(std::ffi::OsStr::to_str) {
        let stem = name.strip_suffix(".json").unwrap_or(name);
        let prefix = stem.strip_suffix("config").unwrap_or(stem);
        for with in [prefix.to_owned(), format!("{stem}."), format!("{stem}_")] {
            files.push(config.with_file_name(format!("{with}hf_quant_config.json")));
        }
    }
    files.dedup();
    files
}

/// `{"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}`
fn check_optimiser(path: &Path, config: &Path) -> Result<(), InputError> {
    let source = Source::read(path)?;
    let found = scan(source.text());
    let value: Value = serde_json::from_str(&found.json)
        .map_err(|e| InputError::new(source.name(), format!("is not JSON: {e}")).at_line(e.line().max(1)))?;
    let Some(quantization) = value.get("quantization") else {
        return Err(InputError::new(source.name(), "is missing").key("quantization").help(HELP));
    };
    let what = [
        ("quant_algo", "weights", "their type differs from that of the embedding and of the activations"),
        ("kv_cache_quant_algo", "KV cache", "its type differs from that of the activations"),
    ];
    for (key, of, why) in what {
        let algorithm = match quantization.get(key) {
            None | Some(Value::Null) => continue,
            Some(Value::String(name)) => format!("`{name}`"),
            Some(other) => other.to_string(),
        };
        let problem =
            format!("is {algorithm}: {}'s {of} are quantised, {why}, and a model has one type", config.display());
        let mut error = InputError::new(source.name(), problem).key(format!("quantization.{key}")).help(HELP);
        error.line = source.text().lines().position(|line| line.contains(&format!("\"{key}\""))).map(|at| at + 1);
        return Err(error);
    }
    Ok(())
}
