//! How a framework takes the sub-kernels of Mamba-2: TensorRT-LLM's (`collect_mamba2.py`).

use banksia_hw::gpu::sampling::Detail;
use banksia_mappers::gpu::ssm::{
    ConvCall, ConvKernel, ConvNames, ConvUpdate, ConvUpdateKernel, Ssd, SsdNames, StateUpdate, StateUpdateNames,
    causal_conv, conv_update, ssd, state_update,
};

use super::super::rows::{Row, device_of, whole};
use super::{REPLAY_GAP_S, throttled_share, value, version};
use crate::gpus::Devices;
use crate::replay;
use crate::rows;
use crate::value::Value;

/// Eager rounds and replays before the clock starts, and replays after; each replay is one call, on the same operands.
const WARM: f64 = 6.0;
const TIMED: f64 = 10.0;

pub(crate) fn mamba2(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let source = row.get("kernel_source").cloned().unwrap_or_default();
    let predicted = predict(row, devices, &source, detail);
    let keys =
        ["kernel_source", "batch_size", "seq_len", "d_state", "nheads", "head_dim", "n_groups", "chunk_size", "phase"];
    vec![value(row, "mamba2", predicted, &keys)]
}

fn predict(row: &Row, devices: &mut Devices, source: &str, detail: Detail) -> Result<f64, String> {
    let gpu = devices.get(device_of(row.get("gpu").map_or("", String::as_str)))?;
    let spec = gpu.spec().clone();
    if row.get("dtype").is_some_and(|d| d != "bfloat16" && d != "float16") {
        return Err(format!("type {} is not modelled", row["dtype"]));
    }
    let side = |key: &str| whole(row, key, 1..=1 << 20);
    let (batch, tokens) = (side("batch_size")?, side("seq_len")?);
    let (heads, head_dim, state, groups) = (side("nheads")?, side("head_dim")?, side("d_state")?, side("n_groups")?);
    let inner = u64::from(heads) * u64::from(head_dim);
    let channels = inner + 2 * u64::from(groups) * u64::from(state);
    let channels = u32::try_from(channels).map_err(|_| format!("{channels} channels: too many"))?;
    let taps = side("d_conv")?;
    // Versions before 1.3 loop over tokens and state, 64 channels a CTA.
    let old = version(row).is_some_and(|v| v < (1, 3));
    let all = f64::from(batch) * f64::from(tokens) * f64::from(channels);
    rows::fits(4.0 * all, &spec)?;
    let items = match source {
        "causal_conv1d_fn" => {
            let kernel = ConvKernel::ChannelFirst;
            let c = ConvCall { batch, tokens, channels, taps, silu: true, keep_state: true, kernel };
            causal_conv(&c, &spec, &ConvNames::default())?
        }
        "causal_conv1d_update" => {
            let kernel = if old { ConvUpdateKernel::General } else { ConvUpdateKernel::Fused };
            conv_update(&ConvUpdate { batch, channels, taps, kernel }, &spec, &ConvNames::default())?
        }
        "mamba_chunk_scan_combined" => {
            let s = Ssd {
                batch,
                tokens,
                heads,
                head_dim,
                state,
                groups,
                chunk: side("chunk_size")?,
                element_bytes: 2,
                packed: false,
                step_pitch: heads,
                softplus: true,
                skip: true,
                gate: false,
                initial: false,
            };
            ssd(&s, &spec, &SsdNames::default())?
        }
        "selective_state_update" => {
            let u = StateUpdate {
                batch,
                heads,
                head_dim,
                state,
                groups,
                state_bytes: 2,
                element_bytes: 2,
                // Parameters are expanded by copying.
                tied: false,
                gate: false,
            };
            state_update(&u, &spec, &StateUpdateNames::default())?
        }
        other => return Err(format!("kernel {other} is not modelled")),
    };
    let launches = replay::resolve(gpu, items, detail)?;
    let mut time = replay::latency_s(&spec, &launches, 1, detail)?;
    let share = throttled_share(time, WARM, TIMED);
    if share > 0.0 {
        let (slow, _) = replay::sustained(&spec, &launches, 1, detail)?;
        time += share * (slow - time);
    }
    Ok((time + REPLAY_GAP_S) * 1e6)
}
