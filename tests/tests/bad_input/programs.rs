//! Program files.

use super::Judge;
use crate::common::{EXPERIMENT, Folder, ODD_MODEL, in_process, succeeds};

#[test]
fn programs_that_cannot_be_run() {
    let folder = Folder::new("bad-programs");
    let experiment = folder.write("exp.toml", EXPERIMENT.replace("\"gpt2-small\"", ODD_MODEL));
    let good = folder.path("good.json");
    succeeds(&["map", &experiment, "--program", &good]);
    let good = folder.read("good.json");
    let program: serde_json::Value = serde_json::from_str(&good).unwrap();
    let edited = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut p = program.clone();
        edit(&mut p);
        p.to_string()
    };
    let pim = program["instructions"].as_array().unwrap().iter().position(|i| i["work"]["pim"].is_object()).unwrap();
    let set = program["instructions"][pim]["work"]["pim"]["channels"].as_u64().unwrap() as usize;
    let last = program["instructions"].as_array().unwrap().len() - 1;
    let n = program["dependencies"].as_array().unwrap().len();
    let with_row = |p: &serde_json::Value| {
        p["patterns"].as_array().unwrap().iter().position(|p| p["steps"][0]["row"].is_u64()).unwrap()
    };
    let column = with_row(&program);
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("empty", String::new(), &["is not a program", "banksia map --program"]),
        ("cut", good[..good.len() / 2].to_owned(), &["p.json: is not a program", "EOF", "help:"]),
        ("not JSON", "[machine]".into(), &["p.json: is not a program", "line 1"]),
        ("other JSON", "{\"a\": 1}".into(), &["unknown field `a`"]),
        ("cycle", edited(&|p| p["dependencies"][0] = last.into()), &["which does not come before it", "cyclic"]),
        (
            "dependency list",
            edited(&|p| p["instructions"][last]["first_dependency"] = n.into()),
            &["dependency", "does not exist"],
        ),
        (
            "operator",
            edited(&|p| p["instructions"][0]["operator"] = 9999.into()),
            &["instruction 0: operator 9999 does not exist"],
        ),
        (
            "pattern",
            edited(&|p| p["instructions"][pim]["work"]["pim"]["pattern"] = 9999.into()),
            &["pattern 9999 does not exist"],
        ),
        (
            "row",
            edited(&|p| p["instructions"][pim]["work"]["pim"]["row"] = 16384.into()),
            &["p.json", "is beyond the machine's 16384"],
        ),
        (
            "row far off",
            edited(&|p| p["instructions"][pim]["work"]["pim"]["row"] = u32::MAX.into()),
            &["is beyond the machine's 16384"],
        ),
        (
            "row of a pattern",
            edited(&|p| p["patterns"][column]["steps"][0]["row"] = u32::MAX.into()),
            &["row", "is beyond"],
        ),
        ("iterations", edited(&|p| p["channel_sets"][set] = "0x100".into()), &["channel 8 is beyond the machine's 8"]),
        ("no channel", edited(&|p| p["channel_sets"][set] = "0x0".into()), &["is for no channel"]),
        ("mask", edited(&|p| p["channel_sets"][set] = "many".into()), &["not a hexadecimal channel mask"]),
        (
            "command",
            edited(&|p| p["patterns"][0]["steps"][0]["command"] = "MAC17".into()),
            &["p.json: pattern 0: the device `gddr6-pim-gpt` has no command `MAC17`"],
        ),
        (
            "node",
            edited(&|p| p["patterns"][0]["steps"][0]["first_node"] = 4_000_000_000u32.into()),
            &["node", "is beyond the machine's"],
        ),
        ("nodes", edited(&|p| p["patterns"][0]["steps"][0]["nodes"] = 0.into()), &["pattern 0"]),
        (
            "columns",
            edited(&|p| p["patterns"][column]["steps"][0]["count"] = 65.into()),
            &["column 65 is beyond the machine's 64"],
        ),
        (
            "SRAM",
            edited(&|p| p["instructions"][0]["acquire_bytes"] = 131_073.into()),
            &["needs 131073 bytes of SRAM", "131072"],
        ),
    ];
    let mut judge = Judge::new();
    for (name, text, fragments) in &cases {
        let path = folder.write("p.json", text);
        let args = ["run", &experiment, "--program", &path].map(str::to_owned);
        judge.refuses((name, fragments), &args);
    }
    let none = ["run", &experiment, "--program", &folder.path("none.json")].map(str::to_owned);
    judge.refuses(("no file", &["none.json: cannot be read"]), &none);
    let inside = ["run", &experiment, "--program", &folder.0.display().to_string()].map(str::to_owned);
    judge.refuses(("a folder", &[]), &inside);
    // A run that cannot go on says who waits for whom, and that is not the file's form: exit code 1.
    let hog = edited(&|p| p["instructions"][0]["acquire_bytes"] = 131_072.into());
    let path = folder.write("p.json", hog);
    let args = ["run", &experiment, "--program", &path].map(str::to_owned);
    judge.refuses_with(1, ("deadlock", &["deadlock at", "waits for", "bytes of SRAM, of which"]), &args);
    let endless = edited(&|p| p["functions"][0]["phases"][0]["adds"] = u64::MAX.into());
    let path = folder.write("p.json", endless);
    let args = ["run", &experiment, "--program", &path].map(str::to_owned);
    judge.refuses_with(1, ("no end", &["simulated time passes"]), &args);
    judge.finish(20);
    // Numbers at their limits are counted, or refused, but never break the run.
    for edit in [
        &(|p: &mut serde_json::Value| p["instructions"][0]["release_bytes"] = u64::MAX.into())
            as &dyn Fn(&mut serde_json::Value),
        &|p| p["functions"][0]["phases"][0]["add_depth"] = 10_000_000.into(),
        &|p| p["operators"][0]["count"] = u64::MAX.into(),
        &|p| p["context_tokens"] = u64::MAX.into(),
        &|p| p["instructions"][pim]["work"]["pim"]["iterations"] = 0.into(),
        &|p| p["patterns"][0]["steps"] = serde_json::json!([]),
        &|p| p["instructions"] = serde_json::json!([]),
    ] {
        let path = folder.write("p.json", edited(edit));
        let result = in_process(&["run", &experiment, "--program", &path, "--format", "json"].map(str::to_owned));
        assert!(!matches!(result, Err((101, _))), "{result:?}");
    }
}
