//! `banksia memory --trace` with the traces of other tools: the options that say what a trace is.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use banksia::args::{Cli, Command};
use clap::Parser;

fn output(words: &str) -> Result<String, (u8, String)> {
    let cli = Cli::try_parse_from(words.split(' ')).map_err(|e| (2, e.to_string()))?;
    let Command::Memory(args) = &cli.command else { panic!("{words}") };
    banksia::memory::output(args).map_err(|e| (e.exit_code(), e.to_string()))
}

#[test]
fn formats_are_recognised_or_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/dram/traces/other");
    let run = |name: &str, more: &str| {
        let trace = folder.join(name).display().to_string();
        output(&format!("banksia memory --device ddr4-2400r --format json --trace {trace}{more}"))
    };
    let timed = run("banksia-timed.txt", "").unwrap();
    for (name, more) in [
        ("dramsim3.trc", ""),
        ("dramsim3.trc", " --trace-format dramsim3"),
        ("dramsys.stl", " --trace-clock-ps 833"),
        ("gem5.trc.gz", " --trace-format gem5"),
        ("gem5.txt", ""),
    ] {
        assert_eq!(run(name, more).unwrap(), timed, "{name}{more}");
    }
    for (name, more, expected) in [
        ("dramsim3.trc", " --trace-format dramsim", "did you mean `dramsim3`"),
        ("dramsim3.trc", " --trace-format banksia", "dramsim3.trc:1: has the cycle `0x40`"),
        ("dramsim3.trc", " --trace-clock-ps 0", "`--trace-clock-ps` is 0: must be from 0.001"),
        ("dramsim3.trc", " --trace-clock-ps NaN", "must be from 0.001"),
        ("ramulator.trace", " --trace-clock-ps 833", "a trace of format `ramulator` has no times"),
        ("banksia.txt", " --trace-clock-ps 833", "is for traces of other tools"),
    ] {
        let (code, error) = run(name, more).unwrap_err();
        assert!(code == 2 && error.contains(expected), "{name}{more}: {error}");
    }
    assert!(output("banksia memory --device ddr4-2400r --generate random --trace-format gem5").is_err());
}
