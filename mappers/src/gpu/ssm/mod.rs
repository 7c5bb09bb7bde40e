//! State-space models and their kin: chunked scans, state updates, short causal convolutions, selective and diagonal scans.
//!
//! Each operator is a call with all its sizes and a function that gives its launches, whoever asks: a model that is run, or a row that
//! it is held to. Tiles, warps, stages, registers and shared memory are those of the published kernels, and so are the instructions
//! of a warp, counted in what the compilers make of them for compute capability 9.0 (`docs/kernels-ssm.md`).

mod code;
pub mod conv;
pub mod conv_update;
pub mod gradients;
pub mod recurrent;
pub mod selective;
pub mod ssd;
pub mod update;

pub use conv::{ConvCall, ConvKernel, ConvNames, causal_conv};
pub use conv_update::{ConvUpdate, ConvUpdateKernel, conv_update};
pub use gradients::{causal_conv_gradient, diagonal_scan_gradient, selective_scan_gradient};
pub use recurrent::{Diagonal, DiagonalNames, Wkv, WkvNames, diagonal_scan, wkv};
pub use selective::{SelectiveNames, SelectiveScan, selective_scan};
pub use ssd::{Ssd, SsdGradients, SsdNames, ssd, ssd_gradient};
pub use update::{StateUpdate, StateUpdateNames, state_update};
