//! Short causal convolutions of a prompt: each channel with its own few taps, SiLU after them.
//!
//! Three public kernels. All are bound by instructions as much as by memory: 16-bit numbers are widened, multiplied by each tap, and pass an
//! exponential and a reciprocal.

use banksia_hw::gpu::program::{Expr, Op, Path, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::code::{BATCH, CHANNELS, TOKENS, Takes, code, countable, items, kernel, matrix, mixed, sizes, stream, sum, tile};
use crate::gpu::copy;
use crate::gpu::rows::in_bursts;
use crate::gpu::launch::{Item, Operand};

/// Whose kernel it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvKernel {
    /// Triton, of `flash-linear-attention`: activations `[tokens, channels]`, tiles of 64 tokens and 64 channels.
    Triton,
    /// CUDA, of TensorRT-LLM from 1.3 on: activations `[channels, tokens]` of each sequence, a CTA for each row, in place.
    ChannelFirst,
    /// CUDA, of `causal-conv1d`: activations `[tokens, channels]`, tiles of 64 tokens and 64 channels through shared memory.
    ChannelLast,
}

/// A convolution of 16-bit activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvCall {
    /// Sequences.
    pub batch: u32,
    /// Tokens of each.
    pub tokens: u32,
    /// Channels.
    pub channels: u32,
    /// Taps, 2 to 8.
    pub taps: u32,
    /// SiLU of the result.
    pub silu: bool,
    /// The last inputs of each sequence are kept for the tokens to come.
    pub keep_state: bool,
    /// Whose kernel.
    pub kernel: ConvKernel,
}

/// Memory of a convolution.
#[derive(Debug, Clone)]
pub struct ConvNames {
    /// Its activations.
    pub input: Operand,
    /// Taps and biases.
    pub weight: Operand,
    /// The last inputs of each sequence.
    pub state: Operand,
    /// The result; a kernel that works in place has it in `input`.
    pub output: Operand,
}

impl Default for ConvNames {
    fn default() -> Self {
        Self {
            input: Operand::shared("conv.x"),
            weight: Operand::own("conv.weight"),
            state: Operand::own("conv.state"),
            output: Operand::shared("conv.y"),
        }
    }
}

/// The launch of a convolution.
///
/// # Errors
/// A size that is nothing, or too large to be counted; taps that no kernel has.
pub fn causal_conv(c: &ConvCall, _: &GpuSpec, names: &ConvNames) -> Result<Vec<Item>, String> {
    sizes(&[("batch", c.batch, BATCH), ("tokens", c.tokens, TOKENS), ("channels", c.channels, CHANNELS)])?;
    if !(2..=8).contains(&c.taps) {
        return Err(format!("{} taps: 2 to 8 are possible", c.taps));
    }
    countable("the input", &[c.batch, c.tokens, c.channels])?;
    match c.kernel {
        ConvKernel::Triton => tiled(c, names, &TRITON),
        ConvKernel::ChannelLast => tiled(c, names, &CHANNEL_LAST),
        ConvKernel::ChannelFirst => rows(c, names),
    }
}

/// A kernel that takes tiles of tokens by channels.
struct Tiled {
    warps: u32,
    registers: u32,
    shared_bytes: u32,
    /// Instructions of a warp, before its loads and after; and for each element of a thread: for each tap, and beside.
    before: f64,
    after: f64,
    per_tap: f64,
    per_element: f64,
    /// Reads a tile once for each tap, and finds all but the first in L1.
    again: bool,
}

/// Tokens and channels of a tile.
const TILE: u32 = 64;

/// Triton 3.6's code for 64 channels and 4 warps: 116 registers as launched, 1100 instructions for four taps of 32 elements; for 16 channels
/// 365 (Nsight Compute: 365). That tile is the middle one of those that the source offers.
const TRITON: Tiled = Tiled {
    warps: 4,
    registers: 116,
    shared_bytes: 256,
    before: 80.0,
    after: 40.0,
    per_tap: 4.5,
    per_element: 12.6,
    again: true,
};

/// The source's tile (rows of 128 bytes, 128 threads) and what `nvcc` makes of its loop: products are between loads from shared memory.
const CHANNEL_LAST: Tiled = Tiled {
    warps: 4,
    registers: 64,
    shared_bytes: (TILE + 3) * (TILE + 8) * 2,
    before: 90.0,
    after: 40.0,
    per_tap: 1.0,
    per_element: 20.0,
    again: false,
};

fn tiled(c: &ConvCall, names: &ConvNames, t: &Tiled) -> Result<Vec<Item>, String> {
    let height = TILE.min(c.tokens);
    let all = items([c.channels.div_ceil(TILE), c.tokens.div_ceil(TILE), c.batch], |[d, at, b]| {
        let first = u64::from(b) * u64::from(c.tokens) + u64::from(at * TILE);
        // The last tile of a sequence does not reach into the next one.
        [i64::from(d), first as i64, i64::from(height.min(c.tokens - at * TILE)), 0, 0, 0]
    })?;
    let width = TILE * 2;
    let columns = sum(&[(0, u64::from(width))]);
    let out = tile(2, sum(&[(1, 1)]), columns, height, width);
    let elements = f64::from(TILE * TILE) / f64::from(32 * t.warps);
    let silu = if c.silu { 0.0 } else { 9.0 };
    let each = t.per_tap * f64::from(c.taps) + t.per_element - silu;
    let sfu = if c.silu { 2.0 * f64::from(TILE * TILE) } else { 0.0 };
    let through = if t.again { 0.0 } else { f64::from((TILE + TILE) * width) };
    let work = VectorWork { sfu, shared_bytes: through, ..code(each * elements, t.warps) };
    let x = |ahead: u32| tile(0, Expr::at(-i64::from(ahead)).plus_work(1, 1), columns, height, width);
    let mut ops = vec![
        Op::Vector(code(t.before, t.warps)),
        copy(
            tile(1, Expr::default(), sum(&[(0, u64::from(TILE * c.taps * 2))]), 1, TILE * c.taps * 2),
            Path::LoadL1,
            0,
        ),
    ];
    let reads = if t.again {
        ops.extend((0..c.taps).rev().map(|ahead| copy(x(ahead), Path::LoadL1, 0)));
        c.taps
    } else {
        ops.push(copy(tile(0, x(c.taps - 1).row, columns, height + c.taps - 1, width), Path::Load, 0));
        1
    };
    ops.extend([
        Op::Wait(0),
        Op::Sync,
        Op::Vector(work),
        Op::Vector(code(t.after, t.warps)),
        Op::Store { tile: out, reduce: false },
    ]);
    let (rows, pitch) = (u64::from(c.batch) * u64::from(c.tokens), u64::from(c.channels) * 2);
    let activations = matrix(rows, pitch, height, width);
    let weights = stream(u64::from(c.channels) * u64::from(c.taps + 1) * 2, TILE * c.taps * 2);
    let takes = Takes { warps: t.warps, registers: t.registers, shared_bytes: t.shared_bytes };
    let name = format!("causal convolution {}x{}x{} of {}", c.batch, c.tokens, c.channels, c.taps);
    // Sixteen bits are widened in runs of shifts and permutations, which queue for the integer lanes.
    let k = in_bursts(kernel(name, takes, all, vec![activations, weights, activations], &[reads + 1], ops));
    Ok(vec![Item::kernel(k, [names.input.clone(), names.weight.clone(), names.output.clone()])])
}

/// Elements of a thread in a turn: 16 bytes.
const VECTOR: u32 = 8;
/// Sequences of so many tokens are one turn of 64 threads; longer ones are taken by 128 (`causal_conv1d_fwd_dispatch`).
const NARROW: u32 = 64;

/// A CTA for each channel of each sequence, 8 neighbouring tokens a thread, which get their neighbours' by shuffles.
///
/// Instructions of a warp by nvcc 13 for `sm_90a`: 110 before the first turn and 239 a turn; where the row is no multiple of 16 bytes 373, since
/// single elements are loaded and transposed in shared memory. Bodies of the reciprocal's rare case do not count. Before the first turn
/// the first thread keeps the row's end, a load and a store after the other since they may be the same memory, and taps are moved to uniform
/// registers: three times memory is waited for.
fn rows(c: &ConvCall, names: &ConvNames) -> Result<Vec<Item>, String> {
    let narrow = c.tokens <= NARROW * VECTOR;
    let (warps, aligned) = (if narrow { 2 } else { 4 }, c.tokens.is_multiple_of(VECTOR));
    // Shares of integer and logic instructions in the compiled code.
    let integer = if aligned { 0.32 } else { 0.37 };
    let turn = 32 * warps * VECTOR;
    let turns = c.tokens.div_ceil(turn);
    let all = items([c.batch, c.channels], |[b, channel]| {
        [(u64::from(b) * u64::from(c.channels) + u64::from(channel)) as i64, i64::from(channel), 0, 0, 0, 0]
    })?;
    let row = u64::from(c.tokens) * 2;
    let bytes = (turn * 2).min(c.tokens * 2);
    let x = tile(0, Expr::default(), sum(&[(0, row)]).plus_loop(0, i64::from(turn * 2)), 1, bytes);
    let per_turn =
        if aligned { 239.0 } else { 373.0 } + 8.0 * (f64::from(c.taps) - 4.0) - if c.silu { 0.0 } else { 60.0 };
    // A last turn that is not full reads no further than the row.
    let last = u32::from(turns > 1 && !c.tokens.is_multiple_of(turn));
    let tail = c.tokens - (turns - last) * turn;
    let part =
        tile(0, Expr::default(), Expr::at(i64::from((turns - last) * turn * 2)).plus_work(0, row as i64), 1, tail * 2);
    let work = VectorWork {
        sfu: if c.silu { 2.0 * f64::from(turn) } else { 0.0 },
        shared_bytes: f64::from(turn * 2) * if aligned { 1.2 } else { 4.2 },
        ..mixed(per_turn, warps, integer)
    };
    let one = |ops: &mut Vec<Op>, t| {
        ops.extend([copy(t, Path::Load, 0), Op::Wait(0), Op::Sync, Op::Sync, Op::Sync, Op::Vector(work)]);
        ops.push(Op::Store { tile: t, reduce: false });
    };
    let weight = tile(1, Expr::default(), sum(&[(1, u64::from(c.taps) * 2)]), 1, c.taps * 2);
    let mut ops = vec![Op::Vector(mixed(50.0, warps, integer))];
    if c.keep_state {
        // The first thread reads the end of its row and writes it to the state before anything else.
        let kept = (c.taps - 1).min(c.tokens);
        let end =
            tile(0, Expr::default(), Expr::at(row as i64 - i64::from(kept) * 2).plus_work(0, row as i64), 1, kept * 2);
        let state = u64::from(c.taps - 1) * 2;
        let to = tile(2, Expr::default(), sum(&[(0, state)]), 1, (c.taps - 1) * 2);
        ops.extend([copy(end, Path::LoadL1, 1), Op::Wait(1), Op::Store { tile: to, reduce: false }]);
    }
    ops.extend([copy(weight, Path::Load, 2), Op::Wait(2), Op::Vector(mixed(60.0, warps, integer))]);
    if turns - last > 1 {
        ops.push(Op::Loop(Trips::Const(turns - last)));
        one(&mut ops, x);
        ops.push(Op::End);
    } else {
        one(&mut ops, x);
    }
    if last > 0 {
        one(&mut ops, part);
    }
    let rows = u64::from(c.batch) * u64::from(c.channels);
    let tensors = vec![
        stream(rows * row, bytes),
        stream(u64::from(c.channels) * u64::from(c.taps + 1) * 2, 32),
        stream(rows * u64::from(c.taps - 1) * 2, 32),
    ];
    let exchange = turn * 2;
    let shared_bytes = if aligned { exchange } else { exchange + turn * 2 };
    let takes = Takes { warps, registers: if aligned { 32 } else { 40 }, shared_bytes };
    let name = format!("causal convolution {}x{}x{} of {} by rows", c.batch, c.channels, c.tokens, c.taps);
    let k = in_bursts(kernel(name, takes, all, tensors, &[1, 1, 1], ops));
    Ok(vec![Item::kernel(k, [names.input.clone(), names.weight.clone(), names.state.clone()])])
}
