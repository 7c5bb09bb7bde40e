//! Where the matrices of a model lie: rows of every bank, one after the other.

use banksia_hw::program::ChannelSet;
use banksia_workloads::{Generation, GptConfig, Positions};

use super::banks::{Banks, Product};

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
