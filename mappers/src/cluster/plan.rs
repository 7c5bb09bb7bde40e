//! The plan of a model on ranks.

use banksia_hw::net::fabric::call::{Call, Kernels};
use banksia_hw::net::fabric::group::Collective;
use banksia_hw::program::Program;
use banksia_hw::system::Device;
use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};
use banksia_workloads::model::Mixer;
use banksia_workloads::{Generation, Phase, Step};

use super::emit;
use super::layout::Layout;
use super::ranks::{self, ClusterOptions, Exchange};
use super::stages::Round;
use super::state::Cluster;
use crate::gpu::model::{ChosenPart, GpuModel, Parts, no_judge};
use crate::plan::{Bound, Footprint, Judges, LayoutReport, Plan, Problem, Unsupported};

impl Cluster {
    /// Lays a model out.
    ///
    /// # Errors
    /// A number cannot be, a size cannot be divided, or a rank's part does not fit its GPU.
    pub(super) fn new(problem: &Problem<'_>, options: ClusterOptions) -> Result<Self, InputError> {
        let &Problem { model, generation, machine, source } = problem;
        let ranks = ranks::written(source)?;
        let layout = Layout::new(problem, &ranks)?;
        let Some((_, Device::Gpu(spec))) = machine.devices.first() else {
            return Err(source.error("machine.cluster", "has no GPUs"));
        };
        let own = Generation { batch: layout.micro_batch, ..generation.clone() };
        let mut models = Vec::with_capacity(layout.roles.len());
        for role in &layout.roles {
            let shard = layout.shard(model, role, source)?;
            let part = if layout.is_alone() {
                GpuModel::new(model.clone(), generation, spec, options.of_gpu(), source)?
            } else {
                GpuModel::of_shard(shard, &own, spec, options.of_gpu(), source)?
            };
            models.push(part);
        }
        let top_k = model.mixers().find_map(|(m, _)| match m {
            Mixer::Experts(e) => u32::try_from(e.top_k).ok(),
            _ => None,
        });
        let roles: Vec<(String, u32)> = layout.roles.iter().map(|r| (r.name.clone(), r.copies)).collect();
        let machine = if layout.is_alone() { machine.alone() } else { machine.with_roles(&roles) };
        let width = model.width;
        let top_k = top_k.unwrap_or(1);
        let this = Self { generation: generation.clone(), own, ranks, options, layout, width, top_k, models, machine };
        this.check_fit(&model.name, spec.dram.capacity_bytes, source)?;
        this.check_exchange(problem)?;
        Ok(this)
    }

    /// Bytes that a rank of a role keeps: of all parts of its replica's batch.
    fn footprint_of(&self, role: usize) -> Footprint {
        let Some(model) = self.models.get(role) else { return Footprint::default() };
        let kv = model.kv_bytes().saturating_mul(u128::from(self.layout.micros));
        Footprint {
            weights: model.weight_bytes(),
            kv: u64::try_from(kv).unwrap_or(u64::MAX),
            activations: model.activations(),
        }
    }

    fn check_fit(&self, name: &str, has: u64, source: &Source) -> Result<(), InputError> {
        for (r, role) in self.layout.roles.iter().enumerate() {
            let f = self.footprint_of(r);
            let needs = u128::from(f.weights) + u128::from(f.kv) + u128::from(f.activations);
            if needs <= u128::from(has) {
                continue;
            }
            let gb = |bytes: u64| bytes as f64 / 1e9;
            let problem = format!(
                "`{name}` takes {:.2} GB of weights, {:.2} GB of KV cache and {:.2} GB of activations of each rank of {}; a GPU has {:.2} GB",
                gb(f.weights),
                gb(f.kv),
                gb(f.activations),
                role.name,
                gb(has)
            );
            let key = if f.weights > has { "workload.model" } else { "workload.generation.batch" };
            // What is divided further shrinks in proportion.
            let times = (needs as f64 / has.max(1) as f64).ceil() as u32;
            let tp = self.layout.tp.saturating_mul(times.next_power_of_two());
            let help = format!(
                "use more ranks, as parallel.tp = {tp}, or parallel.pp, or a smaller batch or a shorter context"
            );
            return Err(source.error(key, problem).help(help));
        }
        Ok(())
    }

    /// Refuses kernels of exchange that there are no figures of.
    fn check_exchange(&self, problem: &Problem<'_>) -> Result<(), InputError> {
        if self.layout.sharding.exchanging == 1 || self.ranks.exchange != Exchange::Deepep {
            return Ok(());
        }
        let Some(fabric) = &problem.machine.fabric else { return Ok(()) };
        let kernels = Kernels::Experts { top_k: self.top_k };
        let call = Call { collective: Collective::AllToAll, bytes: 1, group: self.layout.exchange, kernels };
        let refused = |e: InputError| {
            let error = problem
                .source
                .error("parallel.exchange", format!("is deepep, of which there are no figures: {}", e.problem));
            error.help("set parallel.exchange = \"nccl\"")
        };
        fabric.cluster.call(&call).map(|_| ()).map_err(refused)
    }

    fn step_of(&self, index: u64) -> Result<Step, Unsupported> {
        self.own.step(index).ok_or(Unsupported::NoStep(index))
    }

    fn round(&self, index: u64, step: &Step) -> Round {
        if step.phase == Phase::Prefill {
            return Round::Prompt;
        }
        let before = index.checked_sub(1).and_then(|i| self.own.step(i));
        let first = before.is_none_or(|s| s.phase == Phase::Prefill);
        Round::Token { first, last: index + 1 >= self.programs() }
    }

    fn chosen(&mut self, step: &Step, judges: &mut dyn Judges) -> Result<Vec<Vec<ChosenPart>>, Unsupported> {
        let mut parts = Vec::with_capacity(self.models.len());
        for (role, model) in self.models.iter_mut().enumerate() {
            let mut judge = judges.of(role).ok_or_else(no_judge)?;
            parts.push(model.chosen_parts(step, Parts::All, &mut *judge)?);
        }
        Ok(parts)
    }
}

impl Plan for Cluster {
    fn boxed(&self) -> Box<dyn Plan> {
        Box::new(self.clone())
    }

    fn generation(&self) -> &Generation {
        &self.generation
    }

    fn programs(&self) -> u64 {
        self.own.steps_in_all()
    }

    fn program_of(&self, token: u64) -> u64 {
        self.own.step_of(token)
    }

    fn lower(&mut self, index: u64, judges: &mut dyn Judges) -> Result<Program, Unsupported> {
        let step = self.step_of(index)?;
        if self.layout.is_alone()
            && let Some(model) = self.models.first_mut()
        {
            let mut judge = judges.of(0).ok_or_else(no_judge)?;
            return model.program(&step, 0, &mut *judge);
        }
        let round = self.round(index, &step);
        let parts = self.chosen(&step, judges)?;
        Ok(emit::program(self, &step, round, &parts))
    }

    fn layout(&mut self, token: u64, judges: &mut dyn Judges) -> Result<LayoutReport, Unsupported> {
        let step = self.step_of(self.own.step_of(token))?;
        let mut report = Vec::new();
        for (role, model) in self.models.iter_mut().enumerate() {
            let mut judge = judges.of(role).ok_or_else(no_judge)?;
            let kernels = LayoutReport::Kernels(model.choices(&step, Parts::All, &mut *judge)?);
            if self.layout.is_alone() {
                return Ok(kernels);
            }
            let copies = self.layout.roles.get(role).map_or(1, |r| r.copies);
            let name = self.layout.roles.get(role).map_or("", |r| r.name.as_str());
            report.push((format!("{name}, {copies} ranks"), kernels));
        }
        Ok(LayoutReport::Joint(report))
    }

    /// Of the rank that keeps most.
    fn footprint(&self) -> Footprint {
        let all = (0..self.models.len()).map(|r| self.footprint_of(r));
        all.max_by_key(|f| u128::from(f.weights) + u128::from(f.kv) + u128::from(f.activations)).unwrap_or_default()
    }

    /// Of the role that must do most by itself, for one part of the batch.
    fn bound(&self, index: u64) -> Bound {
        let of = self.models.iter().map(|m| m.bound(index));
        of.max_by(|a, b| a.seconds().total_cmp(&b.seconds())).unwrap_or_default()
    }

    fn machine(&self) -> Option<Machine> {
        Some(self.machine.clone())
    }

    fn figures(&self) -> Vec<(String, f64)> {
        if self.layout.is_alone() {
            return Vec::new();
        }
        let l = &self.layout;
        let mut all = vec![
            ("ranks".to_owned(), f64::from(l.ranks())),
            ("simulated_ranks".to_owned(), l.roles.len() as f64),
            ("folding_exact".to_owned(), f64::from(u8::from(l.exact))),
            ("micro_batches".to_owned(), f64::from(l.micros)),
        ];
        for (r, role) in l.roles.iter().enumerate() {
            let f = self.footprint_of(r);
            let figures = [("weights", f.weights), ("kv", f.kv), ("activations", f.activations)];
            all.push((format!("{}.ranks", role.name), f64::from(role.copies)));
            all.extend(figures.map(|(what, bytes)| (format!("{}.{what}_bytes", role.name), bytes as f64)));
        }
        all
    }
}
