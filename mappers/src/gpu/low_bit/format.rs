//! From a format of weights to launches.

use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::spec::GpuSpec;

use super::{Marlin, int8_product, marlin, sparse_product, tinygemm};
use crate::gpu::frameworks::Framework;
use crate::gpu::fused::{Cost, Pointwise, Way, pointwise};
use crate::gpu::gemm::Gemm;
use crate::gpu::launch::{Item, Operand};
use crate::gpu::quantise;

/// Formats of weights (and activations) below 16 bits, and pairs of thin matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LowBit {
    /// Four-bit whole numbers with a scale (and a zero) of 16 bits for each group of depth; activations of 16 bits (GPTQ, AWQ).
    Int4 {
        /// Depth of a group; 0 for one scale a column.
        group: u32,
    },
    /// The four-bit normal-float table of bitsandbytes, a single-precision maximum a block: converted to 16 bits by a kernel of its own, then multiplied.
    Nf4 {
        /// Elements of a block.
        block: u32,
    },
    /// Eight-bit floating point weights with activations of 16 bits.
    Fp8WeightOnly,
    /// Four-bit floating point with a scale of eight bits a group, on a device whose units do not multiply it: MXFP4 (32), NVFP4 (16).
    Fp4 {
        /// Elements of a group.
        group: u32,
    },
    /// Eight-bit whole numbers of both, a scale a row and a column.
    Int8,
    /// The same, with some columns of the depth in 16 bits (LLM.int8()).
    Int8Outliers {
        /// Columns of depth that are kept in 16 bits.
        columns: u32,
    },
    /// Two of four weights are zero; 16 bits.
    Sparse24,
}

/// A product of activations `[m, k]` in 16 bits with weights `[n, k]` of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LowBitCall {
    /// Rows.
    pub m: u32,
    /// Columns.
    pub n: u32,
    /// Depth.
    pub k: u32,
    /// The weights.
    pub format: LowBit,
    /// Type of the activations and of the result: 16 bits.
    pub dtype: Dtype,
}

/// Memory of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowBitNames {
    /// Activations.
    pub input: Operand,
    /// Weights; scales, zeros and places lie beside them.
    pub weight: Operand,
    /// Result.
    pub output: Operand,
}

impl LowBitNames {
    fn beside(&self, what: &str) -> Operand {
        Operand { name: format!("{}.{what}", self.weight.name), ..self.weight.clone() }
    }
}

/// The launches of a product of a format. PyTorch multiplies four-bit weights by tinygemm; vLLM and SGLang, as TensorRT-LLM's kernels of the same kind, by Marlin.
///
/// # Errors
/// The device lacks the units of the format.
pub fn low_bit(
    framework: Framework,
    call: &LowBitCall,
    spec: &GpuSpec,
    names: &LowBitNames,
) -> Result<Vec<Item>, String> {
    let (m, n, k) = (call.m.max(1), call.n.max(1), call.k.max(1));
    let (lm, ln, lk) = (u64::from(m), u64::from(n), u64::from(k));
    let marlin_of = |weight_bits: u32, group: u32, scale_bytes: u32| {
        let c = Marlin { m: lm, n: ln, k: lk, dtype: call.dtype, weight_bits, group: u64::from(group), scale_bytes };
        let operands = [names.input.clone(), names.weight.clone(), names.beside("scales"), names.output.clone()];
        vec![Item::kernel(marlin(&c, spec), operands)]
    };
    match call.format {
        // bf16 needs units that multiply it.
        LowBit::Int4 { group }
            if matches!(framework, Framework::Torch | Framework::Compiled)
                && spec.tensor.fma_per_cycle.contains_key(&Dtype::Bf16) =>
        {
            let kernel = tinygemm(lm, ln, lk, u64::from(if group == 0 { k } else { group }));
            let operands = [names.input.clone(), names.weight.clone(), names.beside("scales"), names.output.clone()];
            Ok(vec![Item::kernel(kernel, operands)])
        }
        LowBit::Int4 { group } => Ok(marlin_of(4, group, 2)),
        LowBit::Fp8WeightOnly => Ok(marlin_of(8, 0, 2)),
        LowBit::Fp4 { group } => Ok(marlin_of(4, group.max(1), 1)),
        LowBit::Nf4 { block } => {
            let elements = ln.saturating_mul(lk);
            // A place in the table and a product each; two weights a byte.
            let convert = Pointwise {
                elements,
                inputs: vec![0.5, 4.0 / f64::from(block.max(1))],
                out_bytes: 2,
                way: Way::Vector,
                cost: Cost { fma: 1.0, alu: 8.0, sfu: 0.0 },
            };
            let wide = Operand::shared("converted_weight");
            Ok(vec![
                Item::kernel(
                    pointwise("conversion from nf4", &convert),
                    [names.weight.clone(), names.beside("scales"), wide.clone()],
                ),
                Item::product(Gemm::new(m, n, k, call.dtype), names.input.clone(), wide, names.output.clone()),
            ])
        }
        LowBit::Int8 => int8(call, spec, names, &names.output),
        LowBit::Int8Outliers { columns } => {
            let mut items = int8(call, spec, names, &names.output)?;
            if columns > 0 {
                // The columns are picked from the activations, multiplied in 16 bits, and the result added.
                let columns = columns.min(k).next_multiple_of(8);
                let picked = Operand::shared("outliers");
                let pick = Pointwise {
                    elements: lm.saturating_mul(u64::from(columns)),
                    inputs: vec![2.0],
                    out_bytes: 2,
                    way: Way::Strided,
                    cost: Cost::COPY,
                };
                items.push(Item::kernel(pointwise("outliers", &pick), [names.input.clone(), picked.clone()]));
                let apart = Operand::shared("outlier_product");
                items.push(Item::product(
                    Gemm::new(m, n, columns, call.dtype),
                    picked,
                    names.beside("outliers"),
                    apart.clone(),
                ));
                items.push(add(lm.saturating_mul(ln), &names.output, &apart, &names.output));
            }
            Ok(items)
        }
        LowBit::Sparse24 => {
            sparse_product(n, m, k, spec, &[names.weight.clone(), names.input.clone(), names.output.clone()])
        }
    }
}

fn add(elements: u64, a: &Operand, b: &Operand, to: &Operand) -> Item {
    let sum = Pointwise { elements, inputs: vec![2.0, 2.0], out_bytes: 2, way: Way::Vector, cost: Cost::BINARY };
    Item::kernel(pointwise("sum", &sum), [a.clone(), b.clone(), to.clone()])
}

/// Activations to eight bits with a scale a row, the product, and its 32-bit results times both scales.
fn int8(call: &LowBitCall, spec: &GpuSpec, names: &LowBitNames, output: &Operand) -> Result<Vec<Item>, String> {
    let (m, n, k) = (call.m.max(1), call.n.max(1), call.k.max(1));
    let narrow = Operand::shared("activations_int8");
    let sums = Operand::shared("sums_int32");
    let mut items = vec![Item::kernel(quantise::by_row(m, k, spec.sms()), [names.input.clone(), narrow.clone()])];
    items.extend(int8_product(m, n, k, spec, &[narrow, names.weight.clone(), sums.clone()])?);
    let scale = Pointwise {
        elements: u64::from(m) * u64::from(n),
        inputs: vec![4.0, 4.0 / f64::from(n), 4.0 / f64::from(m)],
        out_bytes: 2,
        way: Way::Convert,
        cost: Cost { fma: 2.0, alu: 2.0, sfu: 0.0 },
    };
    let scales = [sums, Operand::shared("activation_scales"), names.beside("scales"), output.clone()];
    items.push(Item::kernel(pointwise("scaling", &scale), scales));
    Ok(items)
}

/// A pair of thin products, `[m, k] x [r, k]^T x [n, r]^T`: a low-rank weight, or an adapter (LoRA) whose result is added to the output of the product that it goes with.
pub fn low_rank(call: &LowBitCall, rank: u32, adapter: bool, names: &LowBitNames) -> Vec<Item> {
    let (m, n, k, rank) = (call.m.max(1), call.n.max(1), call.k.max(1), rank.max(1));
    let thin = Operand::shared("low_rank");
    let result = if adapter { Operand::shared("adapter") } else { names.output.clone() };
    let mut items = vec![
        Item::product(Gemm::new(m, rank, k, call.dtype), names.input.clone(), names.beside("down"), thin.clone()),
        Item::product(Gemm::new(m, n, rank, call.dtype), thin, names.beside("up"), result.clone()),
    ];
    if adapter {
        items.push(add(u64::from(m) * u64::from(n), &names.output, &result, &names.output));
    }
    items
}
