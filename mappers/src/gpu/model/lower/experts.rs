//! Mixtures of experts: as a framework's fused launches, or operator by operator.

use banksia_workloads::model::WeightFormat;
use banksia_workloads::{DataType, NodeTypes, Op};

use super::{Lowering, One, int};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::model::part::{ExpertsWork, Part};
use crate::gpu::moe::{self, Format, MoeCall, MoeMemory};
use crate::gpu::routing::{RouteCall, RouteNames, combine, route};
use crate::plan::Unsupported;

/// The kernels' name for a format of weights; `None` where there are none.
fn format_of(types: &NodeTypes) -> Option<Format> {
    let WeightFormat { dtype, group, scale, of: 0, .. } = types.weights else { return None };
    let narrow = types.operands;
    Some(match (dtype, narrow) {
        (DataType::Bf16 | DataType::F16, _) => Format::Bf16,
        (DataType::Fp8, _) if group > 0 => Format::Fp8Block,
        (DataType::Fp8, _) => Format::Fp8,
        (DataType::Int4 | DataType::Nf4, DataType::Fp8) => Format::Weights4Fp8,
        (DataType::Fp4, DataType::Fp4) => Format::Nvfp4,
        (DataType::Fp4, DataType::Fp8) => Format::Mxfp4Fp8,
        (DataType::Fp4, _) if scale == Some(DataType::E8m0) => Format::Mxfp4,
        (DataType::Int4 | DataType::Nf4 | DataType::Fp4, _) => Format::Weights4 { group: int(group.max(1)) },
        _ => return None,
    })
}

impl Lowering<'_> {
    /// All of it, as the framework launches it.
    pub(super) fn mixture(&self, work: &ExpertsWork, part: &Part) -> Result<Vec<Item>, Unsupported> {
        let format = format_of(&work.types).ok_or_else(|| self.unknown(part, "experts of this weight format"))?;
        let call = MoeCall {
            tokens: int(work.tokens),
            hidden: int(work.width),
            inter: int(work.inner),
            experts: int(work.experts),
            top_k: int(work.top_k),
            rows: work.load.iter().map(|r| int(*r)).collect(),
            format,
            gated: work.gated,
            routed: false,
        };
        let memory = MoeMemory {
            input: part.input(0),
            scores: part.input(1),
            weights: [part.weight(0), part.weight(1)],
            output: part.output.clone(),
        };
        self.items(part, moe::mixture(self.framework(), &call, &self.model.spec, &memory))
    }

    /// Operator by operator: all that turns logits into rows by expert is launched where the rows are made.
    pub(super) fn routing(&self, one: &One<'_>) -> Vec<Item> {
        let part = one.part;
        let spec = &self.model.spec;
        let call = |tokens: u64, k: u64, hidden: u64, experts: u64| RouteCall {
            tokens,
            experts,
            k,
            hidden,
            normalised: true,
            offsets: true,
        };
        match one.op {
            Op::Dispatch { top_k, width } => {
                let names = RouteNames {
                    logits: Operand::shared("router"),
                    hidden: part.input(0),
                    permuted: part.output.clone(),
                };
                let tokens = one.rows() / top_k.max(1);
                route(&call(tokens, top_k, width, self.model.experts()), &names, spec)
            }
            Op::Combine { top_k, width } => {
                let call = call(one.rows(), top_k, width, self.model.experts());
                combine(&call, &part.input(0), &part.output, spec)
            }
            _ => Vec::new(),
        }
    }
}
