//! The fifth kernel, `_chunk_scan_fwd_kernel`: a CTA for each 128 tokens of a chunk and 64 columns of a head.
//!
//! It multiplies C with the state that came in, then goes through the chunk's tokens up to its own by 64: C B^T in single precision is decayed by
//! an exponential for each element, rounded, and multiplied by x. One CTA of four warps fits an SM, so each instruction's latency shows.

use banksia_hw::gpu::program::{Expr, Op, Path, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::super::code::{Takes, code, half, items, kernel, matrix, sum, tile};
use super::form::{Form, SsdNames, WIDTH};
use super::states::shared;
use crate::gpu::copy;
use crate::gpu::launch::Item;

/// Tokens of a tile, of a step, and buffers: of eleven configurations the middle one, which was launched (198144 bytes of shared memory, 250 to
/// 254 registers).
const TOKENS: u32 = 128;
const STEP: u32 = 64;
const STAGES: u32 = 4;

pub(super) fn scan(f: &Form, spec: &GpuSpec, names: &SsdNames) -> Result<Item, String> {
    let s = &f.s;
    let e = s.element_bytes;
    let ratio = s.heads / s.groups * f.blocks_per_head;
    let all = items([s.chunk.div_ceil(TOKENS), s.batch, f.chunks, f.blocks], |[m, b, c, h]| {
        let token = u64::from(b) * u64::from(s.tokens) + u64::from(c) * u64::from(s.chunk);
        let chunk = u64::from(b) * u64::from(f.chunks) + u64::from(c);
        let there = (s.tokens - c * s.chunk).min(s.chunk);
        let steps = there.min((m + 1) * TOKENS).div_ceil(STEP);
        [i64::from(h), i64::from(h / ratio), token as i64, i64::from(m * TOKENS), chunk as i64, i64::from(steps)]
    })?;
    let rows = TOKENS.min(f.rows);
    let own = sum(&[(2, 1), (3, 1)]);
    let columns = sum(&[(0, u64::from(f.width * e))]);
    let c = tile(1, own, f.bc_at(1).plus_work(1, i64::from(s.state * e)), rows, s.state * e);
    let row = sum(&[(4, u64::from(s.heads * s.head_dim)), (0, u64::from(f.width))]);
    let state = tile(2, row, Expr::default(), f.width, s.state * e);
    let residual = tile(0, own, columns, rows, f.width * e);
    let first = sum(&[(4, u64::from(s.groups * s.chunk)), (1, u64::from(s.chunk)), (3, 1)]);
    let deep = STEP.min(s.chunk);
    let next = |ahead: u32| -> [Op; 4] {
        let byte = |each: u32| Expr::at(i64::from(ahead * STEP * each)).plus_loop(0, i64::from(STEP * each));
        let cb = tile(3, first, byte(4), TOKENS.min(s.chunk), deep * 4);
        let x = tile(0, sum(&[(2, 1)]).plus_loop(0, i64::from(STEP)), columns, deep.min(f.rows), f.width * e);
        let x = tile(0, Expr { base: i64::from(ahead * STEP), ..x.row }, x.byte, x.rows, x.bytes);
        let mut dt = f.summed_of(4, 4, 0, deep);
        dt.byte = Expr { base: i64::from(ahead * STEP * 4), ..dt.byte }.plus_loop(0, i64::from(STEP) * 4);
        [cb, x, dt, tile(5, dt.row, dt.byte, 1, dt.bytes)].map(|t| copy(t, Path::Async, 1))
    };
    // Nsight Compute: 1377 instructions of a warp, and 1149 a step of 64 elements a thread; of them an exponential each.
    let elements = f64::from(TOKENS * STEP);
    let decay = VectorWork {
        sfu: elements,
        // C B^T out of its buffer, and back as wgmma reads it where that is not from registers.
        shared_bytes: elements * 4.0,
        spread: 1.0,
        // An exponential a lane waits for the special functions, whose queue holds the warp's next: Nsight Compute has 4041 cycles for a step (chunks
        // of 256 tokens less those of 128), of which products are 360.
        stall: 2.2,
        ..code(1149.0, 4)
    };
    let sync = !spec.tensor.warpgroup;
    let mma = |k| Op::Mma { dtype: half(spec), m: TOKENS, n: WIDTH, k, sync };
    let through = f64::from((TOKENS + WIDTH) * s.state * e);
    let mut ops = vec![
        Op::Vector(code(200.0, 4)),
        copy(c, Path::Load, 0),
        copy(state, Path::Load, 0),
        copy(f.summed_of(5, 4, 0, f.rows.min(TOKENS)), Path::Load, 0),
        Op::Wait(0),
        Op::Vector(VectorWork { shared_bytes: through, ..code(160.0, 4) }),
        Op::Sync,
        mma(s.state),
        Op::MmaWait(0),
        Op::Vector(code(120.0, 4)),
    ];
    for stage in 0..STAGES - 1 {
        ops.push(Op::Vector(code(120.0, 4)));
        ops.push(Op::Loop(Trips::Once(5, -(stage as i32))));
        ops.extend(next(stage));
        ops.push(Op::End);
    }
    ops.extend([Op::Loop(Trips::Work(5, 0)), Op::Wait(1), Op::Sync, Op::Vector(decay), mma(STEP), Op::MmaWait(0)]);
    ops.push(Op::Loop(Trips::ExceptLast(STAGES - 1)));
    ops.extend(next(STAGES - 1));
    ops.extend([Op::End, Op::End]);
    let mut arrivals = vec![3, 4];
    let mut tensors = vec![
        f.x(rows),
        f.bc(rows),
        f.states(e),
        f.products(TOKENS, deep),
        f.summed(),
        f.summed(),
        matrix(f.tokens(), u64::from(s.heads * s.head_dim) * u64::from(e), rows, f.width * e),
    ];
    let more = |ops: &mut Vec<Op>, t, instructions| {
        ops.extend([copy(t, Path::Load, 2), Op::Wait(2), Op::Vector(code(instructions, 4))]);
    };
    arrivals.push(1);
    if s.skip {
        more(&mut ops, residual, 180.0);
    }
    let out = tile(6, own, columns, rows, f.width * e);
    if s.gate {
        tensors.push(tensors[6]);
        // Its input is kept as well.
        tensors.push(tensors[6]);
        more(&mut ops, tile(7, out.row, out.byte, out.rows, out.bytes), 900.0);
        ops.push(Op::Store { tile: tile(8, out.row, out.byte, out.rows, out.bytes), reduce: false });
    }
    let leave = VectorWork { shared_bytes: f64::from(2 * TOKENS * WIDTH * e), ..code(357.0, 4) };
    ops.extend([Op::Vector(leave), Op::Store { tile: out, reduce: false }]);
    let stage = TOKENS * STEP * 4 + STEP * WIDTH * 2;
    let bytes = STAGES * stage + TOKENS * s.state.next_power_of_two().min(128) * 2 + 1536;
    let takes = Takes { warps: 4, registers: 254, shared_bytes: shared(bytes, spec) };
    let name = format!("chunk scan {}x{}x{}", s.batch, f.chunks, s.heads);
    let [x, c] = [names.x.clone(), if s.packed { names.x.clone() } else { names.c.clone() }];
    let between = Form::between;
    let operands = [
        x,
        c,
        between("passed"),
        between("products"),
        between("steps"),
        between("decays"),
        names.y.clone(),
        names.z.clone(),
        between("ungated"),
    ];
    Ok(Item::kernel(kernel(name, takes, all, tensors, &arrivals, ops), operands))
}
