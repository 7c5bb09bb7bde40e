//! A training step: its regions with both passes, the order in which they run, and what it keeps in memory.

use std::collections::BTreeSet;

use super::node::{HIDDEN, HIDDEN_GRADIENT, NEXT_HIDDEN, NEXT_HIDDEN_GRADIENT, Role, TrainNode, TrainOp, Value};
use super::pass::{NoGradient, passes};
use super::spec::{Optimizer, Pass, Precision, Recompute, TrainingSpec};
use crate::build::{Place, Region};
use crate::generation::{Generation, Phase, Step};
use crate::model::Model;
use crate::op::Op;
use crate::tensor::DataType;

/// A region of a training step.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainRegion {
    /// Where it is.
    pub place: Place,
    /// The number of its first layer.
    pub first_layer: u32,
    /// How many layers.
    pub repeat: u32,
    /// The forward pass of one layer.
    pub forward: Vec<TrainNode>,
    /// What of it runs again before the backward pass.
    pub again: Vec<TrainNode>,
    /// The backward pass.
    pub backward: Vec<TrainNode>,
}

/// A parameter tensor of a layer, or of the whole model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The layer; none outside of them.
    pub layer: Option<u32>,
    /// Its name in the layer.
    pub name: String,
    /// Rows; 1 of a vector.
    pub rows: u64,
    /// Columns.
    pub columns: u64,
}

impl Parameter {
    /// Elements.
    pub const fn elements(&self) -> u64 {
        self.rows.saturating_mul(self.columns)
    }
}

/// A training step of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingStep {
    /// What is asked for.
    pub spec: TrainingSpec,
    /// Its regions, in the order of the forward pass.
    pub regions: Vec<TrainRegion>,
    /// Parameters, in the order in which the forward pass first reads them; shared ones once.
    pub parameters: Vec<Parameter>,
    /// The model's type.
    pub dtype: DataType,
}

/// A node of a step, where it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scheduled<'a> {
    /// The node.
    pub node: &'a TrainNode,
    /// Its layer, from 0; none before the first and after the last.
    pub layer: Option<u32>,
    /// What it is a part of.
    pub pass: Pass,
    /// The region that it is in, and its place among the nodes of the pass there.
    pub place: (usize, usize),
    /// The number of the hidden state that its region reads: that of its layer.
    pub boundary: u32,
}

impl Scheduled<'_> {
    /// The memory that a value lies in, unique in the step.
    pub fn memory(&self, value: &Value) -> String {
        let next = self.boundary + u32::from(self.layer.is_some());
        match value.name.as_str() {
            HIDDEN => format!("hidden{}", self.boundary),
            NEXT_HIDDEN => format!("hidden{next}"),
            HIDDEN_GRADIENT => format!("d_hidden{}", self.boundary),
            NEXT_HIDDEN_GRADIENT => format!("d_hidden{next}"),
            name => match (self.layer, value.role) {
                (Some(layer), _) if value.role != Role::Outside => format!("layer{layer}.{name}"),
                _ => name.to_owned(),
            },
        }
    }
}

impl Model {
    /// A training step: forward pass, loss at every token, backward pass.
    ///
    /// # Errors
    /// An operator of the model has no gradient here, or the model has no vocabulary to have a loss over.
    pub fn training(&self, spec: &TrainingSpec) -> Result<TrainingStep, NoGradient> {
        let generation = Generation {
            batch: spec.micro_batch,
            prompt_tokens: spec.sequence,
            generated_tokens: 1,
            ..Generation::default()
        };
        let step = Step { head: false, ..Step::prefill(spec.micro_batch, spec.sequence) };
        let mut graph = self.graph(&step, &generation);
        // The loss is over every token, as the choice of tokens is where a draft is verified.
        let all_tokens = Step::uniform(Phase::Decode, spec.micro_batch, spec.sequence, 0);
        let head = self.graph(&all_tokens, &generation).regions.into_iter().filter(|r| r.place == Place::After);
        graph.regions.extend(head);
        let loss = |r: &Region| r.body.operators().any(|n| matches!(n.op, Op::ArgMax { .. }));
        if !graph.regions.iter().any(loss) {
            return Err(NoGradient { operator: "loss".to_owned(), kind: "cross_entropy" });
        }
        let gradients = match spec.precision {
            Precision::Pure => self.types.activations,
            Precision::Mixed => DataType::F32,
        };
        let mut of_model = BTreeSet::new();
        let mut regions = Vec::with_capacity(graph.regions.len());
        for region in graph.regions.iter().rev() {
            let mut own = BTreeSet::new();
            let layered = matches!(region.place, Place::Layers | Place::Encoder) && !region.shared;
            let summed = if layered { &mut own } else { &mut of_model };
            let hands_on = region.place != Place::After;
            let mut made = passes(&region.body, hands_on, self.types.activations, summed)?;
            set_parameter_gradients(&mut made.backward, gradients);
            let layers = matches!(region.place, Place::Layers | Place::Encoder);
            let again = if layers { again(spec.recompute, &made.forward, &made.backward) } else { Vec::new() };
            regions.push(TrainRegion {
                place: region.place,
                first_layer: region.first_layer,
                repeat: region.repeat,
                forward: made.forward,
                again,
                backward: made.backward,
            });
        }
        regions.reverse();
        let parameters = parameters(&graph.regions);
        Ok(TrainingStep { spec: *spec, regions, parameters, dtype: self.types.activations })
    }
}

fn set_parameter_gradients(nodes: &mut [TrainNode], dtype: DataType) {
    let values = nodes.iter_mut().flat_map(|n| n.reads.iter_mut().chain(&mut n.writes));
    values.filter(|v| v.role == Role::ParameterGradient).for_each(|v| v.dtype = dtype);
}

fn parameters(regions: &[Region]) -> Vec<Parameter> {
    let mut known = BTreeSet::new();
    let mut all = Vec::new();
    for region in regions {
        let layered = matches!(region.place, Place::Layers | Place::Encoder) && !region.shared;
        for layer in region.first_layer..region.first_layer.saturating_add(region.repeat) {
            let layer = layered.then_some(layer);
            for tensor in region.body.operators().flat_map(|n| &n.weights) {
                let name = super::tape::unlayered(&tensor.name).to_owned();
                if known.insert((layer, name.clone())) {
                    let columns = tensor.shape.last().copied().unwrap_or(1);
                    let rows = tensor.elements() / columns.max(1);
                    all.push(Parameter { layer, name, rows, columns });
                }
            }
        }
    }
    all
}

/// What of a layer's forward pass runs again. Of all of it, what follows the last value that a gradient needs does not.
fn again(recompute: Recompute, forward: &[TrainNode], backward: &[TrainNode]) -> Vec<TrainNode> {
    let needed: BTreeSet<&str> = backward.iter().flat_map(|n| &n.reads).map(|v| v.name.as_str()).collect();
    let of_use = |n: &TrainNode| n.writes.iter().any(|v| v.name != NEXT_HIDDEN && needed.contains(v.name.as_str()));
    match recompute {
        Recompute::None => Vec::new(),
        Recompute::Full => {
            let end = forward.iter().rposition(of_use).map_or(0, |last| last + 1);
            forward.iter().take(end).cloned().collect()
        }
        Recompute::Selective => forward.iter().filter(|n| is_cheap(n) && of_use(n)).cloned().collect(),
    }
}

/// What selective recomputation computes again: it is small work for what it keeps.
fn is_cheap(node: &TrainNode) -> bool {
    matches!(
        node.op,
        TrainOp::Attention(_)
            | TrainOp::Forward { of: Op::Activation { .. } | Op::GatedMul { .. } | Op::GatedNorm { .. } }
    )
}

impl TrainingStep {
    /// Every operator in the order in which it runs, of all micro batches.
    pub fn schedule(&self) -> Vec<Scheduled<'_>> {
        let mut all = Vec::new();
        let depth = self.regions.iter().map(|r| r.first_layer.saturating_add(r.repeat)).max().unwrap_or(0);
        for _ in 0..self.spec.accumulate.max(1) {
            for (number, region) in self.regions.iter().enumerate() {
                for layer in 0..region.repeat {
                    all.extend(Self::scheduled(region, number, layer, depth, &region.forward, Pass::Forward));
                }
            }
            if !self.spec.backward {
                continue;
            }
            for (number, region) in self.regions.iter().enumerate().rev() {
                for layer in (0..region.repeat).rev() {
                    let recompute = Pass::Backward { recompute: true };
                    all.extend(Self::scheduled(region, number, layer, depth, &region.again, recompute));
                    let pass = Pass::Backward { recompute: false };
                    all.extend(Self::scheduled(region, number, layer, depth, &region.backward, pass));
                }
            }
        }
        all
    }

    fn scheduled<'a>(
        region: &'a TrainRegion,
        number: usize,
        layer: u32,
        depth: u32,
        nodes: &'a [TrainNode],
        pass: Pass,
    ) -> impl Iterator<Item = Scheduled<'a>> + use<'a> {
        let layer = region.first_layer.saturating_add(layer);
        let layered = matches!(region.place, Place::Layers | Place::Encoder);
        let boundary = match region.place {
            Place::Before => 0,
            Place::Layers | Place::Encoder => layer,
            Place::After => depth.saturating_sub(1),
        };
        nodes.iter().enumerate().map(move |(i, node)| Scheduled {
            node,
            layer: layered.then_some(layer),
            pass,
            place: (number, i),
            boundary,
        })
    }

    /// Parameters in all.
    pub fn parameter_count(&self) -> u64 {
        self.parameters.iter().fold(0, |sum: u64, p| sum.saturating_add(p.elements()))
    }

    /// Operations of the step: forward, backward, and what is computed again.
    pub fn flops(&self) -> f64 {
        self.schedule().iter().map(|s| s.node.flops()).sum()
    }

    /// Bytes that a rank keeps of the optimiser: moments, scales, projections, and the parameters in 32 bits.
    pub fn optimizer_bytes(&self) -> u64 {
        let shards = self.spec.shards.max(1);
        let of = |p: &Parameter| {
            let n = p.elements();
            let master = if self.spec.precision == Precision::Mixed && self.spec.optimizer != Optimizer::None {
                DataType::F32.bytes(n)
            } else {
                0
            };
            let state = match self.spec.optimizer {
                Optimizer::None | Optimizer::Sgd => 0,
                // Two bytes a parameter, and two scales of 32 bits a block.
                Optimizer::AdamW8 { block } => 2 * n + 8 * n.div_ceil(block.max(1)),
                Optimizer::LowRank { rank, moments } if p.rows > 1 && p.columns > 1 => {
                    let (short, long) = (p.rows.min(p.columns), p.rows.max(p.columns));
                    let rank = rank.min(short);
                    // Moments of the projected gradient, and the projection.
                    2 * moments.bytes(rank.saturating_mul(long)) + moments.bytes(rank.saturating_mul(short))
                }
                Optimizer::Adafactor if p.rows > 1 && p.columns > 1 => DataType::F32.bytes(p.rows + p.columns),
                Optimizer::Adafactor => DataType::F32.bytes(n),
                Optimizer::Muon { moments } if p.rows > 1 && p.columns > 1 => moments.bytes(n),
                // Vectors are neither projected nor made orthogonal.
                Optimizer::AdamW { moments } | Optimizer::LowRank { moments, .. } | Optimizer::Muon { moments } => {
                    2 * moments.bytes(n)
                }
            };
            master.saturating_add(state)
        };
        self.parameters.iter().map(of).fold(0u64, u64::saturating_add).div_ceil(shards)
    }

    /// Bytes that stay from the forward pass to the backward pass, at their most: activations that gradients need and that are not computed again.
    pub fn saved_bytes(&self) -> u64 {
        let mut sum = 0u64;
        for region in &self.regions {
            let needed: BTreeSet<&str> =
                region.backward.iter().chain(&region.again).flat_map(|n| &n.reads).map(|v| v.name.as_str()).collect();
            let made_again: BTreeSet<&str> =
                region.again.iter().flat_map(|n| &n.writes).map(|v| v.name.as_str()).collect();
            let kept = region.forward.iter().flat_map(|n| &n.writes).filter(|v| {
                let name = v.name.as_str();
                name == NEXT_HIDDEN || needed.contains(name) && !made_again.contains(name)
            });
            let bytes = kept.map(Value::bytes).fold(0u64, u64::saturating_add);
            sum = sum.saturating_add(bytes.saturating_mul(region.repeat.into()));
        }
        sum
    }
}
