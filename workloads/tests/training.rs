//! Laws of training steps: what gradients take, what is kept, and in which order operators run.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use banksia_workloads::backward::{
    NEXT_HIDDEN, Optimizer, Pass, Precision, Recompute, Role, TrainOp, TrainingSpec, TrainingStep,
};
use banksia_workloads::{DataType, Generation, Model, Op, Step, zoo};

fn model(name: &str) -> Model {
    zoo::load(name).unwrap()
}

fn step(name: &str, spec: TrainingSpec) -> TrainingStep {
    model(name).training(&spec).unwrap()
}

/// Products take twice as many operations for gradients as forward; that is nearly all there is.
#[test]
fn gradients_take_twice_the_operations_of_the_forward_pass() {
    for name in ["gpt2-small", "llama2-7b"] {
        let step = step(name, TrainingSpec::new(2, 512));
        let of = |pass: Pass| -> f64 {
            let products = |op: &TrainOp| {
                matches!(
                    op,
                    TrainOp::Forward { of: Op::Linear { .. } }
                        | TrainOp::InputGradient { .. }
                        | TrainOp::WeightGradient { .. }
                )
            };
            step.schedule().iter().filter(|s| s.pass == pass && products(&s.node.op)).map(|s| s.node.flops()).sum()
        };
        let (forward, backward) = (of(Pass::Forward), of(Pass::Backward { recompute: false }));
        // Biases are added in the forward product.
        assert!((backward / forward - 2.0).abs() < 0.01, "{name}: {}", backward / forward);
    }
}

/// Every value that an operator reads has been written before, or was there before the step.
#[test]
fn nothing_is_read_before_it_is_written() {
    for name in ["gpt2-small", "llama2-7b", "mixtral-8x7b", "mamba2-2.7b"] {
        for recompute in [Recompute::None, Recompute::Full, Recompute::Selective] {
            let step = step(name, TrainingSpec { recompute, ..TrainingSpec::new(1, 64) });
            let mut written = HashSet::new();
            for s in step.schedule() {
                for value in &s.node.reads {
                    let there = matches!(value.role, Role::Parameter | Role::Outside);
                    assert!(
                        there || written.contains(&s.memory(value)),
                        "{name} {recompute:?}: {} reads {}",
                        s.node.label,
                        s.memory(value)
                    );
                }
                written.extend(s.node.writes.iter().map(|v| s.memory(v)));
            }
        }
    }
}

/// Each parameter has one gradient, of its size, when the backward pass is over.
#[test]
fn every_parameter_has_a_gradient() {
    for name in ["gpt2-small", "llama2-7b", "mixtral-8x7b", "mamba2-2.7b"] {
        let step = step(name, TrainingSpec::new(1, 64));
        let mut gradients = std::collections::HashMap::new();
        for s in step.schedule() {
            for value in s.node.writes.iter().filter(|v| v.role == Role::ParameterGradient) {
                gradients.insert(s.memory(value), value.elements);
            }
        }
        for p in &step.parameters {
            let name = match p.layer {
                Some(layer) => format!("layer{layer}.{}.grad", p.name),
                None => format!("{}.grad", p.name),
            };
            assert_eq!(gradients.remove(&name), Some(p.elements()), "{name}");
        }
        assert!(gradients.is_empty(), "{name}: {gradients:?}");
    }
}

/// Parameters are those of inference.
#[test]
fn parameters_are_those_of_the_model() {
    for name in ["gpt2-small", "llama2-7b"] {
        let bytes = model(name).weight_bytes();
        let step = step(name, TrainingSpec::new(1, 64));
        assert_eq!(step.parameter_count() * 2, bytes, "{name}");
    }
}

/// Computing layers again keeps their inputs alone, and takes one more forward pass less what no gradient needs.
#[test]
fn recomputation_trades_memory_for_operations() {
    let of = |recompute| step("gpt2-small", TrainingSpec { recompute, ..TrainingSpec::new(4, 256) });
    let (none, selective, full) = (of(Recompute::None), of(Recompute::Selective), of(Recompute::Full));
    assert!(none.saved_bytes() > selective.saved_bytes() && selective.saved_bytes() > full.saved_bytes());
    assert!(none.flops() < selective.flops() && selective.flops() < full.flops());
    let forward: f64 = none.schedule().iter().filter(|s| s.pass == Pass::Forward).map(|s| s.node.flops()).sum();
    assert!(full.flops() < none.flops() + forward);
    // Of a layer its input stays: the hidden state.
    let kept = |s: &TrainingStep| {
        let layers = s.regions.iter().find(|r| r.repeat > 1).unwrap();
        layers.forward.iter().flat_map(|n| &n.writes).find(|v| v.name == NEXT_HIDDEN).unwrap().bytes()
            * u64::from(layers.repeat)
    };
    assert!(full.saved_bytes() > kept(&full));
}

/// The states of optimisers, in bytes a parameter.
#[test]
fn optimisers_keep_what_they_say() {
    let of = |optimizer, precision, shards| {
        let spec = TrainingSpec { optimizer, precision, shards, ..TrainingSpec::new(1, 64) };
        let step = step("gpt2-small", spec);
        step.optimizer_bytes() as f64 / step.parameter_count() as f64
    };
    let moments = DataType::F32;
    let near = |x: f64, y: f64| assert!((x - y).abs() < 1e-3 * y.max(1.0), "{x} {y}");
    near(of(Optimizer::Sgd, Precision::Pure, 1), 0.0);
    near(of(Optimizer::AdamW { moments }, Precision::Pure, 1), 8.0);
    // Copies of the parameters in 32 bits, too; and an eighth of all of it.
    near(of(Optimizer::AdamW { moments }, Precision::Mixed, 1), 12.0);
    near(of(Optimizer::AdamW { moments }, Precision::Mixed, 8), 1.5);
    near(of(Optimizer::AdamW8 { block: 256 }, Precision::Pure, 1), 2.0 + 8.0 / 256.0);
    assert!(of(Optimizer::LowRank { rank: 128, moments }, Precision::Pure, 1) < 8.0);
}

/// A model without a vocabulary has no loss, and what has no gradient says so.
#[test]
fn refusals_name_the_operator() {
    let mut m = model("gpt2-small");
    m.head.vocab = 0;
    let error = m.training(&TrainingSpec::new(1, 64)).unwrap_err();
    assert_eq!(error.operator, "loss");
}

/// Layers' graphs of training are those of a prompt of as many tokens.
#[test]
fn the_forward_pass_is_that_of_a_prompt() {
    let m = model("llama2-7b");
    let step = m.training(&TrainingSpec { backward: false, ..TrainingSpec::new(2, 128) }).unwrap();
    let generation = Generation { batch: 2, prompt_tokens: 128, ..Generation::default() };
    let prompt = m.graph(&Step { head: false, ..Step::prefill(2, 128) }, &generation);
    let products = |step: &TrainingStep| -> f64 {
        let layers = step.regions.iter().filter(|r| r.repeat > 1);
        layers.flat_map(|r| &r.forward).map(banksia_workloads::backward::TrainNode::flops).sum()
    };
    let expected: u128 = prompt
        .regions
        .iter()
        .filter(|r| r.repeat > 1)
        .flat_map(|r| r.body.operators())
        .map(|n| u128::from(n.flops()))
        .sum();
    // Softmax is counted by itself there, and is a part of attention here.
    let ratio = products(&step) / expected as f64;
    assert!((0.97..=1.0).contains(&ratio), "{ratio}");
}
