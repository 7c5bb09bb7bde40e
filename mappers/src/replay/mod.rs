//! Whether a mapping computes what it should, without time: a program is replayed through its plan's layout.
//!
//! A plan makes [`Claims`]: where the elements of its tensors lie, and what each operator has to do. [`check`] walks a program of the plan against
//! them:
//!
//! - **Presence.** Each instruction comes after what completes the values it uses; what is new in the step is written to the banks before it is read.
//! - **Capacity.** Rows of banks, global buffers, the vector unit's memory, a GPU's memory, at their fullest.
//! - **Products.** A program does not say what a loaded vector contains: the walk finds what it must contain for the weights that it meets, and refuses
//!   two that want different things. Every element is met as often as there are vectors, no sums of two outputs are mixed, and none is lost. Where a
//!   model is small, numbers go through the banks as well, and every output is compared with the plain product bit for bit.
//! - **Traffic.** Bytes by level, counted from the program.
//!
//! What is wrong is a [`Wrong`]: the operator, the place, and what would be right.

mod cells;
mod check;
mod claims;
mod flow;
mod kernels;
mod memory;
mod numbers;
mod order;
mod place;
mod report;
mod wrong;

#[cfg(test)]
mod tests;

pub use check::check;
pub(crate) use claims::most_alive;
pub use claims::{Claims, Group, InBanks, OnGpu};
pub use memory::BankTraffic;
pub use place::{Bounds, Fresh, PackedChunk, Piece, Place, Region};
pub use report::{CheckReport, Level, Moved};
pub use wrong::Wrong;
