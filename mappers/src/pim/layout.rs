//! Where a model lies: matrices, caches and states, in rows of every bank, one after the other.

use banksia_hw::pim::PimMachine;
use banksia_hw::program::ChannelSet;
use banksia_workloads::{Generation, Graph, Op, OperatorNode};

use super::attention::{PimAttention, Sizes};
use super::banks::{Banks, Product};
use super::options::{Chosen, MatrixLayout};
use crate::pim_gpt::accepts::Owners;

/// A matrix in the rows of all banks, or several of one shape: of heads, of experts.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    pub name: String,
    pub layer: Option<u32>,
    pub outputs: u64,
    pub inputs: u64,
    pub first_row: u64,
    /// Of one.
    pub rows: u64,
    pub count: u64,
    /// How it lies.
    pub way: MatrixLayout,
}

/// The state of a recurrence, of all sequences, spread over all banks.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub name: String,
    pub layer: Option<u32>,
    pub first_row: u64,
    pub rows: u64,
    /// Columns of every bank.
    pub columns: u64,
    pub bytes: u64,
}

/// An attention, by the name of its scores: which of those that are alike, and which of their layers.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub scores: String,
    pub attention: usize,
    pub index: u32,
}

/// All of it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub matrices: Vec<Matrix>,
    pub states: Vec<State>,
    pub attentions: Vec<(Sizes, PimAttention)>,
    pub places: Vec<Place>,
    pub owners: Owners,
    /// Rows of weights.
    pub rows: u64,
    pub all: [ChannelSet; 1],
}

impl Layout {
    /// Weights of a step's graph (of the longest context, and with all that follows the last layer), the tables that it looks up, states, then keys and
    /// values. `None` where they do not fit.
    pub(super) fn new(
        banks: &Banks,
        machine: &PimMachine,
        graph: &Graph,
        owners: &Owners,
        generation: &Generation,
        chosen: &Chosen,
    ) -> Option<Self> {
        let mut this = Self::of_weights(banks, graph, owners, chosen, 0);
        this.put_states(banks, graph);
        let first = u32::try_from(this.all_rows()).ok().filter(|r| u64::from(*r) <= banks.rows)?;
        this.put_attention(machine, graph, [generation.batch; 2], first, chosen.attention_channels)?;
        Some(this)
    }

    /// The same with keys and values laid out for waves of so many sequences; `None` where they do not fit.
    pub(super) fn with_attention_of(
        &self,
        machine: &PimMachine,
        graph: &Graph,
        generation: &Generation,
        wave: u64,
        chosen: &Chosen,
    ) -> Option<Self> {
        let mut this = Self { attentions: Vec::new(), places: Vec::new(), ..self.clone() };
        let first = u32::try_from(this.all_rows()).ok()?;
        this.put_attention(machine, graph, [generation.batch, wave], first, chosen.attention_channels)?;
        Some(this)
    }

    /// Weights alone, those that layers share once, from a row on.
    pub(super) fn of_weights(banks: &Banks, graph: &Graph, owners: &Owners, chosen: &Chosen, first_row: u64) -> Self {
        let all = [ChannelSet::first(banks.channels)];
        let (matrices, states, attentions, places) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut this = Self { matrices, states, attentions, places, owners: owners.clone(), rows: first_row, all };
        let tables = graph.operators().filter(|n| matches!(n.op, Op::Embedding { .. } | Op::PositionEmbedding { .. }));
        for node in graph.operators() {
            // The first of the layers that share a matrix comes first.
            if let Some((count, shape, _)) = node.matrices()
                && owners.name(node) == node.name.as_str()
            {
                this.put(banks, &node.name, node.layer, count, shape, chosen.of(&node.label));
            }
        }
        for node in tables {
            // A table that is a product's matrix too lies once.
            let own = |n: &OperatorNode| n.weights.first().map(|t| t.name.clone());
            let twice = graph.operators().any(|n| n.matrices().is_some() && own(n).is_some() && own(n) == own(node));
            if let (Op::Embedding { vocab: rows, width } | Op::PositionEmbedding { positions: rows, width }, false) =
                (node.op, twice)
            {
                this.put(banks, &node.name, node.layer, 1, [rows, width], MatrixLayout::default());
            }
        }
        this
    }

    fn put(
        &mut self,
        banks: &Banks,
        name: &str,
        layer: Option<u32>,
        count: u64,
        [outputs, inputs]: [u64; 2],
        way: MatrixLayout,
    ) {
        let MatrixLayout { split, packed } = way;
        let product = Product { outputs, inputs, sets: &self.all, first_row: 0, packed, split, room: 0, vectors: 1 };
        // What cannot be counted does not fit.
        let rows = banks.rows_of(&product).unwrap_or(u64::MAX);
        self.matrices.push(Matrix {
            name: name.to_owned(),
            layer,
            outputs,
            inputs,
            first_row: self.rows,
            rows,
            count,
            way,
        });
        self.rows = self.rows.saturating_add(rows.saturating_mul(count));
    }

    pub(super) fn put_states(&mut self, banks: &Banks, graph: &Graph) {
        let mut row = self.rows;
        for node in graph.operators().filter(|n| n.state_bytes() > 0) {
            // Counted as it is read and as it is written.
            let bytes = node.state_bytes() / 2;
            let columns = bytes.div_ceil(banks.column_bytes_of_all()).max(1);
            let rows = columns.div_ceil(banks.columns());
            self.states.push(State {
                name: node.name.clone(),
                layer: node.layer,
                first_row: row,
                rows,
                columns,
                bytes,
            });
            row = row.saturating_add(rows);
        }
    }

    /// Rows of weights and states.
    pub(super) fn all_rows(&self) -> u64 {
        self.states.iter().fold(self.rows, |sum, s| sum.saturating_add(s.rows))
    }

    /// Rows of all.
    pub(super) fn rows_used(&self) -> u64 {
        self.attentions.iter().fold(self.all_rows(), |sum, (_, a)| sum.saturating_add(a.rows()))
    }

    /// Keys and values of so many sequences, of which the second number is at work at once.
    fn put_attention(
        &mut self,
        machine: &PimMachine,
        graph: &Graph,
        sequences: [u64; 2],
        first_row: u32,
        channels: Option<u32>,
    ) -> Option<()> {
        let mut kinds: Vec<Sizes> = Vec::new();
        let mut scores: Option<(&str, Sizes)> = None;
        // Scores, the cap, values: one after the other.
        for node in graph.operators() {
            match (node.op, &mut scores) {
                (Op::AttentionScores { heads, kv_heads, head_dim, context, .. }, _) => {
                    let (key_dim, value_dim, capped) = (head_dim, head_dim, false);
                    let sizes = Sizes { layers: 0, heads, kv_heads, key_dim, value_dim, context, capped };
                    scores = Some((&node.name, sizes));
                }
                (Op::ScoreCap { .. }, Some((_, sizes))) => sizes.capped = true,
                (Op::AttentionValues { head_dim, .. }, Some((name, sizes))) => {
                    let sizes = Sizes { value_dim: head_dim, ..*sizes };
                    let alike = kinds.iter().position(|k| Sizes { layers: 0, ..*k } == sizes);
                    let attention = alike.unwrap_or_else(|| {
                        kinds.push(sizes);
                        kinds.len() - 1
                    });
                    let index = kinds[attention].layers;
                    kinds[attention].layers += 1;
                    self.places.push(Place { scores: (*name).to_owned(), attention, index });
                }
                _ => {}
            }
        }
        let mut row = first_row;
        for sizes in kinds {
            let attention = PimAttention::in_waves(machine, sizes, sequences, row, channels).ok()?;
            row = u32::try_from(u64::from(row).saturating_add(attention.rows())).ok()?;
            self.attentions.push((sizes, attention));
        }
        Some(())
    }

    /// The matrix of a name.
    pub(super) fn matrix(&self, name: &str) -> Option<&Matrix> {
        self.matrices.iter().find(|m| m.name == name)
    }

    /// The attention of some scores, and its number among those that are alike.
    pub(super) fn attention(&self, scores: &str) -> Option<(&PimAttention, u32)> {
        let place = self.places.iter().find(|p| p.scores == scores)?;
        Some((&self.attentions.get(place.attention)?.1, place.index))
    }

    /// The product of one of a matrix' parts.
    pub(super) fn product(&self, m: &Matrix, part: u64) -> Product<'_> {
        let first_row = m.first_row + m.rows * part;
        let MatrixLayout { split, packed } = m.way;
        Product { outputs: m.outputs, inputs: m.inputs, sets: &self.all, first_row, packed, split, room: 0, vectors: 1 }
    }
}
