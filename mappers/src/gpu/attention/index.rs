//! What the numbers in an attention program stand for. One definition for all of its kernels.

use banksia_hw::gpu::program::Trips;

/// Tensors.
pub(super) const Q: u8 = 0;
pub(super) const K: u8 = 1;
pub(super) const V: u8 = 2;
pub(super) const O: u8 = 3;

/// Numbers of a work item: rows of its first query and of the block of
/// keys that it begins with, the last; blocks of keys in all, and of these: masked on the right
/// beside the first, not masked, masked on the left by a window. Where the keys are split the last is the row of the output.
pub(super) const QROW: usize = 0;
pub(super) const KROW: usize = 1;
pub(super) const BLOCKS: usize = 2;
pub(super) const RIGHT: usize = 3;
pub(super) const PLAIN: usize = 4;
pub(super) const LEFT: usize = 5;
pub(super) const OUT: usize = LEFT;
/// In FlashAttention-2, which has its masks in code of their own: whether all queries of the tile are there.
pub(super) const WHOLE: usize = RIGHT;

/// A loop that runs as often as a number of the work item says, and so often more.
pub(super) const fn trips(number: usize, more: i32) -> Trips {
    Trips::Work(number as u8, more)
}

/// Once if that is positive.
pub(super) const fn once(number: usize, more: i32) -> Trips {
    Trips::Once(number as u8, more)
}

/// Barriers: the arrival of queries, keys and values; where a producer runs ahead, also the release of their places in
/// shared memory, and the store of the output that lies in the values' place.
pub(super) const Q_FULL: u8 = Q;
pub(super) const K_FULL: u8 = K;
pub(super) const V_FULL: u8 = V;
pub(super) const K_FREE: u8 = 3;
pub(super) const V_FREE: u8 = 4;
pub(super) const Q_FREE: u8 = 5;
pub(super) const O_STORED: u8 = 6;
