//! Rows of a phase: means over the contexts that the artifact samples of a prompt of 512 tokens and what follows.

use banksia_hw::cxl::TokenCost;

use super::artifact::{Costs, Point, division, label, value};
use crate::rows::{Row, number, whole};
use crate::value::Value;

/// Tokens of the artifact's prompt, and between the contexts that it samples.
const PROMPT: u64 = 512;
const GAP: u64 = 128;

/// The points of a phase, and its tokens.
fn phase(row: &Row) -> Result<(Vec<Point>, f64), String> {
    let division = division(row)?;
    let end = u64::from(whole(row, "Seqlen", 1..=1 << 20)?);
    let (first, last) = match row.get("Phase").map(String::as_str) {
        Some("prefill") => (0, PROMPT),
        Some("decoding") => (PROMPT, end),
        Some("end2end") => (0, end),
        other => return Err(format!("phase is `{}`: prefill, decoding or end2end", other.unwrap_or_default())),
    };
    let points: Vec<Point> =
        (1..=last / GAP).map(|i| i * GAP).filter(|c| *c > first).map(|c| (division.clone(), c)).collect();
    if points.is_empty() {
        return Err(format!("no context of a multiple of {GAP} is in the phase"));
    }
    Ok((points, (last - first) as f64))
}

/// The points of a row.
pub(super) fn points(row: &Row) -> Result<Vec<Point>, String> {
    phase(row).map(|(points, _)| points)
}

pub(super) fn values(row: &Row, costs: &Costs) -> Vec<Value> {
    let found = phase(row).and_then(|(points, tokens)| {
        let costs: Result<Vec<&TokenCost>, String> = points
            .iter()
            .map(|p| match costs.get(p) {
                Some(Ok(cost)) => Ok(cost),
                Some(Err(reason)) => Err(reason.clone()),
                None => Err("was not run".to_owned()),
            })
            .collect();
        costs.map(|costs| (costs, tokens))
    });
    let mean = |of: fn(&TokenCost) -> f64| {
        let (costs, tokens) = found.as_ref().map_err(Clone::clone)?;
        Ok((costs.iter().map(|c| of(c)).sum::<f64>() / costs.len() as f64, *tokens))
    };
    let phase = row.get("Phase").cloned().unwrap_or_default();
    let label = division(row).map_or_else(|_| phase.clone(), |d| label(&d));
    let one = |metric, column: &str, predicted: Result<f64, String>| {
        value(&phase, metric, &label, number(row, column), predicted)
    };
    vec![
        one("latency_s", "Total Latency (s)", mean(|c| c.token_s).map(|(s, tokens)| s * tokens)),
        one("tokens_per_s", "Throughput (tokens/s)", mean(|c| c.tokens_per_s).map(|m| m.0)),
        one("energy_mj", "Energy per Token (mJ)", mean(|c| c.energy.total_j() * 1e3).map(|m| m.0)),
        one("power_w", "Total power (W)", mean(|c| c.power_w).map(|m| m.0)),
    ]
}
