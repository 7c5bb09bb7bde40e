//! RecurrentGemma: gated diagonal recurrences, every third layer attention over a window.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::mamba2_sizes::UNBOUNDED;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, DiagonalSpec, Embed, FeedForwardSpec, HeadSpec, Mixer, Model, Norm, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["recurrent_gemma"],
    architectures: &["RecurrentGemmaForCausalLM"],
    read,
    graph: "gated diagonal recurrences and windows by `block_types`, half of each head rotated, capped logits",
    refuses: "",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    // Initial values, and whether the embedding is scaled, which it always is.
    for key in ["w_init_variance_scale", "final_w_init_variance_scale", "embeddings_scale_by_sqrt_dim", "_block_types"]
    {
        reader.get(key);
    }
    let width = reader.sized("width", &["hidden_size"], 2560)?;
    let layers = reader.layers(&["num_hidden_layers"], 26)?;
    let vocab = reader.sized("vocab", &["vocab_size"], 256_000)?;
    let heads = reader.sized("heads", &["num_attention_heads"], 10)?;
    let head_dim = reader.size_or("head_dim", &["head_dim"], reader.head_dim(width, heads)?)?;
    let inner = reader.size_or("inner", &["intermediate_size"], 7680)? / 2;
    let attention = Mixer::Attention(AttentionSpec {
        rotary_dim: reader.rotary_dim(head_dim, 0.5)?,
        window: reader.size_or("window", &["attention_window_size", "sliding_window"], 2048)?,
        qkv_bias: reader.flag("attention_bias", false)?,
        out_bias: true,
        ..AttentionSpec::new(heads, reader.size_or("kv_heads", &["num_key_value_heads"], heads)?, head_dim)
    });
    let recurrent = Mixer::Diagonal(DiagonalSpec {
        inner: reader.size_or("recurrence", &["lru_width"], width)?,
        blocks: heads,
        conv_kernel: reader.size_or("conv_kernel", &["conv1d_width"], 4)?,
        bias: true,
    });
    let ffn = Mixer::FeedForward(FeedForwardSpec {
        inner,
        activation: reader.activation("hidden_activation", ActivationKind::Gelu)?,
        gated: true,
        bias: true,
    });
    let norm = Norm::RmsNorm;
    let (blocks, pattern) = stack(attends(reader, layers)?.into_iter().map(|attends| {
        let (kind, first) = if attends { ("attention", &attention) } else { ("recurrent", &recurrent) };
        (kind, vec![Stage::pre(norm, first.clone()), Stage::pre(norm, ffn.clone())])
    }));
    let head = HeadSpec {
        tied: reader.flag("tie_word_embeddings", true)?,
        soft_cap: reader.number("logits_soft_cap")?.is_none_or(|cap| cap > 0.0),
        ..HeadSpec::of(norm, vocab)
    };
    // Windows and states need no positions of their own.
    let positions = reader.positions_or("max_position_embeddings", UNBOUNDED)?;
    Ok(Model { pattern, blocks, ..reader.model(width, positions, Embed::of(vocab), head)? })
}

/// Whether each layer attends: a cycle of kinds, repeated.
fn attends(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let key = "block_types";
    let cycle = reader.texts(key)?.unwrap_or_else(|| vec!["recurrent", "recurrent", "attention"]);
    let cycle: Vec<bool> = cycle
        .into_iter()
        .map(|kind| match kind {
            "recurrent" => Ok(false),
            "attention" => Ok(true),
            other => {
                let error = reader.error(key, format!("has `{other}`, which is not known"));
                Err(error.help("known: recurrent, attention"))
            }
        })
        .collect::<Result<_, _>>()?;
    reader.refuse_unless(key, !cycle.is_empty(), "names no kind of layer")?;
    Ok(cycle.into_iter().cycle().take(usize::try_from(layers).unwrap_or(usize::MAX)).collect())
}
