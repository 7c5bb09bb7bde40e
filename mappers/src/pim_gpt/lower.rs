//! From a token's operator graph to the program of that token.

use std::collections::HashMap;
use std::rc::Rc;

use banksia_hw::program::{
    ChannelSet, InstructionId, Pattern, PatternStep, Program, ProgramBuilder, VectorFunction, Work,
};
use banksia_workloads::{Graph, Op, OperatorNode};
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::map::PimGpt;
use super::packing::{Access, Piece, access, mac_and_read, pieces, step, walk, write_every_bank};
use super::vector_ops;

/// A value in the vector unit's memory: which instructions it is complete after, how much it holds, and how many operators
/// have yet to read it.
#[derive(Debug, Clone, Default)]
pub(super) struct Value {
    pub ready: Vec<InstructionId>,
    bytes: u64,
    uses: u32,
}

/// What is done with each access of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Multiply-accumulate in every bank, and read the sums.
    Multiply,
    /// Write one column in every bank.
    Write,
}

/// Packed items, and the accesses to make to each.
pub(super) struct Items<'a> {
    pub purpose: Purpose,
    /// Columns of an item.
    pub stride: u32,
    /// From which item on, and up to which.
    pub range: (u32, u32),
    pub accesses: &'a [Access],
}

type WalkKey = (Purpose, u32, (u32, u32), Vec<Access>);

/// Patterns, first rows and iterations.
type KnownWalk = Rc<[(u32, u32, u32)]>;

impl Items<'_> {
    fn key(&self) -> WalkKey {
        (self.purpose, self.stride, self.range, self.accesses.to_vec())
    }
}

/// Lowers one token.
pub(super) struct Lowering<'a> {
    pub map: &'a PimGpt,
    pub builder: ProgramBuilder,
    pub all: ChannelSet,
    pub context: u64,
    values: Vec<Value>,
    /// Walks that the program has.
    walks: HashMap<WalkKey, KnownWalk>,
    /// What the operator before is complete after.
    last: Vec<InstructionId>,
    /// The nodes of the attention in hand: scores and softmax wait until the values node lowers all three.
    pub attention: Vec<NodeIndex>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(map: &'a PimGpt, phase: &str, context: u64) -> Self {
        Self {
            map,
            builder: ProgramBuilder::new(phase, context),
            all: ChannelSet::first(map.geometry.channels),
            context,
            values: Vec::new(),
            walks: HashMap::new(),
            last: Vec::new(),
            attention: Vec::new(),
        }
    }

    /// The program of a token whose graph is given.
    pub(super) fn program(mut self, graph: &Graph) -> Program {
        // A checked graph has no cycle; without an order there is nothing to lower.
        let order = graph.topological().unwrap_or_default();
        self.values = vec![Value::default(); graph.petgraph().node_count()];
        for index in order {
            if let Some(node) = graph.operator(index) {
                self.values[index.index()].uses =
                    graph.petgraph().edges_directed(index, Direction::Outgoing).count() as u32;
                self.lower(graph, index, node);
            }
        }
        self.builder.finish()
    }

    fn lower(&mut self, graph: &Graph, index: NodeIndex, node: &OperatorNode) {
        let operator = self.builder.operator(&node.label);
        self.builder.occurs(operator, node.flops() as f64, 2.0 * vector_ops::macs(node) as f64);
        let functions = self.map.functions;
        match node.op {
            Op::Embedding { width, .. } => {
                // Which token it is does not change the cost, only the bank that is read.
                let token = (self.context - 1) % self.map.model.embed.vocab.max(1);
                let table = if self.map.layout.matrix(&node.name).is_some() { node.name.as_str() } else { "lm_head" };
                let read = self.read_row(operator, table, token, width, &[]);
                self.set(index, read, self.bytes(width));
            }
            Op::PositionEmbedding { width, positions } => {
                let position = (self.context - 1) % positions.max(1);
                let read = self.read_row(operator, &node.name, position, width, &[]);
                let (mut after, freed) = self.take_inputs(graph, index);
                after.extend(read);
                let sum = self.vector(operator, functions.add(width), &after);
                // The table's row is read in beside the hidden state and gone after the sum.
                self.builder.release(sum, self.bytes(width) + freed);
                self.builder.acquire(sum, self.bytes(width));
                self.set(index, vec![sum], self.bytes(width));
            }
            Op::LayerNorm { width } => self.elementwise(graph, index, operator, functions.norm(width, true), width),
            Op::RmsNorm { width } => self.elementwise(graph, index, operator, functions.norm(width, false), width),
            Op::Residual { width } => self.elementwise(graph, index, operator, functions.add(width), width),
            Op::GatedMul { width } => self.elementwise(graph, index, operator, functions.multiply(width), width),
            // Capped beside the projection that gives them, tile by tile.
            Op::Activation { .. } if vector_ops::is_chosen_from(graph, index) => {
                let (after, freed) = self.take_inputs(graph, index);
                self.set(index, after, freed);
            }
            Op::Activation { kind, width } => {
                self.elementwise(graph, index, operator, functions.activation(kind, width), width);
            }
            Op::Rotary { heads, kv_heads, head_dim, rotary_dim } => {
                let function = functions.rotary((heads + kv_heads) * rotary_dim);
                self.elementwise(graph, index, operator, function, (heads + kv_heads) * head_dim);
            }
            Op::Linear { .. } | Op::HeadLinear { .. } | Op::ExpertLinear { .. } => {
                self.linear(graph, index, node, operator);
            }
            Op::KvAppend { .. } | Op::AttentionScores { .. } | Op::ScoreCap { .. } | Op::Softmax { .. } => {
                self.attention.push(index);
            }
            Op::AttentionValues { .. } => {
                self.attention.push(index);
                self.attention(graph);
            }
            // The choice of the token runs beside the vocabulary projection, tile by tile.
            Op::ArgMax { .. } => {}
            // Operators that the mapping does not know were refused when the model was laid out.
            _ => {
                if let Some(work) = vector_ops::work(&functions, node) {
                    self.vector_work(graph, index, node, operator, &work);
                }
            }
        }
        let ready = &self.values[index.index()].ready;
        if !ready.is_empty() {
            self.last.clone_from(ready);
        }
    }

    pub(super) fn bytes(&self, elements: u64) -> u64 {
        elements * self.map.geometry.element_bytes
    }

    /// Stores a node's value, which holds `bytes` of memory; one that no operator reads gives them back at once.
    pub(super) fn set(&mut self, index: NodeIndex, ready: Vec<InstructionId>, bytes: u64) {
        let value = &mut self.values[index.index()];
        if value.uses == 0 {
            if let Some(last) = ready.last() {
                self.builder.release(*last, bytes);
            }
            value.ready = ready;
            return;
        }
        value.ready = ready;
        value.bytes = bytes;
    }

    /// A producer's value is read once more; returns what it is ready after, and the bytes to give back after that reading.
    pub(super) fn take(&mut self, producer: NodeIndex, readings: u32) -> (Vec<InstructionId>, u64) {
        let value = &mut self.values[producer.index()];
        value.uses = value.uses.saturating_sub(readings);
        let freed = if value.uses == 0 { std::mem::take(&mut value.bytes) } else { 0 };
        (value.ready.clone(), freed)
    }

    /// Reads every input of a node.
    pub(super) fn take_inputs(&mut self, graph: &Graph, index: NodeIndex) -> (Vec<InstructionId>, u64) {
        let mut producers: Vec<NodeIndex> =
            graph.petgraph().edges_directed(index, Direction::Incoming).map(|e| e.source()).collect();
        producers.sort_unstable();
        let (mut after, mut freed) = (Vec::new(), 0);
        for producer in producers {
            let (ready, bytes) = self.take(producer, 1);
            after.extend(ready);
            freed += bytes;
        }
        self.complete(&mut after);
        (after, freed)
    }

    /// What the graph gives as an input from outside, though operators before make it, is there after them.
    pub(super) fn complete(&self, after: &mut Vec<InstructionId>) {
        if after.is_empty() {
            after.clone_from(&self.last);
        }
        after.sort_unstable();
        after.dedup();
    }

    pub(super) fn vector(&mut self, operator: u32, function: VectorFunction, after: &[InstructionId]) -> InstructionId {
        let function = self.builder.function(function);
        self.builder.push(operator, Work::Vector { function }, after)
    }

    pub(super) fn pim(
        &mut self,
        operator: u32,
        channels: &ChannelSet,
        (pattern, row, iterations): (Pattern, u32, u32),
        after: &[InstructionId],
    ) -> InstructionId {
        let pattern = self.builder.pattern(pattern);
        let channels = self.builder.channels(channels);
        self.builder.push(operator, Work::Pim { channels, pattern, row, iterations }, after)
    }

    /// A walk over packed items of a region that begins at `row`; its instructions follow one another in each channel, so
    /// the last completes last.
    pub(super) fn walk(
        &mut self,
        operator: u32,
        channels: &ChannelSet,
        row: u32,
        items: &Items<'_>,
        after: &[InstructionId],
    ) -> Option<InstructionId> {
        // Layers do the same walks in other rows.
        let found = self.walks.get(&items.key()).cloned();
        let walk = found.unwrap_or_else(|| {
            let geometry = &self.map.geometry;
            let walk = match items.purpose {
                Purpose::Multiply => walk(geometry, items.stride, items.range, items.accesses, &mac_and_read(geometry)),
                Purpose::Write => {
                    walk(geometry, items.stride, items.range, items.accesses, &write_every_bank(geometry))
                }
            };
            let walk: KnownWalk =
                walk.into_iter().map(|(pattern, first, n)| (self.builder.pattern(pattern), first, n)).collect();
            self.walks.insert(items.key(), Rc::clone(&walk));
            walk
        });
        let channels = self.builder.channels(channels);
        let mut last = None;
        for (pattern, first, iterations) in walk.iter().copied() {
            let work = Work::Pim { channels, pattern, row: row + first, iterations };
            last = Some(self.builder.push(operator, work, after));
        }
        last
    }

    /// An operator of one vector function. Where its inputs' memory is free afterwards, its output takes that place.
    fn elementwise(&mut self, graph: &Graph, index: NodeIndex, operator: u32, function: VectorFunction, elements: u64) {
        let (after, freed) = self.take_inputs(graph, index);
        let bytes = self.bytes(elements);
        let done = self.vector(operator, function, &after);
        self.builder.acquire(done, bytes.saturating_sub(freed));
        self.builder.release(done, freed.saturating_sub(bytes));
        self.set(index, vec![done], bytes);
    }

    /// Broadcasts some columns of a vector to the global buffers.
    pub(super) fn write_buffer(
        &mut self,
        operator: u32,
        channels: &ChannelSet,
        columns: u32,
        after: &[InstructionId],
    ) -> InstructionId {
        let pattern = Pattern { steps: vec![step(&self.map.geometry.write_buffer, columns, None)], rows: 0 };
        self.pim(operator, channels, (pattern, 0, 1), after)
    }

    /// Reads one row of a table laid out as a matrix: the part of each chunk from the bank that has it.
    fn read_row(
        &mut self,
        operator: u32,
        table: &str,
        row: u64,
        width: u64,
        after: &[InstructionId],
    ) -> Vec<InstructionId> {
        let map = self.map;
        let geometry = &map.geometry;
        let Some(matrix) = map.layout.matrix(table) else { return Vec::new() };
        let group = row / u64::from(geometry.banks);
        let bank = (row % u64::from(geometry.banks)) as u32;
        let channel = (group % u64::from(geometry.channels)) as u32;
        let local = group / u64::from(geometry.channels);
        let mut out = Vec::new();
        for chunk in &matrix.chunks {
            let first = local * u64::from(chunk.columns);
            let steps: Vec<PatternStep> = pieces(first, chunk.columns, geometry.columns)
                .map(|p| Piece { row: chunk.row + p.row, ..p })
                .map(|p| PatternStep { first_node: bank, ..access(&geometry.read, p) })
                .collect();
            let read = self.pim(operator, &ChannelSet::one(channel), (Pattern { steps, rows: 0 }, 0, 1), after);
            out.push(read);
        }
        if let Some(first) = out.first() {
            self.builder.acquire(*first, self.bytes(width));
        }
        out
    }
}
