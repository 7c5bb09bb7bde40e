//! What one rank has of a model that several ranks share: heads, columns, rows and experts divided, layers by stage, and the collectives that
//! put the parts together.
//!
//! A shard is made in two passes. `cut` divides the sizes of a stage's mixers, so that the graph of the shard is built as every graph is. The
//! graph of the whole stage stands beside it, and where an operator of the shard sums over fewer terms than its counterpart its result is a part of
//! a sum: `pass` follows such parts through operators that are linear, and puts a collective where one is needed whole. So no operator
//! has to be named, and models of any pattern are divided alike (Megatron-LM, arXiv 1909.08053; sequence parallel, arXiv 2205.05198).

mod cut;
mod experts;
mod pass;
mod sharding;

use crate::build::StepGraph;
use crate::generation::{Generation, Phase, Step};
use crate::model::{Layers, Mixer, Model};

pub use cut::ShardError;
pub use sharding::Sharding;

/// Consecutive layers of a model, with what stands before the first and after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first layer.
    pub first: u32,
    /// How many.
    pub layers: u32,
}

/// What one rank has of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Shard {
    /// The layers of its stage, sizes whole.
    stage: Model,
    /// The same with the sizes that the rank has.
    model: Model,
    sharding: Sharding,
    /// Experts that it has, by number.
    experts: Vec<u32>,
    /// Ranks that have each of the model's experts; none where each is on one.
    copies: Vec<u32>,
    last: bool,
}

impl Shard {
    /// A rank's part. `experts` are those of the rank, as numbers; all of them where experts are not divided.
    ///
    /// # Errors
    /// A size cannot be divided.
    pub fn new(model: &Model, span: Span, sharding: Sharding, experts: Vec<u32>) -> Result<Self, ShardError> {
        let stage = stage(model, span);
        let cut = cut::model(&stage, &sharding)?;
        let last = span.first.saturating_add(span.layers) >= model.layers();
        Ok(Self { stage, model: cut, sharding, experts, copies: Vec::new(), last })
    }

    /// The same where experts are on several ranks, which share an expert's rows: how many ranks have each expert of the model.
    #[must_use]
    pub fn with_copies(self, copies: Vec<u32>) -> Self {
        Self { copies, ..self }
    }

    /// The model with the sizes that the rank has; of experts those of one, all of them.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How it is divided.
    pub fn sharding(&self) -> &Sharding {
        &self.sharding
    }

    /// Whether a token comes out of it.
    pub fn is_last(&self) -> bool {
        self.last
    }

    /// The graph of a step, with the collectives.
    pub fn graph(&self, step: &Step, generation: &Generation) -> StepGraph {
        let step = Step { head: step.head && self.last, ..step.clone() };
        let mut own = self.model.graph(&step, generation);
        if self.sharding.is_whole() {
            return own;
        }
        let whole = self.stage.graph(&step, generation);
        let tokens = step.runs.iter().map(|r| r.new).min().unwrap_or(0);
        let sequence = self.sharding.sequence && step.phase == Phase::Prefill && tokens >= u64::from(self.sharding.tp);
        for (region, whole) in own.regions.iter_mut().zip(&whole.regions) {
            if self.sharding.ep > 1 {
                let own = experts::Own { experts: &self.experts, copies: &self.copies };
                region.body = experts::divided(&region.body, &self.sharding, &own, &self.model.routing);
            }
            region.body = pass::connected(&region.body, &whole.body, region.place, &self.sharding, sequence);
        }
        own
    }

    /// Bytes of the rank's parameters.
    pub fn weight_bytes(&self) -> u64 {
        let generation = Generation::default();
        let graph = self.graph(&Step::prefill(1, 1), &generation);
        let mut bytes = graph.weight_bytes();
        // The vocabulary projection of a tied table is the table's, where the rank has both.
        if self.model.head.tied && self.model.head.vocab > 0 && self.model.embed.vocab > 0 {
            let head = graph.regions.iter().flat_map(|r| r.body.operators()).find(|n| n.name == "lm_head");
            bytes = bytes.saturating_sub(head.map_or(0, |n| u128::from(n.weight_bytes())));
        }
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Rows that each of `experts` is sent when so many ranks of so many tokens each send theirs.
pub fn loads(model: &Model, tokens: u64) -> Vec<u64> {
    model
        .mixers()
        .find_map(|(mixer, _)| match mixer {
            Mixer::Experts(e) => Some(model.routing.rows(e.experts, e.top_k, tokens)),
            _ => None,
        })
        .unwrap_or_default()
}

/// Some layers of a model: the embedding before the first, the head after the last.
fn stage(model: &Model, span: Span) -> Model {
    let mut stage = model.clone();
    let end = span.first.saturating_add(span.layers);
    let mut at = 0u32;
    stage.pattern = Vec::new();
    for run in &model.pattern {
        let next = at.saturating_add(run.layers);
        let layers = next.min(end).saturating_sub(at.max(span.first));
        if layers > 0 {
            stage.pattern.push(Layers { block: run.block.clone(), layers });
        }
        at = next;
    }
    if span.first > 0 {
        stage.embed =
            crate::model::Embed { vocab: 0, width: 0, position_rows: 0, type_rows: 0, norm: None, ..stage.embed };
    }
    if end < at {
        stage.head.vocab = 0;
        stage.head.norm = None;
    }
    stage
}
