//! What a row is launched as, and the arguments that it has.

use banksia_mappers::gpu::launch::Item;
use serde_json::Value as Json;

/// What a row is launched as.
pub(crate) struct Call {
    /// In order.
    pub(crate) items: Vec<Item>,
    /// Sets of operands that take turns (`nbuf` of the program that measured it).
    pub(crate) copies: u32,
}

/// Sets of operands of so many bytes each that rotate through three times an L2 of 60 MiB, at most so many.
pub(crate) fn sets(bytes: u64, most: u32) -> u32 {
    const ROTATED: u64 = 3 * (60 << 20);
    u32::try_from(ROTATED.div_ceil(bytes.max(1))).unwrap_or(most).clamp(1, most.max(1))
}

/// A whole number among a row's arguments.
pub(crate) fn argument(args: &Json, key: &str, most: u64) -> Result<u64, String> {
    let value = args.get(key).ok_or_else(|| format!("argument {key} is missing"))?;
    let whole = value.as_u64().filter(|n| *n <= most);
    whole.ok_or_else(|| format!("argument {key} is {value}: must be a whole number up to {most}"))
}
