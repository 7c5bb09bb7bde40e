//! Ticks of an axis: steps that are round, and numbers as labels.

use crate::units::{count, prefix_for};

/// Values that are all whole powers of two, as batches and channels are: a logarithmic axis has its ticks at them.
#[derive(Debug, Default)]
pub(super) struct Powers {
    /// Exponents seen; none once a value was no such power.
    exponents: Option<std::collections::BTreeSet<i64>>,
    broken: bool,
}

impl Powers {
    pub(super) fn take(&mut self, value: f64) {
        let exponent = value.log2().round();
        // To 2^40, beyond which nobody knows them by heart.
        if self.broken || !(0.0..=40.0).contains(&exponent) || (exponent.exp2() - value).abs() > 0.0 {
            (self.broken, self.exponents) = (true, None);
            return;
        }
        self.exponents.get_or_insert_default().insert(exponent as i64);
    }

    /// Ticks at the values, or at every second, third, ... power of two from the first on where they are many.
    pub(super) fn ticks(&self, about: usize) -> Option<Vec<(f64, String)>> {
        let exponents = self.exponents.as_ref().filter(|e| e.len() > 1)?;
        let (first, last) = (*exponents.first()?, *exponents.last()?);
        let apart = exponents.iter().fold(0, |gcd, e| greatest_common_divisor(gcd, e - first)).max(1);
        let most = about as i64 + 2;
        let every = apart * ((last - first) / apart + 1 + most - 1).div_euclid(most).max(1);
        let tick = |e: i64| ((e as f64).exp2(), grouped((e as f64).exp2(), 0));
        Some((0..=(last - first) / every).map(|i| tick(first + i * every)).collect())
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
pub(super) fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let mantissa = step / power;
    let rounded = [1.0, 2.0, 2.5, 5.0].into_iter().find(|&m| mantissa <= m * (1.0 + 1e-9)).unwrap_or(10.0);
    rounded * power
}

/// The scale and the prefixed unit that suit a magnitude. Plain numbers, percentages and counts have no prefix.
pub(super) fn unit_of(unit: &str, magnitude: f64) -> (f64, String) {
    let no_prefix = ["", "%", "cycles", "tokens/s"].contains(&unit);
    if no_prefix || magnitude == 0.0 || !(1e-13..1e21).contains(&magnitude) {
        return (1.0, unit.to_owned());
    }
    let (scale, prefix) = prefix_for(magnitude);
    (scale, format!("{prefix}{unit}"))
}

pub(super) fn title(name: &str, unit: &str) -> String {
    if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") }
}

pub(super) fn linear_label(value: f64, step: f64) -> String {
    if value.abs() >= 1e7 || step < 1e-5 {
        return if value == 0.0 { "0".into() } else { power_label(value) };
    }
    // 2.5 needs one digit more than its power of ten.
    let power = step.log10().floor();
    let two_digits = (step / 10f64.powf(power) - 2.5).abs() < 1e-6;
    let decimals = -power + if two_digits { 1.0 } else { 0.0 };
    grouped(value, decimals.max(0.0) as usize)
}

/// A decimal number with thousands separators and a true minus sign.
pub(super) fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), count);
    let sign = if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "−" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn power_label(value: f64) -> String {
    let exponent = value.abs().log10().floor();
    power_of_ten((value / 10f64.powf(exponent) * 100.0).round() / 100.0, value)
}

/// `2×10⁶`, with the mantissa left out where it is 1.
pub(super) fn power_of_ten(mantissa: f64, value: f64) -> String {
    let power = raised("10", (value.abs() / mantissa.abs()).log10().round() as i64);
    if (mantissa - 1.0).abs() < 1e-9 { power } else { format!("{mantissa}×{power}") }
}

/// A base with its exponent above the line: `2⁴⁸`.
pub(super) fn raised(base: &str, exponent: i64) -> String {
    base.chars().chain(exponent.to_string().chars().map(superscript)).collect()
}

fn superscript(c: char) -> char {
    match c {
        '-' => '⁻',
        '0' => '⁰',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        _ => '⁹',
    }
}

/// Two to nine times each power of ten, where ticks stand at powers alone or few parts of them; with many decades, the powers
/// without labels.
pub(super) fn minor_ticks((first, last): (i64, i64), (low, high): (f64, f64), labelled: &[(f64, String)]) -> Vec<f64> {
    let decades = high - low;
    let parts: &[f64] = if decades < 7.0 { &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0] } else { &[1.0] };
    if decades.is_nan() || decades >= 60.0 {
        return Vec::new();
    }
    let within = |v: &f64| (low..=high).contains(&v.log10());
    let free = |v: &f64| labelled.iter().all(|(tick, _)| (tick / v - 1.0).abs() > 1e-9);
    (first - 1..=last)
        .flat_map(|e| parts.iter().map(move |m| m * 10f64.powi(e as i32)))
        .filter(within)
        .filter(free)
        .collect()
}
