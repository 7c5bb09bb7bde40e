//! Grouped products: `torch._grouped_mm`, whose rows are sorted by expert.

use banksia_hw::gpu::GpuSpec;
use banksia_mappers::gpu::launch::Operand;
use banksia_mappers::gpu::moe::{grouped_input_gradient, grouped_mm, grouped_weight_gradient};
use serde_json::Value as Json;

use super::call::{Call, argument, sets};
use crate::rows;

/// Rows of each expert: draws of so many among experts of equal chances, or of chances that fall with the expert's number (`torch.multinomial` with
/// replacement; its generator is not ours).
fn counts(experts: u64, rows: u64, skew: f64) -> Vec<u32> {
    let weight = |e: u64| ((e + 1) as f64).powf(-skew);
    let mut sums = Vec::with_capacity(experts as usize);
    let mut sum = 0.0;
    for e in 0..experts {
        sum += weight(e);
        sums.push(sum);
    }
    let mut counts = vec![0u32; experts as usize];
    let mut state = 1u64;
    for _ in 0..rows {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut z = state;
        z = (z ^ (z >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let u = ((z ^ (z >> 33)) >> 11) as f64 / (1u64 << 53) as f64 * sum;
        let e = sums.partition_point(|&s| s <= u).min(counts.len() - 1);
        counts[e] += 1;
    }
    counts
}

/// A grouped product in training: itself, or one of its gradients, whose rows of each expert are given.
pub(super) fn training(op: &str, args: &Json, spec: &GpuSpec) -> Result<Call, String> {
    let total = argument(args, "rows", 1 << 20)?;
    let (n, k) = (argument(args, "n", 1 << 18)?.max(1), argument(args, "k", 1 << 18)?.max(1));
    let counts = args.get("counts").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    let counts: Vec<u32> = counts.iter().filter_map(|c| c.as_u64().and_then(|c| u32::try_from(c).ok())).collect();
    let sum = counts.iter().fold(0u64, |sum, c| sum.saturating_add(u64::from(*c)));
    if counts.is_empty() || counts.len() > 1023 || sum != total {
        return Err(format!("counts are {} of {sum} rows: must be up to 1023, and {total} in all", counts.len()));
    }
    let bytes = 2 * (counts.len() as u64 * n * k + total * (n + k));
    rows::fits(bytes as f64, spec)?;
    let [x, weight, gradient] = ["rows", "weights", "gradients"].map(Operand::own);
    let out = Operand::shared("result");
    let (n, k) = (n as u32, k as u32);
    let items = match op {
        "grouped_input_gradient" => grouped_input_gradient(&counts, k, n, spec, &[gradient, weight, out]),
        "grouped_weight_gradient" => grouped_weight_gradient(&counts, k, n, spec, &[x, gradient, out]),
        _ => grouped_mm(&counts, n, k, spec, &[x, weight, out]),
    };
    Ok(Call { items, copies: sets(bytes, 4) })
}

pub(super) fn call(args: &Json, spec: &GpuSpec) -> Result<Call, String> {
    let experts = argument(args, "experts", 1023)?.max(1);
    let total = argument(args, "rows", 1 << 20)?;
    let (n, k) = (argument(args, "n", 1 << 18)?.max(1), argument(args, "k", 1 << 18)?.max(1));
    let skew = args.get("skew").and_then(Json::as_f64).unwrap_or(0.0);
    if !(0.0..=8.0).contains(&skew) {
        return Err(format!("argument skew is {skew}: must be 0 to 8"));
    }
    let bytes = 2 * (experts * n * k + total * (n + k));
    rows::fits(bytes as f64, spec)?;
    let counts = counts(experts, total, skew);
    let names = ["rows", "weights", "result"].map(Operand::own);
    let [a, b, _] = names;
    let items = grouped_mm(&counts, n as u32, k as u32, spec, &[a, b, Operand::shared("result")]);
    Ok(Call { items, copies: sets(bytes, 4) })
}
