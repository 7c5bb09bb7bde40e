//! NVIDIA's Nemotron: Minitron's decoders, and those whose layers a search has thinned out (nemotron-nas).

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::llama::LLAMA_SIZES;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes, pre};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, FeedForwardSpec, HeadSpec, Mixer, Model, Norm, Stage};

/// Nemotron-4, Minitron.
pub(super) const NEMOTRON: Family = Family {
    model_types: &["nemotron"],
    architectures: &["NemotronForCausalLM"],
    read: plain,
    graph: "layer norms, partial rotary, an ungated ReLU2 feed-forward layer",
    refuses: "",
};
/// Llama-Nemotron and DeciLM.
pub(super) const NAS: Family = Family {
    model_types: &["nemotron-nas", "deci"],
    architectures: &["DeciLMForCausalLM"],
    read: searched,
    graph: "LLaMA's with key heads, feed-forward widths and left-out stages a layer (`block_configs`)",
    refuses: "`replace_with_linear`, `sparsify`, `num_sink_tokens`",
};

const SIZES: Defaults = Defaults {
    width: 6144,
    layers: 32,
    heads: 48,
    kv_heads: 0,
    head_dim: 0,
    inner: 24576,
    vocab: 256_000,
    positions: 4096,
};

fn plain(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &SIZES)?;
    let bias = reader.flag("attention_bias", false)?;
    let attention = AttentionSpec {
        qkv_bias: bias,
        out_bias: bias,
        rotary_dim: reader.rotary_dim(sizes.head_dim, 0.5)?,
        ..sizes.attention()
    };
    let activation = reader.activation("hidden_act", ActivationKind::Relu2)?;
    let ffn = sizes.plain(activation, reader.flag("mlp_bias", false)?);
    sizes.uniform(reader, Norm::LayerNorm, false, pre(Norm::LayerNorm, attention, ffn))
}

fn searched(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let width = reader.size("width", &["hidden_size"])?;
    let heads = reader.size("heads", &["num_attention_heads"])?;
    let layers = reader.layers(&["num_hidden_layers"], LLAMA_SIZES.layers)?;
    let head_dim = match reader.maybe_size("head_dim", &["head_dim"])? {
        Some(given) => given,
        None => reader.head_dim(width, heads)?,
    };
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let positions = reader.positions("max_position_embeddings")?;
    let activation = reader.activation("hidden_act", ActivationKind::Silu)?;
    let bias = reader.flag("attention_bias", false)?;
    let ffn_bias = reader.flag("mlp_bias", false)?;
    // Their sizes are those of the layers.
    reader.only("intermediate_size", &[], "gives one width beside those of the layers")?;
    reader.only("num_key_value_heads", &[], "gives one number of key heads beside those of the layers")?;
    let count = reader.list("block_configs")?.ok_or_else(|| reader.missing("block_configs"))?.len();
    reader.one_a_layer("block_configs", count, layers)?;
    let mut made = Vec::with_capacity(count);
    for layer in 0..count {
        let entry = reader.element("block_configs", layer)?;
        let mut stages = Vec::new();
        if let Some(a) = entry.table("attention")? {
            for key in ["replace_with_linear", "sparsify", "num_sink_tokens", "unshifted_sink"] {
                let off = a.get(key).is_none_or(|v| v.is_null() || *v == false);
                a.refuse_unless(key, off, "makes another operator of a layer's attention")?;
            }
            let window = a.count("window_length")?.unwrap_or(0);
            a.get("use_prefill_window_in_sink_attention");
            if !a.flag("no_op", false)? {
                let group = a.size("kv_heads", &["n_heads_in_group"])?;
                if !heads.is_multiple_of(group) {
                    let problem = format!("is {group}, which does not divide the {heads} heads");
                    return Err(a.error("n_heads_in_group", problem));
                }
                let attention = AttentionSpec {
                    rotary_dim: head_dim - head_dim % 2,
                    qkv_bias: bias,
                    out_bias: bias,
                    window: if window >= positions { 0 } else { window },
                    ..AttentionSpec::new(heads, heads / group, head_dim)
                };
                stages.push(Stage::pre(Norm::RmsNorm, Mixer::Attention(attention)));
            }
            super::keys::check(&a, NAS.name(), false)?;
        }
        if let Some(f) = entry.table("ffn")? {
            for key in ["replace_with_linear", "sparsify"] {
                let off = f.get(key).is_none_or(|v| v.is_null() || *v == false);
                f.refuse_unless(key, off, "makes another operator of a layer's feed-forward layer")?;
            }
            if !f.flag("no_op", false)? {
                let inner = inner_width(&f, width)?;
                let ffn = FeedForwardSpec { inner, activation, gated: true, bias: ffn_bias };
                stages.push(Stage::pre(Norm::RmsNorm, Mixer::FeedForward(ffn)));
            }
            f.get("ffn_mult");
            super::keys::check(&f, NAS.name(), false)?;
        }
        super::keys::check(&entry, NAS.name(), false)?;
        // A layer of which nothing is left is none.
        if !stages.is_empty() {
            made.push(("layer", stages));
        }
    }
    let (blocks, pattern) = stack(made);
    let tied = reader.flag("tie_word_embeddings", false)?;
    let head = HeadSpec { tied, ..HeadSpec::of(Norm::RmsNorm, vocab) };
    Ok(Model { pattern, blocks, ..reader.model(width, positions, Embed::of(vocab), head)? })
}

/// `ffn_mult` is of a feed-forward layer of two products; a gated one of as many parameters has two thirds of it, rounded up to 256.
fn inner_width(ffn: &Reader<'_>, width: u64) -> Result<u64, InputError> {
    if let Some(inner) = ffn.maybe_size("inner", &["intermediate_size"])? {
        return Ok(inner);
    }
    let Some(multiple) = ffn.number("ffn_mult")? else { return Err(ffn.missing("ffn_mult")) };
    if !(multiple > 0.0 && multiple <= 1024.0) {
        return Err(ffn.error("ffn_mult", format!("is {multiple}: must be above 0 and at most 1024")));
    }
    // Truncated as the published code does.
    let inner = (2.0 * multiple * width as f64 / 3.0) as u64;
    Ok(inner.next_multiple_of(256))
}
