//! What the numbers in an attention program stand for. One definition for all of its kernels.

use banksia_hw::gpu::program::Trips;

/// Tensors.
pub(crate) const Q: u8 = 0;
pub(crate) const K: u8 = 1;
pub(crate) const V: u8 = 2;
pub(crate) const O: u8 = 3;

/// Numbers of a work item: rows of its first query and of the block of
/// keys that it begins with, the last; blocks of keys in all, and of these: masked on the right
/// beside the first, not masked, masked on the left by a window. Where the keys are split the last is the row of the output.
pub(crate) const QROW: usize = 0;
pub(crate) const KROW: usize = 1;
pub(crate) const BLOCKS: usize = 2;
pub(crate) const RIGHT: usize = 3;
pub(crate) const PLAIN: usize = 4;
pub(crate) const LEFT: usize = 5;
pub(crate) const OUT: usize = LEFT;
/// In FlashAttention-2, which has its masks in code of their own: whether all queries of the tile are there.
pub(crate) const WHOLE: usize = RIGHT;

/// A loop that runs as often as a number of the work item says, and so often more.
pub(crate) const fn trips(number: usize, more: i32) -> Trips {
    Trips::Work(number as u8, more)
}

/// Once if that is positive.
pub(crate) const fn once(number: usize, more: i32) -> Trips {
    Trips::Once(number as u8, more)
}

/// Barriers: the arrival of queries, keys and values; where a producer runs ahead, also the release of their places in
/// shared memory, and the store of the output that lies in the values' place.
pub(crate) const Q_FULL: u8 = Q;
pub(crate) const K_FULL: u8 = K;
pub(crate) const V_FULL: u8 = V;
pub(crate) const K_FREE: u8 = 3;
pub(crate) const V_FREE: u8 = 4;
pub(crate) const Q_FREE: u8 = 5;
pub(crate) const O_STORED: u8 = 6;
