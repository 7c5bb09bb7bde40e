//! Routing of tokens to experts, and the operators that it is made of.

use banksia_hw::gpu::GpuSpec;
use banksia_mappers::gpu::launch::{Item, Operand};
use banksia_mappers::gpu::routing::{
    IndexAdd, RouteCall, RouteNames, SortCall, SortNames, TopK, TopKNames, cumulative_sum, index_add, route, sort,
    topk, transpose_copy,
};
use serde_json::Value as Json;

use super::call::{Call, argument};

/// Elements of an operand at most.
const MOST: u64 = 1 << 31;

pub(super) fn call(op: &str, args: &Json, spec: &GpuSpec) -> Result<Call, String> {
    let whole = |key: &str| argument(args, key, MOST);
    let named = Operand::shared;
    let items = match op {
        "moe_route" => {
            let call = RouteCall {
                tokens: whole("t")?,
                experts: whole("e")?,
                k: whole("k")?,
                hidden: whole("d")?,
                normalised: false,
                offsets: false,
            };
            within(call.tokens.saturating_mul(call.k).saturating_mul(call.hidden.max(call.experts)))?;
            let names = RouteNames { logits: named("x"), hidden: named("d"), permuted: named("rows") };
            route(&call, &names, spec)
        }
        "topk" => {
            let call = TopK { rows: whole("t")?, columns: whole("e")?, k: whole("k")? };
            within(call.rows.saturating_mul(call.columns))?;
            topk(&call, &TopKNames { input: named("x"), values: named("values"), indices: named("indices") }, spec)
        }
        "sort" => {
            let call = SortCall { rows: whole("rows")?, columns: whole("cols")?, key_bytes: 4 };
            within(call.rows.saturating_mul(call.columns))?;
            sort(&call, &SortNames { input: named("x"), keys: named("keys"), indices: named("indices") }, spec)
        }
        "cumsum" => {
            let (rows, columns) = (whole("rows")?, whole("cols")?);
            within(rows.saturating_mul(columns))?;
            let kernels = cumulative_sum(rows, columns);
            let of = |kernel| Item::kernel(kernel, [named("x"), named("y")]);
            kernels.into_iter().map(of).collect()
        }
        "index_add" => {
            let (rows, columns) = (whole("t")?, whole("d")?);
            within(rows.saturating_mul(columns))?;
            let call = IndexAdd { rows, columns, into: (rows / 4).max(1) };
            vec![Item::kernel(index_add(&call, spec), [named("x"), named("index"), named("y")])]
        }
        "transpose_copy" => {
            let (rows, columns) = (whole("rows")?, whole("cols")?);
            within(rows.saturating_mul(columns))?;
            vec![Item::kernel(transpose_copy(rows, columns, 2), [named("x"), named("y")])]
        }
        _ => return Err("operator not modelled".into()),
    };
    // One set of operands, replayed over and over.
    Ok(Call { items, copies: 1 })
}

fn within(elements: u64) -> Result<(), String> {
    if elements <= MOST { Ok(()) } else { Err(format!("{elements} elements: at most {MOST} are modelled")) }
}
