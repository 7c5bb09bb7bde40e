//! GPT-Neo: GPT-2's graph with a window in every second layer, and no biases on queries, keys and values.

use banksia_input::InputError;
use serde_json::Value;

use super::build::stack;
use super::classic;
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, HeadSpec, Model, Norm};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["gpt_neo"],
    architectures: &["GPTNeoForCausalLM"],
    read,
    graph: "learned positions, tied head, layers with a window by `attention_types`",
    refuses: "",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    let width = reader.size("width", &["hidden_size"])?;
    let layers = reader.layers(&["num_layers", "num_hidden_layers"], 24)?;
    let heads = reader.size("heads", &["num_heads", "num_attention_heads"])?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let positions = reader.positions("max_position_embeddings")?;
    let head_dim = reader.head_dim(width, heads)?;
    let inner = reader.size_or("inner", &["intermediate_size"], 4 * width)?;
    let ffn = classic::ffn(inner, reader.activation("activation_function", ActivationKind::Gelu)?, true);
    let window = reader.size_or("window", &["window_size"], 256)?;
    let kinds = kinds(reader, layers)?;
    let (blocks, pattern) = stack(kinds.into_iter().map(|local| {
        let attention = AttentionSpec {
            out_bias: true,
            window: if local && window < positions { window } else { 0 },
            ..classic::attention(heads, head_dim, false)
        };
        (if local { "local" } else { "global" }, classic::pre(Norm::LayerNorm, attention, ffn.clone()))
    }));
    let embed = Embed { position_rows: positions, ..Embed::of(vocab) };
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", true)?, ..HeadSpec::of(Norm::LayerNorm, vocab) };
    Ok(Model { pattern, blocks, ..reader.model(width, positions, embed, head)? })
}

/// Whether each layer has a window: `attention_layers` lists them, `attention_types` has lists and how often each is repeated.
fn kinds(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let local = |key: &str, name: Option<&str>| match name {
        Some("local") => Ok(true),
        Some("global") => Ok(false),
        _ => Err(reader.error(key, "has another kind than global and local")),
    };
    let mut kinds = Vec::new();
    let groups = reader.list("attention_types")?;
    for group in groups.into_iter().flatten() {
        let key = "attention_types";
        let (Some(Value::Array(names)), Some(times)) = (group.get(0), group.get(1).and_then(Value::as_u64)) else {
            return Err(reader.error(key, "must be a list of pairs: kinds of layers, and how often they are repeated"));
        };
        if times > u64::from(layers) {
            return Err(reader.error(key, format!("repeats kinds {times} times, but there are {layers} layers")));
        }
        for _ in 0..times {
            for name in names {
                kinds.push(local(key, name.as_str())?);
            }
        }
    }
    if let Some(names) = reader.texts("attention_layers")? {
        let listed =
            names.into_iter().map(|name| local("attention_layers", Some(name))).collect::<Result<Vec<_>, _>>()?;
        if groups.is_none() {
            kinds = listed;
        } else if kinds != listed {
            return Err(reader.error("attention_layers", "lists other layers than `attention_types`"));
        }
    } else if groups.is_none() {
        kinds = (0..layers).map(|layer| layer % 2 == 1).collect();
    }
    let key = if groups.is_some() { "attention_types" } else { "attention_layers" };
    reader.one_a_layer(key, kinds.len(), layers)?;
    Ok(kinds)
}
