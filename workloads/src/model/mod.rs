//! A model: blocks, and the pattern in which they follow one another.
//!
//! A GPT is one block; a hybrid is a pattern of several. A block is stages, each `x + f(norm(x))`: one branch in a stage for the usual
//! layers, several for parallel ones (GPT-J: attention and feed-forward; Falcon-H1: attention and Mamba-2).

mod attention;
mod check;
mod experts;
mod from_gpt;
mod mixer;
mod norm;
mod parameters;
mod routing;
mod state;
mod to_gpt;
mod toml_file;
mod types;

pub use attention::{AttentionSpec, Indexer, LatentSpec, QkNorm};
pub use experts::{ExpertsSpec, Router, Routing};
pub use mixer::{FeedForwardSpec, Mixer};
pub use norm::Norm;
pub use state::{
    DiagonalSpec, LinearAttentionSpec, LinearRule, Mamba1Spec, Mamba2Spec, RwkvSpec, ShortConvolutionSpec,
};
pub use types::{Reach, Types, WeightFormat};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::attention::{is_false, is_zero};

/// A language model: an embedding, layers, and what follows the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The model's name.
    pub name: String,
    /// Where the sizes come from.
    #[serde(default)]
    pub source: String,
    /// Elements of the hidden state.
    pub width: u64,
    /// Longest context.
    pub max_positions: u64,
    /// Element types.
    pub types: Types,
    /// What comes before the first layer.
    pub embed: Embed,
    /// What comes after the last.
    pub head: HeadSpec,
    /// The layers, in order.
    pub pattern: Vec<Layers>,
    /// Kinds of layers.
    pub blocks: Vec<Block>,
    /// An encoder whose output the layers' cross attention reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<Encoder>,
    /// Which experts tokens choose.
    #[serde(default)]
    pub routing: Routing,
}

/// Consecutive layers of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    /// The block's name.
    pub block: String,
    /// How many layers.
    pub layers: u32,
}

/// A stack of layers that reads the prompt once, all of it at every token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Encoder {
    /// Elements of its hidden state.
    pub width: u64,
    /// What comes before its first layer.
    pub embed: Embed,
    /// Its layers.
    pub pattern: Vec<Layers>,
    /// Their kinds.
    pub blocks: Vec<Block>,
    /// The norm after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_norm: Option<Norm>,
}

/// Tables that are looked up for a token, and what is made of them before the first layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Embed {
    /// Rows of the token table; 0 where hidden states come from outside (audio frames).
    pub vocab: u64,
    /// Elements of a row; 0 for the hidden state's width. Another width is projected (OPT-350m, ALBERT).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub width: u64,
    /// Rows of a learned position table; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub position_rows: u64,
    /// Rows of positions are as narrow as those of tokens, and are added before the projection (ALBERT).
    #[serde(default, skip_serializing_if = "is_false")]
    pub narrow_positions: bool,
    /// Rows of a table of token types; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub type_rows: u64,
    /// A norm of the sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Parameters of whatever else is there (convolutions before an audio encoder), which no step's cost includes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_parameters: u64,
    /// The table is the encoder's: stored once.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shared: bool,
}

/// What follows the last layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// The norm after the last layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Rows of the vocabulary projection; 0 where there is none (an encoder).
    pub vocab: u64,
    /// The projection is the embedding table.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tied: bool,
    /// It adds a bias.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bias: bool,
    /// Logits are capped by a tanh (Gemma 2).
    #[serde(default, skip_serializing_if = "is_false")]
    pub soft_cap: bool,
    /// Before it stand a projection of the hidden state to its own width, an activation and a norm (BERT's masked-language head).
    #[serde(default, skip_serializing_if = "is_false")]
    pub transform: bool,
    /// Layers that predict further tokens, not run in a plain step: their parameters are counted in none of the totals (DeepSeek-V3).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extra_prediction_layers: u64,
}

/// A kind of layer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Its name in the pattern.
    pub name: String,
    /// All layers of this kind have the same weights (Zamba, ALBERT).
    #[serde(default, skip_serializing_if = "is_false")]
    pub shared: bool,
    /// Its stages, in order.
    pub stages: Vec<Stage>,
}

/// `y = post(x + sum_norm(sum of branches(norm(x))))`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The norm of what all branches read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// What is done to it.
    pub branches: Vec<Branch>,
    /// The norm of the branches' sum, before it is added (Gemma 4, whose experts stand beside a dense layer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum_norm: Option<Norm>,
    /// The norm of the sum (post-normalisation: BERT, the first transformers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_norm: Option<Norm>,
    /// The stage's output is not added to its input, and replaces it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_residual: bool,
}

/// One of the operators of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// A norm of its own, where the stage's branches have different ones (GPT-NeoX).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// What it does.
    pub mixer: Mixer,
    /// The norm of its result, before it is added (sandwich norms: Gemma 2; OLMo 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_norm: Option<Norm>,
    /// Parameters beyond what the mixer says: learned scales of residuals and the like.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_parameters: u64,
}

impl Stage {
    /// `x + mixer(norm(x))`.
    pub fn pre(norm: Norm, mixer: Mixer) -> Self {
        Self {
            norm: Some(norm),
            branches: vec![Branch::plain(mixer)],
            sum_norm: None,
            post_norm: None,
            no_residual: false,
        }
    }

    /// `norm(x + mixer(x))`.
    pub fn post(norm: Norm, mixer: Mixer) -> Self {
        Self {
            norm: None,
            branches: vec![Branch::plain(mixer)],
            sum_norm: None,
            post_norm: Some(norm),
            no_residual: false,
        }
    }

    /// `x + norm(mixer(norm(x)))`.
    pub fn sandwich(norm: Norm, mixer: Mixer) -> Self {
        let branch = Branch { out_norm: Some(norm), ..Branch::plain(mixer) };
        Self { norm: Some(norm), branches: vec![branch], sum_norm: None, post_norm: None, no_residual: false }
    }

    /// `x + the sum of mixers(norm(x))`.
    pub fn parallel(norm: Norm, mixers: impl IntoIterator<Item = Mixer>) -> Self {
        let branches = mixers.into_iter().map(Branch::plain).collect();
        Self { norm: Some(norm), branches, sum_norm: None, post_norm: None, no_residual: false }
    }
}

impl Branch {
    /// A mixer without norms.
    pub const fn plain(mixer: Mixer) -> Self {
        Self { norm: None, mixer, out_norm: None, other_parameters: 0 }
    }
}

impl Model {
    /// The block of a name.
    pub fn block(&self, name: &str) -> Option<&Block> {
        self.blocks.iter().find(|b| b.name == name)
    }

    /// Layers, the encoder's not among them.
    pub fn layers(&self) -> u32 {
        self.pattern.iter().fold(0u32, |sum, run| sum.saturating_add(run.layers))
    }

    /// The blocks of all layers in order, as runs of equal ones.
    pub fn runs(&self) -> impl Iterator<Item = (&Block, u32)> {
        self.pattern.iter().filter_map(|run| Some((self.block(&run.block)?, run.layers)))
    }

    /// Every mixer of every layer, with how many layers have it.
    pub fn mixers(&self) -> impl Iterator<Item = (&Mixer, u32)> {
        self.runs().flat_map(|(block, layers)| {
            block.stages.iter().flat_map(|s| &s.branches).map(move |branch| (&branch.mixer, layers))
        })
    }

    /// Bytes that one token of one sequence adds to the cache while no window is full, over all layers.
    pub fn kv_bytes_per_token(&self) -> u64 {
        let elements = self.mixers().fold(0u64, |sum, (mixer, layers)| {
            let own = match mixer {
                Mixer::Attention(a) if !a.cross => a.cached(),
                Mixer::LatentAttention(l) => l.cached(),
                _ => 0,
            };
            sum.saturating_add(own.saturating_mul(layers.into()))
        });
        self.types.cache.bytes(elements)
    }

    /// Bytes of keys, values and latent vectors of one sequence of so many tokens: windows hold no more than they see.
    pub fn kv_bytes(&self, tokens: u64) -> u128 {
        let elements = self.mixers().fold(0u128, |sum, (mixer, layers)| {
            let (own, held) = match mixer {
                Mixer::Attention(a) if !a.cross => {
                    (a.cached(), if a.window == 0 { tokens } else { tokens.min(a.window) })
                }
                Mixer::LatentAttention(l) => (l.cached(), tokens),
                _ => (0, 0),
            };
            sum + u128::from(own) * u128::from(held) * u128::from(layers)
        });
        (elements * u128::from(self.types.cache.bits())).div_ceil(8)
    }

    /// Bytes of the recurrent states of one sequence, over all layers: convolutions hold their last inputs, and count.
    pub fn state_bytes(&self) -> u128 {
        let mut bits = 0u128;
        for (mixer, layers) in self.mixers() {
            let (state, window) = mixer.state_elements();
            bits += (u128::from(state) * u128::from(self.types.state.bits())
                + u128::from(window) * u128::from(self.types.activations.bits()))
                * u128::from(layers);
        }
        bits.div_ceil(8)
    }
}

impl Mixer {
    /// Elements that a sequence's state has in the mixer: of the recurrence, and of the inputs that convolutions and shifts hold.
    pub fn state_elements(&self) -> (u64, u64) {
        let taps = |kernel: u64| kernel.saturating_sub(1);
        match self {
            Self::Mamba(m) => (m.inner.saturating_mul(m.state), m.inner.saturating_mul(taps(m.conv_kernel))),
            Self::Mamba2(m) => {
                (m.inner().saturating_mul(m.state), m.conv_channels().saturating_mul(taps(m.conv_kernel)))
            }
            Self::LinearAttention(l) => {
                let state = l.value_heads.saturating_mul(l.key_dim).saturating_mul(l.value_dim);
                let channels = l
                    .key_heads
                    .saturating_mul(l.key_dim)
                    .saturating_mul(2)
                    .saturating_add(l.value_heads.saturating_mul(l.value_dim));
                (state, channels.saturating_mul(taps(l.conv_kernel)))
            }
            Self::Rwkv(r) if r.version < 5 => (r.inner.saturating_mul(3), r.inner.saturating_mul(2)),
            Self::Rwkv(r) => (r.inner.saturating_mul(r.head_dim), r.inner.saturating_mul(2)),
            Self::Diagonal(d) => (d.inner, d.inner.saturating_mul(taps(d.conv_kernel))),
            Self::ShortConvolution(s) => (0, s.inner.saturating_mul(taps(s.conv_kernel))),
            Self::Attention(_) | Self::LatentAttention(_) | Self::FeedForward(_) | Self::Experts(_) => (0, 0),
        }
    }
}
