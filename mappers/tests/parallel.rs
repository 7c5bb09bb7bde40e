//! Laws of parallel training steps: what any setting must keep, whatever operators take.
#![allow(clippy::float_cmp)]

use banksia_hw::gpu::GpuSpec;
use banksia_mappers::parallel::maxplus::{CLOCKS, Segment};
use banksia_mappers::parallel::op::{CommKind, LocalOp};
use banksia_mappers::parallel::orders::orders;
use banksia_mappers::parallel::schedule::{Kind, Lengths, Pipeline, most_in_flight};
use banksia_mappers::parallel::times::{CollectiveTimes, CommCost, OpCost, OperatorTimes, Placed};
use banksia_mappers::parallel::{
    Detail, Machine, Parallel, ParallelError, Recompute, Schedule, Shape, Software, Train, TrainReport, Zero, simulate,
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
