//! Decoder-only generation on a GPU and a PIM device: the GPU runs the prompt and, in decode, all but attention, which runs where the keys
//! and values lie, in the banks of the PIM device.
//!
//! The batch may be run as two halves that take turns, as NeuPIMs does (Heo et al., ASPLOS 2024): while the attention of one half runs in
//! the banks, the GPU works on the other. Where both devices use the same memory they cannot do so at once, and the machine sees to it.

mod capacity;
mod claims;
mod half;
mod map;
mod pipeline;
mod site;

use banksia_hw::program::{LaunchMode, Program};
use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, Phase, Step};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use crate::gpu::model::{AttentionKernels, GpuModel, GpuOptions, Parts, launches, no_judge};
use crate::pim_gpt::{MappingSummary, RegionSummary};
use crate::plan::{Bound, Footprint, Judges, LayoutReport, Mapper, Plan, Problem, Unsupported};
use crate::replay::Claims;
use crate::space::{Knob, of_values};
use half::Half;
use map::Hybrid;
use site::Site;

/// The options of the mapping, as the table `[mapping]` writes them.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
struct HybridOptions {
    /// How the GPU's kernels are launched.
    #[serde(default)]
    launch: LaunchMode,
    /// Which kernels compute attention over the prompt.
    #[serde(default)]
    attention: AttentionKernels,
    /// Into how many parts that take turns the batch is cut in decode: 1 or 2. Where absent 2; 1 of one sequence, and
    /// where both devices use one memory, at which they take turns.
    #[schemars(range(min = 1, max = 2))]
    halves: Option<i64>,
    /// Where attention of decode runs, and with it where keys and values lie.
    #[serde(default)]
    attention_on: On,
    /// Channels that a head's keys and values lie over in the PIM device; an even share of all where absent.
    #[schemars(range(min = 1))]
    attention_channels: Option<i64>,
}

/// One of the two devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum On {
    /// The PIM device.
    #[default]
    Pim,
    /// The GPU.
    Gpu,
}

impl HybridOptions {
    fn halves(&self, generation: &Generation, shared: bool, source: &Source) -> Result<u64, InputError> {
        // On the GPU alone nothing takes turns.
        let most = if shared || self.attention_on == On::Gpu { 1 } else { 2 };
        let Some(halves) = self.halves else { return Ok(generation.batch.clamp(1, most)) };
        let halves = source.check("mapping.halves", halves, 1..=2)?.unsigned_abs();
        if halves > 1 && self.attention_on == On::Gpu {
            let error = source.error(
                "mapping.halves",
                "is 2, and attention_on is \"gpu\": with all of it on one device nothing takes turns",
            );
            return Err(error.help("set halves = 1, or attention_on = \"pim\""));
        }
        if halves > generation.batch {
            let error = source.error("mapping.halves", format!("is {halves}, and the batch has one sequence"));
            return Err(error.help("set halves = 1, or a larger workload.generation.batch"));
        }
        Ok(halves)
    }
}

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
        &["launch", "attention", "halves", "attention_on", "attention_channels"]
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        HybridOptions::json_schema(generator)
    }

    fn space(&self, problem: &Problem<'_>) -> Result<Vec<Knob>, InputError> {
        problem.plain_generation(self)?;
        let site = Site::of(problem.machine);
        let shared = site.as_ref().is_some_and(|s| s.shared);
        let channels = site.map_or(1, |s| s.pim.channels());
        let [launch, attention] = launches();
        let turns = if shared || problem.generation.batch < 2 { 1 } else { 2 };
        let widths = (0..32).map(|n| 1u32 << n).take_while(|n| *n <= channels).filter(|n| channels.is_multiple_of(*n));
        // Both halves of a batch, where it can be cut, take turns; a head has an even share of the channels.
        let in_banks = Some(("attention_on", "pim"));
        let turns = of_values((1..=turns).rev());
        let turns = Knob { needs: in_banks, ..Knob::whole("halves", "parts of the batch that take turns", turns) };
        let widths = of_values(widths.map(i64::from));
        let width = Knob::whole("attention_channels", "channels of a head's keys and values", widths);
        let width = Knob { default: None, needs: in_banks, ..width };
        let on = "where attention of decode runs, and keys and values lie";
        Ok(vec![launch, attention, Knob::whole("attention_on", on, of_values(["pim", "gpu"])), turns, width])
    }

    fn accepts(&self, machine: &Machine) -> bool {
        Site::of(machine).is_some()
    }

    fn plan(&self, problem: &Problem<'_>) -> Result<Box<dyn Plan>, InputError> {
        problem.plain_generation(self)?;
        Ok(Box::new(Hybrid::new(problem, problem.options(self)?)?))
    }
}

impl Hybrid {
    fn new(problem: &Problem<'_>, options: HybridOptions) -> Result<Self, InputError> {
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
        let whole = lower(generation.batch)?;
        let mut parts: Vec<GpuModel> = Vec::new();
        let halves = half::halves(generation.batch, options.halves(generation, site.shared, source)?);
        for batch in halves.iter().map(Half::batch).filter(|b| *b < generation.batch) {
            if parts.iter().all(|p| p.generation().batch != batch) {
                parts.push(lower(batch)?);
            }
        }
        let channels = options.attention_channels;
        if let (Some(channels), On::Pim) = (channels, options.attention_on) {
            source.check("mapping.attention_channels", channels, 1..=i64::from(site.pim.channels()))?;
        }
        let channels = channels.and_then(|n| u32::try_from(n).ok());
        let wanted =
            capacity::Wanted { activations: whole.activations(), channels, on_gpu: options.attention_on == On::Gpu };
        let (cached, reserved) = capacity::lay_out(&site, model, generation, wanted, source)?;
        Ok(Self {
            model: model.clone(),
            generation: generation.clone(),
            launch: options.launch,
            site,
            whole,
            parts,
            halves,
            on_gpu: options.attention_on == On::Gpu,
            cached,
            reserved,
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
        let mut regions = Vec::new();
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
            Phase::Prefill => self.prefill(&step, &mut *judge),
            Phase::Decode => self.decode(&step, &mut *judge),
        }
    }

    fn claims(&mut self, index: u64, judges: &mut dyn Judges) -> Result<Option<Claims>, Unsupported> {
        let step = self.step_of(index)?;
        let mut judge = judges.of(self.site.gpu as usize).ok_or_else(no_judge)?;
        Ok(Some(self.claims_of(&step, &mut *judge)?))
    }

    fn layout(&mut self, token: u64, judges: &mut dyn Judges) -> Result<LayoutReport, Unsupported> {
        let step = self.step_of(token.saturating_sub(1))?;
        let mut judge = judges.of(self.site.gpu as usize).ok_or_else(no_judge)?;
        let name = self.site.gpu_name.clone();
        let mut report = Vec::new();
        if step.phase == Phase::Prefill || self.parts.is_empty() {
            let wanted = if step.phase == Phase::Prefill || self.on_gpu { Parts::All } else { Parts::WithoutCache };
            report.push((name, LayoutReport::Kernels(self.whole.choices(&step, wanted, &mut *judge)?)));
        } else {
            for part in &mut self.parts {
                let batch = part.generation().batch;
                let times = self.halves.iter().filter(|h| h.batch() == batch).count();
                let choices = part.choices(&step, Parts::WithoutCache, &mut *judge)?;
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
        Footprint { weights: self.model.weight_bytes(), kv, activations: self.whole.activations() }
    }

    /// The longer of what each device must do by itself.
    fn bound(&self, index: u64) -> Bound {
        let Some(step) = self.generation.step(index) else { return Bound::default() };
        if step.phase == Phase::Prefill || self.on_gpu {
            return self.whole.bound(index);
        }
        let graph = self.model.graph(&step, &self.generation);
        let flops = |wanted: &[&str]| -> f64 {
            let of = graph.operators().filter(|(o, _)| wanted.contains(&o.op.kind()));
            of.map(|(o, repeat)| o.flops() as f64 * f64::from(repeat)).sum()
        };
        let weights = graph.weight_bytes_read() as f64;
        let (spec, pim) = (&self.site.spec, &self.site.pim);
        // What lies in L2 from the step before need not come from memory.
        let weights = (weights - spec.l2.bytes as f64).max(0.0);
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        let macs = flops(&["attention_scores", "attention_values"]) / 2.0;
        let products = flops(&["linear", "expert_linear"]) / spec.tensor_peak_flops_per_s(self.whole.dtype());
        let kv = ratio(graph.kv_bytes_read() as f64, banksia_hw::pim::peak_bandwidth_bytes_per_s(pim));
        Bound {
            arithmetic_s: products.max(ratio(macs, banksia_hw::pim::peak_macs_per_s(pim))),
            memory_s: kv.max(weights / spec.dram_peak_bytes_per_s()),
        }
    }
}
