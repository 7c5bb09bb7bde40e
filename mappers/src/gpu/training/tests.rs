//! Every family of the zoo has launches for its training step, and gradients take as long against their forward pass as their products say.

use std::collections::HashSet;
use std::sync::Arc;

use banksia_hw::gpu::estimate::{Judge, Simulation};
use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::{CacheState, Gpu, GpuSpec, device};
use banksia_workloads::backward::{TrainNode, TrainOp, TrainingSpec};
use banksia_workloads::{Op, zoo};

use super::lower::Call;
use crate::gpu::launch::Item;
use crate::gpu::linear::{self, Gradients, LinearCall, Names, Rule, Source};
use crate::gpu::moe::{grouped_input_gradient, grouped_mm, grouped_weight_gradient};
use crate::gpu::ssm::{Ssd, SsdGradients, SsdNames, ssd, ssd_gradient};

fn h200() -> Arc<GpuSpec> {
    device("h200").map(Arc::new).unwrap_or_else(|e| unreachable!("{e}"))
}

fn nodes_of(name: &str) -> Vec<TrainNode> {
    let Ok(model) = zoo::load(name) else { return Vec::new() };
    let step = model.training(&TrainingSpec::new(1, 512));
    let Ok(step) = step else { return Vec::new() };
    let mut seen = HashSet::new();
    let all = step.regions.iter().flat_map(|r| r.forward.iter().chain(&r.backward));
    all.filter(|n| seen.insert((n.op, n.batch, n.tokens, n.load.clone()))).cloned().collect()
}

#[test]
fn steps_of_every_family_have_launches() {
    let spec = h200();
    for name in [
        "mixtral-8x7b",
        "qwen3-30b-a3b",
        "deepseek-moe-16b",
        "mamba2-2.7b",
        "mamba-2.8b",
        "mamba2-hybrid-8b",
        "nemotron-h-8b",
        "jamba",
        "qwen3-next-80b-a3b",
        "recurrentgemma-2b",
        "llama3.1-8b",
    ] {
        let nodes = nodes_of(name);
        assert!(nodes.len() > 10, "{name}: {} nodes", nodes.len());
        let experts = |n: &TrainNode| match n.op {
            TrainOp::Forward { of: Op::Route { experts, .. } } => experts,
            _ => 0,
        };
        let experts = nodes.iter().map(experts).max().unwrap_or(0);
        for node in &nodes {
            let items = Call { node, dtype: Dtype::Bf16, spec: &spec, experts }.items();
            assert!(items.is_ok(), "{name}: {}: {:?}", node.label, items.err());
        }
    }
}

/// Seconds of kernels one after another, each on cold operands.
fn seconds(items: Vec<Item>) -> f64 {
    let mut gpu = Gpu::new((*h200()).clone());
    let mut judge = Simulation::new(&mut gpu, Detail::DEFAULT);
    let mut total = 0.0;
    for item in items {
        let Item::Kernel(launch) = item else { continue };
        let kernel = (*launch.kernel).clone();
        let name = kernel.name.clone();
        let ran = judge.judge(&[(kernel, CacheState::Foreign { dirty: 0.3 })]);
        let s = ran.map_or(f64::NAN, |t| t.latency_s);
        println!("{name}: {:.1} us", 1e6 * s);
        assert!(s.is_finite() && s > 0.0, "{name}: {s}");
        total += s;
    }
    total
}

#[test]
fn gradients_of_grouped_products_take_about_their_product() {
    let spec = h200();
    let rows = [512u32; 8];
    let names = || ["a", "b", "c"].map(crate::gpu::launch::Operand::shared);
    let forward = seconds(grouped_mm(&rows, 2048, 1024, &spec, &names()));
    let input = seconds(grouped_input_gradient(&rows, 1024, 2048, &spec, &names()));
    let weight = seconds(grouped_weight_gradient(&rows, 1024, 2048, &spec, &names()));
    for (what, s) in [("input", input), ("weight", weight)] {
        assert!((0.5..2.0).contains(&(s / forward)), "{what}: {s} against {forward}");
    }
}

#[test]
fn a_scan_goes_back_in_some_three_times_its_time() {
    let spec = h200();
    let s = Ssd {
        batch: 1,
        tokens: 1024,
        heads: 24,
        head_dim: 64,
        state: 128,
        groups: 1,
        chunk: 256,
        element_bytes: 2,
        packed: true,
        step_pitch: 24,
        softplus: true,
        skip: true,
        gate: false,
        initial: false,
    };
    let forward = seconds(ssd(&s, &spec, &SsdNames::default()).unwrap_or_default());
    let back = ssd_gradient(&s, &spec, &SsdNames::default(), &SsdGradients::default());
    let back = seconds(back.unwrap_or_else(|e| unreachable!("{e}")));
    // `operators.csv`, 8 x 2048 tokens of 80 heads: 2.5 times; here what is launched takes a share of its own.
    assert!((1.5..6.0).contains(&(back / forward)), "{back} against {forward}");
}

#[test]
fn linear_attention_of_every_rule_goes_back() {
    let spec = h200();
    for rule in [Rule::Gla, Rule::Retention, Rule::SimpleGla, Rule::Delta, Rule::GatedDelta, Rule::Kda] {
        let call = LinearCall { carries_state: false, ..LinearCall::new(rule, 1, 1024, 4, 128, 128) };
        let names = Names::of("linear");
        let forward = seconds(linear::chunk(Source::Fla, &call, &spec, &names).unwrap_or_default());
        let back = linear::chunk_gradient(&call, &spec, &names, &Gradients::of("linear"));
        let back = seconds(back.unwrap_or_else(|e| unreachable!("{rule:?}: {e}")));
        assert!((0.8..8.0).contains(&(back / forward)), "{rule:?}: {back} against {forward}");
    }
}
