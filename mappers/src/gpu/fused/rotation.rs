//! Rotary positions in place, and activations with their gates.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tile, Trips};

use super::super::PLAIN_REGISTERS;
use super::RowWriter;
use super::program::{Grid, Plain, each, load, load_l1, matrix, part, set_up, store};

/// Rotary positions of queries and keys that lie together, `[tokens, stride]` in 16 bits, written in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rotation {
    /// Tokens.
    pub tokens: u32,
    /// Heads that are rotated: of queries and of keys.
    pub heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Of them rotated; the others stay.
    pub rotated: u32,
    /// Elements from one token to the next: of values too, where these lie behind.
    pub stride: u32,
}

/// The rotation as one kernel. Tensors: queries and keys (read and written), cosines, sines (single precision, `[tokens, rotated / 2]`;
/// vLLM's table has both in one row of 16-bit numbers: its second tensor is that table, and there is no third).
///
/// Triton: a warp a token and head. CUDA (`csrc/pos_encoding_kernels.cu`): a CTA of up to 512 threads a token.
pub fn rotary(writer: RowWriter, r: &Rotation) -> Kernel {
    let half = u64::from(r.rotated.min(r.head_dim).max(2) / 2);
    let stride = u64::from(r.stride.max(r.heads.saturating_mul(r.head_dim))).max(1) * 2;
    let head = u64::from(r.head_dim) * 2;
    let tokens = u64::from(r.tokens);
    match writer {
        RowWriter::Triton => {
            let (u, v) = (part(0, 0, head, half * 2), part(0, half * 2, head, half * 2));
            let angles = |tensor| part(tensor, 0, 0, half * 4);
            // Two products and two sums a pair, four conversions from and two halves of one to 16 bits.
            let ops = vec![
                set_up(1, 40.0),
                load(u, 0),
                load(v, 0),
                load(angles(1), 0),
                load(angles(2), 0),
                Op::Wait(0),
                each(half as f64, 4.0, 3.0, 0.0, 4.0),
                store(u),
                store(v),
            ];
            let table = matrix(tokens, half * 4, half * 4);
            Plain {
                name: format!("rotary {}x{}x{} (Triton)", r.tokens, r.heads, r.head_dim),
                grid: Grid { x: tokens, y: u64::from(r.heads) },
                warps: 1,
                registers: PLAIN_REGISTERS,
                shared_bytes: 0,
                tensors: vec![matrix(tokens, stride, half * 2), table, table],
                arrivals: vec![4],
                ops,
            }
            .kernel()
        }
        RowWriter::Cuda => {
            // Heads of a turn; a thread has one pair.
            let pairs = u64::from(r.heads).saturating_mul(half).max(1);
            let threads = pairs.next_multiple_of(32).min(512);
            let together = (threads / half).clamp(1, u64::from(r.heads.max(1)));
            let turns = u64::from(r.heads).div_ceil(together).clamp(1, 1 << 20) as u32;
            let mut heads = part(0, 0, 0, together * head);
            heads.byte = heads.byte.plus_loop(0, i64::try_from(together * head).unwrap_or(i64::MAX));
            let warps = (threads / 32).max(1) as u32;
            // Of a pair: an index split by the head's pairs, two loads and stores of 16 bits with their addresses, and the arithmetic.
            let ops = vec![
                set_up(warps, 30.0),
                Op::Loop(Trips::Const(turns)),
                load(heads, 0),
                load_l1(part(1, 0, 0, half * 4), 0),
                Op::Wait(0),
                each((together * half) as f64, 6.0, 16.0, 0.0, 8.0),
                store(heads),
                Op::End,
            ];
            Plain {
                name: format!("rotary {}x{}x{} (CUDA)", r.tokens, r.heads, r.head_dim),
                grid: Grid { x: tokens, y: 1 },
                warps,
                registers: PLAIN_REGISTERS,
                shared_bytes: 0,
                tensors: vec![matrix(tokens, stride, together * head), matrix(tokens, half * 4, half * 4)],
                arrivals: vec![2],
                ops,
            }
            .kernel()
        }
    }
}

/// Columns of a CTA of the Triton kernel, with four warps.
const TRITON_COLUMNS: u64 = 1024;

/// `act(x[:, :n]) * x[:, n:]` over rows of 16-bit numbers: SwiGLU or GeGLU as one kernel. Tensors: input `[rows, 2 n]`, output `[rows, n]`.
///
/// Triton: CTAs of 1024 columns, rows first. CUDA (`act_and_mul_kernel` of vLLM): a CTA of up to 1024 threads a row.
pub fn gated(writer: RowWriter, rows: u64, n: u32) -> Kernel {
    let width = u64::from(n.max(1)) * 2;
    // SiLU by its exponential and a division (a reciprocal, a product and checks of its range), a product, three conversions.
    let work = |elements: f64| each(elements, 8.0, 3.5, 2.0, 1.0);
    // The input's rows as two halves each.
    let half = |tile: Tile, second: i64| Tile { row: Expr { base: second, ..Expr::work(0, 2) }, ..tile };
    match writer {
        RowWriter::Triton => {
            let columns = TRITON_COLUMNS * 2;
            let bytes = columns.min(width);
            let ops = vec![
                set_up(4, 40.0),
                load(half(part(0, 0, columns, bytes), 0), 0),
                load(half(part(0, 0, columns, bytes), 1), 0),
                Op::Wait(0),
                work(TRITON_COLUMNS as f64),
                store(part(1, 0, columns, bytes)),
            ];
            Plain {
                name: format!("gate {rows}x{n} (Triton)"),
                grid: Grid { x: rows, y: width.div_ceil(columns) },
                warps: 4,
                registers: PLAIN_REGISTERS,
                shared_bytes: 0,
                tensors: vec![matrix(rows.saturating_mul(2), width, bytes), matrix(rows, width, bytes)],
                arrivals: vec![2],
                ops,
            }
            .kernel()
        }
        RowWriter::Cuda => {
            let threads = n.div_ceil(8).next_multiple_of(32).clamp(32, 1024);
            let chunk = (u64::from(threads) * 16).min(width);
            let turns = width.div_ceil(chunk).clamp(1, 1 << 24) as u32;
            let turn = |tensor| {
                let mut tile = part(tensor, 0, 0, chunk);
                tile.byte = tile.byte.plus_loop(0, i64::try_from(chunk).unwrap_or(i64::MAX));
                tile
            };
            let ops = vec![
                set_up(threads / 32, 30.0),
                Op::Loop(Trips::Const(turns)),
                load(half(turn(0), 0), 0),
                load(half(turn(0), 1), 0),
                Op::Wait(0),
                work(chunk as f64 / 2.0),
                store(turn(1)),
                Op::End,
            ];
            Plain {
                name: format!("gate {rows}x{n} (CUDA)"),
                grid: Grid { x: rows, y: 1 },
                warps: threads / 32,
                registers: PLAIN_REGISTERS,
                shared_bytes: 0,
                tensors: vec![matrix(rows.saturating_mul(2), width, chunk), matrix(rows, width, chunk)],
                arrivals: vec![2],
                ops,
            }
            .kernel()
        }
    }
}
