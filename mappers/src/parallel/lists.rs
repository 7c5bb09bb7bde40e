//! Lists of items under construction: what a pass of one layer does, in order.

use banksia_hw::gpu::program::Dtype;

use super::op::{Class, Comm, HostWork, Item, LocalOp};
use super::settings::{Parallel, Precision, Train};
use super::shape::Shape;
use super::software::Software;

/// Everything that a pass asks.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The model.
    pub shape: &'a Shape,
    /// How it is spread.
    pub parallel: &'a Parallel,
    /// What a step is.
    pub train: &'a Train,
    /// What the framework does.
    pub software: &'a Software,
}

impl Context<'_> {
    /// Tokens of a micro batch on a rank, where tensor-parallel ranks all have the same.
    pub fn tokens(&self) -> u64 {
        u64::from(self.train.micro_batch) * u64::from(self.train.sequence) / u64::from(self.parallel.cp.max(1))
    }

    /// Tokens of a rank in norms and residuals.
    pub fn norm_tokens(&self) -> u64 {
        if self.parallel.sequence { self.tokens() / u64::from(self.parallel.tp.max(1)) } else { self.tokens() }
    }

    /// Type of the layers' products.
    pub fn layer_dtype(&self) -> Dtype {
        match self.train.precision {
            Precision::Bf16 | Precision::Bf16Pure => Dtype::Bf16,
            Precision::Fp16 => Dtype::Fp16,
            Precision::Fp8 => Dtype::Fp8,
        }
    }

    /// Type of the products of attention and of the head.
    pub fn wide_dtype(&self) -> Dtype {
        match self.train.precision {
            Precision::Fp16 => Dtype::Fp16,
            Precision::Bf16 | Precision::Bf16Pure | Precision::Fp8 => Dtype::Bf16,
        }
    }

    /// A share of tensor-parallel ranks.
    pub fn per_tp(&self, elements: u64) -> u64 {
        elements / u64::from(self.parallel.tp.max(1))
    }
}

/// A backward pass three ways: gradients of inputs, of weights, and both as a framework runs them together.
#[derive(Debug, Clone, Default)]
pub struct Backward {
    /// Gradients of inputs, and what is computed again.
    pub input: Vec<Item>,
    /// Gradients of weights.
    pub weight: Vec<Item>,
    /// Both.
    pub joined: Vec<Item>,
}

impl Backward {
    /// Belongs to gradients of inputs.
    pub fn input(&mut self, item: Item) {
        self.input.push(item);
        self.joined.push(item);
    }

    /// The same of what may be nothing.
    pub fn input_opt(&mut self, item: Option<Item>) {
        if let Some(item) = item {
            self.input(item);
        }
    }

    /// Belongs to gradients of weights.
    pub fn weight(&mut self, item: Item) {
        self.weight.push(item);
        self.joined.push(item);
    }

    /// Belongs to both together alone: weight gradients hide it, and only where they follow at once.
    pub fn together(&mut self, item: Item) {
        self.joined.push(item);
    }

    /// The same in gradients of inputs alone.
    pub fn apart(&mut self, item: Item) {
        self.input.push(item);
    }
}

/// A kernel that streams, called from Python.
pub fn stream(read: u64, written: u64, class: Class) -> Item {
    Item::Run(LocalOp::Stream { read, written }, class, HostWork::Forward)
}

/// A kernel that streams, called by the autograd engine.
pub fn stream_back(read: u64, written: u64, class: Class) -> Item {
    Item::Run(LocalOp::Stream { read, written }, class, HostWork::Backward)
}

/// A product of a forward pass.
pub fn product(class: Class, [m, n, k]: [u64; 3], dtype: Dtype) -> Item {
    Item::Run(LocalOp::product(m, n, k, dtype), class, HostWork::Forward)
}

/// Gradients of a product `[m, k] x [k, n]`: of its input, and of its weights.
pub fn gradients(
    back: &mut Backward,
    class: Class,
    [m, n, k]: [u64; 3],
    dtype: Dtype,
    software: &Software,
    between: &[Item],
) {
    if dtype == Dtype::Fp8 {
        // The gradient is cast for both products: one copy, and one transposed.
        back.input(stream_back(2 * m * n, 2 * m * n, Class::Rows));
    }
    back.input(Item::Run(LocalOp::product(m, k, n, dtype).of_gradient(), class, HostWork::Backward));
    for item in between {
        match item {
            // Without weight gradients at once, computation waits for it.
            Item::Beside(comm, class) => {
                back.together(*item);
                back.apart(Item::Comm(*comm, *class));
            }
            _ => back.input(*item),
        }
    }
    let op = LocalOp::product(n, k, m, dtype).of_gradient();
    let op = if software.fused_gradients { op.accumulated() } else { op };
    back.weight(Item::Run(op, class, HostWork::Backward));
    if !software.fused_gradients {
        // Added to the gradients of other micro batches: two bytes to those of `gradient_bytes`.
        let bytes = u64::from(software.gradient_bytes);
        back.weight(Item::Run(
            LocalOp::Stream { read: n * k * (2 + bytes), written: n * k * bytes },
            class,
            HostWork::Gradient,
        ));
    } else {
        back.weight(Item::Host(HostWork::Gradient, 1));
    }
    if between.iter().any(|i| matches!(i, Item::Beside(..))) {
        back.together(Item::Join);
    }
}

/// A collective.
pub fn comm(comm: Comm, class: Class) -> Item {
    Item::Comm(comm, class)
}
