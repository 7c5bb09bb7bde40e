//! Who has what: stages, the roles of their ranks, and the groups that exchange data.

use banksia_hw::net::fabric::group::Group;
use banksia_input::{InputError, Source};
use banksia_workloads::model::{Mixer, Routing};
use banksia_workloads::shard::{Shard, ShardError, Sharding, Span, loads};
use banksia_workloads::{Generation, Model, Phase};

use super::placement::{placed, uneven};
use super::ranks::{Placement, Ranks};
use crate::plan::Problem;

/// Most ranks of a kind.
const MOST: i64 = 1 << 12;
/// Roles of a stage that are each simulated, beyond which ranks that differ are taken for alike.
const MOST_ROLES: usize = 4;

/// Ranks of a stage that do the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    /// Its device's name.
    pub(super) name: String,
    /// The stage.
    pub(super) stage: u32,
    /// The experts of one of them; none where they are not divided.
    pub(super) experts: Vec<u32>,
    /// How many ranks.
    pub(super) copies: u32,
}

/// How a model lies over ranks.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) tp: u32,
    pub(super) pp: u32,
    pub(super) dp: u32,
    pub(super) ep: u32,
    /// Parts of a replica's batch, and the sequences of one.
    pub(super) micros: u32,
    pub(super) micro_batch: u64,
    pub(super) sharding: Sharding,
    pub(super) spans: Vec<Span>,
    /// In order of stages.
    pub(super) roles: Vec<Role>,
    /// Each role's ranks do exactly the same.
    pub(super) exact: bool,
    /// Ranks that have each expert; none where each is on one.
    copies: Vec<u32>,
    /// Rows of the rank that gets most, over the mean, in decode and in prefill: what an exchange waits for.
    hottest: [f64; 2],
    /// Ranks that sum their parts, and those that exchange tokens.
    pub(super) sums: Group,
    pub(super) exchange: Group,
    gpus_per_node: u32,
}

fn count(source: &Source, key: &str, value: i64) -> Result<u32, InputError> {
    let key = format!("parallel.{key}");
    let value = source.check(&key, value, 1..=MOST)?;
    u32::try_from(value).map_err(|_| source.error(&key, format!("is {value}")))
}

/// A group of consecutive ranks.
fn consecutive(ranks: u32, gpus_per_node: u32) -> Group {
    Group { ranks_per_node: ranks.min(gpus_per_node), nodes: ranks.div_ceil(gpus_per_node), concurrent: 1 }
}

impl Layout {
    /// The layout of a problem's `[parallel]`.
    ///
    /// # Errors
    /// A number cannot be, or does not divide what it should.
    pub(super) fn new(problem: &Problem<'_>, ranks: &Ranks) -> Result<Self, InputError> {
        let &Problem { model, generation, machine, source } = problem;
        let [tp, pp, dp, ep] = [("tp", ranks.tp), ("pp", ranks.pp), ("dp", ranks.dp), ("ep", ranks.ep)]
            .map(|(key, value)| count(source, key, value));
        let (tp, pp, dp, ep) = (tp?, pp?, dp?, ep?);
        let fabric = machine.fabric.as_ref().ok_or_else(|| source.error("machine.cluster", "is missing"))?;
        let per_node = fabric.cluster.gpus_per_node();
        let all = u64::from(tp) * u64::from(pp) * u64::from(dp);
        let nodes = u64::from(fabric.nodes.unwrap_or(u32::MAX));
        if all > nodes.saturating_mul(per_node.into()) || all > MOST.unsigned_abs() {
            let has = nodes.saturating_mul(per_node.into()).min(MOST.unsigned_abs());
            let problem = format!("asks for {tp} x {pp} x {dp} = {all} ranks (tp x pp x dp); there are {has} GPUs");
            return Err(source.error("parallel", problem).help("use fewer ranks, or set machine.nodes"));
        }
        if !per_node.is_multiple_of(tp) && !tp.is_multiple_of(per_node) {
            let problem = format!("is {tp}, which is no part of the {per_node} GPUs of a node");
            let fits = (1..=per_node).filter(|n| per_node.is_multiple_of(*n)).map(|n| n.to_string());
            let help = format!("use {}", fits.collect::<Vec<_>>().join(", "));
            return Err(source.error("parallel.tp", problem).help(help));
        }
        if pp > model.layers() {
            let problem = format!("is {pp}, and `{}` has {} layers", model.name, model.layers());
            return Err(source.error("parallel.pp", problem).help("a stage has at least one layer"));
        }
        if generation.runs.is_empty() {
            if !generation.batch.is_multiple_of(u64::from(dp)) {
                let problem = format!("is {dp}, which does not divide the batch of {}", generation.batch);
                let help = format!("set workload.generation.batch to a multiple of {dp}, or another parallel.dp");
                return Err(source.error("parallel.dp", problem).help(help));
            }
        } else if dp > 1 || pp > 1 {
            let problem = "are given, which are one replica's and one part of a batch: dp and pp must be 1";
            return Err(source.error("workload.generation.runs", problem).help("set parallel.tp alone"));
        }
        let batch = generation.batch / u64::from(dp);
        let micros = micro_batches(ranks, batch, pp, source)?;
        let sharding = sharding(model, ranks, [tp, dp, ep], source)?;
        let spans = spans(model.layers(), pp);
        let mut layout = Self {
            tp,
            pp,
            dp,
            ep,
            micros,
            micro_batch: batch / u64::from(micros),
            sharding,
            spans,
            roles: Vec::new(),
            exact: true,
            copies: Vec::new(),
            hottest: [1.0; 2],
            sums: consecutive(tp, per_node),
            exchange: consecutive(ep, per_node),
            gpus_per_node: per_node,
        };
        let extra = source.check("parallel.redundant_experts", ranks.redundant_experts, 0..=MOST)?;
        let extra = u32::try_from(extra).unwrap_or(0);
        if extra > 0 && (ep == 1 || !extra.is_multiple_of(ep)) {
            let problem = format!("is {extra}, and experts are divided over {ep} ranks");
            let help = "use a multiple of parallel.ep, of at least two ranks";
            return Err(source.error("parallel.redundant_experts", problem).help(help));
        }
        layout.find_roles(model, generation, ranks.placement, extra);
        if ranks.unfolded {
            layout.unfold();
        }
        Ok(layout)
    }

    /// A role for each rank.
    fn unfold(&mut self) {
        let each = |role: &Role| -> Vec<Role> {
            let one = |i: u32| Role { name: format!("{}.{i}", role.name), copies: 1, ..role.clone() };
            (0..role.copies).map(one).collect()
        };
        self.roles = self.roles.iter().flat_map(each).collect();
    }

    /// All ranks.
    pub(super) fn ranks(&self) -> u32 {
        self.tp * self.pp * self.dp
    }

    /// Rows of the rank that gets most of an exchange, over the mean.
    pub(super) fn hottest(&self, phase: Phase) -> f64 {
        let [decode, prefill] = self.hottest;
        if phase == Phase::Decode { decode } else { prefill }
    }

    /// One GPU has all of it.
    pub(super) fn is_alone(&self) -> bool {
        self.ranks() == 1
    }

    /// Ranks that hand a stage's result on, and their peers.
    pub(super) fn send(&self, stage: u32) -> Group {
        let stride = self.tp * self.dp;
        let node = |s: u32| s * stride / self.gpus_per_node;
        if node(stage) == node(stage + 1) {
            Group { ranks_per_node: 2.min(self.gpus_per_node), nodes: 1, concurrent: 1 }
        } else {
            Group { ranks_per_node: 1, nodes: 2, concurrent: stride.min(self.gpus_per_node) }
        }
    }

    /// The part of a role.
    ///
    /// # Errors
    /// A size cannot be divided.
    pub(super) fn shard(&self, model: &Model, role: &Role, source: &Source) -> Result<Shard, InputError> {
        let span = self.spans.get(role.stage as usize).copied().unwrap_or(Span { first: 0, layers: model.layers() });
        Shard::new(model, span, self.sharding, role.experts.clone())
            .map(|shard| shard.with_copies(self.copies.clone()))
            .map_err(|e| undivided(&e, model, &self.sharding, source))
    }

    /// Ranks of a stage by the rows that their experts have.
    fn find_roles(&mut self, model: &Model, generation: &Generation, placement: Placement, extra: u32) {
        let experts = model.mixers().find_map(|(m, _)| match m {
            Mixer::Experts(e) => Some(e.experts as u32),
            _ => None,
        });
        let copies = self.tp * self.dp;
        for stage in 0..self.pp {
            let name = if self.pp == 1 { "rank".to_owned() } else { format!("stage{stage}") };
            let whole = || Role { name: name.clone(), stage, experts: Vec::new(), copies };
            let Some(experts) = experts.filter(|_| self.ep > 1) else {
                self.roles.push(whole());
                continue;
            };
            // A prompt's rows and a token's say together who is alike.
            let tokens = |phase: Phase| {
                let step = generation.steps().find(|s| s.phase == phase)?;
                let of = step.tokens().saturating_mul(self.micro_batch);
                Some(of.saturating_mul(self.sharding.exchanging.into()))
            };
            let phases = [Phase::Decode, Phase::Prefill].map(|p| tokens(p).map(|t| loads(model, t)));
            let mut rows: Vec<Vec<u64>> = phases.iter().flatten().cloned().collect();
            // A balancer knows what experts get over all of it.
            let mut known = vec![0u64; experts as usize];
            for of_phase in &rows {
                known.iter_mut().zip(of_phase).for_each(|(sum, n)| *sum = sum.saturating_add(*n));
            }
            let (of_ranks, having) = placed(experts, self.ep, placement, &known, extra);
            // Exchanges were measured with experts chosen by chance, whose unevenness is in their figures.
            let skewed = !matches!(model.routing, Routing::Balanced | Routing::Uniform { .. });
            for (hottest, rows) in self.hottest.iter_mut().zip(&phases).filter(|_| skewed) {
                *hottest = rows.as_ref().map_or(1.0, |rows| uneven(&of_ranks, rows, &having));
            }
            // Each of several ranks has its share of an expert's rows.
            for (n, c) in rows.iter_mut().flat_map(|r| r.iter_mut().zip(&having)) {
                *n = n.div_ceil(u64::from(*c).max(1));
            }
            self.copies = having;
            let key = |mine: &Vec<u32>| -> Vec<Vec<u64>> {
                let of = |all: &Vec<u64>| mine.iter().map(|e| all.get(*e as usize).copied().unwrap_or(0)).collect();
                rows.iter().map(of).collect()
            };
            let mut alike: Vec<(Vec<Vec<u64>>, Vec<u32>, u32)> = Vec::new();
            for mine in of_ranks {
                let own = key(&mine);
                match alike.iter_mut().find(|(k, ..)| *k == own) {
                    Some((.., n)) => *n += 1,
                    None => alike.push((own, mine, 1)),
                }
            }
            // Whom the others wait for first.
            let most = |k: &[Vec<u64>]| -> Vec<u64> { k.iter().map(|rows| rows.iter().sum()).collect() };
            alike.sort_by_key(|(k, ..)| std::cmp::Reverse(most(k)));
            if alike.len() > MOST_ROLES {
                self.exact = false;
                let others: u32 = alike.iter().skip(1).map(|(.., n)| n).sum();
                let middle = alike.len() / 2;
                let (hot, rest) = (alike[0].clone(), alike[middle].clone());
                alike = vec![hot, (rest.0, rest.1, others)];
            }
            let each = copies / self.ep;
            let several = alike.len() > 1;
            for (i, (_, experts, n)) in alike.into_iter().enumerate() {
                let name = if several { format!("{name}{}", letter(i)) } else { name.clone() };
                self.roles.push(Role { name, stage, experts, copies: n * each });
            }
        }
    }
}

/// `a`, `b`, ...
fn letter(i: usize) -> char {
    char::from(b'a' + (i % 26) as u8)
}

/// Layers of each stage: as many each; what is left over goes to those before the last, which has the vocabulary, from behind
/// (vLLM's `get_pp_indices`).
fn spans(layers: u32, stages: u32) -> Vec<Span> {
    let (each, over) = (layers / stages, layers % stages);
    let mut first = 0;
    let extra = |s: u32| u32::from(s + 1 < stages && stages - 2 - s < over);
    (0..stages)
        .map(|s| {
            let span = Span { first, layers: each + extra(s) };
            first += span.layers;
            span
        })
        .collect()
}

fn micro_batches(ranks: &Ranks, batch: u64, pp: u32, source: &Source) -> Result<u32, InputError> {
    let key = "parallel.micro_batches";
    let Some(wanted) = ranks.micro_batches else {
        return Ok((1..=pp).rev().find(|m| batch.is_multiple_of(u64::from(*m))).unwrap_or(1));
    };
    let wanted = count(source, "micro_batches", wanted)?;
    if wanted > 1 && pp == 1 {
        return Err(source.error(key, "has no meaning without a pipeline").help("set parallel.pp, or leave it out"));
    }
    if !batch.is_multiple_of(u64::from(wanted)) {
        let problem = format!("is {wanted}, which does not divide a replica's batch of {batch}");
        return Err(source.error(key, problem).help("use a divisor of workload.generation.batch / parallel.dp"));
    }
    Ok(wanted)
}

fn sharding(model: &Model, ranks: &Ranks, [tp, dp, ep]: [u32; 3], source: &Source) -> Result<Sharding, InputError> {
    let whole = Sharding { tp, sequence: ranks.sequence && tp > 1, ep, expert_tp: tp, exchanging: 1 };
    if ep == 1 {
        return Ok(whole);
    }
    if !model.mixers().any(|(m, _)| matches!(m, Mixer::Experts(_))) {
        let problem = format!("is {ep}, and `{}` has no experts", model.name);
        return Err(source.error("parallel.ep", problem).help("leave it out"));
    }
    if tp.is_multiple_of(ep) {
        return Ok(Sharding { expert_tp: tp / ep, ..whole });
    }
    if tp == 1 && ep == dp {
        return Ok(Sharding { expert_tp: 1, exchanging: dp, ..whole });
    }
    let problem = format!("is {ep}, with tp = {tp} and dp = {dp}");
    let help = "use a divisor of tp (ranks that see the same tokens), or with tp = 1 as many as dp (replicas that exchange tokens)";
    Err(source.error("parallel.ep", problem).help(help))
}

/// What cannot be divided, at its key, with numbers that could.
fn undivided(error: &ShardError, model: &Model, sharding: &Sharding, source: &Source) -> InputError {
    let of_experts = matches!(error, ShardError::Uneven { what: "experts", .. });
    let (key, value) = if of_experts { ("parallel.ep", sharding.ep) } else { ("parallel.tp", sharding.tp) };
    let span = Span { first: 0, layers: model.layers() };
    let fits = |n: &u32| {
        let tried = if of_experts {
            Sharding { ep: *n, ..*sharding }
        } else {
            let expert_tp = if sharding.exchanging > 1 { 1 } else { *n };
            Sharding { tp: *n, ep: 1, expert_tp, ..*sharding }
        };
        Shard::new(model, span, tried, Vec::new()).is_ok()
    };
    let known: Vec<String> = (0..10).map(|i| 1u32 << i).filter(fits).map(|n| n.to_string()).collect();
    let problem = format!("is {value}: of `{}`, {error}", model.name);
    source.error(key, problem).help(format!("it can be {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::spans;

    #[test]
    fn every_layer_is_of_one_stage() {
        for layers in 1..40u32 {
            for stages in 1..=layers {
                let spans = spans(layers, stages);
                let mut next = 0;
                for s in &spans {
                    assert_eq!(s.first, next, "{layers} layers, {stages} stages");
                    assert!(s.layers >= 1, "{layers} layers, {stages} stages");
                    next += s.layers;
                }
                assert_eq!(next, layers, "{layers} layers, {stages} stages");
                let (least, most) = (spans.iter().map(|s| s.layers).min(), spans.iter().map(|s| s.layers).max());
                assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1);
            }
        }
    }
}
