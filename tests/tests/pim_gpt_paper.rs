//! PIM-GPT's result beside the paper's, the H200's measured decode steps and plain rooflines. The relations are asserted, and
//! every table of docs/experiments/pim-gpt.md is made here: `BANKSIA_UPDATE_DOCS=1` writes them, otherwise a stale one fails.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::sync::OnceLock;

use crate::pim::{MODELS, bank_bytes_per_s, experiment, gpt3_xl_24x64, root, step, weight_and_kv_bytes, whole};
use banksia_experiments::experiment::Experiment;
use banksia_experiments::versus::{Versus, versus};
use banksia_hw::roofline::Roofline;
use banksia_reports::RunReport;
use banksia_workloads::Step;
use rayon::prelude::*;

const SLOW_ASIC: &str = "machine.vector_unit.clock_mhz=100";
const SLOW_PINS: &str = "device.organization.pin_gbps=2";

struct Run {
    experiment: Experiment,
    report: RunReport,
}

struct Runs {
    /// The eight models, as they are.
    models: Vec<Run>,
    /// GPT-3 XL with the ASIC at 100 MHz, and with pins at 2 Gb/s.
    slow_asic: Run,
    slow_pins: Run,
}

/// Every whole run, once for all tests, on all cores.
fn runs() -> &'static Runs {
    static RUNS: OnceLock<Runs> = OnceLock::new();
    RUNS.get_or_init(|| {
        let xl = "gpt3-xl";
        let mut jobs: Vec<(&str, Vec<&str>)> = vec![(xl, vec![SLOW_ASIC]), (xl, vec![SLOW_PINS])];
        // The longest first, so that no core is left alone with one at the end.
        jobs.extend(MODELS.iter().rev().map(|m| (*m, Vec::new())));
        let mut done: Vec<Run> = jobs
            .par_iter()
            .with_max_len(1)
            .map(|(model, settings)| {
                let experiment = experiment(model, settings);
                let report = whole(&experiment).0;
                Run { experiment, report }
            })
            .collect();
        let models = done.drain(2..).rev().collect();
        let slow_pins = done.pop().unwrap();
        let slow_asic = done.pop().unwrap();
        Runs { models, slow_asic, slow_pins }
    })
}

impl Run {
    fn token_s(&self) -> f64 {
        self.report.latency_s / 1024.0
    }

    /// Time that the weights and the KV cache of all tokens take at the banks' rate, over the time taken.
    fn share_of_bound(&self) -> f64 {
        let bytes: u64 = (1..=1024).map(|c| weight_and_kv_bytes(&self.experiment.model, c, true)).sum();
        bytes as f64 / bank_bytes_per_s(8) / self.report.latency_s
    }

    fn operator_s(&self, name: &str) -> f64 {
        self.report.operators.iter().filter(|o| o.name == name).map(|o| o.latency_s).sum()
    }

    /// Operators of the graph of one token: what an eager framework launches at the least.
    fn operators_per_token(&self) -> usize {
        let step = Step::decode(1, 512);
        self.experiment.model.step_graph(&step, self.experiment.mapped_generation()).operators().count()
    }

    fn beside(&self, device: &str) -> Versus {
        versus(&self.experiment, &self.report, &[device.to_owned()]).unwrap().remove(0)
    }
}

fn xl() -> &'static Run {
    &runs().models[7]
}

/// One row of `gpt_decode.csv`.
struct Measured {
    model: String,
    context: u64,
    latency_s: f64,
    energy_j: f64,
}

fn h200() -> Vec<Measured> {
    let mut reader = csv::Reader::from_path(root().join("tests/reference/h200/gpt_decode.csv")).unwrap();
    let mut rows: Vec<Measured> = reader
        .records()
        .map(|r| {
            let r = r.unwrap();
            let args: serde_json::Value = serde_json::from_str(&r[1]).unwrap();
            assert_eq!((&r[0], args["b"].as_u64()), ("gpt_decode", Some(1)));
            Measured {
                model: args["model"].as_str().unwrap().replace('_', "-"),
                context: args["kv"].as_u64().unwrap(),
                latency_s: r[2].parse::<f64>().unwrap() * 1e-6,
                energy_j: r[7].parse().unwrap(),
            }
        })
        .collect();
    rows.sort_by_key(|m| (MODELS.iter().position(|name| *name == m.model), m.context));
    assert!(rows.len() > 8 && rows.iter().all(|m| MODELS.contains(&m.model.as_str())));
    rows
}

/// The paper's range of a quantity: `low, high`.
fn reported(quantity: &str, version: &str) -> (f64, f64) {
    let mut reader = csv::Reader::from_path(root().join("tests/reference/pim-gpt/reported.csv")).unwrap();
    let row = reader.records().map(Result::unwrap).find(|r| &r[0] == quantity && &r[4] == version);
    let row = row.unwrap_or_else(|| panic!("no row for {quantity}"));
    (row[1].parse().unwrap(), row[2].parse().unwrap())
}

// ---------------------------------------------------------------------------------------------------------------------
// Relations

#[test]
fn row_hits_are_about_98_percent() {
    for run in &runs().models {
        let rate = run.report.metrics["row_hit_rate"];
        assert!((0.97..0.995).contains(&rate), "{}: {rate}", run.report.name);
    }
}

#[test]
fn larger_models_are_nearer_to_the_bound_and_gain_less() {
    let shares: Vec<f64> = runs().models.iter().map(Run::share_of_bound).collect();
    assert!(shares.iter().all(|s| (0.4..1.0).contains(s)), "{shares:?}");
    for family in [0..4, 4..8] {
        let of = &shares[family];
        assert!(of[3] > of[0] + 0.05 && of.windows(2).all(|s| s[1] > s[0] - 0.02), "{of:?}");
    }
    // Over a device that loses a constant time to each operator, as eager frameworks do, larger models gain less; over a
    // plain roofline they gain more, since the roofline has no overhead for them to outgrow.
    let with_launches = |run: &Run| {
        let launches = run.operators_per_token() as f64 * 10e-6;
        (run.beside("t4").roofline_s / 1024.0 + launches) / run.token_s()
    };
    for family in [0..4, 4..8] {
        let of = &runs().models[family];
        assert!(with_launches(&of[0]) > with_launches(&of[3]));
        assert!(of[0].beside("t4").speedup < of[3].beside("t4").speedup);
    }
}

#[test]
fn token_time_grows_with_the_context() {
    for run in &runs().models {
        let steps = &run.report.steps;
        let mean = |range: std::ops::Range<usize>| {
            let n = range.len() as f64;
            steps[range].iter().map(|s| s.latency_s).sum::<f64>() / n
        };
        let growth = mean(960..1024) / mean(0..64);
        // By the bytes alone: K and V of 960 more tokens, beside the weights.
        let bytes = |context| weight_and_kv_bytes(&run.experiment.model, context, true) as f64;
        let by_bytes = bytes(992) / bytes(32);
        assert!(growth > 1.0 + 0.7 * (by_bytes - 1.0), "{}: {growth}, by bytes {by_bytes}", run.report.name);
        assert!(growth < 1.0 + 4.0 * (by_bytes - 1.0), "{}: {growth}, by bytes {by_bytes}", run.report.name);
    }
}

#[test]
fn slow_parts_cost_what_they_are_used_for() {
    let whole = xl().report.latency_s;
    let asic = runs().slow_asic.report.latency_s / whole;
    let pins = runs().slow_pins.report.latency_s / whole;
    // At a tenth of its clock the ASIC takes nine times its busy time longer, less what overlaps with the banks.
    let busy = xl().report.components.iter().find(|c| c.name == "ASIC").unwrap().utilization;
    assert!((1.0 + 3.0 * busy..=1.0 + 9.0 * busy).contains(&asic), "{asic}, {busy} busy");
    // At an eighth of the rate every column on the pins takes 7 ns longer, and none overlaps with a MAC of its channel.
    let columns = ["WRGB", "RDMAC16", "WR", "RD"].map(|c| xl().report.commands[c]).iter().sum::<u64>() as f64 / 8.0;
    let longest = 1.0 + 1.25 * 7e-9 * columns / whole;
    assert!((1.05..longest).contains(&pins), "{pins}, at most {longest}");
}

#[test]
fn the_h200_is_slower_than_the_banks_and_faster_than_eager_launches() {
    let h200_roofline = Roofline::load("h200").unwrap();
    for row in h200() {
        let experiment = experiment(&row.model, &[]);
        let ours = step(&experiment, row.context).0;
        let bytes = weight_and_kv_bytes(&experiment.model, row.context, true) as f64;
        assert!(row.latency_s > h200_roofline.seconds(0.0, bytes), "{} beats its own bandwidth", row.model);
        let ratio = row.latency_s / ours.latency_s;
        assert!((1.0..10.0).contains(&ratio), "{} at {}: {ratio}", row.model, row.context);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The document

fn table(header: &str, rows: &[String]) -> String {
    let columns = header.matches('|').count() - 1;
    format!("{header}\n|---|{}\n{}\n", "--:|".repeat(columns - 1), rows.join("\n"))
}

fn models_table() -> String {
    let rows: Vec<String> = runs()
        .models
        .iter()
        .map(|run| {
            let r = &run.report;
            format!(
                "| {} | {:.0} M | {:.1} µs | {:.0} | {:.3} mJ | {:.2} W | {:.2} % | {:.2} % | {:.1} % |",
                r.workload.model,
                r.workload.parameters as f64 / 1e6,
                run.token_s() * 1e6,
                r.tokens_per_s.unwrap(),
                r.energy_j / 1.024,
                r.power_w,
                r.metrics["row_hit_rate"] * 100.0,
                r.metrics["mac_utilization"] * 100.0,
                run.share_of_bound() * 100.0
            )
        })
        .collect();
    table(
        "| model | parameters | latency/token | tokens/s | energy/token | power | row hits | MAC utilization | of the bandwidth bound |",
        &rows,
    )
}

/// GPT-3 XL at a context of 512, with one cause of loss after the other taken away.
fn gap_table() -> String {
    let bound = weight_and_kv_bytes(&xl().experiment.model, 512, true) as f64 / bank_bytes_per_s(8);
    let rows_free = ["tRCDRD", "tRP", "tRAS", "tRTP"].map(|t| format!("device.timing_ns.{t}=1"));
    let mut settings: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    let mut before = None;
    let mut add = |what: &str, settings: &[&str]| {
        let time = step(&experiment("gpt3-xl", settings), 512).0.latency_s;
        let cost = before.map_or(String::new(), |b: f64| format!("{:.1} µs", (b - time) * 1e6));
        rows.push(format!("| {what} | {:.1} µs | {cost} | {:.1} % |", time * 1e6, bound / time * 100.0));
        before = Some(time);
    };
    add("as configured", &settings);
    settings.push("machine.memory.refresh=false");
    add("without refresh", &settings);
    settings.extend(rows_free.iter().map(String::as_str));
    add("and rows open and close in 1 ns each", &settings);
    settings.push("machine.vector_unit.clock_mhz=100000");
    add("and an ASIC at 100 GHz", &settings);
    settings.push("machine.link.latency_ns=0");
    add("and no link latency", &settings);
    settings.push("device.timing_cycles.nMAC=1");
    add("and sums ready after 1 cycle", &settings);
    rows.push(format!("| bound: weights and KV cache at 4.096 TB/s | {:.1} µs | | 100.0 % |", bound * 1e6));
    table("| GPT-3 XL, one token at a context of 512 | time | less by | of the bound |", &rows)
}

fn operators_table() -> String {
    let (small, xl) = (&runs().models[0], xl());
    let (asic, pins) = (&runs().slow_asic, &runs().slow_pins);
    let mut rows = Vec::new();
    for o in &xl.report.operators {
        let share = |run: &Run| run.operator_s(&o.name) / run.report.latency_s * 100.0;
        let more = |run: &Run| (run.operator_s(&o.name) - o.latency_s) * 1e3;
        rows.push(format!(
            "| {} | {:.2} % | {:.2} % | {:.1} ms | {:+.1} ms | {:+.1} ms |",
            o.name,
            share(small),
            share(xl),
            o.latency_s * 1e3,
            more(asic),
            more(pins)
        ));
    }
    let total = |run: &Run| (run.report.latency_s / xl.report.latency_s - 1.0) * 100.0;
    rows.push(format!(
        "| all | 100 % | 100 % | {:.1} ms | {:+.1} % | {:+.1} % |",
        xl.report.latency_s * 1e3,
        total(asic),
        total(pins)
    ));
    table(
        "| operator | share, GPT-2 small | share, GPT-3 XL | GPT-3 XL, 1024 tokens | ASIC at 100 MHz | pins at 2 Gb/s |",
        &rows,
    )
}

fn sensitivity_table() -> String {
    let settings = [
        ("ASIC at 500 MHz", "machine.vector_unit.clock_mhz=500"),
        ("ASIC at 200 MHz", "machine.vector_unit.clock_mhz=200"),
        ("ASIC at 100 MHz", SLOW_ASIC),
        ("pins at 8 Gb/s", "device.organization.pin_gbps=8"),
        ("pins at 4 Gb/s", "device.organization.pin_gbps=4"),
        ("pins at 2 Gb/s", SLOW_PINS),
        ("16 channels", "machine.memory.channels=16"),
        ("no refresh", "machine.memory.refresh=false"),
        ("vocabulary projection on the host", "mapping.lm_head=\"host\""),
    ];
    let models = ["gpt2-small", "gpt2-medium", "gpt2-large", "gpt2-xl", "gpt3-large", "gpt3-xl"];
    let base = models.map(|model| step(&experiment(model, &[]), 512).0.latency_s);
    let rows: Vec<String> = settings
        .par_iter()
        .map(|(name, setting)| {
            let mut row = format!("| {name} |");
            for (model, base) in models.iter().zip(base) {
                let time = step(&experiment(model, &[setting]), 512).0.latency_s;
                write!(row, " {:.3} |", time / base).unwrap();
            }
            row
        })
        .collect();
    table(&format!("| time of a token at a context of 512 | {} |", models.join(" | ")), &rows)
}

fn context_table() -> String {
    let contexts = [1, 128, 256, 384, 512, 640, 768, 896, 1024];
    let rows: Vec<String> = [0, 3, 7]
        .into_iter()
        .map(|i| {
            let run = &runs().models[i];
            let mut row = format!("| {} |", run.report.workload.model);
            for context in contexts {
                write!(row, " {:.1} |", run.report.steps[context - 1].latency_s * 1e6).unwrap();
            }
            row
        })
        .collect();
    let names: Vec<String> = contexts.iter().map(ToString::to_string).collect();
    table(&format!("| µs a token, at a context of | {} |", names.join(" | ")), &rows)
}

fn rooflines_table() -> String {
    let rows: Vec<String> = runs()
        .models
        .iter()
        .map(|run| {
            let (t4, xeon) = (run.beside("t4"), run.beside("xeon-gold-6154"));
            format!(
                "| {} | {:.2} ms | {:.2} | {:.1} | {:.2} ms | {:.1} | {:.0} |",
                run.report.workload.model,
                t4.roofline_s / 1.024,
                t4.speedup,
                t4.energy_ratio,
                xeon.roofline_s / 1.024,
                xeon.speedup,
                xeon.energy_ratio
            )
        })
        .collect();
    table("| model | T4 roofline/token | speed | energy | Xeon 6154 roofline/token | speed | energy |", &rows)
}

/// What the paper's baselines must have taken for its ratios to hold over our times.
fn implied_table() -> String {
    let mut rows = Vec::new();
    for (device, name) in [("t4", "T4"), ("xeon-gold-6154", "Xeon Gold 6154")] {
        let (low, high) = reported(&format!("speed over {name}"), "both");
        for (run, ratio) in [(&runs().models[0], high), (xl(), low)] {
            let roofline = run.beside(device).roofline_s / 1024.0;
            let implied = run.token_s() * ratio;
            let operators = run.operators_per_token();
            rows.push(format!(
                "| {name} | {} | {ratio:.0} | {:.1} ms | {:.2} ms | {:.0} | {operators} | {:.0} µs |",
                run.report.workload.model,
                implied * 1e3,
                roofline * 1e3,
                implied / roofline,
                (implied - roofline) / operators as f64 * 1e6
            ));
        }
    }
    table(
        "| baseline | model | paper's ratio | implied time/token | roofline | implied / roofline | operators/token | excess per operator |",
        &rows,
    )
}

fn h200_table() -> String {
    let roofline = Roofline::load("h200").unwrap();
    let mut rows = Vec::new();
    for row in h200() {
        let run = runs().models.iter().find(|r| r.report.workload.model == row.model).unwrap();
        let ours = step(&run.experiment, row.context).0;
        let bound = roofline.seconds(0.0, weight_and_kv_bytes(&run.experiment.model, row.context, true) as f64);
        rows.push(format!(
            "| {} | {} | {:.1} µs | {:.0} µs | {:.2} µs | {:.1} µs | {:.2} | {:.1} mJ | {:.2} mJ | {:.0} |",
            row.model,
            row.context,
            row.latency_s * 1e6,
            bound * 1e6,
            (row.latency_s - bound) / run.operators_per_token() as f64 * 1e6,
            ours.latency_s * 1e6,
            row.latency_s / ours.latency_s,
            row.energy_j * 1e3,
            ours.energy_j * 1e3,
            row.energy_j / ours.energy_j
        ));
    }
    let variant = gpt3_xl_24x64();
    for context in [128, 1024] {
        let ours = step(&variant, context).0;
        let bound = roofline.seconds(0.0, weight_and_kv_bytes_24x64(context));
        rows.push(format!(
            "| gpt3-xl, 24 x 64 | {context} | not in this set | {:.0} µs | | {:.1} µs | | | {:.2} mJ | |",
            bound * 1e6,
            ours.latency_s * 1e6,
            ours.energy_j * 1e3
        ));
    }
    table(
        "| model | context | H200 | H200 bandwidth bound | excess per operator | PIM-GPT here | speed | H200 energy | PIM-GPT energy | energy |",
        &rows,
    )
}

fn weight_and_kv_bytes_24x64(context: u64) -> f64 {
    weight_and_kv_bytes(&gpt3_xl_24x64().model, context, true) as f64
}

#[test]
fn the_document_is_up_to_date() {
    let path = root().join("docs/experiments/pim-gpt.md");
    let mut text = std::fs::read_to_string(&path).unwrap();
    #[allow(clippy::type_complexity)]
    let blocks: [(&str, fn() -> String); 8] = [
        ("models", models_table),
        ("gap", gap_table),
        ("operators", operators_table),
        ("sensitivity", sensitivity_table),
        ("context", context_table),
        ("rooflines", rooflines_table),
        ("implied", implied_table),
        ("h200", h200_table),
    ];
    let update = std::env::var_os("BANKSIA_UPDATE_DOCS").is_some();
    let mut stale = Vec::new();
    for (name, make) in blocks {
        let begin = format!("<!-- {name}: generated -->\n");
        let from = text.find(&begin).unwrap_or_else(|| panic!("no {begin}")) + begin.len();
        let to = from + text[from..].find("<!-- end -->").unwrap();
        let made = make();
        if text[from..to] != made {
            stale.push(name);
            text.replace_range(from..to, &made);
        }
    }
    if update {
        std::fs::write(&path, text).unwrap();
    } else {
        assert!(stale.is_empty(), "{stale:?} are stale: run this test with BANKSIA_UPDATE_DOCS=1");
    }
}
