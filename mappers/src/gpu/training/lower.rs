//! From the operators of a training step to launches, as PyTorch makes them one by one.

use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::spec::GpuSpec;
use banksia_workloads::Op;
use banksia_workloads::backward::{AttentionShape, TrainNode, TrainOp};

use super::attention::backward;
use super::experts::{self, Product, Rows};
use super::table::{TableNames, table_gradient};
use super::{loss, norms, recurrent, rows};
use crate::gpu::attention::{Attention, torch_sdpa};
use crate::gpu::fused::{Cost, Pointwise, Way, fill, pointwise, strided_copy};
use crate::gpu::gemm::Gemm;
use crate::gpu::launch::{Item, Operand};
use crate::gpu::layers::row_operator;
use crate::gpu::libraries::Library;
use crate::gpu::select::Found;
use crate::plan::Unsupported;

/// Sizes have been checked to be far below this.
pub(super) fn int(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A node of a training step on a device.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What is computed.
    pub node: &'a TrainNode,
    /// The type that matrix units multiply.
    pub dtype: Dtype,
    /// The device.
    pub spec: &'a GpuSpec,
    /// Experts of a layer, over which rows are spread; 0 where there are none.
    pub experts: u64,
}

/// The shape of an attention's kernels.
pub fn shape(a: &AttentionShape, batch: u64, tokens: u64, dtype: Dtype) -> Attention {
    Attention {
        batch: int(batch),
        heads: int(a.heads),
        kv_heads: int(a.kv_heads),
        queries: int(tokens),
        keys: int(a.context),
        head_dim: int(a.head_dim),
        causal: a.causal,
        window: int(a.window),
        dtype,
        kv_bytes: dtype.bytes(),
        value_dim: if a.value_dim == a.head_dim { 0 } else { int(a.value_dim) },
        ..Attention::default()
    }
}

impl Call<'_> {
    /// Memory of a value: operands have the names that the step gives to values; who emits them says which of these are a layer's own.
    pub(super) fn read(&self, i: usize) -> Operand {
        Operand::shared(self.node.reads.get(i).map_or("input", |v| v.name.as_str()))
    }

    pub(super) fn write(&self, i: usize) -> Operand {
        Operand::shared(self.node.writes.get(i).map_or("output", |v| v.name.as_str()))
    }

    fn scratch(&self, i: usize) -> Operand {
        Operand::shared(self.node.scratch.get(i).map_or("scratch", |v| v.name.as_str()))
    }

    pub(super) fn unknown(&self) -> Unsupported {
        let operator = self.node.label.clone();
        Unsupported::Operator { mapper: "gpu training", operator, kind: self.node.op.kind() }
    }

    /// Launches of a family that says itself what it cannot do.
    pub(super) fn known(&self, items: Option<Result<Vec<Item>, String>>) -> Result<Vec<Item>, Unsupported> {
        items.ok_or_else(|| self.unknown())?.map_err(|why| self.refused(why))
    }

    pub(super) fn rows_of_experts(&self, top_k: u64, width: u64, by_token: bool) -> Rows {
        let rows = self.node.rows().saturating_mul(if by_token { top_k } else { 1 });
        Rows { rows, top_k, width, experts: self.experts }
    }

    pub(super) fn by_expert(&self, which: Product, sides: [u64; 2]) -> Result<Vec<Item>, Unsupported> {
        if self.dtype != Dtype::Bf16 {
            return Err(self.refused("grouped products of PyTorch are of bfloat16"));
        }
        let operands = [self.read(0), self.read(1), self.write(0)];
        Ok(experts::product(which, self.node, sides, self.spec, &operands))
    }

    fn refused(&self, why: impl Into<String>) -> Unsupported {
        Unsupported::Sizes { mapper: "gpu training", operator: self.node.label.clone(), why: why.into() }
    }

    /// A product `[m, k] x [n, k]`; weights come from memory in the forward pass, gradients have just been written.
    pub(super) fn product(&self, [m, n, k]: [u64; 3], operands: [Operand; 3]) -> Vec<Item> {
        let gemm = Gemm::new(int(m), int(n), int(k), self.dtype);
        vec![Item::Product(gemm, Library::Cublas, Found { a: true, b: false, c: false }, operands)]
    }

    /// The same for each head.
    pub(super) fn by_head(&self, heads: u64, [m, n, k]: [u64; 3]) -> Vec<Item> {
        let gemm = Gemm { batch: int(heads), ..Gemm::new(int(m), int(n), int(k), self.dtype) };
        let operands = [self.read(0), self.read(1), self.write(0)];
        vec![Item::Product(gemm, Library::Cublas, Found { a: true, b: false, c: false }, operands)]
    }

    fn elements(&self, width: u64) -> u64 {
        self.node.rows().saturating_mul(width)
    }

    /// The node's launches.
    ///
    /// # Errors
    /// The operator is not known here, or its sizes are not.
    pub fn items(&self) -> Result<Vec<Item>, Unsupported> {
        let rows_in = self.node.rows();
        let e = u64::from(self.dtype.bytes());
        match self.node.op {
            TrainOp::Forward { of } => self.forward(of),
            TrainOp::Attention(a) => {
                let shape = shape(&a, self.node.batch, self.node.tokens, self.dtype);
                Ok(torch_sdpa(&shape, self.spec)
                    .into_iter()
                    .map(|kernel| {
                        let read = |i: usize| self.read(i.min(self.node.reads.len().saturating_sub(1)));
                        let tensors = kernel.tensors.len();
                        let mut operands = vec![read(0), read(1), read(2)];
                        operands.resize(tensors.saturating_sub(1), Operand::shared("spilled"));
                        operands.push(self.write(0));
                        Item::kernel(kernel, operands)
                    })
                    .collect())
            }
            TrainOp::AttentionGradient(a) => self.attention_gradient(&a),
            TrainOp::InputGradient { in_features, out_features } => {
                Ok(self.product([rows_in, in_features, out_features], [self.read(0), self.read(1), self.write(0)]))
            }
            TrainOp::WeightGradient { in_features, out_features } => {
                let gemm = Gemm::new(int(out_features), int(in_features), int(rows_in), self.dtype);
                // Gradients that are summed up in 32 bits are written so.
                let wide = self.node.writes.first().is_some_and(|v| v.dtype.bits() == 32);
                let gemm = if wide { Gemm { out_bytes: 4, ..gemm } } else { gemm };
                let found = Found { a: true, b: false, c: false };
                let operands = [self.read(0), self.read(1), self.write(0)];
                Ok(vec![Item::Product(gemm, Library::Cublas, found, operands)])
            }
            TrainOp::HeadInputGradient { heads, in_features, out_features } => {
                Ok(self.by_head(heads, [rows_in, in_features, out_features]))
            }
            TrainOp::HeadWeightGradient { heads, in_features, out_features } => {
                Ok(self.by_head(heads, [out_features, in_features, rows_in]))
            }
            TrainOp::ExpertInputGradient { in_features, out_features, .. } => {
                self.by_expert(Product::Input, [in_features, out_features])
            }
            TrainOp::ExpertWeightGradient { in_features, out_features, .. } => {
                self.by_expert(Product::Weight, [in_features, out_features])
            }
            TrainOp::DispatchGradient { top_k, width } => {
                let rows = self.rows_of_experts(top_k, width, false);
                Ok(experts::dispatch_gradient(&rows, self.read(0), self.write(0), self.spec))
            }
            TrainOp::CombineGradient { top_k, width } => {
                let rows = self.rows_of_experts(top_k, width, true);
                let reads = [self.read(0), self.read(1)];
                Ok(experts::combine_gradient(&rows, reads, self.write(0), self.write(1)))
            }
            TrainOp::RouteGradient { experts: all, top_k } => {
                Ok(experts::route_gradient(rows_in, all, top_k, self.read(0), self.write(0)))
            }
            TrainOp::ConvGradient { channels, kernel, silu } => {
                self.known(Some(recurrent::conv_gradient(self.node, [channels, kernel], silu, self.spec)))
            }
            TrainOp::GatedNormGradient { width, group } => {
                let all = rows_in.saturating_mul(width / group.max(1));
                let kernel = norms::gated_gradient(all, group, self.spec);
                let reads = [self.read(0), self.read(1), self.read(2), self.read(3)];
                let writes = [self.write(0), self.write(1), Operand::shared("gain_gradient_parts")];
                let mut items = vec![Item::kernel(kernel, reads.into_iter().chain(writes))];
                let parts = norms::gated_programs(group, self.spec);
                let sums = rows::sum_of_rows(parts, group, 4, self.spec);
                let ends = [Operand::shared("gain_gradient_parts"), self.write(2)];
                items.extend(last_of(sums, &ends, "partial_sums"));
                Ok(items)
            }
            TrainOp::RecurrenceGradient { of: Op::TokenShift { width, mixes } } => {
                // Of the token and of the one before, and the mixes' sums over tokens.
                let whole = width.saturating_mul(mixes);
                let kernel = row_operator("add", int(rows_in), int(whole)).ok_or_else(|| self.unknown())?;
                let mut items = vec![Item::kernel(kernel, [self.read(0), self.read(1), self.write(0)])];
                let sums = rows::sum_of_rows(rows_in, whole, e, self.spec);
                items.extend(last_of(sums, &[self.read(0), self.write(1)], "partial_sums"));
                Ok(items)
            }
            TrainOp::RecurrenceGradient { of } => self.known(recurrent::gradient(self.node, of, self.spec)),
            TrainOp::BiasGradient { width } => {
                let kernels = rows::sum_of_rows(rows_in, width, e, self.spec);
                Ok(last_of(kernels, &[self.read(0), self.write(0)], "partial_sums"))
            }
            TrainOp::NormInputGradient { width, mean } => {
                let all = self.node.reads.first().map_or(0, |v| v.elements) / width.max(1);
                let kernel = norms::input_gradient(all, width, mean);
                let gain = self.read(self.node.reads.len().saturating_sub(1));
                Ok(vec![Item::kernel(kernel, [self.read(0), self.read(1), gain, self.read(2), self.write(0)])])
            }
            TrainOp::NormParameterGradient { width, shift, .. } => {
                let kernel = norms::parameter_gradient(rows_in, width, shift);
                Ok(vec![Item::kernel(kernel, [self.read(0), self.read(1), self.read(2), self.write(0)])])
            }
            TrainOp::ActivationGradient { kind, width } => {
                let kernel = rows::activation_gradient(kind, self.elements(width));
                Ok(vec![Item::kernel(kernel, [self.read(0), self.read(1), self.write(0)])])
            }
            TrainOp::GatedMulGradient { width } => {
                // A product for each factor.
                let of = |other: usize, out: usize| {
                    let kernel = row_operator("mul", int(rows_in), int(width)).ok_or_else(|| self.unknown())?;
                    Ok(Item::kernel(kernel, [self.read(0), self.read(other), self.write(out)]))
                };
                [of(2, 0), of(1, 1)].into_iter().collect()
            }
            TrainOp::RotaryGradient { heads, kv_heads, head_dim, .. } => {
                let width = heads.saturating_add(kv_heads).saturating_mul(head_dim);
                let kernel = row_operator("rotary", int(rows_in), int(width)).ok_or_else(|| self.unknown())?;
                Ok(vec![Item::kernel(kernel, [self.read(0), Operand::shared("rotary_table"), self.write(0)])])
            }
            TrainOp::EmbeddingGradient { vocab, width } => {
                let names = TableNames { gradient: self.read(0), indices: self.read(1), table: self.write(0) };
                Ok(table_gradient(rows_in, width, vocab, &names, self.spec))
            }
            TrainOp::CrossEntropy { vocab } => {
                let softmax = loss::log_softmax(rows_in, vocab);
                let mean = loss::targets(rows_in, vocab, false);
                Ok(vec![
                    Item::kernel(softmax, [self.read(0), self.write(0)]),
                    Item::kernel(mean, [self.write(0), self.read(1)]),
                ])
            }
            TrainOp::CrossEntropyGradient { vocab } => Ok(vec![
                // The gradient of a scalar is one; that of the logarithms is zero but at targets.
                Item::kernel(fill(1, 2), [Operand::shared("d_loss")]),
                Item::kernel(fill(self.elements(vocab), 2), [self.scratch(0)]),
                Item::kernel(loss::targets(rows_in, vocab, true), [self.scratch(0), Operand::shared("targets")]),
                Item::kernel(
                    loss::log_softmax_gradient(rows_in, vocab),
                    [self.scratch(0), self.read(0), self.write(0)],
                ),
            ]),
            TrainOp::Accumulate { width } => {
                let kernel = row_operator("add", int(rows_in), int(width)).ok_or_else(|| self.unknown())?;
                Ok(vec![Item::kernel(kernel, [self.read(0), self.read(1), self.write(0)])])
            }
            TrainOp::AccumulateParameter { elements } => {
                let bytes = self.node.writes.first().map_or(2, |v| v.dtype.bits() / 8);
                let inputs = vec![bytes as f64; 2];
                let way = Way::Vector;
                let sum = Pointwise { elements, inputs, out_bytes: int(bytes), way, cost: Cost::BINARY };
                Ok(vec![Item::kernel(pointwise("add", &sum), [self.read(0), self.read(1), self.write(0)])])
            }
            TrainOp::JoinGradients { parts, width } => {
                let elements = self.elements(width);
                let together = self.scratch(0);
                let mut operands: Vec<Operand> = vec![self.read(0)];
                operands.push(together.clone());
                Ok(vec![
                    Item::kernel(rows::stack(parts, elements, self.spec), operands),
                    // From parts one after another to a token's parts side by side.
                    Item::kernel(strided_copy(elements, int(e)), [together, self.write(0)]),
                ])
            }
            _ => Err(self.unknown()),
        }
    }

    fn attention_gradient(&self, a: &AttentionShape) -> Result<Vec<Item>, Unsupported> {
        if a.value_dim != a.head_dim || a.head_dim > 256 {
            return Err(self.refused("FlashAttention-2's backward pass has heads of one size up to 256"));
        }
        let shape = shape(a, self.node.batch, self.node.tokens, self.dtype);
        let kernels = backward(&shape, self.spec);
        // Reads: the result's gradient, queries, keys and values (one value where a projection made them all), the result, sums of rows.
        let n = self.node.reads.len();
        let (result, sums) = (self.read(n.saturating_sub(2)), self.read(n.saturating_sub(1)));
        let input = |i: usize| self.read((1 + i).min(n.saturating_sub(3)));
        let (accumulated, products) = (self.scratch(0), self.scratch(1));
        let mut items =
            vec![Item::kernel(kernels.products, [self.read(0), result, products.clone(), accumulated.clone()])];
        let shared = a.kv_heads < a.heads;
        let own = |name: &str, i: usize| if shared { Operand::shared(name) } else { self.write(i) };
        let (keys, values) = (own("d_keys_by_query_head", 1), own("d_values_by_query_head", 2));
        items.push(Item::kernel(
            kernels.main,
            [
                input(0),
                input(1),
                input(2),
                self.read(0),
                sums,
                products,
                accumulated.clone(),
                keys.clone(),
                values.clone(),
            ],
        ));
        items.push(Item::kernel(kernels.convert, [accumulated, self.write(0)]));
        if shared {
            let elements = self.node.batch * a.context * a.kv_heads * a.head_dim;
            let group = a.heads / a.kv_heads.max(1);
            items.extend(
                [(keys, 1), (values, 2)]
                    .map(|(from, i)| Item::kernel(rows::sum_of_groups(elements, group), [from, self.write(i)])),
            );
        }
        Ok(items)
    }
}

/// Kernels of which the last has these tensors first, and those before prepare counters.
fn last_of(kernels: Vec<Kernel>, operands: &[Operand; 2], own: &str) -> Vec<Item> {
    let last = kernels.len().saturating_sub(1);
    let item = |(i, kernel): (usize, Kernel)| match i == last {
        true => {
            let [a, b] = operands.clone();
            Item::kernel(kernel, [a, b, Operand::shared(own), Operand::shared("counters")])
        }
        false => Item::kernel(kernel, [Operand::shared("counters")]),
    };
    kernels.into_iter().enumerate().map(item).collect()
}
