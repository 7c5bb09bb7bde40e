//! From a token's operator graph to the program of that token.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use banksia_hw::program::{Block, ChannelSet, InstructionId, Program, ProgramBuilder, VectorFunction, Work};
use banksia_workloads::{Graph, Op, OperatorNode};
use petgraph::Direction::Incoming;
use petgraph::graph::NodeIndex;

use super::banks::{Product, Spot};
use super::map::Pim;
use crate::pim_gpt::functions::Functions;
use crate::pim_gpt::vector_ops::{self, VectorWork};
use crate::plan::Unsupported;

struct Lowering<'a> {
    map: &'a Pim,
    builder: &'a mut ProgramBuilder,
    context: u64,
    /// What each node's value is complete after.
    ready: HashMap<NodeIndex, Vec<InstructionId>>,
    batch: u64,
    /// The sequences, among those that have room.
    sequences: Range<u64>,
    /// States are read before there is something to update them with.
    ahead: bool,
}

/// The program of a token of every sequence.
pub(super) fn program(map: &Pim, graph: &Graph, phase: &str, context: u64) -> Result<Program, Unsupported> {
    let mut builder = ProgramBuilder::new(phase, context);
    part(map, &mut builder, graph, context, 0..map.generation.batch, &[])?;
    Ok(builder.finish())
}

/// The instructions of a token of some sequences, after others, in a program that has more. The last of them.
pub(super) fn part(
    map: &Pim,
    builder: &mut ProgramBuilder,
    graph: &Graph,
    context: u64,
    sequences: Range<u64>,
    after: &[InstructionId],
) -> Result<Vec<InstructionId>, Unsupported> {
    let batch = sequences.end - sequences.start;
    let mut lowering = Lowering { map, builder, context, ready: HashMap::new(), batch, sequences, ahead: true };
    let mut last = after.to_vec();
    for index in graph.topological().unwrap_or_default() {
        if let Some(node) = graph.operator(index) {
            let mut after = lowering.inputs(graph, index);
            // What the graph gives as an input from outside, though operators before make it, is there after them.
            if after.is_empty() {
                after = last;
            }
            let done = lowering.lower(node, after)?;
            last = done.clone();
            lowering.ready.insert(index, done);
        }
    }
    Ok(last)
}

/// The instructions of one operator of some sequences, after others; of its state's reading too, unless it is read `ahead`. The last of them.
pub(super) fn one(
    map: &Pim,
    builder: &mut ProgramBuilder,
    (node, sequences): (&OperatorNode, Range<u64>),
    context: u64,
    after: &[InstructionId],
    ahead: bool,
) -> Result<Vec<InstructionId>, Unsupported> {
    let (ready, batch) = (HashMap::new(), node.batch * node.tokens);
    let mut lowering = Lowering { map, builder, context, ready, batch, sequences, ahead };
    lowering.lower(node, after.to_vec())
}

impl Lowering<'_> {
    fn inputs(&self, graph: &Graph, index: NodeIndex) -> Vec<InstructionId> {
        let mut after: Vec<InstructionId> = graph
            .petgraph()
            .neighbors_directed(index, Incoming)
            .flat_map(|n| self.ready.get(&n).into_iter().flatten().copied())
            .collect();
        after.sort_unstable();
        after.dedup();
        after
    }

    fn lower(&mut self, node: &OperatorNode, after: Vec<InstructionId>) -> Result<Vec<InstructionId>, Unsupported> {
        // Append, softmax and values come with the scores.
        match node.op {
            Op::KvAppend { .. }
            | Op::Softmax { .. }
            | Op::ScoreCap { .. }
            | Op::AttentionValues { .. }
            | Op::Concat { .. } => {
                return Ok(after);
            }
            Op::AttentionScores { context, .. } => {
                let Some((attention, index)) = self.map.layout.attention(&node.name) else { return Ok(after) };
                return Ok(attention.lower(self.builder, index, self.sequences.clone(), context, &after));
            }
            _ => {}
        }
        let operator = self.builder.operator(&node.label);
        self.builder.occurs(operator, node.flops() as f64, 2.0 * vector_ops::macs(node) as f64);
        // Vectors of a node: of each sequence, and of each of its experts.
        let (f, n) = (self.map.functions, node.batch * node.tokens);
        Ok(match node.op {
            Op::Embedding { width, .. } => {
                let token = (self.context - 1) % self.map.model.embed.vocab.max(1);
                let table = if self.map.layout.matrix(&node.name).is_some() { node.name.as_str() } else { "lm_head" };
                self.read_row(operator, table, token, width, &after)
            }
            Op::PositionEmbedding { width, positions } => {
                let position = (self.context - 1) % positions.max(1);
                let mut read = self.read_row(operator, &node.name, position, width, &[]);
                read.extend(after);
                self.vector(operator, f.add(n * width), &read)
            }
            Op::LayerNorm { width } | Op::PlainNorm { width, .. } => self.each(operator, &f.norm(width, true), &after),
            Op::RmsNorm { width } => self.each(operator, &f.norm(width, false), &after),
            Op::ArgMax { vocab } => self.each(operator, &f.largest(vocab), &after),
            Op::Linear { bias, .. } => self.products(operator, node, &[self.batch; 1], bias, &after),
            // Heads' matrices one after the other.
            Op::HeadLinear { heads, .. } => self.products(operator, node, &vec![n; heads as usize], false, &after),
            // Only those that are routed to are read.
            Op::ExpertLinear { bias, .. } => {
                let load = std::sync::Arc::clone(&node.load);
                self.products(operator, node, &load, bias, &after)
            }
            _ => match vector_ops::work(&f, node) {
                Some(work) => self.vector_work(operator, node, &work, after),
                None => {
                    let (operator, kind) = (node.label.clone(), node.op.kind());
                    return Err(Unsupported::Operator { mapper: "pim", operator, kind });
                }
            },
        })
    }

    /// What the vector unit does for an operator: functions of what comes in, the state's, functions of what goes out.
    fn vector_work(
        &mut self,
        operator: u32,
        node: &OperatorNode,
        work: &VectorWork,
        mut after: Vec<InstructionId>,
    ) -> Vec<InstructionId> {
        for function in &work.before {
            after = self.vector(operator, function.clone(), &after);
        }
        let mut written = None;
        if let Some(products) = work.of_state {
            (after, written) = self.with_state(operator, node, products, after);
        }
        for function in &work.after {
            after = self.vector(operator, function.clone(), &after);
        }
        after.extend(written);
        after
    }

    /// Reads a state from the banks, updates it on the vector unit, and writes it back: what is updated, and the write.
    fn with_state(
        &mut self,
        operator: u32,
        node: &OperatorNode,
        products: u64,
        after: Vec<InstructionId>,
    ) -> (Vec<InstructionId>, Option<InstructionId>) {
        let map = self.map;
        let functions = Functions { element_bytes: vector_ops::state_element_bytes(node), ..map.functions };
        let update = functions.multiply_add(products);
        let Some(state) = map.layout.states.iter().find(|s| s.name == node.name) else {
            return (self.vector(operator, update, &after), None);
        };
        // Of a part of the batch, its part.
        let before = |sequences: u64| state.columns.saturating_mul(sequences) / map.generation.batch.max(1);
        let (column, end) = (before(self.sequences.start), before(self.sequences.end));
        let all = |bank| Spot { bank, row: state.first_row, column, columns: end.saturating_sub(column) };
        let places: Vec<Spot> = (0..map.banks.banks).map(all).collect();
        let read = map.banks.access(self.builder, false, &map.layout.all[0], &places);
        let read = self.block(operator, &read, if self.ahead { &[] } else { &after });
        let mut ready = after;
        ready.push(read);
        let updated = self.vector(operator, update, &ready);
        let write = map.banks.access(self.builder, true, &map.layout.all[0], &places);
        let written = self.block(operator, &write, &updated);
        (updated, Some(written))
    }

    fn vector(&mut self, operator: u32, function: VectorFunction, after: &[InstructionId]) -> Vec<InstructionId> {
        let function = self.builder.function(function);
        vec![self.builder.push(operator, Work::Vector { function }, after)]
    }

    /// A function of each sequence, one after the other.
    fn each(&mut self, operator: u32, function: &VectorFunction, after: &[InstructionId]) -> Vec<InstructionId> {
        (0..self.batch).flat_map(|_| self.vector(operator, function.clone(), after)).collect()
    }

    fn block(&mut self, operator: u32, block: &Arc<Block>, after: &[InstructionId]) -> InstructionId {
        let work = Work::Block { block: self.builder.block(block) };
        self.builder.push(operator, work, after)
    }

    /// Matrices of a node by as many vectors as each has; the sums of parts of a vector, and the bias, are added by the vector unit.
    fn products(
        &mut self,
        operator: u32,
        node: &OperatorNode,
        vectors: &[u64],
        bias: bool,
        after: &[InstructionId],
    ) -> Vec<InstructionId> {
        let map = self.map;
        let Some(matrix) = map.layout.matrix(&map.layout.owners.name(node)) else { return after.to_vec() };
        let adds = map.banks.partial_sums(&map.layout.product(matrix, 0)) - 1 + u64::from(bias);
        let (mut done, mut reads) = (Vec::new(), false);
        let at_once = u64::from(map.banks.vectors());
        for (part, count) in vectors.iter().enumerate().filter(|(_, count)| **count > 0) {
            let one = map.layout.product(matrix, part as u64);
            let mut last: Option<(u32, Arc<Block>, Option<Arc<Block>>)> = None;
            for first in (0..*count).step_by(at_once as usize) {
                let together = (*count - first).min(at_once) as u32;
                // Equal turns are the same block.
                let (product, results) = match last.take().filter(|(n, ..)| *n == together) {
                    Some((_, product, results)) => (product, results),
                    None => map.banks.product(self.builder, &Product { vectors: together, ..one }),
                };
                let mut out = self.block(operator, &product, after);
                if let Some(results) = &results {
                    let read = self.builder.operator("read results");
                    out = self.block(read, results, &[out]);
                }
                if adds > 0 {
                    let sums = adds * matrix.outputs * u64::from(together);
                    out = self.vector(operator, map.functions.add(sums), &[out])[0];
                }
                done.push(out);
                reads |= results.is_some();
                last = Some((together, product, results));
            }
        }
        if reads {
            let read = self.builder.operator("read results");
            self.builder.occurs(read, 0.0, 0.0);
        }
        done
    }

    /// Reads a row of a table, laid out as a matrix, for each sequence: all of a bank.
    fn read_row(
        &mut self,
        operator: u32,
        table: &str,
        row: u64,
        width: u64,
        after: &[InstructionId],
    ) -> Vec<InstructionId> {
        let map = self.map;
        let Some(matrix) = map.layout.matrix(table) else { return after.to_vec() };
        let mut places = map.banks.places_of(&map.layout.product(matrix, 0), row, 0..width.min(matrix.inputs));
        if map.banks.accesses_all() {
            // Parts that lie in the same place of several channels are read at once.
            let mut seen: Vec<Vec<Spot>> = Vec::new();
            places.retain(|(_, spots)| {
                let is_new = !seen.contains(spots);
                if is_new {
                    seen.push(spots.clone());
                }
                is_new
            });
        }
        let mut done = Vec::new();
        for (channel, spots) in places {
            let block = map.banks.access(self.builder, false, &ChannelSet::one(channel), &spots);
            done.extend((0..self.batch).map(|_| self.block(operator, &block, after)));
        }
        done
    }
}
