//! A step on all ranks as one program: each role's launches, and the collectives between them.

use std::collections::HashMap;

use banksia_hw::net::fabric::call::{Call, Kernels};
use banksia_hw::net::fabric::group::{Collective, Group};
use banksia_hw::program::{InstructionId, Program, ProgramBuilder, Work};
use banksia_workloads::{Communication, Phase, Place, Step};

use super::ranks::{Exchange, Residual};
use super::stages::{Item, Round, items};
use super::state::Cluster;
use crate::gpu::model::ChosenPart;

/// A program under construction.
struct Emitter<'a> {
    plan: &'a Cluster,
    phase: Phase,
    /// Parts of each role, launches chosen.
    parts: &'a [Vec<ChosenPart>],
    builder: ProgramBuilder,
    /// What each role has last been given.
    last: Vec<Option<InstructionId>>,
    /// A sum that the parts after the next one wait for.
    pending: Option<InstructionId>,
}

/// The program of a round of a step: `parts` are those of each role.
pub(super) fn program(plan: &Cluster, step: &Step, round: Round, parts: &[Vec<ChosenPart>]) -> Program {
    let phase = if step.phase == Phase::Prefill { "prefill" } else { "decode" };
    let mut builder = ProgramBuilder::new(phase, step.context());
    builder.launch(plan.options.launch, plan.options.framework.is_python());
    let layout = &plan.layout;
    let mut e =
        Emitter { plan, phase: step.phase, parts, builder, last: vec![None; layout.roles.len()], pending: None };
    // What a stage waits for: its predecessor's result, the token before.
    let mut arrived: HashMap<(u32, u32, bool), InstructionId> = HashMap::new();
    let mut left: HashMap<u32, Vec<InstructionId>> = HashMap::new();
    let hidden = hidden_bytes(plan, step);
    for item in items(round, layout.micros, layout.pp) {
        let Item { stage, micro, earlier } = item;
        let mut after: Vec<InstructionId> = Vec::new();
        match stage {
            0 => after.extend(left.remove(&micro).into_iter().flatten()),
            _ => after.extend(arrived.remove(&(stage, micro, earlier))),
        }
        let done = e.stage(stage, &after);
        if stage + 1 == layout.pp {
            left.insert(micro, done);
        } else {
            let send = e.send(stage, hidden, &done);
            arrived.insert((stage + 1, micro, earlier), send);
        }
    }
    e.builder.finish()
}

/// Bytes of the hidden state that a stage hands to the next.
fn hidden_bytes(plan: &Cluster, step: &Step) -> u64 {
    let whole = step.all_tokens().saturating_mul(plan.width).saturating_mul(2);
    let divided = plan.layout.sharding.sequence && step.phase == Phase::Prefill;
    if divided { whole.div_ceil(u64::from(plan.layout.tp)) } else { whole }
}

/// Ranks of a group that are in one node, and those of the same place in their nodes, all of which exchange at once.
fn levels(group: Group) -> [Group; 2] {
    [Group { nodes: 1, ..group }, Group { ranks_per_node: 1, nodes: group.nodes, concurrent: group.ranks_per_node }]
}

impl Emitter<'_> {
    /// A stage's part of a step, after what it waits for; the last of each of its roles.
    fn stage(&mut self, stage: u32, after: &[InstructionId]) -> Vec<InstructionId> {
        let all = &self.plan.layout.roles;
        let roles: Vec<usize> = (0..all.len()).filter(|r| all[*r].stage == stage).collect();
        let Some(&leader) = roles.first() else { return Vec::new() };
        // The first instruction waits for what arrives, too.
        let mut waits: Vec<Vec<InstructionId>> =
            roles.iter().map(|r| self.last[*r].into_iter().chain(after.iter().copied()).collect()).collect();
        let parts = self.parts;
        let plan = &parts[leader];
        let mut at = 0;
        for region in plan.chunk_by(|a, b| a.layers().0 == b.layers().0) {
            let Some(first) = region.first() else { continue };
            let (_, first_layer, repeat) = first.layers();
            for layer in first_layer..first_layer.saturating_add(repeat) {
                let named = matches!(first.place(), Place::Layers | Place::Encoder).then_some(layer);
                for (k, own) in region.iter().enumerate() {
                    match own.exchange() {
                        Some(exchange) => {
                            let beside = self.plan.ranks.residual == Residual::Ladder
                                && exchange.0 == Communication::AllReduce
                                && first.place() == Place::Layers;
                            if !beside {
                                self.settled(&mut waits);
                            }
                            self.exchange(leader, &roles, own.label(), exchange, &mut waits, beside);
                        }
                        None => {
                            for (n, &r) in roles.iter().enumerate() {
                                let Some(part) = parts[r].get(at + k) else { continue };
                                self.builder.on(r as u32);
                                let copies = self.plan.layout.roles[r].copies;
                                if let Some(last) = part.emit_of(&mut self.builder, named, "", &waits[n], copies) {
                                    waits[n] = vec![last];
                                }
                            }
                        }
                    }
                }
            }
            at += region.len();
            self.settled(&mut waits);
        }
        for (n, &r) in roles.iter().enumerate() {
            self.last[r] = waits[n].last().copied();
        }
        waits.into_iter().flatten().collect()
    }

    /// Nothing goes on before the last sum is there.
    fn settled(&mut self, waits: &mut [Vec<InstructionId>]) {
        if let Some(sum) = self.pending.take() {
            waits.iter_mut().for_each(|w| w.push(sum));
        }
    }

    fn fabric(&self) -> u32 {
        self.plan.layout.roles.len() as u32
    }

    /// A collective of all ranks of a stage.
    fn exchange(
        &mut self,
        leader: usize,
        roles: &[usize],
        label: &str,
        (what, _, bytes): (Communication, u32, u64),
        waits: &mut [Vec<InstructionId>],
        beside: bool,
    ) {
        let layout = &self.plan.layout;
        let sums = self.plan.options.sums();
        let (collective, group, kernels, bytes) = match what {
            Communication::AllReduce => (Collective::AllReduce, layout.sums, sums.kernels(), bytes),
            Communication::ReduceScatter => (Collective::ReduceScatter, layout.sums, sums.others(), bytes),
            Communication::AllGather | Communication::GatherFeatures => {
                (Collective::AllGather, layout.sums, sums.others(), bytes)
            }
            Communication::AllToAll => (Collective::AllToAll, layout.sums, sums.others(), bytes),
            Communication::Dispatch | Communication::Return => {
                let top_k = self.plan.top_k.max(1);
                let kernels = match (self.plan.ranks.exchange, self.phase) {
                    (Exchange::Nccl | Exchange::Levels, _) => sums.others(),
                    (Exchange::Deepep, Phase::Prefill) => Kernels::Experts { top_k },
                    (Exchange::Deepep, Phase::Decode) => Kernels::ExpertsLowLatency { top_k },
                };
                // NCCL sends a row for each expert, DeepEP's kernels count tokens.
                let counts_tokens = self.plan.ranks.exchange == Exchange::Deepep;
                let bytes = if counts_tokens { bytes / u64::from(top_k) } else { bytes };
                // The rank that gets most rows is waited for.
                let bytes = (bytes as f64 * layout.hottest(self.phase)) as u64;
                (Collective::AllToAll, layout.exchange, kernels, bytes)
            }
        };
        let ranks = roles.iter().map(|r| layout.roles[*r].copies).sum();
        let mut after: Vec<InstructionId> = waits.iter().flatten().copied().collect();
        after.sort_unstable();
        after.dedup();
        let exchanged = matches!(what, Communication::Dispatch | Communication::Return);
        let in_levels = exchanged && self.plan.ranks.exchange == Exchange::Levels && group.nodes > 1;
        let groups = if in_levels { levels(group).to_vec() } else { vec![group] };
        for group in groups {
            let call = Call { collective, bytes, group, kernels };
            after = vec![self.push(label, call, leader as u32, ranks, &after)];
        }
        let Some(&done) = after.first() else { return };
        if beside {
            // The next part waits for the sum before this one.
            self.settled(waits);
            self.pending = Some(done);
        } else {
            waits.iter_mut().for_each(|w| *w = vec![done]);
        }
    }

    /// The hidden state goes to the next stage: each rank's to its peer.
    fn send(&mut self, stage: u32, bytes: u64, after: &[InstructionId]) -> InstructionId {
        let layout = &self.plan.layout;
        let kernels = self.plan.options.sums().others();
        let call = Call { collective: Collective::SendRecv, bytes, group: layout.send(stage), kernels };
        let (lane, ranks) = (self.fabric() + stage, layout.tp * layout.dp);
        self.push("stage send", call, lane, ranks, after)
    }

    fn push(&mut self, label: &str, call: Call, lane: u32, ranks: u32, after: &[InstructionId]) -> InstructionId {
        self.builder.on(self.fabric());
        let operator = self.builder.operator(label);
        self.builder.occurs(operator, 0.0, 0.0);
        self.builder.push(operator, Work::Collective { call, lane, ranks }, after)
    }
}
