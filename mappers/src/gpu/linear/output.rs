//! Results of chunks: queries times the state before the chunk, and scores within it times its values.

use banksia_hw::gpu::program::{Dtype, Expr, Path, Trips};
use banksia_hw::gpu::spec::GpuSpec;

use super::compiled::{BLOCK, Code, HEAD, KEY_HEAD, Load, Program, ROW, STATE, chunk_items, per_token, tile};
use super::{CHUNK, LinearCall, Names, Rule, Source};
use crate::gpu::launch::{Item, Operand};

/// `chunk_fwd_kernel_o`: four warps, a block of 64 value channels; key channels in steps of 64 of which three are under way (fla), or of 128
/// (SGLang's source: `BK=128`, `BV=64`, `num_stages=2`).
pub(super) fn scores(
    source: Source,
    c: &LinearCall,
    spec: &GpuSpec,
    names: &Names,
    values: &Operand,
    gate: &Operand,
) -> Result<Item, String> {
    let step = if source == Source::Fla { 64 } else { 128 };
    let steps = c.key_dim.div_ceil(step);
    let (bk, bv) = (step.min(c.key_dim), 64.min(c.value_dim));
    let per_step = 219.0 * f64::from(step / 64);
    let gated = c.rule.scalar_gate();
    let (beside, mix, stall, registers) = match (c.rule, gated) {
        (_, true) => (645.0, (0.23, 0.49, 0.03), 1.9, 141),
        (Rule::Retention, _) => (591.0, (0.25, 0.48, 0.031), 1.7, 123),
        _ => (516.0, (0.19, 0.49, 0.0), 1.5, 126),
    };
    let shared = if source == Source::Fla { 24576 * steps.clamp(1, 3) } else { 49152 };
    let name = format!("chunk results {}x{} heads of {}x{}", c.batch, c.heads, c.key_dim, c.value_dim);
    let mut p = Program::new(name, 4, registers, shared, spec);
    p.items(chunk_items(c, c.value_dim.div_ceil(64))?);
    let rows = CHUNK.min(c.tokens);
    let q = per_token(&mut p, c, &names.q, (c.key_heads, c.key_dim, 2), bk);
    let k = per_token(&mut p, c, &names.k, (c.key_heads, c.key_dim, 2), bk);
    let v = per_token(&mut p, c, values, (c.heads, c.value_dim, 2), bv);
    let h = states(&mut p, c, names, (bk, bv));
    let g = gated.then(|| per_token(&mut p, c, gate, (c.heads, 1, 4), 8));
    let o = per_token(&mut p, c, &names.output, (c.heads, c.value_dim, 2), bv);
    let row = Expr::work(ROW, 1);
    let channels = Expr::work(KEY_HEAD, i64::from(c.key_dim * 2)).plus_loop(0, i64::from(bk * 2));
    let block = Expr::work(HEAD, i64::from(c.value_dim * 2)).plus_work(BLOCK, i64::from(bv * 2));
    let stage = [
        Load(tile(q, row, channels, rows, bk * 2), Path::AsyncRows, 0),
        Load(tile(k, row, channels, rows, bk * 2), Path::AsyncRows, 0),
        Load(state(c, h, (bk, bv)), Path::AsyncRows, 0),
    ];
    let code = Code::new(beside + per_step * f64::from(steps), mix, stall, 250.0);
    p.code(code.counting(100.0));
    p.repeat(Trips::Const(steps), |p| p.loads(&stage));
    p.repeat(Trips::Const(steps), |p| {
        p.wait(0);
        p.group_product(spec, (CHUNK, bv + CHUNK, bk), code.counting(per_step));
    });
    // Gates are loaded into registers, and used, before the values are asked for.
    if let Some(g) = g {
        p.fetch(&[Load(tile(g, row, Expr::work(HEAD, 4), rows, 4), Path::Load, 1)]);
    }
    p.code(code.counting(0.5 * (beside - 100.0)));
    p.fetch(&[Load(tile(v, row, block, rows, bv * 2), Path::Load, 1)]);
    p.group_product(spec, (CHUNK, bv, CHUNK), code.counting(0.5 * (beside - 100.0)));
    p.store(tile(o, row, block, rows, bv * 2));
    Ok(p.launch())
}

/// The states that chunks left: `[batch, chunks, heads, key_dim, value_dim]` of 16 bits.
fn states(p: &mut Program, c: &LinearCall, names: &Names, (bk, bv): (u32, u32)) -> u8 {
    let chunks = u64::from(c.batch) * u64::from(c.chunks()) * u64::from(c.heads);
    let (keys, row_bytes) = (u64::from(c.key_dim), u64::from(c.value_dim) * 2);
    p.matrix(names.between("states"), chunks * keys, row_bytes, (bk, bv * 2))
}

/// A step's box of the state before the item's chunk.
fn state(c: &LinearCall, h: u8, (bk, bv): (u32, u32)) -> banksia_hw::gpu::program::Tile {
    let row = Expr::work(STATE, i64::from(c.key_dim)).plus_loop(0, i64::from(bk));
    tile(h, row, Expr::work(BLOCK, i64::from(bv * 2)), bk, bv * 2)
}

/// `chunk_gla_fwd_kernel_o`: two warps, blocks of 64 x 64 (`operators_kernels.jsonl`); queries and their gates are loaded into registers, step by
/// step, since they are multiplied before the product; then scores, which are there already.
pub(super) fn gated(
    c: &LinearCall,
    spec: &GpuSpec,
    names: &Names,
    (queries, values): (&Operand, &Operand),
    gate: &Operand,
) -> Result<Item, String> {
    let (bk, bv) = (64.min(c.key_dim), 64.min(c.value_dim));
    let steps = c.key_dim.div_ceil(64);
    // `device_linear.csv`: 2020 instructions for two steps.
    let code = Code::new(2020.0, (0.21, 0.47, 0.063), 2.45, 1100.0);
    let name = format!("gated chunk results {}x{} heads of {}x{}", c.batch, c.heads, c.key_dim, c.value_dim);
    let mut p = Program::new(name, 2, 255, 16384, spec);
    p.items(chunk_items(c, c.value_dim.div_ceil(64))?);
    let rows = CHUNK.min(c.tokens);
    let q = per_token(&mut p, c, queries, (c.key_heads, c.key_dim, 2), bk);
    let g = per_token(&mut p, c, gate, (c.heads, c.key_dim, 4), bk);
    let h = states(&mut p, c, names, (bk, bv));
    let v = per_token(&mut p, c, values, (c.heads, c.value_dim, 2), bv);
    let a = per_token(&mut p, c, &names.between("scores"), (c.heads, CHUNK, score_bytes(c)), CHUNK);
    let o = per_token(&mut p, c, &names.output, (c.heads, c.value_dim, 2), bv);
    let row = Expr::work(ROW, 1);
    let at =
        |head: usize, bytes: u32| Expr::work(head, i64::from(c.key_dim * bytes)).plus_loop(0, i64::from(bk * bytes));
    let block = Expr::work(HEAD, i64::from(c.value_dim * 2)).plus_work(BLOCK, i64::from(bv * 2));
    p.code(code.counting(200.0));
    p.repeat(Trips::Const(steps), |p| {
        // All 255 registers are taken, and some spilled: each load is waited for before what follows is asked for
        // (`device_linear.csv`: 7300 cycles of `long_scoreboard` in six waits).
        p.fetch(&[
            Load(tile(q, row, at(KEY_HEAD, 2), rows, bk * 2), Path::Load, 0),
            Load(tile(g, row, at(HEAD, 4), rows, bk * 4), Path::Load, 0),
        ]);
        p.code(code.counting(305.0));
        p.fetch(&[Load(state(c, h, (bk, bv)), Path::Load, 2)]);
        p.product(Dtype::Bf16, CHUNK, bv, bk, code.counting(305.0));
    });
    let (score_row, width) = (Expr::work(HEAD, i64::from(CHUNK * score_bytes(c))), CHUNK * score_bytes(c));
    p.fetch(&[Load(tile(v, row, block, rows, bv * 2), Path::Load, 1)]);
    p.fetch(&[Load(tile(a, row, score_row, rows, width), Path::Load, 1)]);
    p.product(Dtype::Bf16, CHUNK, bv, CHUNK, code.counting(600.0));
    p.store(tile(o, row, block, rows, bv * 2));
    Ok(p.launch())
}

/// Bytes of a score within a chunk: fp32 in GLA, 16 bits in KDA.
pub(super) fn score_bytes(c: &LinearCall) -> u32 {
    if c.rule == Rule::Kda { 2 } else { 4 }
}
