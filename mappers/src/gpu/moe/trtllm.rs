//! TensorRT-LLM's mixture by CUTLASS: rows are permuted by expert, two grouped products, a gate between, sums in the order of tokens.

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::spec::GpuSpec;

use super::super::launch::{Item, Operand};
use super::super::quantise;
use super::call::{MoeCall, MoeMemory};
use super::cutlass2;
use super::format::Format;
use super::hopper::{Grouped, HopperTile, hopper};
use super::pieces;

/// Tiles that it is compiled with for Hopper (`get_candidate_tiles_sm90`, grouped): columns of weights, which come first, and rows of tokens, of 128 bytes of
/// depth; each alone and in clusters of two along weights.
const TILES: [(u32, u32); 6] = [(128, 16), (128, 32), (128, 64), (128, 128), (128, 256), (256, 128)];

/// Tiles of DeepGEMM's grouped kernels, which products with scales of blocks take: 64 or 128 rows of tokens by up to 128 columns of weights.
const BLOCK_TILES: [(u32, u32); 8] =
    [(64, 16), (64, 32), (64, 64), (64, 128), (128, 16), (128, 32), (128, 64), (128, 128)];

/// Choices that one CTA sorts (`fusedBuildExpertMapsSortFirstToken`); more take three launches.
const SORTED_AT_ONCE: u32 = 256;

/// Chains of dependent steps of the kernels of one or few CTAs: loads of choices, a radix sort or scans over experts, stores.
const SORT_NS: f64 = 1500.0;
const SCAN_NS: f64 = 1200.0;
/// A thread an expert writes problem sizes, strides and pointers of both products: some twenty dependent stores of eight bytes.
const STRIDES_NS: f64 = 700.0;

/// Softmax and the best: one launch for up to 128 experts and 8 of them (`customMoeRoutingKernels.cu`); more are PyTorch's operators: a radix selection and a
/// sort, a CTA a token, the softmax of what was chosen, and its conversion.
fn pieces_of_choice(call: &MoeCall) -> Vec<Kernel> {
    if call.experts <= 128 && call.top_k <= 8 {
        return vec![pieces::choose(call.tokens, call.experts, call.top_k)];
    }
    let chosen = u64::from(call.tokens) * u64::from(call.top_k) * 4;
    vec![
        pieces::select(call.tokens, call.experts),
        pieces::sort(call.tokens, call.top_k),
        pieces::elementwise("softmax of choices", chosen),
        pieces::elementwise("choices as integers", chosen),
        pieces::elementwise("weights as floats", chosen),
    ]
}

/// Tokens of a CTA that counts, and how many such there are for each expert (`computeNumTokensPerBlock`).
fn blocks_of(tokens: u32, experts: u32) -> (u32, u32) {
    let fits = |&t: &u32| tokens.div_ceil(t).saturating_mul(experts) <= t;
    let threads = [32, 64, 128, 256, 512, 1024].into_iter().find(fits).unwrap_or(1024);
    (threads, tokens.div_ceil(threads))
}

/// The launches.
///
/// # Errors
/// Sizes that no kernel is written for.
pub fn mixture(call: &MoeCall, spec: &GpuSpec, memory: &MoeMemory) -> Result<Vec<Item>, String> {
    call.check()?;
    let pairs = call.pairs();
    let experts = call.rows.len() as u32;
    let own = |name: &str| Operand::shared(name);
    let e = call.format.multiplied().bytes();
    let mut items = Vec::new();
    let small = |items: &mut Vec<Item>, k: Kernel| items.push(Item::kernel(k, [own("choices"), own("maps")]));
    if !call.routed {
        for k in pieces_of_choice(call) {
            items.push(Item::kernel(k, [memory.scores.clone(), own("choices")]));
        }
    }
    if call.tokens <= SORTED_AT_ONCE {
        small(&mut items, pieces::chain("sort choices", 256, SORT_NS));
    } else {
        let (threads, blocks) = blocks_of(call.tokens, experts);
        let ctas = blocks.saturating_mul(experts).max(1);
        small(&mut items, pieces::scan("sums of blocks", ctas, threads, call.top_k));
        small(&mut items, pieces::chain("sums of experts", 1024, SCAN_NS));
        small(&mut items, pieces::scan("places", ctas, threads, 1));
    }
    // With scales of blocks rows are permuted in 16 bits, and converted in a launch before either product.
    let blocks = call.format == Format::Fp8Block && spec.tensor.warpgroup;
    let moved = if blocks { 2 } else { e };
    items.push(Item::kernel(pieces::expand(pairs.max(1), call.hidden, moved), [memory.input.clone(), own("permuted")]));
    let convert = |items: &mut Vec<Item>, columns: u32, name: &str| {
        if blocks {
            let k = quantise::by_group(u64::from(pairs.max(1)) * u64::from(columns));
            items.push(Item::kernel(k, [own(name), own(&format!("{name} of 8 bits"))]));
        }
    };
    if spec.tensor.warpgroup && call.format != Format::Fp8Block {
        small(&mut items, pieces::chain("strides of groups", experts.clamp(32, 1024), STRIDES_NS));
    }
    convert(&mut items, call.hidden, "permuted");
    let n1 = call.first_columns();
    let first = product(call, n1, call.hidden, spec);
    items.extend(first.map(|k| Item::kernel(k, [own("permuted"), memory.weights[0].clone(), own("first")])));
    let gate = pieces::gate(pairs.max(1), call.inter, call.gated, moved);
    items.push(Item::kernel(gate, [own("first"), own("gated")]));
    convert(&mut items, call.inter, "gated");
    let second = product(call, call.hidden, call.inter, spec);
    items.extend(second.map(|k| Item::kernel(k, [own("gated"), memory.weights[1].clone(), own("second")])));
    let here = pairs.div_ceil(call.tokens.max(1)).clamp(1, call.top_k);
    let k = pieces::sum(call.tokens.max(1), here, call.hidden, 2);
    items.push(Item::kernel(k, [own("second"), memory.output.clone()]));
    Ok(items)
}

/// One of the products, with the tile that its tuning would find: the least estimated time.
fn product(call: &MoeCall, n: u32, k: u32, spec: &GpuSpec) -> Option<Kernel> {
    let g = Grouped {
        rows: &call.rows,
        n,
        k,
        dtype: call.format.multiplied(),
        weight_bits: call.format.weight_bits(),
        out_bytes: 2,
        by_depth: false,
        block_scales: call.format == Format::Fp8Block,
    };
    if !spec.tensor.warpgroup {
        return cutlass2::product(&g, None, spec);
    }
    let blocks = g.block_scales;
    let tiles: &[(u32, u32)] = if blocks { &BLOCK_TILES } else { &TILES };
    let mut best: Option<(f64, HopperTile)> = None;
    for &(columns, tokens) in tiles {
        for cluster in [(1, 1), (1, 2)] {
            let tile = HopperTile {
                tokens,
                columns,
                depth_bytes: 128,
                cluster,
                pingpong: false,
                weights_first: true,
                descriptors: !blocks,
            };
            let time = estimate_cycles(&g, &tile, spec);
            if best.as_ref().is_none_or(|b| time < b.0) {
                best = Some((time, tile));
            }
        }
    }
    hopper(&g, &best?.1, spec)
}

/// Cycles that a tile's kernel takes about: waves of tiles, each bound by its products or by what it brings.
fn estimate_cycles(g: &Grouped<'_>, t: &HopperTile, spec: &GpuSpec) -> f64 {
    let (sms, e) = (f64::from(spec.sms()), f64::from(g.dtype.bytes()));
    let columns = g.n.div_ceil(t.columns).div_ceil(t.cluster.1) * t.cluster.1;
    let tiles = g.row_tiles(t.tokens) as f64 * f64::from(columns);
    let rate = spec.tensor.fma_per_cycle.get(&g.dtype).copied().unwrap_or(1024.0);
    let instruction = (64.0 * f64::from(t.tokens) * (32.0 / e) / rate).max(spec.tensor.min_instruction_cycles);
    let steps = f64::from(g.k) * e / f64::from(t.depth_bytes);
    let products = steps * (f64::from(t.columns) / 64.0).ceil() * (f64::from(t.depth_bytes) / 32.0) * instruction;
    // What shared memory receives: a share of what the whole chip's L2 gives.
    let shared = f64::from(t.cluster.1);
    let bytes =
        f64::from(g.k) * (f64::from(t.columns) * f64::from(g.weight_bits) / 8.0 + f64::from(t.tokens) * e / shared);
    let moved = bytes / (spec.crossbar.gpc_entry_bytes_per_cycle / 18.0);
    let waves = (tiles / sms).ceil();
    let leave = 600.0 + f64::from(t.columns * t.tokens) * 2.0 / spec.crossbar.sm_write_bytes_per_cycle;
    waves * (products.max(moved) + leave)
}
