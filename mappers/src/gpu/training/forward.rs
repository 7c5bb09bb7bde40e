//! The forward pass of a training step: launches of its operators.

use banksia_workloads::{ActivationKind, Op};

use super::experts::{self, Product};
use super::lower::{Call, int};
use super::recurrent;
use crate::gpu::fused::{Norm, NormCall, RowWriter, by_chance, gather_rows, norm};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::layers::row_operator;
use crate::gpu::rows::gather;
use crate::plan::Unsupported;

impl Call<'_> {
    /// Launches of an operator of the forward pass.
    pub(super) fn forward(&self, op: Op) -> Result<Vec<Item>, Unsupported> {
        let m = self.node.rows();
        let row = |name: &str, width: u64, operands: Vec<Operand>| {
            let kernel = row_operator(name, int(m), int(width)).ok_or_else(|| self.unknown())?;
            Ok(vec![Item::kernel(kernel, operands)])
        };
        match op {
            // The bias is added as the product is stored.
            Op::Linear { in_features, out_features, .. } => {
                Ok(self.product([m, out_features, in_features], [self.read(0), self.read(1), self.write(0)]))
            }
            Op::Embedding { vocab, width } => {
                let bytes = width * u64::from(self.dtype.bytes());
                let kernel = gather_rows(m, bytes, vocab, &by_chance(vocab), false);
                Ok(vec![Item::kernel(kernel, [self.read(1), self.read(0), self.write(0)])])
            }
            Op::PositionEmbedding { positions, width } => {
                let table = gather(int(self.node.tokens), int(width), int(positions), 2);
                let places = Operand::shared("position_rows");
                let mut items =
                    vec![Item::kernel(table, [self.read(1), places.clone(), Operand::shared("position_indices")])];
                items.extend(row("add", width, vec![self.read(0), places, self.write(0)])?);
                Ok(items)
            }
            Op::LayerNorm { width } | Op::PlainNorm { width, .. } => {
                row("layernorm", width, vec![self.read(0), self.read(1), self.read(2), self.write(0)])
            }
            Op::RmsNorm { width } => row("rmsnorm", width, vec![self.read(0), self.read(1), self.write(0)]),
            Op::Residual { width } => row("add", width, vec![self.read(0), self.read(1), self.write(0)]),
            Op::GatedMul { width } => row("mul", width, vec![self.read(0), self.read(1), self.write(0)]),
            Op::Rotary { heads, kv_heads, head_dim, .. } => {
                let width = heads.saturating_add(kv_heads).saturating_mul(head_dim);
                row("rotary", width, vec![self.read(0), Operand::shared("rotary_table"), self.write(0)])
            }
            Op::Activation { kind, width } => row(activation(kind), width, vec![self.read(0), self.write(0)]),
            // A row a head.
            Op::QkNorm { heads, kv_heads, head_dim, .. } => {
                let rows = m.saturating_mul(heads.saturating_add(kv_heads));
                let kernel = row_operator("rmsnorm", int(rows), int(head_dim)).ok_or_else(|| self.unknown())?;
                let gain = self.read(self.node.reads.len().saturating_sub(1));
                Ok(vec![Item::kernel(kernel, [self.read(0), gain, self.write(0)])])
            }
            Op::GatedNorm { width, group, .. } => {
                let rows = m.saturating_mul(width / group.max(1));
                let call = NormCall { gate: true, norm: Norm::Rms, ..NormCall::rms(int(rows), int(group)) };
                let kernel = norm(RowWriter::Triton, &call);
                let gain = self.read(self.node.reads.len().saturating_sub(1));
                Ok(vec![Item::kernel(kernel, [self.read(0), self.read(1), gain, self.write(0)])])
            }
            Op::HeadLinear { heads, in_features, out_features } => {
                Ok(self.by_head(heads, [m, out_features, in_features]))
            }
            // A mix with the token before: elementwise.
            Op::TokenShift { width, mixes } => {
                row("add", width.saturating_mul(mixes), vec![self.read(0), self.read(1), self.write(0)])
            }
            Op::ExpertLinear { in_features, out_features, .. } => {
                self.by_expert(Product::Forward, [in_features, out_features])
            }
            Op::Route { experts: all, top_k, .. } => Ok(experts::routing(m, all, top_k, self.read(0), self.spec)),
            Op::Dispatch { top_k, width } => {
                let rows = self.rows_of_experts(top_k, width, false);
                Ok(experts::dispatch(&rows, self.read(0), self.write(0)))
            }
            Op::Combine { top_k, width } => {
                let rows = self.rows_of_experts(top_k, width, true);
                Ok(experts::combine_rows(&rows, &self.read(0), &self.write(0), self.spec))
            }
            _ => self.known(recurrent::forward(self.node, op, self.spec)),
        }
    }
}

/// The name of an activation's kernel.
fn activation(kind: ActivationKind) -> &'static str {
    match kind {
        ActivationKind::Gelu => "gelu",
        ActivationKind::Silu => "silu",
        ActivationKind::Relu => "relu",
        ActivationKind::Relu2 => "relu2",
        ActivationKind::Tanh => "tanh",
        ActivationKind::Sigmoid => "sigmoid",
        ActivationKind::Softplus => "softplus",
    }
}
