//! The scan's gradient, `mamba_chunk_scan_combined`'s backward pass: 18 Triton kernels, and what PyTorch launches between them.
//!
//! Sums of decays, states and C B^T are computed again. Then, over chunks: gradients of the states that come in, their pass from the last chunk to the first, of x (and the
//! step sizes), of B, of C, of C B^T and through it of both, and of the decays. Grids, tiles, registers and shared memory are those of the launches
//! (`operators_kernels.jsonl`), which are the middle ones of the autotuned settings; loops and products are those of the source (mamba_ssm 2.3).
//!
//! Instructions: an element of a score that is decayed, masked and rounded for a product takes as many as in the forward scan, which was counted; one that is scaled and summed six, for the
//! operations that the source has for it (assumed).

use banksia_hw::gpu::program::{Expr, Op, Path, Tensor, Tile, Trips, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::super::code::{Takes, code, half, items, kernel, matrix, sum, tile};
use super::form::{Form, Ssd, SsdNames, WIDTH};
use super::states::{self, shared};
use crate::gpu::copy;
use crate::gpu::fused::{Cost, Pointwise, Reduction, Way, fill, pointwise, reduce_rows, strided_copy};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::routing::cumulative_sum;

/// Memory of the gradients.
#[derive(Debug, Clone)]
pub struct SsdGradients {
    /// Of the output.
    pub y: Operand,
    /// Of x.
    pub x: Operand,
    /// Of B.
    pub b: Operand,
    /// Of C.
    pub c: Operand,
    /// Of step sizes.
    pub dt: Operand,
    /// Of decays, step biases and skips.
    pub parameters: Operand,
}

impl Default for SsdGradients {
    fn default() -> Self {
        let shared = |name: &str| Operand::shared(format!("ssd.d_{name}"));
        Self {
            y: shared("y"),
            x: shared("x"),
            b: shared("b"),
            c: shared("c"),
            dt: shared("dt"),
            parameters: shared("parameters"),
        }
    }
}

/// Instructions of a lane for an element that is decayed for a product: the forward scan's 1149 of a warp for a step of 64 elements a thread, less those of its copies.
const DECAYED: f64 = (1149.0 - 120.0) / 64.0;
/// And of one that is scaled and summed up: a difference, a factor, an exponential or a product, a sum, their conversion.
const SUMMED: f64 = 6.0;
/// Of a warp, each turn: addresses, predicates, copies (the forward kernels' 112 to 120).
const TURN: f64 = 116.0;

/// Numbers of a work item: block of columns of all heads, group, first token, block within the chunk, chunk, turns.
const HEAD: usize = 0;
const GROUP: usize = 1;
const TOKEN: usize = 2;
const BLOCK: usize = 3;
const PLACE: usize = 4;
const TURNS: usize = 5;

/// What a kernel does in a turn of its loop.
struct Turn {
    loads: Vec<Tile>,
    products: Vec<[u32; 3]>,
    /// Instructions of a lane for each element of the last product.
    each: f64,
    /// An exponential for each of these.
    exponentials: bool,
    stores: Vec<Tile>,
    /// Copies of so many turns are under way.
    stages: u32,
}

/// A kernel: what it loads first, its loop, what it leaves.
struct Sketch {
    name: String,
    takes: Takes,
    items: Vec<[i32; WORK_VARS]>,
    tensors: Vec<Tensor>,
    first: Vec<Tile>,
    /// Products before the loop.
    before: Vec<[u32; 3]>,
    turn: Turn,
    last: Vec<Tile>,
    /// Instructions of a warp at the end.
    leave: f64,
}

fn mma(spec: &GpuSpec, [m, n, k]: [u32; 3]) -> [Op; 2] {
    let sync = !spec.tensor.warpgroup || m < 64;
    [Op::Mma { dtype: half(spec), m, n, k, sync }, Op::MmaWait(0)]
}

impl Sketch {
    fn item(self, spec: &GpuSpec, operands: impl IntoIterator<Item = Operand>) -> Item {
        let warps = self.takes.warps;
        let mut ops = vec![Op::Vector(code(220.0, warps))];
        if !self.first.is_empty() {
            ops.extend(self.first.iter().map(|t| copy(*t, Path::Load, 0)));
            ops.push(Op::Wait(0));
        }
        for sides in &self.before {
            let through = f64::from((sides[0] + sides[1]) * sides[2] * 2);
            ops.push(Op::Vector(VectorWork { shared_bytes: 2.0 * through, ..code(160.0, warps) }));
            ops.push(Op::Sync);
            ops.extend(mma(spec, *sides));
            let elements = f64::from(sides[0] * sides[1]) / f64::from(32 * warps);
            ops.push(Op::Vector(code(2.0 * elements, warps)));
        }
        let t = &self.turn;
        let on = |ahead: u32| {
            t.loads.iter().map(move |&l| {
                let mut l = l;
                // The loop's own step, so many turns on.
                l.row.base += i64::from(ahead) * l.row.loops[0];
                l.byte.base += i64::from(ahead) * l.byte.loops[0];
                copy(l, Path::Async, 1)
            })
        };
        let ahead = t.stages.saturating_sub(1).max(1);
        for stage in 0..ahead {
            ops.push(Op::Loop(Trips::Once(TURNS as u8, -(stage as i32))));
            ops.extend(on(stage));
            ops.push(Op::End);
        }
        ops.extend([Op::Loop(Trips::Work(TURNS as u8, 0)), Op::Wait(1), Op::Sync, Op::Vector(code(TURN, warps))]);
        let mut elements = 0.0;
        for sides in &t.products {
            ops.extend(mma(spec, *sides));
            elements = f64::from(sides[0]) * f64::from(sides[1]);
        }
        let lanes = f64::from(32 * warps);
        ops.push(Op::Vector(VectorWork {
            sfu: if t.exponentials { elements } else { 0.0 },
            // Decayed scores come out of their buffers, and go back as products read them.
            shared_bytes: if t.each > 10.0 { 4.0 * elements } else { 0.0 },
            spread: 1.0,
            stall: 2.2,
            ..code(t.each * elements / lanes, warps)
        }));
        ops.extend(t.stores.iter().map(|&tile| Op::Store { tile, reduce: false }));
        ops.push(Op::Loop(Trips::ExceptLast(ahead)));
        ops.extend(on(ahead));
        ops.extend([Op::End, Op::End, Op::Vector(code(self.leave, warps))]);
        ops.extend(self.last.iter().map(|&tile| Op::Store { tile, reduce: false }));
        let arrivals = [self.first.len() as u32, t.loads.len() as u32];
        let takes = Takes { shared_bytes: shared(self.takes.shared_bytes, spec), ..self.takes };
        Item::kernel(kernel(self.name, takes, self.items, self.tensors, &arrivals, ops), operands)
    }
}

/// Programs that share a group's heads: each takes as many as leave one for every SM (`nsplits` of the source).
fn splits(f: &Form, spec: &GpuSpec) -> u32 {
    let s = &f.s;
    let ratio = s.heads / s.groups.max(1);
    let all = u64::from(s.batch) * u64::from(f.chunks) * u64::from(s.heads);
    let heads = u32::try_from(all.div_ceil(u64::from(spec.sms().max(1)))).unwrap_or(ratio).clamp(1, ratio.max(1));
    ratio.div_ceil(heads).max(1)
}

fn token(f: &Form, b: u32, c: u32) -> i64 {
    i64::from(b) * i64::from(f.s.tokens) + i64::from(c) * i64::from(f.s.chunk)
}

fn place(f: &Form, b: u32, c: u32) -> i64 {
    i64::from(b) * i64::from(f.chunks) + i64::from(c)
}

/// The output's gradient: `[tokens, heads * head_dim]`.
fn rows_of_y(f: &Form, piece: u32) -> Tensor {
    let pitch = u64::from(f.s.heads * f.s.head_dim) * 2;
    matrix(f.tokens(), pitch, piece, WIDTH * 2)
}

/// Columns of a head's block.
fn columns(f: &Form) -> Expr {
    sum(&[(HEAD, u64::from(f.width * 2))])
}

/// `_chunk_scan_bwd_dstates_kernel`: the output's gradient transposed by C, decayed: 64 x 128 of a head's state, 32 tokens a step.
fn chunk_states(f: &Form, spec: &GpuSpec, n: &SsdNames, d: &SsdGradients) -> Result<Item, String> {
    const STEP: u32 = 32;
    let s = &f.s;
    let ratio = s.heads / s.groups * f.blocks_per_head;
    let wide = s.state.div_ceil(128);
    let all = items([wide, s.batch, f.chunks, f.blocks], |[w, b, c, h]| {
        let turns = (s.tokens - c * s.chunk).min(s.chunk).div_ceil(STEP);
        [i64::from(h), i64::from(h / ratio), token(f, b, c), i64::from(w), place(f, b, c), i64::from(turns)]
    })?;
    let rows = STEP.min(f.rows);
    let at = sum(&[(TOKEN, 1)]).plus_loop(0, i64::from(STEP));
    let of_state = 128.min(s.state);
    let c_at = f.bc_at(1).plus_work(GROUP, i64::from(s.state * 2)).plus_work(BLOCK, 256);
    let mut decay = f.summed_of(2, PLACE, HEAD, STEP);
    decay.byte = decay.byte.plus_loop(0, i64::from(STEP) * 4);
    let row = sum(&[(PLACE, u64::from(s.heads * s.head_dim)), (HEAD, u64::from(f.width))]);
    let out = tile(3, row, sum(&[(BLOCK, 512)]), f.width, of_state * 4);
    let sketch = Sketch {
        name: format!("chunk state gradients {}x{}x{}", s.batch, f.chunks, s.heads),
        takes: Takes { warps: 4, registers: 116, shared_bytes: 45440 },
        items: all,
        tensors: vec![rows_of_y(f, rows), f.bc(rows), f.summed(), f.states(4)],
        first: Vec::new(),
        before: Vec::new(),
        turn: Turn {
            loads: vec![tile(0, at, columns(f), rows, f.width * 2), tile(1, at, c_at, rows, of_state * 2), decay],
            products: vec![[WIDTH, 128, STEP]],
            // C is scaled on its way: an element of a step for two of the product's.
            each: SUMMED * f64::from(STEP) / f64::from(WIDTH) / 2.0,
            exponentials: false,
            stores: Vec::new(),
            stages: 4,
        },
        last: vec![out],
        leave: 264.0,
    };
    let c = if s.packed { n.x.clone() } else { n.c.clone() };
    Ok(sketch.item(spec, [d.y.clone(), c, Form::between("decays"), Form::between("d_states_in")]))
}

/// Elements of a state that a CTA passes on.
const PASSED: u32 = 512;

/// `_state_passing_bwd_kernel`: from the last chunk to the first, each one's gradient decayed and added; the sum of its product with the state is that of the decay, which warps join
/// through shared memory. States are written once more, rounded.
fn pass(f: &Form, d_states: &Operand) -> Result<Item, String> {
    let s = &f.s;
    let size = s.head_dim * s.state;
    let there = PASSED.min(size);
    let all = items([size.div_ceil(PASSED), s.batch, s.heads], |[m, b, h]| {
        let last = u64::from(b) * u64::from(f.chunks) * u64::from(s.heads)
            + u64::from(f.chunks.saturating_sub(1)) * u64::from(s.heads)
            + u64::from(h);
        [i64::from(m), last as i64, i64::from(h), i64::from(b) * i64::from(f.chunks), i64::from(f.chunks), 0]
    })?;
    let row = sum(&[(1, 1)]).plus_loop(0, -i64::from(s.heads));
    let at = |bytes: u32| sum(&[(0, u64::from(PASSED * bytes))]);
    let new = tile(0, row, at(4), 1, there * 4);
    let state = tile(1, row, at(2), 1, there * 2);
    let decay = tile(2, sum(&[(3, 1)]).plus_loop(0, 1), sum(&[(2, u64::from(s.chunk) * 4)]), 1, 4);
    let out = tile(3, row, at(2), 1, there * 2);
    let joined = VectorWork { shared_bytes: 64.0, latency_cycles: 5.0 * 24.0 + 58.0, ..code(28.0, 4) };
    let ops = vec![
        Op::Vector(code(55.0, 4)),
        Op::Loop(Trips::Const(f.chunks)),
        copy(new, Path::Load, 0),
        copy(state, Path::Load, 0),
        copy(decay, Path::LoadL1, 0),
        Op::Wait(0),
        Op::Vector(code(44.0, 4)),
        Op::Vector(joined),
        Op::Sync,
        Op::Store { tile: out, reduce: false },
        Op::End,
    ];
    let rows = u64::from(s.batch) * u64::from(f.chunks) * u64::from(s.heads);
    let of = |bytes: u32| matrix(rows, u64::from(size) * u64::from(bytes), 1, there * bytes);
    let takes = Takes { warps: 4, registers: 32, shared_bytes: 16 };
    let name = format!("state gradients passed {}x{} over {} chunks", s.batch, s.heads, f.chunks);
    let operands = [Form::between("d_states_in"), Form::between("passed"), Form::between("decays"), d_states.clone()];
    Ok(Item::kernel(kernel(name, takes, all, vec![of(4), of(2), f.summed(), of(2)], &[3], ops), operands))
}

/// `_chunk_scan_chunk_state_bwd_dx_kernel`: 64 tokens of a head: B by the state's gradient, then, from its own tokens to the chunk's end by 64, C B^T decayed by the output's gradient.
/// One CTA of four warps fits an SM with its four buffers twice.
fn inputs(f: &Form, spec: &GpuSpec, n: &SsdNames, d: &SsdGradients, states: &Operand) -> Result<Item, String> {
    const ROWS: u32 = 64;
    let s = &f.s;
    let ratio = s.heads / s.groups * f.blocks_per_head;
    let all = items([s.chunk.div_ceil(ROWS), s.batch, f.chunks, f.blocks], |[m, b, c, h]| {
        let there = (s.tokens - c * s.chunk).min(s.chunk).div_ceil(ROWS);
        let turns = there.saturating_sub(m);
        [i64::from(h), i64::from(h / ratio), token(f, b, c), i64::from(m * ROWS), place(f, b, c), i64::from(turns)]
    })?;
    let rows = ROWS.min(f.rows);
    let own = sum(&[(TOKEN, 1), (BLOCK, 1)]);
    let b_at = f.bc_at(0).plus_work(GROUP, i64::from(s.state * 2));
    let row = sum(&[(PLACE, u64::from(s.heads * s.head_dim)), (HEAD, u64::from(f.width))]);
    let x = tile(0, own, columns(f), rows, f.width * 2);
    let deep = ROWS.min(s.chunk);
    let scores = sum(&[(PLACE, u64::from(s.groups * s.chunk)), (GROUP, u64::from(s.chunk)), (BLOCK, 1)]);
    let scores = scores.plus_loop(0, i64::from(ROWS));
    let later = own.plus_loop(0, i64::from(ROWS));
    let mut decay = f.summed_of(5, PLACE, HEAD, deep);
    decay.byte = decay.byte.plus_work(BLOCK, 4).plus_loop(0, i64::from(ROWS) * 4);
    let sketch = Sketch {
        name: format!("chunk input gradients {}x{}x{}", s.batch, f.chunks, s.heads),
        takes: Takes { warps: 4, registers: 168, shared_bytes: 110_976 },
        items: all,
        tensors: vec![
            f.x(rows),
            f.bc(rows),
            f.states(2),
            f.products(deep, deep),
            rows_of_y(f, rows),
            f.summed(),
            rows_of_y(f, rows),
        ],
        // x is for the step sizes' gradient, a sum over the head.
        first: vec![tile(1, own, b_at, rows, s.state * 2), tile(2, row, Expr::default(), f.width, s.state * 2), x],
        before: vec![[ROWS, WIDTH, s.state]],
        turn: Turn {
            loads: vec![
                tile(3, scores, sum(&[(BLOCK, 4)]), deep, deep * 4),
                tile(4, later, columns(f), rows, f.width * 2),
                decay,
            ],
            products: vec![[ROWS, WIDTH, ROWS]],
            each: DECAYED,
            exponentials: true,
            stores: Vec::new(),
            stages: 4,
        },
        last: vec![tile(6, own, columns(f), rows, f.width * 2)],
        leave: 357.0 + 180.0 + SUMMED * f64::from(ROWS * WIDTH) / 128.0,
    };
    let b = if s.packed { n.x.clone() } else { n.b.clone() };
    let operands =
        [n.x.clone(), b, states.clone(), Form::between("products"), d.y.clone(), Form::between("decays"), d.x.clone()];
    Ok(sketch.item(spec, operands))
}

/// `_chunk_state_bwd_db_kernel` and `_chunk_scan_bwd_dc_kernel`: 64 x 64 of a chunk's B or C, by the heads of a program one after the other: x by its state's gradient, or the output's
/// gradient by the state, scaled and summed, and its product with B or C summed for the decays.
fn sides(f: &Form, spec: &GpuSpec, which: u64, [left, states, own]: [&Operand; 3]) -> Result<Item, String> {
    const SIDE: u32 = 64;
    let s = &f.s;
    let n = splits(f, spec);
    let ratio = s.heads / s.groups * f.blocks_per_head;
    let each = ratio.div_ceil(n);
    let (tall, wide) = (s.chunk.div_ceil(SIDE), s.state.div_ceil(SIDE));
    let all = items([tall * wide, s.batch * f.chunks, n * s.groups], |[t, bc, sg]| {
        let (b, c) = (bc % s.batch, bc / s.batch);
        let (g, split) = (sg / n, sg % n);
        let first = g * ratio + split * each;
        let turns = each.min(ratio.saturating_sub(split * each));
        let row = token(f, b, c) + i64::from(t / wide * SIDE);
        [i64::from(first), i64::from(g), row, i64::from(t % wide), place(f, b, c), i64::from(turns)]
    })?;
    let rows = SIDE.min(f.rows);
    let width = SIDE.min(s.state);
    let head = columns(f).plus_loop(0, i64::from(f.width * 2));
    let state_row = sum(&[(PLACE, u64::from(s.heads * s.head_dim)), (HEAD, u64::from(f.width))]);
    let state_row = state_row.plus_loop(0, i64::from(f.width));
    let mut decay = f.summed_of(2, PLACE, HEAD, rows);
    decay.byte = decay.byte.plus_loop(0, i64::from(s.chunk) * 4 / i64::from(f.blocks_per_head));
    let b_at = f.bc_at(which).plus_work(GROUP, i64::from(s.state * 2)).plus_work(BLOCK, i64::from(SIDE * 2));
    let out_bytes = u64::from(n) * u64::from(s.groups * s.state) * 4;
    let out = tile(4, sum(&[(TOKEN, 1)]), sum(&[(GROUP, u64::from(s.state) * 4), (BLOCK, 256)]), rows, width * 4);
    let what = if which == 0 { "b" } else { "c" };
    let sketch = Sketch {
        name: format!("chunk {what} gradients {}x{}x{}", s.batch, f.chunks, s.groups),
        takes: Takes { warps: 4, registers: 136, shared_bytes: 49408 },
        items: all,
        tensors: vec![f.x(rows), f.states(2), f.summed(), f.bc(rows), matrix(f.tokens(), out_bytes, rows, width * 4)],
        first: vec![tile(3, sum(&[(TOKEN, 1)]), b_at, rows, width * 2)],
        before: Vec::new(),
        turn: Turn {
            loads: vec![
                tile(0, sum(&[(TOKEN, 1)]), head, rows, f.width * 2),
                tile(1, state_row, sum(&[(BLOCK, u64::from(SIDE * 2))]), f.width, width * 2),
                decay,
            ],
            products: vec![[SIDE, SIDE, WIDTH]],
            each: SUMMED,
            exponentials: false,
            stores: Vec::new(),
            stages: 3,
        },
        last: vec![out],
        leave: 240.0,
    };
    let sums = Form::between(if which == 0 { "d_b_parts" } else { "d_c_parts" });
    Ok(sketch.item(spec, [left.clone(), states.clone(), Form::between("decays"), own.clone(), sums]))
}

/// `_chunk_scan_bwd_dcb_kernel`: 64 x 32 of a chunk's square, on and below the diagonal, by the heads of a program: the output's gradient by x, decayed and summed.
fn scores(f: &Form, spec: &GpuSpec, n: &SsdNames, d: &SsdGradients) -> Result<Item, String> {
    const TALL: u32 = 64;
    const WIDE: u32 = 32;
    let s = &f.s;
    let parts = splits(f, spec);
    let ratio = s.heads / s.groups * f.blocks_per_head;
    let each = ratio.div_ceil(parts);
    let wide = s.chunk.div_ceil(WIDE);
    let all = items([s.chunk.div_ceil(TALL) * wide, s.batch * f.chunks, parts * s.groups], |[t, bc, sg]| {
        let (b, c) = (bc % s.batch, bc / s.batch);
        let (g, split) = (sg / parts, sg % parts);
        let (m, k) = (t / wide, t % wide);
        let below = k * WIDE < (m + 1) * TALL;
        let turns = if below { each.min(ratio.saturating_sub(split * each)) } else { 0 };
        let row = token(f, b, c) + i64::from(m * TALL);
        // The columns' first token, from the rows' on.
        let apart = i64::from(k * WIDE) - i64::from(m * TALL);
        [i64::from(g * ratio + split * each), i64::from(g), row, apart, place(f, b, c), i64::from(turns)]
    })?;
    let (tall, narrow) = (TALL.min(f.rows), WIDE.min(f.rows));
    let head = columns(f).plus_loop(0, i64::from(f.width * 2));
    let mut decay = f.summed_of(2, PLACE, HEAD, tall);
    decay.byte = decay.byte.plus_loop(0, i64::from(s.chunk) * 4 / i64::from(f.blocks_per_head));
    let row_bytes = u64::from(parts) * u64::from(s.groups * s.chunk) * 4;
    // The columns' place in the chunk: their first token less the chunk's.
    let at = sum(&[(GROUP, u64::from(s.chunk) * 4), (BLOCK, 4), (TOKEN, 4)]).plus_work(PLACE, -4 * i64::from(s.chunk));
    let out = tile(3, sum(&[(TOKEN, 1)]), at, tall, narrow * 4);
    let sketch = Sketch {
        name: format!("chunk score gradients {}x{}x{}", s.batch, f.chunks, s.groups),
        takes: Takes { warps: 4, registers: 96, shared_bytes: 36864 },
        items: all,
        tensors: vec![rows_of_y(f, tall), f.x(narrow), f.summed(), matrix(f.tokens(), row_bytes, tall, narrow * 4)],
        first: Vec::new(),
        before: Vec::new(),
        turn: Turn {
            loads: vec![
                tile(0, sum(&[(TOKEN, 1)]), head, tall, f.width * 2),
                tile(1, sum(&[(TOKEN, 1), (BLOCK, 1)]), head, narrow, f.width * 2),
                decay,
            ],
            products: vec![[TALL, WIDE, WIDTH]],
            each: SUMMED,
            exponentials: true,
            stores: Vec::new(),
            stages: 3,
        },
        last: vec![out],
        leave: 160.0,
    };
    Ok(sketch.item(spec, [d.y.clone(), n.x.clone(), Form::between("decays"), Form::between("d_products_parts")]))
}

/// `_bmm_chunk_bwd_kernel`: a chunk's gradient of C B^T by B, and transposed by C: 64 x 128, the chunk in steps of 32.
fn through(f: &Form, spec: &GpuSpec, other: &Operand, out: &Operand, which: u64) -> Result<Item, String> {
    const TALL: u32 = 64;
    const STEP: u32 = 32;
    let s = &f.s;
    let wide = s.state.div_ceil(128);
    let all = items([s.chunk.div_ceil(TALL) * wide, s.batch, f.chunks * s.groups], |[t, b, cg]| {
        let (c, g) = (cg / s.groups, cg % s.groups);
        let turns = f.rows.div_ceil(STEP);
        [0, i64::from(g), token(f, b, c), i64::from(t / wide * TALL), place(f, b, c), i64::from(turns)]
    })?;
    let rows = STEP.min(f.rows);
    let scores = sum(&[(PLACE, u64::from(s.groups * s.chunk)), (GROUP, u64::from(s.chunk)), (BLOCK, 1)]);
    let deep = tile(0, scores, Expr::default().plus_loop(0, i64::from(STEP) * 4), TALL.min(s.chunk), STEP * 4);
    let width = 128.min(s.state);
    let at = f.bc_at(1 - which).plus_work(GROUP, i64::from(s.state * 2));
    let side = tile(1, sum(&[(TOKEN, 1)]).plus_loop(0, i64::from(STEP)), at, rows, width * 2);
    let result = f.bc_at(which).plus_work(GROUP, i64::from(s.state * 2));
    let sketch = Sketch {
        name: format!("chunk products back {}x{}x{}", s.batch, f.chunks, s.groups),
        takes: Takes { warps: 4, registers: 162, shared_bytes: 57344 },
        items: all,
        tensors: vec![f.products(TALL, STEP), f.bc(rows), f.bc(TALL)],
        first: Vec::new(),
        before: Vec::new(),
        turn: Turn {
            loads: vec![deep, side],
            products: vec![[TALL, 128, STEP]],
            each: 0.0,
            exponentials: false,
            stores: Vec::new(),
            stages: 4,
        },
        last: vec![tile(2, sum(&[(TOKEN, 1), (BLOCK, 1)]), result, TALL.min(f.rows), width * 2)],
        leave: 245.0,
    };
    Ok(sketch.item(spec, [Form::between("d_products"), other.clone(), out.clone()]))
}

/// `_chunk_scan_bwd_ddAcs_stable_kernel`: 32 tokens of a head, from the chunk's first column to their own by 32: the output's gradient by x, times C B^T decayed, summed along rows and left.
fn decays(f: &Form, spec: &GpuSpec, n: &SsdNames, d: &SsdGradients) -> Result<Item, String> {
    const ROWS: u32 = 32;
    let s = &f.s;
    let ratio = s.heads / s.groups * f.blocks_per_head;
    let all = items([s.chunk.div_ceil(ROWS), s.batch, f.chunks, f.blocks], |[m, b, c, h]| {
        let there = (s.tokens - c * s.chunk).min(s.chunk).div_ceil(ROWS);
        let turns = (m + 1).min(there);
        [i64::from(h), i64::from(h / ratio), token(f, b, c), i64::from(m * ROWS), place(f, b, c), i64::from(turns)]
    })?;
    let rows = ROWS.min(f.rows);
    let scores = sum(&[(PLACE, u64::from(s.groups * s.chunk)), (GROUP, u64::from(s.chunk)), (BLOCK, 1)]);
    let mut decay = f.summed_of(3, PLACE, HEAD, ROWS);
    decay.byte = decay.byte.plus_loop(0, i64::from(ROWS) * 4);
    let pitch = u64::from(s.heads) * u64::from(s.chunk) * 4;
    let blocks = u64::from(s.chunk.div_ceil(ROWS));
    let parts = matrix(u64::from(s.batch) * u64::from(f.chunks), pitch * blocks, 1, ROWS * 4);
    let left = decay.byte.plus_work(BLOCK, (pitch / u64::from(ROWS)) as i64);
    let left = tile(4, sum(&[(PLACE, 1)]), left, 1, ROWS * 4);
    let sketch = Sketch {
        name: format!("chunk decay gradients {}x{}x{}", s.batch, f.chunks, s.heads),
        takes: Takes { warps: 4, registers: 72, shared_bytes: 16384 },
        items: all,
        tensors: vec![rows_of_y(f, rows), f.x(rows), f.products(rows, rows), f.summed(), parts],
        first: vec![tile(0, sum(&[(TOKEN, 1), (BLOCK, 1)]), columns(f), rows, f.width * 2)],
        before: Vec::new(),
        turn: Turn {
            loads: vec![
                tile(1, sum(&[(TOKEN, 1)]).plus_loop(0, i64::from(ROWS)), columns(f), rows, f.width * 2),
                tile(2, scores, Expr::default().plus_loop(0, i64::from(ROWS) * 4), rows, rows * 4),
                decay,
            ],
            products: vec![[ROWS, ROWS, WIDTH]],
            each: DECAYED,
            exponentials: true,
            stores: vec![left],
            stages: 2,
        },
        last: Vec::new(),
        leave: 60.0,
    };
    let operands =
        [d.y.clone(), n.x.clone(), Form::between("products"), Form::between("decays"), Form::between("d_decay_parts")];
    Ok(sketch.item(spec, operands))
}

/// So many numbers of 32 bits, each the sum of some.
fn summed(name: &str, elements: u64, of: u32, out_bytes: u32, from: &str, to: Operand) -> Item {
    let cost = Cost { fma: f64::from(of), alu: 1.0, sfu: 0.0 };
    let p = Pointwise { elements, inputs: vec![4.0 * f64::from(of)], out_bytes, way: Way::Convert, cost };
    Item::kernel(pointwise(name, &p), [Form::between(from), to])
}

/// The launches of a scan's gradient, from the output's.
///
/// # Errors
/// As of the scan.
pub fn ssd_gradient(s: &Ssd, spec: &GpuSpec, names: &SsdNames, d: &SsdGradients) -> Result<Vec<Item>, String> {
    // Refuses what the scan refuses.
    super::ssd(s, spec, names)?;
    let f = &Form::of(s);
    let between = Form::between;
    let d_states = between("d_states");
    let [b, c] = if s.packed { [names.x.clone(), names.x.clone()] } else { [names.b.clone(), names.c.clone()] };
    let steps = u64::from(s.batch) * u64::from(f.chunks) * u64::from(s.heads) * u64::from(s.chunk);
    let parts = splits(f, spec);
    let of_side = f.tokens() * u64::from(s.groups * s.state);
    let square = u64::from(s.batch) * u64::from(f.chunks) * u64::from(s.groups) * u64::from(s.chunk).pow(2);
    let zeros = |elements: u64, name: &str| Item::kernel(fill(elements, 4), [between(name)]);
    let mut all = vec![
        states::sums(f, names)?,
        states::products(f, spec, names)?,
        states::chunk_states(f, spec, names)?,
        states::pass(f, names)?,
        chunk_states(f, spec, names, d)?,
        pass(f, &d_states)?,
        zeros(steps, "d_steps"),
        inputs(f, spec, names, d, &d_states)?,
    ];
    let skips = reduce_rows(Reduction::Sum, u64::from(s.heads), u64::from(s.batch * f.chunks), 4, 4);
    all.extend(skips.into_iter().map(|k| Item::kernel(k, [between("d_skip_parts"), d.parameters.clone()])));
    all.push(zeros(steps, "d_decays"));
    all.push(sides(f, spec, 0, [&names.x, &d_states, &b])?);
    all.push(summed("parts of b", of_side, parts, 2, "d_b_parts", between("d_b_own")));
    all.push(zeros(steps, "d_decays_of_c"));
    all.push(sides(f, spec, 1, [&d.y, &between("passed"), &c])?);
    all.push(summed("parts of c", of_side, parts, 2, "d_c_parts", between("d_c_own")));
    all.push(scores(f, spec, names, d)?);
    all.push(summed("parts of products", square, parts, 2, "d_products_parts", between("d_products")));
    all.push(through(f, spec, &b, &d.c, 1)?);
    all.push(through(f, spec, &c, &d.b, 0)?);
    // Decays' sums run backwards: turned round, summed, turned back, twice.
    for _ in 0..2 {
        let turned = between("d_decays_turned");
        all.push(Item::kernel(strided_copy(steps, 4), [between("d_decays"), turned.clone()]));
        let rows = steps / u64::from(s.chunk.max(1));
        let sums = cumulative_sum(rows, u64::from(s.chunk));
        all.extend(sums.into_iter().map(|k| Item::kernel(k, [turned.clone(), between("d_decays_summed")])));
    }
    all.push(decays(f, spec, names, d)?);
    let blocks = s.chunk.div_ceil(32);
    all.push(summed("parts of decays", steps, blocks, 4, "d_decay_parts", between("d_decays_of_scores")));
    all.extend((0..2).map(|_| summed("decays", steps, 2, 4, "d_decays", between("d_decays"))));
    // Back through the sums of the chunk and the softplus: as much as the forward kernel reads and writes.
    let last = states::sums(f, &SsdNames { dt: d.dt.clone(), ..names.clone() })?;
    all.push(last);
    Ok(all)
}
