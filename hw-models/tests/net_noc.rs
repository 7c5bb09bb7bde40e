//! The network on a chip against BookSim2, packet by packet, and what must hold of any network.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use banksia_hw::net::noc::{
    AllocatorKind, ArbiterKind, NocConfig, NocError, Packet, RouterConfig, RoutingFunction, Shape, parse_trace,
    simulate, simulate_every_cycle,
};

/// A network with the plainest routing function of its shape.
fn of(shape: Shape, router: RouterConfig) -> NocConfig {
    let routing = RoutingFunction::of(&shape)[0];
    NocConfig { shape, routing, unit_latency: false, router }
}

/// Cases of the reference that are not equal to the cycle. None: a case that stops being equal fails, and is not put here.
const KNOWN_GAPS: [&str; 0] = [];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/noc")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// The cases' names, networks and packets.
fn cases() -> Vec<(String, NocConfig, Vec<Packet>)> {
    let index = read("index.csv");
    let case = |line: &str| {
        let columns: Vec<&str> = line.splitn(4, ',').collect();
        let config = NocConfig::from_booksim(columns[3], |file| Ok(read(file))).unwrap();
        (columns[0].to_owned(), config, parse_trace(&read(&format!("{}.trace", columns[0]))).unwrap())
    };
    index.lines().skip(1).map(case).collect()
}

#[test]
fn every_packet_of_the_reference_is_equal_to_the_cycle() {
    let mut seen = 0;
    for (name, config, packets) in cases() {
        let outcome = simulate(&config, &packets).unwrap();
        let of = |(times, p): (&banksia_hw::net::noc::PacketTimes, &Packet)| {
            let ends = [p.from, p.to, p.flits].map(u64::from);
            let times_of = [times.created, times.head_left, times.head_arrived, times.tail_arrived];
            (u64::from(times.number), [&ends[..], &times_of, &[u64::from(times.hops)]].concat())
        };
        let ours: BTreeMap<u64, Vec<u64>> = outcome.packets.iter().zip(&packets).map(of).collect();
        let row = |line: &str| {
            let numbers: Vec<u64> = line.split(',').map(|n| n.parse().unwrap()).collect();
            (numbers[0], numbers[1..].to_vec())
        };
        let theirs: BTreeMap<u64, Vec<u64>> = read(&format!("{name}.csv")).lines().skip(1).map(row).collect();
        assert_eq!(ours == theirs, !KNOWN_GAPS.contains(&name.as_str()), "{name}");
        seen += theirs.len();
    }
    assert!(seen > 4000, "{seen}");
}

#[test]
fn skipping_what_is_idle_changes_nothing() {
    for (name, config, packets) in cases() {
        assert_eq!(simulate(&config, &packets), simulate_every_cycle(&config, &packets), "{name}");
    }
}

/// Packets between pseudo-random terminals.
fn packets(count: u32, terminals: u32) -> Vec<Packet> {
    let mut state = 0x9e37_79b9_u32;
    let mut draw = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    (0..count)
        .map(|i| Packet { time: u64::from(i / 4), from: draw(terminals), to: draw(terminals), flits: 1 + draw(6) })
        .collect()
}

#[test]
fn flits_are_conserved_and_no_flit_beats_its_way() {
    let allocators = [
        AllocatorKind::Islip { iterations: 2 },
        AllocatorKind::Select { iterations: 2 },
        AllocatorKind::SeparableInputFirst(ArbiterKind::Matrix),
        AllocatorKind::SeparableOutputFirst(ArbiterKind::RoundRobin),
        AllocatorKind::Wavefront,
        AllocatorKind::LonelyOutput,
        AllocatorKind::MaximumSize,
    ];
    let shapes = [
        (Shape::Mesh { radix: 4, dimensions: 2 }, 16),
        (Shape::Torus { radix: 5, dimensions: 2 }, 25),
        (Shape::Butterfly { radix: 3, stages: 3 }, 27),
        (Shape::ConcentratedMesh { radix: 4 }, 64),
    ];
    for (shape, terminals) in &shapes {
        for allocator in allocators {
            let router = RouterConfig { vc_allocator: allocator, sw_allocator: allocator, ..RouterConfig::default() };
            let config = of(shape.clone(), router);
            let packets = packets(300, *terminals);
            let outcome = simulate(&config, &packets).unwrap();
            let flits: u64 = packets.iter().map(|p| u64::from(p.flits)).sum();
            assert_eq!((outcome.flits_sent, outcome.flits_arrived), (flits, flits));
            for (times, packet) in outcome.packets.iter().zip(&packets) {
                assert!(times.created <= times.head_left && times.head_left < times.head_arrived);
                // A router takes four cycles for a head at least, and a wire one.
                assert!(times.head_arrived - times.head_left >= 4 * u64::from(times.hops));
                assert!(times.tail_arrived - times.head_arrived >= u64::from(packet.flits) - 1);
            }
        }
    }
}

/// An empty mesh: five cycles a router, one for the wire to the first, and the packet's flits.
#[test]
fn an_empty_mesh_has_its_closed_form() {
    let config = of(Shape::Mesh { radix: 8, dimensions: 1 }, RouterConfig::default());
    for to in 0..8 {
        for flits in 1..9 {
            let outcome = simulate(&config, &[Packet { time: 3, from: 0, to, flits }]).unwrap();
            let hops = u64::from(to) + 1;
            assert_eq!(outcome.packets[0].tail_arrived - 3, 5 * hops + 1 + u64::from(flits));
        }
    }
}

#[test]
fn what_is_not_modelled_is_refused() {
    let no_file = |file: &str| Err(NocError(format!("no file {file}")));
    for (config, reason) in [
        ("topology=mesh;routing_function=dim_order;vc_allocator=pim", "random"),
        ("topology=mesh;routing_function=chaos", "chaos"),
        ("topology=mesh;routing_function=dim_order;num_vcs=65", "64"),
        ("topology=mesh;routing_function=dim_order;vc_alloc_delay=0", "at least one cycle"),
        ("topology=mesh;routing_function=dim_order;k", "key=value"),
        ("topology=anynet;routing_function=min;network_file=x", "no file x"),
    ] {
        let error = NocConfig::from_booksim(config, no_file).unwrap_err().to_string();
        assert!(error.contains(reason), "{config}: {error}");
    }
    let config = of(Shape::Mesh { radix: 2, dimensions: 2 }, RouterConfig::default());
    assert!(simulate(&config, &[Packet { time: 0, from: 0, to: 4, flits: 1 }]).is_err());
    let links = |text: &str| of(Shape::Links(text.into()), RouterConfig::default());
    assert!(simulate(&links("router 0 node 0\nrouter 1 node 1\n"), &[]).unwrap_err().0.contains("no way"));
    assert!(simulate(&links("router 0 node 1\n"), &[]).is_err());
    assert!(parse_trace("0 1 2\n").unwrap_err().0.contains("line 1"));
}
