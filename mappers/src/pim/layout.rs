//! Where the matrices of a model lie: rows of every bank, one after the other.

use banksia_hw::program::ChannelSet;
use banksia_workloads::{Generation, GptConfig, Positions};

use super::Pim;
use super::banks::{Banks, Product};
use crate::pim_gpt::{MappingSummary, RegionSummary};

/// A matrix in the rows of all banks.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    pub name: String,
    pub layer: Option<u32>,
    pub outputs: u64,
    pub inputs: u64,
    pub first_row: u64,
    pub rows: u64,
}

/// All matrices.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub matrices: Vec<Matrix>,
    pub rows: u64,
    pub all: [ChannelSet; 1],
}

impl Layout {
    /// The matrices that a generation uses, and the tables that it looks up.
    pub(super) fn new(banks: &Banks, model: &GptConfig, generation: &Generation) -> Self {
        let all = [ChannelSet::first(banks.channels)];
        let mut this = Self { matrices: Vec::new(), rows: 0, all };
        for m in model.weight_matrices() {
            if m.layer.is_some() || generation.lm_head {
                this.put(banks, m.name, m.layer, m.shape);
            }
        }
        if generation.embedding {
            if !(model.tied_embeddings && generation.lm_head) {
                this.put(banks, "token_embedding".into(), None, [model.vocab, model.width]);
            }
            if model.positions == Positions::Learned {
                this.put(banks, "position_embedding".into(), None, [model.position_rows, model.width]);
            }
        }
        this
    }

    fn put(&mut self, banks: &Banks, name: String, layer: Option<u32>, [outputs, inputs]: [u64; 2]) {
        let product = Product { outputs, inputs, sets: &self.all, first_row: 0, packed: false };
        // What cannot be counted does not fit.
        let rows = banks.rows_of(&product).unwrap_or(u64::MAX);
        self.matrices.push(Matrix { name, layer, outputs, inputs, first_row: self.rows, rows });
        self.rows = self.rows.saturating_add(rows);
    }

    /// The matrix of a name.
    pub(super) fn matrix(&self, name: &str) -> Option<&Matrix> {
        self.matrices.iter().find(|m| m.name == name)
    }

    pub(super) fn product(&self, m: &Matrix) -> Product<'_> {
        Product { outputs: m.outputs, inputs: m.inputs, sets: &self.all, first_row: m.first_row, packed: false }
    }
}

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
