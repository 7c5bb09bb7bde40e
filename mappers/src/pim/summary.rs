//! What the mapping looks like: matrices and caches in rows of banks.

use super::map::Pim;
use crate::pim_gpt::{MappingSummary, RegionSummary};

/// What the mapping looks like.
pub(super) fn summary(pim: &Pim) -> MappingSummary {
    let (banks, layout, model) = (&pim.banks, &pim.layout, &pim.model);
    let row_bytes = banks.row_bytes_of_all();
    let mut regions: Vec<RegionSummary> = Vec::new();
    for m in &layout.matrices {
        let name = m.layer.map_or(m.name.as_str(), |_| m.name.split_once('.').map_or(m.name.as_str(), |n| n.1));
        let (bytes, shape) = (m.outputs * m.inputs * 2, [m.outputs, m.inputs]);
        if let Some(same) = regions.iter_mut().find(|r| r.name == name && r.shape == shape) {
            same.count += 1;
            same.bytes += bytes;
            same.row_bytes += m.rows * row_bytes;
            continue;
        }
        regions.push(RegionSummary {
            name: name.to_owned(),
            count: 1,
            shape,
            bytes,
            row_bytes: m.rows * row_bytes,
            rows: m.rows,
            first_row: u32::try_from(m.first_row).unwrap_or(u32::MAX),
            chunks: banks.partial_sums(m.inputs),
            mac_utilization: banks.utilization(&layout.product(m)),
        });
    }
    let context = pim.generation.last_context();
    let bytes = context * model.kv_width() * 2 * pim.generation.batch;
    let (keys, values) = pim.attention.rows_of_layer();
    let layers = u64::from(model.layers);
    for (name, rows, first) in [("key cache", keys, layout.rows), ("value cache", values, layout.rows + keys)] {
        let row_bytes = rows * row_bytes;
        regions.push(RegionSummary {
            name: name.to_owned(),
            count: layers,
            shape: [context * pim.generation.batch, model.kv_width()],
            bytes: bytes * layers,
            row_bytes: row_bytes * layers,
            rows,
            first_row: u32::try_from(first).unwrap_or(u32::MAX),
            chunks: 1,
            mac_utilization: bytes as f64 / row_bytes.max(1) as f64,
        });
    }
    MappingSummary {
        model: model.name.clone(),
        channels: banks.channels,
        banks_per_channel: banks.banks,
        rows_per_bank: banks.rows_of_device(),
        rows_used: layout.rows + pim.attention.rows(),
        capacity_bytes: u64::from(banks.rows_of_device()) * row_bytes,
        regions,
    }
}
