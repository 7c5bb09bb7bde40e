//! From a token's operator graph to the program of that token.

use std::collections::HashMap;
use std::sync::Arc;

use banksia_hw::program::{Block, ChannelSet, InstructionId, Program, ProgramBuilder, VectorFunction, Work};
use banksia_workloads::{Graph, Op, OperatorNode};
use petgraph::Direction::Incoming;
use petgraph::graph::NodeIndex;

use super::map::Pim;
use crate::plan::Unsupported;

struct Lowering<'a> {
    map: &'a Pim,
    builder: ProgramBuilder,
    context: u64,
    /// What each node's value is complete after.
    ready: HashMap<NodeIndex, Vec<InstructionId>>,
    batch: u64,
}

/// The program of a token of every sequence.
pub(super) fn program(map: &Pim, graph: &Graph, phase: &str, context: u64) -> Result<Program, Unsupported> {
    let batch = map.generation.batch;
    let mut lowering =
        Lowering { map, builder: ProgramBuilder::new(phase, context), context, ready: HashMap::new(), batch };
    for index in graph.topological().unwrap_or_default() {
        if let Some(node) = graph.operator(index) {
            let after = lowering.inputs(graph, index);
            let done = lowering.lower(node, after)?;
            lowering.ready.insert(index, done);
        }
    }
    Ok(lowering.builder.finish())
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
        // Scores, softmax and values come with the append, which has the layer.
        if let Op::AttentionScores { .. } | Op::Softmax { .. } | Op::AttentionValues { .. } = node.op {
            return Ok(after);
        }
        if let Op::KvAppend { .. } = node.op {
            let layer = node.layer.unwrap_or(0);
            return Ok(self.map.attention.lower(&mut self.builder, layer, 0..self.batch, self.context, &after));
        }
        let operator = self.builder.operator(&node.label);
        // A bias is the vector unit's.
        let in_banks = match node.op {
            Op::Linear { in_features, out_features, .. } => 2.0 * (in_features * out_features * self.batch) as f64,
            _ => 0.0,
        };
        self.builder.occurs(operator, node.flops() as f64, in_banks);
        let (f, n) = (self.map.functions, self.batch);
        Ok(match node.op {
            Op::Embedding { width, .. } => {
                let token = (self.context - 1) % self.map.model.vocab;
                let table =
                    if self.map.layout.matrix("token_embedding").is_some() { "token_embedding" } else { "lm_head" };
                self.read_row(operator, table, token, width, &after)
            }
            Op::PositionEmbedding { width, positions } => {
                let position = (self.context - 1) % positions;
                let mut read = self.read_row(operator, "position_embedding", position, width, &[]);
                read.extend(after);
                self.vector(operator, f.add(n * width), &read)
            }
            Op::LayerNorm { width } => self.each(operator, &f.norm(width, true), &after),
            Op::RmsNorm { width } => self.each(operator, &f.norm(width, false), &after),
            Op::Residual { width } => self.vector(operator, f.add(n * width), &after),
            Op::GatedMul { width } => self.vector(operator, f.multiply(n * width), &after),
            Op::Activation { kind, width } => self.vector(operator, f.activation(kind, n * width), &after),
            Op::Rotary { heads, kv_heads, rotary_dim, .. } => {
                self.vector(operator, f.rotary(n * (heads + kv_heads) * rotary_dim), &after)
            }
            Op::ArgMax { vocab } => self.each(operator, &f.largest(vocab), &after),
            Op::Linear { bias, .. } => self.linear(operator, &node.name, bias, &after),
            _ => {
                let (operator, kind) = (node.label.clone(), node.op.kind());
                return Err(Unsupported::Operator { mapper: "pim", operator, kind });
            }
        })
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

    /// A matrix by the vector of each sequence; the sums of parts of the vector, and the bias, are added by the vector unit.
    fn linear(&mut self, operator: u32, name: &str, bias: bool, after: &[InstructionId]) -> Vec<InstructionId> {
        let map = self.map;
        let Some(matrix) = map.layout.matrix(name) else { return after.to_vec() };
        let (product, results) = map.banks.product(&mut self.builder, &map.layout.product(matrix));
        let adds = map.banks.partial_sums(matrix.inputs) - 1 + u64::from(bias);
        let mut done = Vec::new();
        for _ in 0..self.batch {
            let mut out = self.block(operator, &product, after);
            if let Some(results) = &results {
                let read = self.builder.operator("read results");
                out = self.block(read, results, &[out]);
            }
            if adds > 0 {
                out = self.vector(operator, map.functions.add(adds * matrix.outputs), &[out])[0];
            }
            done.push(out);
        }
        if results.is_some() {
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
        let (banks, channels) = (u64::from(map.banks.banks), u64::from(map.banks.channels));
        let channel = ChannelSet::one((row / banks % channels) as u32);
        let outputs = matrix.outputs.div_ceil(banks * channels).max(1);
        let first = matrix.first_row + (row / (banks * channels)) * (matrix.rows / outputs);
        let place = ((row % banks) as u32, first, width.div_ceil(map.banks.lanes));
        let block = map.banks.access(&mut self.builder, false, &channel, &[place]);
        (0..self.batch).map(|_| self.block(operator, &block, after)).collect()
    }
}
