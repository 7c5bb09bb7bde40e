//! Products that are absorbed: of each head's queries with the weights of its keys, and of its result with the weights of its values.

use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::spec::GpuSpec;

use super::{LatentCall, LatentOperands};
use crate::gpu::gemm::Gemm;
use crate::gpu::launch::{Item, Operand};
use crate::gpu::libraries::Library;
use crate::gpu::quantise;
use crate::gpu::select::Found;

/// Queries `[tokens, nope]` of each head into the latent space `[tokens, latent]`: a batch of products, one a head.
pub fn absorb(call: &LatentCall, eight_bits: bool, operands: &LatentOperands, spec: &GpuSpec) -> Vec<Item> {
    let names = [operands.queries.clone(), operands.weights.clone(), Operand::shared("latent_queries")];
    product(call, (call.latent, call.nope), eight_bits, names, spec)
}

/// Results `[tokens, latent]` of each head into its values `[tokens, value]`.
pub fn expand(call: &LatentCall, eight_bits: bool, operands: &LatentOperands, spec: &GpuSpec) -> Vec<Item> {
    let names = [operands.out.clone(), operands.weights.clone(), Operand::shared("values_out")];
    product(call, (call.value, call.latent), eight_bits, names, spec)
}

fn product(call: &LatentCall, (n, k): (u32, u32), eight_bits: bool, names: [Operand; 3], spec: &GpuSpec) -> Vec<Item> {
    let dtype = if eight_bits { Dtype::Fp8 } else { call.dtype };
    let g = Gemm { batch: call.heads, ..Gemm::new(call.tokens(), n, k, dtype) };
    let mut items = Vec::new();
    let mut input = names[0].clone();
    if eight_bits {
        let rows = call.tokens().saturating_mul(call.heads);
        let converted = Operand::shared("eight_bits");
        items.push(Item::kernel(quantise::by_row(rows.max(1), k, spec.sms()), [input, converted.clone()]));
        input = converted;
    }
    let [_, weights, out] = names;
    items.push(Item::Product(g, Library::Cublas, Found { a: true, b: false, c: true }, [input, weights, out]));
    items
}
