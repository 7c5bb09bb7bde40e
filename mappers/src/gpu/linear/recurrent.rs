//! Tokens one by one: a CTA reads its part of a head's state, updates it, and writes it back.

use banksia_hw::gpu::program::{Expr, Path, Tile, Trips, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::compiled::{Code, Load, Program, tile};
use super::{LinearCall, Names, Rule, Source, countable};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::rows::{ElementWork, Elementwise, elementwise};

/// Numbers of an item: the sequence's first token, the head of keys, the head, the state (sequence times heads, plus the head), the block of
/// values, the block of keys.
const ROW: usize = 0;
const KEY_HEAD: usize = 1;
const HEAD: usize = 2;
const STATE: usize = 3;
const VBLOCK: usize = 4;
const KBLOCK: usize = 5;

/// How a kernel cuts a state, and its code.
struct Cut {
    /// Blocks of key and of value channels.
    bk: u32,
    bv: u32,
    /// The state lies value by value (`[heads, value_dim, key_dim]`), so that a row is all of the keys.
    values_first: bool,
    warps: u32,
    registers: u32,
    /// Instructions before and after the tokens, and of a token.
    beside: f64,
    token: f64,
    mix: (f64, f64, f64),
    stall: f64,
}

impl Cut {
    /// `fla/ops/common/fused_recurrent.py`: blocks of 64 x 64, four warps; `delta_rule`, `gated_delta_rule`: all keys x 8, one warp, four warps x 32
    /// for KDA; vLLM's and SGLang's packed decode: all keys x 32, one warp, states value by value.
    fn of(source: Source, c: &LinearCall) -> Self {
        let all = c.key_dim.next_power_of_two();
        let simple = (0.40, 0.40, 0.01);
        match (c.rule, source) {
            (Rule::Gla | Rule::Retention | Rule::SimpleGla | Rule::Hgrn, _) => Self {
                bk: 64.min(all),
                bv: 64,
                values_first: false,
                warps: 4,
                registers: 96,
                beside: 280.0,
                token: if c.rule == Rule::Gla { 218.0 } else { 160.0 },
                mix: simple,
                stall: 2.0,
            },
            (Rule::Delta, _) => Self {
                bk: all,
                bv: 8,
                values_first: false,
                warps: 1,
                registers: 72,
                beside: 180.0,
                token: 234.0,
                mix: (0.44, 0.28, 0.0),
                stall: 2.0,
            },
            (_, Source::Vllm | Source::Sglang) => Self {
                bk: all,
                bv: 32,
                values_first: true,
                warps: 1,
                registers: 210,
                // Four times the state of fla's block of eight.
                beside: 420.0,
                token: if c.rule == Rule::Kda { 1250.0 } else { 1100.0 },
                mix: (0.53, 0.22, 0.009),
                stall: 2.0,
            },
            (Rule::Kda, _) => Self {
                bk: all,
                bv: 32,
                values_first: false,
                warps: 4,
                registers: 96,
                beside: 280.0,
                token: 415.0,
                mix: (0.43, 0.27, 0.017),
                stall: 3.0,
            },
            (Rule::GatedDelta, _) => Self {
                bk: all,
                bv: 8,
                values_first: false,
                warps: 1,
                registers: 72,
                beside: 180.0,
                token: 360.0,
                mix: (0.53, 0.22, 0.009),
                stall: 2.0,
            },
        }
    }

    /// A block of the state, in so many bytes a number; `token` rows of states further on for each turn of the loop.
    fn state(&self, p: &mut Program, c: &LinearCall, of: Operand, bytes: u32, every_token: bool) -> Tile {
        let (rows, columns) = if self.values_first { (c.value_dim, c.key_dim) } else { (c.key_dim, c.value_dim) };
        let (br, bc) = if self.values_first { (self.bv, self.bk) } else { (self.bk, self.bv) };
        let (rb, cb) = if self.values_first { (VBLOCK, KBLOCK) } else { (KBLOCK, VBLOCK) };
        let tokens = if every_token { c.tokens } else { 1 };
        let states = u64::from(c.batch) * u64::from(tokens) * u64::from(c.heads);
        let (br, bc) = (br.min(rows), bc.min(columns));
        let t = p.matrix(of, states * u64::from(rows), u64::from(columns * bytes), (br, bc * bytes));
        let mut row = Expr::work(STATE, i64::from(rows)).plus_work(rb, i64::from(br));
        if every_token {
            // States of a sequence's tokens one after the other.
            row = Expr::work(ROW, i64::from(c.heads) * i64::from(rows))
                .plus_work(HEAD, i64::from(rows))
                .plus_work(rb, i64::from(br))
                .plus_loop(0, i64::from(c.heads) * i64::from(rows));
        }
        tile(t, row, Expr::work(cb, i64::from(bc * bytes)), br, bc * bytes)
    }
}

/// The launches of some tokens of each sequence, one after the other.
///
/// # Errors
/// What the published kernels cannot do, or what is too large to simulate.
pub fn recurrent(source: Source, call: &LinearCall, spec: &GpuSpec, names: &Names) -> Result<Vec<Item>, String> {
    call.check()?;
    if call.rule == Rule::Hgrn {
        return scan(call, spec, names);
    }
    let c = call;
    let cut = Cut::of(source, c);
    let (nk, nv) = (c.key_dim.div_ceil(cut.bk), c.value_dim.div_ceil(cut.bv));
    let heads = u64::from(c.batch) * u64::from(c.heads);
    let n = heads.saturating_mul(u64::from(nk) * u64::from(nv));
    countable(n)?;
    let mut items: Vec<[i32; WORK_VARS]> = Vec::with_capacity(n as usize);
    for b in 0..c.batch {
        for h in 0..c.heads {
            for k in 0..nk {
                let place = |v| [b * c.tokens, h / c.group(), h, b * c.heads + h, v, k].map(|x| x as i32);
                items.extend((0..nv).map(place));
            }
        }
    }
    let code = Code::new(cut.beside, cut.mix, cut.stall, 60.0 * f64::from(cut.warps));
    let name =
        format!("recurrence {}x{} heads of {}x{}, {} tokens", c.batch, c.heads, c.key_dim, c.value_dim, c.tokens);
    let mut p = Program::new(name, cut.warps, cut.registers, 1024, spec).warm();
    p.items(items);
    let rows = c.rows();
    let vector = |p: &mut Program, of: &Operand, heads: u32, size: u32, bytes: u32, block: u32| {
        let width = block.min(size) * bytes;
        p.matrix(of.clone(), rows, u64::from(heads) * u64::from(size * bytes), (1, width.max(32)))
    };
    let q = vector(&mut p, &names.q, c.key_heads, c.key_dim, 2, cut.bk);
    let k = vector(&mut p, &names.k, c.key_heads, c.key_dim, 2, cut.bk);
    let v = vector(&mut p, &names.v, c.heads, c.value_dim, 2, cut.bv);
    let row = Expr::work(ROW, 1).plus_loop(0, 1);
    let part = |head: usize, size: u32, block: usize, width: u32, bytes: u32| {
        Expr::work(head, i64::from(size * bytes)).plus_work(block, i64::from(width * bytes))
    };
    let (bk, bv) = (cut.bk.min(c.key_dim), cut.bv.min(c.value_dim));
    let keys = part(KEY_HEAD, c.key_dim, KBLOCK, bk, 2);
    let values = part(HEAD, c.value_dim, VBLOCK, bv, 2);
    let mut loads = vec![
        Load(tile(q, row, keys, 1, bk * 2), Path::LoadL1, 0),
        Load(tile(k, row, keys, 1, bk * 2), Path::LoadL1, 0),
        Load(tile(v, row, values, 1, bv * 2), Path::LoadL1, 0),
    ];
    if c.rule.scalar_gate() {
        let g = vector(&mut p, &names.gate, c.heads, 1, 4, 1);
        loads.push(Load(tile(g, row, Expr::work(HEAD, 4), 1, 4), Path::LoadL1, 0));
    } else if c.rule.vector_gate() {
        let g = vector(&mut p, &names.gate, c.heads, c.key_dim, 4, cut.bk);
        loads.push(Load(tile(g, row, part(HEAD, c.key_dim, KBLOCK, bk, 4), 1, bk * 4), Path::LoadL1, 0));
    }
    if c.rule.corrects() {
        let b = vector(&mut p, &names.beta, c.heads, 1, 2, 1);
        loads.push(Load(tile(b, row, Expr::work(HEAD, 2), 1, 2), Path::LoadL1, 0));
    }
    // Parts of a result from blocks of keys lie one after the other in fp32.
    let split = nk > 1;
    let bytes = if split { 4 } else { 2 };
    let parts = names.between("parts");
    let o = p.matrix(
        if split { parts.clone() } else { names.output.clone() },
        rows * u64::from(nk),
        u64::from(c.heads) * u64::from(c.value_dim * bytes),
        (1, (bv * bytes).max(32)),
    );
    let out = tile(
        o,
        row.plus_work(KBLOCK, rows.min(i32::MAX as u64) as i64),
        part(HEAD, c.value_dim, VBLOCK, bv, bytes),
        1,
        bv * bytes,
    );
    p.code(code.counting(0.5 * cut.beside));
    let (read, write) = c.state_bytes;
    if c.carries_state {
        let t = cut.state(&mut p, c, names.state.clone(), read, false);
        p.loads(&[Load(t, Path::Load, 1)]);
    }
    let written = c.carries_state.then(|| {
        let apart = c.keeps_all_states || read != write;
        let of = if apart { names.between("state after") } else { names.state.clone() };
        cut.state(&mut p, c, of, write, c.keeps_all_states)
    });
    if c.carries_state {
        p.wait(1);
    }
    let turn = code.counting(cut.token);
    p.repeat(Trips::Const(c.tokens), |p| {
        p.fetch(&loads);
        p.code(turn);
        p.store(out);
        if let Some(state) = written.filter(|_| c.keeps_all_states) {
            p.store(state);
        }
    });
    p.code(code.counting(0.5 * cut.beside));
    if let Some(state) = written.filter(|_| !c.keeps_all_states) {
        p.store(state);
    }
    let mut launches = vec![p.launch()];
    if split {
        launches.push(sum_of_parts(c, nk, &parts, &names.output));
    }
    Ok(launches)
}

/// PyTorch's sum over the parts of a result.
fn sum_of_parts(c: &LinearCall, parts: u32, from: &Operand, to: &Operand) -> Item {
    let elements = c.rows().saturating_mul(u64::from(c.heads) * u64::from(c.value_dim));
    let work = ElementWork { fma: 1.0, alu: 3.0, sfu: 0.0, other: 2.0, stall: 3.0 };
    let e = Elementwise { elements, inputs: parts.min(16), element_bytes: 4, per_cta: 512, threads: 128, work };
    let mut kernel = elementwise(&e);
    kernel.name = format!("sum of {parts} parts of {elements}");
    let mut operands = vec![from.clone(); parts.min(16) as usize];
    operands.push(to.clone());
    Item::kernel(kernel, operands)
}

/// `fused_recurrent_hgrn_fwd_kernel`: a thread a channel goes from token to token. Four warps, 64 channels a CTA.
pub(super) fn scan(c: &LinearCall, spec: &GpuSpec, names: &Names) -> Result<Vec<Item>, String> {
    const BLOCK: u32 = 64;
    let channels = c.heads.checked_mul(c.key_dim).filter(|n| *n <= 1 << 22);
    let channels = channels.ok_or_else(|| format!("{} x {} channels: too many", c.heads, c.key_dim))?;
    let blocks = channels.div_ceil(BLOCK);
    countable(u64::from(c.batch) * u64::from(blocks))?;
    let mut p = Program::new(format!("recurrence of {}x{channels} channels", c.batch), 4, 19, 0, spec);
    let items = (0..c.batch).flat_map(|b| (0..blocks).map(move |d| [b * c.tokens, b, d, 0, 0, 0].map(|x| x as i32)));
    p.items(items.collect());
    let of = |p: &mut Program, o: &Operand| p.matrix(o.clone(), c.rows(), u64::from(channels) * 2, (1, BLOCK * 2));
    let (x, g, o) = (of(&mut p, &names.v), of(&mut p, &names.gate), of(&mut p, &names.output));
    let s = p.matrix(names.state.clone(), u64::from(c.batch), u64::from(channels) * 4, (1, BLOCK * 4));
    let state = tile(s, Expr::work(1, 1), Expr::work(2, i64::from(BLOCK * 4)), 1, BLOCK * 4);
    let at = |t| tile(t, Expr::work(0, 1).plus_loop(0, 1), Expr::work(2, i64::from(BLOCK * 2)), 1, BLOCK * 2);
    // `device_linear.csv`: 69 instructions for one token.
    let code = Code::new(45.0, (0.29, 0.42, 0.014), 3.0, 2.0);
    p.code(code);
    if c.carries_state {
        p.fetch(&[Load(state, Path::Load, 1)]);
    }
    p.repeat(Trips::Const(c.tokens), |p| {
        p.fetch(&[Load(at(x), Path::Load, 0), Load(at(g), Path::Load, 0)]);
        p.code(code.counting(24.0));
        p.store(at(o));
    });
    if c.carries_state {
        p.store(state);
    }
    Ok(vec![p.launch()])
}
