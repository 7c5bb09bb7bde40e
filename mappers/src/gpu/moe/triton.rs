//! SGLang's and vLLM's mixtures in Triton: rows are sorted by expert into padded blocks, two products gather and scatter them, sums join.

use banksia_hw::gpu::spec::GpuSpec;

use super::super::launch::{Item, Operand};
use super::super::multistage::{Multistage, Writer};
use super::super::quantise;
use super::call::{MoeCall, MoeMemory};
use super::copying::{CopyingTile, copying};
use super::format::Format;
use super::hopper::Grouped;
use super::pieces;

/// Whose heuristics and kernels beside the products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// SGLang.
    Sglang,
    /// vLLM until 0.18.
    Vllm,
    /// vLLM from 0.19 on, whose default tiles grow with the number of tokens.
    VllmLater,
}

/// Rows, columns, depth, row tiles of a group, warps, buffers.
type Config = (u32, u32, u32, u32, u32, u32);

/// The tile that is taken where no tuned file is there for the device and sizes (`get_default_config` of `fused_moe_triton_config.py`, SGLang 0.5.9 to 0.5.14, and of `fused_moe.py`, vLLM).
/// Where it names no warps and buffers, Triton takes four and three.
fn default_config(host: Host, call: &MoeCall) -> Config {
    let (tokens, experts) = (call.tokens, call.rows.len() as u32);
    match (call.format, host) {
        (Format::Fp8, Host::Sglang) if tokens <= experts => (64, 128, 128, 1, 4, 4),
        (Format::Fp8, Host::Sglang) => (128, 256, 128, 32, 8, 4),
        (Format::Fp8Block, Host::Sglang) => (64, 128, 128, 32, 4, 3),
        (Format::Fp8Block, _) if tokens <= 64 => (16, 128, 128, if tokens <= 16 { 1 } else { 32 }, 4, 3),
        (Format::Fp8Block, _) => (64, 128, 128, 32, 4, 3),
        (Format::Weights4 { .. } | Format::Mxfp4 | Format::Nvfp4, _) if tokens <= experts => (16, 32, 64, 1, 4, 3),
        (Format::Weights4 { .. } | Format::Mxfp4 | Format::Nvfp4, _) => (64, 64, 64, 8, 4, 3),
        (_, Host::VllmLater) => {
            let bm = match tokens {
                ..=32 => 16,
                33..=96 => 32,
                97..=512 => 64,
                _ => 128,
            };
            let bn = if tokens <= 64 { 64 } else { 128 };
            let bk = if call.format.quantises() || tokens <= 64 { 128 } else { 64 };
            let group = if tokens / experts.max(1) > 128 { 16 } else { 1 };
            (bm, bn, bk, group, if tokens <= 128 { 4 } else { 8 }, if tokens <= 32 { 4 } else { 3 })
        }
        _ if tokens <= experts => (16, 32, 64, 1, 4, 3),
        _ => (64, 64, 32, 8, 4, 3),
    }
}

/// Tuned files that both come with for 16 bits, by the nearest number of tokens, abridged to where they change.
type Tuned = [(u32, Config)];

/// `E=8,N=4096,device_name=NVIDIA_A100-SXM4-80GB.json`.
static MIXTRAL_A100: [(u32, Config); 8] = [
    (1, (16, 64, 256, 1, 4, 4)),
    (16, (16, 64, 256, 1, 4, 4)),
    (24, (16, 128, 128, 1, 8, 4)),
    (32, (16, 128, 128, 1, 4, 4)),
    (48, (32, 128, 128, 1, 4, 4)),
    (128, (32, 128, 128, 16, 4, 4)),
    (256, (64, 256, 64, 16, 8, 4)),
    (2048, (128, 128, 64, 16, 8, 4)),
];

/// `E=8,N=4096,device_name=NVIDIA_H200.json`.
static MIXTRAL_H200: [(u32, Config); 7] = [
    (1, (16, 64, 128, 16, 4, 5)),
    (4, (16, 128, 256, 16, 8, 3)),
    (24, (16, 128, 128, 64, 4, 2)),
    (64, (32, 128, 128, 1, 4, 4)),
    (128, (64, 128, 128, 1, 8, 4)),
    (256, (128, 256, 64, 1, 8, 4)),
    (512, (128, 256, 64, 64, 8, 4)),
];

/// `E=128,N=384,device_name=NVIDIA_H100_80GB_HBM3.json`.
static QWEN_H100: [(u32, Config); 8] = [
    (1, (16, 32, 128, 64, 4, 4)),
    (8, (16, 64, 128, 1, 4, 2)),
    (48, (16, 128, 128, 32, 8, 3)),
    (96, (16, 64, 128, 16, 4, 2)),
    (256, (32, 64, 128, 32, 4, 2)),
    (512, (64, 64, 64, 64, 4, 3)),
    (1024, (64, 128, 64, 1, 8, 3)),
    (2048, (128, 256, 64, 16, 8, 4)),
];

/// The tuned file of a device for so many experts of an inner size; files of the sizes that tensor-parallel ranks of one model have choose alike, and one stands
/// for them.
fn tuned(call: &MoeCall, spec: &GpuSpec) -> Option<&'static Tuned> {
    if call.format != Format::Bf16 {
        return None;
    }
    match (spec.name.as_str(), call.rows.len(), call.inter) {
        ("a100", 8, 1792..=8192) => Some(&MIXTRAL_A100),
        ("h100" | "h200", 8, 1792..=14336) => Some(&MIXTRAL_H200),
        ("h100" | "h200", 128, 192 | 384 | 768) => Some(&QWEN_H100),
        _ => None,
    }
}

fn config(host: Host, call: &MoeCall, spec: &GpuSpec) -> Config {
    let nearest = |table: &Tuned| table.iter().min_by_key(|(m, _)| m.abs_diff(call.tokens)).map(|x| x.1);
    tuned(call, spec).and_then(nearest).unwrap_or_else(|| default_config(host, call))
}

/// The launches.
///
/// # Errors
/// Sizes that no kernel is written for, or a device without the types.
pub fn mixture(host: Host, call: &MoeCall, spec: &GpuSpec, memory: &MoeMemory) -> Result<Vec<Item>, String> {
    call.check()?;
    let pairs_in_hand = call.tokens.saturating_mul(call.top_k);
    let experts = call.rows.len() as u32;
    let (bm, bn, bk, group, warps, stages) = config(host, call, spec);
    let own = |name: &str| Operand::shared(name);
    let mut items = Vec::new();
    if !call.routed {
        items.push(Item::kernel(
            pieces::choose(call.tokens, call.experts, call.top_k),
            [memory.scores.clone(), own("choices")],
        ));
    }
    items.extend(align(call, pairs_in_hand, experts, spec));
    // Padded blocks: each expert's rows fill its last block up, as far as the grid can know beforehand.
    let blocks = (u64::from(pairs_in_hand) + u64::from(experts) * u64::from(bm - 1)).div_ceil(u64::from(bm));
    let blocks = if call.tokens < bm { blocks.min(u64::from(pairs_in_hand)) } else { blocks };
    let used: u64 = call.rows.iter().map(|r| u64::from(r.div_ceil(bm))).sum();
    let idle_rows = blocks.saturating_sub(used).min(u64::from(u32::MAX)) as u32;
    let quantises = call.format.quantises();
    let e = call.format.multiplied().bytes();
    let tile = |n: u32, k: u32| {
        let bits = call.format.weight_bits();
        let shared = stages * (bm * bk * e + bn * bk * bits / 8);
        let registers = (bm * bn / (32 * warps) + 72).clamp(64, 255);
        let _ = (n, k);
        Multistage {
            bm,
            bn,
            bk,
            stages,
            warps,
            group,
            registers,
            shared_bytes: shared.max(1024),
            split: 1,
            writer: Writer::Triton,
            copy_bytes: 16,
        }
    };
    let grouped = |n: u32, k: u32| Grouped {
        rows: &call.rows,
        n,
        k,
        dtype: call.format.multiplied(),
        weight_bits: call.format.weight_bits(),
        out_bytes: 2,
        by_depth: false,
        block_scales: call.format == Format::Fp8Block,
    };
    let mut input = memory.input.clone();
    if quantises {
        let k = quantise::by_group(u64::from(call.tokens) * u64::from(call.hidden));
        items.push(Item::kernel(k, [input, own("input of 8 bits")]));
        input = own("input of 8 bits");
    }
    let n1 = call.first_columns();
    let first = CopyingTile { tile: tile(n1, call.hidden), gathered_from: Some(call.tokens), idle_rows, stay: None };
    items.extend(
        copying(&grouped(n1, call.hidden), &first, spec)
            .map(|k| Item::kernel(k, [input, memory.weights[0].clone(), own("first")])),
    );
    // All choices have rows here, those of other ranks too.
    items.push(Item::kernel(pieces::gate(pairs_in_hand, call.inter, call.gated, 2), [own("first"), own("gated")]));
    let mut gated = own("gated");
    if quantises {
        let k = quantise::by_group(u64::from(pairs_in_hand) * u64::from(call.inter));
        items.push(Item::kernel(k, [gated, own("gated of 8 bits")]));
        gated = own("gated of 8 bits");
    }
    let second = CopyingTile { tile: tile(call.hidden, call.inter), gathered_from: None, idle_rows, stay: None };
    items.extend(
        copying(&grouped(call.hidden, call.inter), &second, spec)
            .map(|k| Item::kernel(k, [gated, memory.weights[1].clone(), own("second")])),
    );
    if call.top_k > 1 {
        let k = pieces::sum(call.tokens, call.top_k, call.hidden, 2);
        items.push(Item::kernel(k, [own("second"), memory.output.clone()]));
    }
    Ok(items)
}

/// `moe_align_block_size`: choices counted by one CTA, which finds where each expert's blocks begin, then placed by many; a few choices of few experts in one
/// launch (`moe_align_kernel.cu`).
pub(super) fn align(call: &MoeCall, pairs: u32, experts: u32, spec: &GpuSpec) -> Vec<Item> {
    let own = |name: &str| Operand::shared(name);
    if pairs < 1024 && experts <= 64 {
        // Counts of every thread in a table, summed by a thread an expert, over all threads one after another; then over experts.
        let threads = experts.max(32);
        let ns = (f64::from(threads) + f64::from(experts)) * 2.0 * 30.0 / 1.9;
        let k = pieces::count(pairs, experts, threads, ns);
        return vec![Item::kernel(k, [own("choices"), own("places")])];
    }
    let fullest = call.rows.iter().copied().max().unwrap_or(0);
    let zero = pieces::chain("zero counters", 128, 0.0);
    vec![
        Item::kernel(zero, [own("zero"), own("counters")]),
        Item::kernel(pieces::count(pairs, experts, 1024, 0.0), [own("choices"), own("counters")]),
        Item::kernel(pieces::place(pairs, fullest, spec.l2.clock_mhz), [own("choices"), own("places")]),
    ]
}
