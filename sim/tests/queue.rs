//! The event queue against a stably sorted list.

use banksia_sim::{EventQueue, Time, rng};
use proptest::prelude::*;
use rand::RngExt;

/// The reference: a list in which each event is inserted behind all that are not later.
#[derive(Default)]
struct Sorted(Vec<(u64, u32)>);

impl Sorted {
    fn push(&mut self, time: u64, event: u32) {
        let at = self.0.partition_point(|e| e.0 <= time);
        self.0.insert(at, (time, event));
    }

    fn pop(&mut self) -> Option<(u64, u32)> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Push at an absolute time.
    At(u64),
    /// Push this long after the last popped event.
    After(u64),
    /// Push this long before the last popped event.
    Before(u64),
    Pop,
    Peek,
    Clear,
}

fn magnitude() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0u32..64).prop_map(|(n, shift)| n >> shift)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => magnitude().prop_map(Op::At),
        1 => (0u64..4).prop_map(|d| Op::At(u64::MAX - d)),
        6 => magnitude().prop_map(Op::After),
        6 => (0u64..200).prop_map(Op::After),
        3 => (0u64..3).prop_map(Op::After),
        1 => (0u64..300).prop_map(Op::Before),
        12 => Just(Op::Pop),
        2 => Just(Op::Peek),
    ]
}

fn check(ops: &[Op]) -> Result<(), TestCaseError> {
    let mut queue = EventQueue::new();
    let mut model = Sorted::default();
    let mut now = 0u64;
    for (id, op) in ops.iter().enumerate() {
        let push = match *op {
            Op::At(t) => Some(t),
            Op::After(d) => Some(now.saturating_add(d)),
            Op::Before(d) => Some(now.saturating_sub(d)),
            Op::Pop => {
                let expected = model.pop();
                prop_assert_eq!(queue.pop().map(|(t, e)| (t.as_fs(), e)), expected);
                now = expected.map_or(now, |e| e.0);
                None
            }
            Op::Peek => {
                prop_assert_eq!(queue.peek_time().map(Time::as_fs), model.0.first().map(|e| e.0));
                None
            }
            Op::Clear => {
                queue.clear();
                model.0.clear();
                None
            }
        };
        if let Some(t) = push {
            queue.push(Time::from_fs(t), id as u32);
            model.push(t, id as u32);
        }
        prop_assert_eq!(queue.len(), model.0.len());
        prop_assert_eq!(queue.is_empty(), model.0.is_empty());
    }
    while let Some(expected) = model.pop() {
        prop_assert_eq!(queue.pop().map(|(t, e)| (t.as_fs(), e)), Some(expected));
    }
    prop_assert!(queue.pop().is_none());
    Ok(())
}

proptest! {
    #[test]
    fn any_interleaving_equals_a_stable_sort(ops in prop::collection::vec(op(), 0..600)) {
        check(&ops)?;
    }

    /// Many pushes before the first pop, so that slots are spread over several levels, and a clear half way.
    #[test]
    fn deep_queues_equal_a_stable_sort(
        times in prop::collection::vec(0u64..100_000, 500..1500),
        ops in prop::collection::vec(op(), 0..600),
        clear in any::<bool>(),
    ) {
        let mut all: Vec<Op> = times.into_iter().map(Op::At).collect();
        if clear {
            all.push(Op::Clear);
        }
        all.extend(ops);
        check(&all)?;
    }

    /// More than a front full of distinct times is pushed into the range of a front that is already sorted.
    #[test]
    fn a_front_that_overflows_stays_sorted(
        offsets in prop::collection::vec(1u64..4_000, 100..400),
        pops in 1usize..80,
    ) {
        let mut ops = vec![Op::At(1 << 20), Op::At((1 << 20) + 4_095), Op::Pop];
        for chunk in offsets.chunks(pops) {
            ops.extend(chunk.iter().map(|&d| Op::At((1 << 20) + d)));
            ops.push(Op::Pop);
        }
        check(&ops)?;
    }
}

/// The increments of the hold model whose order and cost are tested.
const DISTRIBUTIONS: [&str; 7] = ["exponential", "uniform", "bimodal", "ties", "constant", "pareto", "early"];

fn increment(kind: &str, rng: &mut rng::Stream) -> u64 {
    let u: f64 = rng.random();
    match kind {
        "exponential" => (-(1.0 - u).ln() * 1e6) as u64,
        "uniform" => (u * 2e6) as u64,
        "bimodal" => (if u < 0.9 { u * 1e3 } else { u * 1e12 }) as u64,
        "ties" => 0,
        "constant" => 1_000_000,
        "pareto" => (1e3 * (1.0 - u).powi(-3)).min(1e15) as u64,
        _ => (u * 1e3) as u64,
    }
}

/// A queue must come out in the reference's order for every shape of times, with thousands pending.
#[test]
fn every_distribution_is_ordered() {
    for kind in DISTRIBUTIONS {
        let mut rng = rng::stream(3, kind);
        let (mut queue, mut model) = (EventQueue::new(), Sorted::default());
        for id in 0..3_000u32 {
            let t = increment(kind, &mut rng);
            queue.push(Time::from_fs(t), id);
            model.push(t, id);
        }
        for id in 3_000..12_000u32 {
            let (t, e) = model.pop().unwrap();
            assert_eq!(queue.pop(), Some((Time::from_fs(t), e)), "{kind}");
            let d = increment(kind, &mut rng);
            let t = if kind == "early" { t.saturating_sub(d) } else { t + d };
            queue.push(Time::from_fs(t), id);
            model.push(t, id);
        }
    }
}

/// Two million operations with 64 Ki pending end in a second for each shape; a cost in proportion to what is pending
/// would be 10^11 steps, which no test run survives. Nothing is timed.
#[test]
fn no_distribution_is_quadratic() {
    for kind in DISTRIBUTIONS {
        let mut rng = rng::stream(5, kind);
        let mut queue = EventQueue::with_capacity(1 << 16);
        for id in 0..1u32 << 16 {
            queue.push(Time::from_fs((1 << 40) + increment(kind, &mut rng)), id);
        }
        let mut last = 0;
        for i in 0..1u32 << 20 {
            if i % 16 == 0 {
                queue.peek_time();
            }
            let (t, e) = queue.pop().unwrap();
            let t = t.as_fs();
            assert!(t >= last || kind == "early", "{kind}");
            last = t;
            let d = increment(kind, &mut rng);
            queue.push(Time::from_fs(if kind == "early" { t.saturating_sub(d) } else { t + d }), e);
        }
        assert_eq!(queue.len(), 1 << 16, "{kind}");
    }
}
