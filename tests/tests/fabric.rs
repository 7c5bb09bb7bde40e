//! Laws of fabrics and collectives: no result below bytes over bandwidth, schedules do what they say, rates are max-min fair, shortcuts are exact.
#![allow(clippy::unwrap_used, clippy::match_same_arms)] // what each collective sends is listed, one by one

use banksia_hw::net::fabric::bound::Demand;
use banksia_hw::net::fabric::carrier::Carrier;
use banksia_hw::net::fabric::cluster::{Collective, Group, cluster};
use banksia_hw::net::fabric::file::{CATALOG, topology};
use banksia_hw::net::fabric::flow::Fluid;
use banksia_hw::net::fabric::folded::run_folded;
use banksia_hw::net::fabric::packet::{Packets, Switching};
use banksia_hw::net::fabric::replay::replay;
use banksia_hw::net::fabric::routing::{Policy, Routes};
use banksia_hw::net::fabric::run::{Ran, run};
use banksia_hw::net::fabric::schedule::Schedule;
use banksia_hw::net::fabric::schedules::{
    all_to_all, direct, double_tree, halving_doubling, hierarchical, in_switch, ring, ring_orders, send,
};
use banksia_hw::net::fabric::symmetric;
use banksia_hw::net::fabric::topology::{Class, Kind, Link, Topology};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

const ALL: [Collective; 7] = [
    Collective::AllReduce,
    Collective::AllGather,
    Collective::ReduceScatter,
    Collective::AllToAll,
    Collective::Broadcast,
    Collective::Reduce,
    Collective::SendRecv,
];

/// A connected graph of GPUs and switches, links of random rates in both directions.
fn random_topology(rng: &mut Pcg64Mcg) -> Topology {
    let gpus = rng.random_range(2..9u32);
    let switches = rng.random_range(1..6u32);
    let mut kinds = vec![Kind::Gpu; gpus as usize];
    kinds.extend(vec![Kind::Switch; switches as usize]);
    let mut links = Vec::new();
    let mut both = |rng: &mut Pcg64Mcg, a: u32, b: u32| {
        for (from, to) in [(a, b), (b, a)] {
            links.push(Link {
                from,
                to,
                bytes_per_s: 1e9 * f64::from(rng.random_range(1..200u32)),
                latency_s: 1e-9 * f64::from(rng.random_range(0..2000u32)),
                pj_per_bit: 5.0,
                class: Class::Network,
            });
        }
    };
    for s in 1..switches {
        let to = gpus + rng.random_range(0..s);
        both(rng, gpus + s, to);
    }
    for g in 0..gpus {
        for _ in 0..rng.random_range(1..3u32) {
            let to = gpus + rng.random_range(0..switches);
            both(rng, g, to);
        }
        // A link past the switches.
        if rng.random_range(0..3u32) == 0 {
            let to = (g + 1) % gpus;
            if to != g {
                both(rng, g, to);
            }
        }
    }
    for _ in 0..rng.random_range(0..4u32) {
        let (a, b) = (rng.random_range(0..switches), rng.random_range(0..switches));
        if a != b {
            both(rng, gpus + a, gpus + b);
        }
    }
    Topology::new("random", kinds, links, 0, 0).unwrap()
}

fn orders(n: u32, rings: u32, rng: &mut Pcg64Mcg) -> Vec<Vec<u32>> {
    (0..rings)
        .map(|_| {
            let mut order: Vec<u32> = (0..n).collect();
            for i in (1..n as usize).rev() {
                order.swap(i, rng.random_range(0..=i));
            }
            order
        })
        .collect()
}

/// A schedule of any kind, of those that there are for the number of ranks.
fn random_schedule(n: u32, rng: &mut Pcg64Mcg) -> Schedule {
    let bytes = u64::from(rng.random_range(1..1u32 << 26));
    loop {
        let collective = ALL[rng.random_range(0..ALL.len())];
        let pieces = rng.random_range(1..5);
        let made = match rng.random_range(0..7u32) {
            0 => {
                let rings = rng.random_range(1..4);
                ring(collective, n, &orders(n, rings, rng), pieces, bytes)
            }
            1 => double_tree(collective, n, pieces, bytes),
            2 => halving_doubling(collective, n, bytes),
            3 => direct(collective, n, bytes),
            4 => {
                let local = rng.random_range(1..=n);
                hierarchical(collective, n, local, bytes)
            }
            5 => {
                let switches = rng.random_range(1..4);
                in_switch(collective, n, switches, pieces, bytes)
            }
            _ if collective == Collective::AllToAll => {
                let size = |rng: &mut Pcg64Mcg| f64::from(rng.random_range(0..1u32 << 20));
                let sizes: Vec<Vec<f64>> = (0..n).map(|_| (0..n).map(|_| size(rng)).collect()).collect();
                all_to_all(&sizes)
            }
            _ => {
                let from = rng.random_range(0..n);
                send(n, from, (from + 1) % n, bytes)
            }
        };
        if let Ok(schedule) = made {
            return schedule;
        }
    }
}

/// The least bytes that ranks within a cut have to send out of it, whatever the algorithm; switches may reduce and multicast.
fn least_out(s: &Schedule, inside: &dyn Fn(u32) -> bool) -> f64 {
    let n = s.ranks;
    let all: f64 = s.chunk_bytes.iter().sum();
    let within = (0..n).filter(|r| inside(*r)).count() as u32;
    if within == 0 || within == n {
        return 0.0;
    }
    let chunks =
        |f: &dyn Fn(u32) -> bool| (0..s.chunks()).filter(|c| f(*c)).map(|c| s.chunk_bytes[c as usize]).sum::<f64>();
    match s.collective {
        Collective::AllReduce => all,
        Collective::AllGather => chunks(&|c| inside(s.owner(c))),
        Collective::ReduceScatter => chunks(&|c| !inside(s.owner(c))),
        Collective::AllToAll => chunks(&|c| inside(c / n) && !inside(c % n)),
        Collective::Broadcast | Collective::SendRecv => {
            let to_one = s.collective == Collective::SendRecv;
            let leaves = inside(s.root) && (!to_one || !inside(s.peer));
            if leaves { all } else { 0.0 }
        }
        Collective::Reduce => {
            if inside(s.root) {
                0.0
            } else {
                all
            }
        }
    }
}

/// Never below bytes over bandwidth: what crossed each link, and what has to cross each cut.
fn check_bounds(t: &Topology, s: &Schedule, vertices: &[u32], ran: &Ran, rng: &mut Pcg64Mcg) {
    let slack = 1.0 + 1e-9;
    for (link, bytes) in t.links().iter().zip(&ran.link_bytes) {
        assert!(bytes / link.bytes_per_s <= ran.seconds * slack, "{bytes} bytes over {link:?} in {} s", ran.seconds);
    }
    let mut cuts: Vec<Vec<bool>> = (0..t.vertices()).map(|v| (0..t.vertices()).map(|w| w == v).collect()).collect();
    cuts.extend((0..8).map(|_| (0..t.vertices()).map(|_| rng.random_range(0..2u32) == 0).collect::<Vec<bool>>()));
    for cut in cuts {
        for cut in [cut.clone(), cut.iter().map(|c| !c).collect()] {
            let out = least_out(s, &|r| cut[vertices[r as usize] as usize]);
            let wide = t.cut_bytes_per_s(&cut);
            assert!(
                out <= wide * ran.seconds * slack,
                "{out} bytes out of a cut of {wide} B/s in {} s: {:?}",
                ran.seconds,
                s.collective
            );
        }
    }
}

#[test]
fn no_result_is_below_bytes_over_bandwidth() {
    let mut rng = Pcg64Mcg::seed_from_u64(18);
    for i in 0..10_000u32 {
        let t = random_topology(&mut rng);
        let n = t.gpus().len() as u32;
        let s = random_schedule(n, &mut rng);
        let policy = if i % 2 == 0 { Policy::Shortest } else { Policy::Hashed };
        let routes = Routes::new(&t, policy);
        let mut vertices = t.gpus().to_vec();
        vertices.extend((0..s.agents).map(|a| n + a % (t.vertices() - n)));
        let ran = run(&s, &routes, &vertices, &mut Fluid::over(&t)).unwrap();
        check_bounds(&t, &s, &vertices, &ran, &mut rng);
        if i % 10 == 0 {
            let largest = s.chunk_bytes.iter().sum::<f64>() / 64.0;
            let how = if i % 20 == 0 { Switching::CutThrough } else { Switching::StoreAndForward };
            let ran = run(&s, &routes, &vertices, &mut Packets::over(&t, largest.max(4096.0), how)).unwrap();
            check_bounds(&t, &s, &vertices, &ran, &mut rng);
        }
    }
}

#[test]
fn schedules_do_what_they_say() {
    let mut rng = Pcg64Mcg::seed_from_u64(7);
    for n in 1..20 {
        for _ in 0..60 {
            let s = if n == 1 { direct(Collective::AllReduce, 1, 8).unwrap() } else { random_schedule(n, &mut rng) };
            replay(&s).unwrap_or_else(|e| panic!("{:?} of {n}: {e}", s.collective));
        }
    }
}

#[test]
fn replay_finds_what_is_wrong() {
    let right = ring(Collective::AllReduce, 4, &[vec![0, 1, 2, 3]], 1, 1024).unwrap();
    assert!(replay(&right).is_ok());
    let mut short = right.clone();
    short.steps[1].repeat -= 1;
    assert!(replay(&short).unwrap_err().contains("at the end"));
    let mut twice = right.clone();
    twice.steps[0].repeat += 1;
    assert!(replay(&twice).unwrap_err().contains("already"));
    let mut lost = right;
    lost.steps[0].transfers.pop();
    assert!(replay(&lost).is_err());
}

/// A rate is max-min fair when every flow crosses a full link on which no flow has more.
#[test]
fn rates_are_max_min_fair() {
    let mut rng = Pcg64Mcg::seed_from_u64(3);
    for _ in 0..300 {
        let links = rng.random_range(1..8usize);
        let capacity: Vec<f64> = (0..links).map(|_| f64::from(rng.random_range(1..50u32))).collect();
        let flows: Vec<Vec<u32>> = (0..rng.random_range(1..12u32))
            .map(|_| {
                let mut path: Vec<u32> = (0..links as u32).filter(|_| rng.random_range(0..2u32) == 0).collect();
                if path.is_empty() {
                    path.push(0);
                }
                path
            })
            .collect();
        // Rates by the slowest way there is: many small steps of filling.
        let mut rate = vec![0.0; flows.len()];
        let mut fixed = vec![false; flows.len()];
        while fixed.iter().any(|f| !f) {
            let used = |l: u32| flows.iter().zip(&rate).filter(|(p, _)| p.contains(&l)).map(|(_, r)| r).sum::<f64>();
            let growing =
                |l: u32, fixed: &[bool]| flows.iter().zip(fixed).filter(|(p, f)| p.contains(&l) && !**f).count();
            let step = (0..links as u32)
                .filter(|l| growing(*l, &fixed) > 0)
                .map(|l| (capacity[l as usize] - used(l)) / growing(l, &fixed) as f64)
                .fold(f64::INFINITY, f64::min);
            for (r, _) in rate.iter_mut().zip(&fixed).filter(|(_, f)| !**f) {
                *r += step;
            }
            let used = |l: u32| flows.iter().zip(&rate).filter(|(p, _)| p.contains(&l)).map(|(_, r)| r).sum::<f64>();
            for (f, path) in fixed.iter_mut().zip(&flows) {
                *f |= path.iter().any(|l| used(*l) >= capacity[*l as usize] - 1e-9);
            }
        }
        // Flows as long as their rates end together, after one second.
        let mut fluid = Fluid::new(capacity, vec![0.0; links]);
        for (i, (path, r)) in flows.iter().zip(&rate).enumerate() {
            fluid.begin(path, *r, 1, i as u32);
        }
        let mut done = Vec::new();
        while fluid.next(&mut done) {
            assert!((fluid.now() - 1.0).abs() < 1e-9, "ends at {}", fluid.now());
        }
    }
}

#[test]
fn rates_follow_arrivals_and_departures() {
    // Two flows of 10 over a link of 1: the second comes at 4. The first has 6 left, both get a half: it ends at 16, and the second, with 4 left, at 20.
    let mut fluid = Fluid::new(vec![1.0], vec![0.5]);
    let mut done = Vec::new();
    fluid.begin(&[0], 10.0, 1, 0);
    fluid.wait(4.0);
    fluid.begin(&[0], 10.0, 1, 1);
    assert!(fluid.next(&mut done) && done == [0]);
    assert!((fluid.now() - 16.5).abs() < 1e-12);
    assert!(fluid.next(&mut done) && done == [1]);
    assert!((fluid.now() - 20.5).abs() < 1e-12);
    assert!(!fluid.next(&mut done));
}

/// Every time of every step a step of its own.
fn unrolled(s: &Schedule) -> Schedule {
    let mut unrolled = s.clone();
    unrolled.steps.clear();
    for step in &s.steps {
        for time in 0..step.repeat {
            let mut one = step.clone();
            one.repeat = 1;
            for t in &mut one.transfers {
                t.first = s.first(step, t, time);
            }
            unrolled.steps.push(one);
        }
    }
    unrolled
}

#[test]
fn repeated_steps_are_exact() {
    // All transfers of a step alike; links of different rates, over which ranks settle into a course, or do not within so few times.
    let node = topology("dgx-a100").unwrap();
    let nodes = topology("dgx-a100-32").unwrap();
    let small = Topology::from_source(&banksia_input::Source::from_text("small.toml", SMALL)).unwrap();
    for (t, n, rings) in [(&node, 8, 2), (&nodes, 64, 2), (&small, 10, 1), (&small, 10, 2)] {
        let routes = Routes::new(t, Policy::Shortest);
        let orders: Vec<Vec<u32>> = [(0..n).collect(), (0..n).rev().collect()].into_iter().take(rings).collect();
        let s = ring(Collective::AllReduce, n, &orders, 1, 1 << 24).unwrap();
        let vertices = &t.gpus()[..n as usize];
        let a = run(&s, &routes, vertices, &mut Fluid::over(t)).unwrap();
        let b = run(&unrolled(&s), &routes, vertices, &mut Fluid::over(t)).unwrap();
        assert!((a.seconds / b.seconds - 1.0).abs() < 1e-9, "{} and {}", a.seconds, b.seconds);
        assert_eq!(a.transfers_in_all, b.transfers_in_all);
        assert!(n == 10 || a.transfers < b.transfers / 2, "{n}: {} of {}", a.transfers, b.transfers);
        for (x, y) in a.link_bytes.iter().zip(&b.link_bytes) {
            assert!((x - y).abs() <= 1e-6 * y.abs().max(1.0));
        }
    }
}

/// Two levels of switches, one path between two GPUs: groups of unequal size.
const SMALL: &str = r#"
name = "small"
source = "a test"
nodes = 5
[[parts]]
name = "gpu"
kind = "gpu"
count = 2
[[parts]]
name = "inner"
kind = "switch"
[[switches]]
name = "leaf"
kind = "switch"
count = 2
[[switches]]
name = "spine"
kind = "switch"
[[links]]
from = "gpu"
to = "inner"
connect = "all"
class = "nvlink"
gb_s = 100.0
latency_ns = 100.0
[[links]]
from = "inner"
to = "leaf"
connect = "rails"
every = 3
class = "network"
gb_s = 25.0
latency_ns = 500.0
[[links]]
from = "leaf"
to = "spine"
connect = "all"
class = "network"
gb_s = 40.0
latency_ns = 300.0
"#;

#[test]
fn alike_flows_stand_for_all() {
    let t = Topology::from_source(&banksia_input::Source::from_text("small.toml", SMALL)).unwrap();
    let routes = Routes::new(&t, Policy::Shortest);
    let few = symmetric::all_to_all(&routes, 1e9).unwrap();
    let s = direct(Collective::AllToAll, 10, 1_000_000_000).unwrap();
    let all = run(&s, &routes, t.gpus(), &mut Fluid::over(&t)).unwrap();
    assert!((few.seconds / all.seconds - 1.0).abs() < 1e-9, "{} and {}", few.seconds, all.seconds);
    assert!(few.transfers < all.transfers && few.transfers_in_all == all.transfers_in_all);
    for (x, y) in few.link_bytes.iter().zip(&all.link_bytes) {
        assert!((x - y).abs() <= 1e-6 * y.abs().max(1.0), "{x} and {y}");
    }
}

/// The same time and the same bytes on every link.
fn same(a: &Ran, b: &Ran, what: &str) {
    assert!((a.seconds - b.seconds).abs() <= 1e-9 * b.seconds, "{what}: {} and {}", a.seconds, b.seconds);
    assert_eq!(a.transfers_in_all, b.transfers_in_all, "{what}");
    for (x, y) in a.link_bytes.iter().zip(&b.link_bytes) {
        assert!((x - y).abs() <= 1e-6 * y.abs().max(1.0), "{what}: {x} and {y} bytes");
    }
}

#[test]
fn folded_is_unfolded() {
    // Random graphs, on which most links are shared; and nodes on rails, on which most are not.
    let mut rng = Pcg64Mcg::seed_from_u64(23);
    for i in 0..2000u32 {
        let t = random_topology(&mut rng);
        let n = t.gpus().len() as u32;
        let s = random_schedule(n, &mut rng);
        let routes = Routes::new(&t, if i % 2 == 0 { Policy::Shortest } else { Policy::Hashed });
        let mut vertices = t.gpus().to_vec();
        vertices.extend((0..s.agents).map(|a| n + a % (t.vertices() - n)));
        let all = run(&s, &routes, &vertices, &mut Fluid::over(&t)).unwrap();
        same(&run_folded(&s, &routes, &vertices).unwrap(), &all, &format!("graph {i}, {:?}", s.collective));
    }
    let small = Topology::from_source(&banksia_input::Source::from_text("small.toml", SMALL)).unwrap();
    let rails = topology("dgx-a100-32").unwrap();
    let mut folded = 0;
    for (t, local, nodes) in [(&small, 2, 5), (&rails, 8, 3), (&rails, 8, 5)] {
        let n = local * nodes;
        let routes = Routes::new(t, Policy::Shortest);
        let vertices = &t.gpus()[..n as usize];
        for collective in [Collective::AllReduce, Collective::AllGather, Collective::ReduceScatter] {
            for bytes in [1000, 1 << 20, 1 << 28] {
                let rings = |c| ring(collective, n, &ring_orders(n, local, c), 1, bytes).unwrap();
                for s in [rings(1), rings(local), hierarchical(collective, n, local, bytes).unwrap()] {
                    let all = run(&s, &routes, vertices, &mut Fluid::over(t)).unwrap();
                    let few = run_folded(&s, &routes, vertices).unwrap();
                    same(&few, &all, &format!("{n} ranks, {collective:?}, {bytes}"));
                    folded += u32::from(few.transfers < all.transfers);
                }
            }
        }
    }
    assert!(folded > 0, "nothing was folded");
}

#[test]
fn no_result_is_below_the_bound_by_cut() {
    let mut rng = Pcg64Mcg::seed_from_u64(29);
    for _ in 0..500 {
        let t = random_topology(&mut rng);
        let n = t.gpus().len() as u32;
        let s = random_schedule(n, &mut rng);
        let mut vertices = t.gpus().to_vec();
        vertices.extend((0..s.agents).map(|a| n + a % (t.vertices() - n)));
        let ran = run_folded(&s, &Routes::new(&t, Policy::Shortest), &vertices).unwrap();
        let bound = Demand::of(&s).least(&t, &vertices);
        assert!(bound.seconds <= ran.seconds * (1.0 + 1e-9), "{} above {}: {}", bound.seconds, ran.seconds, bound.cut);
    }
    // By hand: each of 8 GPUs sends 7/8 of 8 MB out over 300 GB/s in an all-gather, and all of it in an all-reduce.
    let t = topology("dgx-a100").unwrap();
    let wide: f64 = t.leaving(t.gpus()[0]).iter().map(|l| t.link(*l).bytes_per_s).sum();
    for (collective, bytes) in [(Collective::AllGather, 7e6), (Collective::AllReduce, 8e6), (Collective::AllToAll, 7e6)]
    {
        let bound = Demand::even(collective, 8, 8_000_000).least(&t, t.gpus());
        assert!((bound.seconds - bytes / wide).abs() < 1e-15, "{collective:?}: {}", bound.seconds);
    }
}

#[test]
fn packets_come_near_to_flows() {
    // One transfer alone: the same but for one packet's store-and-forward at each switch.
    let t = topology("pcie-tree").unwrap();
    let routes = Routes::new(&t, Policy::Shortest);
    let s = send(8, 0, 7, 1 << 24).unwrap();
    let fluid = run(&s, &routes, t.gpus(), &mut Fluid::over(&t)).unwrap().seconds;
    let through = run(&s, &routes, t.gpus(), &mut Packets::over(&t, 4096.0, Switching::CutThrough)).unwrap().seconds;
    let stored =
        run(&s, &routes, t.gpus(), &mut Packets::over(&t, 4096.0, Switching::StoreAndForward)).unwrap().seconds;
    assert!(fluid <= through * (1.0 + 1e-9) && through < stored, "{fluid} {through} {stored}");
    assert!(stored < fluid * 1.002, "{fluid} {stored}");
}

#[test]
fn the_catalog_is_connected() {
    for (name, _) in CATALOG {
        let t = topology(name).unwrap();
        for policy in [Policy::Shortest, Policy::Hashed, Policy::Rail] {
            let routes = Routes::new(&t, policy);
            let n = t.gpus().len();
            for (i, k) in [(0, n - 1), (0, 1), (n / 2, 0), (n - 1, n / 2)] {
                let mut path = Vec::new();
                assert!(i == k || routes.path(t.gpus()[i], t.gpus()[k], 1, &mut path), "{name}: {i} to {k}");
                let mut at = t.gpus()[i];
                for l in path {
                    assert_eq!(t.link(l).from, at);
                    at = t.link(l).to;
                }
                assert_eq!(at, t.gpus()[k]);
            }
        }
    }
}

/// The model of kernels is not below what the NICs of a node and the links of a GPU take for what has to leave them.
#[test]
fn clusters_are_not_below_bytes_over_bandwidth() {
    for name in ["a100-selene", "azure-nd-a100-v4", "vtrain-a100", "h100-eos", "h200", "b200"] {
        let c = cluster(name).unwrap();
        let file = &c.machine().file;
        let nics = f64::from(file.nic.per_node) * file.nic.bandwidth_gbit_s * 1e9 / 8.0;
        let link = c.machine().node.link.bandwidth_gb_s * 1e9;
        for op in ALL {
            for (r, m, k) in [(8, 1, 1), (2, 1, 4), (8, 2, 1), (1, 16, 8), (4, 4, 2), (8, 128, 1), (1, 2, 8), (3, 5, 2)]
            {
                for log in 0..35 {
                    let bytes = 1u64 << log;
                    let group = Group { ranks_per_node: r, nodes: m, concurrent: k };
                    let cost = c.time(op, group, bytes).unwrap();
                    let (rf, mf, s) = (f64::from(r), f64::from(m), bytes as f64);
                    let n = rf * mf;
                    // All groups' bytes out of a node.
                    let out = f64::from(k)
                        * match op {
                            _ if m == 1 => 0.0,
                            Collective::AllReduce => s,
                            Collective::AllGather => s * rf / n,
                            Collective::ReduceScatter => s * (n - rf) / n,
                            Collective::AllToAll => rf * s * (n - rf) / n,
                            _ => s,
                        };
                    let gpu = match op {
                        Collective::SendRecv => 0.0,
                        Collective::AllToAll | Collective::ReduceScatter if m == 1 => s * (n - 1.0) / n,
                        Collective::AllReduce if m == 1 => s,
                        Collective::AllGather if m == 1 => s / n,
                        _ => 0.0,
                    };
                    let least = (out / nics).max(gpu / link);
                    assert!(cost.seconds >= least, "{name} {op:?} {group:?} {bytes}: {} under {least}", cost.seconds);
                    assert!(cost.seconds >= cost.launch_s && cost.seconds.is_finite());
                }
            }
        }
        assert!(c.time(Collective::AllReduce, Group { ranks_per_node: 8, nodes: 2, concurrent: 2 }, 8).is_err());
    }
}

#[test]
fn schedules_are_read_from_files() {
    let text = r#"
collective = "all-reduce"
ranks = 2
chunks = 2
[[steps]]
transfers = [[0, 1, 1, 1, "reduce"], [1, 0, 0, 1, "reduce"]]
[[steps]]
transfers = [[0, 1, 0, 1, "copy"], [1, 0, 1, 1, "copy"]]
"#;
    let read = |name: &str, text: &str| Schedule::from_source(&banksia_input::Source::from_text(name, text), 1024);
    let toml = read("two.toml", text).unwrap();
    let json = r#"{"collective": "all-reduce", "ranks": 2, "chunks": 2, "steps": [
        {"transfers": [[0, 1, 1, 1, "reduce"], [1, 0, 0, 1, "reduce"]]}, {"transfers": [[0, 1, 0, 1, "copy"], [1, 0, 1, 1, "copy"]]}]}"#;
    assert_eq!(toml, read("two.json", json).unwrap());
    // What was not reduced, what is no rank, what is no key.
    let wrong =
        [("\"reduce\"", "\"copy\"", "steps"), ("[[0, 1, 1,", "[[0, 7, 1,", "steps"), ("chunks", "chunk", "chunk")];
    for (from, to, key) in wrong {
        let error = read("two.toml", &text.replace(from, to)).unwrap_err();
        assert_eq!(error.key.as_deref(), Some(key), "{error}");
    }
}

#[test]
fn fabrics_that_cannot_be_are_refused() {
    for (from, to, key) in [
        ("gb_s = 25.0", "gb_s = 0.0", "links[1].gb_s"),
        ("to = \"leaf\"", "to = \"leav\"", "links[1].to"),
        ("every = 3", "every = 1", "links[1].connect"),
        ("name = \"inner\"", "name = \"gpu\"", "parts[1].name"),
        ("nodes = 5", "nodes = 0", "nodes"),
    ] {
        let text = SMALL.replace(from, to);
        let error = Topology::from_source(&banksia_input::Source::from_text("small.toml", text)).unwrap_err();
        assert_eq!(error.key.as_deref(), Some(key), "{error}");
    }
    assert!(topology("dgx-a101").unwrap_err().to_string().contains("dgx-a100"));
}
