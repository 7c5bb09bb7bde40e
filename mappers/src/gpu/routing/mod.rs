//! Routing of tokens to experts, and the operators of PyTorch that it is made of: top-k, sort, histogram, cumulative sum, scatter with sums,
//! transposed copy. Kernels, grids and block sizes are those of PyTorch 2.11 and its CUB.

mod histogram;
mod radix;
mod route;
mod scan;
mod scatter;
mod sort;
mod topk;
mod transpose;

pub use histogram::histogram;
pub(crate) use route::OFFSETS;
pub use route::{RouteCall, RouteNames, combine, route};
pub use scan::cumulative_sum;
pub use scatter::{IndexAdd, index_add};
pub use sort::{SortCall, SortNames, sort, sort_pairs};
pub use topk::{TopK, TopKNames, topk};
pub use transpose::transpose_copy;

use super::launch::{Item, Operand};
use banksia_hw::gpu::program::Kernel;

/// A kernel with memory of its own kind.
fn item(kernel: Kernel, operands: impl IntoIterator<Item = Operand>) -> Item {
    Item::kernel(kernel, operands)
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Turns of a loop, as many as there may be.
fn turns(n: u64) -> u32 {
    u32::try_from(n.clamp(1, 1 << 24)).unwrap_or(1)
}
