//! Rows of one token over a context.

use banksia_hw::cxl::TokenCost;

use super::artifact::{Costs, label, point, value};
use crate::rows::{Row, number};
use crate::value::Value;

/// What a row says of a token: its part, the metric, the column, and ours.
type Quantity = (&'static str, &'static str, &'static str, fn(&TokenCost) -> f64);

const QUANTITIES: [Quantity; 9] = [
    ("pim", "latency_ms", "PIM latency", |c| c.pim_s * 1e3),
    ("cxl", "latency_ms", "CXL latency", |c| c.link_s * 1e3),
    ("units", "latency_ms", "Acc latency", |c| c.units_s * 1e3),
    ("block", "latency_ms", "TransformerBlock latency", |c| c.block_s * 1e3),
    ("embedding", "latency_ms", "Embedding latency", |c| c.embedding_s * 1e3),
    ("token", "latency_ms", "Token latency (ms)", |c| c.token_s * 1e3),
    ("token", "tokens_per_s", "Throughput (tokens/s)", |c| c.tokens_per_s),
    ("token", "energy_mj", "Token energy (mJ)", |c| c.energy.total_j() * 1e3),
    ("token", "power_w", "Total power (W)", |c| c.power_w),
];

pub(super) fn values(row: &Row, costs: &Costs) -> Vec<Value> {
    let point = point(row);
    let (label, cost) = match &point {
        Ok(point) => (
            format!("{}, context {}", label(&point.0), point.1),
            costs.get(point).cloned().unwrap_or_else(|| Err("was not run".to_owned())),
        ),
        Err(reason) => (row.get("Model").cloned().unwrap_or_default(), Err(reason.clone())),
    };
    QUANTITIES
        .iter()
        .filter(|(_, _, column, _)| row.contains_key(*column))
        .map(|(op, metric, column, of)| {
            value(op, metric, &label, number(row, column), cost.as_ref().map(of).map_err(Clone::clone))
        })
        .collect()
}
