//! One token's step of a short causal convolution: the last inputs of each channel are shifted by one, and multiplied by the taps.

use banksia_hw::gpu::program::{Kernel, Op, Path, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::code::{BATCH, CHANNELS, Takes, code, items, kernel, matrix, sizes, stream, sum, tile};
use super::conv::ConvNames;
use crate::gpu::copy;
use crate::gpu::launch::{Item, Operand};
use crate::gpu::layers::{copy_bytes, row_operator};
use crate::gpu::rows::{ElementWork, Elementwise, elementwise};

/// Whose kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvUpdateKernel {
    /// CUDA, of TensorRT-LLM from 1.3 on: 128 channels a CTA, in place.
    Fused,
    /// CUDA, of `causal-conv1d`, and TensorRT-LLM before: 64 channels a CTA, loops over tokens and state.
    General,
    /// PyTorch's operators one by one: roll, copy, copy of the new column, product, sum, bias, SiLU.
    Operators,
}

/// A step of a convolution of 16-bit activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvUpdate {
    /// Sequences.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// Taps, 2 to 8.
    pub taps: u32,
    /// Whose kernels.
    pub kernel: ConvUpdateKernel,
}

/// The launches of a step. The state of the fused kernels is `[batch, channels, taps - 1]`; that of the operators has all taps.
///
/// # Errors
/// A size that is nothing, or too large to be counted; taps that no kernel has.
pub fn conv_update(c: &ConvUpdate, _: &GpuSpec, names: &ConvNames) -> Result<Vec<Item>, String> {
    sizes(&[("batch", c.batch, BATCH), ("channels", c.channels, CHANNELS)])?;
    if !(2..=8).contains(&c.taps) {
        return Err(format!("{} taps: 2 to 8 are possible", c.taps));
    }
    match c.kernel {
        ConvUpdateKernel::Fused => fused(c, names, &FAST),
        ConvUpdateKernel::General => fused(c, names, &GENERAL),
        ConvUpdateKernel::Operators => operators(c, names),
    }
}

struct Fused {
    warps: u32,
    /// Instructions of a warp before its loads, and after.
    before: f64,
    after: f64,
}

/// nvcc 13 for `sm_90a`: 140 instructions for four taps, 25 registers.
const FAST: Fused = Fused { warps: 4, before: 45.0, after: 79.0 };
/// The same, of the source with its loops: division and `expf` without fast math.
const GENERAL: Fused = Fused { warps: 2, before: 110.0, after: 150.0 };

fn fused(c: &ConvUpdate, names: &ConvNames, f: &Fused) -> Result<Vec<Item>, String> {
    let wide = 32 * f.warps;
    let there = wide.min(c.channels);
    let all = items([c.batch, c.channels.div_ceil(wide)], |[b, d]| [i64::from(b), i64::from(d), 0, 0, 0, 0])?;
    let at = |tensor, row, each: u32| tile(tensor, row, sum(&[(1, u64::from(wide * each))]), 1, there * each);
    let (sequence, kept) = (sum(&[(0, 1)]), (c.taps - 1) * 2);
    let x = at(0, sequence, 2);
    let state = at(1, sequence, kept);
    let weight = at(2, sum(&[]), c.taps * 2);
    let work = VectorWork { sfu: 2.0 * f64::from(wide), ..code(f.after + 4.0 * f64::from(c.taps), f.warps) };
    let mut ops = vec![
        Op::Vector(code(f.before, f.warps)),
        copy(weight, Path::LoadL1, 0),
        copy(state, Path::Load, 0),
        copy(x, Path::Load, 0),
        Op::Wait(0),
        Op::Vector(work),
        Op::Store { tile: x, reduce: false },
    ];
    // Each of the kept inputs is a store of its own, two bytes a lane, that touches all sectors of the channels' states.
    ops.extend((1..c.taps).map(|_| Op::Store { tile: state, reduce: false }));
    let batch = u64::from(c.batch);
    let tensors = vec![
        matrix(batch, u64::from(c.channels) * 2, 1, x.bytes),
        matrix(batch, u64::from(c.channels * kept), 1, state.bytes),
        matrix(1, u64::from(c.channels * c.taps * 2), 1, weight.bytes),
    ];
    let takes = Takes { warps: f.warps, registers: 32, shared_bytes: 0 };
    let name = format!("causal convolution step {}x{} of {}", c.batch, c.channels, c.taps);
    let k = kernel(name, takes, all, tensors, &[3], ops);
    Ok(vec![Item::kernel(k, [names.input.clone(), names.state.clone(), names.weight.clone()])])
}

/// PyTorch's operators, as a model written with them launches each.
fn operators(c: &ConvUpdate, names: &ConvNames) -> Result<Vec<Item>, String> {
    let rows = u64::from(c.batch) * u64::from(c.channels);
    let all = rows * u64::from(c.taps);
    let (rolled, products) = (Operand::shared("conv.rolled"), Operand::shared("conv.products"));
    let sums = Operand::shared("conv.sums");
    // Weights and biases of all sequences are the same: their indices are worked out where there is more than one.
    let broadcast = c.batch > 1;
    let step = |k: Kernel, operands: Vec<Operand>| Item::kernel(k, operands);
    let silu = match u32::try_from(rows) {
        Ok(n) => row_operator("silu", 1, n),
        Err(_) => None,
    };
    let silu = silu.ok_or_else(|| format!("{rows} channels of all sequences: too many"))?;
    let output = names.output.clone();
    Ok(vec![
        step(roll(all), vec![names.state.clone(), rolled.clone()]),
        step(copy_bytes(all * 2), vec![rolled, names.state.clone()]),
        step(last_column(rows, c.taps)?, vec![names.input.clone(), names.state.clone()]),
        step(
            product(all, u64::from(c.channels * c.taps), broadcast),
            vec![names.state.clone(), names.weight.clone(), products.clone()],
        ),
        step(sums_of(rows, c.taps)?, vec![products, sums.clone()]),
        step(product(rows, u64::from(c.channels), broadcast), vec![sums.clone(), names.weight.clone(), sums.clone()]),
        step(silu, vec![sums, output]),
    ])
}

/// `torch.roll`: an element a thread, whose source is a remainder and a division of 64-bit indices away.
fn roll(elements: u64) -> Kernel {
    let work = ElementWork { fma: 30.0, alu: 45.0, sfu: 0.25, other: 45.0, stall: 2.5 };
    let k = elementwise(&Elementwise { elements, inputs: 1, element_bytes: 2, per_cta: 512, threads: 512, work });
    Kernel { name: format!("roll of {elements}"), ..k }
}

/// A strided copy of new inputs to the last column of the state: four elements a thread.
fn last_column(rows: u64, taps: u32) -> Result<Kernel, String> {
    let ctas = u32::try_from(rows.div_ceil(512)).map_err(|_| format!("{rows} channels of all sequences: too many"))?;
    let all = items([ctas], |[i]| [i64::from(i), 0, 0, 0, 0, 0])?;
    let from = tile(0, sum(&[]), sum(&[(0, 1024)]), 1, 1024);
    let to = tile(1, sum(&[]), sum(&[(0, u64::from(1024 * taps))]), 1, 1024 * taps);
    let ops = vec![
        Op::Vector(code(160.0, 4)),
        copy(from, Path::Load, 0),
        // Only a part of each sector is written: it is read first.
        copy(to, Path::Load, 0),
        Op::Wait(0),
        Op::Vector(code(20.0, 4)),
        Op::Store { tile: to, reduce: false },
    ];
    let tensors = vec![stream(rows * 2, 1024), stream(rows * u64::from(taps) * 2, 1024 * taps)];
    let takes = Takes { warps: 4, registers: 32, shared_bytes: 0 };
    Ok(kernel(format!("copy of {rows} to columns"), takes, all, tensors, &[2], ops))
}

/// Product or sum with weights: vectorised where shapes are the same, otherwise by elements with an index for each operand.
fn product(elements: u64, weights: u64, broadcast: bool) -> Kernel {
    let (work, per_cta) = if broadcast {
        (ElementWork { fma: 14.0, alu: 12.0, sfu: 0.0, other: 8.0, stall: 2.5 }, 512)
    } else {
        (ElementWork { fma: 3.25, alu: 2.0, sfu: 0.0, other: 2.1, stall: 2.5 }, 1024)
    };
    let k = elementwise(&Elementwise { elements, inputs: 2, element_bytes: 2, per_cta, threads: 128, work });
    let mut k = Kernel { registers: 40, name: format!("product of {elements}"), ..k };
    if broadcast {
        // Weights are few and found in L2: each CTA reads as many bytes of them, from the beginning again and again.
        let lines = (weights * 2).max(1);
        k.tensors[1].row_bytes = lines;
        let of_a_cta = i64::from(per_cta) * 2;
        for (at, item) in k.items.iter_mut().enumerate() {
            item[1] = (at as i64 % (lines as i64 / of_a_cta).max(1)) as i32;
        }
        for op in &mut k.roles[0].ops {
            if let Op::Copy { tile, .. } = op
                && tile.tensor == 1
            {
                tile.byte = sum(&[(1, of_a_cta as u64)]);
            }
        }
    }
    k
}

/// PyTorch's reduction of a few neighbours: as many threads as there are numbers, in rows of a warp's shuffles; 128 results a CTA.
fn sums_of(rows: u64, taps: u32) -> Result<Kernel, String> {
    let across = taps.next_power_of_two().min(32);
    let results = 512 / across;
    let ctas = u32::try_from(rows.div_ceil(u64::from(results))).map_err(|_| format!("{rows} sums: too many"))?;
    let all = items([ctas], |[i]| [i64::from(i), 0, 0, 0, 0, 0])?;
    let from = tile(0, sum(&[]), sum(&[(0, u64::from(results * taps * 2))]), 1, results * taps * 2);
    let to = tile(1, sum(&[]), sum(&[(0, u64::from(results * 2))]), 1, results * 2);
    let ops = vec![
        Op::Vector(code(120.0, 16)),
        copy(from, Path::Load, 0),
        Op::Wait(0),
        Op::Vector(VectorWork { latency_cycles: 60.0, ..code(80.0, 16) }),
        Op::Store { tile: to, reduce: false },
    ];
    let tensors = vec![stream(rows * u64::from(taps) * 2, from.bytes), stream(rows * 2, to.bytes)];
    let takes = Takes { warps: 16, registers: 32, shared_bytes: 16 };
    Ok(kernel(format!("sums of {taps} for {rows}"), takes, all, tensors, &[1], ops))
}
