//! Zamba and Zamba 2: Mamba layers, and between them a transformer layer whose weights all of its places share, on the hidden state
//! beside the embedding.
//!
//! A place of it is two layers here: the shared one, and the Mamba layer that reads its result through a projection of its own. The
//! projection, and the thin pairs of matrices that a place adds to the shared weights, are counted as parameters of the Mamba layer.

use banksia_input::InputError;

use super::build::{block, runs};
use super::family::Family;
use super::mamba::HARMLESS;
use super::moe::mark;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Block, Branch, FeedForwardSpec, Mamba1Spec, Mamba2Spec, Mixer, Model, Norm, Stage};

/// Zamba.
pub(super) const ZAMBA: Family = Family {
    model_types: &["zamba"],
    architectures: &["ZambaForCausalLM"],
    read: zamba,
    graph: "Mamba with heads; a transformer layer with shared weights on the hidden state beside the embedding, counted as a layer of its own",
    refuses: "",
};

/// Zamba 2.
pub(super) const ZAMBA2: Family = Family {
    model_types: &["zamba2"],
    architectures: &["Zamba2ForCausalLM"],
    read: zamba2,
    graph: "Mamba-2; one or more transformer layers with shared weights take turns, with thin pairs of each place",
    refuses: "heads that do not make the inner width",
};

const ZAMBA_SIZES: Defaults = Defaults {
    width: 3712,
    layers: 76,
    heads: 16,
    kv_heads: 16,
    head_dim: 0,
    inner: 14848,
    vocab: 32000,
    positions: 4096,
};
const ZAMBA2_SIZES: Defaults = Defaults {
    width: 2560,
    layers: 54,
    heads: 32,
    kv_heads: 0,
    head_dim: 0,
    inner: 10240,
    vocab: 32000,
    positions: 4096,
};

const NORM: Norm = Norm::RmsNorm;

/// The layer that places share.
fn shared(name: &str, attention: AttentionSpec, ffn: FeedForwardSpec) -> Block {
    let stages = vec![Stage::pre(NORM, Mixer::Attention(attention)), Stage::pre(NORM, Mixer::FeedForward(ffn))];
    Block { shared: true, ..block(name, stages) }
}

/// Attention over twice the width, whose heads are twice as wide.
fn attention(reader: &Reader<'_>, sizes: &Sizes) -> Result<AttentionSpec, InputError> {
    let double = sizes.width.saturating_mul(2);
    let input = reader.size_or("input_width", &["attention_hidden_size"], double)?;
    let head_dim = reader.size_or("head_dim", &["attention_head_dim"], double / sizes.heads.max(1))?;
    Ok(AttentionSpec { input_width: input, ..AttentionSpec::new(sizes.heads, sizes.kv_heads, head_dim) })
}

/// Whether each layer is a place of the shared one.
fn places(reader: &Reader<'_>, layers: u32, rule: impl Fn(u64) -> bool) -> Result<Vec<bool>, InputError> {
    for key in ["layers_block_type", "layer_types"] {
        let Some(kinds) = reader.texts(key)? else { continue };
        reader.one_a_layer(key, kinds.len(), layers)?;
        let of = |kind: &str| match kind {
            "mamba" | "linear_attention" => Ok(false),
            "hybrid" => Ok(true),
            other => {
                let error = reader.error(key, format!("has `{other}`, which is not known"));
                Err(error.help("known: mamba, linear_attention, hybrid"))
            }
        };
        return kinds.into_iter().map(of).collect();
    }
    Ok((0..u64::from(layers)).map(rule).collect())
}

/// Mamba layers, with shared ones before those that are places; `own` are parameters of a place.
fn fill(model: Model, places: &[bool], shared: Vec<Block>, mamba: Mixer, own: u64) -> Model {
    let alone = block("mamba", vec![Stage::pre(NORM, mamba.clone())]);
    let mut after = block("mamba_after_shared", vec![Stage::pre(NORM, mamba)]);
    for branch in after.stages.iter_mut().flat_map(|stage| &mut stage.branches) {
        *branch = Branch { other_parameters: own, ..branch.clone() };
    }
    let mut names: Vec<&str> = Vec::new();
    let mut turns = shared.iter().map(|block| block.name.as_str()).cycle();
    for place in places {
        if *place {
            names.extend(turns.next());
            names.push(&after.name);
        } else {
            names.push(&alone.name);
        }
    }
    let pattern = runs(names);
    let used = |block: &Block| pattern.iter().any(|run| run.block == block.name);
    let blocks = shared.into_iter().chain([alone, after]).filter(used).collect();
    Model { pattern, blocks, ..model }
}

fn zamba(reader: &Reader<'_>) -> Result<Model, InputError> {
    mark(reader, &HARMLESS);
    let sizes = read_sizes(reader, &ZAMBA_SIZES)?;
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Gelu)?);
    let expand = reader.size_or("expand", &["mamba_expand"], 2)?;
    let mamba = Mixer::Mamba(Mamba1Spec {
        inner: sizes.width.saturating_mul(expand),
        state: reader.size_or("state", &["mamba_d_state"], 16)?,
        conv_kernel: reader.size_or("conv_kernel", &["mamba_d_conv"], 4)?,
        dt_rank: reader.size_or_auto("dt_rank", "mamba_dt_rank", sizes.width.div_ceil(16))?,
        bias: reader.flag("mamba_proj_bias", false)?,
        conv_bias: reader.flag("mamba_conv_bias", true)?,
        inner_norms: false,
        heads: reader.size_or("mamba_heads", &["n_mamba_heads"], 2)?,
    });
    let period = reader.count("attn_layer_period")?.unwrap_or(6).max(1);
    let offset = reader.count("attn_layer_offset")?.unwrap_or(4);
    let rule = |i: u64| i == 2 || i.checked_sub(3).is_some_and(|i| i % period == offset);
    let places = places(reader, sizes.layers, rule)?;
    let shared = vec![shared("shared", attention(reader, &sizes)?, ffn)];
    let own = sizes.width.saturating_mul(sizes.width);
    Ok(fill(sizes.decoder(reader, NORM, true)?, &places, shared, mamba, own))
}

fn zamba2(reader: &Reader<'_>) -> Result<Model, InputError> {
    mark(reader, &HARMLESS);
    // What follows from other keys; how a library computes.
    mark(
        reader,
        &[
            "hybrid_layer_ids",
            "kv_channels",
            "num_query_groups",
            "use_mem_eff_path",
            "use_long_context",
            "use_conv_bias",
        ],
    );
    let sizes = read_sizes(reader, &ZAMBA2_SIZES)?;
    let bias = reader.flag("add_bias_linear", false)?;
    let mut ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Gelu)?);
    ffn.bias = bias;
    let places = places(reader, sizes.layers, |i| matches!(i, 47 | 51) || (i < 43 && i > 0 && i.is_multiple_of(6)))?;
    let mut attention = attention(reader, &sizes)?;
    if reader.flag("use_mem_rope", false)? {
        attention.rotary_dim = attention.head_dim - attention.head_dim % 2;
    }
    let rank = reader.size_or("adapter_rank", &["adapter_rank"], 128)?;
    let pair = |out: u64, input: u64| rank.saturating_mul(out.saturating_add(input));
    let mut own = sizes.width.saturating_mul(sizes.width);
    own = own.saturating_add(pair(sizes.inner.saturating_mul(2), sizes.width));
    if reader.flag("use_shared_attention_adapter", false)? {
        let width = attention.input_width;
        own = own.saturating_add(pair(width, width).saturating_mul(3));
    }
    let turns = reader.size_or("turns", &["num_mem_blocks"], 1)?.min(places.len() as u64);
    let shared = (0..turns)
        .map(|i| {
            shared(&if turns == 1 { "shared".to_owned() } else { format!("shared{i}") }, attention.clone(), ffn.clone())
        })
        .collect();
    let mamba = Mixer::Mamba2(mamba2(reader, sizes.width, bias)?);
    Ok(fill(sizes.decoder(reader, NORM, true)?, &places, shared, mamba, own))
}

/// The sizes; heads are not a share of the width.
fn read_sizes(reader: &Reader<'_>, defaults: &Defaults) -> Result<Sizes, InputError> {
    let width = reader.sized("width", &["hidden_size"], defaults.width)?;
    let heads = reader.sized("heads", &["num_attention_heads"], defaults.heads)?;
    let inner = match reader.maybe_size("inner", &["intermediate_size"])? {
        Some(inner) => inner,
        None => width.saturating_mul(4),
    };
    Ok(Sizes {
        width,
        layers: reader.layers(&["num_hidden_layers"], defaults.layers)?,
        heads,
        kv_heads: reader.size_or("kv_heads", &["num_key_value_heads"], heads)?,
        head_dim: 0,
        inner,
        vocab: reader.sized("vocab", &["vocab_size"], defaults.vocab)?,
        positions: reader.positions_or("max_position_embeddings", defaults.positions)?,
    })
}

fn mamba2(reader: &Reader<'_>, width: u64, bias: bool) -> Result<Mamba2Spec, InputError> {
    let inner = width.saturating_mul(reader.size_or("expand", &["mamba_expand"], 2)?);
    let heads = reader.size_or("mamba_heads", &["n_mamba_heads"], 8)?;
    let head_dim = reader.size_or("mamba_head_dim", &["mamba_headdim"], inner / heads)?;
    if heads.checked_mul(head_dim) != Some(inner) {
        let problem = format!("is {heads}: heads of {head_dim} do not make the inner width of {inner}");
        return Err(reader.error("n_mamba_heads", problem));
    }
    Ok(Mamba2Spec {
        heads,
        head_dim,
        state: reader.size_or("state", &["mamba_d_state"], 64)?,
        groups: reader.size_or("groups", &["mamba_ngroups"], 1)?,
        conv_kernel: reader.size_or("conv_kernel", &["mamba_d_conv"], 4)?,
        chunk: reader.size_or("chunk", &["chunk_size"], 256)?,
        bias,
        conv_bias: true,
        gated_norm: true,
    })
}
