//! What a column holds, by its name.

use crate::plot::axis::Quantity;

/// What a column holds, by the unit that its name ends in, and the factor to the base unit.
pub(crate) fn column_quantity(column: &str) -> (Quantity, f64) {
    const UNITS: [(&str, &str, f64); 19] = [
        ("_gb_per_s", "B/s", 1e9),
        ("_bytes_per_s", "B/s", 1.0),
        ("_flops_per_s", "FLOP/s", 1.0),
        ("_tokens_per_s", "tokens/s", 1.0),
        ("_per_s", "/s", 1.0),
        ("_bytes", "B", 1.0),
        ("_pct", "%", 1.0),
        ("_cycles", "cycles", 1.0),
        ("_ms", "s", 1e-3),
        ("_us", "s", 1e-6),
        ("_ns", "s", 1e-9),
        ("_ps", "s", 1e-12),
        ("_s", "s", 1.0),
        ("_mj", "J", 1e-3),
        ("_pj", "J", 1e-12),
        ("_j", "J", 1.0),
        ("_w", "W", 1.0),
        ("_mhz", "Hz", 1e6),
        ("_hz", "Hz", 1.0),
    ];
    match column {
        "tokens_per_s" => return (Quantity::new("Throughput", "tokens/s"), 1.0),
        "ttft_s" => return (Quantity::new("Time to first token", "s"), 1.0),
        _ if crate::compare::last_part(column) == "pin_gbps" => return (Quantity::new("Pin rate (Gb/s)", ""), 1.0),
        "tpot_s" => return (Quantity::new("Time per output token", "s"), 1.0),
        _ => {}
    }
    for (suffix, unit, factor) in UNITS {
        if let Some(stem) = column.strip_suffix(suffix)
            && !stem.is_empty()
        {
            return (Quantity::new(label(stem), unit), factor);
        }
    }
    (Quantity::new(label(column), ""), 1.0)
}

/// A column's name as a label; of a whole path, its last part.
fn label(column: &str) -> String {
    crate::plot::label(crate::compare::last_part(column))
}
