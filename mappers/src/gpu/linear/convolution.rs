//! Short causal convolutions over channels as vLLM and SGLang launch them (Triton, `causal_conv1d.py`): packed sequences, channels side by side.

use banksia_hw::gpu::program::{Expr, Path, Tile, Trips, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::compiled::{Code, Load, Program, tile};
use super::{Names, countable};
use crate::gpu::launch::{Item, Operand};

/// Tokens and channels of a CTA (`BLOCK_M`, `BLOCK_N` of the source).
const TOKENS: u32 = 8;
const CHANNELS: u32 = 256;
/// Tokens that a CTA takes in one turn where tokens lie side by side: 128 threads of 16 bytes.
const SIDE_BY_SIDE: u32 = 1024;

/// A convolution of sequences of equal length, with SiLU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Sequences.
    pub batch: u32,
    /// Tokens of each.
    pub tokens: u32,
    /// Channels.
    pub channels: u32,
    /// Taps.
    pub width: u32,
    /// Bytes of an input, of a result and of the state.
    pub bytes: u32,
    /// Bytes of a weight.
    pub weight_bytes: u32,
    /// The state lies token by token (vLLM), or channel by channel (SGLang).
    pub tokens_first: bool,
    /// Channels of a CTA of an update: 256 (four warps), or 64 (two warps, `causal_conv1d_update_kernel` of `Dao-AILab/causal-conv1d`).
    pub cta_channels: u32,
}

impl Convolution {
    fn check(&self) -> Result<(), String> {
        let sizes = [self.batch, self.tokens, self.channels, self.bytes, self.weight_bytes, self.cta_channels];
        if sizes.contains(&0) || !(2..=8).contains(&self.width) {
            return Err(format!("convolution of {} taps over {} channels", self.width, self.channels));
        }
        let rows = u64::from(self.batch) * u64::from(self.tokens);
        if rows > i32::MAX as u64 || self.channels > 1 << 22 {
            return Err(format!("convolution of {rows} tokens of {} channels: too large", self.channels));
        }
        Ok(())
    }

    fn rows(&self) -> u64 {
        u64::from(self.batch) * u64::from(self.tokens)
    }

    fn row_bytes(&self) -> u64 {
        u64::from(self.channels) * u64::from(self.bytes)
    }

    /// The weights of an item's channels; the block of channels is number `block` of the item.
    fn weights(&self, p: &mut Program, names: &Names, (block, channels): (usize, u32)) -> Load {
        let bytes = self.width * self.weight_bytes;
        let name = format!("{}.weight", names.scratch);
        let w = p.matrix(Operand::own(name), u64::from(self.channels), u64::from(bytes), (channels, bytes));
        let row = Expr::work(block, i64::from(channels));
        Load(tile(w, row, Expr::default(), channels, bytes), Path::LoadL1, 1)
    }

    /// The states of an item's sequence and channels: the last taps but one.
    fn state(&self, p: &mut Program, names: &Names, (sequence, block): (usize, usize), channels: u32) -> Tile {
        let taps = self.width - 1;
        let bytes = channels * self.bytes;
        let rows = u64::from(self.batch);
        if self.tokens_first {
            let s = p.matrix(names.state.clone(), rows * u64::from(taps), self.row_bytes(), (taps, bytes));
            let row = Expr::work(sequence, i64::from(taps));
            tile(s, row, Expr::work(block, i64::from(bytes)), taps, bytes)
        } else {
            let s = p.matrix(names.state.clone(), rows, self.row_bytes() * u64::from(taps), (1, bytes * taps));
            tile(s, Expr::work(sequence, 1), Expr::work(block, i64::from(bytes * taps)), 1, bytes * taps)
        }
    }
}

/// A dependent load of a number: which sequence, which chunk, which slot.
fn number(p: &mut Program, table: u8) {
    let t = tile(table, Expr::default(), Expr::default(), 1, 8);
    p.fetch(&[Load(t, Path::LoadL1, 2)]);
}

/// `_causal_conv1d_fwd_kernel`: four warps take eight tokens of 256 channels, token after token, each load waited for.
///
/// # Errors
/// Sizes that are nothing, or too large to simulate.
pub fn convolution(c: &Convolution, spec: &GpuSpec, names: &Names) -> Result<Vec<Item>, String> {
    c.check()?;
    let (chunks, blocks) = (c.tokens.div_ceil(TOKENS), c.channels.div_ceil(CHANNELS));
    let n = u64::from(c.batch) * u64::from(chunks) * u64::from(blocks);
    countable(n)?;
    let mut items: Vec<[i32; WORK_VARS]> = Vec::with_capacity(n as usize);
    for d in 0..blocks {
        for b in 0..c.batch {
            for t in 0..chunks {
                items.push([b * c.tokens + t * TOKENS, d, b, u32::from(t > 0), u32::from(t == 0), 0].map(|x| x as i32));
            }
        }
    }
    // `device_linear.csv`: 652 instructions for eight tokens.
    let token = Code::new(65.0, (0.50, 0.35, 0.049), 2.0, 0.0);
    let name = format!("convolution {}x{} of {} channels", c.batch, c.tokens, c.channels);
    let mut p = Program::new(name, 4, 40, 0, spec).warm();
    p.items(items);
    let width = CHANNELS * c.bytes;
    let x = p.matrix(names.v.clone(), c.rows(), c.row_bytes(), (1, width));
    let o = p.matrix(names.output.clone(), c.rows(), c.row_bytes(), (1, width));
    let table = p.matrix(names.between("sequences"), 1, c.rows().div_ceil(u64::from(TOKENS)) * 8, (1, 32));
    let byte = Expr::work(1, i64::from(width));
    let row = |base: i64| {
        let mut row = Expr::work(0, 1);
        row.base = base;
        row
    };
    p.code(token.counting(60.0));
    // Which sequence and chunk, where the sequence begins, which slot its state has.
    for _ in 0..3 {
        number(&mut p, table);
    }
    let weights = c.weights(&mut p, names, (1, CHANNELS));
    p.loads(&[weights]);
    let taps = c.width - 1;
    p.repeat(Trips::Once(3, 0), |p| {
        p.fetch(&[Load(tile(x, row(-i64::from(taps)), byte, taps, width), Path::LoadL1, 3)]);
    });
    let state = c.state(&mut p, names, (2, 1), CHANNELS);
    p.repeat(Trips::Once(4, 0), |p| {
        // The last tokens of the sequence become its state.
        let last = row(i64::from(c.tokens.saturating_sub(taps)));
        p.fetch(&[Load(tile(x, last, byte, taps.min(c.tokens), width), Path::Load, 3)]);
        p.store(state);
    });
    p.wait(1);
    let at = |t| tile(t, row(0).plus_loop(0, 1), byte, 1, width);
    p.repeat(Trips::Const(TOKENS.min(c.tokens)), |p| {
        p.fetch(&[Load(at(x), Path::LoadL1, 0)]);
        p.code(token);
        p.store(at(o));
    });
    p.code(token.counting(20.0));
    Ok(vec![p.launch()])
}

/// `_causal_conv1d_update_kernel`: a CTA takes 256 channels of a sequence, its state and its new tokens (more than one where several are checked
/// at once).
///
/// # Errors
/// Sizes that are nothing, or too large to simulate.
pub fn convolution_update(c: &Convolution, spec: &GpuSpec, names: &Names) -> Result<Vec<Item>, String> {
    c.check()?;
    let channels = c.cta_channels.clamp(32, 1024);
    let blocks = c.channels.div_ceil(channels);
    countable(u64::from(c.batch) * u64::from(blocks))?;
    let mut items: Vec<[i32; WORK_VARS]> = Vec::new();
    for d in 0..blocks {
        items.extend((0..c.batch).map(|b| [b * c.tokens, d, b, 0, 0, 0].map(|x| x as i32)));
    }
    let token = Code::new(65.0, (0.50, 0.35, 0.049), 2.0, 0.0);
    let name = format!("convolution update {}x{} of {} channels", c.batch, c.tokens, c.channels);
    let mut p = Program::new(name, (channels / 64).max(2), 40, 0, spec).warm();
    p.items(items);
    let width = channels * c.bytes;
    let x = p.matrix(names.v.clone(), c.rows(), c.row_bytes(), (1, width));
    // In place.
    let o = p.matrix(names.v.clone(), c.rows(), c.row_bytes(), (1, width));
    let table = p.matrix(names.between("slots"), 1, u64::from(c.batch) * 4, (1, 32));
    let state = c.state(&mut p, names, (2, 1), channels);
    p.code(token.counting(60.0));
    number(&mut p, table);
    let weights = c.weights(&mut p, names, (1, channels));
    p.loads(&[weights]);
    p.fetch(&[Load(state, Path::Load, 3)]);
    let byte = Expr::work(1, i64::from(width));
    let at = |t| tile(t, Expr::work(0, 1).plus_loop(0, 1), byte, 1, width);
    // The new state: a token further.
    p.fetch(&[Load(tile(x, Expr::work(0, 1), byte, c.tokens.min(c.width - 1), width), Path::LoadL1, 0)]);
    p.store(state);
    p.wait(1);
    p.repeat(Trips::Const(c.tokens), |p| {
        p.fetch(&[Load(at(x), Path::LoadL1, 0)]);
        p.code(token);
        p.store(at(o));
    });
    p.code(token.counting(20.0));
    Ok(vec![p.launch()])
}

/// Sequences whose tokens lie side by side, `[batch, channels, tokens]` (`causal_conv1d_fwd_kernel` of `Dao-AILab/causal-conv1d`, which
/// TensorRT-LLM took over): a CTA of four warps takes a channel of a sequence, 1024 tokens a turn.
///
/// # Errors
/// Sizes that are nothing, or too large to simulate.
pub fn convolution_along(c: &Convolution, spec: &GpuSpec, names: &Names) -> Result<Vec<Item>, String> {
    c.check()?;
    let rows = u64::from(c.batch) * u64::from(c.channels);
    countable(rows)?;
    let turn = Code::new(150.0, (0.45, 0.35, 0.05), 2.0, 40.0);
    let mut p = Program::new(format!("convolution of {rows} rows of {}", c.tokens), 4, 40, 4224, spec).warm();
    let items =
        (0..c.batch).flat_map(|b| (0..c.channels).map(move |d| [(b * c.channels + d) as i32, d as i32, 0, 0, 0, 0]));
    p.items(items.collect());
    let bytes = SIDE_BY_SIDE.min(c.tokens) * c.bytes;
    let row_bytes = u64::from(c.tokens) * u64::from(c.bytes);
    let x = p.matrix(names.v.clone(), rows, row_bytes, (1, bytes));
    let o = p.matrix(names.output.clone(), rows, row_bytes, (1, bytes));
    let taps = c.width * c.weight_bytes;
    let w = p.matrix(
        Operand::own(format!("{}.weight", names.scratch)),
        u64::from(c.channels),
        u64::from(taps),
        (1, taps.max(32)),
    );
    let state = (c.width - 1) * c.bytes;
    let s = p.matrix(names.state.clone(), rows, u64::from(state), (1, state.max(32)));
    p.code(turn.counting(60.0));
    p.fetch(&[Load(tile(w, Expr::work(1, 1), Expr::default(), 1, taps), Path::LoadL1, 1)]);
    let at = |t| tile(t, Expr::work(0, 1), Expr::default().plus_loop(0, i64::from(bytes)), 1, bytes);
    p.repeat(Trips::Const(c.tokens.div_ceil(SIDE_BY_SIDE)), |p| {
        p.fetch(&[Load(at(x), Path::Load, 0)]);
        p.code(turn);
        p.store(at(o));
    });
    p.store(tile(s, Expr::work(0, 1), Expr::default(), 1, state));
    Ok(vec![p.launch()])
}
