//! States between chunks: a CTA holds a part of a head's state in registers and goes from chunk to chunk, leaving the state before each.

use banksia_hw::gpu::program::{Dtype, Expr, Path, Tile, Trips, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::compiled::{Code, Load, Program, per_token, tile};
use super::{CHUNK, LinearCall, Names, Rule, Source, countable};
use crate::gpu::launch::{Item, Operand};

/// Numbers of an item: its sequence's first token; the head of keys times the blocks of key channels, plus the block; the head; the block of
/// its sequence's state and of its first chunk's, in rows; the block of value channels.
const ROW: usize = 0;
const KEYS: usize = 1;
const HEAD: usize = 2;
const STATE: usize = 3;
const FIRST: usize = 4;
const VBLOCK: usize = 5;

/// Blocks of a head's state.
#[derive(Clone, Copy)]
struct Blocks {
    bk: u32,
    bv: u32,
    nk: u32,
    nv: u32,
}

impl Blocks {
    fn new(c: &LinearCall, bk: u32, bv: u32) -> Self {
        Self { bk, bv, nk: c.key_dim.div_ceil(bk), nv: c.value_dim.div_ceil(bv) }
    }

    /// A CTA for each block, those of the key channels first.
    fn items(self, c: &LinearCall) -> Result<Vec<[i32; WORK_VARS]>, String> {
        let heads = u64::from(c.batch) * u64::from(c.heads);
        let n = heads.saturating_mul(u64::from(self.nk) * u64::from(self.nv));
        countable(n)?;
        let mut all = Vec::with_capacity(n as usize);
        for b in 0..c.batch {
            for h in 0..c.heads {
                for v in 0..self.nv {
                    for k in 0..self.nk {
                        let state = (b * c.heads + h) * self.nk + k;
                        let first = (b * c.chunks() * c.heads + h) * self.nk + k;
                        all.push([b * c.tokens, h / c.group() * self.nk + k, h, state, first, v].map(|x| x as i32));
                    }
                }
            }
        }
        Ok(all)
    }

    fn rows(self) -> u64 {
        u64::from(self.nk) * u64::from(self.bk)
    }

    /// The state before the first chunk or after the last: `[batch, heads, key_dim, value_dim]`. Where it is written in other bytes than it is
    /// read, it lies apart.
    fn carried(self, p: &mut Program, c: &LinearCall, names: &Names, written: bool) -> Tile {
        let (read, write) = c.state_bytes;
        let bytes = if written { write } else { read };
        let apart = written && read != write;
        let of = if apart { names.between("state after") } else { names.state.clone() };
        let rows = u64::from(c.batch) * u64::from(c.heads) * self.rows();
        let row_bytes = u64::from(c.value_dim) * u64::from(bytes);
        let s = p.matrix(of, rows, row_bytes, (self.bk, self.bv * bytes));
        let byte = Expr::work(VBLOCK, i64::from(self.bv * bytes));
        tile(s, Expr::work(STATE, i64::from(self.bk)), byte, self.bk, self.bv * bytes)
    }

    /// The state before the loop's chunk: `[batch, chunks, heads, key_dim, value_dim]` of 16 bits.
    fn left(self, p: &mut Program, c: &LinearCall, names: &Names) -> Tile {
        let chunks = u64::from(c.batch) * u64::from(c.chunks()) * u64::from(c.heads);
        let row_bytes = u64::from(c.value_dim) * 2;
        let h = p.matrix(names.between("states"), chunks * self.rows(), row_bytes, (self.bk, self.bv * 2));
        let row = Expr::work(FIRST, i64::from(self.bk)).plus_loop(0, i64::from(c.heads) * self.rows() as i64);
        tile(h, row, Expr::work(VBLOCK, i64::from(self.bv * 2)), self.bk, self.bv * 2)
    }

    fn values(self, c: &LinearCall) -> Expr {
        Expr::work(HEAD, i64::from(c.value_dim * 2)).plus_work(VBLOCK, i64::from(self.bv * 2))
    }
}

fn chunk_row() -> Expr {
    Expr::work(ROW, 1).plus_loop(0, i64::from(CHUNK))
}

/// The same of the next chunk.
fn next(loads: &[Load]) -> Vec<Load> {
    let on = |Load(mut t, path, barrier): Load| {
        t.row.base += i64::from(CHUNK);
        Load(t, path, barrier)
    };
    loads.iter().copied().map(on).collect()
}

/// `chunk_fwd_kernel_h`: keys times values, decayed. One warp and blocks of 32 x 32, or of 64 x 32 for a constant decay: what Triton's tuning
/// picks of its first and its middle setting (`operators_kernels.jsonl`).
pub(super) fn plain(c: &LinearCall, spec: &GpuSpec, names: &Names, gate: &Operand) -> Result<Item, String> {
    let (bk, turn, beside, registers, shared) = match c.rule {
        Rule::Gla => (32, Code::new(773.0, (0.34, 0.33, 0.087), 1.59, 127.0), 398.0, 106, 17024),
        Rule::SimpleGla => (32, Code::new(550.0, (0.41, 0.36, 0.03), 1.31, 100.0), 300.0, 102, 8964),
        _ => (64, Code::new(843.0, (0.34, 0.42, 0.01), 0.77, 148.0), 500.0, 215, 16384),
    };
    let blocks = Blocks::new(c, bk, 32);
    let bv = blocks.bv;
    let name = format!("chunk states {}x{} heads of {}x{}", c.batch, c.heads, c.key_dim, c.value_dim);
    let mut p = Program::new(name, 1, registers, shared, spec);
    p.items(blocks.items(c)?);
    let rows = CHUNK.min(c.tokens);
    let k = per_token(&mut p, c, &names.k, (c.key_heads, c.key_dim, 2), bk);
    let v = per_token(&mut p, c, &names.v, (c.heads, c.value_dim, 2), bv);
    let keys = tile(k, chunk_row(), Expr::work(KEYS, i64::from(bk * 2)), rows, bk * 2);
    let values = tile(v, chunk_row(), blocks.values(c), rows, bv * 2);
    let mut loads = vec![Load(keys, Path::AsyncRows, 0), Load(values, Path::AsyncRows, 0)];
    if c.rule.vector_gate() {
        let g = per_token(&mut p, c, gate, (c.key_heads, c.key_dim, 4), bk);
        let gates = tile(g, chunk_row(), Expr::work(KEYS, i64::from(bk * 4)), rows, bk * 4);
        loads.push(Load(gates, Path::AsyncRows, 0));
    } else if c.rule.scalar_gate() {
        let g = per_token(&mut p, c, gate, (c.heads, 1, 4), 8);
        loads.push(Load(tile(g, chunk_row(), Expr::work(HEAD, 4), rows, 4), Path::AsyncRows, 0));
    }
    let left = blocks.left(&mut p, c, names);
    if c.carries_state {
        let state = blocks.carried(&mut p, c, names, false);
        p.fetch(&[Load(state, Path::Load, 1)]);
    }
    p.code(turn.counting(0.5 * beside));
    p.loads(&loads);
    p.repeat(Trips::Const(c.chunks()), |p| {
        p.store(left);
        p.wait(0);
        p.product(Dtype::Bf16, bk, bv, CHUNK, turn);
        // One buffer: the next chunk is asked for when this one has been used.
        p.ahead(&next(&loads));
    });
    p.code(turn.counting(0.5 * beside));
    if c.carries_state {
        let state = blocks.carried(&mut p, c, names, true);
        p.store(state);
    }
    Ok(p.launch())
}

/// `chunk_gated_delta_rule_fwd_kernel_h_blockdim64`: values are corrected by what the state holds, then written to it. Blocks of all key channels
/// x 32. fla's has two warps and one buffer (`operators_kernels.jsonl`), the frameworks' four warps (SGLang's source: `num_warps=4`,
/// `num_stages=2`).
pub(super) fn corrected(
    source: Source,
    c: &LinearCall,
    spec: &GpuSpec,
    names: &Names,
    (keys, gate): (&Operand, &Operand),
) -> Result<Item, String> {
    if c.key_dim > 256 {
        return Err(format!("keys of {}: this kernel has at most 256", c.key_dim));
    }
    let wide = f64::from(c.key_dim.div_ceil(64));
    let four = source != Source::Fla || c.rule == Rule::Kda;
    let gated = c.rule != Rule::Delta;
    let (warps, registers, turn, beside) = match (four, gated) {
        (false, false) => (2, 184, Code::new(277.0 + 198.0 * wide, (0.26, 0.30, 0.0), 2.15, 305.0 * wide), 318.0),
        (false, true) => (2, 194, Code::new(407.0 + 198.0 * wide, (0.31, 0.30, 0.006), 1.7, 342.0 * wide), 354.0),
        (true, false) => (4, 90, Code::new(139.0 + 100.0 * wide, (0.27, 0.28, 0.0), 3.0, 290.0 * wide), 233.0),
        (true, true) => (4, 106, Code::new(233.0 + 112.0 * wide, (0.28, 0.31, 0.006), 3.0, 290.0 * wide), 600.0),
    };
    let blocks = Blocks::new(c, c.key_dim, 32);
    let (bk, bv) = (blocks.bk, blocks.bv);
    let stage = CHUNK * (2 * bk + bv) * 2;
    let shared = if four { 2 * stage + 260 } else { stage + 10500 };
    let name = format!("delta states {}x{} heads of {}x{}", c.batch, c.heads, c.key_dim, c.value_dim);
    let mut p = Program::new(name, warps, registers, shared, spec);
    p.items(blocks.items(c)?);
    let rows = CHUNK.min(c.tokens);
    // Keys of KDA are those of each head, with its gates.
    let own_keys = c.rule == Rule::Kda;
    let (key_heads, key_head) = if own_keys { (c.heads, HEAD) } else { (c.key_heads, KEYS) };
    let w = per_token(&mut p, c, &names.between("w"), (c.heads, bk, 2), bk);
    let u = per_token(&mut p, c, &names.between("u"), (c.heads, c.value_dim, 2), bv);
    let k = per_token(&mut p, c, keys, (key_heads, bk, 2), bk);
    let wt = tile(w, chunk_row(), Expr::work(HEAD, i64::from(bk * 2)), rows, bk * 2);
    let ut = tile(u, chunk_row(), blocks.values(c), rows, bv * 2);
    let kt = tile(k, chunk_row(), Expr::work(key_head, i64::from(bk * 2)), rows, bk * 2);
    let mut first = vec![Load(wt, Path::AsyncRows, 0), Load(ut, Path::AsyncRows, 0)];
    let second = [Load(kt, Path::AsyncRows, 1)];
    let mut last_gates = None;
    if c.rule == Rule::Kda {
        let g = per_token(&mut p, c, gate, (c.heads, bk, 4), bk);
        let mut row = chunk_row();
        row.base += i64::from(rows - 1);
        last_gates = Some(Load(tile(g, row, Expr::work(HEAD, i64::from(bk * 4)), 1, bk * 4), Path::Load, 2));
    } else if gated {
        let g = per_token(&mut p, c, gate, (c.heads, 1, 4), 8);
        first.push(Load(tile(g, chunk_row(), Expr::work(HEAD, 4), rows, 4), Path::AsyncRows, 0));
    }
    let new = per_token(&mut p, c, &names.between("new values"), (c.heads, c.value_dim, 2), bv);
    let written = tile(new, chunk_row(), blocks.values(c), rows, bv * 2);
    let left = blocks.left(&mut p, c, names);
    if c.carries_state {
        let state = blocks.carried(&mut p, c, names, false);
        p.fetch(&[Load(state, Path::Load, 2)]);
    }
    p.code(turn.counting(0.5 * beside));
    p.loads(&first);
    p.loads(&second);
    p.repeat(Trips::Const(c.chunks()), |p| {
        p.store(left);
        p.wait(0);
        p.group_product(spec, (CHUNK, bv, bk), turn.part(0.5));
        p.store(written);
        if let Some(gates) = last_gates {
            p.fetch(&[gates]);
        }
        p.wait(1);
        p.group_product(spec, (bk, bv, CHUNK), turn.part(0.5));
        // Asked for together at the end of a turn: of a turn's 3000 cycles warps wait 900 for memory, with one buffer as with two
        // (`device_linear.csv`: 1.3 of `long_scoreboard` for each of 673 instructions, 1.9 for each of 457).
        p.ahead(&next(&[first.as_slice(), &second].concat()));
    });
    p.code(turn.counting(0.5 * beside));
    if c.carries_state {
        let state = blocks.carried(&mut p, c, names, true);
        p.store(state);
    }
    Ok(p.launch())
}
