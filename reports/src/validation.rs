//! How near predictions come to measurements.
//!
//! The error of a row is `(predicted - measured) / measured`. MAPE is the mean of its magnitude, bias its mean; the median and
//! the 90th percentile interpolate between order statistics (Hyndman and Fan's type 7, numpy's default). Kendall's tau-b says
//! whether predictions rank as measurements do, ties accounted for; it is computed with Knight's algorithm in O(n log n)
//! (Knight, "A Computer Method for Calculating Kendall's Tau with Ungrouped Data", JASA 1966).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ReportError;
use crate::grid::{Align, Grid, Keep, clean};
use crate::units::{count, number};

/// One row of a reference: what was measured and what is predicted, in the same unit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pair {
    /// What the row is (`m=128 n=4096 k=4096 fp8`).
    pub label: String,
    /// The measured value; positive.
    pub measured: f64,
    /// The predicted value.
    pub predicted: f64,
}

/// Errors over a set of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorStatistics {
    /// Rows that could be compared: finite, and measured above zero.
    pub rows: usize,
    /// Mean absolute percentage error.
    pub mape_pct: f64,
    /// Median absolute percentage error.
    pub median_ape_pct: f64,
    /// 90th percentile of the absolute percentage error.
    pub p90_ape_pct: f64,
    /// Mean signed percentage error; positive where predictions are too large.
    pub bias_pct: f64,
    /// Kendall's tau-b; none where all measurements, or all predictions, are equal.
    pub kendall_tau: Option<f64>,
}

/// One line of `banksia validate`: a device, an operator and a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationResult {
    /// The suite (`gemm`, `pim`, ...).
    pub suite: String,
    /// The device.
    pub device: String,
    /// The operator.
    pub op: String,
    /// `latency`, `energy`, `dram_read_bytes`, ...
    pub metric: String,
    /// Rows compared.
    pub rows: u64,
    /// Rows not compared.
    pub skipped: u64,
    /// Why rows were not compared, with how many.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped_reasons: BTreeMap<String, u64>,
    /// See [`ErrorStatistics`]; none where no row was compared. So are those below.
    pub mape_pct: Option<f64>,
    /// Median absolute percentage error.
    pub median_ape_pct: Option<f64>,
    /// 90th percentile of the absolute percentage error.
    pub p90_ape_pct: Option<f64>,
    /// Mean signed percentage error.
    pub bias_pct: Option<f64>,
    /// Kendall's tau-b.
    pub kendall_tau: Option<f64>,
    /// The rows with the largest absolute percentage error, largest first.
    pub worst: Vec<WorstRow>,
}

/// A row with a large error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstRow {
    /// What the row is.
    pub row: String,
    /// The measured value, in the suite's unit.
    pub measured: f64,
    /// The predicted value.
    pub predicted: f64,
    /// Signed percentage error.
    pub error_pct: f64,
}

/// What a line of `banksia validate` is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// The suite.
    pub suite: String,
    /// The device.
    pub device: String,
    /// The operator.
    pub op: String,
    /// The metric.
    pub metric: String,
}

impl ValidationResult {
    /// Compares rows. Those that were not predicted come in `skipped`, with the reason; those of `pairs` that have no error
    /// (a value is not finite, or the measured one not positive) join them. `worst` rows are kept.
    pub fn of(subject: Subject, pairs: &[Pair], skipped: BTreeMap<String, u64>, worst: usize) -> Self {
        let mut reasons = skipped;
        for reason in pairs.iter().filter_map(|pair| pair.error().err()) {
            *reasons.entry(reason.to_owned()).or_default() += 1;
        }
        let mut rows: Vec<WorstRow> = pairs
            .iter()
            .filter_map(|pair| {
                let error_pct = pair.error().ok()? * 100.0;
                Some(WorstRow {
                    row: pair.label.clone(),
                    measured: pair.measured,
                    predicted: pair.predicted,
                    error_pct,
                })
            })
            .collect();
        rows.sort_by(|a, b| b.error_pct.abs().total_cmp(&a.error_pct.abs()));
        rows.truncate(worst);
        let statistics = error_statistics(pairs);
        let Subject { suite, device, op, metric } = subject;
        let of = |pick: fn(&ErrorStatistics) -> f64| statistics.as_ref().map(pick);
        Self {
            suite,
            device,
            op,
            metric,
            rows: statistics.as_ref().map_or(0, |s| s.rows as u64),
            skipped: reasons.values().sum(),
            skipped_reasons: reasons,
            mape_pct: of(|s| s.mape_pct),
            median_ape_pct: of(|s| s.median_ape_pct),
            p90_ape_pct: of(|s| s.p90_ape_pct),
            bias_pct: of(|s| s.bias_pct),
            kendall_tau: statistics.as_ref().and_then(|s| s.kendall_tau),
            worst: rows,
        }
    }
}

impl Pair {
    /// The relative error, or why there is none.
    fn error(&self) -> Result<f64, &'static str> {
        if !self.measured.is_finite() || self.measured <= 0.0 {
            return Err("the measured value is not a positive number");
        }
        let error = (self.predicted - self.measured) / self.measured;
        if error.is_finite() { Ok(error) } else { Err("the predicted value is not a finite number") }
    }
}

/// Errors over rows; none where no row can be compared.
pub fn error_statistics(pairs: &[Pair]) -> Option<ErrorStatistics> {
    let compared: Vec<(&Pair, f64)> = pairs.iter().filter_map(|pair| Some((pair, pair.error().ok()?))).collect();
    if compared.is_empty() {
        return None;
    }
    let rows = compared.len();
    // Divided first, so that no sum of finite errors overflows.
    let mean = |of: fn(f64) -> f64| compared.iter().map(|&(_, error)| of(error) / rows as f64 * 100.0).sum::<f64>();
    let mut magnitudes: Vec<f64> = compared.iter().map(|&(_, error)| error.abs() * 100.0).collect();
    magnitudes.sort_by(f64::total_cmp);
    let values: Vec<(f64, f64)> = compared.iter().map(|(pair, _)| (pair.measured, pair.predicted)).collect();
    Some(ErrorStatistics {
        rows,
        mape_pct: mean(f64::abs),
        median_ape_pct: quantile(&magnitudes, 0.5),
        p90_ape_pct: quantile(&magnitudes, 0.9),
        bias_pct: mean(|error| error),
        kendall_tau: kendall_tau(&values),
    })
}

/// A quantile of ascending values, at least one, by linear interpolation between neighbours.
fn quantile(ascending: &[f64], share: f64) -> f64 {
    let place = share * (ascending.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let fraction = place - below as f64;
    ascending[below] * (1.0 - fraction) + ascending[above] * fraction
}

/// Kendall's tau-b of pairs of finite values; none where either side is all ties or there are fewer than two pairs.
pub fn kendall_tau(values: &[(f64, f64)]) -> Option<f64> {
    // Minus zero and zero are one value.
    let mut values: Vec<(f64, f64)> = values.iter().map(|&(x, y)| (x + 0.0, y + 0.0)).collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let pairs_among = |n: u64| u128::from(n) * u128::from(n.saturating_sub(1)) / 2;
    let same = |a: f64, b: f64| a.total_cmp(&b).is_eq();
    let all = pairs_among(values.len() as u64);
    let tied_x: u128 = values.chunk_by(|a, b| same(a.0, b.0)).map(|run| pairs_among(run.len() as u64)).sum();
    let both = values.chunk_by(|a, b| same(a.0, b.0) && same(a.1, b.1));
    let tied_both: u128 = both.map(|run| pairs_among(run.len() as u64)).sum();
    let mut ys: Vec<f64> = values.iter().map(|v| v.1).collect();
    let discordant = sort_counting_swaps(&mut ys);
    let tied_y: u128 = ys.chunk_by(|a, b| same(*a, *b)).map(|run| pairs_among(run.len() as u64)).sum();
    if tied_x == all || tied_y == all {
        return None;
    }
    let concordant = all + tied_both - tied_x - tied_y - discordant;
    let scale = ((all - tied_x) as f64).sqrt() * ((all - tied_y) as f64).sqrt();
    Some((concordant as f64 - discordant as f64) / scale)
}

/// Merge-sorts values and counts the pairs that stood in descending order.
fn sort_counting_swaps(values: &mut [f64]) -> u128 {
    let mut merged = values.to_vec();
    let mut swaps = 0;
    let mut width = 1;
    while width < values.len() {
        for (from, to) in values.chunks(2 * width).zip(merged.chunks_mut(2 * width)) {
            let (left, right) = from.split_at(width.min(from.len()));
            let (mut l, mut r) = (0, 0);
            for slot in to {
                if r == right.len() || (l < left.len() && left[l] <= right[r]) {
                    *slot = left[l];
                    l += 1;
                } else {
                    *slot = right[r];
                    r += 1;
                    swaps += (left.len() - l) as u128;
                }
            }
        }
        values.copy_from_slice(&merged);
        width *= 2;
    }
    swaps
}

/// The results as `validate --format json` prints them.
///
/// # Errors
/// The JSON writer fails.
pub fn validation_json(results: &[ValidationResult]) -> Result<String, ReportError> {
    let json = |source| ReportError::Json { what: "validation", source };
    Ok(serde_json::to_string_pretty(results).map_err(json)? + "\n")
}

/// The results for a terminal of `width` columns, with the reasons of skipped rows below: where it is too narrow, columns of
/// statistics go, the least important first, and then names are cut. Nothing is dropped or cut where `width` is none.
pub fn validation_table(results: &[ValidationResult], width: Option<usize>, color: bool) -> String {
    let fit = |grid: Grid| width.map_or(grid.clone(), |width| grid.fit(width)).text(color);
    let mut out = fit(grid(results));
    let mut reasons: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for result in results {
        for (reason, n) in &result.skipped_reasons {
            *reasons.entry((&result.suite, reason)).or_default() += n;
        }
    }
    if !reasons.is_empty() {
        out += "\nskipped\n";
        let mut skipped =
            Grid::of([("", Align::Left, Keep::Cut), ("", Align::Right, Keep::Always), ("", Align::Left, Keep::Cut)]);
        for ((suite, reason), n) in reasons {
            skipped.row([clean(suite), count(n), clean(reason)]);
        }
        out += &fit(skipped);
    }
    out
}

/// The results as a Markdown table; nothing is cut.
pub fn validation_markdown(results: &[ValidationResult]) -> String {
    grid(results).markdown()
}

fn grid(results: &[ValidationResult]) -> Grid {
    let mut grid = Grid::of([
        ("suite", Align::Left, Keep::Cut),
        ("device", Align::Left, Keep::Cut),
        ("operator", Align::Left, Keep::Cut),
        ("metric", Align::Left, Keep::Cut),
        ("rows", Align::Right, Keep::Always),
        ("skipped", Align::Right, Keep::Drop(4)),
        ("MAPE %", Align::Right, Keep::Always),
        ("median %", Align::Right, Keep::Drop(1)),
        ("p90 %", Align::Right, Keep::Drop(3)),
        ("bias %", Align::Right, Keep::Drop(5)),
        ("tau", Align::Right, Keep::Drop(2)),
    ]);
    let percent = |v: Option<f64>| match v {
        Some(v) if v.abs() < 1e4 => format!("{v:.1}"),
        Some(v) => number(v),
        None => "–".to_owned(),
    };
    for result in results {
        grid.row([
            clean(&result.suite),
            clean(&result.device),
            clean(&result.op),
            clean(&result.metric),
            count(result.rows),
            count(result.skipped),
            percent(result.mape_pct),
            percent(result.median_ape_pct),
            percent(result.p90_ape_pct),
            percent(result.bias_pct),
            result.kendall_tau.map_or("–".to_owned(), |tau| format!("{tau:.3}")),
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(label: &str, measured: f64, predicted: f64) -> Pair {
        Pair { label: label.into(), measured, predicted }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn statistics_of_four_rows_worked_by_hand() {
        // Errors: +10 %, -20 %, +30 %, 0 %.
        let pairs = [pair("a", 10.0, 11.0), pair("b", 20.0, 16.0), pair("c", 30.0, 39.0), pair("d", 40.0, 40.0)];
        let s = error_statistics(&pairs).unwrap();
        assert_eq!(s.rows, 4);
        close(s.mape_pct, 15.0);
        close(s.bias_pct, 5.0);
        // Sorted magnitudes 0, 10, 20, 30: the median is 15; the 90th percentile lies at place 2.7.
        close(s.median_ape_pct, 15.0);
        close(s.p90_ape_pct, 27.0);
        // Predictions 11, 16, 39, 40 rank as the measurements do.
        close(s.kendall_tau.unwrap(), 1.0);
    }

    #[test]
    fn rows_without_an_error_are_skipped_with_a_reason() {
        let pairs = [
            pair("zero", 0.0, 1.0),
            pair("nan", 1.0, f64::NAN),
            pair("half", 2.0, 1.0),
            pair("double", 1.0, 2.0),
            pair("near", 1.0, 1.01),
        ];
        let skipped = BTreeMap::from([("dtype int4 has no unit".to_owned(), 3)]);
        let result = ValidationResult::of(Subject::default(), &pairs, skipped, 2);
        assert_eq!((result.rows, result.skipped), (3, 5));
        assert_eq!(result.skipped_reasons.len(), 3);
        let worst: Vec<(&str, f64)> = result.worst.iter().map(|w| (w.row.as_str(), w.error_pct)).collect();
        assert_eq!(worst, [("double", 100.0), ("half", -50.0)]);
        let none = ValidationResult::of(Subject::default(), &[], BTreeMap::new(), 3);
        assert_eq!((none.rows, none.mape_pct, none.kendall_tau), (0, None, None));
    }

    #[test]
    fn tau_b_worked_by_hand() {
        // One of the three pairs is discordant: (2 - 1) / 3.
        close(kendall_tau(&[(1.0, 1.0), (2.0, 3.0), (3.0, 2.0)]).unwrap(), 1.0 / 3.0);
        close(kendall_tau(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]).unwrap(), -1.0);
        // x: 1 2 2 3, y: 1 2 3 3. Six pairs, one tied in x alone, one in y alone, four concordant: 4 / sqrt(5 * 5).
        close(kendall_tau(&[(1.0, 1.0), (2.0, 2.0), (2.0, 3.0), (3.0, 3.0)]).unwrap(), 0.8);
        assert_eq!(kendall_tau(&[(1.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(kendall_tau(&[(1.0, 1.0)]), None);
        assert_eq!(kendall_tau(&[]), None);
    }

    proptest::proptest! {
        /// Knight's algorithm agrees with counting every pair.
        #[test]
        fn tau_b_is_that_of_all_pairs(values in proptest::collection::vec((0u8..6, 0u8..6), 2..40)) {
            let values: Vec<(f64, f64)> = values.into_iter().map(|(x, y)| (x.into(), y.into())).collect();
            let (mut balance, mut untied_x, mut untied_y) = (0i64, 0i64, 0i64);
            for (i, a) in values.iter().enumerate() {
                for b in &values[i + 1..] {
                    let sign = |v: f64| if v > 0.0 { 1 } else if v < 0.0 { -1 } else { 0 };
                    let (dx, dy) = (sign(a.0 - b.0), sign(a.1 - b.1));
                    balance += dx * dy;
                    untied_x += dx.abs();
                    untied_y += dy.abs();
                }
            }
            match kendall_tau(&values) {
                Some(tau) => {
                    let expected = balance as f64 / ((untied_x as f64).sqrt() * (untied_y as f64).sqrt());
                    proptest::prop_assert!((tau - expected).abs() < 1e-12);
                }
                None => proptest::prop_assert!(untied_x == 0 || untied_y == 0),
            }
        }
    }
}
