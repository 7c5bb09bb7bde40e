//! Laws of collectives: no cut is passed faster than its links allow, more bytes never take less time, and a row's time is its own.
#![allow(clippy::unwrap_used)]

use banksia_hw::net::collective::algorithm::{Algorithm, Op, peer_all_reduce_s, seconds};
use banksia_hw::net::collective::links::{CATALOG, fabric};
use banksia_hw::net::collective::protocol::Protocol;
use banksia_hw::net::collective::{Library, time};
use banksia_input::Source;
use proptest::prelude::*;

const OPS: [Op; 8] = [
    Op::AllReduce,
    Op::AllGather,
    Op::ReduceScatter,
    Op::AllToAll,
    Op::Broadcast,
    Op::Reduce,
    Op::SendRecv,
    Op::Exchange,
];

/// What NCCL has kernels of.
fn kernels(op: Op) -> Vec<(Algorithm, Protocol)> {
    let all = |algorithm| Protocol::ALL.map(|p| (algorithm, p)).to_vec();
    match op {
        Op::AllReduce => {
            [all(Algorithm::Ring), all(Algorithm::Tree), vec![(Algorithm::Nvls, Protocol::Simple)]].concat()
        }
        Op::AllGather | Op::ReduceScatter | Op::Broadcast | Op::Reduce => all(Algorithm::Ring),
        Op::AllToAll | Op::SendRecv | Op::Exchange => {
            vec![(Algorithm::PointToPoint, Protocol::Ll), (Algorithm::PointToPoint, Protocol::Simple)]
        }
    }
}

fn device() -> impl Strategy<Value = &'static str> {
    prop::sample::select(CATALOG.map(|(name, _)| name).to_vec())
}

proptest! {
    /// Around any rank goes a cut that its links alone pass: all but its own part must come in or go out.
    #[test]
    fn no_cut_is_passed_faster_than_its_links(name in device(), ranks in 2_u32..=8, bytes in 1_u64..1 << 34, op in prop::sample::select(OPS.to_vec())) {
        let f = fabric(name).unwrap();
        // What one rank has or gets alone passes its links whole.
        let share = match op {
            Op::AllReduce | Op::AllGather | Op::ReduceScatter | Op::AllToAll => f64::from(ranks - 1) / f64::from(ranks),
            Op::Broadcast | Op::Reduce | Op::SendRecv | Op::Exchange => 1.0,
        };
        let least = bytes as f64 * share / (f.link.bandwidth_gb_s * 1e9);
        for (algorithm, protocol) in kernels(op) {
            if algorithm == Algorithm::Nvls && !f.multicast() {
                continue;
            }
            let s = seconds(&f, op, algorithm, protocol, ranks, bytes);
            prop_assert!(s.is_finite() && s >= least, "{name} {op:?} {algorithm:?} {protocol:?}: {s} under {least}");
        }
        for library in [Library::Nccl, Library::Custom] {
            prop_assert!(time(&f, library, op, ranks, bytes).latency_s >= least);
        }
    }

    /// Within a protocol.
    #[test]
    fn more_bytes_take_no_less_time(name in device(), ranks in 2_u32..=8, bytes in 1_u64..1 << 33, more in 1_u64..1 << 33, op in prop::sample::select(OPS.to_vec())) {
        let f = fabric(name).unwrap();
        for (algorithm, protocol) in kernels(op) {
            if algorithm == Algorithm::Nvls && !f.multicast() {
                continue;
            }
            let few = seconds(&f, op, algorithm, protocol, ranks, bytes);
            let many = seconds(&f, op, algorithm, protocol, ranks, bytes + more);
            prop_assert!(many >= few * (1.0 - 1e-12), "{name} {op:?} {algorithm:?} {protocol:?}: {many} after {few}");
        }
    }
}

#[test]
fn every_thread_finds_the_same() {
    let all = || -> Vec<u64> {
        let f = fabric("h100").unwrap();
        OPS.iter()
            .flat_map(|op| (6..30).map(|b| time(&f, Library::Custom, *op, 8, 1 << b).latency_s.to_bits()))
            .collect()
    };
    let here = all();
    let others: Vec<_> = (0..4).map(|_| std::thread::spawn(all)).collect();
    for other in others {
        assert_eq!(other.join().unwrap(), here);
    }
}

/// Flags for few bytes, multicast for many over eight GPUs, rings of plain slices for many over two.
#[test]
fn the_tuner_chooses_as_nccl_does() {
    let f = fabric("h100").unwrap();
    let chosen = |op, ranks, bytes| {
        let o = time(&f, Library::Nccl, op, ranks, bytes);
        (o.algorithm, o.protocol)
    };
    assert_eq!(chosen(Op::AllReduce, 8, 1 << 15).1, Protocol::Ll);
    assert_eq!(chosen(Op::AllReduce, 8, 1 << 29), (Algorithm::Nvls, Protocol::Simple));
    assert_eq!(chosen(Op::AllReduce, 2, 1 << 27), (Algorithm::Ring, Protocol::Simple));
    assert_eq!(chosen(Op::AllGather, 8, 1 << 29), (Algorithm::Ring, Protocol::Simple));
    assert_eq!(chosen(Op::AllToAll, 2, 1 << 15).1, Protocol::Ll);
    assert_eq!(chosen(Op::AllToAll, 2, 1 << 16).1, Protocol::Simple);
}

#[test]
fn a_file_that_cannot_be_is_refused() {
    let (_, text) = CATALOG[1];
    for (from, to, about) in [
        ("efficiency = 0.778", "efficiency = 1.2", "efficiency"),
        ("bandwidth_gb_s = 450.0", "bandwidth_gb_s = 0.0", "bandwidth_gb_s"),
        ("channels = 24", "channels = 0", "channels"),
        ("hop_us = 0.88", "hop_us = -1.0", "hop_us"),
        ("max_gpus = 8", "max_gpus = 8\nmore = 1", "more"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let source = Source::from_text("changed.toml", changed);
        let error = banksia_hw::net::collective::links::Fabric::from_source(&source).unwrap_err().to_string();
        assert!(error.contains(about), "{error}");
    }
    assert!(fabric("nosuch").unwrap_err().to_string().contains("h100"));
}

/// All-reduces that read their peers' memory: bounded by links, and by loads under way over the time of a trip.
#[test]
fn loads_of_peers_pass_the_links_and_wait_for_their_trips() {
    let f = fabric("h200").unwrap();
    for way in [Algorithm::OneShot, Algorithm::TwoShot] {
        let mut last = 0.0;
        for bytes in (8..28).map(|i| 1_u64 << i) {
            let s = peer_all_reduce_s(&f, way, 2, bytes);
            let crossed = if way == Algorithm::OneShot { 1.0 } else { 0.5 };
            assert!(s >= last && s >= crossed * bytes as f64 / (f.link.bandwidth_gb_s * 1e9), "{way:?} {bytes}");
            last = s;
        }
    }
    // 24 CTAs of 512 threads with 16 bytes each under way: 187 GB/s at 1.05 us a trip.
    let [few, many] = [1 << 24, 1 << 25].map(|bytes| peer_all_reduce_s(&f, Algorithm::OneShot, 2, bytes));
    let rate = f64::from(1 << 24) / (many - few);
    let under_way = f64::from(f.symmetric.max_ctas * f.symmetric.threads * 16);
    assert!((rate / (under_way / (f.symmetric.load_us * 1e-6)) - 1.0).abs() < 0.05, "{rate}");
}
