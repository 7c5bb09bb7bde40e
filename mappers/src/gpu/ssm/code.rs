//! What the kernels of this family have in common: work of compiled code, work items of a grid, tensors, kernels of one role.

use banksia_hw::gpu::program::{Barrier, Dtype, Expr, Kernel, Op, Tensor, Tile, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use crate::gpu::one_role;

/// CTAs of a launch at most: a work item is kept for each.
const MOST_CTAS: u64 = 1 << 22;

/// Cycles that a warp of Triton's code waits after an instruction, besides what it waits for memory: `device_multistage_profile.csv`,
/// Triton's products, outside of their steps 1.8, in them 1.7.
pub(super) const TRITON_STALL: f64 = 1.8;

/// So many instructions of each of so many warps. Of the instructions of these kernels two fifths are for the integer and logic lanes (shifts
/// and permutations that widen 16 bits, addresses, predicates), two fifths for the FMA lanes (SASS: 0.36 to 0.43 and 0.32 to 0.47).
pub(super) fn code(instructions: f64, warps: u32) -> VectorWork {
    mixed(instructions, warps, 0.4)
}

/// The same, of which so many are for the integer and logic lanes.
pub(super) fn mixed(instructions: f64, warps: u32, integer: f64) -> VectorWork {
    let issue = instructions * f64::from(warps);
    VectorWork { issue, alu: issue * 32.0 * integer, fma: issue * 32.0 * 0.35, stall: TRITON_STALL, ..VectorWork::default() }
}

/// Element sizes that a call may have.
pub(super) fn element(what: &str, bytes: u32) -> Result<(), String> {
    if matches!(bytes, 1 | 2 | 4) { Ok(()) } else { Err(format!("{what} is {bytes} bytes: must be 1, 2 or 4")) }
}

/// That sizes are there, and none above what this family's kernels are written for, so that products of two fit 31 bits.
pub(super) fn sizes(list: &[(&str, u32, u32)]) -> Result<(), String> {
    for &(name, n, most) in list {
        if n == 0 || n > most {
            return Err(format!("{name} is {n}: must be 1 to {most}"));
        }
    }
    Ok(())
}

/// Largest sides: sequences, tokens, heads or groups, channels or a head's size, columns of a state.
pub(super) const BATCH: u32 = 1 << 20;
pub(super) const TOKENS: u32 = 1 << 24;
pub(super) const HEADS: u32 = 1 << 14;
pub(super) const CHANNELS: u32 = 1 << 17;
pub(super) const COLUMNS: u32 = 1 << 11;

/// That the elements of an array can be counted, and its rows be numbered.
pub(super) fn countable(what: &str, sides: &[u32]) -> Result<u64, String> {
    let n = sides.iter().fold(1u64, |n, s| n.saturating_mul(u64::from(*s)));
    if n <= 1 << 44 { Ok(n) } else { Err(format!("{what} has {n} elements: at most {} are simulated", 1u64 << 44)) }
}

/// The work items of a grid, the first side running fastest.
pub(super) fn items<const D: usize>(
    sides: [u32; D],
    mut item: impl FnMut([u32; D]) -> [i64; WORK_VARS],
) -> Result<Vec<[i32; WORK_VARS]>, String> {
    let n = sides.iter().fold(1u64, |n, s| n.saturating_mul(u64::from(*s)));
    if n == 0 || n > MOST_CTAS {
        return Err(format!("a launch of {n} CTAs: 1 to {MOST_CTAS} are simulated"));
    }
    let mut at = [0u32; D];
    let mut items = Vec::with_capacity(n as usize);
    for _ in 0..n {
        let mut numbers = [0i32; WORK_VARS];
        for (to, from) in numbers.iter_mut().zip(item(at)) {
            *to = i32::try_from(from).map_err(|_| format!("row {from} of an array: rows are numbered in 31 bits"))?;
        }
        items.push(numbers);
        for (i, side) in at.iter_mut().zip(sides) {
            *i += 1;
            if *i < side {
                break;
            }
            *i = 0;
        }
    }
    Ok(items)
}

/// A box of a matrix.
pub(super) fn tile(tensor: u8, row: Expr, byte: Expr, rows: u32, bytes: u32) -> Tile {
    Tile { tensor, row, byte, rows, bytes }
}

/// A coordinate of several numbers of the work item: number and factor.
pub(super) fn sum(terms: &[(usize, u64)]) -> Expr {
    terms.iter().fold(Expr::default(), |e, &(var, factor)| e.plus_work(var, factor as i64))
}

/// A matrix read in pieces of so many rows and bytes.
pub(super) fn matrix(rows: u64, row_bytes: u64, piece_rows: u32, piece_bytes: u32) -> Tensor {
    let piece = piece_bytes.clamp(32, 1 << 15).next_power_of_two();
    Tensor::matrix(rows.max(1), row_bytes.max(1), piece_rows, piece)
}

/// Bytes one after the other, of which a CTA takes so many.
pub(super) fn stream(bytes: u64, of_a_cta: u32) -> Tensor {
    let piece = of_a_cta.clamp(32, 1 << 15).next_power_of_two();
    Tensor { piece_bytes: piece, ..Tensor::stream(bytes.max(1)) }
}

/// What a kernel takes of an SM.
#[derive(Debug, Clone, Copy)]
pub(super) struct Takes {
    pub warps: u32,
    pub registers: u32,
    pub shared_bytes: u32,
}

/// A kernel all of whose warps run the same program; barrier `i` completes with `arrivals[i]` copies.
pub(super) fn kernel(
    name: String,
    takes: Takes,
    items: Vec<[i32; WORK_VARS]>,
    tensors: Vec<Tensor>,
    arrivals: &[u32],
    ops: Vec<Op>,
) -> Kernel {
    Kernel {
        name,
        threads: 32 * takes.warps,
        registers: takes.registers,
        shared_bytes: takes.shared_bytes,
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors,
        barriers: arrivals.iter().map(|&n| Barrier { arrivals: n.max(1), credits: 0 }).collect(),
        roles: one_role(takes.warps, ops),
        pipelined: false,
    }
}

/// The 16-bit type of products: half precision where the matrix units lack bfloat16, which take as long.
pub(super) fn half(spec: &GpuSpec) -> Dtype {
    if spec.tensor.fma_per_cycle.contains_key(&Dtype::Bf16) { Dtype::Bf16 } else { Dtype::Fp16 }
}
