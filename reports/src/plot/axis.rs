//! An axis: a range that contains the data, ticks at round numbers, and a title with the unit.

use super::data::AxisOf;
use super::ticks::{Powers, grouped, linear_label, minor_ticks, power_of_ten, raised, round_step, title, unit_of};

/// How values become positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// In proportion.
    Linear,
    /// By logarithm, with ticks at powers of ten and parts of them, or at powers of two where all values are such; values that are
    /// not positive are left out.
    Log,
    /// By logarithm, with ticks at powers of two.
    Log2,
}

impl Scaling {
    /// Whether values become positions by their logarithm: none that is not positive can be shown.
    pub fn is_log(self) -> bool {
        self != Self::Linear
    }

    /// The base that scripts are told: 0 of an axis in proportion.
    pub(crate) fn base(self) -> u8 {
        match self {
            Self::Linear => 0,
            Self::Log => 10,
            Self::Log2 => 2,
        }
    }
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
    /// Values of ticks without labels, between those.
    pub(crate) minor: Vec<f64>,
    /// A value in the base unit is this many of the unit that the axis shows.
    pub(crate) scale: f64,
    /// Names below those of the ticks, with the first and the last value that each spans.
    pub(crate) groups: Vec<(f64, f64, String)>,
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
        let usable = |v: &f64| v.is_finite() && (!scaling.is_log() || *v > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut powers = Powers::default();
        for value in values.into_iter().filter(usable) {
            powers.take(value);
            let value = value.clamp(if scaling.is_log() { SMALLEST } else { -LARGEST }, LARGEST);
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            // No values: an empty plot still has an axis.
            (low, high) = if scaling.is_log() { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        match scaling {
            Scaling::Linear => Self::linear(quantity, low, high, ticks.max(2)),
            Scaling::Log => {
                let mut axis = Self::log(quantity, low, high, ticks.max(2));
                if quantity.unit.is_empty()
                    && let Some(of_two) = powers.ticks(ticks.max(2))
                {
                    axis.minor = Vec::new();
                    axis.ticks = of_two;
                }
                axis
            }
            Scaling::Log2 => Self::log2(quantity, low, high, ticks.max(2)),
        }
    }

    /// An axis of names, a step apart; the n-th lies at n.
    pub(crate) fn of_names(title: &str, names: &[String]) -> Self {
        let ticks = names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect();
        let high = names.len().max(1) as f64 - 0.5;
        Self { categories: true, ..Self::plain((-0.5, high), title.to_owned(), ticks) }
    }

    /// The same axis, its high end further by so much.
    pub(crate) fn wider(mut self, by: f64) -> Self {
        self.high += by;
        self
    }

    /// An axis in proportion.
    fn plain((low, high): (f64, f64), title: String, ticks: Vec<(f64, String)>) -> Self {
        let (minor, groups) = (Vec::new(), Vec::new());
        Self { scaling: Scaling::Linear, categories: false, low, high, title, ticks, minor, scale: 1.0, groups }
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
        let (low, full) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        // An axis that would end in much nothing ends a little past the data instead, between two ticks.
        let shorter = high + 0.03 * (high - low);
        let high = if full - shorter > 0.1 * (full - low) && shorter - low > step { shorter } else { full };
        let first = (low / step).round();
        let number = (((high - low) / step + 1e-6).floor().max(1.0) as usize).min(4 * ticks);
        let ticks = (0..=number)
            .map(|i| {
                let value = (first + i as f64) * step;
                (value, linear_label(value / scale, step / scale))
            })
            .collect();
        Self { scale, ..Self::plain((low, high), title(&quantity.name, &unit), ticks) }
    }

    /// An axis with ticks at powers of two of the unit that it shows.
    fn log2(quantity: &Quantity, low: f64, high: f64, ticks: usize) -> Self {
        let (scale, unit) = unit_of(&quantity.unit, (low.ln() / 2.0 + high.ln() / 2.0).exp());
        let (low_end, high_end) = ((low / scale).log2(), (high / scale).log2());
        // A tenth of an octave of air, and an octave at least.
        let air = f64::max(0.1 + 0.03 * (high_end - low_end), 0.55 - (high_end - low_end) / 2.0);
        let (low_end, high_end) = (low_end - air, high_end + air);
        let (first, last) = ((low_end - 1e-9).ceil() as i64, (high_end + 1e-9).floor() as i64);
        let every = ((last - first + 1) as f64 / (ticks + 2) as f64).ceil().max(1.0) as i64;
        let label = |e: i64| match e {
            0..=40 => grouped((e as f64).exp2(), 0),
            -3..0 => grouped((e as f64).exp2(), -e as usize),
            _ => raised("2", e),
        };
        let at = |e: i64| (e as f64).exp2() * scale;
        let labelled = |e: &i64| (e - first).rem_euclid(every) == 0;
        // At most a thousand octaves lie between the ends that an axis may have.
        let minor = (first..=last).filter(|e| !labelled(e)).map(at).collect();
        let ticks = (first..=last).filter(labelled).map(|e| (at(e), label(e))).collect();
        let ends = (low_end.exp2() * scale, high_end.exp2() * scale);
        let scaling = Scaling::Log2;
        Self { scaling, minor, scale, ..Self::plain(ends, title(&quantity.name, &unit), ticks) }
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
        let minor = minor_ticks((first, last), (low_end, high_end), &labelled);
        let ends = (10f64.powf(low_end), 10f64.powf(high_end));
        let scaling = Scaling::Log;
        Self { scaling, minor, scale, ..Self::plain(ends, title(&quantity.name, &unit), labelled) }
    }

    /// An axis with given ends and ticks.
    pub(crate) fn fixed(title: &str, low: f64, high: f64, ticks: &[f64]) -> Self {
        let ticks = ticks.iter().map(|&v| (v, grouped(v, 0))).collect();
        Self::plain((low, high), title.to_owned(), ticks)
    }

    /// The share of the axis's length at which a value lies, clamped to the ends.
    pub(crate) fn share(&self, value: f64) -> f64 {
        let share = match self.scaling {
            Scaling::Linear => (value - self.low) / (self.high - self.low),
            Scaling::Log | Scaling::Log2 => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }

    /// Whether a value can be drawn on this axis.
    pub(crate) fn shows(&self, value: f64) -> bool {
        value.is_finite() && (!self.scaling.is_log() || value > 0.0)
    }

    pub(crate) fn low(&self) -> f64 {
        self.low
    }

    pub(crate) fn high(&self) -> f64 {
        self.high
    }

    /// A value in the unit that the axis shows.
    pub(crate) fn shown(&self, value: f64) -> f64 {
        value / self.scale
    }

    /// The axis for a script.
    pub(crate) fn described(&self) -> AxisOf {
        let names = if self.categories { self.ticks.iter().map(|t| t.1.clone()).collect() } else { Vec::new() };
        let ends = (self.shown(self.low), self.shown(self.high));
        AxisOf { title: self.title.clone(), base: self.scaling.base(), names, ends }
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
        assert_eq!(ticks, ["0", "2,000", "4,000", "6,000", "8,000"]);
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
