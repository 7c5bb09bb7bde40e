//! Matrix-vector products in the banks, in tiles of outputs whose sums fit the vector unit's memory.

use banksia_hw::program::{ChannelSet, InstructionId};
use banksia_workloads::{Graph, Op, OperatorNode};
use petgraph::Direction;
use petgraph::graph::NodeIndex;

use super::layout::{Chunk, Matrix};
use super::lower::{Items, Lowering, Purpose};
use super::map::PimGpt;
use super::packing::{Access, lcm, period_items};
use super::vector_ops::is_chosen_from;

impl Lowering<'_> {
    /// A matrix-vector product: for each tile of outputs and each chunk of inputs, the input goes to the global buffers, all
    /// banks multiply, the sums come back, and the vector unit adds them to those of the chunks before.
    ///
    /// Of several matrices only those that have vectors are read: of a mixture the experts that a token is routed to.
    pub(super) fn linear(&mut self, graph: &Graph, index: NodeIndex, node: &OperatorNode, operator: u32) {
        let (bias, vectors) = match node.op {
            Op::Linear { bias, .. } => (bias, vec![1]),
            Op::HeadLinear { heads, .. } => (false, vec![1; heads as usize]),
            Op::ExpertLinear { bias, .. } => (bias, node.load.to_vec()),
            _ => return,
        };
        let map = self.map;
        let Some(matrix) = map.layout.matrix(&map.owners.name(node)) else { return };
        let (after, freed) = self.take_inputs(graph, index);
        // The largest logit is found tile by tile, so that the logits need never be held all at once; so are they capped.
        let next = graph.petgraph().neighbors_directed(index, Direction::Outgoing);
        let cap = next.clone().filter(|n| is_chosen_from(graph, *n)).find_map(|n| match graph.operator(n) {
            Some(OperatorNode { op: Op::Activation { kind, .. }, label, .. }) => Some((*kind, label)),
            _ => None,
        });
        let cap = cap.map(|(kind, label)| (kind, self.builder.operator(label)));
        let chooser = (cap.is_some() || is_chosen_from(graph, index)).then(|| self.builder.operator("argmax"));
        let tiles = tiles(map, matrix);
        let mut ready = Vec::new();
        let mut held = 0;
        let mut last_broadcast = None;
        let all = vectors.iter().enumerate().flat_map(|(part, n)| (0..*n).map(move |_| part as u64));
        for part in all {
            let chunks: Vec<Chunk> = matrix.chunks_of(part).collect();
            for tile in &tiles {
                let elements = tile.elements(map.geometry.banks).min(matrix.outputs);
                let bytes = self.bytes(elements);
                let mut sums: Vec<InstructionId> = Vec::new();
                for (c, chunk) in chunks.iter().enumerate() {
                    let broadcast = self.write_buffer(operator, &self.all.clone(), chunk.columns, &after);
                    last_broadcast = Some(broadcast);
                    // The first chunk's sums stay; those of later ones are added to them and go.
                    self.builder.acquire(broadcast, bytes);
                    let products = self.products(operator, *chunk, tile);
                    if c == 0 && !bias {
                        sums = products;
                        continue;
                    }
                    let mut adds_after = products;
                    adds_after.append(&mut sums);
                    let add = self.vector(operator, map.functions.add(elements), &adds_after);
                    if c > 0 {
                        self.builder.release(add, bytes);
                    }
                    sums = vec![add];
                }
                if let Some((kind, cap)) = cap {
                    sums = vec![self.vector(cap, map.functions.activation(kind, elements), &sums)];
                }
                if let Some(chooser) = chooser {
                    let choice = self.vector(chooser, map.functions.largest(elements), &sums);
                    self.builder.release(choice, bytes);
                    sums = vec![choice];
                } else {
                    held += bytes;
                }
                ready.append(&mut sums);
            }
        }
        if let Some(last) = last_broadcast {
            self.builder.release(last, freed);
        }
        self.set(index, ready, held);
    }

    /// The products of one chunk for a tile: a walk on the channels that have one more output a bank, and one on the others.
    /// In each channel they follow the broadcast of their inputs, and wait for nothing else.
    fn products(&mut self, operator: u32, chunk: Chunk, tile: &Tile) -> Vec<InstructionId> {
        let accesses = [Access { offset: 0, columns: chunk.columns }];
        let mut out = Vec::new();
        for (channels, count) in tile.shares.iter().filter(|(channels, count)| *count > 0 && !channels.is_empty()) {
            let range = (tile.first, tile.first + count);
            let items = Items { purpose: Purpose::Multiply, stride: chunk.columns, range, accesses: &accesses };
            out.extend(self.walk(operator, channels, chunk.row, &items, &[]));
        }
        out
    }
}

/// Some of a matrix's outputs: in each bank those from `first` on, as many as its channel's share says.
struct Tile {
    first: u32,
    shares: [(ChannelSet, u32); 2],
}

impl Tile {
    fn elements(&self, banks: u32) -> u64 {
        self.shares.iter().map(|(channels, n)| u64::from(channels.len()) * u64::from(*n) * u64::from(banks)).sum()
    }
}

/// Cuts a matrix's outputs into tiles whose sums take at most a part of the vector unit's memory.
fn tiles(map: &PimGpt, matrix: &Matrix) -> Vec<Tile> {
    let geometry = &map.geometry;
    let groups = matrix.outputs.div_ceil(u64::from(geometry.banks));
    let (least, more) = geometry.share(groups);
    let bytes_per_output = geometry.units() * geometry.element_bytes;
    // Tiles begin where every chunk's packing begins a row.
    let step = matrix.chunks.iter().map(|c| u64::from(period_items(c.columns, geometry.columns))).fold(1, lcm);
    let fitting = map.sram_bytes / map.tile_part / bytes_per_output / step * step;
    let most = u32::try_from(fitting.max(step)).unwrap_or(u32::MAX);
    let all = ChannelSet::first(geometry.channels);
    let with_more = ChannelSet::first(more);
    let most_of_all = least + u32::from(more > 0);
    let mut tiles = Vec::new();
    let mut first = 0;
    while first < most_of_all {
        let share = |n: u32| n.saturating_sub(first).min(most);
        let shares = if share(least) == share(least + 1) || more == 0 {
            [(all.clone(), share(most_of_all)), (ChannelSet::EMPTY, 0)]
        } else {
            [(with_more.clone(), share(least + 1)), (all.without(&with_more), share(least))]
        };
        tiles.push(Tile { first, shares });
        first = first.saturating_add(most);
    }
    tiles
}
