//! Laws of the network on a chip, on random networks and traffic: nothing is lost, nothing comes twice, nothing is too early, flows keep
//! their order, and neither skipping what is idle nor the routers for usual configurations change anything.

use banksia_hw::net::noc::{
    AllocatorKind, Digits, NocConfig, Packet, Pattern, Process, Protocol, RouterConfig, RoutingFunction, Sampling,
    Shape, Topology, Traffic, check_deadlock, measure, measure_every_cycle, simulate, simulate_every_cycle,
};
use proptest::prelude::*;

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        (2..5_usize, 1..3_usize).prop_map(|(radix, dimensions)| Shape::Mesh { radix, dimensions }),
        (3..6_usize, 1..3_usize).prop_map(|(radix, dimensions)| Shape::Torus { radix, dimensions }),
        (2..4_usize, 1..3_usize).prop_map(|(radix, stages)| Shape::Butterfly { radix, stages }),
        (1..3_usize).prop_map(|n| Shape::ConcentratedMesh { radix: 2 * n }),
        (2..4_usize, 1..3_usize).prop_map(|(radix, dimensions)| Shape::FlattenedButterfly {
            radix,
            dimensions,
            side: 1
        }),
        (2..4_usize, 2..3_usize).prop_map(|(radix, levels)| Shape::FatTree { radix, levels }),
        Just(Shape::QuadTree),
        Just(Shape::Tree4),
        Just(Shape::Dragonfly { radix: 1 }),
    ]
}

fn configs() -> impl Strategy<Value = NocConfig> {
    let router = (3..9_usize, 1..6_usize, 0..3_u64, 0..3_u64, 1..3_u32, any::<bool>());
    (shapes(), any::<prop::sample::Index>(), router).prop_map(
        |(shape, choice, (vcs, depth, route, credit, rounds, plain))| {
            let functions = RoutingFunction::of(&shape);
            let routing = functions[choice.index(functions.len())];
            let vcs = vcs.max(routing.least_vcs(&shape));
            let router = RouterConfig {
                virtual_channels: if matches!(shape, Shape::Dragonfly { .. }) { 3 } else { vcs },
                buffer_flits: depth,
                routing_delay: route,
                credit_delay: credit,
                vc_allocator: AllocatorKind::Islip { iterations: rounds },
                sw_allocator: if plain {
                    AllocatorKind::Islip { iterations: rounds }
                } else {
                    AllocatorKind::Wavefront
                },
                ..RouterConfig::default()
            };
            NocConfig { shape, routing, unit_latency: false, router }
        },
    )
}

fn packets(terminals: u32) -> impl Strategy<Value = Vec<Packet>> {
    let packet = (0..400_u64, 0..terminals, 0..terminals, 1..6_u32);
    prop::collection::vec(packet.prop_map(|(time, from, to, flits)| Packet { time, from, to, flits }), 1..300).prop_map(
        |mut packets| {
            packets.sort_by_key(|p| (p.time, p.from));
            packets
        },
    )
}

/// Configurations that cannot deadlock, with packets for them.
fn cases() -> impl Strategy<Value = (NocConfig, Vec<Packet>)> {
    configs().prop_filter("may deadlock", |c| check_deadlock(c).is_ok_and(|check| check.is_free())).prop_flat_map(
        |config| {
            let terminals = Topology::new(&config.shape, false).map_or(1, |t| t.entries.len() as u32);
            (Just(config), packets(terminals))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_packet_comes_once_not_too_early_and_skipping_changes_nothing((config, packets) in cases()) {
        let outcome = simulate(&config, &packets).unwrap();
        let flits: u64 = packets.iter().map(|p| u64::from(p.flits)).sum();
        prop_assert_eq!(outcome.flits_sent, flits);
        prop_assert_eq!(outcome.flits_arrived, flits);
        // A hop takes the stages of a router (route, virtual channel, crossbar, traversal), and a cycle or more of a link.
        let c = &config.router;
        let hop = c.routing_delay + c.vc_alloc_delay + c.sw_alloc_delay + c.crossbar_delay + 1;
        for (packet, times) in packets.iter().zip(&outcome.packets) {
            prop_assert!(times.created == packet.time && times.head_left >= packet.time);
            prop_assert!(times.head_arrived - times.head_left >= u64::from(times.hops) * hop);
            prop_assert!(times.tail_arrived - times.head_arrived >= u64::from(packet.flits - 1));
        }
        prop_assert_eq!(&outcome, &simulate_every_cycle(&config, &packets).unwrap());
    }

    #[test]
    fn one_way_and_one_virtual_channel_keep_the_order_of_a_flow((config, packets) in cases()) {
        prop_assume!(matches!(
            (&config.shape, config.routing),
            (Shape::Mesh { .. }, RoutingFunction::DimensionOrder) | (Shape::Butterfly { .. } | Shape::QuadTree, _)
        ));
        let router = RouterConfig { virtual_channels: 1, ..config.router.clone() };
        let outcome = simulate(&NocConfig { router, ..config }, &packets).unwrap();
        for (i, a) in packets.iter().enumerate() {
            for (j, b) in packets.iter().enumerate().skip(i + 1).filter(|(_, b)| (a.from, a.to) == (b.from, b.to)) {
                prop_assert!(outcome.packets[i].tail_arrived < outcome.packets[j].tail_arrived, "{:?} {:?}", a, b);
            }
        }
    }

    #[test]
    fn measured_traffic_is_the_same_when_every_cycle_is_stepped(config in configs(), rate in 0.01..0.3_f64, seed: u32, gaps: bool) {
        prop_assume!(check_deadlock(&config).is_ok_and(|check| check.is_free()));
        let traffic = Traffic {
            pattern: Pattern::Uniform,
            digits: Digits { radix: 2, dimensions: 1 },
            process: Process::Bernoulli,
            packet_rate: rate / 2.0,
            sizes: vec![(1, 1), (3, 1)],
            read_write: None,
            seed,
            sampling: if gaps { Sampling::Gaps } else { Sampling::Sequence },
        };
        let protocol = Protocol { sample_cycles: 100, latency_limit: 1e9, empty: true, ..Protocol::default() };
        let (quick, slow) = (measure(&config, &traffic, &protocol).unwrap(), measure_every_cycle(&config, &traffic, &protocol).unwrap());
        // Not-a-number is not equal to itself where nothing was measured.
        prop_assert_eq!(format!("{:?}", quick), format!("{:?}", slow));
    }
}

#[test]
fn a_ring_without_a_dateline_may_deadlock_and_does() {
    let links: String = (0..8).map(|r| format!("router {r} node {r} router {}\n", (r + 1) % 8)).collect();
    let router = RouterConfig { virtual_channels: 1, buffer_flits: 1, ..RouterConfig::default() };
    let shape = Shape::Links(links);
    let config = NocConfig { shape, routing: RoutingFunction::Minimal, unit_latency: false, router };
    assert!(check_deadlock(&config).unwrap().told().contains("a ring of 8 channels"));
    // All send three on, in packets longer than the buffers on their way.
    let packets: Vec<Packet> = (0..8).map(|from| Packet { time: 0, from, to: (from + 3) % 8, flits: 16 }).collect();
    let error = simulate(&config, &packets).unwrap_err().to_string();
    assert!(error.contains("a ring of 8 packets that wait for one another"), "{error}");
}

#[test]
fn valiant_that_passes_its_destination_on_any_channel_may_deadlock() {
    let config = |routing| NocConfig {
        shape: Shape::Mesh { radix: 4, dimensions: 2 },
        routing,
        unit_latency: false,
        router: RouterConfig::default(),
    };
    assert!(check_deadlock(&config(RoutingFunction::Valiant)).unwrap().is_free());
    assert!(!check_deadlock(&config(RoutingFunction::LooseValiant)).unwrap().is_free());
}
