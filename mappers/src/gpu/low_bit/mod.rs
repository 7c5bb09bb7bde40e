//! Products of few bits: four-bit weights (tinygemm, Marlin), eight-bit integers, 2:4 sparse weights, and what frameworks put around them: outliers apart, weights
//! converted first, low-rank pairs.

mod format;
mod int8;
mod marlin;
mod sparse;
mod tinygemm;

pub use format::{LowBit, LowBitCall, LowBitNames, low_bit, low_rank};
pub use int8::int8_product;
pub use marlin::{Marlin, marlin};
pub use sparse::sparse_product;
pub use tinygemm::tinygemm;

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
