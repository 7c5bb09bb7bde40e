//! Number formats of quantised checkpoints: from the `config.json`, or from a file beside it.

use std::path::{Path, PathBuf};

use banksia_input::{InputError, Source};
use serde_json::Value;

use super::left_out::reach;
use super::reader::Reader;
use crate::model::{Model, Reach, WeightFormat};
use crate::tensor::DataType;

const HELP: &str = "import the 16-bit checkpoint that it was made from, and set the types in the TOML";

/// What a checkpoint's numbers are.
struct Scheme {
    /// Of the weights that it reaches.
    weights: WeightFormat,
    /// What activations are converted to before products, if anything.
    operands: Option<DataType>,
}

/// What the file itself says of its number formats.
pub(super) fn of_file(reader: &Reader<'_>, model: &mut Model) -> Result<(), InputError> {
    for key in ["quantization_config", "compression_config"] {
        let Some(table) = reader.table(key)? else { continue };
        let scheme = of_table(reader, key, &table)?;
        apply(scheme, &table, model)?;
    }
    Ok(())
}

/// What a file beside the `config.json` says, where that says nothing itself.
pub(super) fn beside(config: &Path, model: &mut Model) -> Result<(), InputError> {
    if model.types != crate::model::Types::uniform(model.types.activations) {
        return Ok(());
    }
    let mut files: Vec<(PathBuf, Kind)> =
        optimiser_files(config).into_iter().map(|path| (path, Kind::Optimiser)).collect();
    if config.file_name().is_some_and(|name| name == "config.json") {
        files.push((config.with_file_name("quantize_config.json"), Kind::Gptq));
        files.push((config.with_file_name("quant_config.json"), Kind::Awq));
    }
    let Some((path, kind)) = files.into_iter().find(|(path, _)| path.is_file()) else { return Ok(()) };
    let source = Source::read(&path)?;
    let reader = Reader::new(source.name(), source.text())?;
    let table = match kind {
        Kind::Optimiser => reader.table("quantization")?.ok_or_else(|| reader.missing("quantization").help(HELP))?,
        Kind::Gptq | Kind::Awq => reader,
    };
    let scheme = match kind {
        Kind::Optimiser => match table.text("quant_algo")? {
            None => None,
            Some(name) => Some(of_algorithm(&table, "quant_algo", name)?),
        },
        Kind::Gptq => Some(integers(&table, true)?),
        Kind::Awq => Some(integers(&table, false)?),
    };
    apply(scheme, &table, model)
}

/// Whose file it is.
#[derive(Clone, Copy)]
enum Kind {
    Optimiser,
    Gptq,
    Awq,
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

/// Sets a model's types.
fn apply(scheme: Option<Scheme>, table: &Reader<'_>, model: &mut Model) -> Result<(), InputError> {
    if let Some(scheme) = scheme {
        let experts = scheme.weights.reach == Reach::Experts;
        let all = table.flag("lm_head", false)?;
        let reach = if experts { Reach::Experts } else { reach(table, model)? };
        let reach = if all && reach == Reach::Layers { Reach::All } else { reach };
        model.types.weights = WeightFormat { reach, ..scheme.weights };
        model.types.operands = scheme.operands.filter(|operands| *operands != model.types.activations);
    }
    if let Some(cache) = cache(table)? {
        model.types.cache = cache;
    }
    Ok(())
}

/// The type of keys and values, if it is said.
fn cache(table: &Reader<'_>) -> Result<Option<DataType>, InputError> {
    for key in ["kv_cache_scheme", "kv_cache_quant_algo"] {
        let found = match table.get(key) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(_)) => {
                let scheme = table.table(key)?.ok_or_else(|| table.missing(key))?;
                element(&scheme)?
            }
            Some(_) => match table.text(key)? {
                Some("FP8" | "fp8" | "fp8_e4m3") => DataType::Fp8,
                Some("INT8" | "int8") => DataType::Int8,
                Some("NVFP4") => DataType::Fp4,
                Some(other) => return Err(unknown(table, key, other)),
                None => continue,
            },
        };
        return Ok(Some(found));
    }
    Ok(None)
}

fn unknown(table: &Reader<'_>, key: &str, value: &str) -> InputError {
    table.error(key, format!("is `{value}`, a format that cannot be expressed")).help(HELP)
}

/// `quantization_config`, of any of the libraries.
fn of_table(reader: &Reader<'_>, key: &str, table: &Reader<'_>) -> Result<Option<Scheme>, InputError> {
    // Optimiser's algorithm is more than the method of the library that runs it.
    if let Some(name) = table.text("quant_algo")? {
        return of_algorithm(table, "quant_algo", name).map(Some);
    }
    let groups = table.get("config_groups").is_some_and(|groups| !groups.is_null());
    match table.text("quant_method")? {
        Some("compressed-tensors" | "modelopt") | None if groups => groups_of(table).map(Some),
        // Of a cache alone.
        Some("compressed-tensors") => Ok(None),
        Some("fp8") => Ok(Some(Scheme { weights: fp8(table)?, operands: Some(DataType::Fp8) })),
        Some("fbgemm_fp8") => Ok(Some(Scheme { weights: rows(DataType::Fp8), operands: Some(DataType::Fp8) })),
        Some("mxfp4") => Ok(Some(Scheme { weights: mxfp4(), operands: None })),
        Some("gptq" | "gptqmodel" | "auto-round" | "auto_round" | "intel/auto-round") => {
            integers(table, true).map(Some)
        }
        Some("awq") => integers(table, false).map(Some),
        Some("bitsandbytes") => bits_and_bytes(table).map(Some),
        Some(other) => Err(unknown(table, "quant_method", other)),
        None if table.flag("load_in_8bit", false)? || table.flag("load_in_4bit", false)? => {
            bits_and_bytes(table).map(Some)
        }
        None => {
            let problem = "describes quantised weights, but has no `quant_method` that says how";
            Err(reader.error(key, problem).help(HELP))
        }
    }
}

/// One scale for a matrix, or for each block of so many rows and columns.
fn fp8(table: &Reader<'_>) -> Result<WeightFormat, InputError> {
    let scale = match table.text("scale_fmt")? {
        Some("ue8m0") => DataType::E8m0,
        _ => DataType::F32,
    };
    let plain = WeightFormat { scale: Some(scale), ..WeightFormat::plain(DataType::Fp8) };
    match table.counts("weight_block_size")?.as_deref() {
        None => Ok(plain),
        Some([group_rows, group]) => Ok(WeightFormat { group: *group, group_rows: *group_rows, ..plain }),
        Some(_) => Err(table.error("weight_block_size", "must be two numbers: rows and columns of a block")),
    }
}

/// One scale a row: an output channel.
fn rows(dtype: DataType) -> WeightFormat {
    WeightFormat { group_rows: 1, scale: Some(DataType::F32), ..WeightFormat::plain(dtype) }
}

fn groups_along(dtype: DataType, group: u64, scale: DataType) -> WeightFormat {
    WeightFormat { group, scale: Some(scale), ..WeightFormat::plain(dtype) }
}

/// gpt-oss: experts alone, 32 elements to a scale; activations stay as they are.
fn mxfp4() -> WeightFormat {
    WeightFormat { reach: Reach::Experts, ..groups_along(DataType::Fp4, 32, DataType::E8m0) }
}

/// TensorRT Model Optimizer's names.
fn of_algorithm(table: &Reader<'_>, key: &str, name: &str) -> Result<Scheme, InputError> {
    let group = |default: u64| table.size_or("group", &["group_size"], default);
    let block = WeightFormat { group_rows: 128, ..groups_along(DataType::Fp8, 128, DataType::F32) };
    let tensor = WeightFormat { scale: Some(DataType::F32), ..WeightFormat::plain(DataType::Fp8) };
    let (weights, operands) = match name {
        "FP8" => (tensor, Some(DataType::Fp8)),
        "FP8_PER_CHANNEL_PER_TOKEN" => (rows(DataType::Fp8), Some(DataType::Fp8)),
        "FP8_PB_REAL" | "FP8_PB" | "FP8_BLOCK_SCALES" => (block, Some(DataType::Fp8)),
        "FP8_PB_WO" => (block, None),
        "NVFP4" | "NVFP4_AWQ" => (groups_along(DataType::Fp4, group(16)?, DataType::Fp8), Some(DataType::Fp4)),
        "W4A16_NVFP4" => (groups_along(DataType::Fp4, group(16)?, DataType::Fp8), None),
        "MXFP4" | "W4A8_MXFP4_FP8" => (groups_along(DataType::Fp4, group(32)?, DataType::E8m0), Some(DataType::Fp8)),
        "W4A16_AWQ" | "INT4_AWQ" | "W4A16" => (groups_along(DataType::Int4, group(128)?, DataType::F16), None),
        "W4A8_AWQ" => (groups_along(DataType::Int4, group(128)?, DataType::F16), Some(DataType::Fp8)),
        "W8A16" => (rows(DataType::Int8), None),
        "W8A8_SQ_PER_CHANNEL" | "INT8_SQ" => (rows(DataType::Int8), Some(DataType::Int8)),
        other => return Err(unknown(table, key, other)),
    };
    Ok(Scheme { weights, operands })
}

/// GPTQ and AWQ: integers in groups, each with a scale in 16 bits; GPTQ's files always have zero points.
fn integers(table: &Reader<'_>, gptq: bool) -> Result<Scheme, InputError> {
    let (key, bits) = match table.count("bits")? {
        Some(bits) => ("bits", bits),
        None => ("w_bit", table.count("w_bit")?.ok_or_else(|| table.missing("bits").help(HELP))?),
    };
    let dtype = match bits {
        4 => DataType::Int4,
        8 => DataType::Int8,
        other => return Err(table.error(key, format!("is {other}: 4 and 8 can be expressed")).help(HELP)),
    };
    let (key, group) = match table.integer("group_size")? {
        Some(group) => ("group_size", group),
        None => ("q_group_size", table.integer("q_group_size")?.unwrap_or(128)),
    };
    let zero_points = gptq || table.flag("zero_point", true)?;
    let weights = match group {
        // A row is one group.
        -1 => WeightFormat { group_rows: 1, scale: Some(DataType::F16), ..WeightFormat::plain(dtype) },
        1..=0x00ff_ffff => groups_along(dtype, group.unsigned_abs(), DataType::F16),
        other => return Err(table.error(key, format!("is {other}: must be -1 or from 1 to 16777215"))),
    };
    Ok(Scheme { weights: WeightFormat { zero_points, ..weights }, operands: None })
}

/// LLM.int8() (arXiv 2208.07339), QLoRA (arXiv 2305.14314).
fn bits_and_bytes(table: &Reader<'_>) -> Result<Scheme, InputError> {
    if table.flag("load_in_8bit", false)? {
        // About a thousandth of the features are outliers (there, table 4), which are multiplied in 16 bits.
        let weights = WeightFormat { outliers_per_10000: 10, scale: Some(DataType::F32), ..rows(DataType::Int8) };
        return Ok(Scheme { weights, operands: Some(DataType::Int8) });
    }
    let dtype = match table.text("bnb_4bit_quant_type")? {
        Some("nf4") => DataType::Nf4,
        None | Some("fp4") => DataType::Fp4,
        Some(other) => return Err(unknown(table, "bnb_4bit_quant_type", other)),
    };
    // Quantised once more, scales are of 8 bits.
    let twice = table.flag("bnb_4bit_use_double_quant", false)?;
    let scale = if twice { DataType::Fp8 } else { DataType::F32 };
    Ok(Scheme { weights: groups_along(dtype, 64, scale), operands: None })
}

/// `config_groups` of compressed-tensors: one kind of weights alone can be expressed.
fn groups_of(table: &Reader<'_>) -> Result<Scheme, InputError> {
    let groups = table.table("config_groups")?.ok_or_else(|| table.missing("config_groups"))?;
    let names = groups.keys_with_prefix("");
    let [name] = names.as_slice() else {
        let problem = format!("has {} groups of weights, each with types of its own", names.len());
        return Err(table.error("config_groups", problem).help(HELP));
    };
    let group = groups.table(name)?.ok_or_else(|| groups.missing(name))?;
    let weights = group.table("weights")?.ok_or_else(|| group.missing("weights"))?;
    let dtype = element(&weights)?;
    let size = match weights.integer("group_size")? {
        Some(size) if size > 0 => Some(size.unsigned_abs().min(0x00ff_ffff)),
        _ => None,
    };
    let strategy = match (weights.text("strategy")?, size) {
        (Some(strategy), _) => strategy,
        (None, Some(_)) => "group",
        (None, None) => "tensor",
    };
    let symmetric = weights.flag("symmetric", true)?;
    let sixteen = DataType::F16;
    let format = match (strategy, dtype) {
        ("tensor", _) => WeightFormat { scale: Some(DataType::F32), ..WeightFormat::plain(dtype) },
        ("channel", _) => rows(dtype),
        ("group" | "tensor_group", DataType::Fp4) => {
            let size = size.unwrap_or(16);
            // Groups of 32 are MX's, with powers of two for scales.
            groups_along(dtype, size, if size == 32 { DataType::E8m0 } else { DataType::Fp8 })
        }
        ("group", _) => groups_along(dtype, size.unwrap_or(128), sixteen),
        ("block", _) => match weights.counts("block_structure")?.as_deref() {
            Some([group_rows, group]) => {
                WeightFormat { group_rows: *group_rows, ..groups_along(dtype, *group, DataType::F32) }
            }
            _ => return Err(weights.error("block_structure", "must be two numbers: rows and columns of a block")),
        },
        (other, _) => return Err(unknown(&weights, "strategy", other)),
    };
    let operands = match group.table("input_activations")? {
        None => None,
        Some(activations) => Some(element(&activations)?),
    };
    let sparse = match table.table("sparsity_config")? {
        None => (0, 0),
        Some(sparsity) => match sparsity.text("sparsity_structure")? {
            None | Some("dense" | "unstructured") => (0, 0),
            Some("2:4") => (2, 4),
            Some(other) => return Err(unknown(&sparsity, "sparsity_structure", other)),
        },
    };
    let weights = WeightFormat { zero_points: !symmetric, kept: sparse.0, of: sparse.1, ..format };
    Ok(Scheme { weights, operands })
}

/// `num_bits` and `type` of a tensor.
fn element(tensor: &Reader<'_>) -> Result<DataType, InputError> {
    let bits = tensor.count("num_bits")?.ok_or_else(|| tensor.missing("num_bits"))?;
    match (bits, tensor.text("type")?.unwrap_or("int")) {
        (8, "float") => Ok(DataType::Fp8),
        (4, "float") => Ok(DataType::Fp4),
        (8, "int") => Ok(DataType::Int8),
        (4, "int") => Ok(DataType::Int4),
        (bits, kind) => {
            let problem = format!("is {bits} of type {kind}: 4 and 8 of types int and float can be expressed");
            Err(tensor.error("num_bits", problem).help(HELP))
        }
    }
}
