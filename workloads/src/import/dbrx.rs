//! DBRX: fine-grained experts, norms without shifts; its sizes lie in tables of its parts.

use banksia_input::InputError;

use super::build::{LAYER, all, block};
use super::family::Family;
use super::reader::Reader;
use super::{keys, moe};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, HeadSpec, Mixer, Model, Norm};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["dbrx"],
    architectures: &["DbrxForCausalLM"],
    read,
    graph: "grouped queries, rotary, layer norms without shifts; every layer a mixture",
    refuses: "unknown keys of `attn_config` and `ffn_config`",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    let width = reader.size_or("width", &["d_model"], 2048)?;
    let heads = reader.size_or("heads", &["n_heads"], 16)?;
    let layers = reader.layers(&["n_layers"], 24)?;
    let vocab = reader.size_or("vocab", &["vocab_size"], 32000)?;
    let positions = reader.positions_or("max_seq_len", 2048)?;
    reader.rotates_all()?;
    // A copy of what the table says.
    reader.get("num_key_value_heads");
    let head_dim = reader.head_dim(width, heads)?;
    let mut kv_heads = 1;
    if let Some(table) = reader.table("attn_config")? {
        kv_heads = table.size_or("kv_heads", &["kv_n_heads"], 1)?;
        // The clamp works on what the projections give.
        moe::mark(&table, &["clip_qkv", "model_type", "rope_theta"]);
        keys::check(&table, "dbrx", false)?;
    }
    let mut experts = moe::gated(4, 1, 3584, ActivationKind::Silu);
    if let Some(table) = reader.table("ffn_config")? {
        moe::ignore(&table);
        moe::mark(&table, &["model_type", "hidden_size", "ffn_act_fn"]);
        experts = moe::gated(
            table.size_or("experts", &["moe_num_experts"], 4)?,
            table.size_or("top_k", &["moe_top_k"], 1)?,
            table.size_or("inner", &["ffn_hidden_size"], 3584)?,
            table.activation("ffn_act_fn.name", ActivationKind::Silu)?,
        );
        keys::check(&table, "dbrx", false)?;
    }
    let norm = Norm::LayerNormNoShift;
    let attention =
        AttentionSpec { rotary_dim: head_dim - head_dim % 2, ..AttentionSpec::new(heads, kv_heads, head_dim) };
    let tied = reader.flag("tie_word_embeddings", false)?;
    let head = HeadSpec { tied, ..HeadSpec::of(norm, vocab) };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, moe::layer(norm, attention, Mixer::Experts(experts)))],
        ..reader.model(width, positions, Embed::of(vocab), head)?
    })
}
