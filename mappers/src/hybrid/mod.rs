//! Decoder-only generation on a GPU and a PIM device: the GPU runs the prompt and, in decode, all but attention, which runs where the keys
//! and values lie, in the banks of the PIM device.
//!
//! The batch may be run as two halves that take turns, as NeuPIMs does (Heo et al., ASPLOS 2024): while the attention of one half runs in
//! the banks, the GPU works on the other. Where both devices use the same memory they cannot do so at once, and the machine sees to it.

mod bound;
mod capacity;
mod chain;
mod claims;
mod convert;
mod half;
mod map;
mod options;
mod pipeline;
mod place;
mod placed_claims;
mod share;
mod site;
mod steps;
mod values;
mod weights;

use banksia_hw::program::Program;
use banksia_hw::system::Machine;
use banksia_input::InputError;
use banksia_workloads::{Generation, Phase, Step};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::gpu::model::{GpuModel, GpuOptions, Parts, launches, no_judge};
use crate::pim::PimOperators;
use crate::pim_gpt::{MappingSummary, RegionSummary};
use crate::plan::{Bound, Footprint, Judges, LayoutReport, Mapper, Plan, Problem, Unsupported};
use crate::replay::Claims;
use crate::space::{Knob, of_values};
use half::Half;
use map::Hybrid;
use options::HybridOptions;
use place::{On, Places};
use site::Site;
use weights::{StepsOf, Weights};

/// The strategy of this module.
#[derive(Debug, Clone, Copy)]
pub struct HybridMapper;

impl Mapper for HybridMapper {
    fn name(&self) -> &'static str {
        "hybrid"
    }

    fn description(&self) -> &'static str {
        "decoder-only generation on a GPU and a PIM device: attention of decode in the banks, the rest on the GPU"
    }

    fn page(&self) -> &'static str {
        include_str!("../../../docs/mapping-hybrid.md")
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "launch",
            "attention",
            "halves",
            "attention_on",
            "attention_channels",
            "place",
            "place_prefill",
            "copies",
            "layout",
        ]
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        HybridOptions::json_schema(generator)
    }

    fn space(&self, problem: &Problem<'_>) -> Result<Vec<Knob>, InputError> {
        problem.plain_generation(self)?;
        let options: HybridOptions = problem.options(self)?;
        let site = Site::of(problem.machine);
        let turns = site.as_ref().is_some_and(Site::takes_turns);
        let channels = site.map_or(1, |s| s.pim.channels());
        let [launch, attention] = launches();
        let turns = if turns || problem.generation.batch < 2 { 1 } else { 2 };
        let widths = (0..32).map(|n| 1u32 << n).take_while(|n| *n <= channels).filter(|n| channels.is_multiple_of(*n));
        // Both halves of a batch, where it can be cut, take turns; a head has an even share of the channels.
        let turns = of_values((1..=turns).rev());
        let turns = Knob::whole("halves", "parts of the batch that take turns", turns);
        let turns = Knob { inert: options.alone(), ..turns };
        let widths = of_values(widths.map(i64::from));
        let width = Knob::whole("attention_channels", "channels of a head's keys and values", widths);
        let width = Knob { default: None, inert: vec![options::attention_on("gpu")], ..width };
        // The GPU's attention is the prompt's alone where the banks have that of decode.
        let prompts = problem.generation.prompt_tokens > 1;
        let inert = if prompts { Vec::new() } else { vec![options::attention_on("pim")] };
        let attention = Knob { inert, ..attention };
        let on = "where attention of decode runs, and keys and values lie";
        let mut knobs = vec![launch, attention];
        // A rule of attention pins it.
        if !options.places_attention() {
            knobs.push(Knob::whole("attention_on", on, of_values(["pim", "gpu"])));
        }
        knobs.extend([turns, width]);
        knobs.extend(options::places(problem, &options));
        Ok(knobs)
    }

    fn accepts(&self, machine: &Machine) -> bool {
        Site::of(machine).is_some()
    }

    fn plan(&self, problem: &Problem<'_>) -> Result<Box<dyn Plan>, InputError> {
        problem.plain_generation(self)?;
        Ok(Box::new(Hybrid::new(problem, &problem.options(self)?)?))
    }
}

impl Hybrid {
    fn new(problem: &Problem<'_>, options: &HybridOptions) -> Result<Self, InputError> {
        let &Problem { model, generation, machine, source } = problem;
        if model.encoder.is_some() {
            let problem = format!("is `{}`, which has an encoder: the hybrid mapping maps decoders", model.name);
            return Err(source.error("workload.model", problem).help("use the gpu mapping"));
        }
        let site = Site::of(machine).ok_or_else(|| {
            let error =
                source.error("machine.base", format!("is `{}`, which is not one GPU and one PIM device", machine.name));
            error.help("the hybrid mapping maps to a machine of kind system with one of each")
        })?;
        site.check(machine, source)?;
        let of_gpu = GpuOptions { launch: options.launch, attention: options.attention, ..GpuOptions::default() };
        let lower = |batch: u64| {
            let generation = Generation { batch, ..generation.clone() };
            GpuModel::beside_cache(model.clone(), &generation, &site.spec, of_gpu, source)
        };
        let graph = model.graph(&Step::decode(generation.batch, generation.last_context()), generation);
        let rules = [options.place.clone(), options.place_prefill.clone()];
        let places = Places::new(rules, options.attention_on, generation, &graph, source)?;
        let on_gpu = places.attention() == On::Gpu;
        let alone = on_gpu && !places.beyond_attention();
        let whole = lower(generation.batch)?;
        let mut parts: Vec<GpuModel> = Vec::new();
        let halves = half::halves(generation.batch, options.halves(generation, site.takes_turns(), alone, source)?);
        for batch in halves.iter().map(Half::batch).filter(|b| *b < generation.batch) {
            if parts.iter().all(|p| p.generation().batch != batch) {
                parts.push(lower(batch)?);
            }
        }
        let channels = options.attention_channels;
        if let Some(channels) = channels {
            source.check("mapping.attention_channels", channels, 1..=i64::from(site.pim.channels()))?;
        }
        let channels = channels.and_then(|n| u32::try_from(n).ok());
        let steps = StepsOf::new(model, generation, &places);
        let weights = if places.beyond_attention() {
            Weights::new(model, &steps.pairs(), options.copies)
        } else {
            Weights { of_gpu: model.weight_bytes(), ..Weights::default() }
        };
        let whole_graph = model.step_graph(&Step::decode(1, 1), generation);
        let chosen = PimOperators::check(&options.layout, &whole_graph, &site.pim, source)?;
        let operators = |batch: u64| places.beyond_attention().then(|| steps.in_banks(model, generation, batch));
        let wanted = capacity::Wanted {
            activations: whole.activations(),
            channels,
            on_gpu,
            weights: &weights,
            operators: &operators,
            chosen: &chosen,
        };
        let capacity::InBanks { cached, operators, reserved } =
            capacity::lay_out(&site, model, generation, wanted, source)?;
        Ok(Self {
            model: model.clone(),
            generation: generation.clone(),
            launch: options.launch,
            site,
            whole,
            parts,
            halves,
            on_gpu,
            cached,
            reserved,
            places,
            operators,
            weights,
            copies: options.copies,
        })
    }

    fn step_of(&self, index: u64) -> Result<Step, Unsupported> {
        self.generation.step(index).ok_or(Unsupported::NoStep(index))
    }

    /// What the banks hold.
    fn in_banks(&self) -> MappingSummary {
        let pim = &self.site.pim;
        let (g, device) = (&self.generation, &pim.device);
        let of_a_row = device.row_bytes() * u64::from(device.banks) * u64::from(pim.channels());
        let mut first_row = self.reserved.rows;
        let mut regions = self.operators.as_ref().map(PimOperators::regions).unwrap_or_default();
        first_row = first_row
            .saturating_add(self.operators.as_ref().map_or(0, |o| u32::try_from(o.rows()).unwrap_or(u32::MAX)));
        for (kind, attention) in &self.cached {
            let tokens = g.batch.saturating_mul(kind.sizes.context);
            let layers = u64::from(kind.sizes.layers);
            let elements = kind.of_a_token();
            let bytes = self.model.types.cache.bytes(elements.saturating_mul(tokens).saturating_mul(layers));
            let row_bytes = attention.rows().saturating_mul(of_a_row);
            regions.push(RegionSummary {
                name: "keys and values".into(),
                count: layers,
                shape: [tokens, elements],
                bytes,
                row_bytes,
                rows: attention.rows().div_ceil(layers.max(1)),
                first_row,
                chunks: 1,
                // Rows are multiplied as they lie.
                mac_utilization: (bytes as f64 / row_bytes.max(1) as f64).min(1.0),
            });
            first_row = first_row.saturating_add(u32::try_from(attention.rows()).unwrap_or(u32::MAX));
        }
        MappingSummary {
            model: self.model.name.clone(),
            channels: pim.channels(),
            banks_per_channel: device.banks,
            rows_per_bank: device.rows,
            rows_used: u64::from(first_row),
            capacity_bytes: pim.capacity_bytes(),
            regions,
        }
    }
}

impl Plan for Hybrid {
    fn boxed(&self) -> Box<dyn Plan> {
        Box::new(self.clone())
    }

    fn generation(&self) -> &Generation {
        &self.generation
    }

    fn programs(&self) -> u64 {
        self.generation.generated_tokens
    }

    fn program_of(&self, token: u64) -> u64 {
        token.saturating_sub(1)
    }

    fn lower(&mut self, index: u64, judges: &mut dyn Judges) -> Result<Program, Unsupported> {
        let step = self.step_of(index)?;
        let mut judge = judges.of(self.site.gpu as usize).ok_or_else(no_judge)?;
        match step.phase {
            _ if self.operators.is_some() => self.placed_step(&step, &mut *judge),
            Phase::Prefill => self.prefill(&step, &mut *judge),
            Phase::Decode => self.decode(&step, &mut *judge),
        }
    }

    fn claims(&mut self, index: u64, judges: &mut dyn Judges) -> Result<Option<Claims>, Unsupported> {
        let step = self.step_of(index)?;
        let mut judge = judges.of(self.site.gpu as usize).ok_or_else(no_judge)?;
        Ok(Some(match self.operators {
            Some(_) => self.placed_claims(&step, &mut *judge)?,
            None => self.claims_of(&step, &mut *judge)?,
        }))
    }

    fn layout(&mut self, token: u64, judges: &mut dyn Judges) -> Result<LayoutReport, Unsupported> {
        let step = self.step_of(token.saturating_sub(1))?;
        let mut judge = judges.of(self.site.gpu as usize).ok_or_else(no_judge)?;
        let name = self.site.gpu_name.clone();
        let mut report = Vec::new();
        if self.operators.is_some() {
            let batches = half::batches(&self.halves, step.phase == Phase::Decode, self.generation.batch);
            for (batch, times) in batches {
                let of_part =
                    if times == 1 { name.clone() } else { format!("{name}, for {times} x {batch} sequences") };
                report.push((of_part, LayoutReport::Kernels(self.placed_choices(&step, batch, &mut *judge)?)));
            }
        } else if step.phase == Phase::Prefill || self.parts.is_empty() {
            let wanted = if step.phase == Phase::Prefill || self.on_gpu { Parts::All } else { Parts::WithoutCache };
            report.push((name, LayoutReport::Kernels(self.whole.choices(&step, wanted, &mut *judge)?)));
        } else {
            for part in &mut self.parts {
                let batch = part.generation().batch;
                let times = self.halves.iter().filter(|h| h.batch() == batch).count();
                let of_part = Step::decode(batch, step.context());
                let choices = part.choices(&of_part, Parts::WithoutCache, &mut *judge)?;
                let name = format!("{name}, for {times} x {batch} sequences");
                report.push((name, LayoutReport::Kernels(choices)));
            }
        }
        report.push((self.site.pim_name.clone(), LayoutReport::Banks(self.in_banks())));
        Ok(LayoutReport::Joint(report))
    }

    fn footprint(&self) -> Footprint {
        let one = self.model.kv_bytes(self.generation.last_context()) + self.model.state_bytes();
        let kv = u64::try_from(one * u128::from(self.generation.batch)).unwrap_or(u64::MAX);
        let weights = self.model.weight_bytes().saturating_add(self.weights.twice);
        Footprint { weights, kv, activations: self.whole.activations().saturating_add(self.weights.scratch) }
    }

    fn bound(&self, index: u64) -> Bound {
        self.bound_of(index)
    }
}
