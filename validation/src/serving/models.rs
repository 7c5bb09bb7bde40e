//! Which model a row serves, and in which formats.

use banksia_workloads::model::{Model, Reach, Types, WeightFormat};
use banksia_workloads::{DataType, import_hf_named, zoo};

use super::taken::Taken;
use crate::rows::Row;

/// Models that are served and not in the zoo: their own `config.json`.
const CONFIGS: [(&str, &str); 2] = [
    ("qwen3-32b", include_str!("../../../tests/reference/gpu/configs/qwen3-32b.json")),
    ("gpt-oss-120b", include_str!("../../../tests/reference/gpu/configs/gpt-oss-120b.json")),
];

/// A model as a framework serves it.
pub(super) struct Served {
    pub(super) model: Model,
    pub(super) framework: &'static str,
}

fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// The model of a path like `nvidia/Llama-3.1-8B-Instruct-FP8`: the one with the longest name that the path's begins with.
fn named(path: &str) -> Result<Model, String> {
    let last = letters(path.rsplit('/').next().unwrap_or_default());
    let last = last.strip_prefix("meta").unwrap_or(&last);
    let names = CONFIGS.iter().map(|(name, _)| *name).chain(zoo::names());
    let best = names.filter(|name| last.starts_with(&letters(name))).max_by_key(|name| name.len());
    let name = best.ok_or_else(|| format!("model {path} is not modelled"))?;
    match CONFIGS.iter().find(|(n, _)| *n == name) {
        // A `config.json` does not say what it is called.
        Some((_, config)) => import_hf_named(name, config).map(|m| Model { name: name.to_owned(), ..m }),
        None => zoo::load(name),
    }
    .map_err(|e| e.to_string())
}

impl Served {
    /// Of a row.
    ///
    /// # Errors
    /// The model, its formats or the backend are not modelled.
    pub(super) fn of(row: &Row) -> Result<Self, String> {
        let text = |key: &str| row.get(key).map_or("", |t| t.trim());
        let framework = match text("backend") {
            "trtllm" => "trtllm",
            "vllm" => "vllm",
            "sglang" => "sglang",
            other => return Err(format!("backend {other} is not modelled: trtllm, vllm or sglang")),
        };
        let mut model = named(text("model_path"))?;
        let blocks = WeightFormat {
            group: 128,
            group_rows: 128,
            scale: Some(DataType::F32),
            ..WeightFormat::plain(DataType::Fp8)
        };
        let weights = match (text("precision"), text("gemm_quant_mode")) {
            ("" | "bf16" | "bfloat16", "" | "bfloat16" | "bf16") => None,
            ("" | "fp8", "fp8_block") => Some(blocks),
            ("" | "fp8", "" | "fp8" | "fp8_static") => Some(WeightFormat::plain(DataType::Fp8)),
            // Published in four bits: its experts, with products in 16.
            ("fp4", _) if model.types.weights.reach == Reach::Experts => None,
            (precision, mode) => return Err(format!("precision {precision} {mode} is not modelled")),
        };
        if let Some(weights) = weights {
            let cache = Taken::of(row).cache(framework, model.types.cache);
            model.types = Types { weights, operands: Some(DataType::Fp8), cache, ..model.types };
        }
        Ok(Self { model, framework })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_models_of_the_zoo_and_others() {
        for (path, expected) in [
            ("meta-llama/Meta-Llama-3.1-8B", "llama3.1-8b"),
            ("nvidia/Llama-3.1-8B-Instruct-FP8", "llama3.1-8b"),
            ("Qwen/Qwen3-32B", "qwen3-32b"),
            ("openai/gpt-oss-120b", "gpt-oss-120b"),
            ("meta-llama/Llama-3.1-70B", "llama3.1-70b"),
        ] {
            assert_eq!(named(path).unwrap().name, expected, "{path}");
        }
        assert!(named("Qwen/Qwen3-235B-A22B-FP8").unwrap_err().contains("235B"));
    }
}
