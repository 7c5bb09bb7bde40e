//! Mamba-2's state-space duality: `mamba_chunk_scan_combined` of `mamba_ssm`, five Triton kernels over chunks of tokens, which vLLM, SGLang
//! and TensorRT-LLM carry too.
//!
//! 1. step sizes, and the running sums of their decays within a chunk;
//! 2. the state that each chunk adds, `x^T (B scaled)`;
//! 3. the pass of states from chunk to chunk, one after the other;
//! 4. `C B^T` of each chunk and group;
//! 5. the output: `C state` of what came before, and `(C B^T decayed) x` of the chunk itself.

mod form;
mod gradient;
mod scan;
mod states;

use banksia_hw::gpu::spec::GpuSpec;

use super::code::{BATCH, COLUMNS, HEADS, TOKENS, countable, element, sizes};
use crate::gpu::launch::Item;
use form::Form;
pub use form::{Ssd, SsdNames};
pub use gradient::{SsdGradients, ssd_gradient};

/// The launches of a scan.
///
/// # Errors
/// A size that is nothing, too large to be counted, or that the kernels do not take.
pub fn ssd(s: &Ssd, spec: &GpuSpec, names: &SsdNames) -> Result<Vec<Item>, String> {
    sizes(&[
        ("batch", s.batch, BATCH),
        ("tokens", s.tokens, TOKENS),
        ("heads", s.heads, HEADS),
        ("head_dim", s.head_dim, 1 << 12),
    ])?;
    sizes(&[("state", s.state, COLUMNS), ("groups", s.groups, s.heads), ("chunk", s.chunk, 1 << 12)])?;
    sizes(&[("step_pitch", s.step_pitch, 1 << 20)])?;
    element("an element", s.element_bytes)?;
    if s.head_dim > 64 && !s.head_dim.is_multiple_of(64) {
        return Err(format!("head_dim is {}: must be at most 64, or a multiple of 64", s.head_dim));
    }
    if !s.chunk.is_power_of_two() || s.chunk < 16 {
        return Err(format!("chunk is {}: must be a power of two of 16 or more", s.chunk));
    }
    if !s.heads.is_multiple_of(s.groups) {
        return Err(format!("{} heads of {} groups: groups must be alike", s.heads, s.groups));
    }
    countable("x", &[s.batch, s.tokens, s.heads, s.head_dim])?;
    countable("the states", &[s.batch, s.chunks(), s.heads, s.head_dim, s.state])?;
    let f = Form::of(s);
    Ok(vec![
        states::sums(&f, names)?,
        states::chunk_states(&f, spec, names)?,
        states::pass(&f, names)?,
        states::products(&f, spec, names)?,
        scan::scan(&f, spec, names)?,
    ])
}
