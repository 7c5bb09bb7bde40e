//! `banksia validate memory` and `pim`: a device or a file of which no row can be used is an error, not an empty table.
#![allow(clippy::unwrap_used)]

use banksia_validation::{ValidateOptions, run_suite};

fn fails(suite: &str, device: Option<&str>, measured: Option<&str>) -> (u8, String) {
    let path = measured.map(|text| {
        let name = format!("banksia-measured-{}-{suite}-{}.csv", std::process::id(), text.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let options =
        ValidateOptions { device: device.map(String::from), measured: path.clone(), ..ValidateOptions::default() };
    let error = run_suite(suite, &options, &|_, _| ()).unwrap_err();
    path.into_iter().for_each(|p| std::fs::remove_file(p).unwrap());
    (error.exit_code(), error.to_string())
}

#[test]
fn a_device_that_no_suite_has_is_named_with_those_that_it_has() {
    for (suite, known) in [("memory", "ddr4-3200aa"), ("pim", "hbm2-pim")] {
        let (code, error) = fails(suite, Some("nosuch"), None);
        assert!(code == 2 && error.contains("nosuch") && error.contains(known), "{suite}: {error}");
    }
    // A device of other suites has no rows here, which is no mistake where several suites run.
    let options = ValidateOptions { device: Some("h200".into()), ..ValidateOptions::default() };
    assert!(run_suite("pim", &options, &|_, _| ()).unwrap().is_empty());
}

#[test]
fn a_file_without_a_row_to_use_is_refused_with_the_columns() {
    for suite in ["memory", "pim"] {
        for (text, reason) in [
            ("a,b\n1,2\n", "no column"),
            ("device,cycles\n", "has no row"),
            (
                "device,trace,outstanding,refresh,cycles,read_latency_sum,kind,work\nnosuch,mix1k,0,on,5,5,gemv,8x8\n",
                "nosuch",
            ),
            (
                "device,trace,outstanding,refresh,cycles,read_latency_sum,kind,work\nhbm2-pim,mix1k,0,perhaps,5,5,gemv,8x8\n",
                "perhaps",
            ),
        ] {
            let (code, error) = fails(suite, None, Some(text));
            assert!(code == 2 && error.contains(reason) && error.contains("cycles"), "{suite} {text}: {error}");
        }
    }
}

/// The witness's rows are devices; every command that it judges obeys. A row says how many.
#[test]
fn the_witness_judges_as_many_commands_as_a_row_says() {
    let text = "device,commands\nddr4-3200aa-2rank,40000\nhbm3-6400,40000\nnosuch,10\nhbm4-8000,0\n";
    let path = std::env::temp_dir().join(format!("banksia-witness-{}.csv", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let options = ValidateOptions { measured: Some(path.clone()), ..ValidateOptions::default() };
    let all = run_suite("memory-witness", &options, &|_, _| ()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let pairs: Vec<_> = all.iter().flat_map(|c| &c.pairs).collect();
    assert_eq!(pairs.len(), 2);
    for pair in pairs {
        assert!(pair.measured > 20_000.0 && (pair.measured - pair.predicted).abs() < 0.5, "{pair:?}");
    }
    let reasons: Vec<&String> = all.iter().flat_map(|c| c.skipped.keys()).collect();
    assert!(reasons.iter().any(|r| r.contains("nosuch")), "{reasons:?}");
    assert!(reasons.iter().any(|r| r.contains("1 to 10^12")), "{reasons:?}");
}
