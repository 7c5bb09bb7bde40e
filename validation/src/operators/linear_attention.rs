//! Chunked linear attention, retention, delta and gated delta rule, as fla launches them.

use banksia_hw::gpu::GpuSpec;
use banksia_mappers::gpu::linear::{Gradients, LinearCall, Names, Rule, Source, chunk, chunk_gradient};
use serde_json::Value as Json;

use super::call::{Call, argument};

const MOST: u64 = 1 << 20;

pub(super) fn call(args: &Json, spec: &GpuSpec) -> Result<Call, String> {
    let kind = args.get("kind").and_then(Json::as_str).unwrap_or_default();
    let rule = match kind {
        "gla" => Rule::Gla,
        "retention" => Rule::Retention,
        "simple_gla" => Rule::SimpleGla,
        "delta" => Rule::Delta,
        "gated_delta" => Rule::GatedDelta,
        "kda" => Rule::Kda,
        _ => return Err(format!("kind {kind} of linear attention is not modelled")),
    };
    let number = |key: &str| argument(args, key, MOST).map(|n| n as u32);
    let sizes = [number("b")?, number("l")?, number("h")?, number("dk")?, number("dv")?];
    let [batch, tokens, heads, key_dim, value_dim] = sizes;
    let call = LinearCall { carries_state: false, ..LinearCall::new(rule, batch, tokens, heads, key_dim, value_dim) };
    // One set of operands: a call finds in L2 what the one before has left (`ops2.py`).
    let names = Names::of("linear");
    let mut items = chunk(Source::Fla, &call, spec, &names)?;
    if args.get("bwd").and_then(Json::as_u64) == Some(1) {
        items.extend(chunk_gradient(&call, spec, &names, &Gradients::of("linear"))?);
    }
    Ok(Call { items, copies: 1 })
}
