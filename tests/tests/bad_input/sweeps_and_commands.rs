//! Sweeps, commands, and the process itself.

use super::Judge;
use crate::common::{EXPERIMENT, Folder, banksia};

#[test]
fn sweeps_that_cannot_be_run() {
    let folder = Folder::new("bad-sweeps");
    folder.write("exp.toml", EXPERIMENT);
    let many: String = (0..1001).map(|i| format!("{i},")).collect();
    let vary = |key: &str, values: &str| format!("[[vary]]\nkey = \"{key}\"\nvalues = [{values}]\n");
    let one = "experiments = [\"exp.toml\"]\n";
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("empty", String::new(), &["`experiments` is missing"]),
        ("none", "experiments = []\n".into(), &["s.toml:1: `experiments` names no experiment", "list at least one"]),
        (
            "sweeps beside experiments",
            format!("{one}sweeps = [\"s.toml\"]\n"),
            &["s.toml:1: `experiments` stands beside `sweeps`", "in the files that `sweeps` lists"],
        ),
        ("sweep of itself", "sweeps = [\"s.toml\"]\n".into(), &["s.toml:1: `sweeps[0]` is `s.toml`", "list the files"]),
        ("missing sweep", "sweeps = [\"none.toml\"]\n".into(), &["none.toml: cannot be read"]),
        ("experiment for sweep", "sweeps = [\"exp.toml\"]\n".into(), &["run it with `banksia run`"]),
        ("unknown key", format!("{one}varry = 1\n"), &["s.toml:2: `varry` is not a key", "did you mean `vary`"]),
        (
            "unknown key of vary",
            format!("{one}[[vary]]\nkey = \"a\"\nvalue = [1]\n"),
            &["s.toml:4: `vary[0].value` is not a key", "did you mean `values`"],
        ),
        ("no values", format!("{one}{}", vary("seed", "")), &["s.toml:4: `vary[0].values` has no value"]),
        (
            "too many",
            format!("{one}{}{}", vary("seed", &many), vary("machine.memory.channels", &many)),
            &["`vary[1]` makes more than 1000000 points"],
        ),
        ("missing experiment", "experiments = [\"none.toml\"]\n".into(), &["none.toml: cannot be read"]),
        ("string for list", "experiments = \"exp.toml\"\n".into(), &["s.toml:1: `experiments` has an invalid type"]),
        ("set without =", format!("{one}set = [\"seed\"]\n"), &["s.toml:2: `set[0]`", "has no `=`"]),
        (
            "bad set",
            format!("{one}set = [\"machine.memory.channels=0\"]\n"),
            &["s.toml:2: `set[0]`", "`machine.memory.channels` is 0"],
        ),
        (
            "bad value",
            format!("{one}{}", vary("machine.memory.channels", "0, 0")),
            &["s.toml:2: `vary[0]`", "is 0: must be from 1 to 65536"],
        ),
        (
            "unknown key varied",
            format!("{one}{}", vary("machine.memory.chanels", "8")),
            &["s.toml:2: `vary[0]`", "did you mean `channels`"],
        ),
        ("empty key varied", format!("{one}{}", vary("", "8")), &["s.toml:2: `vary[0]`", "empty key"]),
        (
            "point",
            format!("{one}[[point]]\nname = \"p\"\nset = [\"machine.memory.channels=0\"]\n"),
            &["s.toml:4: `point[0].set[0]`", "is 0"],
        ),
        ("point without name", format!("{one}[[point]]\nset = []\n"), &["`point[0].name` is missing"]),
    ];
    let mut judge = Judge::new();
    for (name, text, fragments) in &cases {
        let path = folder.write("s.toml", text);
        judge.refuses((name, fragments), &["sweep".into(), path]);
    }
    let good = folder.write("s.toml", one);
    let args =
        |more: &[&str]| -> Vec<String> { ["sweep", &good].iter().chain(more).map(|s| (*s).to_owned()).collect() };
    judge.refuses(("jobs 0", &["--jobs: is 0: must be from 1 to 4096"]), &args(&["--jobs", "0"]));
    judge.refuses(("jobs -1", &["--jobs"]), &args(&["--jobs=-1"]));
    judge.refuses(("jobs 10^6", &["--jobs: is 1000000"]), &args(&["--jobs", "1000000"]));
    judge.refuses(("resume from nowhere", &["--out"]), &args(&["--resume"]));
    judge.refuses(("roofline", &["no roofline named `t5`", "use one of: h200, t4"]), &args(&["--versus", "t5"]));
    judge.refuses(("set", &["--set seed: has no `=`"]), &args(&["--set", "seed"]));
    judge.finish(20);
}

#[test]
fn commands_that_cannot_be_done() {
    let folder = Folder::new("bad-commands");
    let experiment = folder.write("exp.toml", EXPERIMENT);
    let csv = folder.write("t.csv", "channels,latency_s,name\n8,1.0,a\n16,0.5,b\n");
    let ragged = folder.write("ragged.csv", "a,b\n1,2\n1,2,3\n");
    let words = folder.write("words.csv", "a,b\nx,y\nz,w\n");
    let zeros = folder.write("zeros.csv", "channels,latency_s\n8,0\n16,-1\n");
    let header = folder.write("header.csv", "channels,latency_s\n");
    let nothing = folder.write("nothing.csv", "");
    let json = folder.write("r.json", "{\"schema\": 1");
    let other = folder.write("o.json", "{\"schema\": 1}");
    let none = folder.path("none.json");
    let svg = folder.path("p.svg");
    let here = folder.0.display().to_string();
    let cases: &[(&[&str], &[&str])] = &[
        (&["plot", "breakdwn", &csv, "-o", &svg], &["no kind of plot named `breakdwn`", "did you mean `breakdown`"]),
        (&["plot", "sweep", &csv, "-o", "p.eps"], &["--output", "does not end in .svg, .png or .pdf", "help:"]),
        (&["plot", "sweep", &csv, "-o", "p"], &["does not end in .svg, .png or .pdf"]),
        (&["plot", "sweep", "-o", &svg], &["INPUT"]),
        (&["plot", "breakdown", &json, "-o", &svg], &["r.json:1: is not a run report", "EOF", "report.json"]),
        (&["plot", "breakdown", &other, "-o", &svg], &["o.json", "is not a run report", "missing field"]),
        (&["plot", "breakdown", &none, "-o", &svg], &["none.json: cannot be read", "help:"]),
        (&["plot", "breakdown", &here, "-o", &svg], &["report.json: cannot be read", "help:"]),
        (&["plot", "breakdown", &csv, "-o", &svg], &["t.csv", "is not a run report", "help:"]),
        (&["plot", "sweep", &none, "-o", &svg], &["none.json: cannot be read"]),
        (&["plot", "sweep", &ragged, "-o", &svg], &["ragged.csv:3: is not a table"]),
        (&["plot", "sweep", &words, "-o", &svg], &["words.csv", "help:"]),
        (&["plot", "sweep", &words, "--x", "a", "--y", "b", "-o", &svg], &["`b` row 1 has `y`", "give a number"]),
        (
            &["plot", "sweep", &zeros, "--log-y", "-o", &svg],
            &["zeros.csv: `latency_s` has no positive value", "--log-y"],
        ),
        (&["plot", "sweep", &here, "-o", &svg], &["is a folder without a `comparison.csv`", "help:"]),
        (&["plot", "sweep", "/dev/zero", "-o", &svg], &["/dev/zero: is not text"]),
        (&["plot", "breakdown", "/dev/zero", "-o", &svg], &["/dev/zero: is not text"]),
        (&["plot", "sweep", &nothing, "-o", &svg], &["nothing.csv"]),
        (&["plot", "sweep", &header, "-o", &svg], &["header.csv", "help:"]),
        (
            &["plot", "sweep", &csv, "--x", "chanels", "-o", &svg],
            &["t.csv: there is no column named `chanels`", "did you mean `channels`"],
        ),
        (&["plot", "validation", &csv, "-o", &svg], &["t.csv: has no column `measured", "--x"]),
        (&["run", &experiment, "--timeline-token", "0"], &["--timeline-token: is 0: must be from 1 to 2"]),
        (&["run", &experiment, "--timeline-token", "3"], &["--timeline-token: is 3: must be from 1 to 2"]),
        (&["run", &experiment, "--timeline-token", "x"], &["invalid value 'x'"]),
        (&["run", &experiment, "--versus", "h2000"], &["no roofline named `h2000`", "did you mean `h200`"]),
        (&["run", &experiment, "--format", "xml"], &["invalid value 'xml'", "json"]),
        (&["run"], &["EXPERIMENT"]),
        (&["rum", &experiment], &["unrecognized subcommand 'rum'", "'run'"]),
        (&["map", &experiment, "--token", "0"], &["--token: is 0: must be from 1 to 2"]),
        (&["map", &experiment, "--set", "machine.memory.channels=0"], &["`machine.memory.channels` is 0"]),
        (&["show", "models", "gpt5"], &["no model named `gpt5`", "help:"]),
        (&["show", "hardware", "pim-gtp"], &["no hardware named `pim-gtp`", "pim-gpt"]),
        (&["show", "mappings", "x"], &["no mapping named `x`", "pim-gpt"]),
        (&["show", "rooflines", "x"], &["no roofline named `x`", "use one of"]),
        (&["show", "hardware", "none.toml"], &["none.toml: cannot be read"]),
        (&["show", "models", &experiment], &["exp.toml:3: `machine` is not a key"]),
        (&["show", "model", "x"], &["invalid value 'model'", "models"]),
        (&["list", "x"], &["invalid value 'x'"]),
        (&["import", "hf", &json, "-o", "m.toml"], &["r.json"]),
        (&["import", "hf", &none, "-o", "m.toml"], &["none.json: cannot be read"]),
    ];
    let mut judge = Judge::new();
    for (args, fragments) in cases {
        let args: Vec<String> = args.iter().map(|s| (*s).to_owned()).collect();
        judge.refuses((&args.join(" "), fragments), &args);
    }
    judge.finish(35);
    assert!(!folder.0.join("p.svg").exists(), "a plot of nothing");
}

/// The process itself: exit code 2, the message on standard error, and nothing on standard output.
#[test]
fn the_binary_refuses_as_the_library_does() {
    let folder = Folder::new("bad-binary");
    let experiment = folder.write("exp.toml", EXPERIMENT);
    let empty = folder.write("empty.toml", "");
    let none = folder.path("none.toml");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["run", &experiment, "--set", "machine.memory.channels=0"], 2, "error: --set machine.memory.channels=0: "),
        (&["run", &empty], 2, "`machine` is missing"),
        (&["run", &none], 2, "none.toml: cannot be read"),
        (&["sweep", &empty], 2, "`experiments` is missing"),
        (&["map", &experiment, "--set", "workload.model=llama2-7b"], 2, "GiB more than"),
        (&["plot", "x", &empty, "-o", "x.svg"], 2, "no kind of plot"),
        (&["show", "hardware", "x"], 2, "no hardware named `x`"),
        (&["run", &experiment, "--jobs", "2"], 2, "--jobs"),
        (
            &[
                "run",
                &experiment,
                "--set",
                "workload.generation.generated_tokens=1",
                "--out",
                &format!("{experiment}/x"),
            ],
            2,
            "cannot be made",
        ),
    ];
    for (args, code, fragment) in cases {
        let output = banksia(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {error}");
        assert!(error.contains(fragment) && error.starts_with("error: "), "{args:?}: {error}");
        if *code == 2 {
            assert!(output.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        }
    }
    // What was not expected to be long-running must not be: an endless file is read up to the limit only.
    #[cfg(target_os = "linux")]
    {
        let output = banksia(&["run", "/dev/zero"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("too large"));
    }
}
