//! Mamba-2: layers of state-space duality alone.

use banksia_input::InputError;

use super::build::{LAYER, all, block};
use super::family::Family;
use super::mamba::{HARMLESS, silu};
use super::mamba2_sizes::UNBOUNDED;
use super::moe::mark;
use super::reader::Reader;
use crate::model::{Embed, HeadSpec, Mamba2Spec, Mixer, Model, Norm, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["mamba2"],
    architectures: &["Mamba2ForCausalLM"],
    read,
    graph: "state-space duality a layer, no positions",
    refuses: "activations other than SiLU, heads that do not make the inner width",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    let gated_norm = reader.flag("rms_norm", true)?;
    mark(reader, &HARMLESS);
    // Mamba's; nothing is projected through it here.
    reader.get("time_step_rank");
    silu(reader, "hidden_act")?;
    let width = reader.sized("width", &["hidden_size"], 4096)?;
    let layers = reader.layers(&["num_hidden_layers"], 64)?;
    let vocab = reader.sized("vocab", &["vocab_size"], 32768)?;
    let heads = reader.size_or("heads", &["num_heads"], 128)?;
    let head_dim = reader.size_or("head_dim", &["head_dim"], 64)?;
    let expand = reader.size_or("expand", &["expand"], 2)?;
    if heads.checked_mul(head_dim) != width.checked_mul(expand) {
        let problem = format!("is {heads}: heads of {head_dim} do not make {expand} times the width of {width}");
        return Err(reader.error("num_heads", problem));
    }
    let mamba = Mamba2Spec {
        heads,
        head_dim,
        state: reader.size_or("state", &["state_size"], 128)?,
        groups: reader.size_or("groups", &["n_groups"], 8)?,
        conv_kernel: reader.size_or("conv_kernel", &["conv_kernel"], 4)?,
        chunk: reader.size_or("chunk", &["chunk_size"], 256)?,
        bias: reader.flag("use_bias", false)?,
        conv_bias: reader.flag("use_conv_bias", true)?,
        gated_norm,
    };
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", false)?, ..HeadSpec::of(Norm::RmsNorm, vocab) };
    let stages = vec![Stage::pre(Norm::RmsNorm, Mixer::Mamba2(mamba))];
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, stages)],
        ..reader.model(width, UNBOUNDED, Embed::of(vocab), head)?
    })
}
