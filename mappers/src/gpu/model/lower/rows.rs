//! Operators on rows and on elements: tables, norms, rotations, gates, sums.

use banksia_hw::gpu::program::Kernel;
use banksia_workloads::{ActivationKind, Op};

use super::argmax::argmax;
use super::{Lowering, One, int};
use crate::gpu::frameworks::Framework;
use crate::gpu::fused::{
    Cost, Norm, NormCall, Pointwise, Reduction, Rotation, Way, by_chance, gated, gather_rows, norm, pointwise,
    reduce_rows, rotary, softmax_rows, strided_copy,
};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::layers::{copy_bytes, row_operator};
use crate::gpu::model::part::{Part, Work};
use crate::gpu::rows::gather;
use crate::plan::Unsupported;

impl Lowering<'_> {
    pub(super) fn rowwise(&self, one: &One<'_>) -> Result<Vec<Item>, Unsupported> {
        let part = one.part;
        let m = one.rows();
        let plain = self.framework() == Framework::Torch;
        let kind = one.op.kind();
        // A kernel over rows, with what lies beside them: gain and shift.
        let row = |name: &str, width: u64| {
            let kernel = row_operator(name, int(m), int(width)).ok_or_else(|| self.unknown(part, kind))?;
            let beside = kernel.tensors.len().saturating_sub(1);
            let mut operands = vec![part.input(0)];
            operands.extend(part.weights.iter().cloned().chain([part.input(1)]).take(beside.saturating_sub(1)));
            operands.push(part.output.clone());
            Ok(vec![Item::kernel(kernel, operands)])
        };
        let two_inputs = |name: &str, width: u64, second: Operand| {
            let kernel = row_operator(name, int(m), int(width)).ok_or_else(|| self.unknown(part, kind))?;
            Ok(vec![Item::kernel(kernel, vec![part.input(0), second, part.output.clone()])])
        };
        match one.op {
            // The table lies in memory, the indices do not.
            Op::Embedding { vocab, width } if plain => {
                let kernel = gather(int(m), int(width), int(vocab), 2);
                Ok(vec![Item::kernel(kernel, [part.weight(0), part.output.clone(), Operand::shared("token_indices")])])
            }
            Op::Embedding { vocab, width } => {
                let picks = by_chance(vocab);
                let kernel = gather_rows(m, width * self.element(), vocab, &picks, m <= 16);
                Ok(vec![Item::kernel(kernel, [part.weight(0), Operand::shared("token_indices"), part.output.clone()])])
            }
            // PyTorch looks the positions up, then adds them to every sequence.
            Op::PositionEmbedding { positions, width } => {
                let table = gather(int(one.tokens), int(width), int(positions), 2);
                let rows = Operand::shared("position_rows");
                let sum = row_operator("add", int(m), int(width)).ok_or_else(|| self.unknown(part, kind))?;
                Ok(vec![
                    Item::kernel(table, [part.weight(0), rows.clone(), Operand::shared("position_indices")]),
                    Item::kernel(sum, [part.input(0), rows, part.output.clone()]),
                ])
            }
            Op::LayerNorm { width } if plain => row("layernorm", width),
            Op::RmsNorm { width } if plain => row("rmsnorm", width),
            Op::LayerNorm { .. } | Op::RmsNorm { .. } | Op::PlainNorm { .. } => self.norm(one.op, m, false, part),
            // Queries and keys lie side by side: a row a head, normalised in place.
            Op::QkNorm { heads, kv_heads, head_dim, .. } => {
                let rows = m.saturating_mul(heads.saturating_add(kv_heads));
                let call = NormCall::rms(int(rows), int(head_dim));
                let kernel = norm(self.writer(), &call);
                Ok(vec![Item::kernel(kernel, [part.input(0), part.weight(0), part.output.clone()])])
            }
            Op::GatedNorm { width, group, .. } => {
                let groups = (width / group.max(1)).max(1);
                let rows = m.saturating_mul(groups);
                let call = NormCall::rms(int(rows), int(group)).with_gate();
                let kernel = norm(self.writer(), &call);
                let mut items = Vec::new();
                let mut gate = part.input(1);
                // The gate is a part of the projection's rows: PyTorch brings it together first.
                if m > 1 && self.framework() == Framework::Compiled {
                    let whole = Operand::shared("gate_together");
                    let copy = strided_copy(m.saturating_mul(width), int(self.element()));
                    items.push(Item::kernel(copy, [gate, whole.clone()]));
                    gate = whole;
                }
                items.push(Item::kernel(kernel, [part.input(0), gate, part.weight(0), part.output.clone()]));
                Ok(items)
            }
            // Two products, two sums in pairs, and the angle's sine and cosine from a table.
            Op::Rotary { heads, kv_heads, head_dim, .. } if plain => {
                two_inputs("rotary", (heads + kv_heads) * head_dim, Operand::shared("rotary_table"))
            }
            Op::Rotary { heads, kv_heads, head_dim, rotary_dim } => {
                let all = heads.saturating_add(kv_heads);
                let call = Rotation {
                    tokens: int(m),
                    heads: int(all),
                    head_dim: int(head_dim),
                    rotated: int(rotary_dim),
                    // Values lie behind queries and keys.
                    stride: int(all.saturating_add(kv_heads).saturating_mul(head_dim)),
                };
                let tables = [Operand::shared("rotary_cosines"), Operand::shared("rotary_sines")];
                let operands = [part.input(0)].into_iter().chain(tables);
                Ok(vec![Item::kernel(rotary(self.writer(), &call), operands)])
            }
            Op::KvAppend { heads, head_dim, value_dim, .. } if plain => {
                let elements = m.saturating_mul(heads).saturating_mul(head_dim.saturating_add(value_dim));
                let kernel = match self.narrow_append(one, elements, Way::Convert) {
                    Some(kernel) => kernel,
                    None => copy_bytes(elements.saturating_mul(self.element())),
                };
                Ok(vec![Item::kernel(kernel, [part.input(0), part.cache()])])
            }
            // Keys, then values, into caches by head.
            Op::KvAppend { heads, head_dim, value_dim, .. } => {
                let copies = [head_dim, value_dim].into_iter().filter(|dim| *dim > 0);
                let copy = |dim: u64| {
                    let elements = m.saturating_mul(heads).saturating_mul(dim);
                    self.narrow_append(one, elements, Way::Strided)
                        .unwrap_or_else(|| strided_copy(elements, int(self.element())))
                };
                Ok(copies.map(|dim| Item::kernel(copy(dim), [part.input(0), part.cache()])).collect())
            }
            Op::Softmax { rows, columns, .. } => {
                let kernel =
                    row_operator("softmax", int(rows), int(columns)).ok_or_else(|| self.unknown(part, kind))?;
                Ok(vec![Item::kernel(kernel, [part.input(0), part.output.clone()])])
            }
            Op::ScoreCap { rows, columns } => {
                let kernel = row_operator("tanh", int(rows), int(columns)).ok_or_else(|| self.unknown(part, kind))?;
                Ok(vec![Item::kernel(kernel, [part.input(0), part.output.clone()])])
            }
            Op::Residual { width } => two_inputs("add", width, part.input(1)),
            Op::GatedMul { width } => two_inputs("mul", width, part.input(1)),
            Op::Activation { kind, width } => row(activation(kind), width),
            Op::ArgMax { vocab } if plain => {
                Ok(vec![Item::kernel(argmax(int(m), int(vocab)), [part.input(0), part.output.clone()])])
            }
            Op::ArgMax { vocab } => {
                let kernels = reduce_rows(Reduction::ArgMax, m, vocab, int(self.element()), 8);
                Ok(two_ended(kernels, &part.input(0), &part.output))
            }
            Op::Index { heads, head_dim, context, top_k } => Ok(self.index(one, [heads, head_dim, context, top_k])),
            _ => Err(self.unknown(part, kind)),
        }
    }

    /// The copy into a cache of fewer bits, which converts; none into one of the activations' type.
    fn narrow_append(&self, one: &One<'_>, elements: u64, way: Way) -> Option<Kernel> {
        let Work::Operator { types, .. } = &one.part.work else { return None };
        let bytes = types.cache.bits().div_ceil(8);
        let convert = Pointwise {
            elements,
            inputs: vec![self.element() as f64],
            out_bytes: int(bytes),
            way,
            cost: Cost { fma: 1.0, alu: 2.0, sfu: 0.0 },
        };
        (bytes != self.element()).then(|| pointwise("copy in the cache's type", &convert))
    }

    /// A norm, with the sum before it where the two are one kernel.
    pub(super) fn norm(&self, op: Op, rows: u64, residual: bool, part: &Part) -> Result<Vec<Item>, Unsupported> {
        let (which, width) = match op {
            Op::RmsNorm { width } => (Norm::Rms, width),
            Op::LayerNorm { width } | Op::PlainNorm { width, .. } => (Norm::Layer, width),
            _ => return Err(self.unknown(part, op.kind())),
        };
        let call = NormCall { rows: int(rows), columns: int(width), norm: which, residual, gate: false };
        let kernel = norm(self.writer(), &call);
        let stream = if residual { Some(part.input(1)) } else { None };
        let shift = (which == Norm::Layer).then(|| part.weight(1));
        let operands = [part.input(0)].into_iter().chain(stream).chain([part.weight(0)]).chain(shift);
        Ok(vec![Item::kernel(kernel, operands.chain([part.output.clone()]))])
    }

    /// An activated half of each row times the other.
    pub(super) fn gated(&self, rows: u64, width: u64, part: &Part) -> Vec<Item> {
        vec![Item::kernel(gated(self.writer(), rows, int(width)), [part.input(0), part.output.clone()])]
    }

    /// The lightning indexer: products of all heads with the cached keys, a weighted sum of their positive parts, the largest.
    fn index(&self, one: &One<'_>, [heads, head_dim, context, top_k]: [u64; 4]) -> Vec<Item> {
        let part = one.part;
        let rows = one.tokens.saturating_mul(heads);
        let batched = crate::gpu::gemm::Gemm { batch: int(one.batch), ..self.product(rows, context, head_dim) };
        let scores = Operand::shared("index_scores");
        let mut items = vec![Item::product(batched, part.input(0), part.cache(), scores.clone())];
        let picked = crate::gpu::routing::TopK { rows: one.rows(), columns: context, k: top_k.min(context) };
        let names = crate::gpu::routing::TopKNames {
            input: scores,
            values: Operand::shared("index_values"),
            indices: part.output.clone(),
        };
        items.extend(crate::gpu::routing::topk(&picked, &names, &self.model.spec));
        items
    }
}

/// Kernels of which the last has an input and an output, and those before prepare counters.
fn two_ended(kernels: Vec<Kernel>, input: &Operand, output: &Operand) -> Vec<Item> {
    let last = kernels.len().saturating_sub(1);
    let item = |(i, kernel): (usize, Kernel)| match i == last {
        true => Item::kernel(kernel, [input.clone(), output.clone()]),
        false => Item::kernel(kernel, [Operand::shared("counters")]),
    };
    kernels.into_iter().enumerate().map(item).collect()
}

/// Softmax of a router's logits.
#[allow(dead_code)] // used where a framework has no fused routing
pub(super) fn probabilities(rows: u64, columns: u64) -> Kernel {
    softmax_rows(rows, columns)
}

/// The name of an activation's kernel.
pub(super) fn activation(kind: ActivationKind) -> &'static str {
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
