//! Experiments side by side.
#![allow(clippy::unwrap_used)]

use crate::common::{EXPERIMENT, Folder, fails, succeeds};

fn pair(folder: &Folder) -> (String, String) {
    let small = EXPERIMENT.replace("generated_tokens = 2", "generated_tokens = 1");
    let a = folder.write("a.toml", &small);
    let b = folder.write("b.toml", small.replace("base = \"pim-gpt\"", "base = \"pim-gpt\"\nmemory.channels = 16"));
    (a, b)
}

#[test]
fn what_differs_is_said_and_what_does_not() {
    let folder = Folder::new("compare");
    let (a, b) = pair(&folder);
    let figure = folder.path("c.svg");
    let json: serde_json::Value =
        serde_json::from_str(&succeeds(&["compare", &a, &b, "--format", "json", "-o", &figure])).unwrap();
    assert_eq!(json["winner"], 1);
    let sides = json["sides"].as_array().unwrap();
    let latency = |i: usize| sides[i]["latency_s"].as_f64().unwrap();
    assert!((json["lead"].as_f64().unwrap() - latency(0) / latency(1)).abs() < 1e-12);
    for (i, side) in sides.iter().enumerate() {
        let operators = json["operators"].as_array().unwrap();
        let sum: f64 = operators.iter().filter_map(|o| o["latency_s"][i].as_f64()).sum();
        assert!((sum / side["latency_s"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    }
    let text = json["equal"].to_string();
    assert!(text.contains("gpt2-small") && json["unequal"].to_string().contains("peak"), "{text}");
    assert!(folder.read("c.svg").starts_with("<svg") || folder.read("c.svg").contains("<svg"));
}

#[test]
fn what_is_assumed_is_varied() {
    let folder = Folder::new("compare-sensitivity");
    let (a, b) = pair(&folder);
    let args = ["compare", &a, &b, "--sensitivity", "--draws", "4", "--format", "json"];
    let json: serde_json::Value = serde_json::from_str(&succeeds(&args)).unwrap();
    let s = &json["sensitivity"];
    let tornado = s["tornado"].as_array().unwrap();
    assert!(tornado.iter().any(|t| t["key"] == "machine.link.latency_ns"), "{tornado:?}");
    // What both machines share moves both, so that the faster stays the faster.
    assert_eq!((s["draws"].as_u64(), s["stays"].as_f64()), (Some(4), Some(1.0)), "{s}");
    assert!(
        tornado.iter().flat_map(|t| t["lead"].as_array().unwrap()).all(|l| l.is_null() || l.as_f64().unwrap() > 1.0)
    );
    assert_eq!(succeeds(&args), succeeds(&args));
}

#[test]
fn wrong_arguments_are_refused() {
    let folder = Folder::new("compare-wrong");
    let (a, b) = pair(&folder);
    assert_eq!(fails(&["compare", &a]).0, 2);
    let (code, error) = fails(&["compare", &a, &b, "--sensitivity", "--spread", "120"]);
    assert!(code == 2 && error.contains("below 100"), "{error}");
    let (code, error) = fails(&["compare", &a, "no.toml"]);
    assert!(code == 2 && error.contains("no.toml"), "{error}");
}
