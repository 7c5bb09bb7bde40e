//! One token's update of a selective state: `selective_state_update` of `mamba_ssm` (Triton), which vLLM, SGLang and TensorRT-LLM carry too.
//!
//! A CTA takes some rows of a head's state `[head_dim, state]`: decays them, adds the token's outer product, stores them, and reduces
//! them with C to the output.

use banksia_hw::gpu::program::{Op, Path, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::code::{
    BATCH, CHANNELS, COLUMNS, HEADS, Takes, countable, element, items, kernel, matrix, mixed, sizes, sum, tile,
};
use crate::gpu::copy;
use crate::gpu::launch::{Item, Operand};

/// One update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateUpdate {
    /// Sequences.
    pub batch: u32,
    /// Heads; for Mamba-1 one.
    pub heads: u32,
    /// Rows of a head's state; for Mamba-1 all channels.
    pub head_dim: u32,
    /// Columns of a head's state.
    pub state: u32,
    /// Groups of heads that share B and C.
    pub groups: u32,
    /// Bytes of an element of the state.
    pub state_bytes: u32,
    /// Bytes of an element of x, B, C and the output.
    pub element_bytes: u32,
    /// All rows of a head have one step size and one decay (Mamba-2); otherwise each element of the state has its own.
    pub tied: bool,
    /// The output is multiplied by SiLU of a gate.
    pub gate: bool,
}

/// Memory of an update.
#[derive(Debug, Clone)]
pub struct StateUpdateNames {
    /// x, step sizes and the gate: what the projection and the convolution have made.
    pub input: Operand,
    /// B and C.
    pub projections: Operand,
    /// Decays, step biases, skips.
    pub parameters: Operand,
    /// The state, read and written.
    pub state: Operand,
    /// The result.
    pub output: Operand,
}

impl Default for StateUpdateNames {
    fn default() -> Self {
        Self {
            input: Operand::shared("ssm.x"),
            projections: Operand::shared("ssm.bc"),
            parameters: Operand::own("ssm.parameters"),
            state: Operand::own("ssm.state"),
            output: Operand::shared("ssm.y"),
        }
    }
}

impl StateUpdate {
    /// Rows of a CTA and its warps, as the source has them by the columns of the state.
    fn tile(&self) -> (u32, u32) {
        match self.state {
            ..=16 => (32, 4),
            17..=32 => (16, 4),
            33..=64 => (8, 4),
            65..=128 => (4, 4),
            _ => (4, 8),
        }
    }

    /// Bytes read and written that cannot be avoided.
    pub fn bytes(&self) -> u64 {
        let state = [self.batch, self.heads, self.head_dim, self.state].map(u64::from).iter().product::<u64>();
        2 * state * u64::from(self.state_bytes)
    }
}

/// The launch of an update.
///
/// # Errors
/// A size that is nothing, or too large to be counted.
pub fn state_update(u: &StateUpdate, _: &GpuSpec, names: &StateUpdateNames) -> Result<Vec<Item>, String> {
    sizes(&[("batch", u.batch, BATCH), ("heads", u.heads, HEADS), ("head_dim", u.head_dim, CHANNELS)])?;
    sizes(&[("state", u.state, COLUMNS), ("groups", u.groups, HEADS)])?;
    element("an element of the state", u.state_bytes)?;
    element("an element", u.element_bytes)?;
    countable("the state", &[u.batch, u.heads, u.head_dim, u.state])?;
    let (rows, warps) = u.tile();
    let (rows_there, e) = (rows.min(u.head_dim), u.element_bytes);
    let per_group = u.heads.div_ceil(u.groups.min(u.heads));
    let all = items([u.head_dim.div_ceil(rows), u.batch, u.heads], |[m, b, h]| {
        let head = u64::from(b) * u64::from(u.heads) + u64::from(h);
        [i64::from(m), i64::from(b), i64::from(h), head as i64, i64::from(h / per_group), 0]
    })?;
    let line = u.state * u.state_bytes;
    let state = tile(0, sum(&[(3, 1)]), sum(&[(0, u64::from(rows * line))]), 1, rows_there * line);
    let columns = u64::from(u.head_dim) * u64::from(e);
    let x = tile(1, sum(&[(1, 1)]), sum(&[(2, columns), (0, u64::from(rows * e))]), 1, rows_there * e);
    let bc = tile(2, sum(&[(1, 1)]), sum(&[(4, u64::from(u.state * e))]), 1, u.state * e);
    let c = tile(3, bc.row, bc.byte, 1, bc.bytes);
    // Decay, step bias and skip of a head; or the decays of the rows.
    let (decays, first) = if u.tied {
        (16, sum(&[(2, 16)]))
    } else {
        (rows_there * u.state * 4, sum(&[(2, u64::from(u.head_dim * u.state * 4)), (0, u64::from(rows * u.state * 4))]))
    };
    let parameters = tile(4, sum(&[]), first, 1, decays);
    let out = tile(5, x.row, x.byte, 1, x.bytes);
    // Instructions of a warp (Triton 3.6, SASS: 228 and 268 for four elements of the state a thread, 16 more for a gate): addresses and
    // predicates come first, the chain of step size, softplus and exponential once its loads are there.
    let each = f64::from(rows * u.state.next_power_of_two()) / f64::from(32 * warps);
    let (fixed, per) = if u.tied { (200.0, 7.0) } else { (215.0, 13.0) };
    let after = fixed - 90.0 + per * each + if u.gate { 16.0 } else { 0.0 };
    let exponentials = if u.tied { 2.0 } else { 2.0 + each };
    let work = VectorWork {
        sfu: exponentials * 32.0 * f64::from(warps),
        // Sums go through shared memory once, between two barriers.
        shared_bytes: f64::from(warps * 32 * 8),
        ..mixed(after, warps, 0.3)
    };
    // B and C are rearranged through shared memory, and sums go over lanes and warps: five barriers, stores and loads between them, five shuffles; and before,
    // softplus and exponential, each of which waits for the last.
    let chain = VectorWork { latency_cycles: 5.0 * (29.0 + 10.0) + 5.0 * 24.0 + 100.0, ..VectorWork::default() };
    let ops = vec![
        Op::Vector(mixed(90.0, warps, 0.3)),
        copy(state, Path::Load, 0),
        copy(x, Path::LoadL1, 0),
        copy(parameters, Path::LoadL1, 0),
        copy(bc, Path::LoadL1, 0),
        copy(c, Path::LoadL1, 0),
        Op::Wait(0),
        Op::Vector(work),
        Op::Sync,
        Op::Sync,
        Op::Store { tile: state, reduce: false },
        Op::Vector(chain),
        Op::Sync,
        Op::Sync,
        Op::Sync,
        Op::Store { tile: out, reduce: false },
    ];
    let batch = u64::from(u.batch);
    let inner = u64::from(u.heads) * columns;
    let groups = u64::from(u.groups) * u64::from(u.state * e);
    let tensors = vec![
        matrix(batch * u64::from(u.heads), u64::from(u.head_dim) * u64::from(line), 1, state.bytes),
        matrix(batch, inner, 1, 128),
        matrix(batch, groups, 1, bc.bytes),
        matrix(batch, groups, 1, bc.bytes),
        matrix(1, u64::from(u.heads) * if u.tied { 16 } else { u64::from(u.head_dim * u.state) * 4 }, 1, decays),
        matrix(batch, inner, 1, 128),
    ];
    let name = format!("state update {}x{}x{}x{}", u.batch, u.heads, u.head_dim, u.state);
    let takes = Takes { warps, registers: 32, shared_bytes: 64 * warps };
    let n = names;
    let operands = [&n.state, &n.input, &n.projections, &n.projections, &n.parameters, &n.output].map(Operand::clone);
    Ok(vec![Item::kernel(kernel(name, takes, all, tensors, &[5], ops), operands)])
}
