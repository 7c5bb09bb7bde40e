//! The first four kernels: sums of decays, states of chunks, their pass from chunk to chunk, and C B^T.

use banksia_hw::gpu::program::{Expr, Op, Path, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::super::code::{Takes, code, half, items, kernel, matrix, sum, tile};
use super::form::{Form, SsdNames, WIDTH};
use crate::gpu::copy;
use crate::gpu::launch::Item;
use crate::gpu::rows::in_bursts;

/// Heads of a CTA (the middle one of seven settings, and the one launched).
const SUMMED_HEADS: u32 = 8;

/// `_chunk_cumsum_fwd_kernel`: step sizes of eight heads and a chunk, transposed, and the sums of their decays.
pub(super) fn sums(f: &Form, names: &SsdNames) -> Result<Item, String> {
    let s = &f.s;
    let all = items([s.batch, f.chunks, s.heads.div_ceil(SUMMED_HEADS)], |[b, c, h]| {
        let token = u64::from(b) * u64::from(s.tokens) + u64::from(c) * u64::from(s.chunk);
        [token as i64, i64::from(b) * i64::from(f.chunks) + i64::from(c), i64::from(h), 0, 0, 0]
    })?;
    let heads = SUMMED_HEADS.min(s.heads);
    let e = s.element_bytes;
    let dt = tile(0, sum(&[(0, 1)]), sum(&[(2, u64::from(SUMMED_HEADS * e))]), f.rows, heads * e);
    let out = |tensor| {
        tile(tensor, sum(&[(1, 1)]), sum(&[(2, u64::from(SUMMED_HEADS * s.chunk * 4))]), 1, heads * s.chunk * 4)
    };
    // Nsight Compute: 174 instructions of a warp for eight elements a thread, 135 for two; a bias and a softplus are 15 more an element.
    let each = f64::from(SUMMED_HEADS * s.chunk) / 128.0;
    let per_element = if s.softplus { 21.5 } else { 6.5 };
    let work = VectorWork {
        sfu: if s.softplus { 2.0 * 128.0 * each } else { 0.0 },
        // Sums of lanes, of warps, and back.
        latency_cycles: 400.0,
        shared_bytes: 2.0 * f64::from(heads * s.chunk * 4),
        ..code(70.0 + per_element * each, 4)
    };
    let ops = vec![
        Op::Vector(code(52.0, 4)),
        copy(dt, Path::Load, 0),
        Op::Wait(0),
        Op::Sync,
        Op::Vector(work),
        Op::Sync,
        Op::Store { tile: out(1), reduce: false },
        Op::Store { tile: out(2), reduce: false },
    ];
    let steps = matrix(f.tokens(), u64::from(s.step_pitch) * u64::from(e), f.rows, heads * e);
    let takes = Takes { warps: 4, registers: 44, shared_bytes: 8 * s.chunk };
    let tensors = vec![steps, f.summed(), f.summed()];
    let name = format!("chunk sums {}x{}x{}", s.batch, f.chunks, s.heads);
    let operands = [names.dt.clone(), Form::between("steps"), Form::between("decays")];
    Ok(Item::kernel(kernel(name, takes, all, tensors, &[1], ops), operands))
}

/// Tokens of a step and columns of B in a tile of the second kernel; buffers of its pipeline.
const STATE_STEP: u32 = 32;
const STATE_COLUMNS: u32 = 128;
const STATE_STAGES: u32 = 4;

/// `_chunk_state_fwd_kernel`: a CTA for each 64 x 128 of a head's state.
pub(super) fn chunk_states(f: &Form, spec: &GpuSpec, names: &SsdNames) -> Result<Item, String> {
    let s = &f.s;
    let ratio = s.heads / s.groups * f.blocks_per_head;
    let steps = f.rows.div_ceil(STATE_STEP);
    let wide = s.state.div_ceil(STATE_COLUMNS);
    let all = items([wide, s.batch, f.chunks, f.blocks], |[n, b, c, h]| {
        let token = u64::from(b) * u64::from(s.tokens) + u64::from(c) * u64::from(s.chunk);
        let chunk = u64::from(b) * u64::from(f.chunks) + u64::from(c);
        let left = (s.tokens - c * s.chunk).min(s.chunk).div_ceil(STATE_STEP);
        [i64::from(h), i64::from(h / ratio), token as i64, chunk as i64, i64::from(n), i64::from(left)]
    })?;
    let e = s.element_bytes;
    let columns = STATE_COLUMNS.min(s.state);
    let at = |ahead: u32| Expr::at(i64::from(ahead * STATE_STEP)).plus_work(2, 1).plus_loop(0, i64::from(STATE_STEP));
    let rows = STATE_STEP.min(f.rows);
    let b_at = f.bc_at(0).plus_work(1, i64::from(s.state * e)).plus_work(4, i64::from(STATE_COLUMNS * e));
    let x_at = sum(&[(0, u64::from(f.width * e))]);
    let x = |ahead| copy(tile(0, at(ahead), x_at, rows, f.width * e), Path::Async, 0);
    let b = |ahead| copy(tile(1, at(ahead), b_at, rows, columns * e), Path::Async, 0);
    let small = |ahead: u32| {
        let mut t = f.summed_of(2, 3, 0, STATE_STEP);
        t.byte = Expr { base: i64::from(ahead * STATE_STEP * 4), ..t.byte }.plus_loop(0, i64::from(STATE_STEP) * 4);
        [t, tile(3, t.row, t.byte, 1, t.bytes)].map(|t| copy(t, Path::Async, 0))
    };
    // Nsight Compute: 604 instructions of a warp, and 282 a step: B is read from shared memory, scaled, and written back as wgmma reads it.
    let scale = f64::from(STATE_STEP * STATE_COLUMNS * 2);
    // Wavefronts of the data path beside those of its bytes: a copy of a warp from rows of 256 bytes takes 7.1 for four (`device_copies.csv`), each of
    // the eight narrow ones of step sizes and decays one, and what is written for `wgmma` half again as many (both as in Triton's products).
    let copied = scale * 3.1 / 4.0 + 8.0 * 4.0 * 128.0;
    let step_work = VectorWork {
        sfu: f64::from(STATE_STEP) * 16.0,
        shared_bytes: scale * (1.0 + 1.5) + f64::from(STATE_STEP) * 4.0 * 32.0 + copied,
        // Four groups of eight elements share registers, so each waits for the one before: decay from shared memory, exponential, product.
        latency_cycles: 4.0 * (29.0 + 20.0 + 12.0 * 4.0 + 29.0),
        ..code(170.0, 4)
    };
    let copies = Op::Vector(code(112.0, 4));
    let mut ops = vec![Op::Vector(code(220.0, 4)), copy(f.summed_of(3, 3, 0, 1), Path::Load, 1), Op::Wait(1)];
    for stage in 0..STATE_STAGES - 1 {
        ops.push(Op::Vector(code(40.0, 4)));
        ops.push(Op::Loop(Trips::Once(5, -(stage as i32))));
        ops.extend([x(stage), b(stage)]);
        ops.extend(small(stage));
        ops.push(Op::End);
    }
    let mma = Op::Mma { dtype: half(spec), m: WIDTH, n: STATE_COLUMNS, k: STATE_STEP, sync: !spec.tensor.warpgroup };
    ops.extend([
        Op::Loop(Trips::Work(5, 0)),
        Op::Wait(0),
        Op::Sync,
        Op::Vector(step_work),
        Op::Sync,
        mma,
        Op::MmaWait(0),
    ]);
    ops.extend([copies, Op::Loop(Trips::ExceptLast(STATE_STAGES - 1)), x(STATE_STAGES - 1), b(STATE_STAGES - 1)]);
    ops.extend(small(STATE_STAGES - 1));
    let row = sum(&[(3, u64::from(s.heads * s.head_dim)), (0, u64::from(f.width))]);
    let out = tile(4, row, sum(&[(4, u64::from(STATE_COLUMNS * 4))]), f.width, columns * 4);
    let leave = VectorWork { shared_bytes: f64::from(2 * WIDTH * STATE_COLUMNS * 4), ..code(264.0, 4) };
    ops.extend([Op::End, Op::End, Op::Vector(leave), Op::Store { tile: out, reduce: false }]);
    let tensors = vec![f.x(rows), f.bc(rows), f.summed(), f.summed(), f.states(4)];
    let stage = (WIDTH + STATE_COLUMNS) * STATE_STEP * 2;
    let takes = Takes { warps: 4, registers: 128, shared_bytes: shared(STATE_STAGES * stage + 768, spec) };
    let name = format!("chunk states {}x{}x{} of {steps} steps", s.batch, f.chunks, s.heads);
    let operands = [
        names.x.clone(),
        if s.packed { names.x.clone() } else { names.b.clone() },
        Form::between("steps"),
        Form::between("decays"),
        Form::between("states"),
    ];
    Ok(Item::kernel(in_bursts(kernel(name, takes, all, tensors, &[4, 1], ops)), operands))
}

/// Shared memory as a device allows it: where a CTA may have less, fewer buffers.
pub(super) fn shared(bytes: u32, spec: &GpuSpec) -> u32 {
    bytes.min(spec.sm.shared_memory_per_cta_bytes)
}

/// Elements of a state that a CTA passes on (the middle one of six settings).
const PASSED: u32 = 512;

/// `_state_passing_fwd_kernel`: chunk after chunk; its loads are not pipelined, since nothing multiplies them by matrix units.
pub(super) fn pass(f: &Form, names: &SsdNames) -> Result<Item, String> {
    let s = &f.s;
    let size = s.head_dim * s.state;
    let (there, e) = (PASSED.min(size), s.element_bytes);
    let all = items([size.div_ceil(PASSED), s.batch, s.heads], |[m, b, h]| {
        let first = u64::from(b) * u64::from(f.chunks) * u64::from(s.heads) + u64::from(h);
        let last = u64::from(b) * u64::from(s.heads) + u64::from(h);
        [i64::from(m), first as i64, last as i64, i64::from(b) * i64::from(f.chunks), i64::from(h), 0]
    })?;
    let row = sum(&[(1, 1)]).plus_loop(0, i64::from(s.heads));
    let next = Expr { base: i64::from(s.heads), ..row };
    let at = |bytes: u32| sum(&[(0, u64::from(PASSED * bytes))]);
    let new = tile(0, row, at(4), 1, there * 4);
    let decay = tile(2, sum(&[(3, 1)]).plus_loop(0, 1), sum(&[(4, u64::from(s.chunk) * 4)]).plus_work(0, 0), 1, 4);
    let out = |row| tile(1, row, at(e), 1, there * e);
    let own = tile(3, sum(&[(2, 1)]), at(4), 1, there * 4);
    // Nsight Compute: 70 instructions of a warp, and 33 a chunk.
    let mut ops = vec![Op::Vector(code(55.0, 4))];
    if s.initial {
        ops.extend([copy(own, Path::Load, 1), Op::Wait(1)]);
    }
    ops.extend([
        Op::Store { tile: out(sum(&[(1, 1)])), reduce: false },
        Op::Loop(Trips::Const(f.chunks)),
        copy(new, Path::Load, 0),
        copy(decay, Path::LoadL1, 0),
        Op::Wait(0),
        Op::Vector(code(33.0, 4)),
        Op::Loop(Trips::ExceptLast(1)),
        Op::Store { tile: out(next), reduce: false },
        Op::End,
        Op::End,
        Op::Store { tile: own, reduce: false },
    ]);
    let rows = u64::from(s.batch) * u64::from(f.chunks) * u64::from(s.heads);
    let states = |bytes: u32| matrix(rows, u64::from(size) * u64::from(bytes), 1, there * bytes);
    let last = matrix(u64::from(s.batch) * u64::from(s.heads), u64::from(size) * 4, 1, there * 4);
    let takes = Takes { warps: 4, registers: 25, shared_bytes: 0 };
    let tensors = vec![states(4), states(e), f.summed(), last];
    let name = format!("states passed {}x{} over {} chunks", s.batch, s.heads, f.chunks);
    let operands = [Form::between("states"), Form::between("passed"), Form::between("decays"), names.state.clone()];
    Ok(Item::kernel(kernel(name, takes, all, tensors, &[2, 1], ops), operands))
}

/// `_bmm_chunk_fwd_kernel`: tiles of 64 x 128, the depth in steps of 32 through four buffers.
const PRODUCT_ROWS: u32 = 64;
const PRODUCT_COLUMNS: u32 = 128;
const PRODUCT_STEP: u32 = 32;
const PRODUCT_STAGES: u32 = 4;

pub(super) fn products(f: &Form, spec: &GpuSpec, names: &SsdNames) -> Result<Item, String> {
    let s = &f.s;
    let e = s.element_bytes;
    let (tall, wide) = (s.chunk.div_ceil(PRODUCT_ROWS), s.chunk.div_ceil(PRODUCT_COLUMNS));
    let all = items([wide, tall, s.batch, s.groups, f.chunks], |[n, m, b, g, c]| {
        let token = u64::from(b) * u64::from(s.tokens) + u64::from(c) * u64::from(s.chunk);
        let chunk = u64::from(b) * u64::from(f.chunks) + u64::from(c);
        let row = (chunk * u64::from(s.groups) + u64::from(g)) * u64::from(s.chunk) + u64::from(m * PRODUCT_ROWS);
        [i64::from(n), i64::from(m), token as i64, i64::from(g), row as i64, 0]
    })?;
    let steps = s.state.div_ceil(PRODUCT_STEP);
    let (rows, columns) = (PRODUCT_ROWS.min(f.rows), PRODUCT_COLUMNS.min(f.rows));
    let deep = PRODUCT_STEP.min(s.state) * e;
    let side = |tensor: u8, var: usize, height: u32, there: u32, ahead: u32| {
        let byte = f
            .bc_at(1 - u64::from(tensor))
            .plus_work(3, i64::from(s.state * e))
            .plus_loop(0, i64::from(PRODUCT_STEP * e));
        let byte = Expr { base: byte.base + i64::from(ahead * PRODUCT_STEP * e), ..byte };
        copy(tile(tensor, sum(&[(2, 1), (var, u64::from(height))]), byte, there, deep), Path::Async, 0)
    };
    let both = |ahead| [side(0, 1, PRODUCT_ROWS, rows, ahead), side(1, 0, PRODUCT_COLUMNS, columns, ahead)];
    // Nsight Compute: 907 instructions of a warp for four steps; 83 a step (SASS).
    let mut ops = vec![Op::Vector(code(330.0, 4))];
    for stage in 0..PRODUCT_STAGES.min(steps) {
        ops.extend(both(stage));
    }
    let sync = !spec.tensor.warpgroup;
    let mma = Op::Mma { dtype: half(spec), m: PRODUCT_ROWS, n: PRODUCT_COLUMNS, k: PRODUCT_STEP, sync };
    ops.extend([Op::Loop(Trips::Const(steps)), Op::Wait(0), Op::Sync, mma, Op::MmaWait(0), Op::Vector(code(83.0, 4))]);
    ops.push(Op::Loop(Trips::ExceptLast(PRODUCT_STAGES)));
    ops.extend(both(PRODUCT_STAGES));
    let out = tile(
        2,
        sum(&[(4, 1)]),
        sum(&[(0, u64::from(PRODUCT_COLUMNS) * 4)]),
        PRODUCT_ROWS.min(s.chunk),
        PRODUCT_COLUMNS.min(s.chunk) * 4,
    );
    let leave = VectorWork { shared_bytes: f64::from(2 * PRODUCT_ROWS * PRODUCT_COLUMNS * 4), ..code(245.0, 4) };
    ops.extend([Op::End, Op::End, Op::Vector(leave), Op::Store { tile: out, reduce: false }]);
    let tensors = vec![f.bc(rows), f.bc(columns), f.products(PRODUCT_ROWS, PRODUCT_COLUMNS)];
    let stage = (PRODUCT_ROWS + PRODUCT_COLUMNS) * PRODUCT_STEP * 2;
    let takes = Takes { warps: 4, registers: 108, shared_bytes: shared(PRODUCT_STAGES * stage, spec) };
    let name = format!("chunk products {}x{}x{} of {steps} steps", s.batch, f.chunks, s.groups);
    let [b, c] = if s.packed { [names.x.clone(), names.x.clone()] } else { [names.b.clone(), names.c.clone()] };
    Ok(Item::kernel(kernel(name, takes, all, tensors, &[2], ops), [c, b, Form::between("products")]))
}
