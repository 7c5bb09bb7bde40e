//! What SMs ask L2 for of what they receive: clusters that read the same lines a little apart, cuBLAS's products as its kernels are, Triton's as theirs, against
//! counters of two H200 (`tests/reference/gpu/device_merging.csv`, `device_l2.csv`, `device_shared.csv`).
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use banksia_hw::gpu::program::{
    Barrier, Dtype, Expr, Kernel, Multicast, Op, Path, Role, Tensor, Tile, Trips, WORK_VARS,
};
use banksia_hw::gpu::sampling::{Detail, simulate};
use banksia_hw::gpu::{CacheState, Gpu, device};
use banksia_mappers::gpu::gemm::{Gemm, Specialised, specialised};
use banksia_mappers::gpu::multistage::{Multistage, Writer, multistage};
use banksia_mappers::gpu::raster::{Raster, by_gpc};

const TURNS: u32 = 64;

/// CTAs of clusters copy 4 KB that are the same for a cluster, each so many nanoseconds after the one before, over and over.
fn apart(cluster: u32, ns: f64, multicast: bool) -> Kernel {
    let ctas = 8 * cluster;
    let tile = Tile {
        tensor: 0,
        row: Expr::work(0, i64::from(TURNS)).plus_loop(0, 1),
        byte: Expr::default(),
        rows: 1,
        bytes: 4096,
    };
    // With multicast, every other CTA copies for itself and its neighbour.
    let shared = if multicast { Multicast { ctas: 2, apart: 1 } } else { Multicast::NONE };
    let copy = Op::Copy { tile, path: Path::Bulk, multicast: shared, barrier: 0 };
    // Each CTA has its offset once, then all take as long for a turn.
    let ops = vec![
        Op::Loop(Trips::Work(1, 0)),
        Op::Delay(ns),
        Op::End,
        Op::Loop(Trips::Const(TURNS)),
        Op::Delay(2000.0 + ns * f64::from(cluster)),
        copy,
        Op::End,
        Op::Loop(Trips::Const(TURNS)),
        Op::Wait(0),
        Op::End,
    ];
    let items: Vec<[i32; WORK_VARS]> = (0..ctas)
        .map(|i| [i / cluster, i % cluster / u32::from(shared.ctas), 0, 0, 0, 0].map(|x: u32| x as i32))
        .collect();
    Kernel {
        name: "apart".into(),
        threads: 128,
        registers: 32,
        shared_bytes: 150 << 10,
        cluster,
        grid: ctas,
        items,
        tensors: vec![Tensor { rows: u64::from(8 * TURNS), row_bytes: 4096, piece_bytes: 4096, piece_rows: 1 }],
        barriers: vec![Barrier { arrivals: 1, credits: 0 }],
        roles: vec![Role { warps: 4, ops }],
        pipelined: false,
    }
}

/// Requests meet while the first is under way to L2's data, four at most; those for several SMs of a cluster never do.
#[test]
fn requests_meet_as_long_as_they_are_under_way() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let text = include_str!("../../tests/reference/gpu/device_merging.csv");
    let mut groups = std::collections::BTreeMap::<(&str, &str), Vec<f64>>::new();
    for f in text.lines().map(|l| l.split(',').collect::<Vec<_>>()).filter(|f| f[0] == "bulk" || f[0] == "multicast") {
        let (cluster, cycles) = (f[2].parse::<u32>().unwrap(), f[3].parse::<f64>().unwrap());
        let held = f[1] == "held";
        let k = apart(cluster, cycles / gpu.spec().sm_clock_mhz * 1e3, f[0] == "multicast");
        let cache = if held {
            CacheState::Resident { tensors: vec![(0, false)], dirty: 0.0 }
        } else {
            CacheState::Foreign { dirty: 0.0 }
        };
        let r =
            gpu.run(&k, &banksia_hw::gpu::LaunchOptions { grain_bytes: 4096, cache, ..Default::default() }).unwrap();
        let received = f64::from(8 * cluster * TURNS) * 4096.0;
        // Of lines that are not held, half come through the other half and pass there as well; the chip's count is of what SMs ask.
        let own = r.traffic.l2_read_bytes as f64 - gpu.spec().launch.front_end_l2_bytes as f64;
        let passes = own - if held { 0.0 } else { 0.5 } * f64::from(8 * TURNS) * 4096.0;
        let (got, measured) = (passes / received, f[4].parse::<f64>().unwrap());
        println!("{} {} CTAs of {cluster} {cycles} cycles apart: {got:.2}, measured {measured:.2}", f[0], f[1]);
        groups.entry((f[0], f[1])).or_default().push((got - measured).abs());
    }
    assert_eq!(groups.len(), 4);
    for ((path, lines), off) in groups {
        let mean = off.iter().sum::<f64>() / off.len() as f64;
        println!("{path} {lines}: {} cases, {mean:.3} off in the mean", off.len());
        let most = if path == "multicast" { 0.01 } else { 0.05 };
        assert!(off.len() >= 14 && mean < most, "{path} {lines}: {mean}");
    }
}

/// The kernel that a name of cuBLAS's says: columns and rows of the result in a tile, depth and buffers, cluster, which operand comes first.
fn named(name: &str, g: Gemm, ctas: u32, gpu: &Gpu) -> Kernel {
    let part = |i: usize| {
        let (x, y) = name.split('_').nth(i).unwrap().split_once('x').unwrap();
        (x.parse::<u32>().unwrap(), y.parse::<u32>().unwrap())
    };
    let ((wide, high), (bk, stages), (along_n, along_m)) = (part(1), part(2), part(3));
    let weights_first = name.ends_with("TNT");
    let g = if weights_first { Gemm { m: g.n, n: g.m, ..g } } else { g };
    let (tile, cluster) =
        if weights_first { ((wide, high), (along_n, along_m)) } else { ((high, wide), (along_m, along_n)) };
    let raster = Raster::cublas(gpu.spec().sms(), tile, cluster, weights_first);
    let t = Specialised { bm: tile.0, bn: tile.1, bk, stages, cluster, split: 1, raster, grid: ctas };
    let mut k = specialised(&g, &t);
    by_gpc(&mut k.items, k.grid, k.cluster, gpu.spec());
    k
}

#[test]
fn products_ask_l2_for_what_those_of_a_library_do() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let text = include_str!("../../tests/reference/gpu/device_l2.csv");
    let (mut received, mut asked, mut n) = (0.0, 0.0, 0.0);
    for f in text.lines().map(|l| l.split(',').collect::<Vec<_>>()) {
        if !f[2..3].iter().any(|k| k.starts_with("tst_")) || f[2].contains("splitK") {
            continue;
        }
        let d: Vec<u32> = f[1].split('x').map(|x| x.parse().unwrap()).collect();
        let grid: u32 = f[3].split('x').map(|x| x.parse::<u32>().unwrap()).product();
        let k = named(f[2], Gemm::new(d[0], d[1], d[2], Dtype::Bf16), grid, &gpu);
        let detail = Detail { grain_bytes: 16384, waves: 6 };
        let r = simulate(&mut gpu, &k, &CacheState::Foreign { dirty: 0.0 }, detail).unwrap();
        let l2 = (r.traffic.l2_read_bytes + r.traffic.l2_write_bytes) as f64;
        let (of_received, of_l2) = (
            r.traffic.crossbar_read_bytes as f64 / f[5].parse::<f64>().unwrap() - 1.0,
            l2 / f[6].parse::<f64>().unwrap() - 1.0,
        );
        println!("{} {}: received {:+.0} %, L2 {:+.0} %", f[1], f[2], 100.0 * of_received, 100.0 * of_l2);
        received += of_received.abs();
        asked += of_l2.abs();
        n += 1.0;
    }
    println!("{n} products: received {:.1} %, L2 {:.1} %", 100.0 * received / n, 100.0 * asked / n);
    assert!(n > 25.0 && received / n < 0.05 && asked / n < 0.11);
}

#[test]
fn ctas_that_share_an_sm_ask_l2_for_what_they_should() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let text = include_str!("../../tests/reference/gpu/device_shared.csv");
    let (mut l2, mut time, mut clock, mut n) = (0.0, 0.0, 0.0, 0.0);
    for f in text.lines().skip(3).map(|l| l.split(',').collect::<Vec<_>>()) {
        let u = |i: usize| f[i].parse::<u32>().unwrap();
        let x = |i: usize| f[i].parse::<f64>().unwrap();
        let t = Multistage {
            bm: u(3),
            bn: u(4),
            bk: u(5),
            stages: u(6),
            warps: u(7),
            group: u(8),
            registers: u(10),
            shared_bytes: u(9),
            split: 1,
            writer: Writer::Triton,
            copy_bytes: 16,
        };
        let k = multistage(&Gemm::new(u(0), u(1), u(2), Dtype::Bf16), &t, gpu.spec());
        let cache = CacheState::Resident { tensors: vec![(2, true), (0, false), (1, false)], dirty: 0.3 };
        let r = simulate(&mut gpu, &k, &cache, Detail { grain_bytes: 4096, waves: 6 }).unwrap();
        let (got, measured) =
            (r.traffic.l2_read_bytes as f64 / r.traffic.crossbar_read_bytes as f64, (x(12) + x(13)) / x(11));
        println!(
            "{} {}x{}x{}: passes of a byte {got:.2} ({measured:.2}), {:.1} us ({:.1}), {:.0} MHz ({:.0})",
            k.name,
            t.bm,
            t.bn,
            t.bk,
            r.latency_s * 1e6,
            x(15),
            r.clock_mhz,
            x(16)
        );
        l2 += (got / measured - 1.0).abs();
        time += (r.latency_s * 1e6 / x(15) - 1.0).abs();
        clock += (r.clock_mhz / x(16) - 1.0).abs();
        n += 1.0;
    }
    let [l2, time, clock] = [l2, time, clock].map(|s| 100.0 * s / n);
    println!("{n} products: passes {l2:.1} %, time {time:.1} %, clock {clock:.1} %");
    assert!(n > 20.0 && l2 < 18.0 && time < 14.0 && clock < 7.0);
}
