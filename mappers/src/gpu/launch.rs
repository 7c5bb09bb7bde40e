//! Launches: kernels, and the memory that each of their tensors lies in. What an operator is launched as is a list of these, the same
//! for a model that is run and for a row that it is held to.

use std::sync::Arc;

use banksia_hw::gpu::GpuError;
use banksia_hw::gpu::estimate::Judge;
use banksia_hw::gpu::program::Kernel;
use banksia_hw::program::{InstructionId, ProgramBuilder};

use super::gemm::Gemm;
use super::libraries::Library;
use super::select::{self, Effort, Found};

/// Memory that a tensor of a kernel lies in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Operand {
    /// The buffer's name, within a layer.
    pub name: String,
    /// Each layer (or set of operands that takes its turn) has its own: weights, caches, states. Other memory all layers use anew, as
    /// a framework's allocator hands it out.
    pub own: bool,
}

impl Operand {
    /// Memory that all layers use anew: activations, workspaces.
    pub fn shared(name: impl Into<String>) -> Self {
        Self { name: name.into(), own: false }
    }

    /// Memory of one layer: weights, caches, states.
    pub fn own(name: impl Into<String>) -> Self {
        Self { name: name.into(), own: true }
    }
}

/// A kernel, and the memory of each of its tensors, in their order.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What is launched.
    pub kernel: Arc<Kernel>,
    /// As many as the kernel has tensors.
    pub operands: Vec<Operand>,
}

impl Launch {
    /// The kernel's tensors in some memory, in their order; what else it has is its own scratch.
    pub fn new(kernel: Kernel, operands: impl IntoIterator<Item = Operand>) -> Self {
        let mut operands: Vec<Operand> = operands.into_iter().take(kernel.tensors.len()).collect();
        operands.resize_with(kernel.tensors.len(), || Operand::shared("scratch"));
        Self { kernel: Arc::new(kernel), operands }
    }
}

/// One of the things that an operator is launched as, in order.
#[derive(Debug, Clone)]
pub enum Item {
    /// A product whose kernel a library chooses, what it finds in L2 while it is chosen, and the memory of its operands and its result.
    Product(Gemm, Library, Found, [Operand; 3]),
    /// A kernel that is known.
    Kernel(Launch),
}

impl Item {
    /// A kernel in some memory.
    pub fn kernel(kernel: Kernel, operands: impl IntoIterator<Item = Operand>) -> Self {
        Self::Kernel(Launch::new(kernel, operands))
    }

    /// A product of activations `[m, k]` with weights `[n, k]`, by cuBLAS.
    pub fn product(gemm: Gemm, input: Operand, weight: Operand, output: Operand) -> Self {
        Self::Product(gemm, Library::Cublas, Found { a: true, b: false, c: false }, [input, weight, output])
    }
}

/// The launches of items: kernels of products are chosen by a judge.
///
/// # Errors
/// No kernel of a product's library fits the device.
pub fn resolve(items: Vec<Item>, judge: &mut dyn Judge) -> Result<Vec<Launch>, GpuError> {
    let mut launches = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Item::Kernel(launch) => launches.push(launch),
            Item::Product(gemm, library, found, names) => {
                let (plan, _) = select::gemm_of(judge, library, &gemm, found, Effort::DEFAULT)?;
                let kernels: Vec<Arc<Kernel>> = plan.steps.into_iter().map(|(kernel, _)| Arc::new(kernel)).collect();
                launches.extend(launches_of_product(&kernels, plan.swapped, &names));
            }
        }
    }
    Ok(launches)
}

/// The launches of a product's kernels with their memory: parts of sums lie apart from the result until they are summed.
pub fn launches_of_product(kernels: &[Arc<Kernel>], swapped: bool, [a, b, c]: &[Operand; 3]) -> Vec<Launch> {
    const REDUCTION: &str = "split reduction";
    let is_split = kernels.iter().any(|k| k.name.starts_with(REDUCTION));
    let workspace = || Operand::shared("workspace");
    let of = |kernel: &Arc<Kernel>| {
        let mut operands = if kernel.name.starts_with(REDUCTION) {
            vec![workspace(), c.clone()]
        } else if kernel.name == "tile counter" {
            vec![Operand::shared("counter")]
        } else {
            let (first, second) = if swapped { (b, a) } else { (a, b) };
            vec![first.clone(), second.clone(), if is_split { workspace() } else { c.clone() }]
        };
        operands.truncate(kernel.tensors.len());
        operands.resize_with(kernel.tensors.len(), || Operand::shared("scratch"));
        Launch { kernel: Arc::clone(kernel), operands }
    };
    kernels.iter().map(of).collect()
}

/// Adds launches of an operator to a program, each after the one before and the first after `after`; returns the last. `prefix` begins the
/// names of buffers that are a layer's own, `suffix` ends those of others.
pub fn emit(
    builder: &mut ProgramBuilder,
    operator: u32,
    launches: &[Launch],
    prefix: &str,
    suffix: &str,
    after: &[InstructionId],
) -> Option<InstructionId> {
    let mut last = None;
    let mut buffers = Vec::new();
    for launch in launches {
        buffers.clear();
        for (operand, tensor) in launch.operands.iter().zip(&launch.kernel.tensors) {
            let name = match operand.own {
                true => format!("{prefix}{}", operand.name),
                false => format!("{}{suffix}", operand.name),
            };
            buffers.push(builder.buffer(&name, tensor.bytes()));
        }
        let work = builder.launch_of(&launch.kernel, &buffers);
        last = Some(builder.push(operator, work, last.as_ref().map_or(after, std::slice::from_ref)));
    }
    last
}
