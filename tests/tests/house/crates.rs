//! Arrows between crates point down only.

use super::{members, read, root};

/// The floors of the house, from the ground up. Crates of one floor do not see each other.
const FLOORS: [&[&str]; 7] = [
    &["banksia-input", "banksia-sim"],
    &["banksia-hw", "banksia-workloads"],
    &["banksia-mappers"],
    &["banksia-reports"],
    &["banksia-experiments"],
    &["banksia-validation"],
    &["banksia"],
];

/// What stands higher and is all the same not for that crate to see.
const NOT_SEEN: [(&str, &str); 1] = [("banksia-reports", "banksia-mappers")];

/// The package that holds the tests of the whole: it sees every crate, and none sees it.
const TESTS: &str = "banksia-tests";

fn floor(package: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&package))
}

/// The crates of the workspace that a manifest names, but for its tests.
fn sees(manifest: &toml::Table) -> Vec<String> {
    let of = |table: &toml::Table| -> Vec<String> {
        ["dependencies", "build-dependencies"]
            .iter()
            .filter_map(|kind| table.get(*kind)?.as_table())
            .flat_map(toml::Table::keys)
            .filter(|name| *name == "banksia" || name.starts_with("banksia-"))
            .cloned()
            .collect()
    };
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let by_target = targets.into_iter().flat_map(|t| t.values()).filter_map(toml::Value::as_table).flat_map(of);
    of(manifest).into_iter().chain(by_target).collect()
}

/// What is wrong with what a crate sees.
fn faults(package: &str, sees: &[String]) -> Vec<String> {
    if package == TESTS {
        return Vec::new();
    }
    let Some(own) = floor(package) else {
        return vec![format!("{package} has no floor in tests/tests/house/crates.rs: give it one")];
    };
    let wrong = |other: &str| {
        floor(other).is_none_or(|f| f >= own) || NOT_SEEN.iter().any(|(a, b)| *a == package && *b == other)
    };
    sees.iter().filter(|other| wrong(other)).map(|other| format!("{package} must not see {other}")).collect()
}

#[test]
fn crates_see_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for member in members() {
        let manifest: toml::Table = read(&root().join(&member).join("Cargo.toml")).parse().unwrap();
        let package = manifest["package"]["name"].as_str().unwrap();
        wrong.extend(faults(package, &sees(&manifest)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file in a folder of tests that `all.rs` does not name is compiled by nobody.
#[test]
fn every_file_of_tests_is_in_its_crates_program() {
    let mut left_out = Vec::new();
    for member in members() {
        let folder = root().join(&member).join("tests");
        let Ok(program) = std::fs::read_to_string(folder.join("all.rs")) else { continue };
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let tests = path.extension().is_some_and(|e| e == "rs") || path.join("mod.rs").is_file();
            if tests && module != "all" && !program.lines().any(|l| l == format!("mod {module};")) {
                left_out.push(format!("{member}/tests/all.rs does not name {module}"));
            }
        }
    }
    assert!(left_out.is_empty(), "{}", left_out.join("\n"));
}

#[test]
fn an_arrow_that_points_up_or_sideways_is_found() {
    let manifest: toml::Table = "[dependencies]\nbanksia-mappers.workspace = true\n[dev-dependencies]\nbanksia = '*'\n\
        [target.'cfg(unix)'.dependencies]\nbanksia-hw.workspace = true"
        .parse()
        .unwrap();
    assert_eq!(sees(&manifest), ["banksia-mappers", "banksia-hw"]);
    assert_eq!(faults("banksia-hw", &["banksia-workloads".to_owned()]), ["banksia-hw must not see banksia-workloads"]);
    assert_eq!(faults("banksia-sim", &["banksia-hw".to_owned()]).len(), 1);
    assert_eq!(faults("banksia-reports", &["banksia-mappers".to_owned(), "banksia-input".to_owned()]).len(), 1);
    assert_eq!(faults("banksia-attic", &[]).len(), 1);
    assert!(faults("banksia", &["banksia-mappers".to_owned(), "banksia-input".to_owned()]).is_empty());
}
