//! What a mapping looks like: bytes, rows and use of the multiply-accumulate units by matrix.

use serde::Serialize;

use super::layout::Heads;
use super::map::PimGpt;

/// A mapping, for people and for `--format json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MappingSummary {
    /// The model.
    pub model: String,
    /// Channels.
    pub channels: u32,
    /// Banks of a channel.
    pub banks_per_channel: u32,
    /// Rows of a bank.
    pub rows_per_bank: u32,
    /// Rows that the mapping takes in each bank.
    pub rows_used: u64,
    /// Bytes of the machine.
    pub capacity_bytes: u64,
    /// Matrices and caches; equal ones of all layers are one entry.
    pub regions: Vec<RegionSummary>,
}

/// A kind of matrix, or of cache.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegionSummary {
    /// Its name, without a layer number.
    pub name: String,
    /// How many there are.
    pub count: u64,
    /// Outputs and inputs of a matrix; tokens and elements of a cache.
    pub shape: [u64; 2],
    /// Bytes of its contents, all together.
    pub bytes: u64,
    /// Bytes of the rows that it takes, all together.
    pub row_bytes: u64,
    /// Rows of each bank, of one.
    pub rows: u64,
    /// The first row, of the first.
    pub first_row: u32,
    /// Fillings of the global buffer for one product.
    pub chunks: u64,
    /// Share of the multiply-accumulates spent on it that are its own.
    pub mac_utilization: f64,
}

impl PimGpt {
    /// What the mapping looks like.
    pub fn summary(&self) -> MappingSummary {
        let geometry = &self.geometry;
        let row_bytes = u64::from(geometry.columns) * geometry.column_bytes * geometry.units();
        let mut regions: Vec<RegionSummary> = Vec::new();
        for m in &self.layout.matrices {
            let name = m.layer.map_or(m.name.as_str(), |_| m.name.split_once('.').map_or(m.name.as_str(), |n| n.1));
            let bytes = m.outputs * m.inputs * geometry.element_bytes * m.count;
            let shape = [m.outputs, m.inputs];
            if let Some(same) = regions.iter_mut().find(|r| r.name == name && r.shape == shape) {
                same.count += m.count;
                same.bytes += bytes;
                same.row_bytes += m.rows() * m.count * row_bytes;
                continue;
            }
            regions.push(RegionSummary {
                name: name.to_owned(),
                count: m.count,
                shape,
                bytes,
                row_bytes: m.rows() * m.count * row_bytes,
                rows: m.rows(),
                first_row: m.chunks.first().map_or(0, |c| c.row),
                chunks: m.chunks.len() as u64,
                mac_utilization: m.mac_utilization(geometry),
            });
        }
        self.of_caches(row_bytes, &mut regions);
        self.of_states(row_bytes, &mut regions);
        MappingSummary {
            model: self.model.name.clone(),
            channels: geometry.channels,
            banks_per_channel: geometry.banks,
            rows_per_bank: geometry.rows,
            rows_used: self.layout.rows,
            capacity_bytes: u64::from(geometry.rows) * row_bytes,
            regions,
        }
    }
    /// Keys and values, equal ones together.
    fn of_caches(&self, row_bytes: u64, regions: &mut Vec<RegionSummary>) {
        let geometry = &self.geometry;
        let mut done: Vec<Heads> = Vec::new();
        for cache in &self.layout.caches {
            let sizes = cache.sizes;
            if done.contains(&sizes) {
                continue;
            }
            done.push(sizes);
            let count = self.layout.caches.iter().filter(|c| c.sizes == sizes).count() as u64;
            let (banks, longest) = (u64::from(geometry.banks), sizes.context);
            let tokens = longest.div_ceil(banks) * banks;
            let head_elements = u64::from(cache.head_columns) * geometry.lanes;
            let region = |name: &str, dim: u64, rows: u32, first_row, chunks: u64, mac_utilization| RegionSummary {
                name: name.to_owned(),
                count,
                shape: [longest, sizes.kv_heads * dim],
                bytes: longest * sizes.kv_heads * dim * geometry.element_bytes * count,
                row_bytes: u64::from(rows) * row_bytes * count,
                rows: u64::from(rows),
                first_row,
                chunks,
                mac_utilization,
            };
            let (key_dim, value_dim) = (sizes.key_dim, sizes.value_dim);
            let key_use = longest as f64 * key_dim as f64 / (tokens * head_elements) as f64;
            let columns = u64::from(cache.value_columns);
            let elements = value_dim.div_ceil(banks) * banks;
            let value_use = longest as f64 * value_dim as f64 / (columns * geometry.lanes * elements) as f64;
            let passes = (sizes.heads * u64::from(cache.head_columns)).div_ceil(u64::from(geometry.buffer_columns));
            let bufferfuls = columns.div_ceil(u64::from(geometry.buffer_columns));
            regions.push(region("key cache", key_dim, cache.key_rows, cache.key_row, passes, key_use));
            regions.push(region("value cache", value_dim, cache.value_rows, cache.value_row, bufferfuls, value_use));
        }
    }

    /// States, equal ones together.
    fn of_states(&self, row_bytes: u64, regions: &mut Vec<RegionSummary>) {
        for s in &self.layout.states {
            let name = s.layer.map_or(s.name.as_str(), |_| s.name.split_once('.').map_or(s.name.as_str(), |n| n.1));
            let name = format!("{name} state");
            let row_bytes = u64::from(s.rows) * row_bytes;
            if let Some(same) = regions.iter_mut().find(|r| r.name == name && r.shape == [1, s.bytes]) {
                same.count += 1;
                same.bytes += s.bytes;
                same.row_bytes += row_bytes;
                continue;
            }
            regions.push(RegionSummary {
                name,
                count: 1,
                shape: [1, s.bytes],
                bytes: s.bytes,
                row_bytes,
                rows: u64::from(s.rows),
                first_row: s.row,
                chunks: 1,
                // The vector unit updates states.
                mac_utilization: 0.0,
            });
        }
    }
}
