//! What one rank does: operators on its device, collectives with others, and what its host takes to start them.

use banksia_hw::gpu::program::Dtype;

/// An operator on one device, by content: equal ones take equal times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub enum LocalOp {
    /// `batch` products of `[m, k]` and `[k, n]`.
    Product {
        /// Rows.
        m: u32,
        /// Columns.
        n: u32,
        /// Depth.
        k: u32,
        /// Products in one launch.
        batch: u32,
        /// Type of the operands.
        dtype: Dtype,
        /// Bytes of an element of the result.
        out_bytes: u32,
        /// The result is added to what is there (weight gradients of several micro batches).
        accumulate: bool,
        /// Sums of every 128 elements of depth are added in single precision (cuBLAS without fast accumulation of eight-bit products).
        promoted: bool,
    },
    /// Attention as one kernel (FlashAttention).
    Attention {
        /// Sequences.
        batch: u32,
        /// Query heads of the rank.
        heads: u32,
        /// Key heads of the rank.
        kv_heads: u32,
        /// Queries of a sequence on the rank.
        queries: u32,
        /// Keys that they meet.
        keys: u32,
        /// Elements of a head.
        head_dim: u32,
        /// Queries see no later keys.
        causal: bool,
        /// Gradients of queries, keys and values, from what the forward pass kept.
        backward: bool,
        /// Type of the products.
        dtype: Dtype,
    },
    /// A kernel that streams: norms, activations, dropout, softmax, optimisers, by the bytes that the real kernel moves.
    Stream {
        /// Bytes read.
        read: u64,
        /// Bytes written.
        written: u64,
    },
}

impl LocalOp {
    /// A product of one batch in 16 bits with a result of as many.
    pub fn product(m: u64, n: u64, k: u64, dtype: Dtype) -> Self {
        let clamp = |v: u64| u32::try_from(v.max(1)).unwrap_or(u32::MAX);
        Self::Product {
            m: clamp(m),
            n: clamp(n),
            k: clamp(k),
            batch: 1,
            dtype,
            out_bytes: 2,
            accumulate: false,
            promoted: false,
        }
    }

    /// The same as a batch; other operators as they are.
    #[must_use]
    pub fn batched(self, batch: u64) -> Self {
        match self {
            Self::Product { m, n, k, dtype, out_bytes, accumulate, promoted, .. } => {
                let batch = u32::try_from(batch.max(1)).unwrap_or(u32::MAX);
                Self::Product { m, n, k, batch, dtype, out_bytes, accumulate, promoted }
            }
            other => other,
        }
    }

    /// A product of a backward pass: eight-bit ones are summed in single precision (Transformer Engine, `module/base.py`, `_2X_ACC_DGRAD`,
    /// `_2X_ACC_WGRAD`).
    #[must_use]
    pub fn of_gradient(self) -> Self {
        match self {
            Self::Product { m, n, k, batch, dtype, out_bytes, accumulate, .. } => {
                Self::Product { m, n, k, batch, dtype, out_bytes, accumulate, promoted: dtype == Dtype::Fp8 }
            }
            other => other,
        }
    }

    /// Added to single-precision sums of earlier micro batches by the product itself.
    #[must_use]
    pub fn accumulated(self) -> Self {
        match self {
            Self::Product { m, n, k, batch, dtype, promoted, .. } => {
                Self::Product { m, n, k, batch, dtype, out_bytes: 4, accumulate: true, promoted }
            }
            other => other,
        }
    }

    /// Operations: two a multiply-add, none in streams.
    pub fn flops(&self) -> f64 {
        match *self {
            Self::Product { m, n, k, batch, .. } => 2.0 * f64::from(m) * f64::from(n) * f64::from(k) * f64::from(batch),
            Self::Attention { batch, heads, queries, keys, head_dim, causal, backward, .. } => {
                let pairs = f64::from(queries) * f64::from(keys) * if causal { 0.5 } else { 1.0 };
                let products = if backward { 10.0 } else { 4.0 };
                f64::from(batch) * f64::from(heads) * pairs * f64::from(head_dim) * products
            }
            Self::Stream { .. } => 0.0,
        }
    }
}

/// What an operator is for, in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Products that make queries, keys and values.
    Qkv,
    /// The product after attention.
    Projection,
    /// The products into a feed-forward layer: up, and gate.
    FfnIn,
    /// The product out of it.
    FfnOut,
    /// Products of experts that tokens are routed to.
    Experts,
    /// Products of an expert that all tokens go through.
    SharedExpert,
    /// Scores, softmax and values.
    Attention,
    /// Norms, activations, dropout, residuals.
    Rows,
    /// Embedding, head and loss.
    Ends,
    /// Routing and what is copied for it.
    Routing,
    /// The update of weights.
    Optimizer,
    /// Collectives of tensor and sequence parallelism.
    TensorComm,
    /// Collectives of context parallelism.
    ContextComm,
    /// Exchanges between experts.
    ExpertComm,
    /// Sends between stages.
    PipelineComm,
    /// Reductions of gradients, gathers of weights.
    DataComm,
}

impl Class {
    /// How many there are.
    pub const COUNT: usize = 16;
    /// All of them, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Qkv,
        Self::Projection,
        Self::FfnIn,
        Self::FfnOut,
        Self::Experts,
        Self::SharedExpert,
        Self::Attention,
        Self::Rows,
        Self::Ends,
        Self::Routing,
        Self::Optimizer,
        Self::TensorComm,
        Self::ContextComm,
        Self::ExpertComm,
        Self::PipelineComm,
        Self::DataComm,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qkv => "qkv projection",
            Self::Projection => "attention projection",
            Self::FfnIn => "ffn up projection",
            Self::FfnOut => "ffn down projection",
            Self::Experts => "experts",
            Self::SharedExpert => "shared expert",
            Self::Attention => "attention",
            Self::Rows => "row kernels",
            Self::Ends => "embedding, head and loss",
            Self::Routing => "routing",
            Self::Optimizer => "optimiser",
            Self::TensorComm => "tensor-parallel collectives",
            Self::ContextComm => "context-parallel collectives",
            Self::ExpertComm => "expert exchanges",
            Self::PipelineComm => "pipeline sends",
            Self::DataComm => "data-parallel collectives",
        }
    }

    /// Whether it is communication.
    pub const fn is_communication(self) -> bool {
        matches!(self, Self::TensorComm | Self::ContextComm | Self::ExpertComm | Self::PipelineComm | Self::DataComm)
    }
}

/// Among which ranks a collective is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Axis {
    /// Tensor-parallel ranks.
    Tensor,
    /// Context-parallel ranks.
    Context,
    /// Data-parallel ranks (and context-parallel ones, whose gradients are summed too).
    Data,
    /// Expert-parallel ranks.
    Expert,
    /// Expert-parallel ranks of one node.
    ExpertNode,
    /// Expert-parallel ranks of the same place in their nodes.
    ExpertRail,
    /// Tensor-parallel ranks within an expert.
    ExpertTensor,
    /// Replicas of an expert.
    ExpertData,
    /// Groups of replicas that take steps of their own.
    Outer,
    /// Neighbouring pipeline stages.
    Pipeline,
}

/// A collective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CommKind {
    /// All get the sum.
    AllReduce,
    /// All get all parts.
    AllGather,
    /// Each gets a part of the sum.
    ReduceScatter,
    /// Each sends a part to each.
    AllToAll,
    /// One sends to another.
    Send,
}

/// A collective of a rank with others: `bytes` as nccl-tests count them (the whole buffer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Comm {
    /// Which.
    pub kind: CommKind,
    /// Among whom.
    pub axis: Axis,
    /// Whole buffer.
    pub bytes: u64,
}

/// What a host does to start something; what it takes is the software's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostWork {
    /// Nothing: started with what came before.
    None,
    /// An operator of a forward pass, called from Python.
    Forward,
    /// An operator of a backward pass, called by the autograd engine.
    Backward,
    /// A parameter's gradient is handed over (hooks, sums into a buffer).
    Gradient,
    /// A module of the model is entered.
    Module,
    /// A random state is saved, set or restored.
    RandomState,
    /// A collective is called.
    Collective,
    /// A layer is checkpointed, or computed again from a checkpoint.
    Checkpoint,
}

/// One thing of a rank's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item {
    /// An operator on the device.
    Run(LocalOp, Class, HostWork),
    /// So many kernels of nearly no bytes, which only the host's time and their launches cost.
    Small(u32, Class, HostWork),
    /// A collective that computation waits for.
    Comm(Comm, Class),
    /// A collective beside computation, which [`Item::Join`] waits for.
    Beside(Comm, Class),
    /// A collective of replicas beside computation, which [`Item::JoinReplicas`] waits for.
    BesideReplicas(Comm, Class),
    /// One of a row of collectives of replicas that were all sent for at the step's start: computation waits for it alone.
    Awaited(Comm, Class),
    /// Computation waits for collectives beside it.
    Join,
    /// Computation waits for collectives of replicas beside it.
    JoinReplicas,
    /// Host work by itself.
    Host(HostWork, u32),
}
