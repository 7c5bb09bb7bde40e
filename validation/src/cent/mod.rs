//! CENT's artifact (ASPLOS 2025): its tokens and its phases, by our mapping on our engine of the same channels.
//!
//! Suite `cent` puts a token together as the artifact's scripts do; `cent-device` sets the artifact's rows against what the device and the links need,
//! so that its errors are what changes.

mod artifact;
mod gpus;
mod phases;
mod tokens;

use banksia_hw::cxl::Accounting;
use banksia_input::InputError;

use crate::rows::Row;
use crate::value::Value;

/// The suites, and how each puts tokens together.
pub(crate) const SUITES: [(&str, Accounting); 2] =
    [("cent", Accounting::Artifact), ("cent-device", Accounting::Device)];

/// Their rows: every other of the artifact's.
pub(crate) const ROWS: &str = include_str!("../../../tests/reference/pim/cent_token.csv");

/// The columns of files of phases, and of measured GPUs.
pub(crate) const PHASE_COLUMNS: &str = "Model, Device number, Seqlen, Pipeline parallelism, Tensor parallelism, Phase, Total Latency (s), \
     Throughput (tokens/s), Energy per Token (mJ), Total power (W); or, of GPUs, Model, End-to-end Latency (s); or Batch, Query Lat. (s)";

/// Columns that tell the layouts apart.
const TOKEN: &str = "Token latency (ms)";
const PHASE: &str = "Total Latency (s)";

/// The values of all rows of a file, each of any of the layouts.
///
/// # Errors
/// The machine of the catalog cannot be had.
pub(crate) fn values(
    rows: &[Row],
    file: &str,
    accounting: Accounting,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Vec<Value>, InputError> {
    let of = |column: &str| rows.iter().filter(|r| r.contains_key(column)).collect::<Vec<&Row>>();
    let (tokens, phases) = (of(TOKEN), of(PHASE));
    let mut wanted: Vec<artifact::Point> = tokens.iter().filter_map(|r| artifact::point(r).ok()).collect();
    wanted.extend(phases.iter().flat_map(|r| phases::points(r).unwrap_or_default()));
    let costs = artifact::costs(wanted, accounting, progress)?;
    let mut values: Vec<Value> = tokens.iter().flat_map(|row| tokens::values(row, &costs)).collect();
    values.extend(phases.iter().flat_map(|row| phases::values(row, &costs)));
    for row in rows.iter().filter(|r| !r.contains_key(TOKEN) && !r.contains_key(PHASE)) {
        if row.contains_key(gpus::ONE) || row.contains_key(gpus::BATCH) {
            values.extend(gpus::values(row, file));
            continue;
        }
        let label = row.values().take(3).cloned().collect::<Vec<_>>().join(" ");
        let reason = format!("no column `{TOKEN}` of a token, `{PHASE}` of a phase, or `{}` of a GPU", gpus::ONE);
        values.push(artifact::value("token", "latency_ms", &label, Ok(1.0), Err(reason)));
    }
    Ok(values)
}
