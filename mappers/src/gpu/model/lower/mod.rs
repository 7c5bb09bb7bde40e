//! From the parts of a step to launches: one file a family of operators.

mod argmax;
mod attention;
mod experts;
mod products;
mod recurrent;
mod rows;

use std::sync::Arc;

use banksia_hw::gpu::program::{Dtype, Kernel, Op as TileOp};
use banksia_workloads::{DataType, Op, Phase};

use super::super::frameworks::Framework;
use super::super::fused::RowWriter;
use super::super::gemm::Gemm;
use super::super::launch::Item;
use super::part::{Launches, Part, Work};
use super::state::GpuModel;
use crate::plan::Unsupported;

/// The lowering of one phase.
pub(super) struct Lowering<'a> {
    pub(super) model: &'a GpuModel,
    pub(super) phase: Phase,
}

/// Sizes have been checked to be far below this.
pub(super) fn int(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// An operator by itself, its sizes at hand.
#[derive(Clone, Copy)]
struct One<'a> {
    part: &'a Part,
    op: Op,
    batch: u64,
    tokens: u64,
}

impl One<'_> {
    /// Tokens of all sequences.
    fn rows(&self) -> u64 {
        self.batch.saturating_mul(self.tokens)
    }
}

impl Lowering<'_> {
    fn framework(&self) -> Framework {
        self.model.options.framework
    }

    /// Who writes the kernels of rows.
    fn writer(&self) -> RowWriter {
        match self.framework() {
            Framework::Torch | Framework::Compiled => RowWriter::Triton,
            Framework::Vllm | Framework::Sglang | Framework::Trtllm => RowWriter::Cuda,
        }
    }

    fn product(&self, m: u64, n: u64, k: u64) -> Gemm {
        Gemm::new(int(m), int(n), int(k), self.model.dtype)
    }

    /// Bytes of an element of an activation.
    fn element(&self) -> u64 {
        u64::from(self.model.dtype.bytes())
    }

    /// What a part is launched as, in types that the device multiplies.
    pub(super) fn launches(&self, part: &Part) -> Result<Launches, Unsupported> {
        let mut launches = self.as_written(part)?;
        let Launches::Items(items) = &mut launches else { return Ok(launches) };
        for item in items {
            let lacking = match item {
                Item::Product(g, ..) => Some(g.dtype).filter(|d| !self.multiplies(*d)),
                Item::Kernel(launch) => self.in_own_type(&mut launch.kernel),
            };
            if let Some(dtype) = lacking {
                let known: Vec<&str> = self.model.spec.tensor.fma_per_cycle.keys().map(|d| d.name()).collect();
                let (device, known) = (&self.model.spec.name, known.join(", "));
                let why =
                    format!("its kernels multiply {dtype}, which {device} does not: its matrix units know {known}");
                return Err(Self::refused(part, why));
            }
        }
        Ok(launches)
    }

    fn multiplies(&self, dtype: Dtype) -> bool {
        self.model.spec.tensor.fma_per_cycle.contains_key(&dtype)
    }

    /// Kernels are written for bfloat16, and compiled for either type of 16 bits. Returns a type that the device does not multiply.
    fn in_own_type(&self, kernel: &mut Arc<Kernel>) -> Option<Dtype> {
        let types = |k: &Kernel| -> Vec<Dtype> {
            k.roles.iter().flat_map(|r| &r.ops).filter_map(|op| multiplied(*op)).collect()
        };
        let all = types(kernel);
        if self.model.dtype == Dtype::Fp16 && all.contains(&Dtype::Bf16) {
            for op in Arc::make_mut(kernel).roles.iter_mut().flat_map(|r| &mut r.ops) {
                if let TileOp::Mma { dtype, .. } | TileOp::MmaAmong { dtype, .. } | TileOp::MmaQueued { dtype, .. } = op
                    && *dtype == Dtype::Bf16
                {
                    *dtype = Dtype::Fp16;
                }
            }
        }
        types(kernel).into_iter().find(|d| !self.multiplies(*d))
    }

    fn as_written(&self, part: &Part) -> Result<Launches, Unsupported> {
        match &part.work {
            Work::Attention(work) => self.attention(work, part).map(Launches::Items),
            Work::AddNorm { op, rows: count } => self.norm(*op, *count, true, part).map(Launches::Items),
            Work::GatedActivation { width, rows: count, .. } => Ok(Launches::Items(self.gated(*count, *width, part))),
            Work::Experts(work) => self.mixture(work, part).map(Launches::Items),
            Work::Operator { op, batch, tokens, types, load } => {
                let one = One { part, op: *op, batch: *batch, tokens: *tokens };
                match op {
                    Op::Linear { .. } | Op::HeadLinear { .. } | Op::ExpertLinear { .. } => {
                        self.products(&one, types, load)
                    }
                    Op::AttentionScores { .. } | Op::AttentionValues { .. } => self.unfused_attention(&one),
                    Op::Route { .. } | Op::Dispatch { .. } | Op::Combine { .. } => {
                        Ok(Launches::Items(self.routing(&one)))
                    }
                    Op::CausalConv { .. }
                    | Op::SelectiveScan { .. }
                    | Op::StateSpaceDual { .. }
                    | Op::LinearAttention { .. }
                    | Op::Wkv { .. }
                    | Op::TokenShift { .. }
                    | Op::DiagonalScan { .. } => self.recurrent(&one, types).map(Launches::Items),
                    // The fabric's.
                    Op::Collective { .. } => Ok(Launches::Items(Vec::new())),
                    _ => self.rowwise(&one).map(Launches::Items),
                }
            }
        }
    }

    fn unknown(&self, part: &Part, kind: &'static str) -> Unsupported {
        Unsupported::Operator { mapper: "gpu", operator: part.label.clone(), kind }
    }

    /// What a family of kernels says that it cannot do.
    fn refused(part: &Part, why: String) -> Unsupported {
        Unsupported::Sizes { mapper: "gpu", operator: part.label.clone(), why }
    }

    fn items(&self, part: &Part, items: Result<Vec<Item>, String>) -> Result<Vec<Item>, Unsupported> {
        items.map_err(|why| Self::refused(part, why))
    }
}

/// What a matrix instruction multiplies.
fn multiplied(op: TileOp) -> Option<Dtype> {
    match op {
        TileOp::Mma { dtype, .. } | TileOp::MmaAmong { dtype, .. } | TileOp::MmaQueued { dtype, .. } => Some(dtype),
        _ => None,
    }
}

/// The type of matrix units for an operand's.
pub(super) fn matrix_type(dtype: DataType, activations: Dtype) -> Dtype {
    match dtype {
        DataType::Fp8 => Dtype::Fp8,
        DataType::Int8 => Dtype::Int8,
        _ => activations,
    }
}
