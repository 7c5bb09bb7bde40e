//! The sizes that decoders like LLaMA share, under the names that they share.

use banksia_input::InputError;

use super::build::{LAYER, all, block};
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, FeedForwardSpec, HeadSpec, Mixer, Model, Norm, Stage};

/// The library's defaults of a family.
pub(super) struct Defaults {
    /// `hidden_size`.
    pub(super) width: u64,
    /// `num_hidden_layers`.
    pub(super) layers: u64,
    /// `num_attention_heads`.
    pub(super) heads: u64,
    /// `num_key_value_heads` of files without; 0 for as many as heads.
    pub(super) kv_heads: u64,
    /// `head_dim` of files without; 0 for a share of the width.
    pub(super) head_dim: u64,
    /// `intermediate_size`.
    pub(super) inner: u64,
    /// `vocab_size`.
    pub(super) vocab: u64,
    /// `max_position_embeddings`.
    pub(super) positions: u64,
}

/// What a file says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Elements of the hidden state.
    pub(super) width: u64,
    /// Layers.
    pub(super) layers: u32,
    /// Query heads.
    pub(super) heads: u64,
    /// Key and value heads.
    pub(super) kv_heads: u64,
    /// Elements of a head.
    pub(super) head_dim: u64,
    /// Elements of the feed-forward layer's inner state.
    pub(super) inner: u64,
    /// Rows of the token table.
    pub(super) vocab: u64,
    /// Longest context.
    pub(super) positions: u64,
}

impl Sizes {
    /// Reads them under LLaMA's names.
    pub(super) fn read(reader: &Reader<'_>, defaults: &Defaults) -> Result<Self, InputError> {
        let sizes = Self::read_without_inner(reader, defaults)?;
        Ok(Self { inner: reader.sized("inner", &["intermediate_size"], defaults.inner)?, ..sizes })
    }

    /// [`Self::read`] of families whose files may have no `intermediate_size`.
    pub(super) fn read_without_inner(reader: &Reader<'_>, defaults: &Defaults) -> Result<Self, InputError> {
        let width = reader.sized("width", &["hidden_size"], defaults.width)?;
        let layers = reader.layers(&["num_hidden_layers"], defaults.layers)?;
        let heads = reader.sized("heads", &["num_attention_heads"], defaults.heads)?;
        let kv_heads = match reader.maybe_size("kv_heads", &["num_key_value_heads"])? {
            Some(given) => given,
            // Null is no default.
            None if reader.get("num_key_value_heads").is_some() || defaults.kv_heads == 0 => heads,
            None => defaults.kv_heads,
        };
        let head_dim = match reader.maybe_size("head_dim", &["head_dim"])? {
            Some(given) => given,
            None if reader.get("head_dim").is_some() || defaults.head_dim == 0 => reader.head_dim(width, heads)?,
            None => defaults.head_dim,
        };
        Ok(Self {
            width,
            layers,
            heads,
            kv_heads,
            head_dim,
            inner: reader.size_or("inner", &["intermediate_size"], defaults.inner)?,
            vocab: reader.sized("vocab", &["vocab_size"], defaults.vocab)?,
            positions: if reader.nested() {
                reader.positions_or("max_position_embeddings", defaults.positions)?
            } else {
                reader.positions("max_position_embeddings")?
            },
        })
    }

    /// Attention over everything before, with heads rotated as a whole and no biases.
    pub(super) fn attention(&self) -> AttentionSpec {
        AttentionSpec {
            rotary_dim: self.head_dim - self.head_dim % 2,
            ..AttentionSpec::new(self.heads, self.kv_heads, self.head_dim)
        }
    }

    /// A gated feed-forward layer without biases.
    pub(super) fn gated(&self, activation: ActivationKind) -> FeedForwardSpec {
        FeedForwardSpec { inner: self.inner, activation, gated: true, bias: false }
    }

    /// A feed-forward layer of two products.
    pub(super) fn plain(&self, activation: ActivationKind, bias: bool) -> FeedForwardSpec {
        FeedForwardSpec { inner: self.inner, activation, gated: false, bias }
    }

    /// A decoder without layers yet: a token table, a norm, a vocabulary projection.
    pub(super) fn decoder(&self, reader: &Reader<'_>, norm: Norm, tied: bool) -> Result<Model, InputError> {
        let tied = reader.flag("tie_word_embeddings", tied)?;
        let head = HeadSpec { tied, ..HeadSpec::of(norm, self.vocab) };
        reader.model(self.width, self.positions, Embed::of(self.vocab), head)
    }

    /// [`Self::decoder`] with layers of one kind.
    pub(super) fn uniform(
        &self,
        reader: &Reader<'_>,
        norm: Norm,
        tied: bool,
        stages: Vec<Stage>,
    ) -> Result<Model, InputError> {
        Ok(Model {
            pattern: all(LAYER, self.layers),
            blocks: vec![block(LAYER, stages)],
            ..self.decoder(reader, norm, tied)?
        })
    }
}

/// `x + attention(norm(x))`, then `x + ffn(norm(x))`.
pub(super) fn pre(norm: Norm, attention: AttentionSpec, ffn: FeedForwardSpec) -> Vec<Stage> {
    vec![Stage::pre(norm, Mixer::Attention(attention)), Stage::pre(norm, Mixer::FeedForward(ffn))]
}
