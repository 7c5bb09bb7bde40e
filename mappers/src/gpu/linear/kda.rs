//! Kimi delta attention: scores, triangular systems and gated keys of a chunk.

use banksia_hw::gpu::program::{Dtype, Expr, Path, Trips, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::compiled::{Code, HEAD, KEY_HEAD, Load, Program, ROW, chunk_items, per_token, tile};
use super::{CHUNK, LinearCall, Names, countable};
use crate::gpu::launch::{Item, Operand};

/// Tokens of a block.
const SUB: u32 = 16;

/// The launches between the sums of gates and the states.
pub(super) fn within(c: &LinearCall, spec: &GpuSpec, names: &Names, gate: &Operand) -> Result<Vec<Item>, String> {
    let elements = c.rows().saturating_mul(u64::from(c.heads) * u64::from(CHUNK));
    let zeros = super::gates::fill(elements, &names.between("inverse"));
    Ok(vec![
        zeros,
        token_scores(c, spec, names, gate)?,
        blocks_and_solve(c, spec, names, gate)?,
        recompute(c, spec, names, gate)?,
    ])
}

/// `chunk_kda_fwd_kernel_intra_token_parallel`: a warp takes a token and four heads, and goes over the up to sixteen keys of its block before it.
fn token_scores(c: &LinearCall, spec: &GpuSpec, names: &Names, gate: &Operand) -> Result<Item, String> {
    let heads = 4.min(c.heads);
    let groups = c.heads.div_ceil(heads);
    let ctas = c.rows().saturating_mul(u64::from(groups));
    countable(ctas)?;
    let wide = f64::from(c.key_dim.next_power_of_two()) / 128.0;
    // `device_linear.csv`: 1932 instructions, of 8.5 keys in the mean.
    let turn = Code::new(215.0 * wide, (0.49, 0.29, 0.072), 1.81, 20.0);
    let mut p = Program::new(format!("scores of tokens {}x{}", c.batch, c.heads), 1, 96, 0, spec);
    let mut items: Vec<[i32; WORK_VARS]> = Vec::with_capacity(ctas as usize);
    for g in 0..groups {
        for b in 0..c.batch {
            for t in 0..c.tokens {
                let block = t / SUB * SUB;
                let row = b * c.tokens;
                items.push([row + t, row + block, g, t - block + 1, 0, 0].map(|x| x as i32));
            }
        }
    }
    p.items(items);
    let width = heads * c.key_dim;
    let q = per_token(&mut p, c, &names.q, (c.key_heads, c.key_dim, 2), width);
    let k = per_token(&mut p, c, &names.k, (c.key_heads, c.key_dim, 2), width);
    let g = per_token(&mut p, c, gate, (c.heads, c.key_dim, 4), width);
    let s = per_token(&mut p, c, &names.between("scores"), (c.heads, CHUNK, 2), SUB);
    let d = per_token(&mut p, c, &names.between("diagonal"), (c.heads, SUB, 4), SUB);
    let at = |bytes: u32| Expr::work(2, i64::from(width * bytes));
    let row = Expr::work(0, 1);
    p.code(turn.counting(120.0));
    p.fetch(&[
        Load(tile(q, row, at(2), 1, width * 2), Path::Load, 0),
        Load(tile(k, row, at(2), 1, width * 2), Path::LoadL1, 0),
        Load(tile(g, row, at(4), 1, width * 4), Path::LoadL1, 0),
    ]);
    let key = Expr::work(1, 1).plus_loop(0, 1);
    p.repeat(Trips::Work(3, 0), |p| {
        p.fetch(&[
            Load(tile(k, key, at(2), 1, width * 2), Path::LoadL1, 1),
            Load(tile(g, key, at(4), 1, width * 4), Path::LoadL1, 1),
        ]);
        p.code(turn);
    });
    p.store(tile(s, row, Expr::work(2, i64::from(heads * CHUNK * 2)), 1, heads * SUB * 2));
    p.store(tile(d, row, Expr::work(2, i64::from(heads * SUB * 4)), 1, heads * SUB * 4));
    Ok(p.launch())
}

/// `chunk_kda_fwd_kernel_inter_solve_fused`: one warp, scores between blocks and the inverse of the system, steps of 32 channels.
fn blocks_and_solve(c: &LinearCall, spec: &GpuSpec, names: &Names, gate: &Operand) -> Result<Item, String> {
    let (bk, steps) = (32.min(c.key_dim), c.key_dim.div_ceil(32));
    let blocks = CHUNK.min(c.tokens).div_ceil(SUB);
    // `device_linear.csv`: 15342 instructions for four steps; the substitution is the gated delta rule's.
    let step = Code::new(1800.0, (0.41, 0.27, 0.038), 1.36, 500.0);
    let mut p = Program::new(format!("blocks and solve {}x{}", c.batch, c.heads), 1, 255, 6144, spec);
    p.items(chunk_items(c, 1)?);
    let rows = CHUNK.min(c.tokens);
    let q = per_token(&mut p, c, &names.q, (c.key_heads, c.key_dim, 2), bk);
    let k = per_token(&mut p, c, &names.k, (c.key_heads, c.key_dim, 2), bk);
    let g = per_token(&mut p, c, gate, (c.heads, c.key_dim, 4), bk);
    let d = per_token(&mut p, c, &names.between("diagonal"), (c.heads, SUB, 4), SUB);
    let s = per_token(&mut p, c, &names.between("scores"), (c.heads, CHUNK, 2), CHUNK);
    let a = per_token(&mut p, c, &names.between("inverse"), (c.heads, CHUNK, 2), CHUNK);
    let at =
        |head: usize, bytes: u32| Expr::work(head, i64::from(c.key_dim * bytes)).plus_loop(0, i64::from(bk * bytes));
    p.code(step.counting(300.0));
    p.repeat(Trips::Const(steps), |p| {
        for block in 0..blocks {
            let mut row = Expr::work(ROW, 1);
            row.base += i64::from(block * SUB);
            let rows = SUB.min(rows);
            p.fetch(&[
                Load(tile(q, row, at(KEY_HEAD, 2), rows, bk * 2), Path::Load, 0),
                Load(tile(k, row, at(KEY_HEAD, 2), rows, bk * 2), Path::Load, 0),
                Load(tile(g, row, at(HEAD, 4), rows, bk * 4), Path::Load, 0),
            ]);
            p.product(Dtype::Tf32, SUB, 2 * SUB * (block + 1), bk, step.part(1.0 / f64::from(blocks)));
        }
    });
    let row = Expr::work(ROW, 1);
    p.fetch(&[Load(tile(d, row, Expr::work(HEAD, i64::from(SUB * 4)), rows, SUB * 4), Path::Load, 1)]);
    p.code(step.counting(7842.0));
    let byte = Expr::work(HEAD, i64::from(CHUNK * 2));
    p.store(tile(s, row, byte, rows, CHUNK));
    p.store(tile(a, row, byte, rows, CHUNK * 2 * 5 / 8));
    Ok(p.launch())
}

/// `recompute_w_u_fwd_kda_kernel`: as the gated delta rule's, and keys with their gates besides.
fn recompute(c: &LinearCall, spec: &GpuSpec, names: &Names, gate: &Operand) -> Result<Item, String> {
    let (nv, nk) = (c.value_dim.div_ceil(64), c.key_dim.div_ceil(64));
    let (values, keys, beside) = (130.0, 545.0, 320.0);
    let all = beside + values * f64::from(nv) + keys * f64::from(nk);
    let code = Code::new(all, (0.33, 0.35, 0.077), 2.6, 700.0 * f64::from(nv + nk));
    let mut p = Program::new(format!("w, u and keys {}x{}", c.batch, c.heads), 4, 128, 65536, spec);
    p.items(chunk_items(c, 1)?);
    let rows = CHUNK.min(c.tokens);
    let (bk, bv) = (64.min(c.key_dim), 64.min(c.value_dim));
    let a = per_token(&mut p, c, &names.between("inverse"), (c.heads, CHUNK, 2), CHUNK);
    let b = per_token(&mut p, c, &names.beta, (c.heads, 1, 2), 8);
    let v = per_token(&mut p, c, &names.v, (c.heads, c.value_dim, 2), bv);
    let k = per_token(&mut p, c, &names.k, (c.key_heads, c.key_dim, 2), bk);
    let g = per_token(&mut p, c, gate, (c.heads, c.key_dim, 4), bk);
    let u = per_token(&mut p, c, &names.between("u"), (c.heads, c.value_dim, 2), bv);
    let w = per_token(&mut p, c, &names.between("w"), (c.heads, c.key_dim, 2), bk);
    let kg = per_token(&mut p, c, &names.between("gated keys"), (c.heads, c.key_dim, 2), bk);
    let row = Expr::work(ROW, 1);
    let at = |head: usize, size: u32, block: u32, bytes: u32| {
        Expr::work(head, i64::from(size * bytes)).plus_loop(0, i64::from(block * bytes))
    };
    p.code(code.counting(beside));
    p.fetch(&[
        Load(tile(b, row, Expr::work(HEAD, 2), rows, 2), Path::Load, 1),
        Load(tile(a, row, Expr::work(HEAD, i64::from(CHUNK * 2)), rows, CHUNK * 2), Path::Load, 1),
    ]);
    let value = |t| tile(t, row, at(HEAD, c.value_dim, bv, 2), rows, bv * 2);
    let key = |t, head| tile(t, row, at(head, c.key_dim, bk, 2), rows, bk * 2);
    p.repeat(Trips::Const(nv), |p| p.loads(&[Load(value(v), Path::AsyncRows, 0)]));
    p.repeat(Trips::Const(nv), |p| {
        p.wait(0);
        p.group_product(spec, (CHUNK, bv, CHUNK), code.counting(values));
        p.store(value(u));
    });
    let gates = tile(g, row, at(HEAD, c.key_dim, bk, 4), rows, bk * 4);
    let loads = [Load(key(k, KEY_HEAD), Path::AsyncRows, 2), Load(gates, Path::AsyncRows, 2)];
    p.repeat(Trips::Const(nk), |p| p.loads(&loads));
    p.repeat(Trips::Const(nk), |p| {
        p.wait(2);
        p.group_product(spec, (CHUNK, bk, CHUNK), code.counting(keys));
        p.store(key(w, HEAD));
        p.store(key(kg, HEAD));
    });
    Ok(p.launch())
}
