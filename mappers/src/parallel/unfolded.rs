//! Every rank and every kernel by itself: the witness of what `pipeline` folds.
//!
//! Ranks of all stages, tensor- and data-parallel groups each run their own lists, item by item; a collective begins when the last of its group is
//! there. Nothing is shared with the folded run but the lists and their times.

use std::collections::HashMap;

use banksia_hw::gpu::GpuSpec;

use super::check::{check, layers};
use super::compile::Compiler;
use super::ends::{embedding, embedding_back, head, head_back};
use super::error::ParallelError;
use super::lists::{Backward, Context};
use super::op::{Axis, Class, Comm, CommKind, HostWork, Item, LocalOp};
use super::orders::orders;
use super::pipeline::{Exchange, run};
use super::schedule::{Kind, Lengths, Pipeline, Task};
use super::settings::{Parallel, Recompute, Schedule, Train};
use super::shape::Shape;
use super::software::Software;
use super::stage::{Parts, layer_backward, layer_forward, stage};
use super::times::{CollectiveTimes, CommCost, OpCost, OperatorTimes, Placed};

/// Times that differ from operator to operator, without a machine.
struct Invented;

fn mixed(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |h, w| (h ^ w).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29))
}

impl OperatorTimes for Invented {
    fn cost(&mut self, op: &LocalOp) -> Result<OpCost, ParallelError> {
        let text = format!("{op:?}");
        let h = mixed(&text.bytes().map(u64::from).collect::<Vec<_>>());
        Ok(OpCost { seconds: 1e-6 * (1 + h % 400) as f64, ..OpCost::default() })
    }
}

impl CollectiveTimes for Invented {
    fn gpus_per_node(&self) -> u32 {
        4
    }

    fn cost(&self, kind: CommKind, placed: Placed, bytes: u64) -> Result<CommCost, ParallelError> {
        let h = mixed(&[kind as u64, u64::from(placed.ranks()), bytes]);
        Ok(CommCost { seconds: 1e-6 * (1 + h % 300) as f64, sms: (h % 40) as u32, ..CommCost::default() })
    }
}

/// A list of a task, in the order in which a stage runs it. None is the host work of a micro batch.
fn list(c: &Context<'_>, p: &Pipeline, s: u32, task: Task, per_place: &[u32]) -> Vec<Option<Item>> {
    let place = p.place(s, task.chunk) as usize;
    let (first, last) = (place == 0, place + 1 == per_place.len());
    let mut items: Vec<Option<Item>> = Vec::new();
    let add = |items: &mut Vec<Option<Item>>, more: &[Item]| items.extend(more.iter().copied().map(Some));
    let mut ends = Vec::new();
    match task.kind {
        Kind::Forward => {
            if task.chunk == 0 {
                items.push(None);
            }
            if first {
                embedding(c, &mut ends);
                add(&mut items, &ends);
            }
            let mut layer = layer_forward(c);
            if c.train.recompute == Recompute::Full {
                layer.insert(0, Item::Host(HostWork::Checkpoint, 1));
            }
            for _ in 0..per_place[place] {
                add(&mut items, &layer);
            }
            if last {
                ends.clear();
                head(c, &mut ends);
                add(&mut items, &ends);
            }
        }
        kind => {
            let of = |b: Backward| match kind {
                Kind::Input => b.input,
                Kind::Weight => b.weight,
                _ => b.joined,
            };
            let mut back = Backward::default();
            if last {
                head_back(c, &mut back);
                add(&mut items, &of(back));
            }
            let layer = of(layer_backward(c));
            for _ in 0..per_place[place] {
                add(&mut items, &layer);
            }
            if first && kind != Kind::Input {
                let mut back = Backward::default();
                embedding_back(c, &mut back);
                add(&mut items, &back.joined);
            }
        }
    }
    items
}

/// The clocks of all ranks, `[host, compute, network]`, each rank by itself.
fn unfolded(
    compiler: &mut Compiler<'_>,
    p: &Pipeline,
    tasks: &[Vec<Task>],
    exchange: Exchange,
    per_place: &[u32],
) -> Result<Vec<[f64; 3]>, ParallelError> {
    let c = compiler.context;
    let group = (c.parallel.tp * c.parallel.dp) as usize;
    let ranks = group * p.stages as usize;
    let host = c.software.host;
    let mut clocks = vec![[0.0_f64; 3]; ranks];
    // Where a rank is: task, item; whether what the task waits for has been taken.
    let mut at = vec![(0_usize, 0_usize, false); ranks];
    let mut sent: HashMap<(bool, usize, u32, usize), f64> = HashMap::new();
    let mut arrived: HashMap<(usize, usize, usize, u32), Vec<usize>> = HashMap::new();
    let mut lists: HashMap<(usize, Kind, u32), Vec<Option<Item>>> = HashMap::new();
    let mut moved = true;
    while moved {
        moved = false;
        for r in 0..ranks {
            let (s, within) = (r / group, r % group);
            let Some(&task) = tasks[s].get(at[r].0) else { continue };
            let place = p.place(s as u32, task.chunk) as usize;
            if !at[r].2 {
                let key = match task.kind {
                    Kind::Forward if place > 0 => Some((true, place, task.micro, within)),
                    Kind::Backward | Kind::Input if place + 1 < per_place.len() => {
                        Some((false, place, task.micro, within))
                    }
                    _ => None,
                };
                if let Some(key) = key {
                    let Some(&arrival) = sent.get(&key) else { continue };
                    clocks[r][0] += exchange.host_s;
                    clocks[r][1] = clocks[r][1].max(arrival);
                    if exchange.synchronous {
                        clocks[r][0] = clocks[r][0].max(clocks[r][1]);
                    }
                }
                at[r].2 = true;
                moved = true;
            }
            let items =
                lists.entry((s, task.kind, task.chunk)).or_insert_with(|| list(&c, p, s as u32, task, per_place));
            while at[r].1 < items.len() {
                let clock = &mut clocks[r];
                match items[at[r].1] {
                    None => clock[0] += host.micro_batch_us * 1e-6,
                    Some(Item::Host(what, times)) => clock[0] += f64::from(times) * host.seconds(what),
                    Some(Item::JoinReplicas | Item::BesideReplicas(..) | Item::Awaited(..)) => {}
                    Some(Item::Join) => clock[1] = clock[1].max(clock[2]),
                    Some(Item::Run(op, _, what)) => {
                        clock[0] += host.seconds(what);
                        let seconds = compiler.operators.cost(&op)?.seconds + host.gap_us * 1e-6;
                        clock[1] = clock[1].max(clock[0]) + seconds;
                    }
                    Some(Item::Small(kernels, _, what)) => {
                        let op = LocalOp::Stream { read: 4096, written: 4096 };
                        let seconds = compiler.operators.cost(&op)?.seconds + host.gap_us * 1e-6;
                        for _ in 0..kernels {
                            clock[0] += host.seconds(what);
                            clock[1] = clock[1].max(clock[0]) + seconds;
                        }
                    }
                    Some(item @ (Item::Comm(comm, _) | Item::Beside(comm, _))) => {
                        // All tensor-parallel ranks of the same stage and replica.
                        let tp = c.parallel.tp as usize;
                        let replica = within / tp;
                        let key = (s, replica, at[r].0, at[r].1 as u32);
                        let members = arrived.entry(key).or_default();
                        if !members.contains(&r) {
                            members.push(r);
                            clock[0] += host.seconds(HostWork::Collective);
                            moved = true;
                        }
                        if members.len() < tp {
                            break;
                        }
                        // The last one there ends it for all.
                        let cost = compiler.cost(comm)?;
                        let begin =
                            members.iter().map(|&m| clocks[m].iter().copied().fold(0.0, f64::max)).fold(0.0, f64::max);
                        for &m in members.iter() {
                            clocks[m][2] = begin + cost.seconds;
                            if matches!(item, Item::Comm(..)) {
                                clocks[m][1] = clocks[m][1].max(clocks[m][2]);
                            } else {
                                let share = f64::from(cost.sms) / f64::from(compiler.gpu.sms());
                                clocks[m][1] += cost.seconds * share;
                            }
                            at[m].1 += 1;
                        }
                        moved = true;
                        continue;
                    }
                }
                at[r].1 += 1;
                moved = true;
            }
            if at[r].1 < items.len() {
                continue;
            }
            let clock = &mut clocks[r];
            let to = match task.kind {
                Kind::Forward if place + 1 < per_place.len() => Some((true, place + 1)),
                Kind::Forward => {
                    sent.insert((false, place, task.micro, within), clock[1]);
                    None
                }
                Kind::Backward | Kind::Input if place > 0 => Some((false, place - 1)),
                _ => None,
            };
            if let Some((forward, to)) = to {
                clock[0] += exchange.host_s;
                let arrival = clock[1].max(clock[0]) + exchange.seconds;
                if exchange.waits {
                    clock[1] = arrival;
                }
                if exchange.synchronous {
                    clock[0] = clock[0].max(clock[1]);
                }
                sent.insert((forward, to, task.micro, within), arrival);
            }
            at[r] = (at[r].0 + 1, 0, false);
            moved = true;
        }
    }
    Ok(clocks)
}

/// Settings by a number.
fn setting(n: u64) -> (Shape, Parallel, Train, Software) {
    let pick = |salt: u64, of: &[u32]| of[(mixed(&[n, salt]) % of.len() as u64) as usize];
    let schedules = [
        Schedule::Gpipe,
        Schedule::OneForwardOneBackward,
        Schedule::Interleaved,
        Schedule::ZbH1,
        Schedule::ZbH2,
        Schedule::Zb1p,
        Schedule::Zb2p,
        Schedule::ZbV,
    ];
    let schedule = schedules[(mixed(&[n, 1]) % 8) as usize];
    let pp = pick(2, &[1, 2, 3, 4]);
    let virtual_stages = match schedule {
        Schedule::Interleaved | Schedule::ZbV => 2,
        _ => 1,
    };
    let shape = Shape::gpt(pp * virtual_stages * pick(3, &[1, 2, 3]), 512, 8, 1000, 256);
    let tp = pick(4, &[1, 2, 4]);
    let parallel = Parallel {
        tp,
        pp,
        dp: pick(5, &[1, 2]),
        virtual_stages,
        schedule,
        sequence: pick(6, &[0, 1]) == 1,
        ..Parallel::default()
    };
    let micros = pp * pick(7, &[1, 2, 3]);
    let train = Train {
        micro_batch: 2,
        global_batch: 2 * micros * parallel.dp,
        sequence: 256,
        recompute: [Recompute::None, Recompute::Selective, Recompute::Full][(mixed(&[n, 8]) % 3) as usize],
        ..Train::default()
    };
    let software = Software { synchronous_sends: pick(9, &[0, 1]) == 1, ..Software::MEGATRON_2022 };
    (shape, parallel, train, software)
}

#[test]
fn folded_is_unfolded() {
    let gpu: GpuSpec = banksia_hw::gpu::device("a100").expect("in the catalog");
    let mut compared = 0;
    for n in 0..200 {
        let (shape, parallel, train, software) = setting(n);
        let context = Context { shape: &shape, parallel: &parallel, train: &train, software: &software };
        let micros = check(&context).expect("settings fit");
        let (mut operators, collectives) = (Invented, Invented);
        let mut compiler =
            Compiler { context, operators: &mut operators, collectives: &collectives, gpu: &gpu, without: None };
        let parts = Parts::of(&mut compiler).expect("known");
        let per_place = layers(&context);
        let p = Pipeline { stages: parallel.pp, chunks: parallel.virtual_stages, micros, schedule: parallel.schedule };
        let [forward, input, weight] = parts.lengths(1.0);
        let tasks = orders(&p, Lengths { forward, input, weight, send: 1e-5 });
        let exchange =
            Exchange { seconds: 3e-5, host_s: 1e-5, waits: n % 2 == 0, synchronous: software.synchronous_sends };
        let maps: Vec<_> = (0..p.stages)
            .map(|s| {
                let chunks: Vec<u32> = (0..p.chunks).map(|k| per_place[p.place(s, k) as usize]).collect();
                stage(&context, &parts, &chunks, p.ends(s)).maps
            })
            .collect();
        let folded = run(&p, &tasks, &maps, exchange, |_| {}).expect("no deadlock");
        let all = unfolded(&mut compiler, &p, &tasks, exchange, &per_place).expect("known");
        let group = all.len() / folded.len();
        for (r, clocks) in all.iter().enumerate() {
            for (mine, theirs) in clocks.iter().zip(folded[r / group].end) {
                assert!(
                    (mine - theirs).abs() < 1e-9,
                    "setting {n}, rank {r}: {clocks:?} is not {:?}",
                    folded[r / group].end
                );
                compared += 1;
            }
        }
        // Every micro batch has passed every layer both ways.
        for list in &tasks {
            let forward = list.iter().filter(|t| t.kind == Kind::Forward).count() as u32;
            assert_eq!(forward, micros * p.chunks);
        }
    }
    assert!(compared > 3000);
}

/// A collective is placed on as many nodes as its ranks need.
#[test]
fn groups_are_placed() {
    let gpu: GpuSpec = banksia_hw::gpu::device("a100").expect("in the catalog");
    let (shape, mut parallel, train, software) = setting(0);
    parallel = Parallel { tp: 2, pp: 2, dp: 4, ..parallel };
    let context = Context { shape: &shape, parallel: &parallel, train: &train, software: &software };
    let (mut operators, collectives) = (Invented, Invented);
    let compiler = Compiler { context, operators: &mut operators, collectives: &collectives, gpu: &gpu, without: None };
    assert_eq!(compiler.placed(Axis::Tensor), Placed { ranks_per_node: 2, nodes: 1, concurrent: 2 });
    assert_eq!(compiler.placed(Axis::Data), Placed { ranks_per_node: 2, nodes: 2, concurrent: 2 });
    assert_eq!(compiler.placed(Axis::Pipeline), Placed { ranks_per_node: 1, nodes: 2, concurrent: 4 });
    let cost = compiler.cost(Comm { kind: CommKind::AllReduce, axis: Axis::Context, bytes: 1 << 20 }).expect("known");
    assert_eq!(cost, CommCost::default());
    assert!(Class::ALL.iter().enumerate().all(|(i, c)| *c as usize == i));
}
