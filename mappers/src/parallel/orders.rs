//! The order of every stage's tasks, and the search for the best where a schedule leaves it open.

use super::greedy;
use super::maxplus::Segment;
use super::pipeline::{Exchange, StageMaps, run};
use super::schedule::{Lengths, Pipeline, Task};
use super::settings::Schedule;

/// Tasks of every stage, in order.
pub fn orders(p: &Pipeline, lengths: Lengths) -> Vec<Vec<Task>> {
    let of = |f: &dyn Fn(u32) -> Vec<Task>| (0..p.stages).map(f).collect();
    let first = || of(&|s| p.handcrafted(p.stages - s, s));
    let second = || of(&|s| p.handcrafted(2 * (p.stages - s) - 1, 2 * s));
    match p.schedule {
        Schedule::Gpipe => of(&|_| p.gpipe()),
        Schedule::OneForwardOneBackward | Schedule::Interleaved if p.chunks > 1 => of(&|s| p.interleaved(s)),
        Schedule::OneForwardOneBackward | Schedule::Interleaved => of(&|s| p.one_forward_one_backward(s)),
        Schedule::ZbH1 => first(),
        Schedule::ZbH2 => second(),
        Schedule::Zb1p => best(p, lengths, [first(), greedy::orders(p, lengths, p.stages)]),
        Schedule::Zb2p => best(p, lengths, [second(), greedy::orders(p, lengths, 2 * p.stages)]),
        Schedule::ZbV => greedy::orders(p, lengths, 2 * p.stages),
    }
}

/// The order of the shortest period by nominal lengths (arXiv 2401.10241 searches likewise, by profiled ones).
fn best<const N: usize>(p: &Pipeline, lengths: Lengths, candidates: [Vec<Vec<Task>>; N]) -> Vec<Vec<Task>> {
    let task = |seconds: f64| {
        let mut map = Segment::identity();
        map.kernel(seconds);
        vec![map; p.chunks as usize]
    };
    let both = lengths.input + lengths.weight;
    let maps = StageMaps {
        forward: task(lengths.forward),
        first_forward: task(lengths.forward),
        backward: task(both),
        last_backward: task(both),
        input: task(lengths.input),
        weight: task(lengths.weight),
    };
    let maps = vec![maps; p.stages as usize];
    let exchange = Exchange { seconds: lengths.send, host_s: 0.0, waits: false, synchronous: false };
    let period = |orders: &[Vec<Task>]| {
        run(p, orders, &maps, exchange, |_| {}).map_or(f64::INFINITY, |spans| {
            spans.iter().map(|s| s.end.iter().copied().fold(0.0, f64::max) - s.begin).fold(0.0, f64::max)
        })
    };
    let mut chosen: Option<(f64, Vec<Vec<Task>>)> = None;
    for orders in candidates {
        let seconds = period(&orders);
        if chosen.as_ref().is_none_or(|(least, _)| seconds < *least) {
            chosen = Some((seconds, orders));
        }
    }
    chosen.map(|(_, orders)| orders).unwrap_or_default()
}
