//! Mutated and invented configurations: every one is either run or refused with a message; none panics, and none is shown a
//! result that breaks the report's laws.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::common::{EXPERIMENT, Folder, ODD_MODEL};
use banksia_experiments::experiment::Experiment;
use banksia_experiments::sweep::Sweep;
use banksia_hw::system::RunOptions;
use banksia_input::{InputError, Source};
use proptest::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One change to a text.
#[derive(Debug, Clone)]
enum Mutation {
    Delete(usize),
    Duplicate(usize),
    Swap(usize, usize),
    /// The value of a line becomes another.
    Value(usize, &'static str),
    /// The value of a line becomes that of another line.
    Exchange(usize, usize),
    Truncate(usize),
    Insert(usize, &'static str),
}

const VALUES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "7",
    "127",
    "128",
    "129",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1e18",
    "1e308",
    "-1e308",
    "1e-308",
    "0.5",
    "nan",
    "-nan",
    "inf",
    "-inf",
    "true",
    "\"\"",
    "\"pim-gpt\"",
    "\"gddr6\"",
    "\"é日本語\u{1F980}\"",
    "\"nRP\"",
    "\"nRP * 1000000000\"",
    "\"-nRP\"",
    "\"1/0\"",
    "[]",
    "{}",
    "[[]]",
    "{ a = 1 }",
    "1979-05-27",
    "'''\n'''",
    "",
    "=",
    "\"\\u0000\"",
    "0x7fffffff",
    "1_000",
];

const TEXTS: &[&str] = &[
    "\u{feff}",
    "é",
    "日本語",
    "\u{1F980}",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    "#",
    "\0",
    "\r\n",
    "\t",
    "[machine]\n",
    "[[command]]\n",
    "x = 1\n",
    "a.b.c = 2\n",
    "= 3\n",
    "\u{202e}",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = || any::<prop::sample::Index>().prop_map(|i| i.index(1 << 20));
    prop_oneof![
        2 => at().prop_map(Mutation::Delete),
        1 => at().prop_map(Mutation::Duplicate),
        1 => (at(), at()).prop_map(|(a, b)| Mutation::Swap(a, b)),
        6 => (at(), prop::sample::select(VALUES)).prop_map(|(a, v)| Mutation::Value(a, v)),
        2 => (at(), at()).prop_map(|(a, b)| Mutation::Exchange(a, b)),
        1 => at().prop_map(Mutation::Truncate),
        1 => (at(), prop::sample::select(TEXTS)).prop_map(|(a, t)| Mutation::Insert(a, t)),
    ]
}

fn boundary(text: &str, at: usize) -> usize {
    let mut at = at % (text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut text = text.to_owned();
    for mutation in mutations {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let n = lines.len().max(1);
        if lines.is_empty() {
            lines.push(String::new());
        }
        let value_of = |line: &str| line.split_once('=').map(|(_, v)| v.trim().to_owned());
        match mutation {
            Mutation::Delete(i) => drop(lines.remove(i % n)),
            Mutation::Duplicate(i) => lines.insert(i % n, lines[i % n].clone()),
            Mutation::Swap(i, j) => lines.swap(i % n, j % n),
            Mutation::Value(i, value) => {
                // The next line that has a value: most lines of a device table are prose.
                if let Some(line) = (0..n).map(|k| (i + k) % n).find(|k| lines[*k].contains('=')) {
                    let key = lines[line].split('=').next().unwrap().to_owned();
                    lines[line] = format!("{key}= {value}");
                }
            }
            Mutation::Exchange(i, j) => {
                if let (Some(_), Some(value)) = (value_of(&lines[i % n]), value_of(&lines[j % n])) {
                    let key = lines[i % n].split('=').next().unwrap().to_owned();
                    lines[i % n] = format!("{key}= {value}");
                }
            }
            Mutation::Truncate(at) => {
                text.truncate(boundary(&text, *at));
                continue;
            }
            Mutation::Insert(at, what) => {
                text.insert_str(boundary(&text, *at), what);
                continue;
            }
        }
        text = lines.join("\n") + "\n";
    }
    text
}

/// An experiment on three channels, of a model that nothing divides evenly, so that every run takes milliseconds.
fn small() -> String {
    EXPERIMENT
        .replace("base = \"pim-gpt\"", "base = \"pim-gpt\"\nmemory.channels = 3")
        .replace("\"gpt2-small\"", ODD_MODEL)
}

/// What every configuration owes: an error with a message, or, where the run is small, a report that keeps its laws.
fn judged(what: &str, result: std::thread::Result<Result<Experiment, InputError>>) -> Result<(), TestCaseError> {
    let read = result.map_err(|_| TestCaseError::fail(format!("reading panicked:\n{what}")))?;
    let experiment = match read {
        Err(error) => {
            prop_assert!(!error.problem.trim().is_empty() && !error.file.is_empty(), "{error:?}\n{what}");
            return Ok(());
        }
        Ok(experiment) => experiment,
    };
    let parameters = experiment.model.parameters();
    if experiment.generation.last_context() > 3 || parameters > 20_000_000 || experiment.model.layers() > 4 {
        return Ok(());
    }
    let run = || {
        banksia_experiments::run::run(
            &experiment,
            RunOptions { timeline_step: Some(0), ..RunOptions::default() },
            &mut |_| {},
        )
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Err(_) => prop_assert!(false, "running panicked:\n{what}"),
        Ok(Ok((report, _))) => prop_assert_eq!(report.check(), Ok(()), "{}", what),
        Ok(Err(error)) => {
            let text = error.to_string();
            prop_assert!(!text.contains("contradicts itself") && !text.is_empty(), "{}\n{}", text, what);
        }
    }
    Ok(())
}

fn embedded(name: &str) -> String {
    match name {
        "machine" => banksia_hw::machines::open("pim-gpt", None).unwrap().text().to_owned(),
        _ => banksia_hw::dram::catalog::open("gddr6-pim-gpt", None).unwrap().text().to_owned(),
    }
}

/// Cases of each kind: 60, or as many as the variable `PROPTEST_CASES` says.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn mutated_experiments(mutations in prop::collection::vec(mutation(), 1..4)) {
        let text = mutate(&small(), &mutations);
        let source = Source::from_text("fuzz.toml", text.as_str());
        judged(&text, catch_unwind(AssertUnwindSafe(|| Experiment::new(&source, None))))?;
    }

    #[test]
    fn mutated_device_overrides(mutations in prop::collection::vec(mutation(), 1..3)) {
        let overrides = "\n[device.organization]\nrows = 16384\ncolumns = 64\naccess_bytes = 32\ndata_pins = 16\n\
            pin_gbps = 16.0\ncount.bank = 4\n[device.timing_ns]\ntRP = 12.0\ntREFI = 6825.0\ntRFCab = 455.0\ntFAW = 16.5\n\
            [device.timing_cycles]\nnMAC = 6\n[device.currents_ma]\nIDD0 = 122.0\n[device.parameters]\n\
            global_buffer_bytes = 2048\n[device.refresh]\ncommand = \"REFab\"\ninterval = \"nREFI\"\n";
        let text = mutate(&(small() + overrides), &mutations);
        let source = Source::from_text("fuzz.toml", text.as_str());
        judged(&text, catch_unwind(AssertUnwindSafe(|| Experiment::new(&source, None))))?;
    }

    #[test]
    fn mutated_device_and_machine_files(of in prop::sample::select(vec!["machine", "device"]), mutations in prop::collection::vec(mutation(), 1..3)) {
        let folder = Folder::new("fuzz-files");
        let text = mutate(&embedded(of), &mutations);
        let key = if of == "machine" { "base = \"part.toml\"" } else { "base = \"pim-gpt\"\nmemory.device = \"part.toml\"" };
        folder.write("part.toml", &text);
        let path = folder.write("exp.toml", small().replace("base = \"pim-gpt\"", key));
        let read = || Experiment::read::<&str>(std::path::Path::new(&path), &[]);
        judged(&text, catch_unwind(AssertUnwindSafe(read)))?;
    }

    #[test]
    fn mutated_sweeps(mutations in prop::collection::vec(mutation(), 1..4)) {
        let folder = Folder::new("fuzz-sweeps");
        folder.write("exp.toml", small());
        let sweep = "name = \"s\"\nexperiments = [\"exp.toml\"]\nset = [\"seed=3\"]\n\n[[vary]]\nkey = \"machine.memory.channels\"\n\
            values = [1, 2]\n\n[[point]]\nname = \"p\"\nset = [\"machine.memory.refresh=false\"]\n";
        let text = mutate(sweep, &mutations);
        let path = folder.write("s.toml", &text);
        let read = catch_unwind(AssertUnwindSafe(|| Sweep::read(std::path::Path::new(&path), &[])));
        match read {
            Err(_) => prop_assert!(false, "reading panicked:\n{text}"),
            Ok(Err(error)) => prop_assert!(!error.problem.trim().is_empty(), "{error:?}\n{text}"),
            Ok(Ok(_)) => {}
        }
    }

    #[test]
    fn invented_settings(settings in prop::collection::vec((path(), prop::sample::select(VALUES)), 1..4)) {
        let source = Source::from_text("fuzz.toml", small());
        let settings: Vec<String> = settings.into_iter().map(|(path, value)| format!("{path}={value}")).collect();
        let what = settings.join("\n");
        let read = || {
            let set = source.with_settings(&settings)?;
            // What settings write is TOML again, whatever they go through.
            set.parse::<toml::Table>().map_err(|e| InputError::new("", format!("{e}\n{}", set.text())))?;
            Experiment::new(&set, None)
        };
        let result = catch_unwind(AssertUnwindSafe(read));
        if let Ok(Err(error)) = &result {
            prop_assert!(!error.file.is_empty(), "not TOML any more: {error}\n{what}");
        }
        judged(&what, result)?;
    }
}

/// Paths of keys that exist, of keys that do not, and of ones that go through values.
fn path() -> impl Strategy<Value = String> {
    const PATHS: &[&str] = &[
        "name",
        "seed",
        "machine",
        "machine.base",
        "machine.memory.channels",
        "machine.memory.refresh",
        "machine.memory.device",
        "machine.link.latency_ns",
        "machine.vector_unit.clock_mhz",
        "machine.vector_unit.adders",
        "machine.vector_unit.multipliers",
        "machine.vector_unit.add_latency_cycles",
        "machine.vector_unit.sram_bytes",
        "machine.vector_unit.sram_read_bytes_per_cycle",
        "machine.vector_unit.active_mw",
        "machine.vector_unit.idle_mw",
        "machine.vector_unit.series.exp_terms",
        "device.organization.rows",
        "device.organization.columns",
        "device.organization.access_bytes",
        "device.organization.data_pins",
        "device.organization.pin_gbps",
        "device.organization.devices",
        "device.organization.count.bank",
        "device.organization.count.bankgroup",
        "device.organization.standby_level",
        "device.clock_ps",
        "device.timing_ns.tREFI",
        "device.timing_ns.tRFCab",
        "device.timing_ns.tFAW",
        "device.timing_ns.tCL",
        "device.timing_cycles.nMAC",
        "device.timing_cycles.nREFI",
        "device.timing_expressions.nBL",
        "device.timing_expressions.nRC",
        "device.currents_ma.IDD4R",
        "device.parameters.global_buffer_bytes",
        "device.parameters.bank_share",
        "device.energy.vdd_v",
        "device.base",
        "device.refresh.interval",
        "device.refresh",
        "device.command",
        "device.constraints",
        "workload.model",
        "workload.model.layers",
        "workload.model.width",
        "workload.model.heads",
        "workload.model.kv_heads",
        "workload.model.head_dim",
        "workload.model.ffn_width",
        "workload.model.vocab",
        "workload.model.dtype",
        "workload.model.max_positions",
        "workload.model.positions",
        "workload.model.gated",
        "workload.model.norm",
        "workload.generation",
        "workload.generation.context_tokens",
        "workload.generation.prompt_tokens",
        "workload.generation.generated_tokens",
        "workload.generation.batch",
        "workload.generation.lm_head",
        "workload.generation.ignore_position_limit",
        "mapping.lm_head",
        "mapping.embedding",
        "mapping.strategy",
        "mapping",
    ];
    prop_oneof![
        8 => prop::sample::select(PATHS).prop_map(str::to_owned),
        1 => prop::sample::select(PATHS).prop_map(|p| format!("{p}.x.y")),
        1 => "[a-z.\\[\\]\"é =]{0,12}",
    ]
}
