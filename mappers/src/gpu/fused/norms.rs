//! Norms with what frameworks fuse into them: the sum with a residual stream before, a gate.

use banksia_hw::gpu::program::{Kernel, Op, Tensor, Trips, VectorWork};

use super::super::{PLAIN_REGISTERS, reduction};
use super::RowWriter;
use super::program::{Grid, Plain, each, load, load_l1, matrix, part, set_up, shared_part, store};

/// 32-bit registers of an SM, on every device so far: what a CTA can have.
const REGISTER_FILE: u32 = 65_536;

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Norm {
    /// By the root of the mean square.
    Rms,
    /// By mean and variance.
    Layer,
}

/// A norm over the rows of a matrix of 16-bit numbers, `[rows, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NormCall {
    /// Rows: tokens, or tokens x heads for norms of queries and keys.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// Which.
    pub norm: Norm,
    /// A residual stream is added first, and the sum is written back to it.
    pub residual: bool,
    /// The input is first multiplied with SiLU of a second one (Mamba-2's gated norm).
    pub gate: bool,
}

impl NormCall {
    /// RMS norm without anything else.
    pub fn rms(rows: u32, columns: u32) -> Self {
        Self { rows, columns, norm: Norm::Rms, residual: false, gate: false }
    }

    /// With the residual stream added and written.
    #[must_use]
    pub fn with_residual(self) -> Self {
        Self { residual: true, ..self }
    }

    /// With a gate on its input.
    #[must_use]
    pub fn with_gate(self) -> Self {
        Self { gate: true, ..self }
    }
}

/// Lane operations an element before the reduction and after it: FMA, integer, special functions, others. From the arithmetic: a conversion
/// from 16 bits is an integer operation, of two numbers to 16 bits one; loads and stores of 16 bytes are an eighth each.
struct PerElement {
    before: [f64; 4],
    after: [f64; 4],
}

impl PerElement {
    fn of(call: &NormCall) -> Self {
        // Square and sum; of the variance the mean is taken off first, and the second pass has it again.
        let mut before = match call.norm {
            Norm::Rms => [1.0, 1.0, 0.0, 0.2],
            Norm::Layer => [3.0, 1.0, 0.0, 0.2],
        };
        let after = match call.norm {
            Norm::Rms => [2.0, 1.5, 0.0, 0.4],
            Norm::Layer => [3.0, 2.5, 0.0, 0.5],
        };
        if call.residual {
            before = [before[0] + 1.0, before[1] + 1.5, 0.0, before[3] + 0.3];
        }
        if call.gate {
            // SiLU of the gate and two products: exponential, and a division by its reciprocal with range checks.
            before = [before[0] + 8.0, before[1] + 2.0, before[2] + 2.0, before[3] + 0.3];
        }
        Self { before, after }
    }
}

/// The fused norm as one kernel. Tensors: input, the residual stream (read and written) if there is one, the gate if there is one, the
/// weights, the shift of a layer norm, the output.
pub fn norm(writer: RowWriter, call: &NormCall) -> Kernel {
    match writer {
        RowWriter::Triton => triton(call),
        RowWriter::Cuda => cuda(call),
    }
}

/// Its tensors, and the places of the residual stream, the gate, the weights and the output among them.
fn tensors(call: &NormCall, piece: u64) -> (Vec<Tensor>, [u8; 4]) {
    let row = u64::from(call.columns) * 2;
    let rows = matrix(u64::from(call.rows), row, piece);
    let vector = matrix(1, row, piece);
    let mut tensors = vec![rows];
    tensors.extend([call.residual, call.gate].into_iter().filter(|has| *has).map(|_| rows));
    let residual = 1;
    let gate = 1 + u8::from(call.residual);
    let weights = gate + u8::from(call.gate);
    tensors.push(vector);
    let shift = call.norm == Norm::Layer;
    tensors.extend(shift.then_some(vector));
    tensors.push(rows);
    (tensors, [residual, gate, weights, weights + 1 + u8::from(shift)])
}

fn inputs(call: &NormCall) -> u32 {
    1 + u32::from(call.residual) + u32::from(call.gate)
}

fn vectors(call: &NormCall) -> u32 {
    1 + u32::from(call.norm == Norm::Layer)
}

/// A reduction over the warps of a CTA, with its two barriers.
fn reduce(warps: u32) -> [Op; 3] {
    [Op::Vector(VectorWork { ..reduction(warps) }), Op::Sync, Op::Sync]
}

/// Warps of a Triton kernel over a padded row: one for each 256 elements, 16 at most, as launchers set them (Triton's tutorials, Liger,
/// vLLM and mamba-ssm: `min(max(BLOCK // 256, 1), 8 or 16)`). Gated norms take 16.
fn triton_warps(call: &NormCall) -> u32 {
    if call.gate { 16 } else { (call.columns.checked_next_power_of_two().unwrap_or(1 << 31) / 256).clamp(1, 16) }
}

fn triton(call: &NormCall) -> Kernel {
    let row = u64::from(call.columns) * 2;
    let warps = triton_warps(call);
    let (tensors, [residual, gate, weights, out]) = tensors(call, row);
    // Lanes beyond the row run along.
    let n = call.columns.max(1).next_power_of_two().max(32);
    let work = PerElement::of(call);
    let of = |w: [f64; 4]| each(f64::from(n), w[0], w[1], w[2], w[3]);
    let mut ops = vec![set_up(warps, 40.0), load(part(0, 0, 0, row), 0)];
    ops.extend(call.residual.then(|| load(part(residual, 0, 0, row), 0)));
    ops.extend(call.gate.then(|| load(part(gate, 0, 0, row), 0)));
    ops.extend([Op::Wait(0), of(work.before)]);
    ops.extend(call.residual.then(|| store(part(residual, 0, 0, row))));
    ops.extend(reduce(warps));
    if call.norm == Norm::Layer {
        ops.extend(reduce(warps));
    }
    // Nothing is loaded past a barrier: weights come after the sum is known.
    ops.extend((0..vectors(call) as u8).map(|i| load_l1(shared_part(weights + i, 0, 0, row), 1)));
    ops.extend([Op::Wait(1), of(work.after), store(part(out, 0, 0, row))]);
    let per_thread = n.div_ceil(warps * 32);
    Plain {
        name: name("Triton", call),
        grid: Grid { x: u64::from(call.rows), y: 1 },
        warps,
        // A row's sums stay in registers: one each, beside addresses and the other input's. What a CTA cannot have is spilled.
        registers: (PLAIN_REGISTERS + per_thread.saturating_sub(8)).min(REGISTER_FILE / (warps * 32)).min(255),
        shared_bytes: 1024,
        tensors,
        arrivals: vec![inputs(call), vectors(call)],
        ops,
    }
    .kernel()
}

/// Rows below which vLLM's kernels take as many threads as there are (`csrc/layernorm_kernels.cu`: `num_tokens < 256 ? 1024 : 256`).
const FEW_ROWS: u32 = 256;
/// Elements of a vector of 16 bytes.
const VECTOR: u32 = 8;

fn cuda(call: &NormCall) -> Kernel {
    let most = if call.rows < FEW_ROWS { 1024 } else { 256 };
    let threads = call.columns.div_ceil(VECTOR).next_multiple_of(32).clamp(32, most);
    let warps = threads / 32;
    let chunk = u64::from((threads * VECTOR).min(call.columns.max(1)));
    let turns = u32::try_from(u64::from(call.columns).div_ceil(chunk)).unwrap_or(u32::MAX).max(1);
    let (tensors, [residual, gate, weights, out]) = tensors(call, chunk * 2);
    let turn = |tensor| {
        let mut tile = part(tensor, 0, 0, chunk * 2);
        tile.byte = tile.byte.plus_loop(0, i64::try_from(chunk * 2).unwrap_or(i64::MAX));
        tile
    };
    let turn_of_all = |tensor| {
        let mut tile = turn(tensor);
        tile.row = shared_part(tensor, 0, 0, 0).row;
        tile
    };
    let work = PerElement::of(call);
    let of = |w: [f64; 4]| each(chunk as f64, w[0], w[1], w[2], w[3]);
    let mut ops = vec![set_up(warps, 40.0), Op::Loop(Trips::Const(turns)), load_l1(turn(0), 0)];
    ops.extend(call.residual.then(|| load(turn(residual), 0)));
    ops.extend(call.gate.then(|| load(turn(gate), 0)));
    ops.extend([Op::Wait(0), of(work.before)]);
    ops.extend(call.residual.then(|| store(turn(residual))));
    ops.push(Op::End);
    ops.extend(reduce(warps));
    if call.norm == Norm::Layer {
        ops.extend(reduce(warps));
    }
    // The second pass reads what the first has left in L1 (its sum with the residual stream in L2), and the weights.
    let again = if call.residual { load(turn(residual), 1) } else { load_l1(turn(0), 1) };
    ops.extend([Op::Loop(Trips::Const(turns)), again]);
    ops.extend((0..vectors(call) as u8).map(|i| load_l1(turn_of_all(weights + i), 1)));
    ops.extend([Op::Wait(1), of(work.after), store(turn(out)), Op::End]);
    Plain {
        name: name("CUDA", call),
        grid: Grid { x: u64::from(call.rows), y: 1 },
        warps,
        registers: PLAIN_REGISTERS,
        shared_bytes: 1024,
        tensors,
        arrivals: vec![inputs(call), 1 + vectors(call)],
        ops,
    }
    .kernel()
}

fn name(writer: &str, call: &NormCall) -> String {
    let kind = match call.norm {
        Norm::Rms => "rms norm",
        Norm::Layer => "layer norm",
    };
    let sum = if call.residual { "sum and " } else { "" };
    let gate = if call.gate { "gate and " } else { "" };
    format!("{sum}{gate}{kind} {}x{} ({writer})", call.rows, call.columns)
}
