//! State-space models: chunked scans, state updates, causal convolutions.

use banksia_hw::gpu::GpuSpec;
use banksia_mappers::gpu::ssm::{
    ConvCall, ConvKernel, ConvNames, Ssd, SsdGradients, SsdNames, StateUpdate, StateUpdateNames, causal_conv, ssd,
    ssd_gradient, state_update,
};
use serde_json::Value as Json;

use super::call::{Call, argument, sets};
use crate::rows;

pub(super) fn call(op: &str, args: &Json, spec: &GpuSpec) -> Result<Call, String> {
    let side = |key: &str| argument(args, key, 1 << 24).map(|n| n as u32);
    match op {
        "ssd" => {
            let heads = side("h")?;
            let s = Ssd {
                batch: side("b")?,
                tokens: side("l")?,
                heads,
                head_dim: side("p")?,
                state: side("n")?,
                groups: side("g")?,
                chunk: side("chunk")?,
                element_bytes: 2,
                packed: false,
                step_pitch: heads,
                softplus: false,
                skip: true,
                gate: false,
                initial: false,
            };
            room(&[s.batch, s.tokens, s.heads, s.head_dim], 16.0, spec)?;
            let mut items = ssd(&s, spec, &SsdNames::default())?;
            if args.get("bwd").and_then(Json::as_u64) == Some(1) {
                items.extend(ssd_gradient(&s, spec, &SsdNames::default(), &SsdGradients::default())?);
            }
            Ok(Call { items, copies: 1 })
        }
        "ssm_state_update" => {
            let u = StateUpdate {
                batch: side("b")?,
                heads: side("h")?,
                head_dim: side("p")?,
                state: side("n")?,
                groups: side("g")?,
                state_bytes: match args.get("state").and_then(Json::as_str) {
                    Some("fp32") | None => 4,
                    Some("bf16" | "fp16") => 2,
                    Some(other) => return Err(format!("a state of {other} is not modelled")),
                },
                element_bytes: 2,
                tied: true,
                gate: false,
            };
            room(&[u.batch, u.heads, u.head_dim, u.state], 8.0, spec)?;
            // All operands rotate, as the calls of the measuring program have each their own.
            let names = StateUpdateNames::default();
            let names = StateUpdateNames { input: own(names.input), projections: own(names.projections), ..names };
            let copies =
                sets(2 * [u.batch, u.heads, u.head_dim, u.state].map(u64::from).iter().product::<u64>() * 4, 8);
            Ok(Call { items: state_update(&u, spec, &names)?, copies })
        }
        "causal_conv1d" => {
            let c = ConvCall {
                batch: side("b")?,
                tokens: side("l")?,
                channels: side("c")?,
                taps: side("k")?,
                silu: args.get("act").and_then(Json::as_str) == Some("silu"),
                keep_state: false,
                kernel: ConvKernel::Triton,
            };
            room(&[c.batch, c.tokens, c.channels], 4.0, spec)?;
            Ok(Call { items: causal_conv(&c, spec, &ConvNames::default())?, copies: 1 })
        }
        _ => Err("operator not modelled".into()),
    }
}

fn own(mut operand: banksia_mappers::gpu::launch::Operand) -> banksia_mappers::gpu::launch::Operand {
    operand.own = true;
    operand
}

fn room(sides: &[u32], bytes: f64, spec: &GpuSpec) -> Result<(), String> {
    rows::fits(sides.iter().map(|s| f64::from(*s)).product::<f64>() * bytes, spec)
}
