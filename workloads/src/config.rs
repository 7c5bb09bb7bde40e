//! A decoder-only transformer as a handful of sizes.

use banksia_input::{InputError, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::activation::ActivationKind;
use crate::key::path;
use crate::known_keys::explain_key;
use crate::model::Norm;
use crate::tensor::DataType;

/// How a token's position enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// A learned table, added to the token embedding.
    Learned,
    /// Queries and keys are rotated.
    Rotary,
    /// Not at all.
    None,
}

/// A decoder-only transformer with pre-normalisation: `layers` x (norm, attention, residual, norm, feed-forward, residual),
/// a final norm and a vocabulary projection.
///
/// Sizes are in elements. Attention is `heads x head_dim` wide, which need not equal `width`. Build one from TOML
/// ([`GptConfig::from_toml`]), from the [`zoo`](crate::zoo) or from a Hugging Face file ([`import_hf`](crate::import_hf)):
/// those check it. One written field by field passes the same checks with [`GptConfig::check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GptConfig {
    /// The model's name.
    pub name: String,
    /// Transformer layers.
    pub layers: u32,
    /// Elements of the hidden state.
    pub width: u64,
    /// Query heads.
    pub heads: u64,
    /// Key and value heads; divides `heads`. Default `heads`.
    pub kv_heads: u64,
    /// Elements of a head. Default `width / heads`.
    pub head_dim: u64,
    /// Elements of the feed-forward layer's inner state. Default `4 x width`.
    pub ffn_width: u64,
    /// Rows of the embedding table.
    pub vocab: u64,
    /// Longest context.
    pub max_positions: u64,
    /// Rows of a learned position table. Default `max_positions` (OPT has two more).
    pub position_rows: u64,
    /// The vocabulary projection reuses the embedding table.
    pub tied_embeddings: bool,
    /// Element type of weights, activations and the KV cache.
    pub dtype: DataType,
    /// The feed-forward layer's non-linearity.
    pub activation: ActivationKind,
    /// The feed-forward layer multiplies its activated gate projection with its up projection.
    pub gated: bool,
    /// The layers' linear operators add a bias (the vocabulary projection never does).
    pub bias: bool,
    /// The norms' kind.
    pub norm: Norm,
    /// How positions enter.
    pub positions: Positions,
    /// Elements of a head that a rotary embedding rotates. Default `head_dim`.
    pub rotary_dim: u64,
    /// Attention and feed-forward both read the layer's input, and both add to it (GPT-NeoX).
    pub parallel_block: bool,
    /// Where the sizes come from.
    pub source: String,
}

/// A decoder of one plain block, as a file writes it: pre-normalised attention and feed-forward layers, all alike.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GptFile {
    /// The model's name, which reports print.
    pub(crate) name: String,
    /// Transformer layers.
    #[schemars(range(min = 1))]
    pub(crate) layers: i64,
    /// Elements of the hidden state.
    #[schemars(range(min = 1))]
    pub(crate) width: i64,
    /// Query heads.
    #[schemars(range(min = 1))]
    pub(crate) heads: i64,
    /// Key and value heads; divides `heads`. As many as `heads` where absent.
    #[schemars(range(min = 1))]
    pub(crate) kv_heads: Option<i64>,
    /// Elements of a head; attention is `heads x head_dim` wide, which need not be the width. `width / heads` where absent.
    #[schemars(range(min = 1))]
    pub(crate) head_dim: Option<i64>,
    /// Elements of the feed-forward layer's inner state. `4 x width` where absent.
    #[schemars(range(min = 1))]
    pub(crate) ffn_width: Option<i64>,
    /// Rows of the embedding table.
    #[schemars(range(min = 1))]
    pub(crate) vocab: i64,
    /// Longest context, in tokens.
    #[schemars(range(min = 1))]
    pub(crate) max_positions: i64,
    /// Rows of a learned position table (OPT has two more than positions). `max_positions` where absent.
    #[schemars(range(min = 1))]
    pub(crate) position_rows: Option<i64>,
    /// The vocabulary projection reuses the embedding table.
    #[serde(default = "yes")]
    pub(crate) tied_embeddings: bool,
    /// Element type of weights, activations and the KV cache.
    #[serde(default = "bf16")]
    pub(crate) dtype: DataType,
    /// The feed-forward layer's non-linearity.
    #[serde(default = "gelu")]
    pub(crate) activation: ActivationKind,
    /// The feed-forward layer multiplies its activated gate projection with its up projection.
    #[serde(default)]
    pub(crate) gated: bool,
    /// The layers' linear operators add a bias (the vocabulary projection never does).
    #[serde(default = "yes")]
    pub(crate) bias: bool,
    /// The norms' kind.
    #[serde(default = "layer_norm")]
    pub(crate) norm: Norm,
    /// How positions enter.
    #[serde(default = "learned")]
    pub(crate) positions: Positions,
    /// Elements of a head that a rotary embedding rotates: an even number. `head_dim` where absent.
    #[schemars(range(min = 1))]
    pub(crate) rotary_dim: Option<i64>,
    /// Attention and feed-forward both read the layer's input, and both add to it (GPT-NeoX).
    #[serde(default)]
    pub(crate) parallel_block: bool,
    /// Where the sizes come from.
    #[serde(default)]
    pub(crate) source: String,
}

fn yes() -> bool {
    true
}
fn bf16() -> DataType {
    DataType::Bf16
}
fn gelu() -> ActivationKind {
    ActivationKind::Gelu
}
fn layer_norm() -> Norm {
    Norm::LayerNorm
}
fn learned() -> Positions {
    Positions::Learned
}

const MAX_LAYERS: u32 = 1 << 16;
const MAX_WIDTH: u64 = 1 << 20;
const MAX_HEADS: u64 = 1 << 16;
const MAX_FFN: u64 = 1 << 24;
const MAX_VOCAB: u64 = 1 << 26;
const MAX_POSITIONS: u64 = 1 << 30;
/// Some 400 times the largest model published; its bits still fit 64 bits.
const MAX_PARAMETERS: u128 = 1 << 52;

impl GptFile {
    /// The model that the table at `table` of `source` (`""` for the whole file) describes, with its defaults filled in.
    ///
    /// # Errors
    /// A size is zero, negative or absurd, or sizes contradict each other; the error names the line and the key.
    pub fn resolve(self, source: &Source, table: &str) -> Result<GptConfig, InputError> {
        let size = |key: &str, value: i64, limit: u64| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            source.check(&path(table, key), value, 1..=limit).map(i64::unsigned_abs)
        };
        let optional = |key: &str, value: Option<i64>, limit: u64, default: u64| {
            value.map_or(Ok(default), |value| size(key, value, limit))
        };
        let layers = source.check(&path(table, "layers"), self.layers, 1..=i64::from(MAX_LAYERS))?;
        let width = size("width", self.width, MAX_WIDTH)?;
        let heads = size("heads", self.heads, MAX_HEADS)?;
        let head_dim = match self.head_dim {
            Some(value) => size("head_dim", value, MAX_WIDTH)?,
            None if width.is_multiple_of(heads) => width / heads,
            None => {
                let problem = format!("is {heads}, which does not divide the width of {width}");
                let help = "add head_dim, the elements of one head; attention is then heads x head_dim wide";
                return Err(source.error(&path(table, "heads"), problem).help(help));
            }
        };
        let max_positions = size("max_positions", self.max_positions, MAX_POSITIONS)?;
        let config = GptConfig {
            name: self.name,
            layers: u32::try_from(layers).unwrap_or(MAX_LAYERS),
            width,
            heads,
            kv_heads: optional("kv_heads", self.kv_heads, MAX_HEADS, heads)?,
            head_dim,
            ffn_width: optional("ffn_width", self.ffn_width, MAX_FFN, width.saturating_mul(4))?,
            vocab: size("vocab", self.vocab, MAX_VOCAB)?,
            max_positions,
            position_rows: optional("position_rows", self.position_rows, MAX_POSITIONS + 1024, max_positions)?,
            tied_embeddings: self.tied_embeddings,
            dtype: self.dtype,
            activation: self.activation,
            gated: self.gated,
            bias: self.bias,
            norm: self.norm,
            positions: self.positions,
            rotary_dim: optional("rotary_dim", self.rotary_dim, MAX_WIDTH, head_dim)?,
            parallel_block: self.parallel_block,
            source: self.source,
        };
        if config.positions != Positions::Rotary && self.rotary_dim.is_some() {
            let error = source.error(&path(table, "rotary_dim"), "is given, but positions are not rotary");
            return Err(error.help("add positions = \"rotary\", or leave rotary_dim out"));
        }
        if config.positions != Positions::Learned && self.position_rows.is_some() {
            let error = source.error(&path(table, "position_rows"), "is given, but positions are not learned");
            return Err(error.help("add positions = \"learned\", or leave position_rows out"));
        }
        config.check(source, table)?;
        Ok(config)
    }
}

/// A matrix that multiplies activations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeightMatrix {
    /// The operator's name: `layer3.qkv`, `lm_head`.
    pub name: String,
    /// The operator's label: `qkv projection`.
    pub label: String,
    /// The layer, from 0; `None` for the vocabulary projection.
    pub layer: Option<u32>,
    /// `[out_features, in_features]`.
    pub shape: [u64; 2],
    /// A bias `[out_features]` is added to the product.
    pub bias: bool,
    /// The matrix is the embedding table too, so that its bytes are stored once.
    pub tied: bool,
}

impl GptConfig {
    /// Reads a model from TOML.
    ///
    /// # Errors
    /// The text is not TOML, a key is unknown, missing or of the wrong type, or a value is refused by [`Self::check`].
    pub fn from_source(source: &Source) -> Result<Self, InputError> {
        source.parse::<GptFile>().map_err(explain_key)?.resolve(source, "")
    }

    /// [`Self::from_source`] of text in memory; `file` is the name that errors print.
    ///
    /// # Errors
    /// As [`Self::from_source`].
    pub fn from_toml(file: &str, text: &str) -> Result<Self, InputError> {
        Self::from_source(&Source::from_text(file, text))
    }

    /// The model as TOML with every key; reads back as the same model.
    ///
    /// # Errors
    /// A size exceeds what TOML integers hold, which no checked model does.
    pub fn to_toml(&self) -> Result<String, InputError> {
        let fail = |e: String| InputError::new(&self.name, format!("cannot be written as TOML: {e}"));
        let mut table = toml::Table::try_from(self).map_err(|e| fail(e.to_string()))?;
        // These two are refused where they mean nothing.
        if self.positions != Positions::Rotary {
            table.remove("rotary_dim");
        }
        if self.positions != Positions::Learned {
            table.remove("position_rows");
        }
        toml::to_string(&table).map_err(|e| fail(e.to_string()))
    }

    /// Checks every size and how they fit together; errors name the keys under `table` of `source`.
    ///
    /// # Errors
    /// A size is zero or absurd, heads cannot be shared evenly, or the model has more than 2^52 parameters.
    pub fn check(&self, source: &Source, table: &str) -> Result<(), InputError> {
        let fail = |key: &str, problem: String| source.error(&path(table, key), problem);
        if self.name.trim().is_empty() {
            return Err(fail("name", "is empty".into()).help("give the model a name; reports print it"));
        }
        source.check(&path(table, "layers"), self.layers, 1..=MAX_LAYERS)?;
        for (key, value, limit) in [
            ("width", self.width, MAX_WIDTH),
            ("heads", self.heads, MAX_HEADS),
            ("kv_heads", self.kv_heads, MAX_HEADS),
            ("head_dim", self.head_dim, MAX_WIDTH),
            ("ffn_width", self.ffn_width, MAX_FFN),
            ("vocab", self.vocab, MAX_VOCAB),
            ("max_positions", self.max_positions, MAX_POSITIONS),
            ("position_rows", self.position_rows, MAX_POSITIONS + 1024),
        ] {
            source.check(&path(table, key), value, 1..=limit)?;
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let problem = format!("is {}, which does not divide the {} heads", self.kv_heads, self.heads);
            return Err(fail("kv_heads", problem).help("every key head serves the same number of query heads"));
        }
        if self.positions == Positions::Learned && self.position_rows < self.max_positions {
            let problem = format!("is {}, fewer than max_positions = {}", self.position_rows, self.max_positions);
            return Err(fail("position_rows", problem).help("leave it out to have one row per position"));
        }
        if self.positions == Positions::Rotary
            && (self.rotary_dim > self.head_dim || !self.rotary_dim.is_multiple_of(2))
        {
            let problem = format!("is {} (by default head_dim, {})", self.rotary_dim, self.head_dim);
            return Err(fail("rotary_dim", problem).help("rotation works on pairs: an even number, at most head_dim"));
        }
        if self.dtype == DataType::Int32 {
            let error = fail("dtype", "is int32, which is the type of token indices".into());
            return Err(error.help("use f32, bf16, f16, fp8, int8 or int4"));
        }
        let parameters = self.parameters_wide();
        if parameters > MAX_PARAMETERS {
            let problem = format!("makes a model of {parameters} parameters: more than {MAX_PARAMETERS}");
            return Err(fail("layers", problem).help("check layers, width, head_dim, ffn_width and vocab"));
        }
        Ok(())
    }

    /// Elements of all query heads together.
    pub fn attention_width(&self) -> u64 {
        self.heads.saturating_mul(self.head_dim)
    }

    /// Elements of all key heads together.
    pub fn kv_width(&self) -> u64 {
        self.kv_heads.saturating_mul(self.head_dim)
    }

    /// The layer's matrices: short name, label, `[out, in]`, in the order of use.
    pub(crate) fn layer_matrices(&self) -> Vec<(&'static str, &'static str, [u64; 2])> {
        let qkv = self.attention_width().saturating_add(self.kv_width().saturating_mul(2));
        let mut matrices = vec![
            ("qkv", "qkv projection", [qkv, self.width]),
            ("attention_out", "attention output projection", [self.width, self.attention_width()]),
        ];
        if self.gated {
            matrices.push(("ffn_gate", "ffn gate projection", [self.ffn_width, self.width]));
        }
        matrices.push(("ffn_up", "ffn up projection", [self.ffn_width, self.width]));
        matrices.push(("ffn_down", "ffn down projection", [self.width, self.ffn_width]));
        matrices
    }

    /// Every matrix that multiplies activations: those of each layer in the order of use, then the vocabulary projection.
    /// The embedding and position tables, which are only looked up, are not among them.
    pub fn weight_matrices(&self) -> Vec<WeightMatrix> {
        let layer_matrices = self.layer_matrices();
        let in_layer = |layer: u32| {
            layer_matrices.iter().map(move |(name, label, shape)| WeightMatrix {
                name: format!("layer{layer}.{name}"),
                label: (*label).to_owned(),
                layer: Some(layer),
                shape: *shape,
                bias: self.bias,
                tied: false,
            })
        };
        let head = WeightMatrix {
            name: "lm_head".into(),
            label: "lm head".into(),
            layer: None,
            shape: [self.vocab, self.width],
            bias: false,
            tied: self.tied_embeddings,
        };
        (0..self.layers).flat_map(in_layer).chain([head]).collect()
    }

    /// Parameters of the tables and vectors of one norm.
    fn norm_parameters(&self) -> u64 {
        self.norm.parameters(self.width)
    }

    fn parameters_wide(&self) -> u128 {
        let wide = u128::from;
        let layer: u128 = self
            .layer_matrices()
            .iter()
            .map(|(_, _, [rows, columns])| wide(*rows) * wide(*columns) + wide(*rows) * u128::from(self.bias))
            .fold(2 * wide(self.norm_parameters()), u128::saturating_add);
        let tables = if self.tied_embeddings { 1 } else { 2 };
        let positions =
            if self.positions == Positions::Learned { wide(self.position_rows) * wide(self.width) } else { 0 };
        layer
            .saturating_mul(self.layers.into())
            .saturating_add(wide(self.vocab) * wide(self.width) * tables)
            .saturating_add(positions)
            .saturating_add(wide(self.norm_parameters()))
    }

    /// Trained parameters, a tied table once. Saturates at `u64::MAX`, which no checked model reaches.
    pub fn parameters(&self) -> u64 {
        u64::try_from(self.parameters_wide()).unwrap_or(u64::MAX)
    }

    /// Bytes of all parameters, densely packed, a tied table once.
    pub fn weight_bytes(&self) -> u64 {
        self.dtype.bytes(self.parameters())
    }

    /// Bytes that one token of one sequence adds to the KV cache, over all layers.
    pub fn kv_bytes_per_token(&self) -> u64 {
        self.dtype.bytes(self.kv_width().saturating_mul(2).saturating_mul(self.layers.into()))
    }
}
