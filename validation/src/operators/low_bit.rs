//! Products of four and eight bits, and of weights of which two in four are zero.

use banksia_hw::gpu::GpuSpec;
use banksia_mappers::gpu::launch::{Item, Operand};
use banksia_mappers::gpu::low_bit::{int8_product, sparse_product, tinygemm};
use serde_json::Value as Json;

use super::call::{Call, argument, sets};

/// Sizes at most.
const MOST: u64 = 1 << 20;

pub(super) fn call(op: &str, args: &Json, spec: &GpuSpec) -> Result<Call, String> {
    let size = |key: &str| argument(args, key, MOST);
    let (m, n, k) = (size("m")?, size("n")?, size("k")?);
    let small = |x: u64| u32::try_from(x).map_err(|_| format!("{x} is too large"));
    let (x, weight, y) = (Operand::own("x"), Operand::own("weight"), Operand::shared("y"));
    match op {
        "gemm_w4a16" => {
            let kernel = tinygemm(m, n, k, size("group")?);
            let items = vec![Item::kernel(kernel, [x, weight, Operand::own("scales"), y])];
            Ok(Call { items, copies: sets(n.saturating_mul(k) / 2, 8) })
        }
        "gemm_int8" => {
            let items = int8_product(small(m)?, small(n)?, small(k)?, spec, &[x, weight, y])?;
            Ok(Call { items, copies: sets(n.saturating_mul(k), 8) })
        }
        // The weights are the left operand, and the same in every call.
        "gemm_24" => {
            let items = sparse_product(small(n)?, small(m)?, small(k)?, spec, &[weight, x, y])?;
            Ok(Call { items, copies: 1 })
        }
        _ => Err("operator not modelled".into()),
    }
}
