//! Recurrences without chunks of products: diagonal ones (RG-LRU, HGRN, short scans), and RWKV's over a matrix a head.

use banksia_hw::gpu::program::{Expr, Op, Path, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::code::{BATCH, CHANNELS, HEADS, TOKENS, Takes, code, countable, items, kernel, matrix, sizes, sum, tile};
use crate::gpu::copy;
use crate::gpu::launch::{Item, Operand};

/// A diagonal recurrence `h = a h + x` over 16-bit arrays `[tokens, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Diagonal {
    /// Sequences.
    pub batch: u32,
    /// Tokens of each; one in decode.
    pub tokens: u32,
    /// Channels.
    pub channels: u32,
}

/// Memory of a diagonal recurrence.
#[derive(Debug, Clone)]
pub struct DiagonalNames {
    /// What is added.
    pub x: Operand,
    /// Logarithms of the decays.
    pub decay: Operand,
    /// The state, `[channels]` of each sequence in single precision.
    pub state: Operand,
    /// The states of all tokens.
    pub y: Operand,
}

impl Default for DiagonalNames {
    fn default() -> Self {
        Self {
            x: Operand::shared("lru.x"),
            decay: Operand::shared("lru.decay"),
            state: Operand::own("lru.state"),
            y: Operand::shared("lru.y"),
        }
    }
}

/// Tokens of a chunk, and channels of a CTA of the first and the second kernel (`fla`, `chunk_hgrn`; of twelve settings of the first the middle one).
const CHUNK: u32 = 128;
const FIRST_WIDE: u32 = 64;
const SECOND_WIDE: u32 = 64;

/// The launches of a diagonal recurrence, as `fla`'s `chunk_hgrn` has them: each chunk token by token, and then the chunks one after the other, whose tokens
/// get what came before. A single token is one launch.
///
/// # Errors
/// A size that is nothing, or too large to be counted.
pub fn diagonal_scan(d: &Diagonal, _: &GpuSpec, names: &DiagonalNames) -> Result<Vec<Item>, String> {
    sizes(&[("batch", d.batch, BATCH), ("tokens", d.tokens, TOKENS), ("channels", d.channels, CHANNELS)])?;
    countable("the input", &[d.batch, d.tokens, d.channels])?;
    let chunks = d.tokens.div_ceil(CHUNK);
    let first = items([d.channels.div_ceil(FIRST_WIDE), chunks, d.batch], |[i, c, b]| {
        let token = u64::from(b) * u64::from(d.tokens) + u64::from(c * CHUNK);
        [i64::from(i), token as i64, i64::from((d.tokens - c * CHUNK).min(CHUNK)), i64::from(b), i64::from(c == 0), 0]
    })?;
    let wide = FIRST_WIDE.min(d.channels) * 2;
    let each = |tensor| tile(tensor, sum(&[(1, 1)]).plus_loop(0, 1), sum(&[(0, u64::from(FIRST_WIDE) * 2)]), 1, wide);
    let state = tile(4, sum(&[(3, 1)]), sum(&[(0, u64::from(FIRST_WIDE) * 4)]), 1, wide * 2);
    let width = f64::from(FIRST_WIDE);
    let step = VectorWork { sfu: width, ..code(34.0, 1) };
    let mut ops = vec![
        Op::Vector(code(60.0, 1)),
        Op::Loop(Trips::Once(4, 0)),
        copy(state, Path::Load, 1),
        Op::Wait(1),
        Op::End,
        Op::Loop(Trips::Work(2, 0)),
        copy(each(0), Path::Load, 0),
        copy(each(1), Path::Load, 0),
        Op::Wait(0),
        Op::Vector(step),
    ];
    // Sums and states of all tokens are in single precision.
    let single = |tensor| tile(tensor, each(0).row, sum(&[(0, u64::from(FIRST_WIDE) * 4)]), 1, wide * 2);
    let apart = chunks > 1;
    if apart {
        ops.push(Op::Store { tile: single(2), reduce: false });
    }
    ops.extend([Op::Store { tile: single(3), reduce: false }, Op::End]);
    if !apart {
        ops.push(Op::Store { tile: state, reduce: false });
    }
    let rows = u64::from(d.batch) * u64::from(d.tokens);
    let array = |bytes: u32, piece_rows| matrix(rows, u64::from(d.channels * bytes), piece_rows, FIRST_WIDE * bytes);
    let states = matrix(u64::from(d.batch), u64::from(d.channels) * 4, 1, wide * 2);
    let takes = Takes { warps: 1, registers: 32, shared_bytes: 0 };
    let name = format!("diagonal scan {}x{}x{}", d.batch, d.tokens, d.channels);
    let sums = Operand::shared("lru.sums");
    let tensors = vec![array(2, 1), array(2, 1), array(4, 1), array(4, 1), states];
    let operands = [names.x.clone(), names.decay.clone(), sums.clone(), names.y.clone(), names.state.clone()];
    let mut launches = vec![Item::kernel(kernel(name, takes, first, tensors, &[2, 1], ops), operands)];
    if !apart {
        return Ok(launches);
    }
    // From the second chunk on: its tokens' sums of decays, and the state before it.
    let second = items([d.channels.div_ceil(SECOND_WIDE), d.batch], |[i, b]| {
        [i64::from(i), (u64::from(b) * u64::from(d.tokens)) as i64, i64::from(b), 0, 0, 0]
    })?;
    let wide = SECOND_WIDE.min(d.channels) * 4;
    let columns = sum(&[(0, u64::from(SECOND_WIDE) * 4)]);
    let chunk = i64::from(CHUNK);
    let row = |base: i64| Expr::at(base).plus_work(1, 1).plus_loop(0, chunk);
    let block = |tensor| tile(tensor, row(chunk), columns, CHUNK, wide);
    let before = tile(1, row(chunk - 1), columns, 1, wide);
    let elements = f64::from(CHUNK * SECOND_WIDE);
    let work = VectorWork { sfu: elements, ..code(14.0 * elements / 256.0, 8) };
    let ops = vec![
        Op::Vector(code(80.0, 8)),
        Op::Loop(Trips::Const(chunks - 1)),
        copy(before, Path::Load, 0),
        copy(block(0), Path::Load, 0),
        copy(block(1), Path::Load, 0),
        Op::Wait(0),
        Op::Vector(work),
        Op::Store { tile: block(1), reduce: false },
        Op::StoreWait,
        Op::End,
        Op::Store { tile: tile(2, sum(&[(2, 1)]), columns, 1, wide), reduce: false },
    ];
    let takes = Takes { warps: 8, registers: 64, shared_bytes: 256 };
    let name = format!("diagonal scan {}x{}x{} over chunks", d.batch, d.tokens, d.channels);
    let tensors = vec![array(4, CHUNK), array(4, CHUNK), states];
    launches.push(Item::kernel(
        kernel(name, takes, second, tensors, &[3], ops),
        [sums, names.y.clone(), names.state.clone()],
    ));
    Ok(launches)
}

/// RWKV's recurrence: a head's state is a matrix that decays by columns and gets an outer product a token; version 7 also reads and replaces by
/// a delta rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wkv {
    /// Sequences.
    pub batch: u32,
    /// Tokens of each; one in decode.
    pub tokens: u32,
    /// Heads.
    pub heads: u32,
    /// Width of a head, of keys and of values: at most 256.
    pub head_dim: u32,
    /// Version 7: two more vectors a token, and a product of the state with one of them before it is changed.
    pub delta: bool,
    /// The state is read at the begin and written at the end.
    pub keep_state: bool,
}

/// Memory of a recurrence.
#[derive(Debug, Clone)]
pub struct WkvNames {
    /// The vectors of each token (receptance, key, value, decay, and two more); the last stands for those that are not named.
    pub vectors: Vec<Operand>,
    /// The state, in single precision.
    pub state: Operand,
    /// The output.
    pub y: Operand,
}

impl Default for WkvNames {
    fn default() -> Self {
        let vectors = (0..6).map(|i| Operand::shared(format!("wkv.in{i}"))).collect();
        Self { vectors, state: Operand::own("wkv.state"), y: Operand::shared("wkv.y") }
    }
}

/// The launch of RWKV's CUDA kernel (`wkv6`, `wkv7`): a CTA a head, a thread a row of its state, in registers; tokens one after the other, each with its
/// vectors through shared memory between two barriers.
///
/// # Errors
/// A size that is nothing, or that the kernel does not take.
pub fn wkv(w: &Wkv, _: &GpuSpec, names: &WkvNames) -> Result<Vec<Item>, String> {
    sizes(&[
        ("batch", w.batch, BATCH),
        ("tokens", w.tokens, TOKENS),
        ("heads", w.heads, HEADS),
        ("head_dim", w.head_dim, 256),
    ])?;
    let n = w.head_dim;
    countable("the input", &[w.batch, w.tokens, w.heads, n])?;
    let all = items([w.batch, w.heads], |[b, h]| {
        let head = u64::from(b) * u64::from(w.heads) + u64::from(h);
        [(u64::from(b) * u64::from(w.tokens)) as i64, i64::from(h), head as i64, 0, 0, 0]
    })?;
    let warps = n.div_ceil(32);
    let arrays: u8 = if w.delta { 6 } else { 4 };
    let vector = |tensor| tile(tensor, sum(&[(0, 1)]).plus_loop(0, 1), sum(&[(1, u64::from(n) * 2)]), 1, n * 2);
    let state = tile(arrays + 1, sum(&[(2, 1)]), Expr::default(), 1, n * n * 4);
    // Of a thread and element of its row: key times value, its part of the output, decay and sum, and a quarter of a load for each of the
    // vectors; in version 7 the product with the removal vector and its return as well.
    let elements = f64::from(n);
    let each = if w.delta { 7.5 } else { 5.0 };
    let loads = f64::from(arrays) * f64::from(warps) * elements * 4.0;
    let token = VectorWork { shared_bytes: loads, ..code(each * elements + 40.0, warps) };
    let mut ops = vec![Op::Vector(code(80.0, warps))];
    let whole = |ops: &mut Vec<Op>| ops.extend([copy(state, Path::Load, 1), Op::Wait(1)]);
    if w.keep_state {
        whole(&mut ops);
    }
    ops.extend([Op::Loop(Trips::Const(w.tokens)), Op::Sync]);
    ops.extend((0..arrays).map(|i| copy(vector(i), Path::Load, 0)));
    ops.extend([Op::Wait(0), Op::Sync, Op::Vector(token), Op::Store { tile: vector(arrays), reduce: false }, Op::End]);
    if w.keep_state {
        ops.push(Op::Store { tile: state, reduce: false });
    }
    let rows = u64::from(w.batch) * u64::from(w.tokens);
    let array = matrix(rows, u64::from(w.heads) * u64::from(n) * 2, 1, n * 2);
    let mut tensors = vec![array; usize::from(arrays) + 1];
    let named = names.vectors.iter().chain(names.vectors.last().into_iter().cycle());
    let mut operands: Vec<Operand> = named.take(usize::from(arrays)).cloned().collect();
    operands.extend([names.y.clone(), names.state.clone()]);
    tensors.push(matrix(
        u64::from(w.batch) * u64::from(w.heads),
        u64::from(n) * u64::from(n) * 4,
        1,
        (n * n * 4).min(1 << 15),
    ));
    // The row of the state, and as many registers again.
    let registers = (n + 64).clamp(64, 255);
    let takes = Takes { warps, registers, shared_bytes: u32::from(arrays) * n * 4 };
    let name = format!("wkv {}x{}x{} of {n}", w.batch, w.tokens, w.heads);
    Ok(vec![Item::kernel(kernel(name, takes, all, tensors, &[u32::from(arrays), 1], ops), operands)])
}
