//! Reads the `config.json` of a Hugging Face model.

use banksia_input::{InputError, Source};
use serde_json::{Map, Value};

use crate::config::{GptConfig, GptFile, Norm, Positions};
use crate::op::ActivationKind;
use crate::tensor::DataType;

/// The families whose every operator can be expressed.
const FAMILIES: [&str; 5] = ["gpt2", "opt", "gpt_neox", "llama", "mistral"];

/// Reads the text of a Hugging Face `config.json`: GPT-2, OPT, GPT-NeoX, LLaMA and Mistral models.
///
/// A file without an element type is read as bf16. Keys that change no shape (dropout, epsilons, rope scaling, token
/// numbers) are ignored; settings that would make another graph than [`GptConfig`] can express are errors.
///
/// # Errors
/// The text is not a JSON object, the family is not one of the above, a size is missing or absurd, or a setting cannot be
/// expressed faithfully (post-normalisation, sliding windows, quantised weights, biases on some layers only).
pub fn import_hf(config_json: &str) -> Result<GptConfig, InputError> {
    import_hf_named("config.json", config_json)
}

/// [`import_hf`], with the file's name for errors.
///
/// # Errors
/// As [`import_hf`].
pub fn import_hf_named(file: &str, config_json: &str) -> Result<GptConfig, InputError> {
    let text = config_json;
    let value: Value = serde_json::from_str(text)
        .map_err(|e| InputError::new(file, format!("is not JSON: {e}")).at_line(e.line().max(1)))?;
    let Value::Object(map) = value else {
        return Err(InputError::new(file, "is not a JSON object").help("give a model's config.json"));
    };
    let reader = Reader { file, text, map };
    reader.refuse_unless(
        "quantization_config",
        reader.map.get("quantization_config").is_none_or(Value::is_null),
        "describes quantised weights, which differ in type from layer to layer",
    )?;
    let family = reader.text("model_type")?.ok_or_else(|| reader.missing("model_type"))?;
    let (model, renamed) = match family {
        "gpt2" => reader.gpt2()?,
        "opt" => reader.opt()?,
        "gpt_neox" => reader.gpt_neox()?,
        "llama" | "mistral" => reader.llama(family)?,
        other => {
            let mut error = InputError::unknown_name(file, "importable model family", other, FAMILIES);
            error.key = Some("model_type".into());
            error.line = reader.line("model_type");
            error.problem = format!("is `{other}`, a family that is not imported");
            return Err(error);
        }
    };
    // The same checks as TOML's; errors speak of the keys that the file has.
    model.resolve(&Source::from_text(file, ""), "").map_err(|mut error| {
        if let Some((_, theirs)) = renamed.iter().find(|(ours, _)| error.key.as_deref() == Some(ours)) {
            error.key = Some((*theirs).to_owned());
            error.line = reader.line(theirs);
        }
        error
    })
}

/// Pairs of a TOML key and the key of the file that it came from.
type Renamed = &'static [(&'static str, &'static str)];

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    map: Map<String, Value>,
}

impl Reader<'_> {
    fn gpt2(&self) -> Result<(GptFile, Renamed), InputError> {
        self.refuse_unless(
            "add_cross_attention",
            !self.flag("add_cross_attention", false)?,
            "adds cross attention to an encoder",
        )?;
        let width = self.required("n_embd")?;
        let file = GptFile {
            ffn_width: self.integer("n_inner")?,
            activation: self.activation("activation_function", ActivationKind::Gelu)?,
            tied_embeddings: self.flag("tie_word_embeddings", true)?,
            ..self.base("gpt2", "n_layer", width, "n_head", "n_positions")?
        };
        Ok((
            file,
            &[
                ("layers", "n_layer"),
                ("width", "n_embd"),
                ("heads", "n_head"),
                ("ffn_width", "n_inner"),
                ("vocab", "vocab_size"),
                ("max_positions", "n_positions"),
            ],
        ))
    }

    fn opt(&self) -> Result<(GptFile, Renamed), InputError> {
        let width = self.required("hidden_size")?;
        self.refuse_unless(
            "do_layer_norm_before",
            self.flag("do_layer_norm_before", true)?,
            "puts the norm after the residual",
        )?;
        let projected = self.integer("word_embed_proj_dim")?.unwrap_or(width);
        self.refuse_unless(
            "word_embed_proj_dim",
            projected == width,
            "makes the embedding narrower than the hidden state, with projections between",
        )?;
        self.refuse_unless(
            "_remove_final_layer_norm",
            !self.flag("_remove_final_layer_norm", false)?,
            "leaves the final norm out",
        )?;
        self.refuse_unless(
            "layer_norm_elementwise_affine",
            self.flag("layer_norm_elementwise_affine", true)?,
            "makes norms without gain and shift",
        )?;
        let base = self.base("opt", "num_hidden_layers", width, "num_attention_heads", "max_position_embeddings")?;
        let file = GptFile {
            ffn_width: Some(self.required("ffn_dim")?),
            // OPT's positions start at 2.
            position_rows: base.max_positions.checked_add(2),
            activation: self.activation("activation_function", ActivationKind::Relu)?,
            bias: self.flag("enable_bias", true)?,
            tied_embeddings: self.flag("tie_word_embeddings", true)?,
            ..base
        };
        Ok((
            file,
            &[
                ("layers", "num_hidden_layers"),
                ("width", "hidden_size"),
                ("heads", "num_attention_heads"),
                ("ffn_width", "ffn_dim"),
                ("vocab", "vocab_size"),
                ("max_positions", "max_position_embeddings"),
            ],
        ))
    }

    fn gpt_neox(&self) -> Result<(GptFile, Renamed), InputError> {
        let width = self.required("hidden_size")?;
        self.refuse_unless(
            "attention_bias",
            self.flag("attention_bias", true)?,
            "leaves out the biases of attention but not of the feed-forward layer",
        )?;
        let base =
            self.base("gpt_neox", "num_hidden_layers", width, "num_attention_heads", "max_position_embeddings")?;
        let share = match self
            .map
            .get("rotary_pct")
            .or_else(|| self.map.get("rope_parameters")?.get("partial_rotary_factor"))
        {
            None | Some(Value::Null) => 0.25,
            Some(value) => value
                .as_f64()
                .filter(|share| (0.0..=1.0).contains(share))
                .ok_or_else(|| self.error("rotary_pct", "is not a share from 0 to 1"))?,
        };
        let head_dim = if base.heads > 0 { width / base.heads } else { 0 };
        // Hugging Face truncates too; both numbers are far below 2^52, so that the product is exact enough.
        let rotary_dim = (head_dim.clamp(0, 1 << 30) as f64 * share) as i64;
        let file = GptFile {
            ffn_width: Some(self.required("intermediate_size")?),
            activation: self.activation("hidden_act", ActivationKind::Gelu)?,
            tied_embeddings: self.flag("tie_word_embeddings", false)?,
            positions: if rotary_dim > 0 { Positions::Rotary } else { Positions::None },
            rotary_dim: (rotary_dim > 0).then_some(rotary_dim),
            parallel_block: self.flag("use_parallel_residual", true)?,
            ..base
        };
        Ok((file, MODERN))
    }

    fn llama(&self, family: &str) -> Result<(GptFile, Renamed), InputError> {
        let width = self.required("hidden_size")?;
        let base = self.base(family, "num_hidden_layers", width, "num_attention_heads", "max_position_embeddings")?;
        let bias = self.flag("attention_bias", false)?;
        self.refuse_unless(
            "attention_bias",
            bias == self.flag("mlp_bias", false)?,
            "puts biases on attention or the feed-forward layer only",
        )?;
        let window = self.integer("sliding_window")?;
        let windowed = family == "mistral" && window.is_some_and(|window| window < base.max_positions);
        self.refuse_unless("sliding_window", !windowed, "limits attention to a window")?;
        let kv_heads = match self.integer("num_key_value_heads")? {
            None if family == "mistral" => return Err(self.missing("num_key_value_heads")),
            given => given,
        };
        let file = GptFile {
            kv_heads,
            head_dim: self.integer("head_dim")?,
            ffn_width: Some(self.required("intermediate_size")?),
            activation: self.activation("hidden_act", ActivationKind::Silu)?,
            gated: true,
            bias,
            norm: Norm::RmsNorm,
            positions: Positions::Rotary,
            tied_embeddings: self.flag("tie_word_embeddings", false)?,
            ..base
        };
        Ok((file, MODERN))
    }

    /// What every family has, with the defaults of GPT-2 for the rest.
    fn base(
        &self,
        family: &str,
        layers: &str,
        width: i64,
        heads: &str,
        positions: &str,
    ) -> Result<GptFile, InputError> {
        let name = self.text("_name_or_path")?.filter(|name| !name.trim().is_empty()).unwrap_or(family);
        Ok(GptFile {
            name: name.to_owned(),
            layers: self.required(layers)?,
            width,
            heads: self.required(heads)?,
            kv_heads: None,
            head_dim: None,
            ffn_width: None,
            vocab: self.required("vocab_size")?,
            max_positions: self.required(positions)?,
            position_rows: None,
            tied_embeddings: true,
            dtype: self.dtype()?,
            activation: ActivationKind::Gelu,
            gated: false,
            bias: true,
            norm: Norm::LayerNorm,
            positions: Positions::Learned,
            rotary_dim: None,
            parallel_block: false,
            source: format!("imported from a Hugging Face config.json of model_type {family}"),
        })
    }

    fn dtype(&self) -> Result<DataType, InputError> {
        let key = if self.map.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        match self.text(key)? {
            None | Some("bfloat16") => Ok(DataType::Bf16),
            Some("float16") => Ok(DataType::F16),
            Some("float32") => Ok(DataType::F32),
            Some(other) => {
                let error = self.error(key, format!("is `{other}`"));
                Err(error.help("use bfloat16, float16 or float32; set another type in the TOML"))
            }
        }
    }

    fn activation(&self, key: &str, default: ActivationKind) -> Result<ActivationKind, InputError> {
        match self.text(key)? {
            None => Ok(default),
            // The forms of GELU differ in rounding, and are counted as one.
            Some("gelu" | "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh") => Ok(ActivationKind::Gelu),
            Some("relu") => Ok(ActivationKind::Relu),
            Some("silu" | "swish") => Ok(ActivationKind::Silu),
            Some(other) => {
                let error = self.error(key, format!("is `{other}`, an activation that is not known"));
                Err(error.help("known: gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, silu, swish"))
            }
        }
    }

    fn integer(&self, key: &str) -> Result<Option<i64>, InputError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_i64().map(Some).ok_or_else(|| self.error(key, format!("is {value}: must be an integer")))
            }
        }
    }

    fn required(&self, key: &str) -> Result<i64, InputError> {
        self.integer(key)?.ok_or_else(|| self.missing(key))
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, InputError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(value) => Err(self.error(key, format!("is {value}: must be true or false"))),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&str>, InputError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(value) => Err(self.error(key, format!("is {value}: must be a string"))),
        }
    }

    fn missing(&self, key: &str) -> InputError {
        InputError::new(self.file, "is missing").key(key).help("give a model's complete config.json")
    }

    fn error(&self, key: &str, problem: impl Into<String>) -> InputError {
        let mut error = InputError::new(self.file, problem).key(key);
        error.line = self.line(key);
        error
    }

    /// An error that this setting cannot be expressed, unless `expressible`.
    fn refuse_unless(&self, key: &str, expressible: bool, what: &str) -> Result<(), InputError> {
        if expressible {
            return Ok(());
        }
        Err(self.error(key, format!("{what}: the operator graph cannot express it")))
    }

    /// The line of the first place where the key is written as a key.
    fn line(&self, key: &str) -> Option<usize> {
        let quoted = format!("\"{key}\"");
        let at = self
            .text
            .match_indices(&quoted)
            .find(|(at, _)| self.text[at + quoted.len()..].trim_start().starts_with(':'))?
            .0;
        Some(self.text[..at].matches('\n').count() + 1)
    }
}

/// The keys of GPT-NeoX, LLaMA and Mistral.
const MODERN: Renamed = &[
    ("layers", "num_hidden_layers"),
    ("width", "hidden_size"),
    ("heads", "num_attention_heads"),
    ("kv_heads", "num_key_value_heads"),
    ("ffn_width", "intermediate_size"),
    ("vocab", "vocab_size"),
    ("max_positions", "max_position_embeddings"),
    ("rotary_dim", "rotary_pct"),
];
