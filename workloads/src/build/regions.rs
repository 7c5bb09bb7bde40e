//! The graph of a step: what comes before the layers, layers by kind, and what comes after.

use super::flow::{Flow, Value};
use crate::generation::{Generation, Phase, Run, Step};
use crate::graph::{Graph, GraphError};
use crate::model::{Block, Model};
use crate::op::OperatorNode;

/// Where in a step a region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Before the first layer: embeddings.
    Before,
    /// Layers of an encoder.
    Encoder,
    /// Layers.
    Layers,
    /// After the last layer: the norm, the vocabulary, the choice of a token.
    After,
}

/// Consecutive layers that are alike, or what stands before or after all.
#[derive(Debug, Clone)]
pub struct Region {
    /// Where it is.
    pub place: Place,
    /// The kind of layer; empty outside of layers.
    pub block: String,
    /// Its operators, once; names begin with `layer{first}.` in layers. It reads `hidden`, and its last operator's result is the next one's.
    pub body: Graph,
    /// The number of its first layer.
    pub first_layer: u32,
    /// How many layers.
    pub repeat: u32,
    /// All layers of this kind, also those of other regions, have the same weights.
    pub shared: bool,
}

/// The graph of a step, region by region.
#[derive(Debug, Clone, Default)]
pub struct StepGraph {
    /// In order.
    pub regions: Vec<Region>,
}

impl StepGraph {
    /// Every operator once, with how often the step has it.
    pub fn operators(&self) -> impl Iterator<Item = (&OperatorNode, u32)> {
        self.regions.iter().flat_map(|r| r.body.operators().map(move |node| (node, r.repeat)))
    }

    fn sum(&self, of: impl Fn(&OperatorNode) -> u64) -> u128 {
        self.operators().map(|(node, repeat)| u128::from(of(node)) * u128::from(repeat)).sum()
    }

    /// Operations of the step.
    pub fn flops(&self) -> u128 {
        self.sum(OperatorNode::flops)
    }

    /// Bytes of parameters that it reads, those of layers with the same weights once.
    pub fn weight_bytes_read(&self) -> u128 {
        self.weights(OperatorNode::weight_bytes_read)
    }

    /// Bytes of parameters that it has, those of layers with the same weights once.
    pub fn weight_bytes(&self) -> u128 {
        self.weights(OperatorNode::weight_bytes)
    }

    fn weights(&self, of: impl Fn(&OperatorNode) -> u64) -> u128 {
        let mut shared: Vec<&str> = Vec::new();
        let mut sum = 0u128;
        for region in &self.regions {
            let one: u128 = region.body.operators().map(|n| u128::from(of(n))).sum();
            if !region.shared {
                sum += one * u128::from(region.repeat);
            } else if !shared.contains(&region.block.as_str()) {
                shared.push(&region.block);
                sum += one;
            }
        }
        sum
    }

    /// Bytes of cached keys, values and latent vectors that it reads.
    pub fn kv_bytes_read(&self) -> u128 {
        self.sum(OperatorNode::kv_bytes_read)
    }

    /// Bytes of recurrent states that it reads and writes.
    pub fn state_bytes(&self) -> u128 {
        self.sum(OperatorNode::state_bytes)
    }

    /// Checks every region's graph.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), GraphError> {
        self.regions.iter().try_for_each(|r| r.body.validate())
    }
}

/// Tokens that an encoder has read, and what is left for the layers after it.
fn of_encoder(step: &Step, generation: &Generation) -> (Vec<Run>, Step) {
    let prompt = generation.context_tokens.saturating_add(generation.prompt_tokens).max(1);
    let encoder = step.runs.iter().map(|r| Run { new: prompt, past: 0, ..*r }).collect();
    let own = |r: &Run| match step.phase {
        Phase::Prefill => Run { new: 1, past: 0, ..*r },
        Phase::Decode => Run { past: r.past.saturating_sub(prompt).saturating_add(1), ..*r },
    };
    (encoder, Step { runs: step.runs.iter().map(own).collect(), ..step.clone() })
}

impl Model {
    /// The graph of a step. What comes after the last layer runs for the last token of each sequence only, since no other is sampled from.
    pub fn graph(&self, step: &Step, generation: &Generation) -> StepGraph {
        let mut regions = Vec::new();
        let mut own = step.clone();
        let mut source = Vec::new();
        if let Some(encoder) = &self.encoder {
            (source, own) = of_encoder(step, generation);
            if step.phase == Phase::Prefill {
                let mut add = |place, block: &str, flow: Flow<'_>, first_layer, repeat, shared| {
                    regions.push(Region {
                        place,
                        block: block.to_owned(),
                        body: flow.graph,
                        first_layer,
                        repeat,
                        shared,
                    });
                };
                let runs = &source;
                let flow = |layer| Flow::new(self, encoder.width, step.phase, runs, layer).within("encoder");
                let mut before = flow(None);
                before.embed(&encoder.embed, "encoder_");
                add(Place::Before, "", before, 0, 1, false);
                let mut layer = 0;
                for run in &encoder.pattern {
                    let Some(block) = encoder.blocks.iter().find(|b| b.name == run.block) else { continue };
                    let mut flow = flow(Some(layer));
                    let hidden = flow.outside("encoder_hidden");
                    flow.block(block, hidden);
                    add(Place::Encoder, &block.name, flow, layer, run.layers, block.shared);
                    layer = layer.saturating_add(run.layers);
                }
                if let Some(norm) = encoder.final_norm {
                    let mut last = flow(None);
                    let hidden = last.outside("encoder_hidden");
                    last.norm("encoder_norm", "encoder norm", norm, &hidden);
                    add(Place::Before, "", last, 0, 1, false);
                }
            }
        }
        let flow = |layer| Flow::new(self, self.width, step.phase, &own.runs, layer).reading(&source);
        let mut add = |place, block: &str, flow: Flow<'_>, first_layer, repeat, shared| {
            if flow.graph.operators().next().is_some() {
                regions.push(Region { place, block: block.to_owned(), body: flow.graph, first_layer, repeat, shared });
            }
        };
        if generation.embedding {
            let mut before = flow(None);
            before.embed(&self.embed, "");
            add(Place::Before, "", before, 0, 1, false);
        }
        let mut first = 0;
        for (block, layers) in self.runs() {
            let mut flow = flow(Some(first));
            let hidden = flow.outside("hidden");
            flow.block(block, hidden);
            add(Place::Layers, &block.name, flow, first, layers, block.shared);
            first = first.saturating_add(layers);
        }
        if step.head {
            let mut after = flow(None);
            let hidden = after.outside("hidden");
            after.head(hidden, generation.lm_head);
            add(Place::After, "", after, first, 1, false);
        }
        StepGraph { regions }
    }

    /// The graph of a step in one piece, layer by layer.
    pub fn step_graph(&self, step: &Step, generation: &Generation) -> Graph {
        let mut flow = Flow::new(self, self.width, step.phase, &step.runs, None);
        let mut hidden = match generation.embedding {
            true => flow.embed(&self.embed, ""),
            false => flow.outside("hidden"),
        };
        let mut layer = 0u32;
        for (block, layers) in self.runs() {
            for _ in 0..layers {
                flow.layer = Some(layer);
                hidden = flow.block(block, hidden);
                layer = layer.saturating_add(1);
            }
        }
        flow.layer = None;
        if step.head {
            flow.head(hidden, generation.lm_head);
        }
        flow.graph
    }

    /// Bytes of all parameters in their formats, a tied or shared table once.
    pub fn weight_bytes(&self) -> u64 {
        let generation = Generation::default();
        let step = Step::prefill(1, 1);
        let graph = self.graph(&step, &generation);
        let mut bytes = graph.weight_bytes();
        // The vocabulary projection of a tied table is the table's.
        if self.head.tied && self.head.vocab > 0 {
            let of_head = |n: &&OperatorNode| n.name == "lm_head";
            let head = graph.regions.iter().flat_map(|r| r.body.operators()).find(of_head);
            bytes = bytes.saturating_sub(head.map_or(0, |n| u128::from(n.weight_bytes())));
        }
        // What no operator reads: tables of distances, frames' convolutions.
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl Flow<'_> {
    /// A layer.
    pub(super) fn block(&mut self, block: &Block, mut hidden: Value) -> Value {
        self.begin_block();
        for stage in &block.stages {
            hidden = self.stage(stage, &hidden);
        }
        hidden
    }
}
