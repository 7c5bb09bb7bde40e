//! Decoder-only generation on PIM devices in a chain: consecutive layers on each device, as CENT's pipeline has them (ASPLOS 2025).
//!
//! Every device has its layers as the `pim` mapping lays them out, and the cache of those layers. A token's hidden state passes from device to device; the
//! first looks the token up, and the last gives the next one. Sequences of a batch follow one another through the chain, so that each device works for
//! another sequence.

mod chain;

use banksia_hw::program::{Program, ProgramBuilder, Work};
use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};
use banksia_workloads::model::Layers;
use banksia_workloads::{Generation, Graph, Model};
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::pim::Pim;
use crate::plan::{Bound, Footprint, Judges, LayoutReport, Mapper, Plan, Problem, Unsupported};
use crate::replay::{Claims, Group, InBanks};
use crate::space::Knob;
use chain::Chain;

/// The strategy of this module.
#[derive(Debug, Clone, Copy)]
pub struct PimStagesMapper;

impl Mapper for PimStagesMapper {
    fn name(&self) -> &'static str {
        "pim-stages"
    }

    fn description(&self) -> &'static str {
        "decoder-only generation on PIM devices in a chain: consecutive layers on each, sequences one after the other through all"
    }

    fn page(&self) -> &'static str {
        include_str!("../../../docs/cent.md")
    }

    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    fn schema(&self, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }

    fn space(&self, _: &Problem<'_>) -> Result<Vec<Knob>, InputError> {
        Ok(Vec::new())
    }

    fn accepts(&self, machine: &Machine) -> bool {
        Chain::of(machine).is_some()
    }

    fn plan(&self, problem: &Problem<'_>) -> Result<Box<dyn Plan>, InputError> {
        #[derive(Default, serde::Deserialize)]
        struct None {}
        let None {} = problem.options(self)?;
        problem.plain_generation(self)?;
        let Some(chain) = Chain::of(problem.machine) else {
            let what = format!("is `{}`, which is no chain of PIM devices", problem.machine.name);
            return Err(problem
                .source
                .error("machine.base", what)
                .help("the mapping pim-stages maps to a machine of kind system whose devices, by name, are each linked to the next"));
        };
        Ok(Box::new(Stages::new(problem.model, problem.generation, chain, problem.source)?))
    }
}

/// A model in a chain of devices.
#[derive(Debug, Clone)]
struct Stages {
    model: Model,
    generation: Generation,
    chain: Chain,
    /// The layers of each device.
    stages: Vec<Pim>,
}

/// Some of a model's layers.
fn slice(model: &Model, from: u32, to: u32) -> Model {
    let mut first = 0;
    let mut pattern = Vec::new();
    for run in &model.pattern {
        let end = first + run.layers;
        let layers = end.min(to).saturating_sub(first.max(from));
        if layers > 0 {
            pattern.push(Layers { layers, ..run.clone() });
        }
        first = end;
    }
    Model { pattern, ..model.clone() }
}

impl Stages {
    fn new(model: &Model, generation: &Generation, chain: Chain, source: &Source) -> Result<Self, InputError> {
        let (layers, devices) = (model.layers(), chain.devices.len() as u32);
        if model.encoder.is_some() {
            let problem = format!("is `{}`, which has an encoder: the mapping pim-stages maps decoders", model.name);
            return Err(source.error("workload.model", problem));
        }
        if layers < devices {
            let problem = format!("is `{}`, whose {layers} layers do not reach for {devices} devices", model.name);
            return Err(source.error("workload.model", problem).help("use a machine of fewer devices"));
        }
        let edge = |device: u32| (u64::from(layers) * u64::from(device) / u64::from(devices)) as u32;
        let stages = (0..devices)
            .zip(&chain.devices)
            .map(|(i, device)| {
                let generation = Generation {
                    embedding: generation.embedding && i == 0,
                    lm_head: generation.lm_head && i + 1 == devices,
                    ..generation.clone()
                };
                Pim::new(slice(model, edge(i), edge(i + 1)), generation, &device.machine, source)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { model: model.clone(), generation: generation.clone(), chain, stages })
    }

    /// The context of a program of a number.
    fn context(&self, index: u64) -> u64 {
        self.generation.context_tokens + index + 1
    }
}

impl Plan for Stages {
    fn boxed(&self) -> Box<dyn Plan> {
        Box::new(self.clone())
    }

    fn generation(&self) -> &Generation {
        &self.generation
    }

    /// One for each token that passes through the model.
    fn programs(&self) -> u64 {
        self.generation.token_passes()
    }

    fn program_of(&self, token: u64) -> u64 {
        self.generation.pass_of_token(token)
    }

    fn lower(&mut self, index: u64, _: &mut dyn Judges) -> Result<Program, Unsupported> {
        let context = self.context(index);
        let prompt = self.generation.context_tokens + self.generation.prompt_tokens;
        let mut builder = ProgramBuilder::new(if context <= prompt { "prefill" } else { "decode" }, context);
        let graphs: Vec<Graph> = self.stages.iter().map(|s| s.graph_of_one(context)).collect();
        let bytes = self.model.types.activations.bytes(self.model.width);
        for sequence in 0..self.generation.batch {
            let mut after = Vec::new();
            for (i, (stage, graph)) in self.stages.iter().zip(&graphs).enumerate() {
                builder.on(self.chain.devices[i].number);
                after = stage.lower_one(&mut builder, graph, context, sequence, &after)?;
                if let Some(link) = self.chain.links.get(i) {
                    builder.on(link.number);
                    let operator = builder.operator("next stage");
                    builder.occurs(operator, 0.0, 0.0);
                    after = vec![builder.push(operator, Work::Transfer { bytes, back: link.back }, &after)];
                }
            }
        }
        Ok(builder.finish())
    }

    fn claims(&mut self, index: u64, _: &mut dyn Judges) -> Result<Option<Claims>, Unsupported> {
        let context = self.context(index);
        let mut claims = Claims::default();
        let mut banks: Vec<InBanks> = self.chain.devices.iter().map(|d| InBanks::new(d.number, &d.name)).collect();
        let graphs: Vec<Graph> = self.stages.iter().map(|s| s.graph_of_one(context)).collect();
        for sequence in 0..self.generation.batch {
            let mut before = None;
            for (i, (stage, graph)) in self.stages.iter().zip(&graphs).enumerate() {
                before = stage.claim_one(graph, context, sequence, (&mut claims, &mut banks[i]), before);
                if i < self.chain.links.len() {
                    let (name, labels) = (format!("to device {}", i + 1), vec!["next stage".to_owned()]);
                    let after = before.into_iter().collect();
                    claims.groups.push(Group { name, labels, after, required: true, ..Group::default() });
                    before = Some(claims.groups.len() - 1);
                }
            }
        }
        claims.banks = banks;
        Ok(Some(claims))
    }

    fn layout(&mut self, token: u64, judges: &mut dyn Judges) -> Result<LayoutReport, Unsupported> {
        let names = self.chain.devices.iter().map(|d| d.name.clone());
        let mut all = Vec::with_capacity(self.stages.len());
        for (name, stage) in names.zip(&mut self.stages) {
            all.push((name, stage.layout(token, judges)?));
        }
        Ok(LayoutReport::Joint(all))
    }

    fn footprint(&self) -> Footprint {
        let of_stages = |of: fn(&Footprint) -> u64| self.stages.iter().map(|s| of(&s.footprint())).max().unwrap_or(0);
        let one = self.model.kv_bytes(self.generation.last_context()) + self.model.state_bytes();
        let kv = u64::try_from(one * u128::from(self.generation.batch)).unwrap_or(u64::MAX);
        Footprint { weights: self.model.weight_bytes(), kv, activations: of_stages(|f| f.activations) }
    }

    /// A sequence passes through every device, and the busiest device works for every sequence.
    fn bound(&self, index: u64) -> Bound {
        let bounds: Vec<Bound> = self.stages.iter().map(|s| s.bound(index)).collect();
        let batch = self.generation.batch.max(1) as f64;
        let least = |of: fn(&Bound) -> f64| {
            let all: f64 = bounds.iter().map(of).sum();
            let busiest = bounds.iter().map(of).fold(0.0, f64::max);
            busiest.max(all / batch)
        };
        Bound { arithmetic_s: least(|b| b.arithmetic_s), memory_s: least(|b| b.memory_s) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banksia_workloads::zoo;

    #[test]
    fn slices_of_a_pattern_have_all_its_layers_once() {
        for name in ["llama2-7b", "mamba2-hybrid-8b"] {
            let model = zoo::load(name).unwrap();
            let layers = model.layers();
            let order = |m: &Model| -> Vec<String> {
                m.pattern.iter().flat_map(|r| vec![r.block.clone(); r.layers as usize]).collect()
            };
            for parts in [1, 3, 8, layers] {
                let slices = (0..parts).map(|i| slice(&model, layers * i / parts, layers * (i + 1) / parts));
                assert_eq!(slices.flat_map(|s| order(&s)).collect::<Vec<_>>(), order(&model), "{name} in {parts}");
            }
        }
    }
}
