//! `counters.csv`: one cold launch of each case, L2 flushed before; a case may be several kernels.

use std::collections::BTreeMap;

use banksia_hw::gpu::sampling::Detail;

use super::measured::{Case, Taken, case};
use super::rows::{Row, number};
use crate::gpus::Devices;
use crate::value::Value;

const SUMS: [&str; 3] = ["dram__bytes_read.sum", "lts__t_bytes.sum", "sm__inst_executed_pipe_tensor.sum"];

/// Adds up the kernels of a case.
pub(super) fn merged(rows: Vec<Row>) -> Vec<Row> {
    let mut by_case: BTreeMap<(String, String), Row> = BTreeMap::new();
    for row in rows {
        let key = (row.get("op").cloned().unwrap_or_default(), row.get("args").cloned().unwrap_or_default());
        match by_case.get_mut(&key) {
            None => {
                by_case.insert(key, row);
            }
            Some(first) => {
                for sum in SUMS {
                    let total = number(first, sum).unwrap_or(0.0) + number(&row, sum).unwrap_or(0.0);
                    first.insert(sum.to_owned(), total.to_string());
                }
            }
        }
    }
    by_case.into_values().collect()
}

pub(super) fn row(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let op = row.get("op").cloned().unwrap_or_default();
    let args = row.get("args").cloned().unwrap_or_default();
    let outcome =
        devices.get("h200").and_then(|gpu| case(gpu, &op, &args, Taken::Flushed, detail)).map(|c: Case| c.outcome);
    let value = |metric, column: &str, predicted| Value {
        device: "h200".into(),
        op: op.clone(),
        metric,
        label: format!("{op} {args}"),
        measured: number(row, column).unwrap_or(f64::NAN),
        predicted,
    };
    vec![
        value("dram_read_bytes", SUMS[0], outcome.clone().map(|o| o.dram_read_bytes)),
        value("l2_bytes", SUMS[1], outcome.clone().map(|o| o.l2_bytes)),
        value(
            "warps_active_pct",
            "sm__warps_active.avg.pct_of_peak_sustained_active",
            outcome.map(|o| o.occupancy * 100.0),
        ),
    ]
}
