//! NCCL's protocols: how the bytes of a step are put on a link and how the receiver learns of them.

/// How a step hands its bytes over (NCCL's `prims_ll.h`, `prims_ll128.h`, `prims_simple.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Stores of eight bytes, four of which are a flag: no fence, half the link.
    Ll,
    /// Lines of 128 bytes, eight of which are a flag.
    Ll128,
    /// Slices of plain data, a fence and a counter for each.
    Simple,
}

impl Protocol {
    /// All of them, in NCCL's order, in which the first of equals is taken.
    pub const ALL: [Self; 3] = [Self::Ll, Self::Ll128, Self::Simple];

    /// Its place in tables of constants.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Bytes on a link for each byte of data.
    pub const fn expansion(self) -> f64 {
        match self {
            Self::Ll => 2.0,
            Self::Ll128 => 128.0 / 120.0,
            Self::Simple => 1.0,
        }
    }

    /// Bytes that the buffer of a channel takes at once before anything is acknowledged: a step of a buffer of eight (`NCCL_STEPS`).
    /// LL: 8 lines of 16 bytes for each of 512 threads, half of them data; LL128: 120 lines of 8 bytes for each of 640 threads, 15/16 data;
    /// Simple: an eighth of 4 MiB (`NCCL_BUFFSIZE`).
    pub const fn step_bytes(self) -> f64 {
        match self {
            Self::Ll => 8.0 * 512.0 * 16.0 / 2.0,
            Self::Ll128 => 120.0 * 640.0 * 8.0 * 15.0 / 16.0,
            Self::Simple => 524_288.0,
        }
    }
}
