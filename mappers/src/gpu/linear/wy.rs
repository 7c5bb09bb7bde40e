//! The delta rule's triangular systems: products of keys, their inverse, and what follows for keys and values.

use banksia_hw::gpu::program::{Dtype, Expr, Path, Trips};
use banksia_hw::gpu::spec::GpuSpec;

use super::compiled::{Code, HEAD, KEY_HEAD, Load, Program, ROW, chunk_items, per_token, tile};
use super::{CHUNK, LinearCall, Names, Rule, Source, gates};
use crate::gpu::launch::{Item, Operand};

/// Tokens of a block of the triangular system.
const BLOCK: u32 = 16;

/// The inverse of each chunk's system, `[batch, tokens, heads, 64]` of 16 bits, over zeros: for the delta rule, and in TensorRT-LLM's older copy,
/// products of keys and their inverse are two kernels; else one.
pub(super) fn inverse(
    source: Source,
    c: &LinearCall,
    spec: &GpuSpec,
    names: &Names,
    gate: &Operand,
) -> Result<Vec<Item>, String> {
    let elements = c.rows().saturating_mul(u64::from(c.heads) * u64::from(CHUNK));
    let zeros = gates::fill(elements, &names.between("inverse"));
    Ok(if c.rule == Rule::Delta || source == Source::Trtllm {
        vec![key_products(c, spec, names, gate)?, zeros, solve(c, spec, names)?]
    } else {
        vec![zeros, products_and_solve(c, spec, names, gate)?]
    })
}

fn scalars(p: &mut Program, c: &LinearCall, names: &Names, gate: &Operand) -> Vec<Load> {
    let rows = CHUNK.min(c.tokens);
    let mut loads = Vec::new();
    let mut add = |of: &Operand, bytes: u32, p: &mut Program| {
        let t = per_token(p, c, of, (c.heads, 1, bytes), 8);
        let byte = Expr::work(HEAD, i64::from(bytes));
        loads.push(Load(tile(t, Expr::work(ROW, 1), byte, rows, bytes), Path::Load, 1));
    };
    add(&names.beta, 2, p);
    if c.rule.scalar_gate() {
        add(gate, 4, p);
    }
    loads
}

/// `chunk_scaled_dot_kkt_fwd_kernel`: four warps, steps of 64 key channels, three under way; fp32.
fn key_products(c: &LinearCall, spec: &GpuSpec, names: &Names, gate: &Operand) -> Result<Item, String> {
    let (bk, steps) = (64.min(c.key_dim), c.key_dim.div_ceil(64));
    let gated = if c.rule.scalar_gate() { 100.0 } else { 0.0 };
    let code = Code::new(459.0 + gated + 60.0 * f64::from(steps), (0.17, 0.54, 0.0), 1.35, 350.0);
    let name = format!("key products {}x{} heads of {}", c.batch, c.heads, c.key_dim);
    let mut p = Program::new(name, 4, 64, 24576, spec);
    p.items(chunk_items(c, 1)?);
    let rows = CHUNK.min(c.tokens);
    let k = per_token(&mut p, c, &names.k, (c.key_heads, c.key_dim, 2), bk);
    let loads = scalars(&mut p, c, names, gate);
    let a = per_token(&mut p, c, &names.between("products"), (c.heads, CHUNK, 4), CHUNK);
    let channels = Expr::work(KEY_HEAD, i64::from(c.key_dim * 2)).plus_loop(0, i64::from(bk * 2));
    let keys = Load(tile(k, Expr::work(ROW, 1), channels, rows, bk * 2), Path::AsyncRows, 0);
    p.code(code.counting(150.0));
    p.loads(&loads);
    p.repeat(Trips::Const(steps), |p| p.loads(&[keys]));
    p.repeat(Trips::Const(steps), |p| {
        p.wait(0);
        p.group_product(spec, (CHUNK, CHUNK, bk), code.counting(60.0));
    });
    p.wait(1);
    p.code(code.counting(309.0 + gated));
    p.store(tile(a, Expr::work(ROW, 1), Expr::work(HEAD, i64::from(CHUNK * 4)), rows, CHUNK * 4));
    Ok(p.launch())
}

/// `merge_16x16_to_64x64_inverse_kernel`: two warps; forward substitution of four blocks row by row, each row loaded again (it is in L1), then
/// products of blocks in fp32 on the FMA lanes.
fn solve(c: &LinearCall, spec: &GpuSpec, names: &Names) -> Result<Item, String> {
    // 56 rows, each a load from L1 that is waited for: 40 cycles.
    let rows_of_l1 = 56.0 * 40.0 / 7176.0;
    let turns = substitution_turns(c.tokens) / 56.0;
    let code = Code::new(7176.0, (0.35, 0.28, 0.0), 3.2 + rows_of_l1, 4400.0).part(0.35 + 0.65 * turns);
    let name = format!("triangular solve {}x{} heads", c.batch, c.heads);
    let mut p = Program::new(name, 2, 255, 10240, spec);
    p.items(chunk_items(c, 1)?);
    let rows = CHUNK.min(c.tokens);
    let a = per_token(&mut p, c, &names.between("products"), (c.heads, CHUNK, 4), CHUNK);
    let inverse = per_token(&mut p, c, &names.between("inverse"), (c.heads, CHUNK, 2), CHUNK);
    let row = Expr::work(ROW, 1);
    let at = |bytes: u32| Expr::work(HEAD, i64::from(CHUNK * bytes));
    // The blocks on the diagonal, then those below: ten of sixteen.
    let quarter = tile(a, row, at(4), rows, BLOCK * 4);
    p.fetch(&[Load(quarter, Path::Load, 0)]);
    p.code(code.part(0.6));
    p.fetch(&[Load(tile(a, row, at(4), rows, 2 * BLOCK * 4), Path::LoadL1, 0)]);
    p.code(code.part(0.4));
    p.store(tile(inverse, row, at(2), rows, CHUNK * 2 * 5 / 8));
    Ok(p.launch())
}

/// `chunk_gated_delta_rule_fwd_kkt_solve_kernel`: one warp, which holds the ten blocks of a chunk in registers. Keys come in steps of 64 channels,
/// and within a step block by block, each after a branch.
fn products_and_solve(c: &LinearCall, spec: &GpuSpec, names: &Names, gate: &Operand) -> Result<Item, String> {
    let (bk, steps) = (64.min(c.key_dim), c.key_dim.div_ceil(64));
    let per_step = 303.0;
    // A chunk of few tokens leaves out blocks: their products and their substitutions.
    let blocks = f64::from(c.tokens.min(CHUNK).div_ceil(BLOCK));
    let code = Code::new(8105.0 + per_step * f64::from(steps), (0.32, 0.38, 0.008), 2.3, 2000.0);
    let name = format!("key products and solve {}x{} heads of {}", c.batch, c.heads, c.key_dim);
    let mut p = Program::new(name, 1, 248, 7168, spec);
    p.items(chunk_items(c, 1)?);
    let rows = CHUNK.min(c.tokens);
    let loads = scalars(&mut p, c, names, gate);
    let k = per_token(&mut p, c, &names.k, (c.key_heads, c.key_dim, 2), bk);
    let inverse = per_token(&mut p, c, &names.between("inverse"), (c.heads, CHUNK, 2), CHUNK);
    let channels = Expr::work(KEY_HEAD, i64::from(c.key_dim * 2)).plus_loop(0, i64::from(bk * 2));
    p.code(code.counting(200.0));
    p.fetch(&loads);
    p.repeat(Trips::Const(steps), |p| {
        for block in 0..blocks as u32 {
            let mut row = Expr::work(ROW, 1);
            row.base += i64::from(block * BLOCK);
            p.fetch(&[Load(tile(k, row, channels, BLOCK.min(rows), bk * 2), Path::Load, 0)]);
            let m = BLOCK * (block + 1);
            p.product(Dtype::Bf16, BLOCK, m, bk, code.counting(per_step / blocks));
        }
    });
    // Substitution: fourteen turns a block; what is left are masks, gates and products of blocks.
    let turns = substitution_turns(c.tokens) / 56.0;
    p.code(code.counting(7905.0 * (0.35 + 0.65 * turns)));
    p.store(tile(inverse, Expr::work(ROW, 1), Expr::work(HEAD, i64::from(CHUNK * 2)), rows, CHUNK * 2 * 5 / 8));
    Ok(p.launch())
}

/// Turns of the substitution of a chunk of so many tokens: all but two rows of each block.
fn substitution_turns(tokens: u32) -> f64 {
    let tokens = tokens.min(CHUNK);
    (0..4).map(|b| tokens.saturating_sub(b * BLOCK).min(BLOCK).saturating_sub(2)).map(f64::from).sum()
}

/// `recompute_w_u_fwd_kernel`: four warps; the inverse times values and times keys, in blocks of 64 channels.
pub(super) fn recompute(
    source: Source,
    c: &LinearCall,
    spec: &GpuSpec,
    names: &Names,
    gate: &Operand,
) -> Result<Item, String> {
    let gated = c.rule.scalar_gate();
    // `device_linear.csv`: 778 and 1020 instructions for two blocks of values and two of keys, 1219 in the packed copies.
    let (values, keys, mix, stall, registers) = match (gated, source) {
        (false, _) => (115.0, 124.0, (0.20, 0.36, 0.0), 2.4, 102),
        (true, Source::Fla) => (130.0, 211.0, (0.28, 0.37, 0.004), 2.0, 116),
        (true, _) => (160.0, 270.0, (0.35, 0.35, 0.003), 1.9, 118),
    };
    let (nv, nk) = (c.value_dim.div_ceil(64), c.key_dim.div_ceil(64));
    let beside = 320.0;
    let all = beside + values * f64::from(nv) + keys * f64::from(nk);
    let code = Code::new(all, mix, stall, 400.0 * f64::from(nv + nk));
    let name = format!("w and u {}x{} heads of {}x{}", c.batch, c.heads, c.key_dim, c.value_dim);
    let mut p = Program::new(name, 4, registers, 32768, spec);
    p.items(chunk_items(c, 1)?);
    let rows = CHUNK.min(c.tokens);
    let (bk, bv) = (64.min(c.key_dim), 64.min(c.value_dim));
    let a = per_token(&mut p, c, &names.between("inverse"), (c.heads, CHUNK, 2), CHUNK);
    let v = per_token(&mut p, c, &names.v, (c.heads, c.value_dim, 2), bv);
    let k = per_token(&mut p, c, &names.k, (c.key_heads, c.key_dim, 2), bk);
    let u = per_token(&mut p, c, &names.between("u"), (c.heads, c.value_dim, 2), bv);
    let w = per_token(&mut p, c, &names.between("w"), (c.heads, c.key_dim, 2), bk);
    let loads = scalars(&mut p, c, names, gate);
    let row = Expr::work(ROW, 1);
    let at =
        |head: usize, size: u32, block: u32| Expr::work(head, i64::from(size * 2)).plus_loop(0, i64::from(block * 2));
    let inverse = tile(a, row, Expr::work(HEAD, i64::from(CHUNK * 2)), rows, CHUNK * 2);
    p.code(code.counting(beside));
    // Beta and the inverse first; gates only after the values.
    let (first, gates) = loads.split_at(1.min(loads.len()));
    let mut before = first.to_vec();
    before.push(Load(inverse, Path::Load, 1));
    p.fetch(&before);
    let gates: Vec<Load> = gates.iter().map(|l| Load(l.0, l.1, 2)).collect();
    for (n, from, to, head, size, block, count) in
        [(nv, v, u, HEAD, c.value_dim, bv, values), (nk, k, w, KEY_HEAD, c.key_dim, bk, keys)]
    {
        let read = Load(tile(from, row, at(head, size, block), rows, block * 2), Path::AsyncRows, 0);
        if head == KEY_HEAD {
            p.fetch(&gates);
        }
        p.repeat(Trips::Const(n), |p| p.loads(&[read]));
        p.repeat(Trips::Const(n), |p| {
            p.wait(0);
            p.group_product(spec, (CHUNK, block, CHUNK), code.counting(count));
            p.store(tile(to, row, at(HEAD, size, block), rows, block * 2));
        });
    }
    Ok(p.launch())
}
