//! The kernels that a library has for a product: what a search chooses from.

use std::ops::RangeInclusive;

use banksia_hw::gpu::spec::GpuSpec;

use super::cutlass::Collective;
use super::gemm::{Gemm, Specialised};
use super::gemv::Gemv;
use super::multistage::{Multistage, Writer};
use super::raster::Raster;
use super::umma::{HEIGHT, Umma};

/// Whose kernels a product may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// cuBLAS: any tile that fits, and parts of the depth.
    Cublas,
    /// DeepGEMM: any tile of 64, 128 or 256 rows, the depth in one part.
    DeepGemm,
    /// The CUTLASS kernels of eight bits that vLLM is compiled with, for Hopper.
    Vllm,
    /// Those of SGLang's kernel library.
    Sglang,
}

/// A kernel that may be launched.
#[derive(Debug, Clone, Copy)]
pub(super) enum Candidate {
    /// A warp copies in bulk, warpgroups multiply; weights may come first.
    Specialised {
        tile: Specialised,
        swap: bool,
        counter: bool,
    },
    Collective {
        tile: Collective,
        swap: bool,
    },
    Multistage(Multistage),
    /// Blackwell's: sums in a memory of their own.
    Umma {
        tile: Umma,
        swap: bool,
    },
    /// Few rows, without matrix units.
    Lanes(Gemv),
}

impl Candidate {
    /// Equal tiles, parts and order, and another number of buffers.
    pub(super) fn differs_in_buffers_alone(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Multistage(a), Self::Multistage(b)) => {
                (a.bm, a.bn, a.bk, a.split, a.warps) == (b.bm, b.bn, b.bk, b.split, b.warps)
            }
            _ => false,
        }
    }
}

pub(super) fn swapped(g: &Gemm) -> Gemm {
    Gemm { m: g.n, n: g.m, ..*g }
}

/// A CUTLASS kernel (3.x) that a framework is compiled with.
#[derive(Debug)]
struct Compiled {
    /// Rows of activations and columns of the result that it is instantiated for.
    rows: RangeInclusive<u32>,
    columns: RangeInclusive<u32>,
    /// Rows, columns and bytes of depth of a tile.
    tile: (u32, u32, u32),
    cluster: (u32, u32),
    pingpong: bool,
    /// Weights come first.
    swap: bool,
}

const MOST: u32 = u32::MAX;

/// One warpgroup with a tile, weights first.
const fn single(rows: RangeInclusive<u32>, columns: RangeInclusive<u32>, bn: u32, cluster: (u32, u32)) -> Compiled {
    Compiled { rows, columns, tile: (64, bn, 256), cluster, pingpong: false, swap: true }
}

/// Two that take turns.
const fn turns(rows: RangeInclusive<u32>, bm: u32, bn: u32, cluster: (u32, u32)) -> Compiled {
    Compiled { rows, columns: 1..=MOST, tile: (bm, bn, 128), cluster, pingpong: true, swap: false }
}

/// `scaled_mm_sm90_fp8_dispatch.cuh` of vLLM (at 68f442e).
static VLLM: [Compiled; 6] = [
    single(1..=16, 1..=1280, 16, (1, 2)),
    single(1..=16, 1281..=MOST, 16, (1, 1)),
    single(17..=64, 1..=1280, 16, (1, 4)),
    single(17..=64, 1281..=MOST, 64, (1, 1)),
    turns(65..=128, 64, 128, (2, 1)),
    turns(129..=MOST, 128, 128, (2, 1)),
];

/// `fp8_gemm_kernel.cu` of sgl-kernel (`fp8_scaled_mm`, at 04ec0bc).
static SGLANG: [Compiled; 5] = [
    Compiled { rows: 1..=1, columns: 1..=MOST, tile: (64, 64, 128), cluster: (1, 8), pingpong: false, swap: false },
    turns(2..=64, 64, 64, (1, 4)),
    turns(65..=256, 64, 64, (1, 1)),
    turns(257..=1024, 128, 128, (1, 1)),
    turns(1025..=MOST, 128, 128, (2, 1)),
];

/// Tiles of the kernels that cuBLAS has for chips before Hopper: rows of A and of B, bytes of a step of depth, buffers, warps and
/// registers of a thread. They are what `cublasLtMatmulAlgoGetIds` lists of CUTLASS kernels for 16-bit operands (cuBLAS 13; the two-stage kernels
/// of the older instruction are left out).
const CUTLASS_TILES: [(u32, u32, u32, u32, u32, u32); 32] = [
    (16, 16, 64, 1, 1, 58),
    (16, 16, 128, 1, 1, 64),
    (16, 16, 256, 1, 1, 96),
    (32, 32, 64, 1, 4, 50),
    (32, 32, 128, 1, 4, 55),
    (32, 32, 256, 1, 4, 64),
    (64, 64, 64, 6, 4, 90),
    (64, 64, 64, 10, 4, 90),
    (64, 64, 128, 4, 2, 154),
    (64, 64, 128, 6, 4, 100),
    (64, 128, 64, 6, 4, 142),
    (64, 128, 128, 3, 4, 154),
    (64, 128, 128, 4, 4, 152),
    (64, 128, 128, 6, 4, 152),
    (128, 64, 64, 6, 4, 144),
    (128, 64, 128, 3, 4, 154),
    (128, 64, 128, 4, 4, 154),
    (128, 64, 128, 6, 4, 154),
    (128, 128, 64, 4, 4, 222),
    (128, 128, 64, 5, 4, 222),
    (128, 128, 64, 6, 4, 220),
    (128, 128, 128, 3, 4, 234),
    (128, 128, 128, 5, 4, 234),
    (64, 256, 64, 4, 4, 224),
    (64, 256, 128, 3, 4, 236),
    (256, 64, 64, 4, 4, 220),
    (256, 64, 128, 4, 4, 234),
    (256, 128, 64, 6, 8, 222),
    (256, 128, 128, 3, 8, 232),
    (128, 256, 64, 3, 8, 218),
    (128, 256, 64, 6, 8, 222),
    (128, 256, 128, 3, 8, 232),
];

/// The same for operands or results that lie on single elements of two bytes: kernels of Turing's instruction, without asynchronous copies
/// (`device_unaligned.csv`).
const NARROW_TILES: [(u32, u32, u32, u32, u32, u32); 3] =
    [(64, 64, 64, 2, 4, 96), (128, 128, 64, 2, 4, 254), (256, 128, 64, 2, 8, 236)];

/// Parts of the depth that those are tried with.
const CUTLASS_SPLITS: [u32; 13] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32];

/// Clusters of cuBLAS's kernels for Hopper (their names in `device_products.csv`), of two at any size.
const CUBLAS_CLUSTERS: [(u32, u32); 6] = [(2, 1), (1, 2), (4, 1), (1, 4), (4, 2), (2, 4)];
const DEEP_GEMM_CLUSTERS: [(u32, u32); 3] = [(1, 1), (2, 1), (1, 2)];

/// Parts of the depth that Hopper's are tried with.
const SPLITS: [u32; 9] = [1, 2, 3, 4, 5, 6, 8, 12, 16];

/// All legal kernels of a library for a product.
pub(super) fn candidates(spec: &GpuSpec, library: Library, g: &Gemm) -> Vec<Candidate> {
    let e = g.dtype.bytes();
    let mut all = Vec::new();
    let sms = spec.sms();
    if spec.tensor.memory_bytes > 0 && alignment(g) >= 16 {
        return ummas(spec, g);
    }
    let compiled = match library {
        Library::Cublas | Library::DeepGemm => None,
        Library::Vllm => Some(VLLM.as_slice()),
        Library::Sglang => Some(SGLANG.as_slice()),
    };
    if let Some(compiled) = compiled.filter(|_| spec.tensor.warpgroup && g.batch == 1) {
        let legal = compiled.iter().filter(|c| c.rows.contains(&g.m) && c.columns.contains(&g.n));
        return legal.map(|c| c.candidate(spec, g)).collect();
    }
    let lie_on = alignment(g);
    if lie_on < 16 {
        // No bulk copies and no wide loads.
        return match Gemv::of(g, lie_on, sms) {
            Some(kind) => vec![Candidate::Lanes(kind)],
            // Kernels for pairs of elements are the next to those for eight.
            None if lie_on >= 4 => multistages(spec, g, &CUTLASS_TILES, 4),
            None => multistages(spec, g, &NARROW_TILES, lie_on),
        };
    }
    if !spec.tensor.warpgroup {
        return multistages(spec, g, &CUTLASS_TILES, 16);
    }
    let deep = library == Library::DeepGemm;
    let (orders, heights): (&[bool], &[u32]) =
        if deep { (&[false], &[64, 128, 256]) } else { (&[false, true], &[64, 128, 192, 256, 320]) };
    let clusters = if deep { DEEP_GEMM_CLUSTERS.as_slice() } else { &CUBLAS_CLUSTERS };
    let wide = spec.cluster_slots(4);
    let splits = if deep { &SPLITS[..1] } else { &SPLITS };
    for &swap in orders {
        let s = if swap { swapped(g) } else { *g };
        // Rows in warpgroups of 64; columns in steps of 8 that fill the problem without much left over.
        for &bm in heights {
            if bm > 64 && bm >= s.m + 64 {
                continue;
            }
            for bn in [8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 256] {
                // Two warpgroups of 240 registers a thread hold at most this many sums.
                if bm * bn > 320 * 128 || (bn > 8 && bn >= s.n + 32) {
                    continue;
                }
                for &cluster in clusters {
                    let tiles = clustered_tiles(&s, bm, bn, cluster);
                    for &split in splits {
                        // More CTAs share where all of them run at once.
                        if cluster.0 * cluster.1 > 2 && tiles.saturating_mul(split) > wide {
                            continue;
                        }
                        let raster = if deep { Raster::rows(8) } else { Raster::cublas(sms, (bm, bn), cluster, swap) };
                        // Whole clusters.
                        let grid = spec.cluster_slots(cluster.0 * cluster.1);
                        let mut tile = Specialised { bm, bn, bk: 128 / e, stages: 2, cluster, split, raster, grid };
                        let room = spec.sm.shared_memory_per_cta_bytes.saturating_sub(tile.shared_bytes(&s));
                        tile.stages = (2 + room / ((bm + bn) * 128)).min(16);
                        if tile.shared_bytes(&s) > spec.sm.shared_memory_per_cta_bytes || tile.stages < 3 {
                            continue;
                        }
                        if allowed_split(&s, bm, bn, tile.bk, split, sms) {
                            all.push(Candidate::Specialised { tile, swap, counter: !deep });
                        }
                    }
                }
            }
        }
    }
    all
}

/// Tiles of all products, with those that fill clusters up.
pub(super) fn clustered_tiles(g: &Gemm, bm: u32, bn: u32, cluster: (u32, u32)) -> u32 {
    let (rows, columns) = (g.m.div_ceil(bm), g.n.div_ceil(bn));
    if !g.fills(bm, bn, cluster) {
        return rows.saturating_mul(columns).saturating_mul(g.batch);
    }
    let whole = |tiles: u32, ctas: u32| tiles.div_ceil(ctas).saturating_mul(ctas);
    whole(rows, cluster.0).saturating_mul(whole(columns, cluster.1)).saturating_mul(g.batch)
}

/// Bytes that rows of the operands and of the result all lie on: 16 at most.
fn alignment(g: &Gemm) -> u32 {
    let lowest = |bytes: u64| 1 << bytes.trailing_zeros().min(4);
    lowest(u64::from(g.n) * u64::from(g.out_bytes)).min(lowest(u64::from(g.k) * u64::from(g.dtype.bits()) / 8))
}

/// Kernels of the synchronous path, with parts of the depth.
fn multistages(spec: &GpuSpec, g: &Gemm, tiles: &[(u32, u32, u32, u32, u32, u32)], copy_bytes: u32) -> Vec<Candidate> {
    let mut all = Vec::new();
    for &(bm, bn, depth, stages, warps, registers) in tiles {
        let bk = g.dtype.elements_in(depth);
        let shared_bytes = stages * (bm + bn) * depth;
        if shared_bytes > spec.sm.shared_memory_per_cta_bytes {
            continue;
        }
        let tiles = g.m.div_ceil(bm) * g.n.div_ceil(bn) * g.batch;
        // Parts even out the last wave, too.
        let legal = |&split: &u32| split == 1 || (tiles * split <= 8 * spec.sms() && g.k / (bk * split) >= 4);
        all.extend(CUTLASS_SPLITS.into_iter().filter(legal).map(|split| {
            Candidate::Multistage(Multistage {
                bm,
                bn,
                bk,
                stages,
                warps,
                group: 1,
                registers,
                shared_bytes,
                split,
                writer: Writer::Cutlass,
                copy_bytes,
            })
        }));
    }
    all
}

/// Clusters of kernels of Blackwell's libraries: of single CTAs, and of pairs that multiply together (CUTLASS's profiler instantiates these
/// for `sm100`: 1x1 to 4x4, of which those of more than four CTAs are rarely best; `generator.py`, CUTLASS 4).
const UMMA_CLUSTERS: [(bool, (u32, u32)); 8] = [
    (false, (1, 1)),
    (false, (1, 2)),
    (false, (2, 1)),
    (false, (1, 4)),
    (false, (4, 1)),
    (true, (2, 1)),
    (true, (2, 2)),
    (true, (4, 1)),
];

/// Columns of an instruction: 16 to 256 in steps of 16 (PTX ISA, `tcgen05.mma` with 128 rows); 32 to 256 by CTA pairs.
const UMMA_COLUMNS: [u32; 10] = [16, 32, 48, 64, 96, 128, 160, 192, 224, 256];

/// All legal kernels for Blackwell's matrix units, whosever library it is: cuBLAS, DeepGEMM and CUTLASS as frameworks compile it have the same
/// structure there, and which tiles each has is taken to matter less.
fn ummas(spec: &GpuSpec, g: &Gemm) -> Vec<Candidate> {
    let mut all = Vec::new();
    let sms = spec.sms();
    let wide = spec.cluster_slots(4);
    for swap in [false, true] {
        let s = if swap { swapped(g) } else { *g };
        for bn in UMMA_COLUMNS {
            if bn > 16 && bn >= s.n + 32 {
                continue;
            }
            for (pair, cluster) in UMMA_CLUSTERS {
                // Half of a pair's columns lie in either CTA, in whole blocks of eight rows.
                if pair && bn < 32 {
                    continue;
                }
                let tiles = clustered_tiles(&s, HEIGHT, bn, cluster);
                for split in SPLITS {
                    if cluster.0 * cluster.1 > 2 && tiles.saturating_mul(split) > wide && !pair {
                        continue;
                    }
                    let raster = Raster::cublas(sms, (HEIGHT, bn), cluster, swap);
                    let ctas = cluster.0 * cluster.1;
                    let grid = spec.cluster_slots(ctas);
                    let mut tile = Umma { bn, pair, cluster, stages: 2, split, raster, grid };
                    let room = spec.sm.shared_memory_per_cta_bytes.saturating_sub(tile.shared_bytes(&s));
                    tile.stages = (2 + room / tile.step_bytes(&s).max(1)).min(16);
                    let fits = tile.shared_bytes(&s) <= spec.sm.shared_memory_per_cta_bytes && tile.stages >= 3;
                    if fits && allowed_split(&s, HEIGHT, bn, Umma::depth(s.dtype), split, sms) {
                        all.push(Candidate::Umma { tile, swap });
                    }
                }
            }
        }
    }
    all
}

fn allowed_split(g: &Gemm, bm: u32, bn: u32, bk: u32, split: u32, sms: u32) -> bool {
    let tiles = g.m.div_ceil(bm) * g.n.div_ceil(bn) * g.batch;
    // A part is at least eight steps deep, and splitting is for products that leave SMs idle.
    split == 1 || (tiles * split <= 2 * sms && tiles <= sms && g.k / (bk * split) >= 8)
}

impl Compiled {
    fn candidate(&self, spec: &GpuSpec, g: &Gemm) -> Candidate {
        let (bm, bn, depth) = self.tile;
        let grid = spec.cluster_slots(self.cluster.0 * self.cluster.1);
        let bk = depth / g.dtype.bytes();
        let tile = Collective { bm, bn, bk, cluster: self.cluster, pingpong: self.pingpong, grid };
        Candidate::Collective { tile, swap: self.swap }
    }
}
