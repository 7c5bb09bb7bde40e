//! What comes before the chunks: sums of gates, normalised queries and keys, scores within a chunk under a gate a channel.

use banksia_hw::gpu::program::{Dtype, Expr, Path, Trips, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::compiled::{BLOCK, Code, HEAD, KEY_HEAD, Load, Program, ROW, chunk_items, per_token, tile};
use super::{CHUNK, LinearCall, Names, countable, output};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::rows::{ElementWork, Elementwise, elementwise};

/// Tokens of a block within a chunk.
const SUB: u32 = 16;

/// PyTorch's fill of so many numbers of 16 bits: 128 threads of 8, 21 instructions a warp (`device_linear.csv`).
pub(super) fn fill(elements: u64, of: &Operand) -> Item {
    let work = ElementWork { fma: 0.0, alu: 1.0, sfu: 0.0, other: 1.6, stall: 2.5 };
    let elements = elements.max(1);
    let e = Elementwise { elements, inputs: 0, element_bytes: 2, per_cta: 1024, threads: 128, work };
    let mut kernel = elementwise(&e);
    kernel.name = format!("fill of {elements}");
    Item::kernel(kernel, [of.clone()])
}

/// PyTorch's exponential of so many numbers of fp32.
pub(super) fn exponential(elements: u64, from: &Operand, to: &Operand) -> Item {
    let work = ElementWork { fma: 2.0, alu: 1.0, sfu: 1.0, other: 2.0, stall: 2.5 };
    let elements = elements.max(1);
    let e = Elementwise { elements, inputs: 1, element_bytes: 4, per_cta: 512, threads: 128, work };
    let mut kernel = elementwise(&e);
    kernel.name = format!("exponential of {elements}");
    Item::kernel(kernel, [from.clone(), to.clone()])
}

/// An elementwise kernel of one CTA.
pub(super) fn tiny(spec: &GpuSpec, name: &str) -> Item {
    let work = ElementWork { fma: 1.0, alu: 4.0, sfu: 0.0, other: 2.0, stall: 2.5 };
    let e = Elementwise { elements: 64, inputs: 1, element_bytes: 4, per_cta: 1024, threads: 128, work };
    let mut kernel = elementwise(&e);
    kernel.name = name.to_owned();
    if let Some(role) = kernel.roles.first_mut() {
        role.ops.insert(0, super::setup(spec));
    }
    Item::kernel(kernel, [Operand::shared(name), Operand::shared(name)])
}

/// `chunk_local_cumsum_scalar_kernel`: a warp sums a chunk's gates of a head.
pub(super) fn scalar_sum(c: &LinearCall, spec: &GpuSpec, gate: &Operand, sum: &Operand) -> Result<Item, String> {
    let mut p = Program::new(format!("sums of gates {}x{}", c.batch, c.heads), 1, 16, 0, spec).warm();
    p.items(chunk_items(c, 1)?);
    let rows = CHUNK.min(c.tokens);
    let g = per_token(&mut p, c, gate, (c.heads, 1, 4), 8);
    let s = per_token(&mut p, c, sum, (c.heads, 1, 4), 8);
    let of = |t| tile(t, Expr::work(ROW, 1), Expr::work(HEAD, 4), rows, 4);
    p.fetch(&[Load(of(g), Path::Load, 0)]);
    p.code(Code::new(77.0, (0.23, 0.29, 0.0), 2.4, 12.0));
    p.store(of(s));
    Ok(p.launch())
}

/// `chunk_local_cumsum_vector_kernel`: two warps sum a chunk's gates of 64 channels, through shared memory; 16 bits in, 32 out.
pub(super) fn vector_sum(c: &LinearCall, spec: &GpuSpec, gate: &Operand, sum: &Operand) -> Result<Item, String> {
    let block = 64.min(c.key_dim);
    let name = format!("sums of gates {}x{} heads of {}", c.batch, c.heads, c.key_dim);
    let mut p = Program::new(name, 2, 126, 8192, spec);
    p.items(chunk_items(c, c.key_dim.div_ceil(64))?);
    let rows = CHUNK.min(c.tokens);
    let g = per_token(&mut p, c, gate, (c.heads, c.key_dim, 2), block);
    let s = per_token(&mut p, c, sum, (c.heads, c.key_dim, 4), block);
    let of = |t, bytes: u32| {
        let byte = Expr::work(HEAD, i64::from(c.key_dim * bytes)).plus_work(BLOCK, i64::from(block * bytes));
        tile(t, Expr::work(ROW, 1), byte, rows, block * bytes)
    };
    p.fetch(&[Load(of(g, 2), Path::Load, 0)]);
    p.code(Code::new(1016.0, (0.34, 0.34, 0.0), 1.45, 644.0));
    p.store(of(s, 4));
    Ok(p.launch())
}

/// `l2norm_fwd_kernel`: a warp takes eight rows of a head each.
pub(super) fn normalise(c: &LinearCall, spec: &GpuSpec, from: &Operand, to: &Operand) -> Result<Item, String> {
    let rows = c.rows().saturating_mul(u64::from(c.key_heads));
    let ctas = rows.div_ceil(8);
    countable(ctas)?;
    let bytes = c.key_dim * 2;
    let mut p = Program::new(format!("norms of {rows} rows of {}", c.key_dim), 1, 64, 32, spec).warm();
    p.items((0..ctas).map(|i| [i as i32, 0, 0, 0, 0, 0]).collect::<Vec<[i32; WORK_VARS]>>());
    let x = p.matrix(from.clone(), rows, u64::from(bytes), (8, bytes));
    let y = p.matrix(to.clone(), rows, u64::from(bytes), (8, bytes));
    let of = |t| tile(t, Expr::work(0, 8), Expr::default(), 8, bytes);
    p.fetch(&[Load(of(x), Path::Load, 0)]);
    p.code(Code::new(297.0 * f64::from(c.key_dim.div_ceil(128)), (0.41, 0.41, 0.027), 1.04, 22.0));
    p.store(of(y));
    Ok(p.launch())
}

/// GLA's scores within a chunk, between its blocks of sixteen tokens and within each.
pub(super) fn within(c: &LinearCall, spec: &GpuSpec, names: &Names, gate: &Operand) -> Result<[Item; 2], String> {
    Ok([between_blocks(c, spec, names, gate)?, in_blocks(c, spec, names, gate)?])
}

/// `chunk_gla_fwd_A_kernel_intra_sub_inter`: one warp a pair of blocks, sixteen CTAs a chunk of which six have one (the others end at once), steps
/// of 32 channels, one buffer; the product is in tf32.
fn between_blocks(c: &LinearCall, spec: &GpuSpec, names: &Names, gate: &Operand) -> Result<Item, String> {
    let (bk, steps) = (32.min(c.key_dim), c.key_dim.div_ceil(32));
    let step = Code::new(240.0, (0.40, 0.23, 0.085), 2.2, 60.0);
    let mut p = Program::new(format!("scores between blocks {}x{}", c.batch, c.heads), 1, 80, 8320, spec);
    let mut items = Vec::new();
    countable(u64::from(c.batch) * u64::from(c.heads) * u64::from(c.chunks()) * 16)?;
    for b in 0..c.batch {
        for h in 0..c.heads {
            for pair in 0..16 {
                let (i, j) = (pair / 4, pair % 4);
                for t in 0..c.chunks() {
                    let row = b * c.tokens + t * CHUNK;
                    let works = i > j && t * CHUNK + i * SUB < c.tokens;
                    items.push([row + i * SUB, row + j * SUB, h, h / c.group(), j, u32::from(works)].map(|x| x as i32));
                }
            }
        }
    }
    p.items(items);
    let q = per_token(&mut p, c, &names.q, (c.key_heads, c.key_dim, 2), bk);
    let k = per_token(&mut p, c, &names.k, (c.key_heads, c.key_dim, 2), bk);
    let g = per_token(&mut p, c, gate, (c.heads, c.key_dim, 4), bk);
    let a = per_token(&mut p, c, &names.between("scores"), (c.heads, CHUNK, output::score_bytes(c)), SUB);
    let at =
        |head: usize, bytes: u32| Expr::work(head, i64::from(c.key_dim * bytes)).plus_loop(1, i64::from(bk * bytes));
    let loads = [
        Load(tile(q, Expr::work(0, 1), at(3, 2), SUB, bk * 2), Path::AsyncRows, 0),
        Load(tile(g, Expr::work(0, 1), at(2, 4), SUB, bk * 4), Path::AsyncRows, 0),
        Load(tile(k, Expr::work(1, 1), at(3, 2), SUB, bk * 2), Path::AsyncRows, 0),
        Load(tile(g, Expr::work(1, 1), at(2, 4), SUB, bk * 4), Path::AsyncRows, 0),
    ];
    let bytes = output::score_bytes(c);
    let byte = Expr::work(2, i64::from(CHUNK * bytes)).plus_work(4, i64::from(SUB * bytes));
    p.code(step.counting(20.0));
    p.repeat(Trips::Once(5, 0), |p| {
        p.code(step.counting(480.0));
        p.repeat(Trips::Const(steps), |p| {
            // The gates of the block's first token, into registers.
            p.fetch(&[Load(tile(g, Expr::work(0, 1), at(2, 4), 1, bk * 4), Path::Load, 1)]);
            p.fetch(&loads);
            p.product(Dtype::Tf32, SUB, SUB, bk, step);
        });
        p.store(tile(a, Expr::work(0, 1), byte, SUB, SUB * bytes));
    });
    Ok(p.launch())
}

/// `chunk_gla_fwd_A_kernel_intra_sub_intra`: one warp holds sixteen queries and their gates in registers and takes the keys one by one, each
/// waited for; sums over channels on the lanes.
fn in_blocks(c: &LinearCall, spec: &GpuSpec, names: &Names, gate: &Operand) -> Result<Item, String> {
    let wide = f64::from(c.key_dim.next_power_of_two()) / 128.0;
    // `device_linear.csv`: 6623 instructions for sixteen keys of 128 channels.
    let turn = Code::new(395.0 * wide, (0.58, 0.12, 0.155), 2.76, 50.0);
    let mut p = Program::new(format!("scores in blocks {}x{}", c.batch, c.heads), 1, 168, 64, spec);
    let blocks = CHUNK.min(c.tokens).div_ceil(SUB);
    let mut items = chunk_items(c, blocks)?;
    for item in &mut items {
        item[ROW] += item[BLOCK] * SUB as i32;
    }
    p.items(items);
    let rows = SUB.min(c.tokens);
    let q = per_token(&mut p, c, &names.q, (c.key_heads, c.key_dim, 2), c.key_dim);
    let k = per_token(&mut p, c, &names.k, (c.key_heads, c.key_dim, 2), c.key_dim);
    let g = per_token(&mut p, c, gate, (c.heads, c.key_dim, 4), c.key_dim);
    let bytes = output::score_bytes(c);
    let a = per_token(&mut p, c, &names.between("scores"), (c.heads, CHUNK, bytes), SUB);
    let at = |head: usize, bytes: u32| Expr::work(head, i64::from(c.key_dim * bytes));
    let row = Expr::work(ROW, 1);
    p.code(turn.counting(300.0));
    p.fetch(&[
        Load(tile(q, row, at(KEY_HEAD, 2), rows, c.key_dim * 2), Path::Load, 0),
        Load(tile(g, row, at(HEAD, 4), rows, c.key_dim * 4), Path::LoadL1, 0),
    ]);
    let key = row.plus_loop(0, 1);
    p.repeat(Trips::Const(rows), |p| {
        p.fetch(&[
            Load(tile(k, key, at(KEY_HEAD, 2), 1, c.key_dim * 2), Path::Load, 1),
            Load(tile(g, key, at(HEAD, 4), 1, c.key_dim * 4), Path::LoadL1, 1),
        ]);
        p.code(turn);
    });
    let byte = Expr::work(HEAD, i64::from(CHUNK * bytes)).plus_work(BLOCK, i64::from(SUB * bytes));
    p.store(tile(a, row, byte, rows, SUB * bytes));
    Ok(p.launch())
}
