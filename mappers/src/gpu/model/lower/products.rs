//! Products with weights: whole, by head, by expert, in any format.

use banksia_hw::gpu::program::Dtype;
use banksia_workloads::model::WeightFormat;
use banksia_workloads::{DataType, NodeTypes, Op, Phase};

use super::{Lowering, One, int, matrix_type};
use crate::gpu::frameworks;
use crate::gpu::fused::{Cost, Pointwise, Way, pointwise};
use crate::gpu::gemm::Gemm;
use crate::gpu::launch::{Item, Operand};
use crate::gpu::low_bit::{LowBit, LowBitCall, LowBitNames, low_bit};
use crate::gpu::model::part::Launches;
use crate::gpu::moe;
use crate::gpu::moe::hopper::{Grouped, HopperTile, hopper};
use crate::gpu::select::Found;
use crate::plan::Unsupported;

/// Activations have just been written, weights come from memory.
const FOUND: Found = Found { a: true, b: false, c: false };

impl Lowering<'_> {
    pub(super) fn products(&self, one: &One<'_>, types: &NodeTypes, load: &[u64]) -> Result<Launches, Unsupported> {
        let part = one.part;
        let m = one.rows();
        match one.op {
            // The bias is added as the product is stored.
            Op::Linear { in_features, out_features, .. } => {
                let g = self.product(m, out_features, in_features);
                let operands = [part.input(0), part.weight(0), part.output.clone()];
                if types.weights.dtype == self.model.model.types.activations && types.weights.of == 0 {
                    return Ok(Launches::Product(g, FOUND, operands));
                }
                self.in_format(one, g, types, operands).map(Launches::Items)
            }
            // One product of each head with its own weight.
            Op::HeadLinear { heads, in_features, out_features } => {
                let g = Gemm { batch: int(heads), ..self.product(m, out_features, in_features) };
                Ok(Launches::Product(g, FOUND, [part.input(0), part.weight(0), part.output.clone()]))
            }
            Op::ExpertLinear { in_features, out_features, .. } => {
                let rows: Vec<u32> = load.iter().map(|r| int(*r)).collect();
                if rows.iter().all(|r| *r == 0) {
                    return Ok(Launches::Items(Vec::new()));
                }
                let operands = [part.input(0), part.weight(0), part.output.clone()];
                self.grouped(one, &rows, [int(out_features), int(in_features)], types, operands).map(Launches::Items)
            }
            _ => Err(self.unknown(part, one.op.kind())),
        }
    }

    /// Grouped products of PyTorch multiply 16 bits, or 8 on Hopper (`_scaled_grouped_mm`). Other experts of 8 and 4 bits are converted first, those that
    /// have rows (`dequantize` of the checkpoint's format); it has no kernels for more.
    fn grouped(
        &self,
        one: &One<'_>,
        rows: &[u32],
        [n, k]: [u32; 2],
        types: &NodeTypes,
        [input, weight, output]: [Operand; 3],
    ) -> Result<Vec<Item>, Unsupported> {
        let spec = &self.model.spec;
        let (format, activations) = (&types.weights, self.model.model.types.activations);
        let plain = format.dtype == activations && format.of == 0;
        let weights = format.dtype.bits();
        if !plain && (format.of > 0 || weights > 8) {
            return Err(self.unknown(one.part, "experts of this weight format"));
        }
        if format.dtype == DataType::Fp8 && types.operands == DataType::Fp8 && spec.tensor.warpgroup {
            return Ok(self.scaled_grouped(rows, [n, k], format.group > 0, [input, weight, output]));
        }
        let mut items = Vec::new();
        let mut wide = weight;
        if !plain {
            let used = rows.iter().filter(|r| **r > 0).count() as u64;
            let elements = used.saturating_mul(u64::from(n)).saturating_mul(u64::from(k));
            let scales = if format.group > 0 { 2.0 / format.group as f64 } else { 0.0 };
            let convert = Pointwise {
                elements,
                inputs: vec![weights as f64 / 8.0, scales],
                out_bytes: 2,
                way: Way::Vector,
                cost: Cost { fma: 1.0, alu: if weights < 8 { 8.0 } else { 4.0 }, sfu: 0.0 },
            };
            let converted = Operand::shared("converted_weight");
            let beside = Operand { name: format!("{}.scales", wide.name), ..wide.clone() };
            items.push(Item::kernel(pointwise("conversion of experts", &convert), [wide, beside, converted.clone()]));
            wide = converted;
        }
        items.extend(moe::grouped_mm(rows, n, k, spec, &[input, wide, output]));
        Ok(items)
    }

    /// Rows are converted to 8 bits, then multiplied by one kernel with the tiles of the 16-bit one.
    fn scaled_grouped(
        &self,
        rows: &[u32],
        [n, k]: [u32; 2],
        blocks: bool,
        [input, weight, output]: [Operand; 3],
    ) -> Vec<Item> {
        let spec = &self.model.spec;
        let g = Grouped {
            rows,
            n,
            k,
            dtype: Dtype::Fp8,
            weight_bits: 8,
            out_bytes: 2,
            by_depth: false,
            block_scales: blocks,
        };
        let small = g.total() / (rows.len() as u32).max(1) <= 128 || n <= 128;
        let tile = HopperTile {
            tokens: if small { 64 } else { 128 },
            columns: 128,
            depth_bytes: 128,
            cluster: (2, 1),
            pingpong: small,
            weights_first: false,
            descriptors: true,
        };
        let whole = Gemm { block_scales: blocks, out_bytes: 2, ..Gemm::new(g.total(), n, k, Dtype::Fp8) };
        let narrow = Operand::shared("quantised_input");
        let quantise = frameworks::quantisation(self.framework(), &whole, spec).into_iter();
        quantise
            .map(|kernel| Item::kernel(kernel, [input.clone(), narrow.clone(), Operand::shared("scales")]))
            .chain(hopper(&g, &tile, spec).map(|kernel| Item::kernel(kernel, [narrow.clone(), weight, output])))
            .collect()
    }

    /// A product whose weights are not of the activations' type.
    fn in_format(
        &self,
        one: &One<'_>,
        g: Gemm,
        types: &NodeTypes,
        [input, weight, output]: [Operand; 3],
    ) -> Result<Vec<Item>, Unsupported> {
        let framework = self.framework();
        let format = &types.weights;
        let dense = format.of == 0 && format.outliers_per_10000 == 0;
        if format.dtype == DataType::Fp8 && types.operands == DataType::Fp8 && dense {
            let blocks = format.group > 0;
            let g =
                Gemm { dtype: matrix_type(format.dtype, self.model.dtype), block_scales: blocks, out_bytes: 2, ..g };
            if !self.multiplies(Dtype::Fp8) {
                // Frameworks convert the weights on the way there.
                let call =
                    LowBitCall { m: g.m, n: g.n, k: g.k, format: LowBit::Fp8WeightOnly, dtype: self.model.dtype };
                let names = LowBitNames { input, weight, output };
                return self.items(one.part, low_bit(framework, &call, &self.model.spec, &names));
            }
            let narrow = Operand::shared("quantised_input");
            let quantise = frameworks::quantisation(framework, &g, &self.model.spec);
            let mut items: Vec<Item> = quantise
                .into_iter()
                .map(|kernel| Item::kernel(kernel, [input.clone(), narrow.clone(), Operand::shared("scales")]))
                .collect();
            let library = frameworks::library(framework, g.dtype, blocks);
            items.push(Item::Product(g, library, FOUND, [narrow, weight, output]));
            return Ok(items);
        }
        let Some(low) = low_bit_of(format, types.operands, g.k) else {
            return Err(self.unknown(one.part, "product of this weight format"));
        };
        let call = LowBitCall { m: g.m, n: g.n, k: g.k, format: low, dtype: self.model.dtype };
        let names = LowBitNames { input, weight, output };
        self.items(one.part, low_bit(framework, &call, &self.model.spec, &names))
    }

    /// Scores and values as products of all heads, of plain PyTorch.
    pub(super) fn unfused_attention(&self, one: &One<'_>) -> Result<Launches, Unsupported> {
        let part = one.part;
        // Keys and values of a prompt have just been written; those of a context come from memory.
        let cached = Found { a: true, b: self.phase == Phase::Prefill, c: false };
        let operands = || [part.input(0), part.cache(), part.output.clone()];
        // Heads that share keys are rows of one product.
        let of = |heads: u64, kv_heads: u64, n: u64, k: u64| {
            let group = heads / kv_heads.max(1);
            let product = self.product(one.tokens.saturating_mul(group), n, k);
            Gemm { batch: int(one.batch.saturating_mul(kv_heads)), ..product }
        };
        match one.op {
            Op::AttentionScores { heads, kv_heads, head_dim, context, .. } => {
                Ok(Launches::Product(of(heads, kv_heads, context, head_dim), cached, operands()))
            }
            Op::AttentionValues { heads, kv_heads, head_dim, context, .. } => {
                Ok(Launches::Product(of(heads, kv_heads, head_dim, context), cached, operands()))
            }
            _ => Err(self.unknown(part, one.op.kind())),
        }
    }
}

/// The kernels' name for a format of weights that matrix units do not multiply as they are; `None` where there are none.
fn low_bit_of(format: &WeightFormat, operands: DataType, k: u32) -> Option<LowBit> {
    let group = u32::try_from(format.group).ok()?;
    Some(match (format.dtype, operands) {
        (DataType::Bf16 | DataType::F16, _) if (format.kept, format.of) == (2, 4) => LowBit::Sparse24,
        (_, _) if format.of > 0 => return None,
        (DataType::Int8, DataType::Int8) if format.outliers_per_10000 > 0 => {
            let columns = (u64::from(k) * format.outliers_per_10000).div_ceil(10_000);
            LowBit::Int8Outliers { columns: u32::try_from(columns).unwrap_or(k) }
        }
        (DataType::Int8, DataType::Int8) => LowBit::Int8,
        (DataType::Int4, _) => LowBit::Int4 { group },
        (DataType::Nf4, _) => LowBit::Nf4 { block: group.max(1) },
        // Whole numbers of eight bits are converted on the way as floating ones are, in as many instructions.
        (DataType::Int8 | DataType::Fp8, _) => LowBit::Fp8WeightOnly,
        (DataType::Fp4, _) => LowBit::Fp4 { group: group.max(1) },
        _ => return None,
    })
}
