//! Models of what was read.

use banksia_input::InputError;

use super::reader::Reader;
use crate::model::{Block, Embed, HeadSpec, Layers, Mixer, Model, Routing, Stage, Types};

/// The name of the one block of plain models, as the models of sizes alone have it.
pub(super) const LAYER: &str = "layer";

impl Reader<'_> {
    /// A decoder without layers yet; its name and source are the caller's to fill.
    pub(super) fn model(
        &self,
        width: u64,
        max_positions: u64,
        embed: Embed,
        head: HeadSpec,
    ) -> Result<Model, InputError> {
        Ok(Model {
            name: String::new(),
            source: String::new(),
            width,
            max_positions,
            types: Types::uniform(self.dtype()?),
            embed,
            head,
            pattern: Vec::new(),
            blocks: Vec::new(),
            encoder: None,
            routing: Routing::default(),
        })
    }
}

/// A kind of layer.
pub(super) fn block(name: &str, stages: Vec<Stage>) -> Block {
    Block { name: name.into(), shared: false, stages }
}

/// As many layers of one kind.
pub(super) fn all(name: &str, layers: u32) -> Vec<Layers> {
    vec![Layers { block: name.into(), layers }]
}

/// Layers by the names of their kinds, in order, as runs of equal ones.
pub(super) fn runs<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<Layers> {
    let mut pattern: Vec<Layers> = Vec::new();
    for name in names {
        match pattern.last_mut() {
            Some(last) if last.block == name => last.layers = last.layers.saturating_add(1),
            _ => pattern.push(Layers { block: name.to_owned(), layers: 1 }),
        }
    }
    pattern
}

/// Layers by what they are made of: equal ones become one block, named after a kind and, from the second of a kind, a number.
pub(super) fn stack(layers: impl IntoIterator<Item = (&'static str, Vec<Stage>)>) -> (Vec<Block>, Vec<Layers>) {
    let mut blocks: Vec<Block> = Vec::new();
    let mut names: Vec<usize> = Vec::new();
    for (kind, stages) in layers {
        let found = blocks.iter().position(|block| block.stages == stages);
        names.push(found.unwrap_or_else(|| {
            let taken = |name: &str| blocks.iter().any(|block| block.name == name);
            let numbered = (2u32..).map(|n| format!("{kind}{n}"));
            let name = std::iter::once(kind.to_owned()).chain(numbered).find(|name| !taken(name));
            blocks.push(Block { name: name.unwrap_or_default(), shared: false, stages });
            blocks.len() - 1
        }));
    }
    let pattern = runs(names.iter().filter_map(|at| blocks.get(*at)).map(|block| block.name.as_str()));
    (blocks, pattern)
}

/// Whether any product of the layers adds a bias.
pub(super) fn biased(model: &Model) -> bool {
    model.blocks.iter().flat_map(|block| &block.stages).flat_map(|stage| &stage.branches).any(|branch| {
        match &branch.mixer {
            Mixer::Attention(a) => a.qkv_bias || a.out_bias,
            Mixer::LatentAttention(l) => l.bias,
            Mixer::FeedForward(f) => f.bias,
            Mixer::Experts(e) => e.bias,
            Mixer::Mamba(m) => m.bias,
            Mixer::Mamba2(m) => m.bias,
            Mixer::ShortConvolution(s) => s.bias,
            Mixer::Diagonal(d) => d.bias,
            Mixer::LinearAttention(_) | Mixer::Rwkv(_) => false,
        }
    })
}
