//! Mamba-1's selective scan of a prompt: `selective_scan_fwd` of `mamba_ssm` (CUDA).
//!
//! A CTA for each channel of each sequence. It takes tokens in turns of up to 2048, and in each goes through the columns of the state: an
//! exponential and a product of each token, a scan over the CTA's tokens (in threads, lanes and warps), and its product with C.

use banksia_hw::gpu::program::{Expr, Op, Path, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::code::{
    BATCH, CHANNELS, COLUMNS, TOKENS, Takes, code, countable, items, kernel, matrix, sizes, stream, sum, tile,
};
use crate::gpu::copy;
use crate::gpu::launch::{Item, Operand};

/// A selective scan of 16-bit activations `[channels, tokens]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectiveScan {
    /// Sequences.
    pub batch: u32,
    /// Tokens of each.
    pub tokens: u32,
    /// Channels.
    pub channels: u32,
    /// Columns of a channel's state.
    pub state: u32,
    /// Groups of channels that share B and C.
    pub groups: u32,
    /// The output is multiplied by SiLU of a gate; the ungated one is written as well.
    pub gate: bool,
}

/// Memory of a selective scan.
#[derive(Debug, Clone)]
pub struct SelectiveNames {
    /// Inputs, and step sizes in an array of their own.
    pub x: Operand,
    /// Step sizes.
    pub dt: Operand,
    /// B and C, `[groups, state, tokens]` each.
    pub projections: Operand,
    /// Decays.
    pub parameters: Operand,
    /// The gate.
    pub z: Operand,
    /// States at the end of each turn.
    pub state: Operand,
    /// The output.
    pub y: Operand,
}

impl Default for SelectiveNames {
    fn default() -> Self {
        let shared = |name: &str| Operand::shared(format!("scan.{name}"));
        Self {
            x: shared("x"),
            dt: shared("dt"),
            projections: shared("bc"),
            parameters: Operand::own("scan.parameters"),
            z: shared("z"),
            state: Operand::own("scan.state"),
            y: shared("y"),
        }
    }
}

/// Warps and tokens of a thread, by the tokens of a sequence (`selective_scan_fwd_cuda`).
fn threads(tokens: u32) -> (u32, u32) {
    match tokens {
        ..=128 => (1, 4),
        129..=256 => (1, 8),
        257..=512 => (1, 16),
        513..=1024 => (2, 16),
        _ => (4, 16),
    }
}

/// The launch of a selective scan.
///
/// # Errors
/// A size that is nothing, or too large to be counted.
pub fn selective_scan(s: &SelectiveScan, _: &GpuSpec, names: &SelectiveNames) -> Result<Vec<Item>, String> {
    sizes(&[("batch", s.batch, BATCH), ("tokens", s.tokens, TOKENS), ("channels", s.channels, CHANNELS)])?;
    sizes(&[("state", s.state, COLUMNS), ("groups", s.groups, s.channels)])?;
    countable("the input", &[s.batch, s.tokens, s.channels])?;
    countable("B", &[s.batch, s.groups, s.state, s.tokens])?;
    let (warps, each) = threads(s.tokens);
    let turn = 32 * warps * each;
    let turns = s.tokens.div_ceil(turn);
    let ratio = s.channels.div_ceil(s.groups);
    let all = items([s.batch, s.channels], |[b, d]| {
        let row = u64::from(b) * u64::from(s.channels) + u64::from(d);
        let group = u64::from(b) * u64::from(s.groups) + u64::from(d / ratio);
        [row as i64, i64::from(d), (group * u64::from(s.state)) as i64, 0, 0, 0]
    })?;
    let bytes = turn.min(s.tokens) * 2;
    let at = Expr::default().plus_loop(0, i64::from(turn) * 2);
    let own = |tensor| tile(tensor, sum(&[(0, 1)]), at, 1, bytes);
    let of_group = |tensor| tile(tensor, sum(&[(2, 1)]).plus_loop(1, 1), at, 1, bytes);
    let n = f64::from(turn);
    // Instructions of a warp (nvcc 13 for `sm_90a`, 16 tokens a thread: 384 a column, 975 a turn beside them): per token of a column an exponential,
    // three products, four sums of the scan up and down, B and C widened and turned over in shared memory; and the scan over lanes and warps.
    let column = VectorWork {
        sfu: n,
        shared_bytes: 2.0 * 2.0 * 2.0 * n,
        // Five steps over lanes and one over warps, each a shuffle and two operations that wait for it.
        latency_cycles: 6.0 * 32.0,
        ..code(if s.tokens.is_multiple_of(turn) { COLUMN } else { COLUMN_UNEVEN } * f64::from(each) / 16.0, warps)
    };
    let per_turn = |instructions: f64| code(instructions * f64::from(each), warps);
    let mut ops = vec![
        Op::Vector(code(90.0, warps)),
        Op::Loop(Trips::Const(turns)),
        Op::Sync,
        copy(own(0), Path::Load, 0),
        copy(own(1), Path::Load, 0),
        Op::Wait(0),
        Op::Sync,
        // Softplus and products with x and D.
        Op::Vector(VectorWork { sfu: 2.0 * n, shared_bytes: 8.0 * n, ..per_turn(45.0) }),
        Op::Loop(Trips::Const(s.state)),
        copy(of_group(2), Path::LoadL1, 1),
        copy(of_group(3), Path::LoadL1, 1),
        Op::Wait(1),
        Op::Vector(column),
        Op::Sync,
        Op::End,
        Op::Vector(VectorWork { shared_bytes: 4.0 * n, ..per_turn(15.0) }),
        Op::Store { tile: own(4), reduce: false },
    ];
    let rows = u64::from(s.batch) * u64::from(s.channels);
    let activations = matrix(rows, u64::from(s.tokens) * 2, 1, bytes);
    let projections =
        matrix(u64::from(s.batch) * u64::from(s.groups) * u64::from(s.state), u64::from(s.tokens) * 2, 1, bytes);
    let columns = s.state * 8;
    let mut tensors = vec![
        activations,
        activations,
        projections,
        projections,
        activations,
        stream(rows * u64::from(columns), columns),
    ];
    let mut operands = vec![
        names.x.clone(),
        names.dt.clone(),
        names.projections.clone(),
        names.projections.clone(),
        Operand::shared("scan.ungated"),
        names.state.clone(),
    ];
    if s.gate {
        tensors.extend([activations, activations]);
        operands.extend([names.z.clone(), names.y.clone()]);
        ops.extend([
            Op::Sync,
            copy(own(6), Path::Load, 2),
            Op::Wait(2),
            Op::Vector(VectorWork { sfu: 2.0 * n, shared_bytes: 8.0 * n, ..per_turn(14.0) }),
            Op::Store { tile: own(7), reduce: false },
        ]);
    } else {
        operands[4] = names.y.clone();
    }
    // The last turn's states are those that stay.
    ops.extend([
        Op::End,
        Op::Store { tile: tile(5, Expr::default(), sum(&[(0, u64::from(columns))]), 1, columns), reduce: false },
    ]);
    let takes = Takes { warps, registers: REGISTERS, shared_bytes: 2 * 2 * turn + 256 + COLUMNS_HELD * 8 };
    let name = format!("selective scan {}x{}x{} of {}", s.batch, s.channels, s.tokens, s.state);
    Ok(vec![Item::kernel(kernel(name, takes, all, tensors, &[2, 2, 1], ops), operands)])
}

/// States of a turn that shared memory has room for (`MAX_DSTATE`).
const COLUMNS_HELD: u32 = 256;
/// Registers of a thread.
const REGISTERS: u32 = 168;
/// Instructions of a warp for a column of the state, 16 tokens a thread; and where turns are not full, whose loads are predicated.
const COLUMN: f64 = 384.0;
const COLUMN_UNEVEN: f64 = 540.0;
