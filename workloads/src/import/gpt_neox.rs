//! GPT-NeoX and Pythia: attention and feed-forward side by side, a share of each head rotated.

use banksia_input::InputError;

use super::build::{LAYER, all, block};
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Branch, Embed, FeedForwardSpec, HeadSpec, Mixer, Model, Norm, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["gpt_neox"],
    architectures: &["GPTNeoXForCausalLM"],
    read,
    graph: "parallel attention and feed-forward with a norm each, partial rotary, biases",
    refuses: "",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    let width = reader.sized("width", &["hidden_size"], 6144)?;
    let layers = reader.layers(&["num_hidden_layers"], 44)?;
    let heads = reader.sized("heads", &["num_attention_heads"], 64)?;
    let vocab = reader.sized("vocab", &["vocab_size"], 50432)?;
    let head_dim = reader.head_dim(width, heads)?;
    let bias = reader.flag("attention_bias", true)?;
    let attention = AttentionSpec {
        rotary_dim: reader.rotary_dim(head_dim, 0.25)?,
        qkv_bias: bias,
        out_bias: bias,
        ..AttentionSpec::new(heads, heads, head_dim)
    };
    let ffn = FeedForwardSpec {
        inner: reader.sized("inner", &["intermediate_size"], 24576)?,
        activation: reader.activation("hidden_act", ActivationKind::Gelu)?,
        gated: false,
        bias: true,
    };
    let (attention, ffn) = (Mixer::Attention(attention), Mixer::FeedForward(ffn));
    let stages = if reader.flag("use_parallel_residual", true)? {
        let own = |mixer| Branch { norm: Some(Norm::LayerNorm), ..Branch::plain(mixer) };
        vec![Stage {
            norm: None,
            branches: vec![own(attention), own(ffn)],
            sum_norm: None,
            post_norm: None,
            no_residual: false,
        }]
    } else {
        vec![Stage::pre(Norm::LayerNorm, attention), Stage::pre(Norm::LayerNorm, ffn)]
    };
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", false)?, ..HeadSpec::of(Norm::LayerNorm, vocab) };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, stages)],
        ..reader.model(width, reader.positions("max_position_embeddings")?, Embed::of(vocab), head)?
    })
}
