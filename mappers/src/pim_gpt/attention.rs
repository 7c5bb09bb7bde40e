//! Attention of one token over its cache: append, scores, softmax, values.
//!
//! Scores multiply the query, in the global buffers, with each token's keys; values multiply the probabilities with each
//! element's row of tokens. Heads go through in blocks whose scores fit the vector unit's memory. Within a block, the
//! scores of as many heads as the global buffer holds are one pass; softmax of a pass overlaps the next pass's products.

use banksia_hw::program::{ChannelSet, InstructionId, Pattern, PatternStep};
use banksia_workloads::{ActivationKind, Graph, Op};
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::layout::KvCache;
use super::lower::{Items, Lowering, Purpose};
use super::packing::{Access, Piece, access, pieces};

/// The shape of one layer's attention.
struct Shape<'a> {
    heads: u32,
    /// Query heads that share a key head.
    group: u32,
    /// Elements of a value head.
    value_dim: u64,
    /// Tokens that are attended to, the new one among them: those of the window, where there is one.
    context: u64,
    cache: &'a KvCache,
    /// The operator that caps the scores.
    cap: Option<u32>,
}

/// Heads whose scores are there: the first and the one after the last, the softmax they came from.
struct Pass {
    heads: (u32, u32),
    broadcast: InstructionId,
    softmax: InstructionId,
}

impl Lowering<'_> {
    /// Lowers the attention whose nodes have been gathered: append, scores, softmax, values.
    pub(super) fn attention(&mut self, graph: &Graph) {
        let nodes = std::mem::take(&mut self.attention);
        let find =
            |wanted: fn(&Op) -> bool| nodes.iter().copied().find(|n| graph.operator(*n).is_some_and(|o| wanted(&o.op)));
        let (Some(append), Some(scores), Some(softmax), Some(values)) = (
            find(|op| matches!(op, Op::KvAppend { .. })),
            find(|op| matches!(op, Op::AttentionScores { .. })),
            find(|op| matches!(op, Op::Softmax { .. })),
            find(|op| matches!(op, Op::AttentionValues { .. })),
        ) else {
            return;
        };
        let (Some(node), Some(of_scores)) = (graph.operator(values), graph.operator(scores)) else { return };
        let Op::AttentionValues { heads, kv_heads, head_dim, context, .. } = node.op else { return };
        let map = self.map;
        let Some(cache) = map.layout.cache(&of_scores.name) else { return };
        let capped = find(|op| matches!(op, Op::ScoreCap { .. })).and_then(|n| graph.operator(n));
        let cap = capped.map(|o| self.builder.operator(&o.label));
        let shape =
            Shape { heads: heads as u32, group: (heads / kv_heads) as u32, value_dim: head_dim, context, cache, cap };
        let mut label = |n: NodeIndex| graph.operator(n).map_or(0, |o| self.builder.operator(&o.label));
        let [append_op, scores_op, softmax_op, values_op] = [append, scores, softmax, values].map(&mut label);

        // The query, and the new keys and values: each read once, all done once the values are written.
        let mut producers: Vec<NodeIndex> = [append, scores]
            .iter()
            .flat_map(|n| graph.petgraph().edges_directed(*n, Direction::Incoming).map(|e| e.source()))
            .filter(|p| *p != append)
            .collect();
        producers.sort_unstable();
        let (mut inputs, mut freed) = (Vec::new(), 0);
        for producer in producers {
            let (ready, bytes) = self.take(producer, 1);
            inputs.extend(ready);
            freed += bytes;
        }
        self.complete(&mut inputs);

        self.append_keys(append_op, &shape, &inputs);
        let mut values_written = false;
        let (mut ready, mut first_broadcast) = (Vec::new(), None);
        let score_bytes = self.bytes(context.next_multiple_of(u64::from(map.geometry.banks)));
        // Half of the memory for scores: the other half holds what comes before and after.
        let block = u32::try_from(map.sram_bytes / 2 / score_bytes.max(1)).unwrap_or(u32::MAX).clamp(1, shape.heads);
        let whole_rounds = block / map.geometry.channels * map.geometry.channels * shape.group;
        let block = if whole_rounds > 0 { whole_rounds.min(block) } else { block };
        let bytes = self.bytes(heads * head_dim);
        let mut first = 0;
        while first < shape.heads {
            let to = (first + block).min(shape.heads);
            let passes = self.scores(scores_op, softmax_op, &shape, (first, to), score_bytes, &inputs);
            if let Some(pass) = passes.first().filter(|_| first == 0 && to < shape.heads) {
                // Where the mixed heads go is taken before scores of later blocks can take what is left: those wait for
                // room that this block's values give back, and these for none.
                self.builder.acquire(pass.broadcast, bytes);
            }
            if !values_written {
                // The values go into the banks while the vector unit is at the softmax.
                let written = self.append_values(append_op, &shape, &inputs);
                if to == shape.heads {
                    self.builder.release(written, freed);
                }
                values_written = true;
            } else if let Some(last) = passes.last().filter(|_| to == shape.heads) {
                // Until then queries of later blocks are still to come.
                self.builder.release(last.softmax, freed);
            }
            let broadcast = self.values(values_op, &shape, &passes, score_bytes, &mut ready);
            first_broadcast = first_broadcast.or(broadcast);
            first = to;
        }
        if let Some(first) = first_broadcast.filter(|_| block >= shape.heads) {
            // Where the mixed heads go is taken with the first of them. (With the broadcast, since the products themselves wait
            // for nothing but their turn.)
            self.builder.acquire(first, bytes);
        }
        self.set(values, ready, bytes);
    }

    /// Writes the token's keys: one bank of one channel, all heads side by side.
    fn append_keys(&mut self, operator: u32, shape: &Shape<'_>, after: &[InstructionId]) -> InstructionId {
        let map = self.map;
        let geometry = &map.geometry;
        // A window's newest token takes the place of its oldest.
        let token = shape.context - 1;
        let group = token / u64::from(geometry.banks);
        let bank = (token % u64::from(geometry.banks)) as u32;
        let channel = (group % u64::from(geometry.channels)) as u32;
        let slot = group / u64::from(geometry.channels);
        let columns = shape.cache.key_columns;
        let steps: Vec<PatternStep> = pieces(slot * u64::from(columns), columns, geometry.columns)
            .map(|p| PatternStep {
                first_node: bank,
                ..access(&geometry.write, Piece { row: shape.cache.key_row + p.row, ..p })
            })
            .collect();
        self.pim(operator, &ChannelSet::one(channel), (Pattern { steps, rows: 0 }, 0, 1), after)
    }

    /// Writes the token's values: in every bank one element of each item's row.
    fn append_values(&mut self, operator: u32, shape: &Shape<'_>, after: &[InstructionId]) -> InstructionId {
        let map = self.map;
        let geometry = &map.geometry;
        let column = ((shape.context - 1) / geometry.lanes) as u32;
        let accesses = [Access { offset: column, columns: 1 }];
        let mut last = InstructionId(0);
        for (channels, items) in self.value_shares(shape) {
            let items = Items {
                purpose: Purpose::Write,
                stride: shape.cache.value_columns,
                range: (0, items),
                accesses: &accesses,
            };
            if let Some(written) = self.walk(operator, &channels, shape.cache.value_row, &items, after) {
                last = written;
            }
        }
        last
    }

    /// Channels by how many value items they have.
    fn value_shares(&self, shape: &Shape<'_>) -> Vec<(ChannelSet, u32)> {
        let geometry = &self.map.geometry;
        let mut out: Vec<(ChannelSet, u32)> = Vec::new();
        for channel in 0..geometry.channels {
            let items = shape.cache.items.of_channel(geometry, channel);
            match out.iter_mut().find(|(_, n)| *n == items) {
                Some((set, _)) => *set = set.or(&ChannelSet::one(channel)),
                None => out.push((ChannelSet::one(channel), items)),
            }
        }
        out.retain(|(_, n)| *n > 0);
        out
    }

    /// Scores and softmax of the heads of a block, pass by pass.
    fn scores(
        &mut self,
        operator: u32,
        softmax: u32,
        shape: &Shape<'_>,
        (from, to): (u32, u32),
        score_bytes: u64,
        after: &[InstructionId],
    ) -> Vec<Pass> {
        let map = self.map;
        let geometry = &map.geometry;
        let head_columns = shape.cache.head_columns;
        let per_pass = (geometry.buffer_columns / head_columns).max(1);
        let token_groups = shape.context.div_ceil(u64::from(geometry.banks));
        let (least, more) = geometry.share(token_groups);
        let with_more = ChannelSet::first(more);
        let shares = [(with_more.clone(), least + 1), (self.all.without(&with_more), least)];
        let busy = if least > 0 { self.all.clone() } else { with_more };
        let mut passes = Vec::new();
        let mut first = from;
        while first < to {
            let last = (first + per_pass).min(to);
            let accesses: Vec<Access> = (first..last)
                .map(|h| Access { offset: h / shape.group * head_columns, columns: head_columns })
                .collect();
            // A head wider than the buffer would need chunks of its own; its columns then exceed the buffer's.
            let broadcast = self.write_buffer(operator, &busy, (last - first) * head_columns, after);
            self.builder.acquire(broadcast, u64::from(last - first) * score_bytes);
            let mut products = Vec::new();
            for (channels, slots) in shares.iter().filter(|(c, n)| !c.is_empty() && *n > 0) {
                let items = Items {
                    purpose: Purpose::Multiply,
                    stride: shape.cache.key_columns,
                    range: (0, *slots),
                    accesses: &accesses,
                };
                products.extend(self.walk(operator, channels, shape.cache.key_row, &items, &[]));
            }
            let rows = u64::from(last - first);
            if let Some(cap) = shape.cap {
                let function = map.functions.activation(ActivationKind::Tanh, rows * shape.context);
                products = vec![self.vector(cap, function, &products)];
            }
            let done = self.vector(softmax, map.functions.softmax(rows, shape.context), &products);
            passes.push(Pass { heads: (first, last), broadcast, softmax: done });
            first = last;
        }
        passes
    }

    /// Values of the heads of some passes: every channel that has items of a head multiplies them with its probabilities. Adds
    /// what completes them to `ready`, and returns the first broadcast.
    fn values(
        &mut self,
        operator: u32,
        shape: &Shape<'_>,
        passes: &[Pass],
        score_bytes: u64,
        ready: &mut Vec<InstructionId>,
    ) -> Option<InstructionId> {
        let map = self.map;
        let channels = map.geometry.channels;
        let (from, to) = (passes.first().map_or(0, |p| p.heads.0), passes.last().map_or(0, |p| p.heads.1));
        let softmax_of = |head: u32| passes.iter().find(|p| (p.heads.0..p.heads.1).contains(&head)).map(|p| p.softmax);
        // Heads in whole rounds go together where all channels hold one each; `member` of a group of query heads that share
        // a key head goes apart, since their probabilities differ.
        let mut jobs: Vec<(u32, u32, ChannelSet, u32, u32)> = Vec::new();
        for head in from..to {
            let (key_head, member) = (head / shape.group, head % shape.group);
            let round = key_head / channels;
            if round < shape.cache.items.rounds {
                let first = round * shape.cache.items.per_head;
                jobs.push((round, member, ChannelSet::one(key_head % channels), first, shape.cache.items.per_head));
            } else {
                let of_rest = key_head - shape.cache.items.rounds * channels;
                for (channel, first, count) in shape.cache.items.of_left_over(&map.geometry, of_rest) {
                    jobs.push((round, member, ChannelSet::one(channel), first, count));
                }
            }
        }
        // Jobs of one round that do the same on different channels are one instruction.
        let mut merged: Vec<(u32, u32, ChannelSet, u32, u32)> = Vec::new();
        for job in jobs {
            let same =
                merged.iter_mut().find(|m| (m.0, m.1, m.3, m.4) == (job.0, job.1, job.3, job.4) && !m.2.meets(&job.2));
            match same {
                Some(m) => m.2 = m.2.or(&job.2),
                None => merged.push(job),
            }
        }
        merged.sort_by_key(|(round, member, ..)| (*round, *member));
        let mut after: Vec<InstructionId> = Vec::new();
        let (mut first_broadcast, mut last) = (None, None);
        for (round, member, set, first, count) in merged {
            after.clear();
            for channel in 0..channels {
                let head = (round * channels + channel) * shape.group + member;
                // Left-over heads may lie on any channel: wait for all of them.
                if round >= shape.cache.items.rounds || set.contains(channel) {
                    after.extend(softmax_of(head));
                }
            }
            after.sort_unstable();
            after.dedup();
            let (broadcast, done) = self.value_items(operator, shape, &set, (first, first + count), &after);
            first_broadcast = first_broadcast.or(broadcast);
            last = done.last().copied().or(last);
            ready.extend(done);
        }
        if let Some(last) = last {
            self.builder.release(last, u64::from(to - from) * score_bytes);
        }
        first_broadcast
    }

    /// Multiplies some items with one head's probabilities, a bufferful of tokens at a time; returns the first broadcast, and
    /// what completes the sums.
    fn value_items(
        &mut self,
        operator: u32,
        shape: &Shape<'_>,
        channels: &ChannelSet,
        (from, to): (u32, u32),
        after: &[InstructionId],
    ) -> (Option<InstructionId>, Vec<InstructionId>) {
        let map = self.map;
        let geometry = &map.geometry;
        let columns = geometry.columns_of(shape.context) as u32;
        let mut first_broadcast = None;
        let mut sums: Vec<InstructionId> = Vec::new();
        let mut offset = 0;
        while offset < columns {
            let n = (columns - offset).min(geometry.buffer_columns);
            let broadcast = self.write_buffer(operator, channels, n, after);
            first_broadcast = first_broadcast.or(Some(broadcast));
            let accesses = [Access { offset, columns: n }];
            let items = Items {
                purpose: Purpose::Multiply,
                stride: shape.cache.value_columns,
                range: (from, to),
                accesses: &accesses,
            };
            let products = self.walk(operator, channels, shape.cache.value_row, &items, &[]);
            if offset == 0 {
                sums.extend(products);
            } else {
                let elements = u64::from(channels.len()) * u64::from(to - from) * u64::from(geometry.banks);
                sums.extend(products);
                let add = self.vector(
                    operator,
                    map.functions.add(elements.min(shape.value_dim * u64::from(shape.heads))),
                    &sums,
                );
                sums = vec![add];
            }
            offset += n;
        }
        (first_broadcast, sums)
    }
}
