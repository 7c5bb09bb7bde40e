//! An axis: a range that contains the data, ticks at round numbers, and a title with the unit.

use crate::units::{count, prefix_for};

/// How values become positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// In proportion.
    Linear,
    /// By logarithm; values that are not positive are left out.
    Log,
}

/// What an axis shows: a name and the unit of its values (`s`, `B/s`, `J`; empty for a plain number).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    /// The axis title without the unit.
    pub name: String,
    /// The values' unit, to which a prefix is added; empty for a plain number, `%` for a percentage from 0 to 100.
    pub unit: String,
}

impl Quantity {
    /// A quantity from its name and unit.
    pub fn new(name: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { name: name.into(), unit: unit.into() }
    }
}

/// Beyond this a value is drawn at the edge: differences of larger ones overflow.
const LARGEST: f64 = 1e100;
const SMALLEST: f64 = 1e-100;

#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) scaling: Scaling,
    /// The ticks are names of things, not values.
    pub(crate) categories: bool,
    low: f64,
    high: f64,
    pub(crate) title: String,
    /// Values and labels of the ticks, ascending.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis that contains `values`, and zero where it is linear and they come near it. `ticks` is about how many labels
    /// there is room for.
    pub(crate) fn fit(
        quantity: &Quantity,
        scaling: Scaling,
        values: impl IntoIterator<Item = f64>,
        ticks: usize,
    ) -> Self {
        let usable = |v: &f64| v.is_finite() && (scaling == Scaling::Linear || *v > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut powers = Powers::default();
        for value in values.into_iter().filter(usable) {
            powers.take(value);
            let value = match scaling {
                Scaling::Linear => value.clamp(-LARGEST, LARGEST),
                Scaling::Log => value.clamp(SMALLEST, LARGEST),
            };
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            // No values: an empty plot still has an axis.
            (low, high) = if scaling == Scaling::Log { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        match scaling {
            Scaling::Linear => Self::linear(quantity, low, high, ticks.max(2)),
            Scaling::Log => {
                let mut axis = Self::log(quantity, low, high, ticks.max(2));
                if quantity.unit.is_empty()
                    && let Some(of_two) = powers.ticks(ticks.max(2))
                {
                    axis.ticks = of_two;
                }
                axis
            }
        }
    }

    /// An axis of names, a step apart; the n-th lies at n.
    pub(crate) fn of_names(title: &str, names: &[String]) -> Self {
        let ticks = names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect();
        let high = names.len().max(1) as f64 - 0.5;
        Self { scaling: Scaling::Linear, categories: true, low: -0.5, high, title: title.to_owned(), ticks }
    }

    fn linear(quantity: &Quantity, mut low: f64, mut high: f64, ticks: usize) -> Self {
        if low > 0.0 && low < 0.6 * high {
            low = 0.0;
        } else if high < 0.0 && high > 0.6 * low {
            high = 0.0;
        }
        // A range too narrow for numbers to tell apart is widened about its middle.
        let least = (low.abs().max(high.abs()) * 1e-6).max(SMALLEST);
        if high - low < least {
            match low == 0.0 && high == 0.0 {
                true => high = 1.0,
                false => (low, high) = (low.min(0.0), high.max(0.0)),
            }
        }
        let (scale, unit) = unit_of(&quantity.unit, low.abs().max(high.abs()));
        let step = round_step((high - low) / ticks as f64);
        // A range that nearly reaches the next tick is extended to it; one that does not keeps its end.
        let (low, high) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        let first = (low / step).round();
        let number = (((high - low) / step).round().max(1.0) as usize).min(4 * ticks);
        let ticks = (0..=number)
            .map(|i| {
                let value = (first + i as f64) * step;
                (value, linear_label(value / scale, step / scale))
            })
            .collect();
        Self { scaling: Scaling::Linear, categories: false, low, high, title: title(&quantity.name, &unit), ticks }
    }

    fn log(quantity: &Quantity, low: f64, high: f64, ticks: usize) -> Self {
        // Within two decades the range ends near the data, between powers of ten; beyond, at them.
        let (mut low_end, mut high_end) = (low.log10() - 0.03, high.log10() + 0.03);
        let narrow = high_end - low_end < 2.0;
        if !narrow {
            (low_end, high_end) = ((low_end + 0.02).floor(), (high_end - 0.02).ceil());
            // A third of a decade of nothing is cut off.
            if low.log10() - low_end > 0.35 {
                low_end = low.log10() - 0.15;
            }
            if high_end - high.log10() > 0.35 {
                high_end = high.log10() + 0.15;
            }
        } else if high_end - low_end < 0.3 {
            let middle = f64::midpoint(low_end, high_end);
            (low_end, high_end) = (middle - 0.18, middle + 0.18);
        }
        let mantissas: &[f64] = match high_end - low_end {
            d if d < 0.5 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
            d if d < 2.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let decades = high_end - low_end;
        let every = (decades / ticks as f64).ceil().max(1.0) as i64;
        // The unit of the middle, so that labels are neither long fractions nor long whole numbers.
        let (scale, unit) = unit_of(&quantity.unit, 10f64.powf(f64::midpoint(low_end, high_end)));
        let (first, last) = (low_end.floor() as i64, high_end.ceil() as i64);
        let plain = 10f64.powf(low_end) / scale >= 0.99e-3 && 10f64.powf(high_end) / scale < 1.01e5;
        let mut labelled = Vec::new();
        for exponent in (first..=last).filter(|e| e.rem_euclid(every) == 0) {
            for mantissa in mantissas {
                let value = mantissa * 10f64.powi(exponent as i32);
                let position = value.log10();
                if position >= low_end - 1e-9 && position <= high_end + 1e-9 {
                    let shown = value / scale;
                    let label = if plain {
                        let decimals = (-shown.log10().floor()).max(0.0) as usize;
                        // 1.5 is the only mantissa with two digits.
                        let half = usize::from((mantissa - 1.5).abs() < 1e-9 && shown < 9.0);
                        grouped(shown, decimals + half)
                    } else {
                        power_of_ten(*mantissa, shown)
                    };
                    labelled.push((value, label));
                }
            }
        }
        let (low, high) = (10f64.powf(low_end), 10f64.powf(high_end));
        Self {
            scaling: Scaling::Log,
            categories: false,
            low,
            high,
            title: title(&quantity.name, &unit),
            ticks: labelled,
        }
    }

    /// An axis with given ends and ticks.
    pub(crate) fn fixed(title: &str, low: f64, high: f64, ticks: &[f64]) -> Self {
        let ticks = ticks.iter().map(|&v| (v, grouped(v, 0))).collect();
        Self { scaling: Scaling::Linear, categories: false, low, high, title: title.to_owned(), ticks }
    }

    /// The share of the axis's length at which a value lies, clamped to the ends.
    pub(crate) fn share(&self, value: f64) -> f64 {
        let share = match self.scaling {
            Scaling::Linear => (value - self.low) / (self.high - self.low),
            Scaling::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }

    /// Whether a value can be drawn on this axis.
    pub(crate) fn shows(&self, value: f64) -> bool {
        value.is_finite() && (self.scaling == Scaling::Linear || value > 0.0)
    }

    pub(crate) fn low(&self) -> f64 {
        self.low
    }

    pub(crate) fn high(&self) -> f64 {
        self.high
    }
}

/// Values that are all whole powers of two, as batches and channels are: a logarithmic axis has its ticks at them.
#[derive(Debug, Default)]
struct Powers {
    /// Exponents seen; none once a value was no such power.
    exponents: Option<std::collections::BTreeSet<i64>>,
    broken: bool,
}

impl Powers {
    fn take(&mut self, value: f64) {
        let exponent = value.log2().round();
        // To 2^40, beyond which nobody knows them by heart.
        if self.broken || !(0.0..=40.0).contains(&exponent) || (exponent.exp2() - value).abs() > 0.0 {
            (self.broken, self.exponents) = (true, None);
            return;
        }
        self.exponents.get_or_insert_default().insert(exponent as i64);
    }

    /// Ticks at the values, or at every second, third, ... power of two from the first on where they are many.
    fn ticks(&self, about: usize) -> Option<Vec<(f64, String)>> {
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
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let mantissa = step / power;
    let rounded = [1.0, 2.0, 2.5, 5.0].into_iter().find(|&m| mantissa <= m * (1.0 + 1e-9)).unwrap_or(10.0);
    rounded * power
}

/// The scale and the prefixed unit that suit a magnitude. Plain numbers, percentages and counts have no prefix.
fn unit_of(unit: &str, magnitude: f64) -> (f64, String) {
    let no_prefix = ["", "%", "cycles", "tokens/s"].contains(&unit);
    if no_prefix || magnitude == 0.0 || !(1e-13..1e21).contains(&magnitude) {
        return (1.0, unit.to_owned());
    }
    let (scale, prefix) = prefix_for(magnitude);
    (scale, format!("{prefix}{unit}"))
}

fn title(name: &str, unit: &str) -> String {
    if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") }
}

fn linear_label(value: f64, step: f64) -> String {
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
fn grouped(value: f64, decimals: usize) -> String {
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
fn power_of_ten(mantissa: f64, value: f64) -> String {
    let exponent = ((value.abs() / mantissa.abs()).log10().round() as i64).to_string();
    let raised: String = exponent.chars().map(superscript).collect();
    if (mantissa - 1.0).abs() < 1e-9 { format!("10{raised}") } else { format!("{mantissa}×10{raised}") }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scaling: Scaling, unit: &str, values: &[f64]) -> (String, Vec<String>) {
        let axis = Axis::fit(&Quantity::new("Latency", unit), scaling, values.iter().copied(), 5);
        (axis.title, axis.ticks.into_iter().map(|(_, label)| label).collect())
    }

    #[test]
    fn linear_ticks_are_round_and_in_a_prefixed_unit() {
        let (title, ticks) = labels(Scaling::Linear, "s", &[0.2e-3, 1.9e-3]);
        assert_eq!(title, "Latency (ms)");
        assert_eq!(ticks, ["0.0", "0.5", "1.0", "1.5", "2.0"]);
        let (_, ticks) = labels(Scaling::Linear, "", &[128.0, 8192.0]);
        assert_eq!(ticks, ["0", "2,000", "4,000", "6,000", "8,000", "10,000"]);
        let (_, ticks) = labels(Scaling::Linear, "", &[100.0, 112.5]);
        assert_eq!(ticks, ["100.0", "102.5", "105.0", "107.5", "110.0", "112.5"]);
    }

    #[test]
    fn log_ticks_are_powers_or_parts_of_a_decade() {
        assert_eq!(labels(Scaling::Log, "s", &[1e-6, 1e-3]).1, ["1", "10", "100", "1,000"]);
        assert_eq!(labels(Scaling::Log, "", &[1.0, 1e8]).1, ["10⁰", "10²", "10⁴", "10⁶", "10⁸"]);
        assert_eq!(labels(Scaling::Log, "", &[10.0, 60.0]).1, ["10", "20", "50"]);
    }

    #[test]
    fn powers_of_two_are_their_own_ticks() {
        assert_eq!(labels(Scaling::Log, "", &[4.0, 16.0, 64.0]).1, ["4", "16", "64"]);
        assert_eq!(labels(Scaling::Log, "", &[1.0, 2.0, 4.0, 8.0]).1, ["1", "2", "4", "8"]);
        assert_eq!(
            labels(Scaling::Log, "", &[1.0, 4.0, 1048576.0]).1,
            ["1", "16", "256", "4,096", "65,536", "1,048,576"]
        );
        // One power, a value that is none, or a unit: as ever.
        assert_eq!(labels(Scaling::Log, "", &[4.0, 16.0, 60.0]).1, ["5", "10", "20", "50"]);
        assert_eq!(labels(Scaling::Log, "s", &[4.0, 16.0, 64.0]).1, ["5", "10", "20", "50"]);
    }

    #[test]
    fn degenerate_ranges_have_finite_distinct_ends() {
        let cases: [&[f64]; 8] = [
            &[],
            &[0.0],
            &[f64::NAN, f64::INFINITY],
            &[-5.0],
            &[1e300, 1e30],
            &[1e-300],
            &[1.0, 1.0 + 1e-15],
            &[-1e30, 1e30],
        ];
        for values in cases {
            for scaling in [Scaling::Linear, Scaling::Log] {
                let axis = Axis::fit(&Quantity::new("x", "s"), scaling, values.iter().copied(), 5);
                assert!(axis.low.is_finite() && axis.high.is_finite() && axis.low < axis.high, "{values:?} {axis:?}");
                assert!(axis.ticks.len() <= 30 && !axis.ticks.is_empty(), "{values:?} {axis:?}");
                assert!(axis.share(f64::NAN) == 0.0 && (0.0..=1.0).contains(&axis.share(1e308)));
            }
        }
    }
}
