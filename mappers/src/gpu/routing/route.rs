//! Tokens to their experts, as plain PyTorch does it.

use banksia_hw::gpu::spec::GpuSpec;

use super::{IndexAdd, SortCall, SortNames, TopK, TopKNames, cumulative_sum, histogram, index_add, item, sort, topk};
use crate::gpu::fused::{
    Cost, Pointwise, Reduction, Way, convert, fill, gather_rows, pointwise, reduce_rows, softmax_rows,
};
use crate::gpu::launch::{Item, Operand};

/// A router's work over tokens, without its product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteCall {
    /// Tokens.
    pub tokens: u64,
    /// Experts.
    pub experts: u64,
    /// Experts of a token.
    pub k: u64,
    /// Columns of the hidden state, of 16 bits.
    pub hidden: u64,
    /// Weights of a token's experts are divided by their sum.
    pub normalised: bool,
    /// Offsets of experts are converted to 32 bits, and tokens' weights to 16.
    pub offsets: bool,
}

/// Memory of a routing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteNames {
    /// The router's logits, `[tokens, experts]` in 16 bits.
    pub logits: Operand,
    /// Hidden states, `[tokens, hidden]`.
    pub hidden: Operand,
    /// The same in the order of experts, `[tokens k, hidden]`.
    pub permuted: Operand,
}

/// The token of a row in the order of experts, where these have as many each: an expert's tokens ascend, as equal numbers keep their order in the sort.
fn of_expert(call: &RouteCall, row: u64) -> u64 {
    let tokens = call.tokens.max(1);
    let each = (tokens.saturating_mul(call.k) / call.experts.max(1)).max(1);
    (row % each).saturating_mul(tokens) / each
}

/// The memory of where each expert's rows begin.
pub(crate) const OFFSETS: &str = "route_offsets_32";

/// From logits to rows in the order of experts, and the experts' offsets: conversion, softmax, top-k, sort of the experts' numbers, histogram, division of places by `k`,
/// gather, cumulative sum.
pub fn route(call: &RouteCall, names: &RouteNames, spec: &GpuSpec) -> Vec<Item> {
    let (tokens, k) = (call.tokens.max(1), call.k.max(1));
    let rows = tokens.saturating_mul(k);
    let named = Operand::shared;
    let (weights, chosen) = (named("route_weights"), named("route_experts"));
    let (places, taken) = (named("route_places"), named("route_tokens"));
    let mut items = vec![
        item(convert(tokens.saturating_mul(call.experts), 2, 4), [names.logits.clone(), named("route_logits")]),
        item(softmax_rows(tokens, call.experts), [named("route_logits"), named("route_probabilities")]),
    ];
    let top = TopK { rows: tokens, columns: call.experts, k };
    let top_names = TopKNames { input: named("route_probabilities"), values: weights.clone(), indices: chosen.clone() };
    items.extend(topk(&top, &top_names, spec));
    if call.normalised {
        let sums = reduce_rows(Reduction::Sum, tokens, k, 4, 4);
        items.extend(sums.into_iter().map(|s| item(s, [weights.clone(), named("route_sums")])));
        let divide = Pointwise {
            elements: rows,
            inputs: vec![4.0, 4.0 / k as f64],
            out_bytes: 4,
            way: Way::Strided,
            cost: Cost { fma: 6.0, alu: 2.0, sfu: 1.0 },
        };
        items.push(item(pointwise("quotient", &divide), [weights.clone(), named("route_sums"), weights.clone()]));
        items.push(item(convert(rows, 4, 2), [weights.clone(), named("route_weights_16")]));
    }
    let sorted = SortNames { input: chosen.clone(), keys: named("route_sorted"), indices: places.clone() };
    items.extend(sort(&SortCall { rows: 1, columns: rows, key_bytes: 8 }, &sorted, spec));
    items.push(item(convert(rows, 8, 4), [chosen, named("route_numbers")]));
    items.push(item(fill(call.experts, 4), [named("route_counts")]));
    items.push(item(histogram(rows, call.experts), [named("route_numbers"), named("route_counts")]));
    let scan: Vec<Item> = cumulative_sum(1, call.experts)
        .into_iter()
        .map(|kernel| {
            let first = if kernel.tensors.len() == 1 { named("scan_states") } else { named("route_counts") };
            item(kernel, [first, named("route_offsets")])
        })
        .collect();
    let divided = Pointwise { elements: rows, inputs: vec![8.0], out_bytes: 8, way: Way::Vector, cost: Cost::DIVIDE };
    let divided = item(pointwise("token of a place", &divided), [places, taken.clone()]);
    let gather = gather_rows(rows, call.hidden.saturating_mul(2), tokens, &|i| of_expert(call, i), false);
    let gather = item(gather, [names.hidden.clone(), taken, names.permuted.clone()]);
    if call.offsets {
        items.extend(scan);
        items.push(item(convert(call.experts, 4, 4), [named("route_offsets"), named(OFFSETS)]));
        items.extend([divided, gather]);
    } else {
        items.extend([divided, gather]);
        items.extend(scan);
    }
    items
}

/// Results of experts back to their tokens: zeros, the weights in the order of rows, a product with each row's weight, and an addition in L2.
pub fn combine(call: &RouteCall, rows_of: &Operand, output: &Operand, spec: &GpuSpec) -> Vec<Item> {
    let (tokens, k) = (call.tokens.max(1), call.k.max(1));
    let rows = tokens.saturating_mul(k);
    let named = Operand::shared;
    let elements = rows.saturating_mul(call.hidden);
    let weighted = Pointwise {
        elements,
        inputs: vec![2.0, 2.0 / call.hidden.max(1) as f64],
        out_bytes: 2,
        way: Way::Strided,
        cost: Cost::BINARY,
    };
    // Each element's place comes from an index of 64 bits.
    let picked =
        Pointwise { elements: rows, inputs: vec![8.0, 2.0], out_bytes: 2, way: Way::Strided, cost: Cost::BINARY };
    vec![
        item(fill(tokens.saturating_mul(call.hidden), 2), [output.clone()]),
        item(
            pointwise("picked weights", &picked),
            [named("route_places"), named("route_weights_16"), named("route_picked")],
        ),
        item(pointwise("weighted rows", &weighted), [rows_of.clone(), named("route_picked"), named("route_weighted")]),
        item(
            index_add(&IndexAdd { rows, columns: call.hidden, into: tokens }, spec),
            [named("route_weighted"), named("route_tokens"), output.clone()],
        ),
    ]
}
