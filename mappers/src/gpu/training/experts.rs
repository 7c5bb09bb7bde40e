//! Mixtures of experts in training, as PyTorch launches them operator by operator: routing forward, and everything back the way that it came.

use banksia_hw::gpu::spec::GpuSpec;
use banksia_workloads::backward::TrainNode;

use crate::gpu::fused::{Cost, Pointwise, Reduction, Way, convert, fill, gather_rows, pointwise, reduce_rows};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::moe::{grouped_input_gradient, grouped_mm, grouped_weight_gradient};
use crate::gpu::routing::{IndexAdd, RouteCall, RouteNames, combine, index_add, route};

fn named(name: &str) -> Operand {
    Operand::shared(name)
}

/// Rows of each expert as kernels count them.
fn counted(load: &[u64]) -> Vec<u32> {
    load.iter().map(|r| u32::try_from(*r).unwrap_or(u32::MAX)).collect()
}

/// A product with experts' weights: forward, or one of its gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    /// `[rows, in]` by `[experts, in, out]`.
    Forward,
    /// `[rows, out]` by the transposed weights.
    Input,
    /// Rows transposed by gradients.
    Weight,
}

/// Launches of a product by experts; none where no expert has a row.
pub(super) fn product(
    which: Product,
    node: &TrainNode,
    [inner, outer]: [u64; 2],
    spec: &GpuSpec,
    operands: &[Operand; 3],
) -> Vec<Item> {
    let rows = counted(&node.load);
    if rows.iter().all(|r| *r == 0) {
        return Vec::new();
    }
    let (k, n) = (u32::try_from(inner).unwrap_or(u32::MAX), u32::try_from(outer).unwrap_or(u32::MAX));
    match which {
        Product::Forward => grouped_mm(&rows, n, k, spec, operands),
        Product::Input => grouped_input_gradient(&rows, k, n, spec, operands),
        // Reads: the result's gradient, the input.
        Product::Weight => {
            let [gradient, input, weight] = operands.clone();
            grouped_weight_gradient(&rows, k, n, spec, &[input, gradient, weight])
        }
    }
}

/// From logits to the order of rows: softmax, top-k, sort, histogram, offsets. Rows themselves are gathered by the dispatch.
pub(super) fn routing(tokens: u64, experts: u64, k: u64, logits: Operand, spec: &GpuSpec) -> Vec<Item> {
    let call = RouteCall { tokens, experts, k, hidden: 8, normalised: true, offsets: true };
    let names = RouteNames { logits, hidden: named("hidden_rows"), permuted: named("permuted_rows") };
    let mut items = route(&call, &names, spec);
    // The last is the gather.
    items.pop();
    items
}

/// Token of a row: rows of an expert ascend, and each token has as many rows as experts.
fn token_of(row: u64, rows: u64, tokens: u64, experts: u64) -> u64 {
    let each = (rows / experts.max(1)).max(1);
    (row % each).saturating_mul(tokens) / each
}

/// Sizes of a permutation: rows, of which each token has `top_k`, of so many columns, by so many experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) rows: u64,
    pub(super) top_k: u64,
    pub(super) width: u64,
    pub(super) experts: u64,
}

impl Rows {
    const fn tokens(&self) -> u64 {
        let tokens = self.rows / if self.top_k == 0 { 1 } else { self.top_k };
        if tokens == 0 { 1 } else { tokens }
    }

    fn gather(&self, from: Operand, to: Operand) -> Item {
        let (tokens, all) = (self.tokens(), *self);
        let picks = move |row: u64| token_of(row, all.rows, tokens, all.experts);
        let kernel = gather_rows(self.rows, self.width.saturating_mul(2), tokens, &picks, false);
        Item::kernel(kernel, [from, named("route_tokens"), to])
    }
}

/// Tokens' rows in the order of experts.
pub(super) fn dispatch(r: &Rows, input: Operand, output: Operand) -> Vec<Item> {
    vec![r.gather(input, output)]
}

/// The way back of a gather: zeros, and additions in L2 (`index_add_`).
pub(super) fn dispatch_gradient(r: &Rows, gradient: Operand, output: Operand, spec: &GpuSpec) -> Vec<Item> {
    let tokens = r.tokens();
    let add = index_add(&IndexAdd { rows: r.rows, columns: r.width, into: tokens }, spec);
    vec![
        Item::kernel(fill(tokens.saturating_mul(r.width), 2), [output.clone()]),
        Item::kernel(add, [gradient, named("route_tokens"), output]),
    ]
}

/// Weighted rows back to their tokens.
pub(super) fn combine_rows(r: &Rows, input: &Operand, output: &Operand, spec: &GpuSpec) -> Vec<Item> {
    let call = RouteCall {
        tokens: r.tokens(),
        experts: r.experts,
        k: r.top_k,
        hidden: r.width,
        normalised: true,
        offsets: true,
    };
    combine(&call, input, output, spec)
}

/// The way back of a combination: the gradient's rows are gathered; times each row's weight they are the rows' gradient, times the rows and summed that of the weights, which
/// goes back to the order of tokens.
pub(super) fn combine_gradient(
    r: &Rows,
    [gradient, results]: [Operand; 2],
    rows: Operand,
    weights: Operand,
) -> Vec<Item> {
    let elements = r.rows.saturating_mul(r.width);
    let spread = 2.0 / r.width.max(1) as f64;
    let weighted =
        Pointwise { elements, inputs: vec![2.0, spread], out_bytes: 2, way: Way::Strided, cost: Cost::BINARY };
    let product = Pointwise { elements, inputs: vec![2.0, 2.0], out_bytes: 2, way: Way::Vector, cost: Cost::BINARY };
    let places =
        Pointwise { elements: r.rows, inputs: vec![8.0, 2.0], out_bytes: 2, way: Way::Strided, cost: Cost::BINARY };
    let gathered = named("combine_gradient_rows");
    let mut items = vec![
        r.gather(gradient, gathered.clone()),
        Item::kernel(pointwise("weighted rows", &weighted), [gathered.clone(), named("route_picked"), rows]),
        Item::kernel(pointwise("rows by gradients", &product), [gathered, results, named("combine_products")]),
    ];
    let sums = reduce_rows(Reduction::Sum, r.rows, r.width, 2, 2);
    items.extend(ended(sums, &named("combine_products"), &named("row_weight_gradients")));
    items.push(Item::kernel(fill(r.rows, 2), [weights.clone()]));
    items.push(Item::kernel(
        pointwise("weights' gradients by token", &places),
        [named("route_places"), named("row_weight_gradients"), weights],
    ));
    items
}

/// The way back of a router: of the division by the sum of a token's weights, of the choice (a scatter into zeros), of softmax, of the conversion.
pub(super) fn route_gradient(tokens: u64, experts: u64, k: u64, gradient: Operand, output: Operand) -> Vec<Item> {
    let (chosen, all) = (tokens.saturating_mul(k), tokens.saturating_mul(experts));
    let binary = |elements: u64, inputs: Vec<f64>, way: Way| Pointwise {
        elements,
        inputs,
        out_bytes: 4,
        way,
        cost: Cost { fma: 2.0, alu: 1.0, sfu: 0.5 },
    };
    let wide = named("d_route_weights");
    let mut items = vec![Item::kernel(convert(chosen, 2, 4), [gradient, wide.clone()])];
    let by_token = vec![4.0, 4.0 / k.max(1) as f64];
    let quotient = pointwise("quotient", &binary(chosen, by_token.clone(), Way::Strided));
    items.push(Item::kernel(quotient, [wide.clone(), named("route_sums"), wide.clone()]));
    let product = pointwise("product", &binary(chosen, vec![4.0, 4.0], Way::Vector));
    items.push(Item::kernel(product, [wide.clone(), named("route_weights"), named("d_route_products")]));
    let sums = reduce_rows(Reduction::Sum, tokens, k, 4, 4);
    items.extend(ended(sums, &named("d_route_products"), &named("d_route_sums")));
    let sum = pointwise("sum", &binary(chosen, by_token, Way::Strided));
    items.push(Item::kernel(sum, [wide.clone(), named("d_route_sums"), wide.clone()]));
    // Into zeros, by the places of the chosen.
    items.push(Item::kernel(fill(all, 4), [named("d_probabilities")]));
    let scatter = Pointwise {
        elements: chosen,
        inputs: vec![8.0, 4.0],
        // A sector a chosen expert.
        out_bytes: 32,
        way: Way::Strided,
        cost: Cost::COPY,
    };
    items.push(Item::kernel(pointwise("scatter", &scatter), [named("route_experts"), wide, named("d_probabilities")]));
    let softmax = Pointwise { elements: all, inputs: vec![4.0, 4.0], out_bytes: 4, way: Way::Vector, cost: SOFTMAX };
    items.push(Item::kernel(
        pointwise("softmax gradient", &softmax),
        [named("d_probabilities"), named("route_probabilities"), named("d_route_logits")],
    ));
    items.push(Item::kernel(convert(all, 4, 2), [named("d_route_logits"), output]));
    items
}

/// Of an element of softmax's gradient over short rows, which a warp keeps in registers: a product and a sum, five shuffles for the row, a difference, a product.
const SOFTMAX: Cost = Cost { fma: 4.0, alu: 3.0, sfu: 0.0 };

/// Kernels of which the last has an input and an output, and those before prepare counters.
pub(super) fn ended(kernels: Vec<banksia_hw::gpu::program::Kernel>, input: &Operand, output: &Operand) -> Vec<Item> {
    let last = kernels.len().saturating_sub(1);
    let item = |(i, kernel)| match i == last {
        true => Item::kernel(kernel, [input.clone(), output.clone()]),
        false => Item::kernel(kernel, [named("counters")]),
    };
    kernels.into_iter().enumerate().map(item).collect()
}
