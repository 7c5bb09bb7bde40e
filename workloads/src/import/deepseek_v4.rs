//! DeepSeek-V4, which is not expressible yet: its residual is several streams, its attention reads compressed tokens.

use banksia_input::InputError;

use super::family::Family;
use super::reader::Reader;
use crate::model::Model;

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["deepseek_v4", "deepseek_ref"],
    architectures: &["DeepseekV4ForCausalLM"],
    read,
    graph: "none",
    refuses: "always: `hc_mult` (residual streams), `compress_ratios` (compressed keys), `o_groups` (a grouped output projection)",
};

const PARTS: [(&str, &str); 4] = [
    ("hc_mult", "splits the residual into streams that each layer mixes"),
    ("compress_ratios", "compresses keys and values along the context"),
    ("compress_rates", "compresses keys and values along the context"),
    ("o_groups", "projects the attention's result by groups of heads"),
];

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    for (key, what) in PARTS {
        reader.refuse_unless(key, reader.get(key).is_none(), what)?;
    }
    // The library's defaults have them too.
    Err(reader.error("model_type", "names a model with streams of residuals: the operator graph cannot express it"))
}
