//! A pipeline stage's chunks as maps of clocks.

use super::compile::{Compiler, Part, Tally};
use super::dense::{attention, attention_back, feed_forward, feed_forward_back};
use super::ends::{embedding, embedding_back, head, head_back};
use super::error::ParallelError;
use super::lists::{Backward, Context};
use super::moe::{experts, experts_back};
use super::op::{HostWork, Item};
use super::pipeline::StageMaps;
use super::settings::{Recompute, Zero};
use super::update::{Local, gather, local, reduce};

/// Parts of a layer, of the ends, and the variants of the first and last micro batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts {
    pub(super) forward: Part,
    pub(super) first_forward: Part,
    pub(super) backward: Part,
    pub(super) last_backward: Part,
    pub(super) input: Part,
    pub(super) weight: Part,
    pub(super) embedding: Part,
    pub(super) embedding_back: Part,
    pub(super) head: Part,
    pub(super) head_back: Part,
    pub(super) head_input: Part,
    pub(super) head_weight: Part,
    /// What a micro batch takes on the host beside its layers.
    pub(super) micro: Part,
}

/// A layer's forward pass.
pub fn layer_forward(c: &Context<'_>) -> Vec<Item> {
    let mut items = vec![Item::Host(HostWork::Module, 1)];
    attention(c, &mut items);
    match c.shape.experts {
        Some(e) => experts(c, e, &mut items),
        None => feed_forward(c, &mut items),
    }
    items
}

/// A layer's backward pass, with what is computed again.
pub fn layer_backward(c: &Context<'_>) -> Backward {
    let mut back = Backward::default();
    if c.train.recompute == Recompute::Full {
        back.input(Item::Host(HostWork::Checkpoint, 1));
        for item in layer_forward(c) {
            back.input(item);
        }
    }
    match c.shape.experts {
        Some(e) => experts_back(c, e, &mut back),
        None => feed_forward_back(c, &mut back),
    }
    attention_back(c, &mut back);
    back
}

/// With weights gathered a layer ahead: waits for its own, sends for the next.
fn gathered(items: &[Item], gather: &[Item]) -> Vec<Item> {
    let mut all = vec![Item::JoinReplicas];
    all.extend_from_slice(gather);
    all.extend_from_slice(items);
    all
}

impl Parts {
    /// Parts of a setting.
    ///
    /// # Errors
    /// The device cannot run an operator, or the machine has no such group.
    pub fn of(compiler: &mut Compiler<'_>) -> Result<Self, ParallelError> {
        let c = compiler.context;
        let mut forward = layer_forward(&c);
        if c.train.recompute == Recompute::Full {
            forward.insert(0, Item::Host(HostWork::Checkpoint, 1));
        }
        let back = layer_backward(&c);
        let layer = local(&c, 1, false, false);
        let replicas = c.parallel.dp * c.parallel.cp > 1;
        let sharded = c.parallel.zero == Zero::Weights && replicas;
        let ahead = if replicas { gather(&c, layer, true) } else { Vec::new() };
        let sums = if replicas { reduce(&c, layer, true) } else { Vec::new() };
        let mut joined = back.joined.clone();
        let mut first = forward.clone();
        if sharded {
            forward = gathered(&forward, &ahead);
            first = forward.clone();
            joined = gathered(&joined, &ahead);
            joined.extend_from_slice(&sums);
        } else if c.parallel.overlap.parameters && c.parallel.zero != Zero::None {
            // All are sent for when the step begins; a layer waits for its own.
            first = ahead
                .iter()
                .map(|item| match *item {
                    Item::BesideReplicas(comm, class) => Item::Awaited(comm, class),
                    other => other,
                })
                .chain(forward.iter().copied())
                .collect();
        }
        let mut last = joined.clone();
        if c.parallel.overlap.gradients && !sharded {
            last.extend_from_slice(&sums);
        }
        let mut list = Vec::new();
        embedding(&c, &mut list);
        let embedding = compiler.part(&list)?;
        list.clear();
        head(&c, &mut list);
        let head = compiler.part(&list)?;
        let mut embedding_list = Backward::default();
        embedding_back(&c, &mut embedding_list);
        let mut head_list = Backward::default();
        head_back(&c, &mut head_list);
        let mut micro = Part::default();
        let seconds = c.software.host.micro_batch_us * 1e-6;
        micro.map.host(seconds);
        micro.tally.host_s = seconds;
        Ok(Self {
            forward: compiler.part(&forward)?,
            first_forward: compiler.part(&first)?,
            backward: compiler.part(&joined)?,
            last_backward: compiler.part(&last)?,
            input: compiler.part(&back.input)?,
            weight: compiler.part(&back.weight)?,
            embedding,
            embedding_back: compiler.part(&embedding_list.joined)?,
            head,
            head_back: compiler.part(&head_list.joined)?,
            head_input: compiler.part(&head_list.input)?,
            head_weight: compiler.part(&head_list.weight)?,
            micro,
        })
    }

    /// One layer of a micro batch, forward and backward.
    pub fn layer(&self) -> Part {
        let mut both = self.forward;
        both.then(&self.backward, 1);
        both
    }

    /// A layer's forward pass, and its backward pass.
    pub fn halves(&self) -> (Part, Part) {
        (self.forward, self.backward)
    }

    /// Nominal lengths of a chunk's tasks: forward, gradients of inputs, of weights.
    pub fn lengths(&self, layers: f64) -> [f64; 3] {
        [self.forward, self.input, self.weight].map(|p| p.map.span() * layers)
    }
}

/// What a stage runs: maps of its chunks, and what a micro batch of it takes.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Maps.
    pub maps: StageMaps,
    /// All of one micro batch.
    pub tally: Tally,
    /// Parameters.
    pub local: Local,
    /// Whether it has the embedding, and the head.
    pub ends: [bool; 2],
}

/// A stage of chunks of so many layers: the embedding before its first where it has that, the head after its last.
pub fn stage(c: &Context<'_>, parts: &Parts, chunks: &[u32], [first, last]: [bool; 2]) -> Stage {
    let mut maps = StageMaps {
        forward: Vec::new(),
        first_forward: Vec::new(),
        backward: Vec::new(),
        last_backward: Vec::new(),
        input: Vec::new(),
        weight: Vec::new(),
    };
    let split = c.parallel.schedule.splits_backward();
    let mut tally = Tally::default();
    let count = chunks.len();
    // The vocabulary's layers on all stages: each has its part of both.
    let everywhere = c.parallel.vocabulary && c.parallel.pp > 1;
    for (i, &layers) in chunks.iter().enumerate() {
        let has_embedding = i == 0 && (first || everywhere);
        let has_head = i + 1 == count && (last || everywhere);
        let forward = |layer: &Part| {
            let mut part = Part::default();
            if i == 0 {
                part.then(&parts.micro, 1);
            }
            if has_embedding {
                part.then(&parts.embedding, 1);
            }
            part.then(layer, layers);
            if has_head {
                part.then(&parts.head, 1);
            }
            part
        };
        let backward = |head: &Part, layer: &Part, table: Option<&Part>| {
            let mut part = Part::default();
            if has_head {
                part.then(head, 1);
            }
            part.then(layer, layers);
            if let Some(table) = table.filter(|_| has_embedding) {
                part.then(table, 1);
            }
            part
        };
        let ahead = forward(&parts.forward);
        let both = backward(&parts.head_back, &parts.backward, Some(&parts.embedding_back));
        let input = backward(&parts.head_input, &parts.input, None);
        let weight = backward(&parts.head_weight, &parts.weight, Some(&parts.embedding_back));
        maps.forward.push(ahead.map);
        maps.first_forward.push(forward(&parts.first_forward).map);
        maps.backward.push(both.map);
        maps.last_backward.push(backward(&parts.head_back, &parts.last_backward, Some(&parts.embedding_back)).map);
        maps.input.push(input.map);
        maps.weight.push(weight.map);
        tally = tally.plus(&ahead.tally, 1.0);
        if split {
            tally = tally.plus(&input.tally, 1.0).plus(&weight.tally, 1.0);
        } else {
            tally = tally.plus(&both.tally, 1.0);
        }
    }
    let ends = [first || everywhere, last || everywhere];
    let local = local(c, chunks.iter().sum(), ends[0], ends[1]);
    Stage { maps, tally, local, ends }
}
