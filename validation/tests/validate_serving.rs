//! `banksia validate ttft-tpot`: models that frameworks serve on one GPU.
#![allow(clippy::unwrap_used)]

use banksia_validation::{Compared, ValidateOptions, run_suite};

const COLUMNS: &str = "id,silicon_data_source,backend,model_path,system,precision,mode,isl,osl,gemm_quant_mode,batch_size,\
                       tp_size,pp_size,attention_dp_size,moe_tp_size,moe_ep_size,silicon_ttft_ms,silicon_tpot_ms";

/// Runs rows in those columns; `name` tells files apart.
fn validated(name: &str, rows: &[&str]) -> Result<Vec<Compared>, String> {
    let path = std::env::temp_dir().join(format!("banksia-serving-{}-{name}.csv", std::process::id()));
    std::fs::write(&path, format!("{COLUMNS}\n{}\n", rows.join("\n"))).unwrap();
    let options = ValidateOptions { measured: Some(path.clone()), ..ValidateOptions::default() };
    let all = run_suite("ttft-tpot", &options, &|_, _| ());
    std::fs::remove_file(&path).unwrap();
    all.map_err(|e| e.to_string())
}

fn reasons(all: &[Compared]) -> Vec<String> {
    all.iter().flat_map(|c| c.skipped.keys().cloned()).collect()
}

#[test]
fn rows_that_are_not_of_one_gpu_or_not_modelled_are_skipped_with_the_reason() {
    let good = "a,x,trtllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,1,1,1,1,1,1,20,2";
    for (row, reason) in [
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,1,2,1,1,1,1,20,2", "several devices"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,1,1,1,4,1,1,20,2", "several devices"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,1,1,1,1,1,8,20,2", "several devices"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,disagg,256,8,,1,,,,,,20,2", "several devices"),
        ("b,x,vllm,MiniMaxAI/MiniMax-M2.5,h100_sxm,,agg,256,8,,1,1,1,1,1,1,20,2", "MiniMax-M2.5"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,b300_sxm,,agg,256,8,,1,1,1,1,1,1,20,2", "b300"),
        ("b,x,none,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,1,1,1,1,1,1,20,2", "backend none"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,fp4,agg,256,8,nvfp4,1,1,1,1,1,1,20,2", "fp4"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,0,8,,1,1,1,1,1,1,20,2", "isl"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,x,1,1,1,1,1,20,2", "batch_size"),
        ("b,x,vllm,meta-llama/Llama-3.1-70B,h100_sxm,,agg,256,8,,1,1,1,1,1,1,20,2", "fit"),
    ] {
        let all = validated("skipped", &[good, row]).unwrap();
        let found = reasons(&all);
        assert!(found.iter().any(|r| r.contains(reason)), "{row}: {found:?}");
        let pairs: usize = all.iter().map(|c| c.pairs.len()).sum();
        assert_eq!(pairs, 2, "the good row is compared: {row}");
    }
    let error = validated("none", &["b,x,vllm,MiniMaxAI/M,h100_sxm,,agg,256,8,,1,1,1,1,1,1,20,2"]).unwrap_err();
    assert!(error.contains("silicon_tpot_ms"), "{error}");
}

#[test]
fn a_token_takes_as_long_as_a_step_and_more_where_prompts_come_between() {
    let tpot = |name: &str, row: &str| {
        let all = validated(name, &[row]).unwrap();
        all.iter().find(|c| c.subject.metric == "tpot").unwrap().pairs[0].predicted
    };
    let one = tpot("one", "a,x,trtllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,1024,64,,1,1,1,1,1,1,20,2");
    // 2.5 GB at 3.35 TB/s at the least, in milliseconds.
    assert!((0.74..1.6).contains(&one), "{one}");
    let long = tpot("long", "a,x,trtllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,1024,640,,16,1,1,1,1,1,20,2");
    let short = tpot("short", "a,x,trtllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,1024,64,,16,1,1,1,1,1,20,2");
    // Sixteen prompts for every 64 tokens, or for every 640.
    assert!(one < long && 1.3 * long < short, "{one} {long} {short}");
}
