//! A step whose sequences differ in length: groups of ranks, each with sequences of one length cut over as many ranks as suits that (FlexSP,
//! arXiv 2412.01523), side by side or in turn.
//!
//! Every group is a step of its own up to the sum of gradients: all ranks have the same weights, whatever they are cut over. Groups of a turn
//! end together, and what follows the last turn is done once. Collectives over all ranks (gathers of sharded weights) are those of each group: where
//! groups of a turn differ, the longest is what the others wait for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::check;
use super::compile::{Compiler, Tally};
use super::error::ParallelError;
use super::fits::refuse;
use super::lists::Context;
use super::op::Class;
use super::pipeline::Event;
use super::report::{ClassReport, Energy, TrainReport};
use super::settings::{Parallel, Train};
use super::shape::Shape;
use super::simulate::{Detail, Machine, Ran, ran, ranks, report};

/// Sequences of one length in a step, and the ranks that have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Tokens of a sequence.
    pub sequence: u32,
    /// Sequences of a step.
    pub sequences: u32,
    /// Sequences that a rank has at once, packed one behind another.
    #[serde(default = "one")]
    pub micro_batch: u32,
    /// Context parallel: ranks that a sequence is cut over.
    #[serde(default = "one")]
    pub cp: u32,
    /// Ranks of the group; all of them where it is left out.
    #[serde(default)]
    pub ranks: Option<u32>,
    /// Groups of the same turn run side by side, on ranks of their own; turns follow one another.
    #[serde(default)]
    pub turn: u32,
}

/// Most devices.
const MOST: u64 = 1 << 24;

const fn one() -> u32 {
    1
}

/// A group's settings: those of the step with its own lengths, and as many replicas as all ranks would hold.
struct Cut {
    parallel: Parallel,
    train: Train,
    ranks: u32,
    turn: u32,
    micros: u32,
}

fn cut(group: &Group, parallel: &Parallel, train: &Train, at: usize) -> Result<Cut, ParallelError> {
    let all = parallel.ranks();
    let ranks = group.ranks.unwrap_or(all);
    let wrong = |key: &str, problem: String| ParallelError::new(format!("groups[{at}].{key}"), problem);
    if ranks == 0 || ranks > all {
        return Err(wrong("ranks", format!("is {ranks}, of {all} ranks")).help("use 1 to all of them"));
    }
    let replica = u64::from(parallel.tp) * u64::from(parallel.pp) * u64::from(group.cp);
    if replica == 0 || !u64::from(ranks).is_multiple_of(replica) || !u64::from(all).is_multiple_of(replica) {
        let problem = format!("is {}: a replica of {replica} ranks (tp x pp x cp) does not divide {ranks}", group.cp);
        return Err(wrong("cp", problem).help("use a divisor of the group's ranks"));
    }
    let replica = replica as u32;
    let at_once = u64::from(ranks / replica) * u64::from(group.micro_batch);
    if at_once == 0 || group.sequences == 0 || !u64::from(group.sequences).is_multiple_of(at_once) {
        let problem = format!("is {}, which is not a multiple of micro_batch x replicas ({at_once})", group.sequences);
        return Err(wrong("sequences", problem));
    }
    let micros = (u64::from(group.sequences) / at_once) as u32;
    let parallel = Parallel { cp: group.cp, dp: all / replica, ..*parallel };
    let global_batch = micros.saturating_mul(group.micro_batch).saturating_mul(parallel.dp);
    let train = Train { sequence: group.sequence, micro_batch: group.micro_batch, global_batch, ..*train };
    Ok(Cut { parallel, train, ranks, turn: group.turn, micros })
}

/// What each group takes.
fn each(
    shape: &Shape,
    machine: &mut Machine<'_>,
    cuts: &[Cut],
    without: Option<Class>,
    watch: &mut dyn FnMut(Event),
) -> Result<Vec<Ran>, ParallelError> {
    let software = machine.software;
    let mut all = Vec::with_capacity(cuts.len());
    for cut in cuts {
        let context = Context { shape, parallel: &cut.parallel, train: &cut.train, software: &software };
        let mut compiler = Compiler {
            context,
            operators: &mut *machine.operators,
            collectives: machine.collectives,
            gpu: machine.gpu,
            without,
        };
        all.push(ran(&mut compiler, cut.micros, watch)?);
    }
    Ok(all)
}

/// Seconds of all turns' passes, of the reduction after them, and of the update: groups of a turn wait for the longest.
fn whole(cuts: &[Cut], all: &[Ran]) -> [f64; 3] {
    let mut turns: BTreeMap<u32, f64> = BTreeMap::new();
    let (mut reduced, mut updated) = (0.0_f64, 0.0_f64);
    for (cut, ran) in cuts.iter().zip(all) {
        let turn = turns.entry(cut.turn).or_insert(0.0);
        *turn = turn.max(ran.backward_s);
        reduced = reduced.max(ran.reduced_s - ran.backward_s);
        updated = updated.max(ran.step_s - ran.reduced_s);
    }
    [turns.values().sum(), reduced, updated]
}

/// Groups that fit each other: those of a turn have all ranks together.
fn fitting(groups: &[Group], parallel: &Parallel, train: &Train) -> Result<Vec<Cut>, ParallelError> {
    if parallel.outer > 1 {
        let problem = "is of steps of one length; `groups` are given";
        return Err(ParallelError::new("parallel.outer", problem).help("use 1, or leave groups out"));
    }
    let all = [parallel.tp, parallel.cp, parallel.pp, parallel.dp];
    let all = all.into_iter().fold(1_u64, |n, v| n.saturating_mul(u64::from(v)));
    if all == 0 || all > MOST {
        let problem = format!("makes {all} devices of tp x cp x pp x dp: must be 1 to {MOST}");
        return Err(ParallelError::new("parallel.dp", problem));
    }
    let cuts: Vec<Cut> =
        groups.iter().enumerate().map(|(at, g)| cut(g, parallel, train, at)).collect::<Result<_, _>>()?;
    for cut in &cuts {
        let together: u64 = cuts.iter().filter(|c| c.turn == cut.turn).map(|c| u64::from(c.ranks)).sum();
        if together != u64::from(parallel.ranks()) {
            let problem =
                format!("of turn {} have {together} ranks together, of {} that there are", cut.turn, parallel.ranks());
            return Err(ParallelError::new("groups", problem).help("change ranks, or turns"));
        }
    }
    Ok(cuts)
}

/// Simulates a step of several groups.
///
/// # Errors
/// A group does not fit the ranks, the machine cannot run it, or it does not fit in memory.
pub fn simulate_groups(
    shape: &Shape,
    machine: &mut Machine<'_>,
    (parallel, train): (&Parallel, &Train),
    groups: &[Group],
    detail: Detail,
    mut watch: impl FnMut(Event),
) -> Result<TrainReport, ParallelError> {
    let cuts = fitting(groups, parallel, train)?;
    let software = machine.software;
    for cut in &cuts {
        check(&Context { shape, parallel: &cut.parallel, train: &cut.train, software: &software })?;
    }
    let mut all = each(shape, machine, &cuts, None, &mut watch)?;
    let phases = whole(&cuts, &all);
    let step_s: f64 = phases.iter().sum();
    let mut exposed = BTreeMap::new();
    if detail.exposed {
        for class in Class::ALL.into_iter().filter(|c| c.is_communication()) {
            let without = each(shape, machine, &cuts, Some(class), &mut |_| {})?;
            let seconds = step_s - whole(&cuts, &without).iter().sum::<f64>();
            if seconds > 0.0 {
                exposed.insert(class.name().to_owned(), seconds);
            }
        }
    }
    let first = cuts.iter().map(|c| c.turn).min().unwrap_or(0);
    let devices = f64::from(parallel.ranks());
    let mut sum = TrainReport { step_s, devices: parallel.ranks(), exposed_s: exposed, ..TrainReport::default() };
    let (mut tokens, mut busy_s) = (0.0, 0.0);
    let mut host: BTreeMap<u32, (f64, u32)> = BTreeMap::new();
    sum.folding_exact = true;
    for (at, ((group, cut), ran)) in groups.iter().zip(&cuts).zip(&mut all).enumerate() {
        let c = Context { shape, parallel: &cut.parallel, train: &cut.train, software: &software };
        // What follows the passes is done once, by the ranks of the first turn: all of them.
        if cut.turn != first {
            ran.ends = Tally::default();
        }
        let of = report(&c, machine.gpu, ran, f64::from(cut.micros), BTreeMap::new(), Vec::new());
        let share = f64::from(cut.ranks) / devices;
        let of_step = share * ran.step_s / step_s;
        sum.mfu_pct += of.mfu_pct * of_step;
        sum.hfu_pct += of.hfu_pct * of_step;
        sum.tflops_per_device += of.tflops_per_device * of_step;
        tokens += f64::from(group.sequences) * f64::from(group.sequence);
        busy_s += share * (1.0 - of.bubble_fraction) * ran.backward_s;
        let turn = host.entry(cut.turn).or_insert((0.0, 0));
        *turn = (turn.0.max(of.host_s), turn.1.max(cut.micros));
        add(&mut sum, of, share);
        // Idle power is of the whole step, once.
        ran.step_s = if cut.turn == first { step_s } else { 0.0 };
        for mut rank in ranks(&c, ran, cut.micros, machine.gpu) {
            rank.role = format!("group {at}, {}", rank.role);
            rank.stage = rank.stage.saturating_add((at as u32).saturating_mul(parallel.pp));
            rank.ranks = cut.ranks / parallel.pp.max(1);
            sum.energy_j += f64::from(rank.ranks) * rank.energy.total_j();
            sum.ranks.push(rank);
        }
        if detail.fits {
            refuse(&c, machine.gpu, &sum.ranks)?;
        }
    }
    sum.tokens_per_s = tokens / step_s;
    sum.host_s = host.values().map(|(s, _)| s).sum();
    sum.micro_batches = host.values().map(|(_, m)| m).sum();
    sum.bubble_fraction = (1.0 - busy_s / phases[0].max(f64::MIN_POSITIVE)).max(0.0);
    sum.phases_s = [("forward and backward", phases[0]), ("gradients", phases[1]), ("update", phases[2])];
    sum.simulated_ranks = parallel.pp.saturating_mul(cuts.len() as u32);
    sum.notes.push("groups of a turn wait for the longest of them".into());
    Ok(sum)
}

/// Adds a group's share of what the mean device does.
fn add(sum: &mut TrainReport, of: TrainReport, share: f64) {
    for (name, seconds) in of.classes_s {
        *sum.classes_s.entry(name).or_insert(0.0) += share * seconds;
    }
    for (name, bytes) in of.bytes_by_link {
        *sum.bytes_by_link.entry(name).or_insert(0.0) += share * bytes;
    }
    for class in of.classes {
        let mine = match sum.classes.iter().position(|c| c.name == class.name) {
            Some(at) => &mut sum.classes[at],
            None => {
                let none = ClassReport { times: 0.0, busy_s: 0.0, energy: Energy::default(), ..class };
                sum.classes.push(none);
                let last = sum.classes.len() - 1;
                &mut sum.classes[last]
            }
        };
        mine.times += share * class.times;
        mine.busy_s += share * class.busy_s;
        mine.energy.switching_j += share * class.energy.switching_j;
        mine.energy.memory_j += share * class.energy.memory_j;
    }
    sum.folding_exact &= of.folding_exact;
    if sum.notes.is_empty() {
        sum.notes = of.notes;
    }
}
