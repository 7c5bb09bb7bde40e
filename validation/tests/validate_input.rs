//! Files of measured rows that are wrong: never a panic, nothing large is made of a wrong number, and an error where no row is left.
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use std::path::PathBuf;

use banksia_validation::{Compared, ValidateOptions, devices, run_suite, suites};

fn written(name: &str, text: &str) -> ValidateOptions {
    let path: PathBuf = std::env::temp_dir().join(format!("banksia-{}-{name}.csv", std::process::id()));
    std::fs::write(&path, text).unwrap();
    ValidateOptions { measured: Some(path), ..ValidateOptions::default() }
}

fn run(suite: &str, name: &str, text: &str) -> Result<Vec<Compared>, String> {
    let options = written(name, text);
    let result = run_suite(suite, &options, &|_, _| ()).map_err(|e| e.to_string());
    std::fs::remove_file(options.measured.unwrap()).unwrap();
    result
}

/// A header and rows of each suite's kind.
const ROWS: [(&str, &str, &[&str]); 8] = [
    (
        "known-programs",
        "kernel,m,n,k,bm,bn,bk,stages,warps,group,latency_us,smem_bytes,regs,spills",
        &[
            "gemm,256,256,256,64,64,32,3,4,8,9.0,49152,96,0",
            "add,131072,,,1024,,,,8,,1.299,,,",
            "rmsnorm,1024,1024,,,,,,8,,5.0,,,",
        ],
    ),
    (
        "gemm",
        "gpu,op,framework,version,kernel_source,dtype,m,n,k,latency_us",
        &[
            "a100_sxm,gemm,sglang,0.5.10,sglang,bfloat16,1,4096,32,2.923",
            "h200_sxm,gemm,vllm,0.14.0,vllm_default,fp8,16,256,256,4.0",
            "h200_sxm,gemm,trtllm,1.2.0rc5,torch_flow,fp8,16,256,256,4.0",
        ],
    ),
    (
        "context-attention",
        "gpu,op,framework,version,kernel_source,dtype,batch_size,isl,num_heads,num_key_value_heads,head_dim,window_size,latency_us",
        &["h200_sxm,context_attention,vllm,0.14.0,fa3,bfloat16/kv_bfloat16,1,64,8,2,128,0,11.6"],
    ),
    (
        "generation-attention",
        "gpu,op,framework,version,kernel_source,dtype,batch_size,step,num_heads,num_key_value_heads,head_dim,window_size,latency_us",
        &["a100_sxm,generation_attention,trtllm,1.0.0,torch_flow,bfloat16/kv_bfloat16,2,63,8,2,128,0,11.6"],
    ),
    (
        "h200",
        "op,args,latency_us,energy_j",
        &[
            r#"gemm,"{""dtype"":""bf16"",""m"":64,""n"":64,""k"":64}",4.0,0.001"#,
            r#"bmm,"{""dtype"":""bf16"",""b"":2,""m"":64,""n"":64,""k"":64}",4.0,0.001"#,
            r#"attn_prefill,"{""b"":1,""h"":4,""hk"":2,""s"":128,""d"":64,""causal"":1}",9.0,0.001"#,
            r#"softmax,"{""rows"":64,""cols"":512}",3.0,0.001"#,
            r#"copy,"{""bytes"":65536}",2.0,0.001"#,
            r#"gpt_decode,"{""b"":1,""d"":128,""h"":2,""kv"":64,""layers"":2}",90.0,0.01"#,
        ],
    ),
    (
        "h200-counters",
        "op,args,dram__bytes_read.sum,lts__t_bytes.sum,sm__warps_active.avg.pct_of_peak_sustained_active",
        &[r#"add,"{""rows"":64,""cols"":512}",65536,200000,50"#],
    ),
    ("memory", "device,trace,outstanding,refresh,cycles,read_latency_sum", &["DDR4_2400R,chase2k,1,on,26492,939384"]),
    (
        "pim",
        "device,kind,work,refresh,cycles,basis",
        &[
            "gddr6-aim,instruction,MAC_ABK 64 0xffffffff 0,off,185,measured",
            "hbm2-pim,gemv,128x128,off,59,measured",
            "hbm2-pim,add,1024,off,59,measured",
        ],
    ),
];

/// Every number of a line, as its place and length.
fn numbers(line: &str) -> Vec<(usize, usize)> {
    let bytes = line.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let begins = bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_alphanumeric());
        let from = at;
        while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'.') {
            at += 1;
        }
        if begins && line[from..at].parse::<f64>().is_ok() {
            found.push((from, at - from));
        }
        at += usize::from(at == from);
    }
    found
}

#[test]
fn any_number_may_be_wrong() {
    let mut changed = 0;
    for (suite, header, rows) in ROWS {
        for row in rows {
            let whole = run(suite, "whole", &format!("{header}\n{row}\n"));
            assert!(whole.is_ok_and(|c| c.iter().any(|c| !c.pairs.is_empty())), "{suite}: {row}");
            for (from, length) in numbers(row) {
                for value in ["0", "0.5", "-1", "4000000000", "1e99", "NaN", "18446744073709551616"] {
                    let other = format!("{}{value}{}", &row[..from], &row[from + length..]);
                    // Beside the row as it is, the changed one is compared or counted as skipped with its reason.
                    let all = run(suite, "changed", &format!("{header}\n{row}\n{other}\n")).unwrap();
                    let results: Vec<_> = all.iter().map(|c| c.result(0)).collect();
                    assert!(results.iter().all(|r| r.skipped == r.skipped_reasons.values().sum::<u64>()), "{other}");
                    assert!(results.iter().map(|r| r.rows + r.skipped).sum::<u64>() >= 1, "{suite}: {other}");
                    changed += 1;
                }
            }
        }
    }
    assert!(changed > 300, "{changed}");
}

#[test]
fn a_file_without_a_row_to_compare_names_the_columns() {
    for suite in suites() {
        let error = run(suite, "wrong", "a,b\n1,2\n").unwrap_err();
        assert!(error.contains("columns are") && error.contains(suite), "{suite}: {error}");
        let error = run(suite, "empty", "a,b\n").unwrap_err();
        assert!(error.contains("no rows"), "{suite}: {error}");
    }
    let (_, header, _) = ROWS[1];
    let row = "nosuch,gemm,vllm,0.14.0,vllm_default,bfloat16,1,256,256,4.0";
    let error = run("gemm", "device", &format!("{header}\n{row}\n")).unwrap_err();
    assert!(error.contains("nosuch") && error.contains("a100") && error.contains("h200"), "{error}");
}

#[test]
fn an_unknown_device_names_those_that_are_known() {
    for suite in suites() {
        let options = ValidateOptions { device: Some("nosuch".into()), ..ValidateOptions::default() };
        let error = run_suite(suite, &options, &|_, _| ()).unwrap_err().to_string();
        let known = devices(suite, &options).unwrap();
        assert!(!known.is_empty() && error.contains("nosuch") && error.contains(known.first().unwrap()), "{error}");
    }
}

/// What a program does not have is not in its label.
#[test]
fn labels_have_no_empty_places() {
    let (suite, header, rows) = ROWS[0];
    let all = run(suite, "labels", &format!("{header}\n{}\n", rows.join("\n"))).unwrap();
    let labels: Vec<&str> = all.iter().flat_map(|c| &c.pairs).map(|p| p.label.as_str()).collect();
    assert!(labels.contains(&"add 131072 tile 1024 warps 8"), "{labels:?}");
    assert!(labels.contains(&"rmsnorm 1024x1024 warps 8"), "{labels:?}");
    assert!(labels.contains(&"gemm 256x256x256 tile 64x64x32 stages 3 warps 4 group 8"), "{labels:?}");
}
