//! What the vector unit does by itself, and the states that it gets from the banks and gives back.

use banksia_hw::program::{ChannelSet, InstructionId, Pattern, PatternStep, VectorFunction};
use banksia_workloads::{Graph, OperatorNode};
use petgraph::graph::NodeIndex;

use super::functions::Functions;
use super::layout::State;
use super::lower::Lowering;
use super::packing::{Piece, access, pieces};
use super::vector_ops::{self, VectorWork};

impl Lowering<'_> {
    /// Functions of what comes in, the state's, functions of what goes out.
    pub(super) fn vector_work(
        &mut self,
        graph: &Graph,
        index: NodeIndex,
        node: &OperatorNode,
        operator: u32,
        work: &VectorWork,
    ) {
        let (mut after, freed) = self.take_inputs(graph, index);
        if work.before.is_empty() && work.of_state.is_none() && work.after.is_empty() {
            // The same vector goes on.
            self.set(index, after, freed);
            return;
        }
        let bytes = self.bytes(work.elements);
        let mut first = None;
        for function in &work.before {
            let done = self.vector(operator, function.clone(), &after);
            first = first.or(Some(done));
            after = vec![done];
        }
        if let Some(products) = work.of_state {
            let functions = Functions { element_bytes: vector_ops::state_element_bytes(node), ..self.map.functions };
            match self.map.layout.state(&node.name) {
                Some(state) => after = self.with_state(operator, state, functions, products, &after),
                None => after = vec![self.vector(operator, functions.multiply_add(products), &after)],
            }
        }
        for function in &work.after {
            let done = self.vector(operator, function.clone(), &after);
            first = first.or(Some(done));
            after = vec![done];
        }
        // Where its inputs' memory is free afterwards, its output takes that place.
        if let Some(last) = after.iter().copied().max() {
            self.builder.acquire(first.unwrap_or(last), bytes.saturating_sub(freed));
            self.builder.release(last, freed.saturating_sub(bytes));
        }
        self.set(index, after, bytes);
    }

    /// Reads a state part by part, updates it, and writes it back: each part is read while the one before is updated. Returns what all of it is
    /// updated after.
    fn with_state(
        &mut self,
        operator: u32,
        state: &State,
        functions: Functions,
        products: u64,
        after: &[InstructionId],
    ) -> Vec<InstructionId> {
        let map = self.map;
        let geometry = &map.geometry;
        let of_column = geometry.column_bytes * geometry.units();
        // Two parts at a time are in an eighth of the memory each.
        let at_once = (map.sram_bytes / 8 / of_column.max(1)).clamp(1, u64::from(geometry.columns));
        let parts = state.columns.div_ceil(at_once);
        let all = self.all.clone();
        let mut updated = Vec::new();
        // Not before what it is updated with is there: until then it would keep its room from what that needs.
        let mut read = self.state_part(operator, state, &all, (0, at_once.min(state.columns)), (false, after));
        self.builder.acquire(read, at_once.min(state.columns) * of_column);
        for part in 0..parts {
            let (first, columns) = (part * at_once, at_once.min(state.columns - part * at_once));
            let mut ready = vec![read];
            ready.extend_from_slice(after);
            let next = (first + at_once, at_once.min(state.columns.saturating_sub(first + at_once)));
            if part + 1 < parts {
                read = self.state_part(operator, state, &all, next, (false, after));
                self.builder.acquire(read, next.1 * of_column);
            }
            // Its share of the products and sums.
            let share = |upto: u64| (u128::from(products) * u128::from(upto) / u128::from(state.columns.max(1))) as u64;
            let function: VectorFunction = functions.multiply_add(share(first + columns) - share(first));
            let update = self.vector(operator, function, &ready);
            let written = self.state_part(operator, state, &all, (first, columns), (true, &[update]));
            self.builder.release(written, columns * of_column);
            updated.push(update);
        }
        updated
    }

    /// Reads some columns of a state in every bank, or writes them.
    fn state_part(
        &mut self,
        operator: u32,
        state: &State,
        channels: &ChannelSet,
        (first, columns): (u64, u64),
        (write, after): (bool, &[InstructionId]),
    ) -> InstructionId {
        let map = self.map;
        let geometry = &map.geometry;
        let command = if write { &geometry.write } else { &geometry.read };
        // Rows are counted from the first: parts of one length are one pattern.
        let base = (first / u64::from(geometry.columns)) as u32;
        let steps: Vec<PatternStep> = pieces(first, columns as u32, geometry.columns)
            .map(|p| PatternStep {
                nodes: geometry.banks,
                open_with: Some(geometry.open_all.clone()),
                ..access(command, Piece { row: p.row - base, ..p })
            })
            .collect();
        self.pim(operator, channels, (Pattern { steps, rows: 0 }, state.row + base, 1), after)
    }
}
