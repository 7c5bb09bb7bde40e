//! `banksia validate noc`: packets of BookSim2's cases, equal to the cycle.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use banksia_validation::{ValidateOptions, run_suite};

#[test]
fn every_time_of_every_packet_is_equal() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/noc");
    // The cases brought along, the same as a folder, and as its index.
    for measured in [None, Some(folder.clone()), Some(folder.join("index.csv"))] {
        let compared =
            run_suite("noc", &ValidateOptions { measured, ..ValidateOptions::default() }, &|_, _| ()).unwrap();
        assert!(compared.len() > 15 && compared.iter().map(|c| c.pairs.len()).sum::<usize>() > 16_000);
        for group in &compared {
            let result = group.result(1);
            assert_eq!((result.skipped, result.mape_pct), (0, Some(0.0)), "{}", result.op);
        }
    }
}

#[test]
fn a_case_without_its_files_is_counted_with_the_reason() {
    let folder = std::env::temp_dir().join(format!("banksia-noc-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = "topology=mesh;routing_function=dim_order;k=2;n=1;num_vcs=2";
    std::fs::write(folder.join("index.csv"), format!("case,config\nsmall,{config}\nlost,{config}\n")).unwrap();
    std::fs::write(folder.join("small.trace"), "0 0 1 1\n").unwrap();
    let columns = "pid,src,dst,size,ctime,itime_head,atime_head,atime_tail,hops";
    std::fs::write(folder.join("small.csv"), format!("{columns}\n0,0,1,1,0,0,12,12,2\n")).unwrap();
    let options = ValidateOptions { measured: Some(folder.clone()), ..ValidateOptions::default() };
    let compared = run_suite("noc", &options, &|_, _| ()).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let lost = compared.iter().find(|c| c.subject.op == "lost").unwrap();
    assert!(lost.pairs.is_empty() && lost.skipped.keys().all(|r| r.contains("lost.trace")), "{:?}", lost.skipped);
    let small = compared.iter().find(|c| c.subject.op == "small").unwrap();
    assert_eq!(small.result(0).mape_pct, Some(0.0));
}
