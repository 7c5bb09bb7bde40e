//! PIM-GPT's eight reports are what they were before PIM machines and GPUs became one program: byte for byte, by their hashes.
//!
//! A report has nothing of the run itself in it (how long it took is said on standard error), so all of it is hashed.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;

use crate::common::succeeds;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// Those that every run of the tests makes; `BANKSIA_LONG=1` makes all eight.
const ALWAYS: [&str; 2] = ["gpt2-small", "gpt3-small"];

/// One line of the list.
#[derive(serde::Deserialize)]
struct Golden {
    model: String,
    report_sha256: String,
    latency_s: f64,
    energy_j: f64,
}

fn list() -> Vec<Golden> {
    let text = std::fs::read_to_string(crate::pim::root().join("tests/reference/pim-gpt/reports.csv")).unwrap();
    csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap()
}

/// What is not as it was, of the reports of some models.
fn changed(golden: &[&Golden]) -> String {
    let one = |g: &&Golden| {
        let file = crate::pim::root().join(format!("configs/pim-gpt/{}.toml", g.model)).display().to_string();
        let text = succeeds(&["run", &file, "--format", "json"]);
        let mut hash = String::new();
        Sha256::digest(text.as_bytes()).iter().for_each(|b| write!(hash, "{b:02x}").unwrap());
        if hash == g.report_sha256 {
            return None;
        }
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        let (latency, energy) = (&report["latency_s"], &report["energy_j"]);
        let (was_latency, was_energy) = (g.latency_s, g.energy_j);
        Some(format!("{}: {latency} s, was {was_latency}; {energy} J, was {was_energy}\n", g.model))
    };
    golden.par_iter().filter_map(one).collect()
}

#[test]
fn reports_are_what_they_were() {
    let all = list();
    assert_eq!(all.iter().map(|g| g.model.as_str()).collect::<Vec<_>>(), crate::pim::MODELS);
    let long = std::env::var_os("BANKSIA_LONG").is_some_and(|v| v == "1");
    let chosen: Vec<&Golden> = all.iter().filter(|g| long || ALWAYS.contains(&g.model.as_str())).collect();
    let changed = changed(&chosen);
    assert!(changed.is_empty(), "reports have changed, in their figures or in what they say:\n{changed}");
}
