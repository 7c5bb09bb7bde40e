//! Where everything lies: rows of the banks, the same in every bank of every channel.

use banksia_workloads::{GptConfig, Positions};

use super::geometry::Geometry;

/// A matrix `[outputs, inputs]` split over all banks: output `o` belongs to group `o / banks`, group `g` to channel
/// `g mod channels`, output `o` to bank `o mod banks` there. Inputs are cut into chunks that fill the global buffer; the
/// outputs of one chunk lie packed one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub name: String,
    pub layer: Option<u32>,
    pub outputs: u64,
    pub inputs: u64,
    pub chunks: Vec<Chunk>,
}

/// The part of a matrix that one filling of the global buffer multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Columns of the input, and of each output's part of the weights.
    pub columns: u32,
    /// The first row.
    pub row: u32,
    /// Rows in each bank.
    pub rows: u32,
}

/// The KV cache of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KvCache {
    /// The first row of K: a token's keys of all heads, side by side, token `t` in bank `t mod banks` of channel
    /// `t / banks mod channels`.
    pub key_row: u32,
    pub key_rows: u32,
    /// The first row of V: one element of a head in each bank, its tokens along the columns.
    pub value_row: u32,
    pub value_rows: u32,
}

/// The layout of a model on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub matrices: Vec<Matrix>,
    /// Of each layer.
    pub caches: Vec<KvCache>,
    /// Columns of one head's vector.
    pub head_columns: u32,
    /// Columns of one token's keys.
    pub key_columns: u32,
    /// Columns of the longest context's tokens.
    pub value_columns: u32,
    /// Rows used in each bank.
    pub rows: u64,
}

/// How the value items of a layer, one for each key head and each `banks` elements of it, share the channels: whole rounds
/// of one head for each channel, and the heads that are left spread item by item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValueItems {
    /// Items of one head.
    pub per_head: u32,
    /// Rounds in which every channel has one whole head.
    pub rounds: u32,
    /// Items of the heads that are left over.
    pub rest: u32,
}

impl ValueItems {
    pub(crate) fn new(geometry: &Geometry, model: &GptConfig) -> Self {
        let per_head = model.head_dim.div_ceil(u64::from(geometry.banks)) as u32;
        let heads = model.kv_heads as u32;
        let rounds = heads / geometry.channels;
        Self { per_head, rounds, rest: heads % geometry.channels * per_head }
    }

    /// Items of a channel.
    pub(crate) fn of_channel(&self, geometry: &Geometry, channel: u32) -> u32 {
        let (least, more) = (self.rest / geometry.channels, self.rest % geometry.channels);
        self.rounds * self.per_head + least + u32::from(channel < more)
    }

    /// The items of a head that is left over, as `(channel, first item on the channel, items)`.
    pub(crate) fn of_left_over(&self, geometry: &Geometry, head_of_rest: u32) -> Vec<(u32, u32, u32)> {
        let (least, more) = (self.rest / geometry.channels, self.rest % geometry.channels);
        let (from, to) = (head_of_rest * self.per_head, (head_of_rest + 1) * self.per_head);
        let mut out = Vec::new();
        let mut first = 0;
        for channel in 0..geometry.channels {
            let count = least + u32::from(channel < more);
            let (a, b) = (first.max(from), (first + count).min(to));
            if a < b {
                out.push((channel, self.rounds * self.per_head + a - first, b - a));
            }
            first += count;
        }
        out
    }
}

/// Hands out rows.
struct Rows(u64);

impl Rows {
    fn take(&mut self, rows: u64) -> u32 {
        let first = self.0;
        self.0 = self.0.saturating_add(rows);
        // A layout that outgrows the bank is refused before a row is used.
        u32::try_from(first).unwrap_or(u32::MAX)
    }
}

impl Layout {
    /// Lays out a model with room for contexts up to `longest`, and says how many rows it takes, which may be more than
    /// there are.
    pub(crate) fn new(geometry: &Geometry, model: &GptConfig, longest: u64, lm_head: bool, embedding: bool) -> Self {
        let mut rows = Rows(0);
        let mut matrices = Vec::new();
        for m in model.weight_matrices() {
            // A tied table is looked up even where no vocabulary projection runs.
            if m.layer.is_none() && !lm_head && !(embedding && m.tied) {
                continue;
            }
            matrices.push(matrix(geometry, &mut rows, m.name, m.layer, m.shape));
        }
        let tied = model.tied_embeddings && matrices.iter().any(|m| m.layer.is_none());
        if embedding && !tied {
            let shape = [model.vocab, model.width];
            matrices.push(matrix(geometry, &mut rows, "token_embedding".into(), None, shape));
        }
        if embedding && model.positions == Positions::Learned {
            let shape = [model.position_rows, model.width];
            matrices.push(matrix(geometry, &mut rows, "position_embedding".into(), None, shape));
        }
        let columns = u64::from(geometry.columns);
        let head_columns = geometry.columns_of(model.head_dim);
        let key_columns = head_columns * model.kv_heads;
        let value_columns = geometry.columns_of(longest);
        let token_groups = longest.div_ceil(u64::from(geometry.banks)).div_ceil(u64::from(geometry.channels));
        let items = ValueItems::new(geometry, model);
        let key_rows = (token_groups * key_columns).div_ceil(columns);
        let value_rows = (u64::from(items.of_channel(geometry, 0)) * value_columns).div_ceil(columns);
        let caches = (0..model.layers)
            .map(|_| KvCache {
                key_row: rows.take(key_rows),
                key_rows: key_rows as u32,
                value_row: rows.take(value_rows),
                value_rows: value_rows as u32,
            })
            .collect();
        Self {
            matrices,
            caches,
            head_columns: head_columns as u32,
            key_columns: key_columns as u32,
            value_columns: value_columns as u32,
            rows: rows.0,
        }
    }

    /// The matrix of a name.
    pub(crate) fn matrix(&self, name: &str) -> Option<&Matrix> {
        self.matrices.iter().find(|m| m.name == name)
    }
}

fn matrix(geometry: &Geometry, rows: &mut Rows, name: String, layer: Option<u32>, shape: [u64; 2]) -> Matrix {
    let [outputs, inputs] = shape;
    let per_bank = outputs.div_ceil(geometry.units());
    let mut left = geometry.columns_of(inputs);
    let mut chunks = Vec::new();
    while left > 0 {
        let columns = left.min(u64::from(geometry.buffer_columns));
        let count = (per_bank * columns).div_ceil(u64::from(geometry.columns));
        chunks.push(Chunk { columns: columns as u32, row: rows.take(count), rows: count as u32 });
        left -= columns;
    }
    Matrix { name, layer, outputs, inputs, chunks }
}

impl Matrix {
    /// Rows in each bank.
    pub(crate) fn rows(&self) -> u64 {
        self.chunks.iter().map(|c| u64::from(c.rows)).sum()
    }

    /// Share of the multiply-accumulates done for it that are its own: the rest pad rows to columns and outputs to banks.
    pub(crate) fn mac_utilization(&self, geometry: &Geometry) -> f64 {
        let groups = self.outputs.div_ceil(u64::from(geometry.banks));
        let columns: u64 = self.chunks.iter().map(|c| u64::from(c.columns)).sum();
        let slots = groups as f64 * f64::from(geometry.banks) * columns as f64 * geometry.lanes as f64;
        self.outputs as f64 * self.inputs as f64 / slots
    }
}
