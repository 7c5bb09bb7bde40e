//! The files of `banksia memory` and `banksia pim`: what is refused before anything is simulated, what is written whole or not at
//! all, and what the reports say where there is nothing to say.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use banksia::CliError;
use banksia::args::{Cli, Command};
use clap::Parser;

/// A folder of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("banksia-memory-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).unwrap();
        self.path(name)
    }
    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What is printed, or the exit code and the error.
fn output(words: &str) -> Result<String, (u8, String)> {
    let cli = Cli::try_parse_from(words.split(' ')).unwrap();
    let result = match &cli.command {
        Command::Memory(args) => banksia::memory::output(args),
        Command::Pim(args) => banksia::pim::output(args),
        other => panic!("{other:?}"),
    };
    result.map_err(|e: CliError| (e.exit_code(), e.to_string()))
}

fn json(words: &str) -> serde_json::Value {
    serde_json::from_str(&output(&format!("{words} --format json")).unwrap()).unwrap()
}

const DDR4: &str = "banksia memory --device ddr4-2400r";

/// Requests 50 cycles apart: the last of a thousand and one comes at cycle 50,000, and is done some 40 cycles later.
#[test]
fn intervals_and_seconds_are_what_they_say() {
    let r = json(&format!("{DDR4} --generate random --requests 1001 --interval 50 --refresh off"));
    let cycles = r["cycles"].as_f64().unwrap();
    assert!((50_000.0..50_100.0).contains(&cycles), "{cycles}");
    let close = |key: &str, expected: f64| {
        let got = r[key].as_f64().unwrap();
        assert!((got - expected).abs() <= 1e-9 * expected, "{key}: {got} is not {expected}");
    };
    close("clock_ps", 833.0);
    close("latency_s", cycles * 0.833e-9);
    close("read_latency_avg_ns", r["read_latency_avg_cycles"].as_f64().unwrap() * 0.833);
    close("bandwidth_bytes_per_s", 1001.0 * 64.0 / (cycles * 0.833e-9));
    let r = json(&format!("{DDR4} --generate mix --requests 30000"));
    assert!((r["writes"].as_f64().unwrap() / 30_000.0 - 1.0 / 3.0).abs() < 0.01);
}

#[test]
fn writes_alone_have_no_read_latency() {
    let folder = Folder::new("writes");
    let words = format!("{DDR4} --generate random --write-share 1 --requests 500");
    let r = json(&words);
    for key in ["avg_cycles", "max_cycles", "avg_ns"] {
        assert!(r[format!("read_latency_{key}")].is_null(), "{key}");
    }
    assert!(output(&words).unwrap().contains("none: no reads"));
    let curve = folder.path("curve.csv");
    let text = output(&format!("{words} --curve {curve}")).unwrap();
    assert!(text.lines().skip(1).all(|line| line.ends_with(',')), "{text}");
    assert_eq!(std::fs::read_to_string(&curve).unwrap(), text);
    assert_eq!(folder.names(), ["curve.csv"]);
}

/// A file that is read is never written, and no two outputs are one file; found before anything is touched.
#[test]
fn files_are_kept_apart() {
    let folder = Folder::new("apart");
    let trace = folder.write("t.txt", "R 0\nW 5\n");
    let device = folder.write("d.toml", "name = \"d\"\nsource = \"a test of files\"\nbase = \"ddr4-2400r\"\n");
    let controller = folder.write("c.toml", "page = \"closed\"\n");
    let (new, again) = (folder.path("new.csv"), folder.0.join(".").join("new.csv").display().to_string());
    let link = folder.path("link.csv");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&trace, &link).unwrap();
    let before = folder.names();
    for (words, key) in [
        (format!("{DDR4} --trace {trace} --commands {trace}"), "--commands"),
        (format!("{DDR4} --trace {trace} --completions {trace}"), "--completions"),
        (format!("{DDR4} --trace {trace} --commands {new} --completions {again}"), "--completions"),
        (format!("banksia memory --device {device} --trace {trace} --commands {device}"), "--commands"),
        (format!("{DDR4} --trace {trace} --controller {controller} --commands {controller}"), "--commands"),
        (format!("{DDR4} --controller {controller} --generate stream --curve {controller}"), "--curve"),
        (format!("{DDR4} --trace {trace} --commands {link}"), "--commands"),
    ] {
        if cfg!(not(unix)) && words.contains("link.csv") {
            continue;
        }
        let (code, error) = output(&words).unwrap_err();
        assert!(code == 2 && error.contains(key) && error.contains("another name"), "{words}: {code} {error}");
    }
    assert_eq!(folder.names(), before);
    assert_eq!(std::fs::read_to_string(&trace).unwrap(), "R 0\nW 5\n");
}

/// Where nothing can be written, that is said before a run of a billion requests, and not after it.
#[test]
fn what_cannot_be_written_is_found_first() {
    let folder = Folder::new("first");
    let long = "--generate random --requests 1000000000000";
    let (inside, beneath) = (folder.path("no/such/x.csv"), folder.write("file", "") + "/x.csv");
    let itself = folder.0.display().to_string();
    for path in [&inside, &beneath, &itself] {
        for key in ["--commands", "--completions", "--curve"] {
            let (code, error) = output(&format!("{DDR4} {long} {key} {path}")).unwrap_err();
            assert!(code == 2 && error.contains(key) && error.contains("cannot be written"), "{key} {path}: {error}");
        }
    }
    assert_eq!(folder.names(), ["file"]);
}

/// A run that fails leaves no part of a file, and what was there before stays as it was.
#[test]
fn files_are_written_whole_or_not_at_all() {
    let folder = Folder::new("whole");
    let trace = folder.write("bad.txt", &("R 0\n".repeat(20_000) + "X\n"));
    let (commands, completions) = (folder.write("commands.csv", "before"), folder.path("completions.csv"));
    let outputs = format!("--commands {commands} --completions {completions}");
    let (code, error) = output(&format!("{DDR4} --trace {trace} {outputs}")).unwrap_err();
    assert!(code == 2 && error.contains("bad.txt:20001"), "{error}");
    let empty = folder.write("empty.txt", "# nothing\n");
    let (code, error) = output(&format!("{DDR4} --trace {empty} {outputs}")).unwrap_err();
    assert!(code == 2 && error.contains("has no request"), "{error}");
    assert_eq!(folder.names(), ["bad.txt", "commands.csv", "empty.txt"]);
    assert_eq!(std::fs::read_to_string(&commands).unwrap(), "before");
    output(&format!("{DDR4} --generate mix --requests 300 {outputs}")).unwrap();
    let lines = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap().lines().count();
    assert!(lines(&commands) > 300 && lines(&completions) == 301);
    assert_eq!(folder.names(), ["bad.txt", "commands.csv", "completions.csv", "empty.txt"]);
}

/// Inputs that once ran for ever, wrapped round in silence, or went past the peak.
#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let folder = Folder::new("refused");
    let device = |name: &str, base: &str, changes: &str| {
        folder.write(name, &format!("name = \"d\"\nsource = \"a test of refusals\"\nbase = \"{base}\"\n{changes}\n"))
    };
    let refresh = device(
        "refresh.toml",
        "ddr4-3200aa",
        "[timing_cycles]\nnREFI = 576\n[refresh]\ncommand = \"REFab\"\ninterval = \"nREFI\"",
    );
    let burst = device("burst.toml", "ddr4-2400r", "[timing_cycles]\nnBL = 1");
    let aim = device("aim.toml", "gddr6-aim", "[timing_cycles]\nnBL = 1");
    let (far, late) = (
        folder.write("far.txt", "R 0\nR 99999999999999999\n"),
        folder.write("late.txt", "R 0\n999999999999999999999 R 1\n"),
    );
    let empty = folder.write("empty.trace", "\n# nothing\n");
    for (words, expected) in [
        (
            format!("banksia memory --device {refresh} --generate stream --requests 2000"),
            "refresh.toml:8: `refresh.interval`",
        ),
        (
            format!("banksia memory --device {refresh} --generate stream --exact-stepping"),
            "nothing else could ever run",
        ),
        (format!("banksia memory --device {burst} --generate stream"), "burst.toml:5: `timing_cycles.nBL`"),
        (format!("banksia pim --device {aim} --gemv 64x64"), "aim.toml:5: `timing_cycles.nBL`"),
        (format!("{DDR4} --trace {far}"), "far.txt:2"),
        (format!("{DDR4} --trace {late}"), "late.txt:2"),
        (format!("{DDR4} --generate random --interval 1e9 --requests 100000000000"), "--interval"),
        (format!("{DDR4} --generate random --interval 1e9 --requests 2000 --exact-stepping"), "--interval"),
        (format!("{DDR4} --generate random --requests 0"), "has no request"),
        (format!("banksia pim --device gddr6-aim --trace {empty}"), "empty.trace: has no instruction"),
    ] {
        let (code, error) = output(&words).unwrap_err();
        assert!(code == 2 && error.contains(expected), "{words}: {code} {error}");
    }
    #[cfg(unix)]
    {
        let (code, error) = output("banksia pim --device gddr6-aim --trace /dev/zero").unwrap_err();
        assert!(code == 2 && error.contains("longer than any instruction"), "{error}");
    }
    let begun = std::time::Instant::now();
    let late = folder.write("late.txt", "R 0\n1000000000000000000 R 1\n");
    assert_eq!(json(&format!("banksia memory --device ddr4-3200aa --trace {late}"))["requests"], 2);
    assert_eq!(json(&format!("{DDR4} --generate random --interval 1e9 --requests 2000"))["requests"], 2000);
    assert!(begun.elapsed().as_secs() < 10);
    // Without the refreshes that leave no time, the same device runs.
    output(&format!("banksia memory --device {refresh} --generate stream --requests 100 --refresh off")).unwrap();
}
