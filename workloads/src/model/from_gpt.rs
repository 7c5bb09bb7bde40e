//! A decoder of one plain block, as its sizes say it.

use super::{
    AttentionSpec, Block, Branch, Embed, FeedForwardSpec, HeadSpec, Layers, Mixer, Model, Routing, Stage, Types,
};
use crate::config::{GptConfig, Positions};

impl From<&GptConfig> for Model {
    fn from(gpt: &GptConfig) -> Self {
        let attention = Mixer::Attention(AttentionSpec {
            rotary_dim: if gpt.positions == Positions::Rotary { gpt.rotary_dim } else { 0 },
            qkv_bias: gpt.bias,
            out_bias: gpt.bias,
            ..AttentionSpec::new(gpt.heads, gpt.kv_heads, gpt.head_dim)
        });
        let ffn = Mixer::FeedForward(FeedForwardSpec {
            inner: gpt.ffn_width,
            activation: gpt.activation,
            gated: gpt.gated,
            bias: gpt.bias,
        });
        let stages = if gpt.parallel_block {
            let own = |mixer| Branch { norm: Some(gpt.norm), ..Branch::plain(mixer) };
            vec![Stage {
                norm: None,
                branches: vec![own(attention), own(ffn)],
                sum_norm: None,
                post_norm: None,
                no_residual: false,
            }]
        } else {
            vec![Stage::pre(gpt.norm, attention), Stage::pre(gpt.norm, ffn)]
        };
        Self {
            name: gpt.name.clone(),
            source: gpt.source.clone(),
            width: gpt.width,
            max_positions: gpt.max_positions,
            types: Types::uniform(gpt.dtype),
            embed: Embed {
                position_rows: if gpt.positions == Positions::Learned { gpt.position_rows } else { 0 },
                ..Embed::of(gpt.vocab)
            },
            head: HeadSpec { tied: gpt.tied_embeddings, ..HeadSpec::of(gpt.norm, gpt.vocab) },
            pattern: vec![Layers { block: "layer".into(), layers: gpt.layers }],
            blocks: vec![Block { name: "layer".into(), shared: false, stages }],
            encoder: None,
            routing: Routing::default(),
        }
    }
}

impl Embed {
    /// A token table alone.
    pub const fn of(vocab: u64) -> Self {
        Self {
            vocab,
            width: 0,
            position_rows: 0,
            narrow_positions: false,
            type_rows: 0,
            norm: None,
            other_parameters: 0,
            shared: false,
        }
    }
}

impl HeadSpec {
    /// A norm and an untied vocabulary projection.
    pub const fn of(norm: super::Norm, vocab: u64) -> Self {
        Self {
            norm: Some(norm),
            vocab,
            tied: false,
            bias: false,
            soft_cap: false,
            transform: false,
            extra_prediction_layers: 0,
        }
    }
}
