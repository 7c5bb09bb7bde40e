//! From the operators of a step to launches.

use std::cmp::Ordering;

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op as TileOp, Path, Tensor, Tile, Trips};
use banksia_workloads::{ActivationKind, Op, Phase};

use super::super::attention::Attention;
use super::super::frameworks::{self, AttentionCall};
use super::super::gemm::Gemm;
use super::super::launch::{Item, Operand};
use super::super::layers::{copy_bytes, row_operator};
use super::super::rows::gather;
use super::super::select::Found;
use super::super::{copy, lanes, one_role, reduction};
use super::part::{Launches, Part, Work};
use super::state::GpuModel;
use crate::plan::Unsupported;

/// The lowering of one phase.
pub(super) struct Lowering<'a> {
    pub(super) model: &'a GpuModel,
    pub(super) phase: Phase,
}

/// Sizes have been checked to be far below this.
fn int(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Lowering<'_> {
    pub(super) fn launches(&self, part: &Part) -> Result<Launches, Unsupported> {
        match &part.work {
            Work::Attention(work) => {
                if work.value_dim != work.head_dim {
                    return Err(Unsupported::Operator {
                        mapper: "gpu",
                        operator: part.label.clone(),
                        kind: "latent attention",
                    });
                }
                let a = Attention {
                    batch: int(work.batch),
                    heads: int(work.heads),
                    kv_heads: int(work.kv_heads),
                    queries: int(work.tokens),
                    keys: int(work.context),
                    head_dim: int(work.head_dim),
                    causal: work.causal,
                    window: int(work.window),
                    dtype: self.model.dtype,
                    kv_bytes: int(work.cache_bits.div_ceil(8)),
                };
                Ok(Launches::Items(self.attention(&a, part)))
            }
            Work::Operator { op, batch, tokens, .. } => self.of(*op, *batch, *tokens, part),
            Work::AddNorm { .. } | Work::GatedActivation { .. } | Work::Experts(_) => {
                Err(Unsupported::Operator { mapper: "gpu", operator: part.label.clone(), kind: "fused" })
            }
        }
    }

    /// The kernels of fused attention, as the framework launches them: those that prepare it, one that reads queries, keys and values, and
    /// where keys are split one that puts its parts together.
    fn attention(&self, a: &Attention, part: &Part) -> Vec<Item> {
        let call = AttentionCall::new(*a, self.phase == Phase::Prefill);
        let kernels = frameworks::attention(self.model.options.framework, &call, &self.model.spec);
        let reads = kernels.iter().position(frameworks::reads_cache).unwrap_or(0);
        let last = kernels.len().saturating_sub(1);
        let parts = || Operand::shared("attention_parts");
        let kernels = kernels.into_iter().enumerate().map(|(i, kernel)| {
            let tensors = kernel.tensors.len();
            let (mut operands, out) = match i.cmp(&reads) {
                // New keys and values go into the cache; lengths and the like are scratch of the framework's.
                Ordering::Less if tensors < 2 => (Vec::new(), Operand::shared("scratch")),
                Ordering::Less => (vec![part.input(0); tensors - 1], part.cache()),
                Ordering::Equal => (
                    vec![part.input(0), part.cache(), part.cache()],
                    if i == last { part.output.clone() } else { parts() },
                ),
                Ordering::Greater => {
                    (vec![parts(); tensors.saturating_sub(1)], if i == last { part.output.clone() } else { parts() })
                }
            };
            operands.truncate(tensors);
            operands.resize(tensors, out);
            Item::kernel(kernel, operands)
        });
        kernels.collect()
    }

    fn of(&self, op: Op, batch: u64, tokens: u64, part: &Part) -> Result<Launches, Unsupported> {
        let m = batch.saturating_mul(tokens);
        let product = |m: u64, n: u64, k: u64| Gemm::new(int(m), int(n), int(k), self.model.dtype);
        let out = || part.output.clone();
        let weight = |i: usize| part.weight(i);
        let one = |kernel: Kernel, operands: Vec<Operand>| Ok(Launches::Items(vec![Item::kernel(kernel, operands)]));
        let unknown = || Unsupported::Operator { mapper: "gpu", operator: part.label.clone(), kind: op.kind() };
        // A kernel over rows, with what lies beside them: gain and shift.
        let row = |name: &str, width: u64| {
            let kernel = row_operator(name, int(m), int(width)).ok_or_else(unknown)?;
            let inputs = [part.input(0), part.input(1)];
            let beside = kernel.tensors.len().saturating_sub(1);
            let mut operands = vec![inputs[0].clone()];
            operands.extend(part.weights.iter().cloned().chain([inputs[1].clone()]).take(beside.saturating_sub(1)));
            operands.push(out());
            one(kernel, operands)
        };
        let two_inputs = |name: &str, width: u64, second: Operand| {
            let kernel = row_operator(name, int(m), int(width)).ok_or_else(unknown)?;
            one(kernel, vec![part.input(0), second, out()])
        };
        // Keys and values of a prompt have just been written; those of a context come from memory.
        let cached = Found { a: true, b: self.phase == Phase::Prefill, c: false };
        match op {
            // The table lies in memory, the indices do not.
            Op::Embedding { vocab, width } => {
                one(gather(int(m), int(width), int(vocab), 2), vec![weight(0), out(), Operand::shared("token_indices")])
            }
            // PyTorch looks the positions up, then adds them to every sequence.
            Op::PositionEmbedding { positions, width } => {
                let table = gather(int(tokens), int(width), int(positions), 2);
                let rows = Operand::shared("position_rows");
                let sum = row_operator("add", int(m), int(width)).ok_or_else(unknown)?;
                Ok(Launches::Items(vec![
                    Item::kernel(table, [weight(0), rows.clone(), Operand::shared("position_indices")]),
                    Item::kernel(sum, [part.input(0), rows, out()]),
                ]))
            }
            Op::LayerNorm { width } => row("layernorm", width),
            Op::RmsNorm { width } => row("rmsnorm", width),
            // The bias is added as the product is stored.
            Op::Linear { in_features, out_features, .. } => {
                let found = Found { a: true, b: false, c: false };
                let operands = [part.input(0), weight(0), out()];
                Ok(Launches::Product(product(m, out_features, in_features), found, operands))
            }
            // Two products, two sums in pairs, and the angle's sine and cosine from a table.
            Op::Rotary { heads, kv_heads, head_dim, .. } => {
                two_inputs("rotary", (heads + kv_heads) * head_dim, Operand::shared("rotary_table"))
            }
            Op::KvAppend { heads, head_dim, value_dim, .. } => {
                one(copy_bytes(m * heads * (head_dim + value_dim) * 2), vec![part.input(0), part.cache()])
            }
            // Heads that share keys are rows of one product.
            Op::AttentionScores { heads, kv_heads, head_dim, context, .. } => {
                let group = heads / kv_heads.max(1);
                let g = Gemm { batch: int(batch * kv_heads), ..product(tokens * group, context, head_dim) };
                Ok(Launches::Product(g, cached, [part.input(0), part.cache(), out()]))
            }
            Op::AttentionValues { heads, kv_heads, head_dim, context, .. } => {
                let group = heads / kv_heads.max(1);
                let g = Gemm { batch: int(batch * kv_heads), ..product(tokens * group, head_dim, context) };
                Ok(Launches::Product(g, cached, [part.input(0), part.cache(), out()]))
            }
            Op::Softmax { rows, columns, .. } => {
                let kernel = row_operator("softmax", int(rows), int(columns)).ok_or_else(unknown)?;
                one(kernel, vec![part.input(0), out()])
            }
            Op::Residual { width } => two_inputs("add", width, part.input(1)),
            Op::GatedMul { width } => two_inputs("mul", width, part.input(1)),
            Op::Activation { kind, width } => {
                let name = match kind {
                    ActivationKind::Gelu => "gelu",
                    ActivationKind::Silu => "silu",
                    ActivationKind::Relu => "relu",
                    ActivationKind::Relu2 => "relu2",
                    ActivationKind::Tanh => "tanh",
                    ActivationKind::Sigmoid => "sigmoid",
                    ActivationKind::Softplus => "softplus",
                };
                row(name, width)
            }
            Op::ArgMax { vocab } => one(argmax(int(m), int(vocab)), vec![part.input(0), out()]),
            _ => Err(unknown()),
        }
    }
}

/// The index of the largest of each row: a CTA a row, 8192 elements a turn, a comparison and two selections each.
fn argmax(rows: u32, columns: u32) -> Kernel {
    const TURN: u32 = 8192;
    let x = Tile {
        tensor: 0,
        row: Expr::work(0, 1),
        byte: Expr::default().plus_loop(0, i64::from(TURN * 2)),
        rows: 1,
        bytes: TURN * 2,
    };
    let y = Tile { tensor: 1, row: Expr::work(0, 1), byte: Expr::default(), rows: 1, bytes: 8 };
    let ops = vec![
        TileOp::Loop(Trips::Const(columns.div_ceil(TURN).max(1))),
        copy(x, Path::Load, 0),
        TileOp::Wait(0),
        TileOp::Vector(lanes(f64::from(columns.min(TURN)), 0.0, 3.0, 0.0, 1.0)),
        TileOp::End,
        TileOp::Vector(reduction(32)),
        TileOp::Sync,
        TileOp::Sync,
        TileOp::Store { tile: y, reduce: false },
    ];
    Kernel {
        name: format!("argmax {rows}x{columns}"),
        threads: 1024,
        registers: 32,
        shared_bytes: 1024,
        cluster: 1,
        grid: rows.max(1),
        items: (0..rows.max(1)).map(|i| [i as i32, 0, 0, 0, 0, 0]).collect(),
        tensors: vec![
            Tensor::matrix(u64::from(rows), u64::from(columns) * 2, 1, TURN * 2),
            Tensor::matrix(u64::from(rows), 8, 1, 32),
        ],
        barriers: vec![Barrier { arrivals: 1, credits: 0 }],
        roles: one_role(32, ops),
        pipelined: false,
    }
}
