//! From the operators of a step to launches.

use std::cmp::Ordering;

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op as TileOp, Path, Tensor, Tile, Trips};
use banksia_workloads::{ActivationKind, Graph, Op, OperatorNode, Phase, Step};
use petgraph::Direction::Incoming;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::super::attention::Attention;
use super::super::frameworks::{self, AttentionCall};
use super::super::gemm::Gemm;
use super::super::launch::{Launch, Operand};
use super::super::layers::{copy_bytes, row_operator};
use super::super::rows::gather;
use super::super::select::Found;
use super::super::{copy, lanes, one_role, reduction};
use super::part::{Launches, Part, Place, Work};
use super::state::{AttentionKernels, GpuModel};
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

/// The memory that a node's value lies in: activations of all layers share it, the hidden state before the first layer is that
/// which layers leave.
fn value_of(graph: &Graph, index: NodeIndex) -> Operand {
    let Some(node) = graph.operator(index) else { return Operand::shared("input") };
    match node.op {
        Op::KvAppend { .. } => Operand::own("kv_cache"),
        Op::Embedding { .. } | Op::PositionEmbedding { .. } => Operand::shared("ffn_residual"),
        _ => Operand::shared(unlayered(&node.name)),
    }
}

fn unlayered(name: &str) -> &str {
    name.strip_prefix("layer").and_then(|n| n.split_once('.')).map_or(name, |(_, rest)| rest)
}

impl Lowering<'_> {
    /// The operators of a step in order, those of a layer once.
    pub(super) fn parts(&self, step: &Step) -> Result<Vec<Part>, Unsupported> {
        let fused = self.model.options.attention == AttentionKernels::Flash;
        // Of two layers the second has another before it, as all but the first have.
        let two = banksia_workloads::GptConfig { layers: 2, ..self.model.model.clone() };
        let graph = two.step_graph(step, &self.model.generation);
        let framework = self.model.options.framework;
        let mut parts: Vec<Part> = Vec::new();
        // Of operators that the kernels of attention do too.
        let mut within_attention = 0u64;
        for index in graph.petgraph().node_indices() {
            let Some(node) = graph.operator(index).filter(|n| n.layer != Some(0)) else { continue };
            let place = match node.layer {
                Some(_) => Place::Layer,
                None if parts.iter().any(|p| p.place == Place::Layer) => Place::After,
                None => Place::Before,
            };
            let flops = node.flops();
            let mut inputs: Vec<_> =
                graph.petgraph().edges_directed(index, Incoming).map(|e| (e.id(), e.source())).collect();
            inputs.sort_unstable();
            let mut inputs: Vec<Operand> = inputs.into_iter().map(|(_, from)| value_of(&graph, from)).collect();
            let from_outside = node.inputs.iter().map(|t| Operand::shared(unlayered(&t.name)));
            inputs.splice(0..0, from_outside);
            let weights =
                node.weights.iter().map(|t| Operand { name: unlayered(&t.name).to_owned(), own: true }).collect();
            let mut part = Part {
                label: node.label.clone(),
                work: self.work(node),
                place,
                flops,
                inputs,
                weights,
                output: value_of(&graph, index),
            };
            match node.op {
                Op::KvAppend { .. } if fused && framework.writes_cache() => {
                    within_attention = within_attention.saturating_add(flops);
                }
                Op::Rotary { .. } if fused && framework.rotates() => {
                    within_attention = within_attention.saturating_add(flops);
                }
                Op::AttentionScores { heads, kv_heads, head_dim, context, .. } if fused => {
                    part.label = "attention".into();
                    part.flops = part.flops.saturating_add(std::mem::take(&mut within_attention));
                    let (batch, tokens) = (node.batch, node.tokens);
                    part.work = Work::Attention { batch, tokens, context, heads, kv_heads, head_dim };
                    part.output = Operand::shared("values");
                    parts.push(part);
                }
                Op::Softmax { .. } | Op::AttentionValues { .. } if fused => {
                    if let Some(part) = parts.iter_mut().rev().find(|p| p.work.is_attention()) {
                        part.flops = part.flops.saturating_add(flops);
                    }
                }
                _ => parts.push(part),
            }
        }
        Ok(parts)
    }

    fn work(&self, node: &OperatorNode) -> Work {
        let op = match node.op {
            // Appending costs the same wherever it is.
            Op::KvAppend { heads, head_dim, .. } => Op::KvAppend { heads, head_dim, context: 0 },
            // Caches are allocated, and computed on, in steps of eight tokens: rows of 16 bytes.
            op => op.context().map_or(op, |c| op.with_context(c.next_multiple_of(8))),
        };
        Work::Operator { op, batch: node.batch, tokens: node.tokens }
    }

    pub(super) fn launches(&self, part: &Part) -> Result<Launches, Unsupported> {
        match part.work {
            Work::Attention { batch, tokens, context, heads, kv_heads, head_dim } => {
                let a = Attention {
                    batch: int(batch),
                    heads: int(heads),
                    kv_heads: int(kv_heads),
                    queries: int(tokens),
                    keys: int(context),
                    head_dim: int(head_dim),
                    causal: true,
                    window: 0,
                    dtype: self.model.dtype,
                    kv_bytes: 2,
                    ..Attention::default()
                };
                Ok(Launches::Kernels(self.attention(&a, part)))
            }
            Work::Operator { op, batch, tokens } => self.of(op, batch, tokens, part),
        }
    }

    /// The kernels of fused attention, as the framework launches them: those that prepare it, one that reads queries, keys and values, and
    /// where keys are split one that puts its parts together.
    fn attention(&self, a: &Attention, part: &Part) -> Vec<Launch> {
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
                Ordering::Less => (vec![part.input(0); tensors - 1], Operand::own("kv_cache")),
                Ordering::Equal => (
                    vec![part.input(0), Operand::own("kv_cache"), Operand::own("kv_cache")],
                    if i == last { part.output.clone() } else { parts() },
                ),
                Ordering::Greater => {
                    (vec![parts(); tensors.saturating_sub(1)], if i == last { part.output.clone() } else { parts() })
                }
            };
            operands.truncate(tensors);
            operands.resize(tensors, out);
            Launch::new(kernel, operands)
        });
        kernels.collect()
    }

    fn of(&self, op: Op, batch: u64, tokens: u64, part: &Part) -> Result<Launches, Unsupported> {
        let m = batch.saturating_mul(tokens);
        let product = |m: u64, n: u64, k: u64| Gemm::new(int(m), int(n), int(k), self.model.dtype);
        let out = || part.output.clone();
        let weight = |i: usize| part.weights.get(i).cloned().unwrap_or_else(|| Operand::own("weight"));
        let one = |kernel: Kernel, operands: Vec<Operand>| Ok(Launches::Kernels(vec![Launch::new(kernel, operands)]));
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
                Ok(Launches::Kernels(vec![
                    Launch::new(table, [weight(0), rows.clone(), Operand::shared("position_indices")]),
                    Launch::new(sum, [part.input(0), rows, out()]),
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
            Op::KvAppend { heads, head_dim, .. } => {
                one(copy_bytes(2 * m * heads * head_dim * 2), vec![part.input(0), Operand::own("kv_cache")])
            }
            // Heads that share keys are rows of one product.
            Op::AttentionScores { heads, kv_heads, head_dim, context, .. } => {
                let group = heads / kv_heads.max(1);
                let g = Gemm { batch: int(batch * kv_heads), ..product(tokens * group, context, head_dim) };
                Ok(Launches::Product(g, cached, [part.input(0), Operand::own("kv_cache"), out()]))
            }
            Op::AttentionValues { heads, kv_heads, head_dim, context, .. } => {
                let group = heads / kv_heads.max(1);
                let g = Gemm { batch: int(batch * kv_heads), ..product(tokens * group, head_dim, context) };
                Ok(Launches::Product(g, cached, [part.input(0), Operand::own("kv_cache"), out()]))
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
