//! The sizes of a decoder of one plain block, where a model is one: what mappings by matrices work on.

use super::{Block, Embed, Mixer, Model, Types};
use crate::config::{GptConfig, Positions};

impl Model {
    /// The model as a decoder of one plain block; `None` where it is anything else.
    pub fn as_gpt(&self) -> Option<GptConfig> {
        let [block] = self.blocks.as_slice() else { return None };
        let [run] = self.pattern.as_slice() else { return None };
        if self.encoder.is_some() || run.block != block.name || self.types != Types::uniform(self.types.activations) {
            return None;
        }
        let (attention, ffn, norm, parallel_block) = parts(block)?;
        let (Mixer::Attention(a), Mixer::FeedForward(f)) = (attention, ffn) else { return None };
        let mut gpt = GptConfig {
            name: self.name.clone(),
            layers: run.layers,
            width: self.width,
            heads: a.heads,
            kv_heads: a.kv_heads,
            head_dim: a.head_dim,
            ffn_width: f.inner,
            vocab: self.embed.vocab,
            max_positions: self.max_positions,
            position_rows: self.max_positions,
            tied_embeddings: self.head.tied,
            dtype: self.types.activations,
            activation: f.activation,
            gated: f.gated,
            bias: f.bias,
            norm,
            positions: Positions::None,
            rotary_dim: a.head_dim,
            parallel_block,
            source: self.source.clone(),
        };
        match self.embed {
            Embed { position_rows: 1.., .. } => {
                gpt.positions = Positions::Learned;
                gpt.position_rows = self.embed.position_rows;
            }
            _ if a.rotary_dim > 0 => {
                gpt.positions = Positions::Rotary;
                gpt.rotary_dim = a.rotary_dim;
            }
            _ => {}
        }
        // What these sizes do not say is not there if they make the same model.
        let same = Self::from(&gpt);
        let of =
            |m: &Self| (m.blocks.iter().map(|b| b.stages.clone()).collect::<Vec<_>>(), m.embed.clone(), m.head.clone());
        (of(&same) == of(self)).then_some(gpt)
    }
}

fn parts(block: &Block) -> Option<(&Mixer, &Mixer, super::Norm, bool)> {
    match block.stages.as_slice() {
        [first, second] => {
            let ([a], [f]) = (first.branches.as_slice(), second.branches.as_slice()) else { return None };
            Some((&a.mixer, &f.mixer, first.norm?, false))
        }
        [one] => {
            let [a, f] = one.branches.as_slice() else { return None };
            Some((&a.mixer, &f.mixer, a.norm?, true))
        }
        _ => None,
    }
}
