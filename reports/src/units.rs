//! Numbers as people read them: four significant digits, SI prefixes, thousands separators.

/// What is printed for a value that is not a finite number.
const NOT_A_NUMBER: &str = "n/a";

const PREFIXES: [(f64, &str); 11] = [
    (1e18, "E"),
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
    (1e-12, "p"),
];

/// A quantity with an SI prefix and four significant digits: `quantity(0.001234, "s")` is `1.234 ms`.
///
/// Values outside the prefixes' range are in scientific notation; what is not finite is `n/a`.
pub fn quantity(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return NOT_A_NUMBER.into();
    }
    if value == 0.0 {
        return format!("0 {unit}").trim_end().into();
    }
    if unit == "B" && value.abs() < 1e3 && value.fract() == 0.0 {
        // Bytes below a thousand are counted, not measured.
        return format!("{value} B");
    }
    let (scale, prefix) = prefix_for(value.abs());
    let scaled = value / scale;
    // Rounding may carry into the next prefix: 999.96 µs is 1.000 ms.
    let (scaled, prefix) = match scaled.abs() >= 999.95 {
        true => {
            let (scale, prefix) = prefix_for(scale * 1e3);
            (value / scale, prefix)
        }
        false => (scaled, prefix),
    };
    if !(0.000_999..1000.0).contains(&scaled.abs()) {
        return format!("{value:.3e} {unit}").trim_end().into();
    }
    format!("{} {prefix}{unit}", four_digits(scaled)).trim_end().into()
}

/// The largest prefix not above a magnitude, as `(scale, symbol)`; the nearest one beyond the ends of the range.
pub(crate) fn prefix_for(magnitude: f64) -> (f64, &'static str) {
    // A magnitude one rounding error below a power of ten belongs to it.
    let magnitude = magnitude * (1.0 + 4.0 * f64::EPSILON);
    PREFIXES.iter().copied().find(|(scale, _)| magnitude >= *scale).unwrap_or((1e-12, "p"))
}

fn four_digits(value: f64) -> String {
    match value.abs() {
        v if v < 9.9995 => format!("{value:.3}"),
        v if v < 99.995 => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    }
}

/// A whole number with thousands separators: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share as a percentage with one decimal: `percent(0.1234)` is `12.3 %`.
pub fn percent(share: f64) -> String {
    if !share.is_finite() || share.abs() >= 1e6 {
        return NOT_A_NUMBER.into();
    }
    format!("{:.1} %", share * 100.0)
}

/// A plain number with four significant digits and thousands separators; scientific where very small or large.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return NOT_A_NUMBER.into();
    }
    match value.abs() {
        0.0 => "0".into(),
        v if !(1e-3..1e15).contains(&v) => format!("{value:.3e}"),
        v if v >= 999.95 => {
            let sign = if value < 0.0 { "-" } else { "" };
            format!("{sign}{}", count(v.round() as u64))
        }
        v if v < 1.0 => format!("{value:.4}"),
        _ => four_digits(value),
    }
}

/// A count that may be very large, short: `124.4 M`. A whole number below a thousand is printed as it is, another to four
/// digits.
pub fn short_count(value: f64) -> String {
    if !value.is_finite() || value.abs() >= 999.95 {
        return quantity(value, "");
    }
    // Minus zero is zero.
    if value.fract() == 0.0 { format!("{}", value + 0.0) } else { number(value) }
}

/// Words of the report's keys that are acronyms.
const ACRONYMS: [&str; 18] = [
    "alu", "asic", "cpu", "dram", "fma", "gpu", "hbm", "io", "kv", "l1", "l2", "mac", "noc", "pim", "sfu", "sm",
    "sram", "tma",
];

/// A key of the report as words: `mac_utilization` is `MAC utilization`.
pub fn words(key: &str) -> String {
    let word = |word: &str| if ACRONYMS.contains(&word) { word.to_uppercase() } else { word.to_owned() };
    key.split('_').map(word).collect::<Vec<_>>().join(" ")
}

/// The name without the unit that it ends in, and that unit: `latency_s` is `latency` in `s`.
pub(crate) fn unit_of(name: &str) -> Option<(&str, &'static str)> {
    let units: [(&str, &str); 9] = [
        ("_bytes_per_s", "B/s"),
        ("_flops_per_s", "FLOP/s"),
        ("_per_s", "/s"),
        ("_bytes", "B"),
        ("_cycles", "cycles"),
        ("_hz", "Hz"),
        ("_w", "W"),
        ("_j", "J"),
        ("_s", "s"),
    ];
    units.into_iter().find_map(|(suffix, unit)| Some((name.strip_suffix(suffix)?, unit)))
}

/// Whether a name says that its values are shares of one.
pub(crate) fn is_share(name: &str) -> bool {
    ["_rate", "_utilization", "_share", "_fraction", "_efficiency", "_occupancy"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}

/// A metric by its name: the unit is the name's suffix (`_bytes_per_s`, `_s`, `_j`, `_rate`, ...). Returns the name without
/// the unit, with spaces, and the value as text.
pub fn metric(name: &str, value: f64) -> (String, String) {
    match unit_of(name) {
        Some((stem, "cycles")) => (words(stem), format!("{} cycles", number(value))),
        Some((stem, unit)) => (words(stem), quantity(value, unit)),
        None if is_share(name) => (words(name), percent(value)),
        None => (words(name), number(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_carry_into_the_next_prefix() {
        assert_eq!(quantity(1.234e-3, "s"), "1.234 ms");
        assert_eq!(quantity(999.96e-6, "s"), "1.000 ms");
        assert_eq!(quantity(1e-3, "s"), "1.000 ms");
        assert_eq!(quantity(99.996e9, "B/s"), "100.0 GB/s");
        assert_eq!(quantity(9.99951, "W"), "10.00 W");
        assert_eq!(quantity(-2.5e-9, "J"), "-2.500 nJ");
        assert_eq!(quantity(32.0, "B"), "32 B");
        assert_eq!(quantity(0.0, "J"), "0 J");
        assert_eq!(quantity(1e30, "J"), "1.000e30 J");
        assert_eq!(quantity(1e-18, "s"), "1.000e-18 s");
        assert_eq!(quantity(f64::NAN, "s"), "n/a");
        assert_eq!(quantity(f64::INFINITY, "s"), "n/a");
    }

    #[test]
    fn counts_have_thousands_separators() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1,000");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(number(-12345.6), "-12,346");
        assert_eq!(number(0.98765), "0.9877");
    }

    #[test]
    fn short_counts_are_rounded_at_every_size() {
        let of = |v: f64| short_count(v);
        assert_eq!(of(33.216_078_806_872_034), "33.22");
        assert_eq!(of(454.988_936_975_049_17), "455.0");
        assert_eq!(of(0.147_9), "0.1479");
        assert_eq!((of(0.0), of(-0.0), of(7.0), of(999.0)), ("0".into(), "0".into(), "7".into(), "999".into()));
        assert_eq!((of(999.96), of(1000.0), of(124.4e6)), ("1.000 k".into(), "1.000 k".into(), "124.4 M".into()));
        assert_eq!((of(1e-7), of(f64::NAN)), ("1.000e-7".into(), "n/a".into()));
        for i in -40..40 {
            let text = of(1.234_567_8 * 10f64.powi(i));
            assert!(text.len() <= 10, "{text}");
        }
    }

    #[test]
    fn a_metrics_unit_is_its_suffix() {
        assert_eq!(metric("bank_bandwidth_bytes_per_s", 2e11), ("bank bandwidth".into(), "200.0 GB/s".into()));
        assert_eq!(metric("row_hit_rate", 0.98761), ("row hit rate".into(), "98.8 %".into()));
        assert_eq!(metric("stall_cycles", 1200.0), ("stall".into(), "1,200 cycles".into()));
        assert_eq!(metric("speedup", 41.5), ("speedup".into(), "41.50".into()));
    }
}
