//! Gradients of chunked linear attention: what flash-linear-attention launches for each rule.
//!
//! States are computed again and gradients of states run from the last chunk to the first, a CTA a part of a head's state. Everything else is a CTA a chunk, head and block of channels.
//! Grids, warps, registers and shared memory of gated linear attention are those of its launches (`operators_kernels.jsonl`); of the other rules those of the source's middle setting.
//!
//! Instructions of a warp, where no profile has them: 4.8 for each of its `mma.sync` with fragments and addresses, 5 for an element that is gated (difference, exponential, product,
//! conversions), 2 for one that is masked or summed, 100 a block of loads: what the forward kernels' counted ones come to (`device_linear.csv`: 305 for a product of 64 x 64 x 64
//! by two warps, as many for 64 gated elements a lane). Products that the source keeps in single precision (`allow_tf32=False`) run on the FMA lanes, with a load from shared memory for
//! every second of them.

use banksia_hw::gpu::program::{Dtype, Expr, Path, Tile, Trips};
use banksia_hw::gpu::spec::GpuSpec;

use super::compiled::{BLOCK, Code, HEAD, KEY_HEAD, Load, Program, ROW, STATE, chunk_items, per_token, tile};
use super::{CHUNK, LinearCall, Names, Rule, Source, gates, kda, recurrent, state, wy};
use crate::gpu::fused::{convert, strided_copy};
use crate::gpu::launch::{Item, Operand};

/// Memory of the gradients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gradients {
    /// Of queries.
    pub q: Operand,
    /// Of keys.
    pub k: Operand,
    /// Of values.
    pub v: Operand,
    /// Of gates.
    pub gate: Operand,
    /// Of how strongly keys write.
    pub beta: Operand,
}

impl Gradients {
    /// Operands named after an operator.
    pub fn of(operator: &str) -> Self {
        let shared = |name: &str| Operand::shared(format!("{operator}.d_{name}"));
        Self { q: shared("q"), k: shared("k"), v: shared("v"), gate: shared("gate"), beta: shared("beta") }
    }
}

const PER_MMA: f64 = 4.8;
const GATED: f64 = 5.0;
const SUMMED: f64 = 2.0;
const LOADS: f64 = 100.0;
/// Shares of the lanes, and cycles that a warp waits after an instruction, as of the forward kernel of gated results.
const MIX: (f64, f64, f64) = (0.25, 0.45, 0.06);
const STALL: f64 = 2.0;

/// The code of a block: products of so many multiply-adds by `mma.sync`, elements that are gated and that are summed.
fn block(warps: u32, fma: f64, gated: f64, summed: f64) -> Code {
    let w = f64::from(warps);
    let count = LOADS + PER_MMA * fma / 2048.0 / w + (GATED * gated + SUMMED * summed) / 32.0 / w;
    Code::new(count, MIX, STALL, (fma / 2048.0 * 768.0 + 4.0 * (gated + summed)) / 128.0)
}

/// A product in single precision on the FMA lanes.
fn single(p: &mut Program, warps: u32, [m, n, k]: [u32; 3]) {
    let fma = f64::from(m) * f64::from(n) * f64::from(k);
    let count = 1.5 * fma / 32.0 / f64::from(warps);
    p.code(Code::new(count, (0.66, 0.05, 0.0), 0.8, 0.5 * fma * 4.0 / 128.0));
}

/// A kernel of which a CTA is a chunk, a head and a block of channels.
struct Chunked<'a> {
    c: &'a LinearCall,
    spec: &'a GpuSpec,
    p: Program,
    warps: u32,
    rows: u32,
}

impl<'a> Chunked<'a> {
    fn new(
        c: &'a LinearCall,
        spec: &'a GpuSpec,
        what: &str,
        blocks: u32,
        (warps, registers, shared): (u32, u32, u32),
    ) -> Result<Self, String> {
        let name = format!("{what} {}x{} heads of {}x{}", c.batch, c.heads, c.key_dim, c.value_dim);
        let mut p = Program::new(name, warps, registers, shared, spec);
        p.items(chunk_items(c, blocks)?);
        Ok(Self { c, spec, p, warps, rows: CHUNK.min(c.tokens) })
    }

    /// A block of so many of a head's channels, the item's own (`own`) or the loop's.
    fn of_token(&mut self, of: &Operand, [size, bytes, width]: [u32; 3], keys: bool, own: bool) -> Tile {
        let heads = if keys { self.c.key_heads } else { self.c.heads };
        let t = per_token(&mut self.p, self.c, of, (heads, size, bytes), width);
        let head = if keys { KEY_HEAD } else { HEAD };
        let step = i64::from(width * bytes);
        let byte = Expr::work(head, i64::from(size * bytes));
        let byte = if own { byte.plus_work(BLOCK, step) } else { byte.plus_loop(0, step) };
        tile(t, Expr::work(ROW, 1), byte, self.rows, width * bytes)
    }

    /// The chunk's scores of a head, `[batch, tokens, heads, 64]`.
    fn scores(&mut self, of: &Operand, bytes: u32) -> Tile {
        let t = per_token(&mut self.p, self.c, of, (self.c.heads, CHUNK, bytes), CHUNK);
        tile(t, Expr::work(ROW, 1), Expr::work(HEAD, i64::from(CHUNK * bytes)), self.rows, CHUNK * bytes)
    }

    /// A number a token and head.
    fn scalar(&mut self, of: &Operand, bytes: u32) -> Tile {
        let t = per_token(&mut self.p, self.c, of, (self.c.heads, 1, bytes), 8);
        tile(t, Expr::work(ROW, 1), Expr::work(HEAD, i64::from(bytes)), self.rows, bytes)
    }

    /// A part of the chunk's state of so many key and value channels: the item's block along values or keys, the loop's along the other.
    fn state(&mut self, of: &Operand, bytes: u32, [bk, bv]: [u32; 2], loop_over_keys: bool) -> Tile {
        let c = self.c;
        let chunks = u64::from(c.batch) * u64::from(c.chunks()) * u64::from(c.heads);
        let row_bytes = u64::from(c.value_dim) * u64::from(bytes);
        let t = self.p.matrix(of.clone(), chunks * u64::from(c.key_dim), row_bytes, (bk, bv * bytes));
        let row = Expr::work(STATE, i64::from(c.key_dim));
        let (row, byte) = if loop_over_keys {
            (row.plus_loop(0, i64::from(bk)), Expr::work(BLOCK, i64::from(bv * bytes)))
        } else {
            (row.plus_work(BLOCK, i64::from(bk)), Expr::default().plus_loop(0, i64::from(bv * bytes)))
        };
        tile(t, row, byte, bk, bv * bytes)
    }

    fn fetch(&mut self, tiles: &[Tile], path: Path, barrier: u8) {
        let loads: Vec<Load> = tiles.iter().map(|t| Load(*t, path, barrier)).collect();
        self.p.fetch(&loads);
    }

    fn product(&mut self, [m, n, k]: [u32; 3], gated: u32, summed: u32) {
        let fma = f64::from(m) * f64::from(n) * f64::from(k);
        let code = block(self.warps, fma, f64::from(gated), f64::from(summed));
        if self.spec.tensor.warpgroup && self.warps >= 4 && m >= 64 && gated == 0 {
            // By warpgroups operands stay in shared memory.
            let code = block(self.warps, 0.0, 0.0, f64::from(summed));
            self.p.group_product(self.spec, (m, n, k), code);
        } else {
            self.p.product(Dtype::Bf16, m, n, k, code);
        }
    }
}

/// States or their gradients, chunk after chunk in either direction: a CTA holds `bk` x `bv` of a head's, leaves what it has before each chunk, and adds what the chunk gives: so many products of
/// the part by the chunk's tokens.
struct Passed<'a> {
    what: &'a str,
    part: [u32; 2],
    warps: u32,
    takes: (u32, u32),
    products: u32,
    /// Read each chunk: memory, channels of a head in all, bytes of a number, whether the block is of keys.
    reads: &'a [(Operand, u32, u32, bool)],
    /// Written each chunk: `[tokens, heads, value_dim]`.
    writes: Option<Operand>,
    state: Operand,
    state_bytes: u32,
    gated: bool,
}

fn passed(c: &LinearCall, spec: &GpuSpec, s: &Passed<'_>) -> Result<Item, String> {
    let [bk, bv] = [s.part[0].min(c.key_dim), s.part[1].min(c.value_dim)];
    let (nk, nv) = (c.key_dim.div_ceil(bk), c.value_dim.div_ceil(bv));
    super::countable(u64::from(c.batch) * u64::from(c.heads) * u64::from(nk) * u64::from(nv))?;
    let name = format!("{} {}x{} heads of {}x{}", s.what, c.batch, c.heads, c.key_dim, c.value_dim);
    let mut p = Program::new(name, s.warps, s.takes.0, s.takes.1, spec);
    let mut items = Vec::new();
    for b in 0..c.batch {
        for h in 0..c.heads {
            for v in 0..nv {
                for k in 0..nk {
                    // The last chunk's first token, the block of keys, the head, the last chunk's state, the block of values.
                    let last = c.chunks().saturating_sub(1);
                    let state = (b * c.chunks() + last) * c.heads + h;
                    items.push([b * c.tokens + last * CHUNK, h / c.group(), h, state, k, v].map(|x| x as i32));
                }
            }
        }
    }
    p.items(items);
    let rows = CHUNK.min(c.tokens);
    let row = Expr::work(0, 1).plus_loop(0, -i64::from(CHUNK));
    let mut loads = Vec::new();
    for (of, size, bytes, keys) in s.reads {
        let (block, var) = if *keys { (bk, 4) } else { (bv, 5) };
        let t = per_token(&mut p, c, of, (c.heads, *size, *bytes), block);
        let byte = Expr::work(2, i64::from(size * bytes)).plus_work(var, i64::from(block * bytes));
        let width = if *size == 1 { *bytes } else { block * bytes };
        let byte = if *size == 1 { Expr::work(2, i64::from(*bytes)) } else { byte };
        loads.push(Load(tile(t, row, byte, rows, width), Path::AsyncRows, 0));
    }
    let states = u64::from(c.batch) * u64::from(c.chunks()) * u64::from(c.heads) * u64::from(c.key_dim);
    let t = p.matrix(s.state.clone(), states, u64::from(c.value_dim * s.state_bytes), (bk, bv * s.state_bytes));
    let at = Expr::work(3, i64::from(c.key_dim)).plus_work(4, i64::from(bk));
    let at = at.plus_loop(0, -i64::from(c.heads) * i64::from(c.key_dim));
    let left = tile(t, at, Expr::work(5, i64::from(bv * s.state_bytes)), bk, bv * s.state_bytes);
    let written = s.writes.as_ref().map(|of| {
        let t = per_token(&mut p, c, of, (c.heads, c.value_dim, 2), bv);
        let byte = Expr::work(2, i64::from(c.value_dim * 2)).plus_work(5, i64::from(bv * 2));
        tile(t, row, byte, rows, bv * 2)
    });
    let gated = if s.gated { f64::from(CHUNK * bk) } else { 0.0 };
    let fma = f64::from(bk) * f64::from(bv) * f64::from(CHUNK);
    let code = block(s.warps, fma, gated, f64::from(bk * bv));
    let next: Vec<Load> = loads
        .iter()
        .map(|&Load(mut t, path, barrier)| {
            t.row.base -= i64::from(CHUNK);
            Load(t, path, barrier)
        })
        .collect();
    p.code(code.counting(200.0));
    p.loads(&loads);
    p.repeat(Trips::Const(c.chunks()), |p| {
        p.store(left);
        p.wait(0);
        for i in 0..s.products.max(1) {
            // The first has the gates.
            let code = if i == 0 { code } else { block(s.warps, fma, 0.0, 0.0) };
            p.product(Dtype::Bf16, bk, bv, CHUNK, code);
        }
        if let Some(written) = written {
            p.store(written);
        }
        p.ahead(&next);
    });
    Ok(p.launch())
}

/// Names of what the gradient's kernels hand to each other.
fn between(n: &Names, name: &str) -> Operand {
    n.between(name)
}

/// Gated linear attention, from the gradient of its results (`names.output`).
fn gated(c: &LinearCall, spec: &GpuSpec, n: &Names, d: &Gradients) -> Result<Vec<Item>, String> {
    let gate = between(n, "decay");
    let (bk, bv) = (64.min(c.key_dim), 64.min(c.value_dim));
    let (nk, nv) = (c.key_dim.div_ceil(64), c.value_dim.div_ceil(64));
    let (keys, values) = (c.key_dim, c.value_dim);
    let dy = &n.output;
    let (h, dh) = (between(n, "states"), between(n, "d_states"));
    let mut items = vec![gates::vector_sum(c, spec, &n.gate, &gate)?];
    let forward = [(n.k.clone(), keys, 2, true), (n.v.clone(), values, 2, false), (gate.clone(), keys, 4, true)];
    items.push(passed(
        c,
        spec,
        &Passed {
            what: "chunk states",
            part: [32, 64],
            warps: 2,
            takes: (105, 90880),
            products: 1,
            reads: &forward,
            writes: None,
            state: h.clone(),
            state_bytes: 4,
            gated: true,
        },
    )?);
    let backward = [(n.q.clone(), keys, 2, true), (dy.clone(), values, 2, false), (gate.clone(), keys, 4, true)];
    items.push(passed(
        c,
        spec,
        &Passed {
            what: "chunk state gradients",
            part: [32, 64],
            warps: 8,
            takes: (48, 49152),
            products: 1,
            reads: &backward,
            writes: None,
            state: dh.clone(),
            state_bytes: 4,
            gated: true,
        },
    )?);
    // Of values: scores transposed by the results' gradient, in single precision, and keys gated by the states' gradient.
    let mut k = Chunked::new(c, spec, "value gradients", nv, (8, 94, 45312))?;
    let (scores, own) = (k.scores(&between(n, "scores"), 4), k.of_token(dy, [values, 2, bv], false, true));
    let of_keys = [k.of_token(&n.k, [keys, 2, bk], true, false), k.of_token(&gate, [keys, 4, bk], false, false)];
    let of_state = k.state(&dh, 4, [bk, bv], true);
    let out = k.of_token(&d.v, [values, 2, bv], false, true);
    k.fetch(&[scores, own], Path::Load, 0);
    single(&mut k.p, 8, [CHUNK, bv, CHUNK]);
    turns(&mut k, nk, |k| {
        k.fetch(&of_keys, Path::Load, 1);
        k.fetch(&[of_state], Path::Load, 2);
        k.product([CHUNK, bv, bk], CHUNK * bk, 0);
    });
    k.p.store(out);
    items.push(k.p.launch());
    // Of scores: the results' gradient by values.
    let mut k = Chunked::new(c, spec, "score gradients", 1, (8, 42, 49152))?;
    let stage = [k.of_token(dy, [values, 2, bv], false, false), k.of_token(&n.v, [values, 2, bv], false, false)];
    let out = k.scores(&between(n, "d_scores"), 4);
    let loads: Vec<Load> = stage.iter().map(|t| Load(*t, Path::AsyncRows, 0)).collect();
    turns(&mut k, nv, |k| k.p.loads(&loads));
    turns(&mut k, nv, |k| {
        k.p.wait(0);
        k.product([CHUNK, CHUNK, bv], 0, CHUNK * CHUNK / nv.max(1));
    });
    k.p.store(out);
    items.push(k.p.launch());
    items.push(within(c, spec, n, &gate)?);
    // Between chunks: queries', keys' and gates', by states and their gradients.
    let mut k = Chunked::new(c, spec, "gradients between chunks", nk, (4, 255, 73728))?;
    let tokens = [k.of_token(dy, [values, 2, bv], false, false), k.of_token(&n.v, [values, 2, bv], false, false)];
    let of_states = [k.state(&h, 4, [bk, bv], false), k.state(&dh, 4, [bk, bv], false)];
    let own = [
        k.of_token(&n.q, [keys, 2, bk], true, true),
        k.of_token(&n.k, [keys, 2, bk], true, true),
        k.of_token(&gate, [keys, 4, bk], false, true),
        k.of_token(&between(n, "d_q"), [keys, 4, bk], false, true),
        k.of_token(&between(n, "d_k"), [keys, 4, bk], false, true),
    ];
    let outs =
        ["d_q_all", "d_k_all", "d_gate_all"].map(|name| k.of_token(&between(n, name), [keys, 4, bk], false, true));
    turns(&mut k, nv, |k| {
        k.fetch(&tokens, Path::Load, 0);
        k.fetch(&of_states, Path::Load, 1);
        k.product([CHUNK, bk, bv], 0, 2 * bk * bv);
        k.product([CHUNK, bk, bv], 0, 0);
    });
    k.fetch(&own, Path::Load, 2);
    k.p.code(block(4, 0.0, f64::from(2 * CHUNK * bk), f64::from(4 * CHUNK * bk)));
    // Sums of gates' gradients from the chunk's end, as a product with a triangle of ones.
    single(&mut k.p, 4, [CHUNK, bk, CHUNK]);
    outs.iter().for_each(|t| k.p.store(*t));
    items.push(k.p.launch());
    let elements = c.rows() * u64::from(c.heads) * u64::from(keys);
    for (from, to) in [("d_q_all", &d.q), ("d_k_all", &d.k), ("d_gate_all", &d.gate)] {
        items.push(Item::kernel(convert(elements, 4, 2), [between(n, from), to.clone()]));
    }
    Ok(items)
}

fn turns<'a>(k: &mut Chunked<'a>, n: u32, body: impl FnOnce(&mut Chunked<'a>)) {
    k.p.open(Trips::Const(n.max(1)));
    body(k);
    k.p.close();
}

/// `chunk_gla_bwd_kernel_intra`: one warp holds sixteen tokens of 64 channels; for its blocks before (queries) and after (keys) a product each, and within it token after token, each loaded and waited
/// for, twice.
fn within(c: &LinearCall, spec: &GpuSpec, n: &Names, gate: &Operand) -> Result<Item, String> {
    const SUB: u32 = 16;
    let (bk, nk) = (64.min(c.key_dim), c.key_dim.div_ceil(64));
    let blocks = CHUNK.min(c.tokens).div_ceil(SUB);
    let mut p = Program::new(format!("gradients within chunks {}x{}", c.batch, c.heads), 1, 219, 11264, spec);
    let mut all = Vec::new();
    for item in chunk_items(c, blocks)? {
        for k in 0..nk {
            let mut own = item;
            own[5] = k as i32;
            own[ROW] += own[BLOCK] * SUB as i32;
            all.push(own);
        }
    }
    super::countable(all.len() as u64)?;
    p.items(all);
    let rows = SUB.min(c.tokens);
    let tensor =
        |p: &mut Program, of: &Operand, heads: u32, bytes: u32| per_token(p, c, of, (heads, c.key_dim, bytes), bk);
    let (q, k) = (tensor(&mut p, &n.q, c.key_heads, 2), tensor(&mut p, &n.k, c.key_heads, 2));
    let g = tensor(&mut p, gate, c.heads, 4);
    let scores = per_token(&mut p, c, &between(n, "d_scores"), (c.heads, CHUNK, 4), SUB);
    let outs = ["d_q", "d_k"].map(|name| tensor(&mut p, &between(n, name), c.heads, 4));
    let at =
        |head: usize, bytes: u32| Expr::work(head, i64::from(c.key_dim * bytes)).plus_work(5, i64::from(bk * bytes));
    let own = |t: u8, head: usize, bytes: u32| tile(t, Expr::work(ROW, 1), at(head, bytes), rows, bk * bytes);
    let of_scores = tile(scores, Expr::work(ROW, 1), Expr::work(HEAD, i64::from(CHUNK * 4)), rows, SUB * 4);
    // A turn of the forward pass's sixteen tokens has 395 instructions of 128 channels; here are half as many, and no sum over channels.
    let turn = Code::new(395.0 * f64::from(bk) / 128.0, (0.58, 0.12, 0.155), 2.76, 25.0);
    let pair = block(1, f64::from(2 * SUB * bk * SUB), f64::from(SUB * bk), 0.0);
    for (rows_of, own_of) in [(k, q), (q, k)] {
        p.fetch(&[Load(own(own_of, KEY_HEAD, 2), Path::Load, 0), Load(own(g, HEAD, 4), Path::LoadL1, 0)]);
        p.code(turn.counting(300.0));
        // Of four blocks a block has one and a half on either side in the mean: one, and half another's code.
        p.fetch(&[
            Load(own(rows_of, KEY_HEAD, 2), Path::Load, 1),
            Load(own(g, HEAD, 4), Path::LoadL1, 1),
            Load(of_scores, Path::Load, 1),
        ]);
        p.product(Dtype::Tf32, SUB, bk, SUB, pair);
        p.code(pair.part(0.5));
        let row = Expr::work(ROW, 1).plus_loop(0, 1);
        p.repeat(Trips::Const(rows), |p| {
            p.fetch(&[
                Load(tile(rows_of, row, at(KEY_HEAD, 2), 1, bk * 2), Path::Load, 2),
                Load(tile(g, row, at(HEAD, 4), 1, bk * 4), Path::LoadL1, 2),
                Load(tile(scores, row, Expr::work(HEAD, i64::from(CHUNK * 4)), 1, SUB * 4), Path::LoadL1, 2),
            ]);
            p.code(turn);
        });
    }
    outs.iter().for_each(|t| p.store(own(*t, HEAD, 4)));
    Ok(p.launch())
}

/// Retention and a scalar gate: states again, their gradients, then values' and queries' and keys' (`chunk_bwd_dv`, `chunk_bwd_dqkwg`).
fn scalar(c: &LinearCall, spec: &GpuSpec, n: &Names, d: &Gradients) -> Result<Vec<Item>, String> {
    let gate = between(n, "decay");
    let mut items = vec![state::plain(c, spec, n, &gate)?];
    let reads = [(n.q.clone(), c.key_dim, 2, true), (n.output.clone(), c.value_dim, 2, false)];
    items.push(passed(
        c,
        spec,
        &Passed {
            what: "chunk state gradients",
            part: [64, 32],
            warps: 2,
            takes: (128, 24576),
            products: 1,
            reads: &reads,
            writes: None,
            state: between(n, "d_states"),
            state_bytes: 2,
            gated: true,
        },
    )?);
    items.push(values(c, spec, n, &d.v, &n.output)?);
    items.push(queries_keys(c, spec, n, d, &n.v)?);
    if c.rule.scalar_gate() {
        items.push(gates::scalar_sum(c, spec, &between(n, "d_gate_parts"), &d.gate)?);
    }
    Ok(items)
}

/// `chunk_bwd_dv` and, without states, `chunk_bwd_dv_local`: scores again, masked and decayed, by the results' gradient.
fn values(c: &LinearCall, spec: &GpuSpec, n: &Names, out: &Operand, dy: &Operand) -> Result<Item, String> {
    let (bk, bv) = (64.min(c.key_dim), 64.min(c.value_dim));
    let (nk, nv) = (c.key_dim.div_ceil(64), c.value_dim.div_ceil(64));
    let local = c.rule.corrects();
    let mut k = Chunked::new(c, spec, "value gradients", if local { 1 } else { nv }, (4, 128, 49152))?;
    let mut stage =
        vec![k.of_token(&n.q, [c.key_dim, 2, bk], true, false), k.of_token(&n.k, [c.key_dim, 2, bk], true, false)];
    if !local {
        stage.push(k.state(&between(n, "d_states"), 2, [bk, bv], true));
    }
    let own = k.of_token(dy, [c.value_dim, 2, bv], false, !local);
    let out = k.of_token(out, [c.value_dim, 2, bv], false, !local);
    let loads: Vec<Load> = stage.iter().map(|t| Load(*t, Path::AsyncRows, 0)).collect();
    turns(&mut k, nk, |k| k.p.loads(&loads));
    turns(&mut k, nk, |k| {
        k.p.wait(0);
        k.product([CHUNK, CHUNK + if local { 0 } else { bv }, bk], 0, 0);
    });
    k.p.code(block(4, 0.0, f64::from(CHUNK * CHUNK), 0.0));
    turns(&mut k, if local { nv } else { 1 }, |k| {
        k.fetch(&[own], Path::Load, 1);
        k.product([CHUNK, bv, CHUNK], 0, 0);
        k.p.store(out);
    });
    Ok(k.p.launch())
}

/// `chunk_bwd_dqkwg`: 64 key channels of a chunk, over blocks of values: the results' gradient by values and by states, values (and corrected ones) by states' gradients; then scores' gradients by keys and
/// queries.
fn queries_keys(c: &LinearCall, spec: &GpuSpec, n: &Names, d: &Gradients, values: &Operand) -> Result<Item, String> {
    let (bk, bv) = (64.min(c.key_dim), 64.min(c.value_dim));
    let (nk, nv) = (c.key_dim.div_ceil(64), c.value_dim.div_ceil(64));
    let corrects = c.rule.corrects();
    let mut k = Chunked::new(c, spec, "query and key gradients", nk, (4, 200, 73728))?;
    let mut stage = vec![
        k.of_token(values, [c.value_dim, 2, bv], false, false),
        k.of_token(&n.output, [c.value_dim, 2, bv], false, false),
        k.state(&between(n, "states"), 2, [bk, bv], false),
        k.state(&between(n, "d_states"), 2, [bk, bv], false),
    ];
    if corrects {
        stage.push(k.of_token(&between(n, "d_new_values"), [c.value_dim, 2, bv], false, false));
    }
    let own = [k.of_token(&n.q, [c.key_dim, 2, bk], true, true), k.of_token(&n.k, [c.key_dim, 2, bk], true, true)];
    let mut outs =
        vec![k.of_token(&d.q, [c.key_dim, 2, bk], false, true), k.of_token(&d.k, [c.key_dim, 2, bk], false, true)];
    if corrects {
        outs.push(k.of_token(&between(n, "d_w"), [c.key_dim, 2, bk], false, true));
    }
    let of_gate = c.rule.scalar_gate().then(|| k.scalar(&between(n, "d_gate_parts"), 4));
    let loads: Vec<Load> = stage.iter().map(|t| Load(*t, Path::AsyncRows, 0)).collect();
    k.p.loads(&loads);
    let products = if corrects { 3 } else { 2 };
    turns(&mut k, nv, |k| {
        k.p.wait(0);
        k.product([CHUNK, CHUNK, bv], 0, 0);
        for _ in 0..products {
            k.product([CHUNK, bk, bv], 0, 0);
        }
        k.p.code(block(4, 0.0, 0.0, if of_gate.is_some() { f64::from(bk * bv) } else { 0.0 }));
        let ahead: Vec<Load> = loads
            .iter()
            .map(|&Load(mut t, path, barrier)| {
                t.byte.base += t.byte.loops[0];
                Load(t, path, barrier)
            })
            .collect();
        k.p.ahead(&ahead);
    });
    k.fetch(&own, Path::Load, 1);
    k.p.code(block(4, 0.0, f64::from(CHUNK * CHUNK), f64::from(2 * CHUNK * bk)));
    k.product([CHUNK, bk, CHUNK], 0, 0);
    k.product([CHUNK, bk, CHUNK], 0, 0);
    outs.iter().for_each(|t| k.p.store(*t));
    if let Some(t) = of_gate {
        k.p.store(t);
    }
    Ok(k.p.launch())
}

/// The delta rules: keys and values of the triangular system again, states again, then from results to corrected values, states, queries and keys, and through the system
/// (`chunk_gated_delta_rule_bwd`).
fn delta(c: &LinearCall, spec: &GpuSpec, n: &Names, d: &Gradients) -> Result<Vec<Item>, String> {
    let gate = between(n, "decay");
    let new = between(n, "new values");
    let mut items = vec![wy::recompute(Source::Fla, c, spec, n, &gate)?];
    items.push(state::corrected(Source::Fla, c, spec, n, (&n.k, &gate))?);
    let local = between(n, "d_values_local");
    items.push(values(c, spec, n, &local, &n.output)?);
    let reads = [
        (n.q.clone(), c.key_dim, 2, true),
        (n.k.clone(), c.key_dim, 2, true),
        (between(n, "w"), c.key_dim, 2, true),
        (n.output.clone(), c.value_dim, 2, false),
        (local, c.value_dim, 2, false),
    ];
    items.push(passed(
        c,
        spec,
        &Passed {
            what: "delta state gradients",
            part: [c.key_dim, 32],
            warps: 4,
            takes: (168, 98304),
            products: 3,
            reads: &reads,
            writes: Some(between(n, "d_new_values")),
            state: between(n, "d_states"),
            state_bytes: 2,
            gated: c.rule == Rule::GatedDelta,
        },
    )?);
    items.push(queries_keys(c, spec, n, d, &new)?);
    // `prepare_wy_repr_bwd_kernel`: a chunk and head; over keys and values the inverse transposed by their gradients and the inverse's own, which goes back through itself twice.
    let (bk, bv) = (64.min(c.key_dim), 64.min(c.value_dim));
    let mut k = Chunked::new(c, spec, "triangular system gradients", 1, (4, 168, 65536))?;
    let inverse = k.scores(&between(n, "inverse"), 2);
    let beta = k.scalar(&n.beta, 2);
    let of_keys = [
        k.of_token(&n.k, [c.key_dim, 2, bk], true, false),
        k.of_token(&between(n, "d_w"), [c.key_dim, 2, bk], false, false),
        k.of_token(&d.k, [c.key_dim, 2, bk], false, false),
    ];
    let of_values = [
        k.of_token(&n.v, [c.value_dim, 2, bv], false, false),
        k.of_token(&between(n, "d_new_values"), [c.value_dim, 2, bv], false, false),
    ];
    let d_values = k.of_token(&d.v, [c.value_dim, 2, bv], false, false);
    let d_beta = k.scalar(&d.beta, 2);
    k.fetch(&[inverse, beta], Path::Load, 0);
    turns(&mut k, c.key_dim.div_ceil(64), |k| {
        k.fetch(&of_keys[..2], Path::Load, 1);
        k.product([CHUNK, CHUNK, bk], 0, CHUNK * bk);
        k.product([CHUNK, bk, CHUNK], 0, CHUNK * bk);
    });
    turns(&mut k, c.value_dim.div_ceil(64), |k| {
        k.fetch(&of_values, Path::Load, 2);
        k.product([CHUNK, CHUNK, bv], 0, CHUNK * bv);
        k.product([CHUNK, bv, CHUNK], 0, CHUNK * bv);
        k.p.store(d_values);
    });
    k.product([CHUNK, CHUNK, CHUNK], 0, CHUNK * CHUNK);
    k.product([CHUNK, CHUNK, CHUNK], 0, CHUNK * CHUNK);
    turns(&mut k, c.key_dim.div_ceil(64), |k| {
        k.fetch(&of_keys, Path::Load, 3);
        k.product([CHUNK, CHUNK, bk], 0, 0);
        k.product([CHUNK, bk, CHUNK], 0, CHUNK * bk);
        k.product([CHUNK, bk, CHUNK], 0, CHUNK * bk);
        k.p.store(of_keys[2]);
    });
    k.p.store(d_beta);
    items.push(k.p.launch());
    if c.rule == Rule::GatedDelta {
        items.push(gates::scalar_sum(c, spec, &between(n, "d_gate_parts"), &d.gate)?);
    }
    Ok(items)
}

/// The launches of the gradient of a prompt's chunks; `names.output` is that of the results.
///
/// # Errors
/// As of the forward pass.
pub fn chunk_gradient(c: &LinearCall, spec: &GpuSpec, names: &Names, d: &Gradients) -> Result<Vec<Item>, String> {
    c.check()?;
    match c.rule {
        Rule::Hgrn => {
            let mut items = recurrent::scan(c, spec, names)?;
            let elements = c.rows() * u64::from(c.heads) * u64::from(c.key_dim);
            items.push(Item::kernel(strided_copy(elements, 2), [names.output.clone(), d.gate.clone()]));
            Ok(items)
        }
        Rule::Gla => gated(c, spec, names, d),
        Rule::Retention | Rule::SimpleGla => scalar(c, spec, names, d),
        Rule::Delta | Rule::GatedDelta => delta(c, spec, names, d),
        Rule::Kda => {
            // As the delta rule's, with gates a channel: keys and queries are gated once more for the scores within chunks, and gates' sums have a channel each.
            let gate = names.between("decay");
            let mut items = vec![gates::vector_sum(c, spec, &names.gate, &gate)?];
            items.extend(kda::within(c, spec, names, &gate)?);
            items.extend(delta(c, spec, names, d)?);
            items.push(within(c, spec, names, &gate)?);
            items.push(gates::vector_sum(c, spec, &names.between("d_gate_all"), &d.gate)?);
            Ok(items)
        }
    }
}
