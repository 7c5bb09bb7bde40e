//! Microbenchmarks as programs: what the machine's parameters are measured with, run on the machine itself.

use banksia_hw::gpu::program::{Barrier, Dtype, Expr, Kernel, Op, Path, Tensor, Tile, Trips, VectorWork, WORK_VARS};

use super::{PLAIN_REGISTERS, copy, one_role};

fn plain(name: &str, ctas: u32, threads: u32, tensors: Vec<Tensor>, ops: Vec<Op>) -> Kernel {
    let items: Vec<[i32; WORK_VARS]> = (0..ctas).map(|i| [i as i32, 0, 0, 0, 0, 0]).collect();
    Kernel {
        name: name.into(),
        threads,
        registers: PLAIN_REGISTERS,
        shared_bytes: 0,
        cluster: 1,
        grid: ctas,
        items,
        tensors,
        barriers: vec![Barrier { arrivals: 1, credits: 0 }],
        roles: one_role(threads / 32, ops),
        pipelined: false,
    }
}

/// Does nothing.
pub fn empty(ctas: u32, threads: u32) -> Kernel {
    plain("empty", ctas, threads, Vec::new(), Vec::new())
}

/// Spins for so many nanoseconds.
pub fn spin(ctas: u32, threads: u32, ns: f64) -> Kernel {
    plain("spin", ctas, threads, Vec::new(), vec![Op::Delay(ns)])
}

/// One CTA reads `hops` lines of a footprint one after another, each when the one before has come.
pub fn pointer_chase(footprint_bytes: u64, hops: u32) -> Kernel {
    let lines = (footprint_bytes / 128).max(1);
    let hops = u64::from(hops).min(lines) as u32;
    let stride = lines / u64::from(hops.max(1));
    let items: Vec<[i32; WORK_VARS]> = vec![[0; WORK_VARS]];
    let tile = Tile {
        tensor: 0,
        row: Expr::default().plus_loop(0, i64::try_from(stride).unwrap_or(1)),
        byte: Expr::default(),
        rows: 1,
        bytes: 128,
    };
    let tensor = Tensor { rows: lines, row_bytes: 128, piece_bytes: 128, piece_rows: 1 };
    let ops = vec![Op::Loop(Trips::Const(hops)), copy(tile, Path::Load, 0), Op::Wait(0), Op::End];
    Kernel { items, ..plain("pointer chase", 1, 32, vec![tensor], ops) }
}

/// CTAs that each read a part of `bytes` in batches of `batch` bytes, `passes` times over, each batch when the one before
/// has come. `sharers` neighbouring CTAs read the same part.
pub fn read(ctas: u32, threads: u32, bytes: u64, batch: u32, passes: u32, sharers: u32) -> Kernel {
    let parts = (ctas / sharers.max(1)).max(1);
    let part = bytes / u64::from(parts) / u64::from(batch) * u64::from(batch);
    let turns = (part / u64::from(batch)).max(1) as u32;
    let tile = Tile {
        tensor: 0,
        row: Expr::work(0, 1),
        byte: Expr::default().plus_loop(1, i64::from(batch)),
        rows: 1,
        bytes: batch,
    };
    let ops = vec![
        Op::Loop(Trips::Const(passes)),
        Op::Loop(Trips::Const(turns)),
        copy(tile, Path::Load, 0),
        Op::Wait(0),
        Op::End,
        Op::End,
    ];
    let tensor =
        Tensor { rows: u64::from(parts), row_bytes: part.max(u64::from(batch)), piece_bytes: batch, piece_rows: 1 };
    let mut k = plain("read", ctas, threads, vec![tensor], ops);
    for item in &mut k.items {
        item[0] /= sharers.max(1) as i32;
    }
    k
}

/// Reads of single sectors of 32 bytes all over a footprint, each once: CTAs of 64 threads with six of them under way.
pub fn random_sectors(ctas: u32, footprint_bytes: u64, per_cta: u32) -> Kernel {
    let sectors = (footprint_bytes / 32).next_power_of_two();
    // Every sector once at most, in no order that a function of address bits would notice: multiplications by odd numbers and
    // shifts in so many bits can be undone.
    let half = sectors.trailing_zeros().div_ceil(2);
    let pick = |i: u64| {
        let x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) & (sectors - 1);
        let x = (x ^ (x >> half)).wrapping_mul(0xbf58_476d_1ce4_e5b9) & (sectors - 1);
        let x = (x ^ (x >> half)).wrapping_mul(0x94d0_49bb_1331_11eb) & (sectors - 1);
        (x ^ (x >> half)) as i32
    };
    let turns = per_cta.div_ceil(WORK_VARS as u32);
    let items = (0..u64::from(ctas) * u64::from(turns))
        .map(|i| std::array::from_fn(|j| pick(i * WORK_VARS as u64 + j as u64)))
        .collect();
    let tile = |j| Tile { tensor: 0, row: Expr::work(j, 1), byte: Expr::default(), rows: 1, bytes: 32 };
    let mut ops: Vec<Op> = (0..WORK_VARS).map(|j| copy(tile(j), Path::Load, 0)).collect();
    ops.extend([Op::Wait(0), Op::Next]);
    let tensor = Tensor { rows: sectors, row_bytes: 32, piece_bytes: 32, piece_rows: 1 };
    let barriers = vec![Barrier { arrivals: WORK_VARS as u32, credits: 0 }];
    Kernel { items, barriers, ..plain("random sectors", ctas, 64, vec![tensor], ops) }
}

/// Tiles of 128 rows of `piece` bytes, `pitch` bytes apart, copied by `cp.async` through a pipeline of `stages`: each CTA
/// goes along its own 128 rows.
pub fn tiles(ctas: u32, piece: u32, stages: u32, pitch: u64) -> Kernel {
    let steps = (pitch / u64::from(piece)).min(256) as u32;
    // Copies go out one after the other among their addresses: a tile in four parts.
    const PARTS: u32 = 4;
    let part = |i: u32, ahead: u32| Tile {
        tensor: 0,
        row: Expr { base: i64::from(i * 128 / PARTS), ..Expr::work(0, 128) },
        byte: Expr::at(i64::from(ahead * piece)).plus_loop(0, i64::from(piece)),
        rows: 128 / PARTS,
        bytes: piece,
    };
    let copies = |ahead: u32| (0..PARTS).map(move |i| copy(part(i, ahead), Path::Async, 0));
    // What a thread spends on addresses before its last copy has been issued, measured with tiles that lie in L2:
    // 618 cycles with pieces of 64 bytes and 707 with 128, of which a line takes 339.
    let issue = f64::from(128 * piece) / 512.0;
    let turn = 190.0 + 1.4 * f64::from(piece);
    let share = 1.0 / f64::from(PARTS);
    let work = VectorWork { issue: issue * share, latency_cycles: turn * share, ..VectorWork::default() };
    let mut ops: Vec<Op> = (0..stages - 1).flat_map(copies).collect();
    ops.extend([Op::Loop(Trips::Const(steps)), Op::Wait(0), Op::Sync]);
    ops.extend(copies(stages - 1).flat_map(|c| [Op::Vector(work), c]));
    ops.push(Op::End);
    let barriers = vec![Barrier { arrivals: PARTS, credits: 0 }];
    let tensor = Tensor::matrix(u64::from(ctas) * 128, u64::from(steps * piece), 128, piece.min(128));
    Kernel {
        shared_bytes: (stages * 128 * piece).max(120 << 10),
        barriers,
        ..plain("tiles", ctas, 128, vec![tensor], ops)
    }
}

/// CTAs that copy `steps` tiles of `rows` rows of 128 bytes, `stages` of them under way, along rows `pitch` bytes apart, and do nothing else. As many
/// CTAs as `shared` says go along the same rows; more than 132 lie two on an SM.
pub fn row_tiles(rows: u32, stages: u32, ctas: u32, pitch: u32, shared: u32, steps: u32) -> Kernel {
    let tile = |ahead: u32| Tile {
        tensor: 0,
        row: Expr::work(0, i64::from(rows)),
        byte: Expr::at(i64::from(ahead * 128)).plus_loop(0, 128),
        rows,
        bytes: 128,
    };
    let mut ops: Vec<Op> = (0..stages).map(|s| copy(tile(s), Path::Async, 0)).collect();
    ops.extend([Op::Loop(Trips::Const(steps)), Op::Wait(0), Op::Sync, copy(tile(stages), Path::Async, 0), Op::End]);
    let tensor = Tensor::matrix(u64::from(ctas / shared * rows), u64::from(pitch), rows, 128);
    let room = if ctas > 132 { 90 << 10 } else { 150 << 10 };
    Kernel {
        items: (0..ctas).map(|i| [(i / shared) as i32, 0, 0, 0, 0, 0]).collect(),
        shared_bytes: room.max((stages + 1) * rows * 128),
        ..plain("row tiles", ctas, 128, vec![tensor], ops)
    }
}

/// One CTA asks for `lines` lines at once, `pitch` bytes apart.
pub fn burst(lines: u32, pitch: u64) -> Kernel {
    let tile = Tile { tensor: 0, row: Expr::default().plus_loop(0, 1), byte: Expr::default(), rows: 1, bytes: 32 };
    let tensor = Tensor::matrix(u64::from(lines), pitch, 1, 128);
    let barriers = vec![Barrier { arrivals: lines, credits: 0 }];
    let ops = vec![Op::Loop(Trips::Const(lines)), copy(tile, Path::Load, 0), Op::End, Op::Wait(0)];
    Kernel { barriers, ..plain("burst", 1, 128, vec![tensor], ops) }
}

/// One CTA an SM of `threads` threads whose lanes do `n` operations each on one kind of unit.
pub fn lanes_only(sms: u32, threads: u32, work: VectorWork, turns: u32) -> Kernel {
    plain("lanes", sms, threads, Vec::new(), vec![Op::Loop(Trips::Const(turns)), Op::Vector(work), Op::End])
}

/// One CTA an SM that multiplies without copying.
pub fn matrix_only(sms: u32, warps: u32, dtype: Dtype, mnk: [u32; 3], sync: bool, turns: u32) -> Kernel {
    let [m, n, k] = mnk;
    let ops =
        vec![Op::Loop(Trips::Const(turns)), Op::Mma { dtype, m, n, k, sync }, Op::MmaWait(1), Op::End, Op::MmaWait(0)];
    plain("matrix", sms, 32 * warps, Vec::new(), ops)
}
