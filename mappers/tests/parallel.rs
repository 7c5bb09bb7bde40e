//! Laws of parallel training steps: what any setting must keep, whatever operators take.
#![allow(clippy::float_cmp)]

use banksia_hw::gpu::GpuSpec;
use banksia_mappers::parallel::maxplus::{CLOCKS, Segment};
use banksia_mappers::parallel::op::{CommKind, LocalOp};
use banksia_mappers::parallel::orders::orders;
use banksia_mappers::parallel::schedule::{Kind, Lengths, Pipeline, most_in_flight};
use banksia_mappers::parallel::times::{CollectiveTimes, CommCost, OpCost, OperatorTimes, Placed};
use banksia_mappers::parallel::{
    Context, Detail, Dispatch, Exchange, Experts, Group, Machine, Optimizer, OuterSum, Overlap, Parallel,
    ParallelError, Precision, Recompute, Schedule, Shape, Software, Train, TrainReport, Zero, simulate,
    simulate_groups,
};

/// Operators at the device's peak, streams at its bandwidth.
struct Peak(f64, f64);

impl OperatorTimes for Peak {
    fn cost(&mut self, op: &LocalOp) -> Result<OpCost, ParallelError> {
        let seconds = match *op {
            LocalOp::Stream { read, written } => (read + written) as f64 / self.1,
            _ => op.flops() / self.0,
        };
        Ok(OpCost { seconds: seconds + 2e-6, ..OpCost::default() })
    }
}

/// Collectives at 200 GB/s in a node and 25 between.
struct Links;

impl CollectiveTimes for Links {
    fn gpus_per_node(&self) -> u32 {
        8
    }

    fn cost(&self, kind: CommKind, placed: Placed, bytes: u64) -> Result<CommCost, ParallelError> {
        let rate = if placed.nodes > 1 { 25e9 } else { 200e9 };
        let factor = if kind == CommKind::AllReduce { 2.0 } else { 1.0 };
        let seconds = 1e-5 + factor * bytes as f64 / rate;
        Ok(CommCost { seconds, node_bytes: bytes as f64, network_bytes: 0.0, sms: 0 })
    }
}

fn gpu() -> GpuSpec {
    banksia_hw::gpu::device("a100").expect("in the catalog")
}

fn step(shape: &Shape, parallel: &Parallel, train: &Train, fits: bool) -> Result<TrainReport, ParallelError> {
    let gpu = gpu();
    let mut operators = Peak(312e12, 1.6e12);
    let mut machine =
        Machine { gpu: &gpu, operators: &mut operators, collectives: &Links, software: Software::MEGATRON_2022 };
    simulate(shape, &mut machine, parallel, train, Detail { exposed: true, fits }, |_| {})
}

fn gpt() -> Shape {
    Shape::gpt(24, 4096, 32, 51_200, 2048)
}

#[test]
fn powers_are_repetitions() {
    let mut layer = Segment::identity();
    layer.host(3e-5);
    layer.kernel(1e-4);
    layer.beside(2, 5e-5);
    layer.host(9e-5);
    layer.kernel(2e-5);
    layer.wait(1, 2);
    let mut by_hand = Segment::identity();
    for n in 0..40 {
        let power = layer.times(n);
        let start = [1e-3, 2e-3, 0.0, 5e-4];
        for (a, b) in power.apply(&start).iter().zip(by_hand.apply(&start)) {
            assert!((a - b).abs() < 1e-12, "{n} times");
        }
        by_hand = by_hand.then(&layer);
    }
    assert_eq!(start_of(&Segment::identity()), [0.0; CLOCKS]);
}

fn start_of(map: &Segment) -> [f64; CLOCKS] {
    map.apply(&[0.0; CLOCKS])
}

#[test]
fn every_schedule_runs_every_task_once() {
    let all = [
        (Schedule::Gpipe, 1),
        (Schedule::OneForwardOneBackward, 1),
        (Schedule::Interleaved, 3),
        (Schedule::ZbH1, 1),
        (Schedule::ZbH2, 1),
        (Schedule::Zb1p, 1),
        (Schedule::Zb2p, 1),
        (Schedule::ZbV, 2),
    ];
    let lengths = Lengths { forward: 1.0, input: 1.0, weight: 1.0, send: 0.01 };
    for (schedule, chunks) in all {
        for stages in [1, 2, 4, 7] {
            let p = Pipeline { stages, chunks, micros: 3 * stages, schedule };
            let orders = orders(&p, lengths);
            assert_eq!(orders.len(), stages as usize);
            for (s, tasks) in orders.iter().enumerate() {
                for kind in [Kind::Forward, Kind::Backward, Kind::Input, Kind::Weight] {
                    let split = matches!(kind, Kind::Input | Kind::Weight);
                    let expected = if kind == Kind::Forward || split == schedule.splits_backward() {
                        3 * stages * chunks
                    } else {
                        0
                    };
                    let mut seen: Vec<(u32, u32)> =
                        tasks.iter().filter(|t| t.kind == kind).map(|t| (t.micro, t.chunk)).collect();
                    assert_eq!(seen.len() as u32, expected, "{schedule:?} {stages} {kind:?}");
                    seen.sort_unstable();
                    seen.dedup();
                    assert_eq!(seen.len() as u32, expected);
                }
                if schedule == Schedule::OneForwardOneBackward {
                    assert_eq!(most_in_flight(tasks), stages - s as u32);
                }
                if matches!(schedule, Schedule::ZbH1 | Schedule::Zb1p) {
                    assert!(most_in_flight(tasks) <= stages);
                }
            }
        }
    }
}

/// No step is shorter than its operations at the device's peak, recomputation takes longer, and zero bubble does not.
#[test]
fn steps_are_bounded() {
    let train = Train { micro_batch: 1, global_batch: 64, sequence: 2048, ..Train::default() };
    for (tp, pp, dp) in [(1, 1, 8), (8, 1, 2), (1, 4, 2), (4, 4, 2), (2, 8, 1), (8, 4, 4)] {
        let parallel = Parallel { tp, pp, dp, sequence: tp > 1, ..Parallel::default() };
        let r = step(&gpt(), &parallel, &train, false).expect("fits");
        assert!(r.mfu_pct > 0.0 && r.mfu_pct < 100.0, "{parallel:?}: {}", r.mfu_pct);
        assert!(r.hfu_pct < 100.0 && r.hfu_pct >= 0.9 * r.mfu_pct);
        assert!((0.0..1.0).contains(&r.bubble_fraction));
        assert_eq!(r.devices, tp * pp * dp);
        assert_eq!(r.ranks.iter().map(|k| k.ranks).sum::<u32>(), r.devices);
        let full = Train { recompute: Recompute::Full, ..train };
        assert!(step(&gpt(), &parallel, &full, false).expect("fits").step_s > r.step_s);
        // With tensor parallelism, gradients of weights apart hide no all-reduce.
        if pp > 1 && tp == 1 {
            let zero = Parallel { schedule: Schedule::ZbH1, ..parallel };
            let z = step(&gpt(), &zero, &train, false).expect("fits");
            assert!(z.step_s < 1.02 * r.step_s, "{parallel:?}: {} {}", z.step_s, r.step_s);
        }
    }
}

/// A model that does not fit is refused with a remedy, and the remedy helps.
#[test]
fn what_does_not_fit_is_refused() {
    let train =
        Train { micro_batch: 1, global_batch: 64, sequence: 2048, recompute: Recompute::Full, ..Train::default() };
    let alone = Parallel { dp: 8, ..Parallel::default() };
    let refused = step(&gpt(), &alone, &train, true).expect_err("5 billion parameters with Adam on one device");
    assert!(refused.problem.contains("GiB"), "{refused}");
    assert!(refused.help.contains("zero"), "{}", refused.help);
    let sharded = Parallel { zero: Zero::Optimizer, ..alone };
    assert!(step(&gpt(), &sharded, &train, true).is_ok());
    let odd = Parallel { tp: 5, ..Parallel::default() };
    let refused = step(&gpt(), &odd, &train, true).expect_err("five ranks do not share 32 heads");
    assert_eq!(refused.key, "parallel.tp");
    assert!(refused.help.contains('4'), "{}", refused.help);
}

fn mixture() -> Shape {
    let experts = Experts { count: 32, top_k: 2, ffn: 8192, shared_ffn: 0 };
    Shape { experts: Some(experts), dropout: false, ..Shape::gpt(4, 2048, 16, 51_200, 2048) }
}

fn of_experts(parallel: Parallel) -> TrainReport {
    let train = Train { micro_batch: 4, global_batch: 64, sequence: 2048, ..Train::default() };
    let parallel = Parallel { dp: 16, ep: 16, zero: Zero::Optimizer, ..parallel };
    step(&mixture(), &parallel, &train, false).expect("fits")
}

fn seconds(r: &TrainReport, class: &str) -> f64 {
    r.classes.iter().find(|c| c.name == class).map_or(0.0, |c| c.busy_s)
}

#[test]
fn pieces_hide_exchanges_and_no_more_than_there_is_to_hide() {
    let whole = of_experts(Parallel::default());
    let in_pieces = |expert_pieces| {
        of_experts(Parallel { overlap: Overlap { expert_pieces, ..Overlap::default() }, ..Parallel::default() })
    };
    let exposed = |r: &TrainReport| r.exposed_s.get("expert exchanges").copied().unwrap_or(0.0);
    assert_eq!(in_pieces(1).step_s, whole.step_s);
    let mut before = whole.step_s;
    for pieces in [2, 4] {
        let r = in_pieces(pieces);
        assert!(r.step_s < before, "{pieces}: {} {before}", r.step_s);
        assert!(exposed(&r) < exposed(&whole), "{pieces}");
        // The first exchange and the last have nothing beside them.
        assert!(
            exposed(&r) > 0.9 * exposed(&whole) / f64::from(pieces),
            "{pieces}: {} {}",
            exposed(&r),
            exposed(&whole)
        );
        before = r.step_s;
    }
    // Many pieces take their launches.
    assert!(in_pieces(1024).step_s > whole.step_s);
}

#[test]
fn rows_that_are_hashed_are_not_sent() {
    let whole = of_experts(Parallel::default());
    let hashed = of_experts(Parallel { expert_rows_pct: 20, ..Parallel::default() });
    let sent = |r: &TrainReport| seconds(r, "expert exchanges");
    // Beside ten microseconds an exchange.
    let starts =
        |r: &TrainReport| 1e-5 * r.classes.iter().find(|c| c.name == "expert exchanges").map_or(0.0, |c| c.times);
    let share = (sent(&hashed) - starts(&hashed)) / (sent(&whole) - starts(&whole));
    assert!((share - 0.2).abs() < 1e-3, "{share}");
    assert!(seconds(&hashed, "experts") < 0.3 * seconds(&whole, "experts"));
    assert!(seconds(&hashed, "routing") > seconds(&whole, "routing"), "hashing is not free");
    let train = Train { global_batch: 8, ..Train::default() };
    let none = Parallel { dp: 8, ep: 8, expert_rows_pct: 0, ..Parallel::default() };
    let refused = step(&mixture(), &none, &train, false).expect_err("no rows");
    assert_eq!(refused.key, "parallel.expert_rows_pct");
}

#[test]
fn dense_dispatch_grows_with_the_square_of_the_tokens() {
    let routing = |dispatch, micro_batch| {
        let train = Train { micro_batch, global_batch: 16 * micro_batch, sequence: 2048, ..Train::default() };
        let parallel = Parallel { dp: 16, ep: 16, dispatch, ..Parallel::default() };
        seconds(&step(&mixture(), &parallel, &train, false).expect("fits"), "routing")
    };
    let (one, four) = (routing(Dispatch::Dense, 1), routing(Dispatch::Dense, 4));
    assert!(four > 12.0 * one && four < 16.5 * one, "{one} {four}");
    assert!(one > 3.0 * routing(Dispatch::Sparse, 1));
}

#[test]
fn levels_send_within_the_node_first() {
    // Links of this test are as fast however long messages are: two levels send more bytes, within nodes.
    let direct = of_experts(Parallel::default());
    let levels = of_experts(Parallel { exchange: Exchange::Levels, ..Parallel::default() });
    let times = |r: &TrainReport| r.classes.iter().find(|c| c.name == "expert exchanges").map_or(0.0, |c| c.times);
    assert_eq!(times(&levels), 2.0 * times(&direct));
    assert!(seconds(&levels, "expert exchanges") > seconds(&direct, "expert exchanges"));
    assert!(seconds(&levels, "expert exchanges") < 1.3 * seconds(&direct, "expert exchanges"));
}

#[test]
fn a_sum_over_groups_waits_or_is_hidden() {
    let train = Train { micro_batch: 4, global_batch: 16 * 8 * 4, sequence: 2048, ..Train::default() };
    let of = |outer, local_steps, outer_sum| {
        let parallel = Parallel { dp: 8, outer, ..Parallel::default() };
        let train = Train { local_steps, outer_sum, global_batch: train.global_batch * outer / 16, ..train };
        step(&gpt(), &parallel, &train, false)
    };
    let alone = of(1, 1, OuterSum::Waits).expect("fits");
    let waits = of(16, 1, OuterSum::Waits).expect("fits");
    let seldom = of(16, 4, OuterSum::Waits).expect("fits");
    let delayed = of(16, 1, OuterSum::Delayed).expect("fits");
    assert_eq!(waits.devices, 16 * alone.devices);
    assert!(alone.step_s < seldom.step_s && seldom.step_s < waits.step_s);
    let (often, rare) = (waits.step_s - alone.step_s, seldom.step_s - alone.step_s);
    assert!((often / rare - 4.0).abs() < 1e-6, "{often} {rare}");
    // Hidden but for the update that follows it, and never in less than the sum takes.
    assert!(delayed.step_s < alone.step_s + 0.2 * often, "{} {}", delayed.step_s, alone.step_s);
    let short = Train { sequence: 64, micro_batch: 1, global_batch: 128, outer_sum: OuterSum::Delayed, ..train };
    let parallel = Parallel { dp: 8, outer: 16, ..Parallel::default() };
    let bound = step(&gpt(), &parallel, &short, false).expect("fits");
    let sum_s = 1e-5 + 2.0 * 2.0 * gpt().parameters() as f64 / 25e9;
    assert!(bound.step_s >= sum_s * (1.0 - 1e-6), "{} {sum_s}", bound.step_s);
    // It is kept in memory: beginnings, a momentum, the buffer.
    let optimizer = |r: &TrainReport| r.ranks[0].memory_bytes.optimizer / r.ranks[0].parameters as f64;
    assert_eq!(optimizer(&waits) - optimizer(&alone), 8.0);
    assert_eq!(optimizer(&delayed) - optimizer(&alone), 14.0);
    assert_eq!(of(1, 2, OuterSum::Waits).expect_err("one group").key, "train.local_steps");
    assert_eq!(of(1, 1, OuterSum::Delayed).expect_err("one group").key, "train.outer_sum");
}

#[test]
fn low_rank_states_are_those_of_the_projection() {
    let llama = Shape::llama(32, 4096, [32, 32], 11008, 32_000);
    let of = |optimizer| {
        let train = Train {
            optimizer,
            rank: 1024,
            precision: Precision::Bf16Pure,
            recompute: Recompute::Full,
            layerwise: true,
            ..Train::default()
        };
        step(&llama, &Parallel::default(), &train, false).expect("fits").ranks[0].memory_bytes
    };
    let adam = of(Optimizer::Adam).optimizer;
    // By hand: of a square matrix 3 x 1024 x 4096 elements for 2 x 4096 x 4096, of an inner one (2 x 11008 + 4096) x 1024 for 2 x 4096 x 11008; tables whole.
    let (square, inner, tables) = (4096.0 * 4096.0, 4096.0 * 11008.0, 2.0 * 32_000.0 * 4096.0);
    let low = 32.0 * (4.0 * 3.0 * 1024.0 * 4096.0 + 3.0 * 1024.0 * (2.0 * 11008.0 + 4096.0)) + 2.0 * tables;
    let whole = 2.0 * (32.0 * (4.0 * square + 3.0 * inner) + tables);
    let (saved, saved_8bit) =
        (1.0 - of(Optimizer::LowRank).optimizer / adam, 1.0 - of(Optimizer::LowRank8bit).optimizer / adam);
    assert!((saved - (1.0 - low / whole)).abs() < 1e-3, "{saved}");
    assert!((saved_8bit - (1.0 - low / whole / 2.0)).abs() < 1e-3, "{saved_8bit}");
    // Gradients of a layer, or of both tables; all of them without.
    let kept = of(Optimizer::Adam).gradients;
    assert!(kept <= 2.0 * tables && kept >= 2.0 * (4.0 * square + 3.0 * inner), "{kept}");
    let train = Train { layerwise: true, global_batch: 2, ..Train::default() };
    let refused = step(&llama, &Parallel::default(), &train, false).expect_err("two micro batches");
    assert_eq!(refused.key, "train.layerwise");
}

fn in_groups(parallel: &Parallel, train: &Train, groups: &[Group]) -> Result<TrainReport, ParallelError> {
    let gpu = gpu();
    let mut operators = Peak(312e12, 1.6e12);
    let mut machine =
        Machine { gpu: &gpu, operators: &mut operators, collectives: &Links, software: Software::MEGATRON_CORE };
    simulate_groups(&gpt(), &mut machine, (parallel, train), groups, Detail { exposed: true, fits: false }, |_| {})
}

#[test]
fn groups_of_one_length_are_a_step_and_others_wait_for_the_longest() {
    let parallel = Parallel { dp: 16, context: Context::Ulysses, zero: Zero::Weights, ..Parallel::default() };
    let train = Train { recompute: Recompute::Full, ..Train::default() };
    let group = |sequence, sequences, cp, ranks, turn| Group {
        sequence,
        sequences,
        micro_batch: 1,
        cp,
        ranks: Some(ranks),
        turn,
    };
    let of = |groups: &[Group]| in_groups(&parallel, &train, groups).expect("fits");
    let one = of(&[group(4096, 32, 1, 16, 0)]);
    let plain = {
        let gpu = gpu();
        let mut operators = Peak(312e12, 1.6e12);
        let mut machine =
            Machine { gpu: &gpu, operators: &mut operators, collectives: &Links, software: Software::MEGATRON_CORE };
        let train = Train { sequence: 4096, global_batch: 32, ..train };
        simulate(&gpt(), &mut machine, &parallel, &train, Detail { exposed: true, fits: false }, |_| {}).expect("fits")
    };
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    assert!(near(one.step_s, plain.step_s) && near(one.energy_j, plain.energy_j) && near(one.mfu_pct, plain.mfu_pct));
    assert!(near(one.tokens_per_s, plain.tokens_per_s));
    // Two turns: the passes of both, what follows once.
    let long = of(&[group(32_768, 4, 8, 16, 0)]);
    let turns = of(&[group(4096, 32, 1, 16, 0), group(32_768, 4, 8, 16, 1)]);
    assert!(near(turns.phases_s[0].1, one.phases_s[0].1 + long.phases_s[0].1));
    assert!(near(turns.phases_s[2].1, one.phases_s[2].1));
    // Side by side: as long as the longer one, here with half of the ranks each.
    let beside = of(&[group(4096, 16, 1, 8, 0), group(32_768, 2, 8, 8, 0)]);
    let halves = [of(&[group(4096, 32, 1, 16, 0)]), of(&[group(32_768, 4, 8, 16, 0)])].map(|r| r.phases_s[0].1);
    assert!(near(beside.phases_s[0].1, halves[0].max(halves[1])), "{} {halves:?}", beside.phases_s[0].1);
    assert_eq!(beside.devices, 16);
    // Short sequences over one rank each beat short sequences over eight.
    let cut = of(&[group(4096, 32, 8, 16, 0)]);
    assert!(cut.step_s > one.step_s);
    let errors = [
        (vec![group(4096, 16, 1, 8, 0)], "groups"),
        (vec![group(4096, 16, 3, 16, 0)], "groups[0].cp"),
        (vec![group(4096, 15, 1, 16, 0)], "groups[0].sequences"),
        (vec![group(4096, 32, 1, 32, 0)], "groups[0].ranks"),
    ];
    for (groups, key) in errors {
        assert_eq!(in_groups(&parallel, &train, &groups).expect_err(key).key, key);
    }
}
