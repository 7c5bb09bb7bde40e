//! MPT: slopes of distance, no biases, not even of norms.

use banksia_input::InputError;
use serde_json::json;

use super::build::{LAYER, all, block};
use super::classic;
use super::family::Family;
use super::keys;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, HeadSpec, Model, Norm};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["mpt"],
    architectures: &["MptForCausalLM", "MPTForCausalLM"],
    read,
    graph: "ALiBi or learned positions, no biases, norms without shift, tied head, multi- and grouped-query attention",
    refuses: "`no_bias` = false, `attn_config.qk_ln`, `attn_config.prefix_lm`",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.only("no_bias", &[json!(true)], "adds biases that the library's MPT does not have")?;
    reader.only("norm_type", &[json!("low_precision_layernorm"), json!("layernorm")], "has another norm")?;
    reader.only("embedding_fraction", &[json!(1.0), json!(1)], "changes gradients")?;
    for key in
        ["init_config", "init_device", "verbose", "logit_scale", "fc_type", "tokenizer_name", "use_pad_tok_in_ffn"]
    {
        // Of training.
        reader.get(key);
    }
    let width = reader.size("width", &["d_model", "hidden_size"])?;
    let layers = reader.layers(&["n_layers", "num_hidden_layers"], 24)?;
    let heads = reader.size("heads", &["n_heads", "num_attention_heads"])?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let positions = reader.positions("max_seq_len")?;
    let ratio = reader.size_or("inner", &["expansion_ratio"], 4)?;
    let mut attention =
        AttentionSpec { alibi: true, ..classic::attention(heads, reader.head_dim(width, heads)?, false) };
    if let Some(a) = reader.table("attn_config")? {
        a.only("qk_ln", &[json!(false)], "normalises queries and keys")?;
        a.only("prefix_lm", &[json!(false)], "lets tokens of a prefix see each other")?;
        a.only("attn_uses_sequence_id", &[json!(false)], "keeps sequences of a batch apart")?;
        a.only("rope", &[json!(false)], "rotates heads")?;
        for key in [
            "attn_impl",
            "alibi_bias_max",
            "attn_pdrop",
            "clip_qkv",
            "softmax_scale",
            "model_type",
            "_name_or_path",
            "attn_dropout",
            "fused_qkv",
        ] {
            a.get(key);
        }
        attention.kv_heads = match a.text("attn_type")? {
            None | Some("multihead_attention") => heads,
            Some("multiquery_attention") => 1,
            Some("grouped_query_attention") => a.size("kv_heads", &["kv_n_heads"])?,
            Some(other) => return Err(a.error("attn_type", format!("is `{other}`, which is not known"))),
        };
        a.get("kv_n_heads");
        let window = a.integer("sliding_window_size")?.unwrap_or(-1);
        a.refuse_unless("sliding_window_size", window < 0, "limits attention to a window")?;
        attention.alibi = a.flag("alibi", true)?;
        keys::check(&a, FAMILY.name(), false)?;
    }
    let learned = reader.flag("learned_pos_emb", true)? && !attention.alibi;
    let embed = Embed { position_rows: if learned { positions } else { 0 }, ..Embed::of(vocab) };
    let norm = Norm::LayerNormNoShift;
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", true)?, ..HeadSpec::of(norm, vocab) };
    let ffn = classic::ffn(width * ratio.min(1024), ActivationKind::Gelu, false);
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, classic::pre(norm, attention, ffn))],
        ..reader.model(width, positions, embed, head)?
    })
}
