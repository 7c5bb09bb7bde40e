//! Attention kernels: FlashAttention-2 and -3 for prefill and decode, decode with the cache split over CTAs, and what
//! frameworks launch beside them.
//!
//! The programs follow the structure of the public sources (tiles by size of head, mask and layout; masked blocks first
//! and as code of their own; tile schedulers; query heads packed into rows). Instruction counts and stalls are those of
//! Nsight Compute on an H200 (`tests/reference/gpu/device_profiles.csv`), times of the same kernels are in
//! `device_attention.csv` beside it.

mod decode;
mod encoder;
mod flash2;
mod flash3;
mod flash3_sync;
mod flash4;
pub(crate) mod index;
mod launches;
mod ragged;
mod sdpa;
mod shared_keys;
mod shared_keys_hopper;
mod single_heads;

pub use decode::{SplitDecode, combine, decode2, split_decode, splits};
pub use encoder::encoder;
pub(crate) use flash2::{Block, setup};
pub use flash2::{flash2, flash2_paged};
pub use flash3::{Flash3, decode3, flash3};
pub use flash3_sync::flash3_sync;
pub use flash4::{attention4, decode4, flash4};
pub use launches::{auxiliary, cache_write, fill, prepare_varlen, quantise_queries, replayed};
pub use ragged::ragged;
pub use sdpa::{combine2, sdpa_parts, torch_sdpa};
pub(crate) use shared_keys::one_cache;
pub use shared_keys::{Decode, decode_kernel, grouped_decode};
pub use shared_keys_hopper::grouped_decode_hopper;
pub use single_heads::head_decode;

use banksia_hw::gpu::program::{Dtype, Expr, Tensor, Tile, WORK_VARS};
use index::{KROW, Q, QROW, V};

/// Instructions for each 512 bytes that a warp copies from pages: the page's number, and addresses (`device_attention.csv`:
/// FlashAttention-3 paged against not).
pub(crate) const PAGED: f64 = 3.0;

/// One attention over a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// Sequences.
    pub batch: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Queries of a sequence.
    pub queries: u32,
    /// Keys of a sequence.
    pub keys: u32,
    /// Size of a head.
    pub head_dim: u32,
    /// Queries see no later keys.
    pub causal: bool,
    /// Keys that a query sees at most; 0 for all.
    pub window: u32,
    /// Type of the products.
    pub dtype: Dtype,
    /// Bytes of an element of keys and values in memory.
    pub kv_bytes: u32,
    /// Size of a head's values and of its result; 0 where it is that of its keys.
    pub value_dim: u32,
    /// Scores are held below a cap (`cap * tanh(score / cap)`).
    pub soft_cap: bool,
    /// Each head has a score more in its sum, of no key.
    pub sinks: bool,
}

impl Default for Attention {
    /// One query and one key of one head of 128 elements in bfloat16.
    fn default() -> Self {
        Self {
            batch: 1,
            heads: 1,
            kv_heads: 1,
            queries: 1,
            keys: 1,
            head_dim: 128,
            causal: true,
            window: 0,
            dtype: Dtype::Bf16,
            kv_bytes: 2,
            value_dim: 0,
            soft_cap: false,
            sinks: false,
        }
    }
}

/// Instructions of the FMA, integer and special-function lanes that a capped score takes besides: two products and `tanh.approx`.
const CAP: f64 = 3.0;

/// Blocks of keys that a tile of queries meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Blocks {
    first: u32,
    all: u32,
    /// With a mask on the right: at least one, the first worked on.
    right: u32,
    left: u32,
}

impl Attention {
    /// Query heads that share keys.
    pub fn group(&self) -> u32 {
        (self.heads / self.kv_heads.max(1)).max(1)
    }

    /// Size of a head's values.
    pub fn values(&self) -> u32 {
        if self.value_dim == 0 { self.head_dim } else { self.value_dim }
    }

    /// Whether values have the size of keys.
    pub(crate) fn same_sizes(&self) -> bool {
        self.values() == self.head_dim
    }

    /// Elements of a head's keys and values as FlashAttention's kernels multiply them, with zeros up to a size that a kernel is compiled for:
    /// version 2 in steps of 32 up to 128 and of 64 beyond, version 3 for 64, 96, 128, 192 and 256.
    pub(crate) fn padded(&self, version: u32) -> (u32, u32) {
        let pad = |d: u32| match (version, d) {
            (3, 0..=64) => 64,
            (2, 0..=128) => d.max(1).next_multiple_of(32),
            (_, 0..=96) => 96,
            (_, 0..=128) => 128,
            _ => d.next_multiple_of(64),
        };
        let keys = pad(self.head_dim);
        (keys, if self.same_sizes() { keys } else { pad(self.values()) })
    }

    /// Instructions of a lane for each score beside those of a plain softmax.
    pub(crate) fn more_a_score(&self) -> f64 {
        if self.soft_cap { CAP } else { 0.0 }
    }

    /// Type of the products of kernels without a path of eight bits, which convert what they read.
    pub(crate) fn wide(&self) -> Dtype {
        if self.dtype.bytes() < 2 { Dtype::Bf16 } else { self.dtype }
    }

    /// Keys before the first query.
    fn offset(&self) -> u32 {
        self.keys.saturating_sub(self.queries)
    }

    pub(crate) fn tensors(&self, bm: u32, bn: u32) -> Vec<Tensor> {
        let row = |rows: u64, piece: u32, elements: u32, bytes: u32| {
            Tensor::matrix(rows, u64::from(elements * bytes), piece, (elements * bytes).min(256))
        };
        let (d, dv) = (self.head_dim, self.values());
        let q = u64::from(self.batch) * u64::from(self.heads) * u64::from(self.queries);
        let k = u64::from(self.batch) * u64::from(self.kv_heads) * u64::from(self.keys);
        vec![
            row(q, bm, d, self.dtype.bytes()),
            row(k, bn, d, self.kv_bytes),
            row(k, bn, dv, self.kv_bytes),
            row(q, bm, dv, 2),
        ]
    }

    /// Blocks of `bn` keys that queries `from..to` see.
    fn blocks(&self, from: u32, to: u32, bn: u32) -> Blocks {
        let offset = self.offset();
        let end = if self.causal { (to + offset).min(self.keys) } else { self.keys };
        let start = if self.window > 0 { (from + offset).saturating_sub(self.window) } else { 0 };
        let first = start / bn;
        let all = end.div_ceil(bn).saturating_sub(first).max(1);
        let full = if self.causal { (from + offset + 1) / bn } else { self.keys / bn };
        let right = (first + all).saturating_sub(full.max(first)).clamp(1, all);
        // Blocks that begin before the window of the last query.
        let open = if self.window > 0 { (to + offset).saturating_sub(self.window).div_ceil(bn) } else { 0 };
        let left = open.saturating_sub(first).min(all - right);
        Blocks { first, all, right, left }
    }

    /// Multiply-adds that are not masked away.
    pub fn fma(&self) -> f64 {
        let offset = f64::from(self.offset());
        let q = f64::from(self.queries);
        let pairs = if self.causal { q * offset + q * (q + 1.0) / 2.0 } else { q * f64::from(self.keys) };
        f64::from(self.batch) * f64::from(self.heads) * f64::from(self.head_dim + self.values()) * pairs
    }
}

/// A grid of query tiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) bm: u32,
    pub(crate) bn: u32,
    /// Query heads that share keys are rows of one tile.
    pub(crate) packed: bool,
    /// Heads whose tiles come together, the longest first; 0: tile by tile, head by head.
    pub(crate) longest_first: u32,
}

impl Grid {
    pub(crate) fn items(&self, a: &Attention) -> Vec<[i32; WORK_VARS]> {
        let pack = if self.packed { a.group() } else { 1 };
        let (heads, shared) = (a.heads / pack, a.group() / pack);
        let rows = a.queries * pack;
        let tiles = rows.div_ceil(self.bm);
        let all = a.batch * heads;
        let mut items = Vec::with_capacity((tiles * all) as usize);
        let mut push = |head: u32, t: u32| {
            let (from, to) = (t * self.bm / pack, ((t + 1) * self.bm).min(rows).div_ceil(pack));
            let b = a.blocks(from, to, self.bn);
            let q = head * rows + t * self.bm;
            let k = head / shared.max(1) * a.keys + (b.first + b.all - 1) * self.bn;
            let plain = b.all - b.right - b.left;
            items.push([q, k, b.all, b.right - 1, plain, b.left].map(|x| x as i32));
        };
        if self.longest_first == 0 {
            for head in 0..all {
                (0..tiles).for_each(|t| push(head, t));
            }
        } else {
            for section in (0..all).step_by(self.longest_first as usize) {
                let heads = section..(section + self.longest_first).min(all);
                for t in (0..tiles).rev() {
                    heads.clone().for_each(|head| push(head, t));
                }
            }
        }
        items
    }

    pub(crate) fn q_tile(&self, a: &Attention, tensor: u8, bytes: u32) -> Tile {
        let rows = self.bm.min(a.queries * if self.packed { a.group() } else { 1 });
        let elements = if tensor == Q { a.head_dim } else { a.values() };
        Tile { tensor, row: Expr::work(QROW, 1), byte: Expr::default(), rows, bytes: elements * bytes }
    }

    /// Keys or values of the item's block `at` from the last, and of those before it that the loop counts.
    pub(crate) fn kv_tile(&self, a: &Attention, tensor: u8, at: i64) -> Tile {
        let bn = i64::from(self.bn);
        let mut row = Expr::work(KROW, 1).plus_loop(0, -bn);
        row.base -= at * bn;
        let elements = if tensor == V { a.values() } else { a.head_dim };
        Tile { tensor, row, byte: Expr::default(), rows: self.bn.min(a.keys), bytes: elements * a.kv_bytes }
    }
}
