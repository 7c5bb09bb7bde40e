//! CENT: a decoder on CXL devices whose GDDR6-AiM channels do matrix-vector products and element-wise work, and near-memory units the rest.

pub mod attention;
pub mod block;
pub mod place;
pub mod products;
pub mod shape;
pub mod split;
pub mod vectors;
pub mod writer;

pub use block::{Part, write};
pub use place::{Conventions, Place, Rows};
pub use shape::Shape;
pub use split::{Mapping, Split};
pub use writer::Writer;
