//! RWKV-4: a decaying average a channel, then channel mixing.

use banksia_input::InputError;

use super::build::{LAYER, all, block};
use super::family::Family;
use super::reader::Reader;
use crate::model::{Branch, Embed, HeadSpec, Mixer, Model, Norm, RwkvSpec, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["rwkv"],
    architectures: &["RwkvForCausalLM"],
    read,
    graph: "RWKV-4: time mixing and channel mixing, a norm of the embedding",
    refuses: "later versions (`rwkv5` and on), which other code defines",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    // Halves weights every so many layers against overflow.
    reader.get("rescale_every");
    let width = reader.sized("width", &["hidden_size"], 4096)?;
    let layers = reader.layers(&["num_hidden_layers"], 32)?;
    let vocab = reader.sized("vocab", &["vocab_size"], 50277)?;
    let positions = reader.positions_or("context_length", 1024)?;
    let inner = reader.size_or("inner", &["attention_hidden_size"], width)?;
    let channel_mix = reader.size_or("channel_mix", &["intermediate_size"], width.saturating_mul(4))?;
    let mixer = Mixer::Rwkv(RwkvSpec { version: 4, inner, head_dim: 0, low_rank: 0, channel_mix });
    let norm = Norm::LayerNorm;
    let mut stage = Stage::pre(norm, mixer.clone());
    // Channel mixing has a norm of its own.
    stage.branches = vec![Branch { other_parameters: norm.parameters(width), ..Branch::plain(mixer) }];
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", false)?, ..HeadSpec::of(norm, vocab) };
    let embed = Embed { norm: Some(norm), ..Embed::of(vocab) };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, vec![stage])],
        ..reader.model(width, positions, embed, head)?
    })
}
