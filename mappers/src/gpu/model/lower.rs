//! From the operators of a step to launches.

use banksia_hw::gpu::CacheState;
use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op as TileOp, Path, Tensor, Tile, Trips};
use banksia_workloads::{ActivationKind, Op, OperatorNode, Phase, Step};

use super::super::attention::{Attention, Flash3, SplitDecode, decode3, flash2, flash3, split_decode};
use super::super::gemm::Gemm;
use super::super::layers::{copy_bytes, row_operator};
use super::super::rows::{ElementWork, Elementwise, elementwise, gather};
use super::super::select::Found;
use super::super::{copy, lanes, one_role, reduction};
use super::{AttentionKernels, GpuModel};

/// What a simulation depends on, apart from the phase: equal work gives equal results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// One operator of the graph.
    Operator {
        /// What it computes.
        op: Op,
        /// Sequences.
        batch: u64,
        /// Tokens of each.
        tokens: u64,
    },
    /// Scores, softmax and values as one kernel.
    Attention {
        /// Sequences.
        batch: u64,
        /// Queries of each.
        tokens: u64,
        /// Keys of each.
        context: u64,
        /// Query heads.
        heads: u64,
        /// Key heads.
        kv_heads: u64,
        /// Elements of a head.
        head_dim: u64,
    },
}

impl Work {
    pub(super) fn is_attention(&self) -> bool {
        matches!(self, Self::Attention { .. })
    }

    /// Whether another decode step has the same.
    pub(super) fn depends_on_context(&self) -> bool {
        match self {
            Self::Operator { op: Op::KvAppend { .. }, .. } => false,
            Self::Operator { op, .. } => op.context().is_some(),
            Self::Attention { .. } => true,
        }
    }
}

/// One operator of a step, and how many layers have it.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) label: String,
    pub(super) work: Work,
    pub(super) layers: u64,
    /// In one layer.
    pub(super) flops: u64,
}

/// The launches of one operator.
pub(super) enum Launches {
    /// A product whose kernel is searched for.
    Product(Gemm, Found),
    /// Kernels, each with what L2 holds when it starts.
    Kernels(Vec<(Kernel, CacheState)>),
}

/// The lowering of one phase.
pub(super) struct Lowering<'a> {
    pub(super) model: &'a GpuModel,
    pub(super) phase: Phase,
    /// Share of the lines of other data in L2 that must be written back.
    pub(super) dirty: f64,
}

/// Sizes have been checked to be far below this.
fn int(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn work(fma: f64, alu: f64, sfu: f64, other: f64) -> ElementWork {
    ElementWork { fma, alu, sfu, other, stall: 2.5 }
}

fn elements(n: u64, inputs: u32, work: ElementWork) -> Kernel {
    // As PyTorch's vectorised elementwise kernels: 128 threads of 8 elements.
    elementwise(&Elementwise { elements: n.max(1), inputs, element_bytes: 2, per_cta: 1024, threads: 128, work })
}

impl Lowering<'_> {
    /// The operators of a step in order, those of a layer once.
    pub(super) fn parts(&self, step: &Step) -> Vec<Part> {
        let fused = self.model.options.attention == AttentionKernels::Flash;
        let mut parts: Vec<Part> = Vec::new();
        for node in self.model.model.distinct_operators(step, &self.model.generation) {
            let layers = if node.layer.is_some() { u64::from(self.model.model.layers) } else { 1 };
            let flops = node.flops();
            match node.op {
                Op::AttentionScores { heads, kv_heads, head_dim, context, .. } if fused => parts.push(Part {
                    label: "attention".into(),
                    work: Work::Attention {
                        batch: node.batch,
                        tokens: node.tokens,
                        context,
                        heads,
                        kv_heads,
                        head_dim,
                    },
                    layers,
                    flops,
                }),
                Op::Softmax { .. } | Op::AttentionValues { .. } if fused => {
                    if let Some(part) = parts.iter_mut().rev().find(|p| p.work.is_attention()) {
                        part.flops = part.flops.saturating_add(flops);
                    }
                }
                _ => parts.push(Part { work: self.operator(&node), label: node.label, layers, flops }),
            }
        }
        parts
    }

    fn operator(&self, node: &OperatorNode) -> Work {
        let op = match node.op {
            // Appending costs the same wherever it is.
            Op::KvAppend { heads, head_dim, .. } => Op::KvAppend { heads, head_dim, context: 0 },
            // Caches are allocated, and computed on, in steps of eight tokens: rows of 16 bytes.
            op => op.context().map_or(op, |c| op.with_context(c.next_multiple_of(8))),
        };
        Work::Operator { op, batch: node.batch, tokens: node.tokens }
    }

    /// Every tensor but the last in L2, as the kernels before left them.
    fn warm(&self, kernel: Kernel) -> (Kernel, CacheState) {
        let resident = kernel.tensors.len().saturating_sub(1);
        self.warm_of(kernel, &(0..resident).collect::<Vec<_>>())
    }

    fn warm_of(&self, kernel: Kernel, tensors: &[usize]) -> (Kernel, CacheState) {
        let tensors = tensors.iter().map(|&t| (t, true)).collect();
        (kernel, CacheState::Resident { tensors, dirty: self.dirty })
    }

    pub(super) fn launches(&self, work: &Work) -> Launches {
        match *work {
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
                };
                Launches::Kernels(self.attention(&a))
            }
            Work::Operator { op, batch, tokens } => self.of(op, batch, tokens),
        }
    }

    fn attention(&self, a: &Attention) -> Vec<(Kernel, CacheState)> {
        let spec = &self.model.spec;
        if a.queries > 1 {
            let kernel = if spec.tensor.warpgroup { flash3(a, spec, Flash3::default()) } else { flash2(a, spec) };
            // Queries, keys and values have just been written; keys of earlier steps there are none.
            return vec![self.warm(kernel)];
        }
        let kernels = if spec.tensor.warpgroup {
            decode3(a, spec, Flash3::default(), true)
        } else {
            split_decode(a, spec, SplitDecode { rows: 64, keys: 128, stages: 1, per_sm: 1, packed: true })
        };
        let mut kernels = kernels.into_iter();
        // The cache of keys and values comes from memory; the parts' results from L2.
        let first = kernels.next().map(|k| self.warm_of(k, &[0]));
        first.into_iter().chain(kernels.map(|k| self.warm(k))).collect()
    }

    fn of(&self, op: Op, batch: u64, tokens: u64) -> Launches {
        let m = batch.saturating_mul(tokens);
        let product = |m: u64, n: u64, k: u64| Gemm::new(int(m), int(n), int(k), self.model.dtype);
        let one = |kernel: Kernel| Launches::Kernels(vec![self.warm(kernel)]);
        let row = |name: &str, width: u64| {
            Launches::Kernels(
                row_operator(name, int(m), int(width)).map(|k| self.warm_of(k, &[0])).into_iter().collect(),
            )
        };
        // Keys and values of a prompt have just been written; those of a context come from memory.
        let cached = Found { a: true, b: self.phase == Phase::Prefill, c: false };
        match op {
            // The table lies in memory, the indices do not.
            Op::Embedding { vocab, width } => {
                Launches::Kernels(vec![self.warm_of(gather(int(m), int(width), int(vocab), 2), &[2])])
            }
            // PyTorch looks the positions up, then adds them to every sequence.
            Op::PositionEmbedding { positions, width } => Launches::Kernels(vec![
                self.warm_of(gather(int(tokens), int(width), int(positions), 2), &[2]),
                self.warm(elements(m * width, 2, work(3.25, 2.0, 0.0, 2.1))),
            ]),
            Op::LayerNorm { width } => row("layernorm", width),
            Op::RmsNorm { width } => row("rmsnorm", width),
            // The bias is added as the product is stored.
            Op::Linear { in_features, out_features, .. } => {
                Launches::Product(product(m, out_features, in_features), Found { a: true, b: false, c: false })
            }
            // Two products, two sums in pairs, and the angle's sine and cosine from a table.
            Op::Rotary { heads, kv_heads, head_dim, .. } => {
                one(elements(m * (heads + kv_heads) * head_dim, 2, work(2.0, 3.0, 0.0, 3.0)))
            }
            Op::KvAppend { heads, head_dim, .. } => one(copy_bytes(2 * m * heads * head_dim * 2)),
            // Heads that share keys are rows of one product.
            Op::AttentionScores { heads, kv_heads, head_dim, context, .. } => {
                let group = heads / kv_heads.max(1);
                let g = Gemm { batch: int(batch * kv_heads), ..product(tokens * group, context, head_dim) };
                Launches::Product(g, cached)
            }
            Op::AttentionValues { heads, kv_heads, head_dim, context, .. } => {
                let group = heads / kv_heads.max(1);
                let g = Gemm { batch: int(batch * kv_heads), ..product(tokens * group, head_dim, context) };
                Launches::Product(g, cached)
            }
            Op::Softmax { rows, columns, .. } => {
                let kernel = row_operator("softmax", int(rows), int(columns));
                Launches::Kernels(kernel.map(|k| self.warm_of(k, &[0])).into_iter().collect())
            }
            Op::Residual { width } | Op::GatedMul { width } => one(elements(m * width, 2, work(3.25, 2.0, 0.0, 2.1))),
            Op::Activation { kind: ActivationKind::Gelu, width } => row("gelu", width),
            // Exponential, sum, reciprocal and product, between the conversions that the sum of two has.
            Op::Activation { kind: ActivationKind::Silu, width } => {
                one(elements(m * width, 1, work(4.0, 2.0, 2.0, 2.1)))
            }
            Op::Activation { kind: ActivationKind::Relu, width } => {
                one(elements(m * width, 1, work(1.0, 2.0, 0.0, 2.1)))
            }
            Op::ArgMax { vocab } => one(argmax(int(m), int(vocab))),
            // What the workloads may yet learn: a pass over the tokens.
            _ => one(elements(m, 1, work(1.0, 1.0, 0.0, 1.0))),
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
