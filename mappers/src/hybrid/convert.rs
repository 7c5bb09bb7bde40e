//! Weights that lie in the banks' layout, and a GPU that is to read them.

use std::collections::HashMap;
use std::sync::Arc;

use banksia_hw::gpu::program::Kernel;

use super::weights::Copies;
use crate::gpu::fused::{Cost, Pointwise, Way, pointwise};
use crate::gpu::launch::{Launch, Operand};

/// The room that a matrix is converted into.
pub(super) const ROOM: &str = "converted_weight";

impl Copies {
    /// Whether a kernel reads weights from another place than that in which the banks have them.
    pub(super) fn moves(self, shared: bool) -> bool {
        self == Self::Convert || !shared
    }
}

/// What is converted: the matrix as it lies in the banks, or as it has been sent. `None` where it is read as it lies.
pub(super) fn source(copies: Copies, shared: bool, weights: Option<&Operand>) -> Option<Operand> {
    let own = weights.map(|o| Operand { name: format!("{}.banks", o.name), own: o.own });
    let from = own.filter(|_| shared).unwrap_or_else(|| Operand::shared("weight_in_banks_layout"));
    (copies == Copies::Convert).then_some(from)
}

/// The kernel that copies so many bytes of weights from the banks' layout to rows: it reads and writes each once. Behind a link they have been sent to
/// the room before. `None` where they are read as they lie.
pub(super) fn launch(
    copies: Copies,
    shared: bool,
    bytes: u64,
    weights: Option<&Operand>,
    kernels: &mut HashMap<u64, Arc<Kernel>>,
) -> Option<Launch> {
    let from = source(copies, shared, weights)?;
    let kernel = kernels.entry(bytes).or_insert_with(|| {
        let copy = Pointwise {
            elements: bytes / 2,
            inputs: vec![2.0],
            out_bytes: 2,
            way: Way::Strided,
            cost: Cost { fma: 0.0, alu: 2.0, sfu: 0.0 },
        };
        Arc::new(pointwise("conversion of weights from the banks' layout", &copy))
    });
    Some(Launch { kernel: Arc::clone(kernel), operands: vec![from, Operand::shared(ROOM)] })
}
