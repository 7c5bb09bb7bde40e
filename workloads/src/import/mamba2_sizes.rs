//! Sizes of Mamba-2 mixers as hybrids spell them.

use banksia_input::InputError;
use serde_json::Value;

use super::reader::Reader;
use crate::model::Mamba2Spec;

/// The longest context of models without positions, which have none: what memory of activations allows is less.
pub(super) const UNBOUNDED: u64 = 1 << 20;

impl Reader<'_> {
    /// A size that may be `auto`.
    pub(super) fn size_or_auto(&self, ours: &'static str, key: &str, auto: u64) -> Result<u64, InputError> {
        match self.get(key) {
            Some(Value::String(text)) if text == "auto" => {
                self.rename(ours, key);
                Ok(auto)
            }
            _ => self.size_or(ours, &[key], auto),
        }
    }
}

/// Mamba-2 under the names of Bamba, Falcon-H1 and Granite 4: `mamba_n_heads` and so on. The inner width is `mamba_expand` times
/// the hidden one, or what another key says.
pub(super) fn prefixed(reader: &Reader<'_>, width: u64, inner: Option<u64>) -> Result<Mamba2Spec, InputError> {
    for key in ["time_step_limit", "time_step_min", "time_step_max", "time_step_floor"] {
        reader.get(key);
    }
    let expand = reader.size_or("expand", &["mamba_expand"], 2)?;
    let inner = inner.unwrap_or(width.saturating_mul(expand));
    let heads = reader.size_or("heads", &["mamba_n_heads"], 128)?;
    let head_dim = reader.size_or_auto("head_dim", "mamba_d_head", inner / heads)?;
    let fits = heads.checked_mul(head_dim) == Some(inner);
    if !fits {
        let problem = format!("is {heads}: heads of {head_dim} do not make the inner width of {inner}");
        return Err(reader.error("mamba_n_heads", problem));
    }
    Ok(Mamba2Spec {
        heads,
        head_dim,
        state: reader.size_or("state", &["mamba_d_state"], 256)?,
        groups: reader.size_or("groups", &["mamba_n_groups"], 1)?,
        conv_kernel: reader.size_or("conv_kernel", &["mamba_d_conv"], 4)?,
        chunk: reader.size_or("chunk", &["mamba_chunk_size"], 256)?,
        bias: reader.flag("mamba_proj_bias", false)?,
        conv_bias: reader.flag("mamba_conv_bias", true)?,
        gated_norm: true,
    })
}
