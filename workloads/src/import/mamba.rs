//! Mamba, and Falcon-Mamba, which normalises inside of it: layers of a recurrence alone.

use banksia_input::InputError;

use super::build::{LAYER, all, block};
use super::family::Family;
use super::mamba2_sizes::UNBOUNDED;
use super::moe::mark;
use super::reader::Reader;
use crate::model::{Embed, HeadSpec, Mamba1Spec, Mixer, Model, Norm, Stage};

/// Mamba.
pub(super) const MAMBA: Family = Family {
    model_types: &["mamba"],
    architectures: &["MambaForCausalLM"],
    read: |reader| read(reader, false),
    graph: "a selective state space a layer, no positions",
    refuses: "activations other than SiLU",
};

/// Falcon-Mamba.
pub(super) const FALCON_MAMBA: Family = Family {
    model_types: &["falcon_mamba"],
    architectures: &["FalconMambaForCausalLM"],
    read: |reader| read(reader, true),
    graph: "Mamba's, with norms inside",
    refuses: "activations other than SiLU",
};

/// Initial values, what training and libraries do, and constants of norms.
pub(super) const HARMLESS: [&str; 20] = [
    "time_step_floor",
    "time_step_init_scheme",
    "time_step_limit",
    "time_step_max",
    "time_step_min",
    "time_step_scale",
    "rescale_prenorm_residual",
    "residual_in_fp32",
    "use_mambapy",
    "use_falcon_mambapy",
    "use_associative_scan",
    "use_mamba_kernels",
    "mixer_rms_eps",
    "fused_add_norm",
    "pad_vocab_size_multiple",
    "hidden_mamba_act",
    "num_logits_to_keep",
    "mamba_hidden_act",
    "ssm_cfg",
    "rms_norm",
];

/// Only SiLU is in the kernels of state spaces.
pub(super) fn silu(reader: &Reader<'_>, key: &str) -> Result<(), InputError> {
    let known = reader.text(key)?.is_none_or(|name| matches!(name, "silu" | "swish"));
    reader.refuse_unless(key, known, "is another activation than SiLU inside a state space")
}

fn read(reader: &Reader<'_>, inner_norms: bool) -> Result<Model, InputError> {
    let plain = reader
        .get("ssm_cfg")
        .is_none_or(|value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty));
    reader.refuse_unless("ssm_cfg", plain, "describes another state space")?;
    let rms = reader.flag("rms_norm", true)?;
    reader.refuse_unless("rms_norm", rms, "makes norms of mean and variance")?;
    mark(reader, &HARMLESS);
    silu(reader, "hidden_act")?;
    let width = reader.sized("width", &["hidden_size", "d_model"], 768)?;
    let layers = reader.layers(&["num_hidden_layers", "n_layer"], 32)?;
    let vocab = reader.sized("vocab", &["vocab_size"], 50280)?;
    let inner = inner(reader, width)?;
    let mamba = Mamba1Spec {
        inner,
        state: reader.size_or("state", &["state_size"], 16)?,
        conv_kernel: reader.size_or("conv_kernel", &["conv_kernel"], 4)?,
        dt_rank: reader.size_or_auto("dt_rank", "time_step_rank", width.div_ceil(16))?,
        bias: reader.flag("use_bias", false)?,
        conv_bias: reader.flag("use_conv_bias", true)?,
        inner_norms,
        heads: 0,
    };
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", true)?, ..HeadSpec::of(Norm::RmsNorm, vocab) };
    let stages = vec![Stage::pre(Norm::RmsNorm, Mixer::Mamba(mamba))];
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, stages)],
        ..reader.model(width, UNBOUNDED, Embed::of(vocab), head)?
    })
}

/// The inner width: a multiple of the hidden one. Files of Falcon-Mamba say a multiple and another width, which holds.
fn inner(reader: &Reader<'_>, width: u64) -> Result<u64, InputError> {
    let expand = reader.number("expand")?.unwrap_or(2.0);
    let given = reader.maybe_size("inner", &["intermediate_size", "d_inner"])?;
    let product = width as f64 * expand;
    if !(1.0..=f64::from(1u32 << 31)).contains(&product) {
        return Err(reader.error("expand", format!("is {expand}: it makes no inner width")));
    }
    Ok(given.unwrap_or(product as u64))
}
