//! Where everything lies: rows of the banks, the same in every bank of every channel.

use banksia_workloads::{Graph, Op, OperatorNode};

use super::accepts::Owners;
use super::geometry::Geometry;

/// A matrix `[outputs, inputs]` split over all banks: output `o` belongs to group `o / banks`, group `g` to channel
/// `g mod channels`, output `o` to bank `o mod banks` there. Inputs are cut into chunks that fill the global buffer; the
/// outputs of one chunk lie packed one after the other. Matrices of experts and of heads lie one after the other, each over all banks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub name: String,
    pub layer: Option<u32>,
    pub outputs: u64,
    pub inputs: u64,
    /// How many there are: of heads, of experts.
    pub count: u64,
    /// Of the first.
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

/// The KV cache of one attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KvCache {
    /// The name of the scores that read it.
    pub scores: String,
    /// Its sizes at the longest context.
    pub sizes: Heads,
    /// Columns of one head's keys.
    pub head_columns: u32,
    /// Columns of one token's keys.
    pub key_columns: u32,
    /// Columns of the tokens that it holds.
    pub value_columns: u32,
    pub items: ValueItems,
    /// The first row of K: a token's keys of all heads, side by side, token `t` in bank `t mod banks` of channel
    /// `t / banks mod channels`.
    pub key_row: u32,
    pub key_rows: u32,
    /// The first row of V: one element of a head in each bank, its tokens along the columns.
    pub value_row: u32,
    pub value_rows: u32,
}

/// Sizes of an attention. Latent vectors are one head, and lie twice: by token for scores, by element for values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    pub heads: u64,
    pub kv_heads: u64,
    pub key_dim: u64,
    pub value_dim: u64,
    /// Tokens that it holds: a window holds no more.
    pub context: u64,
}

/// The state of a recurrence, spread over the columns of all banks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub name: String,
    pub layer: Option<u32>,
    pub row: u32,
    pub rows: u32,
    /// Columns of every bank.
    pub columns: u64,
    pub bytes: u64,
}

/// The layout of a model on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub matrices: Vec<Matrix>,
    /// Of each attention.
    pub caches: Vec<KvCache>,
    /// Of each recurrence.
    pub states: Vec<State>,
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
    pub(crate) fn new(geometry: &Geometry, sizes: &Heads) -> Self {
        let per_head = sizes.value_dim.div_ceil(u64::from(geometry.banks)) as u32;
        let heads = sizes.kv_heads as u32;
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
    /// Lays out what a step's graph at the longest context multiplies, looks up and keeps, and says how many rows it takes, which may be more
    /// than there are. Matrices that layers share lie once.
    pub(crate) fn new(geometry: &Geometry, graph: &Graph, owners: &Owners) -> Self {
        let mut rows = Rows(0);
        let mut matrices = Vec::new();
        for node in graph.operators() {
            if let Some((count, shape, _)) = node.matrices()
                && owners.name(node) == node.name.as_str()
            {
                matrices.push(matrix(geometry, &mut rows, node, count, shape));
            }
        }
        for node in graph.operators() {
            // A table that is a product's matrix too lies once.
            let own = |n: &OperatorNode| n.weights.first().map(|t| t.name.clone());
            let twice = || graph.operators().any(|n| n.matrices().is_some() && own(n).is_some() && own(n) == own(node));
            if let Op::Embedding { vocab: count, width } | Op::PositionEmbedding { positions: count, width } = node.op
                && !twice()
            {
                matrices.push(matrix(geometry, &mut rows, node, 1, [count, width]));
            }
        }
        let mut caches: Vec<KvCache> = Vec::new();
        for (scores, sizes) in attentions(graph) {
            caches.push(cache(geometry, &mut rows, scores, sizes));
        }
        let mut states = Vec::new();
        for node in graph.operators().filter(|n| n.state_bytes() > 0) {
            // Counted as it is read and as it is written.
            let bytes = node.state_bytes() / 2;
            let columns = bytes.div_ceil(geometry.column_bytes.saturating_mul(geometry.units()).max(1)).max(1);
            let of_bank = columns.div_ceil(u64::from(geometry.columns));
            let (name, layer, row) = (node.name.clone(), node.layer, rows.take(of_bank));
            states.push(State { name, layer, row, rows: u32::try_from(of_bank).unwrap_or(u32::MAX), columns, bytes });
        }
        Self { matrices, caches, states, rows: rows.0 }
    }

    /// The matrix of a name.
    pub(crate) fn matrix(&self, name: &str) -> Option<&Matrix> {
        self.matrices.iter().find(|m| m.name == name)
    }

    /// The cache of an attention, by the name of its scores.
    pub(crate) fn cache(&self, scores: &str) -> Option<&KvCache> {
        self.caches.iter().find(|c| c.scores == scores)
    }

    /// The state of a name.
    pub(crate) fn state(&self, name: &str) -> Option<&State> {
        self.states.iter().find(|s| s.name == name)
    }
}

/// The attentions of a graph, by the names of their scores. Scores and values follow one another.
pub(crate) fn attentions(graph: &Graph) -> Vec<(&str, Heads)> {
    let mut out = Vec::new();
    let mut scores: Option<(&str, Heads)> = None;
    for node in graph.operators() {
        match node.op {
            Op::AttentionScores { heads, kv_heads, head_dim, context, .. } => {
                let sizes = Heads { heads, kv_heads, key_dim: head_dim, value_dim: head_dim, context };
                scores = Some((&node.name, sizes));
            }
            Op::AttentionValues { head_dim, .. } => {
                out.extend(scores.take().map(|(name, sizes)| (name, Heads { value_dim: head_dim, ..sizes })));
            }
            _ => {}
        }
    }
    out
}

fn cache(geometry: &Geometry, rows: &mut Rows, scores: &str, sizes: Heads) -> KvCache {
    let columns = u64::from(geometry.columns);
    let head_columns = geometry.columns_of(sizes.key_dim);
    let key_columns = head_columns.saturating_mul(sizes.kv_heads);
    let value_columns = geometry.columns_of(sizes.context);
    let token_groups = sizes.context.div_ceil(u64::from(geometry.banks)).div_ceil(u64::from(geometry.channels));
    let items = ValueItems::new(geometry, &sizes);
    let key_rows = token_groups.saturating_mul(key_columns).div_ceil(columns);
    let value_rows = u64::from(items.of_channel(geometry, 0)).saturating_mul(value_columns).div_ceil(columns);
    KvCache {
        scores: scores.to_owned(),
        sizes,
        head_columns: head_columns as u32,
        key_columns: key_columns as u32,
        value_columns: value_columns as u32,
        items,
        key_row: rows.take(key_rows),
        key_rows: key_rows as u32,
        value_row: rows.take(value_rows),
        value_rows: value_rows as u32,
    }
}

fn matrix(
    geometry: &Geometry,
    rows: &mut Rows,
    node: &OperatorNode,
    count: u64,
    [outputs, inputs]: [u64; 2],
) -> Matrix {
    let per_bank = outputs.div_ceil(geometry.units());
    let mut left = geometry.columns_of(inputs);
    let mut chunks = Vec::new();
    let before = rows.0;
    // What outgrows every bank is not laid out to its end.
    while left > 0 && rows.0 <= u64::from(u32::MAX) {
        let columns = left.min(u64::from(geometry.buffer_columns));
        let of_bank = (per_bank * columns).div_ceil(u64::from(geometry.columns));
        chunks.push(Chunk { columns: columns as u32, row: rows.take(of_bank), rows: of_bank as u32 });
        left -= columns;
    }
    let others = rows.0.saturating_sub(before).saturating_mul(count.saturating_sub(1));
    rows.take(others);
    Matrix { name: node.name.clone(), layer: node.layer, outputs, inputs, count, chunks }
}

impl Matrix {
    /// The chunks of one of several matrices.
    pub(crate) fn chunks_of(&self, part: u64) -> impl Iterator<Item = Chunk> + '_ {
        let further = u32::try_from(self.rows().saturating_mul(part)).unwrap_or(u32::MAX);
        self.chunks.iter().map(move |c| Chunk { row: c.row.saturating_add(further), ..*c })
    }

    /// Rows in each bank, of one.
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
