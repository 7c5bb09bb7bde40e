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
        let (bytes, shape) = (m.outputs * m.inputs * 2 * m.count, [m.outputs, m.inputs]);
        if let Some(same) = regions.iter_mut().find(|r| r.name == name && r.shape == shape) {
            same.count += m.count;
            same.bytes += bytes;
            same.row_bytes += m.rows * m.count * row_bytes;
            continue;
        }
        regions.push(RegionSummary {
            name: name.to_owned(),
            count: m.count,
            shape,
            bytes,
            row_bytes: m.rows * m.count * row_bytes,
            rows: m.rows,
            first_row: u32::try_from(m.first_row).unwrap_or(u32::MAX),
            chunks: banks.partial_sums(&layout.product(m, 0)),
            mac_utilization: banks.utilization(&layout.product(m, 0)),
        });
    }
    for s in &layout.states {
        let name = s.layer.map_or(s.name.as_str(), |_| s.name.split_once('.').map_or(s.name.as_str(), |n| n.1));
        let name = format!("{name} state");
        if let Some(same) = regions.iter_mut().find(|r| r.name == name) {
            same.count += 1;
            same.bytes += s.bytes;
            same.row_bytes += s.rows * row_bytes;
            continue;
        }
        regions.push(RegionSummary {
            name,
            count: 1,
            shape: [1, s.bytes],
            bytes: s.bytes,
            row_bytes: s.rows * row_bytes,
            rows: s.rows,
            first_row: u32::try_from(s.first_row).unwrap_or(u32::MAX),
            chunks: 1,
            // States are updated by the vector unit.
            mac_utilization: 0.0,
        });
    }
    let mut first = layout.all_rows();
    for (sizes, attention) in &layout.attentions {
        let layers = u64::from(sizes.layers);
        let (keys, values) = attention.rows_of_layer();
        for (name, rows, dim) in [("key cache", keys, sizes.key_dim), ("value cache", values, sizes.value_dim)] {
            let bytes = sizes.context * sizes.kv_heads * dim * 2 * pim.generation.batch;
            let row_bytes = rows * row_bytes;
            regions.push(RegionSummary {
                name: name.to_owned(),
                count: layers,
                shape: [sizes.context * pim.generation.batch, sizes.kv_heads * dim],
                bytes: bytes * layers,
                row_bytes: row_bytes * layers,
                rows,
                first_row: u32::try_from(first + if name == "value cache" { keys } else { 0 }).unwrap_or(u32::MAX),
                chunks: 1,
                mac_utilization: bytes as f64 / row_bytes.max(1) as f64,
            });
        }
        first += attention.rows();
    }
    MappingSummary {
        model: model.name.clone(),
        channels: banks.channels,
        banks_per_channel: banks.banks,
        rows_per_bank: banks.rows_of_device(),
        rows_used: layout.rows_used(),
        capacity_bytes: u64::from(banks.rows_of_device()) * row_bytes,
        regions,
    }
}
