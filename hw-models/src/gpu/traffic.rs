//! Bytes moved by a launch.

use serde::{Deserialize, Serialize};

/// Bytes moved, by place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Delivered to SMs over the crossbar.
    pub crossbar_read_bytes: u64,
    /// Written by SMs over the crossbar.
    pub crossbar_write_bytes: u64,
    /// Passed by slices for reads; a line of the other half passes two.
    pub l2_read_bytes: u64,
    /// Passed by slices for writes.
    pub l2_write_bytes: u64,
    /// Read from device memory.
    pub dram_read_bytes: u64,
    /// Written to device memory.
    pub dram_write_bytes: u64,
    /// Delivered by L1 itself.
    pub l1_hit_bytes: u64,
    /// By how much the bytes in L2 that must be written back have grown: what SMs stored, less what they stored over such bytes.
    pub l2_dirtied_bytes: u64,
    /// Of the bytes written to device memory, those that other kernels had stored.
    pub others_written_bytes: u64,
    /// Sent to peers over the links; as many come in.
    #[serde(default)]
    pub peer_bytes: u64,
    /// Blocks requested.
    pub transactions: u64,
}

impl Traffic {
    /// Each count from those of some launches, rounded.
    pub fn combine<const N: usize>(all: [&Self; N], f: impl Fn([f64; N]) -> f64) -> Self {
        let each = |of: fn(&Self) -> u64| f(all.map(|t| of(t) as f64)).round() as u64;
        Self {
            crossbar_read_bytes: each(|t| t.crossbar_read_bytes),
            crossbar_write_bytes: each(|t| t.crossbar_write_bytes),
            l2_read_bytes: each(|t| t.l2_read_bytes),
            l2_write_bytes: each(|t| t.l2_write_bytes),
            dram_read_bytes: each(|t| t.dram_read_bytes),
            dram_write_bytes: each(|t| t.dram_write_bytes),
            l1_hit_bytes: each(|t| t.l1_hit_bytes),
            l2_dirtied_bytes: each(|t| t.l2_dirtied_bytes),
            others_written_bytes: each(|t| t.others_written_bytes),
            peer_bytes: each(|t| t.peer_bytes),
            transactions: each(|t| t.transactions),
        }
    }
}
