//! `banksia validate` as a user calls it: what is wrong is said before anything runs, and the folder of the results is made.
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use banksia::args::Cli;
use clap::Parser;

/// The exit code, and what an error says.
fn run(words: &[&str]) -> Result<(), (u8, String)> {
    let cli = Cli::try_parse_from(["banksia", "validate"].iter().chain(words)).map_err(|e| (2, e.to_string()))?;
    banksia::commands::execute(&cli).map_err(|e| (e.exit_code(), e.to_string()))
}

#[test]
fn a_device_that_no_suite_has_is_bad_input() {
    let (code, error) = run(&["--device", "nosuch"]).unwrap_err();
    assert!(code == 2 && error.contains("nosuch") && error.contains("--device"), "{error}");
    let (code, error) = run(&["pim", "--device", "h100"]).unwrap_err();
    assert!(code == 2 && error.contains("gddr6-aim"), "{error}");
}

#[test]
fn the_folder_of_the_results_is_made_and_found_out_about_first() {
    let root = std::env::temp_dir().join(format!("banksia-validate-{}", std::process::id()));
    let folder = root.join("a/b");
    run(&["pim", "--out", folder.to_str().unwrap()]).unwrap();
    assert!(folder.join("validation.json").is_file() && folder.join("accuracy.md").is_file());
    let below_a_file = folder.join("accuracy.md/c");
    let (code, error) = run(&["gemm", "--out", below_a_file.to_str().unwrap()]).unwrap_err();
    assert!(code == 2 && error.contains("accuracy.md"), "{error}");
    std::fs::remove_dir_all(root).unwrap();
}
