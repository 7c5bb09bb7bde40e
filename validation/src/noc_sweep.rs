//! The suite of synthetic traffic on networks: latencies and the last stable rate of curves, against BookSim2's runs.
//!
//! A row is a run at one rate, in BookSim2's words, with what it measured. The same generators draw the same traffic from the same seed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use banksia_experiments::Error;
use banksia_hw::net::noc::{Keys, Measurement, NocConfig, NocError, Protocol, Status, Traffic, measure};
use banksia_input::{InputError, Source};
use rayon::prelude::*;

use super::rows::{Row, columns, number, parse};
use crate::value::Value;

/// The name of the suite, and of its only device.
pub(super) const SUITE: &str = "noc-sweep";

/// The rows that the tool brings along.
const ROWS: &str = include_str!("../../tests/reference/noc/sweep.csv");

/// Networks that rows name.
const NETWORKS: [(&str, &str); 4] = [
    ("full8.net", include_str!("../../tests/reference/noc/full8.net")),
    ("leafspine.net", include_str!("../../tests/reference/noc/leafspine.net")),
    ("ring8.net", include_str!("../../tests/reference/noc/ring8.net")),
    ("star8x4.net", include_str!("../../tests/reference/noc/star8x4.net")),
];

/// The column that says how a run ended: those before it are parameters.
const STATUS: &str = "status";

/// The part of the last stable rate up to which a latency is judged by itself.
const BELOW: f64 = 0.8;

/// What was measured of a run, and what is simulated.
struct Run<'a> {
    row: &'a Row,
    /// The family, and all parameters but the rate: what a curve has in common.
    curve: String,
    rate: f64,
    simulated: Result<Measurement, String>,
}

impl Run<'_> {
    fn status(&self) -> &str {
        self.row.get(STATUS).map_or("", String::as_str)
    }
}

/// The values of all rows. `progress` is called with the rows done and the rows there are.
pub(super) fn values(measured: Option<&Path>, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Vec<Value>, Error> {
    let (from, text, folder) = match measured {
        None => (SUITE.to_owned(), ROWS.to_owned(), None),
        Some(path) => {
            let text = Source::read(path)?.text().to_owned();
            (path.display().to_string(), text, path.parent().map(Path::to_owned))
        }
    };
    let rows = parse(&from, &text)?;
    let header = text.lines().find(|l| !l.starts_with('#')).unwrap_or_default();
    let parameters: Vec<&str> = header.split(',').take_while(|c| *c != STATUS).collect();
    let expected = || format!("its columns are {}", columns(ROWS));
    if rows.is_empty() || !header.split(',').any(|c| c == STATUS) {
        return Err(InputError::new(from, format!("has no rows of suite `{SUITE}` with a column `{STATUS}`"))
            .help(expected())
            .into());
    }
    let (done, all) = (AtomicU64::new(0), rows.len() as u64);
    progress(0, all);
    let runs: Vec<Run<'_>> = rows
        .par_iter()
        .map(|row| {
            let run = run(row, &parameters, folder.as_deref());
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, all);
            run
        })
        .collect();
    let values = compare(&runs);
    if measured.is_some() && !values.iter().any(Value::is_usable) {
        let reason = values.iter().find_map(|v| v.predicted.as_ref().err().cloned()).unwrap_or_default();
        let problem = format!("has no row that suite `{SUITE}` can compare: {reason}");
        return Err(InputError::new(from, problem).help(expected()).into());
    }
    Ok(values)
}

fn run<'a>(row: &'a Row, parameters: &[&str], folder: Option<&Path>) -> Run<'a> {
    let value = |key: &&str| row.get(*key).map_or("", String::as_str);
    // The list of links of a network lies beside the file, or is one of those that the tool brings along.
    let links = |name: &str| {
        let near = folder.map(|f| [f.join(name), f.join("booksim_trace").join(name)]).into_iter().flatten();
        let file: Option<PathBuf> = near.into_iter().find(|p| !name.is_empty() && p.is_file());
        if let Some(path) = file {
            return Source::read(&path).map(|s| s.text().to_owned()).map_err(|e| NocError(e.to_string()));
        }
        let known = NETWORKS.iter().find(|(n, _)| *n == name);
        known.map(|(_, text)| (*text).to_owned()).ok_or_else(|| NocError(format!("no network `{name}`")))
    };
    let simulate = || -> Result<Measurement, NocError> {
        let keys = Keys::from_pairs(parameters.iter().map(|key| (*key, value(key))));
        let config = NocConfig::from_booksim_keys(&keys, links)?;
        measure(&config, &Traffic::from_booksim_keys(&keys)?, &Protocol::from_booksim_keys(&keys)?)
    };
    let others = parameters.iter().filter(|key| **key != "injection_rate");
    Run {
        row,
        curve: others.map(value).filter(|v| !v.is_empty()).collect::<Vec<_>>().join(" "),
        rate: number(row, "injection_rate").unwrap_or(0.0),
        simulated: simulate().map_err(|e| e.to_string()),
    }
}

/// A latency for each stable row, and a last stable rate for each curve.
fn compare(runs: &[Run<'_>]) -> Vec<Value> {
    let mut curves: BTreeMap<&str, Vec<&Run<'_>>> = BTreeMap::new();
    for run in runs {
        curves.entry(&run.curve).or_default().push(run);
    }
    let mut values = Vec::new();
    for curve in curves.values() {
        let stable = |run: &&&Run<'_>| run.status() == "ok";
        let last = curve.iter().filter(stable).map(|r| r.rate).fold(0.0, f64::max);
        let whole = curve.iter().any(|r| r.status() == "unstable");
        for run in curve.iter().filter(stable) {
            // Without an unstable rate it is not known how far a curve goes.
            let below = run.rate <= BELOW * last || !whole;
            let metric = if below { "latency below 80 % of the last stable rate" } else { "latency near saturation" };
            values.push(latency(run, metric));
        }
        if last > 0.0 {
            values.push(last_stable(curve, last));
        }
    }
    values
}

fn family(run: &Run<'_>) -> String {
    run.row.get("family").cloned().unwrap_or_else(|| "curve".to_owned())
}

fn latency(run: &Run<'_>, metric: &'static str) -> Value {
    let predicted = run.simulated.as_ref().map_err(Clone::clone);
    Value {
        device: SUITE.to_owned(),
        op: family(run),
        metric,
        label: format!("{} at {}", run.curve, run.rate),
        measured: number(run.row, "plat").unwrap_or(0.0),
        // Where it is unstable here, the latency so far stands for it.
        predicted: predicted.map(|m| m.latency[0]),
    }
}

/// The highest rate that is stable. Runs that were cut off by time say nothing.
fn last_stable(curve: &[&Run<'_>], measured: f64) -> Value {
    let mut last = Ok(0.0_f64);
    for run in curve.iter().filter(|r| matches!(r.status(), "ok" | "unstable")) {
        match (&run.simulated, &mut last) {
            (Ok(m), Ok(rate)) if m.status == Status::Stable => *rate = rate.max(run.rate),
            (Err(reason), _) => last = Err(reason.clone()),
            _ => {}
        }
    }
    Value {
        device: SUITE.to_owned(),
        op: family(curve[0]),
        metric: "last stable rate",
        label: curve[0].curve.clone(),
        measured,
        predicted: last,
    }
}
