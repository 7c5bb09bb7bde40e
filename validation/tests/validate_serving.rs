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
fn rows_that_are_not_modelled_are_skipped_with_the_reason() {
    let good = "a,x,trtllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,1,1,1,1,1,1,20,2";
    for (row, reason) in [
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,1,1,2,1,1,1,20,2", "pipeline"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,1,1,1,4,1,1,20,2", "exchange tokens"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,1,16,1,1,1,1,20,2", "several nodes"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,disagg,256,8,,1,,,,,,20,2", "of their own"),
        ("b,x,vllm,MiniMaxAI/MiniMax-M2.5,h100_sxm,,agg,256,8,,1,1,1,1,1,1,20,2", "MiniMax-M2.5"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,b300_sxm,,agg,256,8,,1,1,1,1,1,1,20,2", "b300"),
        ("b,x,none,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,1,1,1,1,1,1,20,2", "backend none"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,fp4,agg,256,8,nvfp4,1,1,1,1,1,1,20,2", "fp4"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,0,8,,1,1,1,1,1,1,20,2", "isl"),
        ("b,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,256,8,,x,1,1,1,1,1,20,2", "batch_size"),
        ("b,x,vllm,meta-llama/Llama-3.1-70B,h100_sxm,,agg,256,8,,1,1,1,1,1,1,20,2", "141.11 GB of weights"),
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
fn two_ranks_take_less_than_one_and_more_than_half() {
    let tpot = |tp: u32| {
        let row = format!("a,x,vllm,meta-llama/Llama-3.2-1B,h100_sxm,,agg,1024,64,,1,{tp},1,1,1,1,20,2");
        let all = validated(&format!("tp{tp}"), &[row.as_str()]).unwrap();
        all.iter().find(|c| c.subject.metric == "tpot").unwrap().pairs[0].predicted
    };
    let (one, two) = (tpot(1), tpot(2));
    assert!(two < one && two > one / 2.0, "{one} {two}");
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
    assert!(one < long && 1.2 * long < short, "{one} {long} {short}");
}

/// Error in per cent of a row's metric.
fn error(all: &[Compared], metric: &str) -> f64 {
    let pair = &all.iter().find(|c| c.subject.metric == metric).unwrap().pairs[0];
    100.0 * (pair.predicted / pair.measured - 1.0)
}

/// Eight requests in flight: tokens come within the bound; first tokens come too soon.
///
/// Known gap: the way from one answer to the next prompt. Eight clients that are answered within 50 ms ask again within as little here, and wait for one
/// prompt or two; where the way takes longer than steps, those that ask meanwhile enter together and wait for each other (20 ms of it make 180 ms, 50 ms
/// make 210, of 191 measured). No published figure says how long it is. A tenth of the time between tokens is missing too: 0.8 ms of the host in each step.
#[test]
fn few_requests_in_flight() {
    let row = "a,h100_sxm/trtllm/1.0.0rc3/meta-llama_Llama-3.1-8B-Instruct.csv,trtllm,meta-llama/Llama-3.1-8B-Instruct,h100_sxm,,agg,\
               1024,128,,8,1,1,,1,1,190.954,7.9435";
    let all = validated("few", &[row]).unwrap();
    let (token, first) = (error(&all, "tpot"), error(&all, "ttft"));
    assert!((-12.0..0.0).contains(&token), "{token} %");
    assert!(first > -80.0, "the gap has grown: {first} %");
    assert!(first < -20.0, "the gap is closed, hold it to 20 %: {first} %");
}

/// Known gap: prompts that vLLM does not compute. 32 prompts of 4000 tokens for every 100 tokens would take twice the time between tokens that was
/// measured, at any rate that an H200 has: the runner's prompts repeat, and vLLM keeps their beginnings. The data do not say how many.
#[test]
fn prompts_that_repeat() {
    let row = "a,h200_sxm/vllm/0.12.0/nvidia_Llama-3.1-8B-Instruct-FP8.csv,vllm,nvidia/Llama-3.1-8B-Instruct-FP8,h200_sxm,fp8,agg,\
               4000,100,fp8,32,1,1,1,1,1,184.29,11.67";
    let token = error(&validated("repeat", &[row]).unwrap(), "tpot");
    assert!(token < 130.0, "the gap has grown: {token} %");
    assert!(token > 12.0, "the gap is closed, hold it to 12 %: {token} %");
}

/// Known gap: prompts in eight bits under TensorRT-LLM. Tokens between which many prompts come take a fifth to a quarter longer than here: a prompt of 2048
/// tokens would have to take 170 ms of an H100, 800 TFLOP/s, and takes 120; the products alone are held to 8 % by `gemm`. Missing mechanism: what is
/// launched around them in steps that no graph replays. Where few prompts come between (512 tokens an answer, 16 in flight) the error is 10 %.
#[test]
fn prompts_in_eight_bits() {
    let row = "a,h100_sxm/trtllm/1.0.0rc3/Qwen_Qwen3-32B.csv,trtllm,Qwen/Qwen3-32B,h100_sxm,fp8,agg,\
               2048,128,fp8,32,1,1,,1,1,661.118,56.282";
    let token = error(&validated("eight-bits", &[row]).unwrap(), "tpot");
    assert!(token > -30.0, "the gap has grown: {token} %");
    assert!(token < -12.0, "the gap is closed, hold it to 12 %: {token} %");
}
