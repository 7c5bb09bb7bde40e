//! Events per second in the hold model (take the earliest event, put it back a random time later), with 64, 1 Ki and
//! 16 Ki events pending, of the event queue and of a plain binary heap beside it.
//!
//! Also acts per second of the engine, for components that pass tokens around a ring of bounded ports.
//!
//! `cargo bench -p banksia-sim --bench hold`

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;

use banksia_sim::{Component, ComponentId, Engine, EventQueue, Machine, NullObserver, Port, Time, Wait, Wakes, rng};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::RngExt;

/// Increments are drawn once, so that both queues see the same ones and neither pays for the drawing.
const TABLE: usize = 1 << 16;

/// Holds in one iteration.
const HOLDS: usize = 4096;

fn increments(kind: &str) -> Vec<u64> {
    let mut rng = rng::stream(1, kind);
    (0..TABLE)
        .map(|_| {
            let u: f64 = rng.random();
            match kind {
                "exponential" => (-(1.0 - u).ln() * 1e6) as u64,
                "uniform" => (u * 2e6) as u64,
                "bimodal" => (if u < 0.9 { u * 1e4 } else { u * 1e8 }) as u64,
                "ties" => 0,
                // The edges of a 1.6 GHz clock, a few cycles away: most events share their time with others.
                "clocked" => 625_000 * (1 + (u * u * 64.0) as u64),
                _ => 1_000_000,
            }
        })
        .collect()
}

fn hold(c: &mut Criterion) {
    for kind in ["exponential", "uniform", "bimodal", "clocked", "constant", "ties"] {
        let table = increments(kind);
        let mut group = c.benchmark_group(format!("hold/{kind}"));
        group.throughput(Throughput::Elements(HOLDS as u64));
        for pending in [64usize, 1024, 16384] {
            group.bench_function(format!("queue/{pending}"), |b| {
                let mut queue = EventQueue::new();
                for id in 0..pending {
                    queue.push(Time::from_fs(table[id % TABLE]), id as u32);
                }
                let mut at = 0;
                let mut holds = |n: usize| {
                    for _ in 0..n {
                        let Some((t, e)) = queue.pop() else { return };
                        at = (at + 1) % TABLE;
                        queue.push(t.saturating_add(Time::from_fs(table[at])), black_box(e));
                    }
                };
                holds(16 * pending);
                b.iter(|| holds(HOLDS));
            });
            group.bench_function(format!("heap/{pending}"), |b| {
                let mut queue = BinaryHeap::new();
                let mut seq = 0u64;
                for id in 0..pending {
                    queue.push(Reverse((table[id % TABLE], seq, id as u32)));
                    seq += 1;
                }
                let mut at = 0;
                let mut holds = |n: usize| {
                    for _ in 0..n {
                        let Some(Reverse((t, _, e))) = queue.pop() else { return };
                        at = (at + 1) % TABLE;
                        queue.push(Reverse((t.saturating_add(table[at]), seq, black_box(e))));
                        seq += 1;
                    }
                };
                holds(16 * pending);
                b.iter(|| holds(HOLDS));
            });
        }
        group.finish();
    }
}

/// Receives a token from its own port, and sends it to the next component's.
struct Hop {
    id: ComponentId,
    holds: Option<u32>,
}

impl Hop {
    fn next(&self, ports: &[Port<u32>]) -> usize {
        (self.id.index() + 1) % ports.len()
    }
}

impl Component<Vec<Port<u32>>> for Hop {
    fn next_action(&self, ports: &Vec<Port<u32>>) -> Option<Time> {
        match self.holds {
            Some(_) => (!ports[self.next(ports)].is_waiting(self.id)).then_some(Time::ZERO),
            None => ports[self.id.index()].ready_at(),
        }
    }

    fn act(&mut self, now: Time, ports: &mut Vec<Port<u32>>, wakes: &mut Wakes) {
        if self.holds.is_none() {
            self.holds = ports[self.id.index()].recv(now, wakes);
        }
        if let Some(token) = self.holds {
            let next = self.next(ports);
            if ports[next].try_send(now, self.id, token, wakes).is_ok() {
                self.holds = None;
            }
        }
    }

    fn waits(&self, _: &Vec<Port<u32>>) -> Vec<Wait> {
        Vec::new()
    }
}

fn engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine/ring");
    for components in [64u32, 1024] {
        let ports = (0..components)
            .map(|i| {
                let latency = Time::from_fs(1_000_000 + u64::from(i) * 1_373);
                Port::new("ring", ComponentId(i), 4).with_latency(latency)
            })
            .collect();
        let mut machine = Machine::new(ports);
        for i in 0..components {
            machine.add("hop", Hop { id: ComponentId(i), holds: Some(i) });
        }
        let mut engine = Engine::new();
        let mut until = Time::ZERO;
        // So long that about `HOLDS` tokens hop.
        let step = Time::from_fs(1_000_000 * HOLDS as u64 / u64::from(components));
        let mut round = || {
            until = until.saturating_add(step);
            black_box(engine.run_until(&mut machine, until, &mut NullObserver).is_ok());
            engine.acts()
        };
        round();
        let before = round();
        let acts = round() - before;
        group.throughput(Throughput::Elements(acts));
        group.bench_function(format!("{components}"), |b| b.iter(&mut round));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(1000));
    targets = hold, engine
}
criterion_main!(benches);
