//! What a mapping is checked for without time: plans of every kind pass, and what is taken out of their programs is missed.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::common::{Folder, fails, succeeds};
use banksia_experiments::experiment::Experiment;
use banksia_hw::program::{Program, Work};
use banksia_hw::system::{RunOptions, System};
use banksia_input::Source;
use banksia_mappers::replay::{Claims, check};

const HEAD: &str = r#"
[workload.model]
name = "small"
width = 512
max_positions = 4096
types = { weights = { dtype = "bf16" }, activations = "bf16", cache = "bf16" }
embed = { vocab = 512 }
head = { norm = "rms_norm", vocab = 512 }
"#;

const ATTENTION: &str = r#"
[[workload.model.blocks]]
name = "a"
[[workload.model.blocks.stages]]
norm = "rms_norm"
branches = [{ mixer = { kind = "attention", heads = 8, kv_heads = 2, head_dim = 64, rotary_dim = 64 } }]
"#;

fn stage(mixer: &str) -> String {
    format!("[[workload.model.blocks.stages]]\nnorm = \"rms_norm\"\nbranches = [{{ mixer = {{ {mixer} }} }}]\n")
}

/// Small models, by kind.
fn model(kind: &str) -> String {
    let pattern = |text: &str| format!("{HEAD}pattern = [{text}]\n");
    let two = pattern("{ block = \"a\", layers = 2 }");
    match kind {
        "dense" => {
            two + ATTENTION + &stage("kind = \"feed_forward\", inner = 1024, activation = \"silu\", gated = true")
        }
        "experts" => {
            two + ATTENTION + &stage("kind = \"experts\", experts = 8, top_k = 2, inner = 512, activation = \"silu\"")
        }
        _ => {
            let mamba = "kind = \"mamba2\", heads = 16, head_dim = 64, state = 64, groups = 2, conv_kernel = 4";
            pattern("{ block = \"m\", layers = 2 }, { block = \"a\", layers = 1 }")
                + ATTENTION
                + "[[workload.model.blocks]]\nname = \"m\"\n"
                + &stage(mamba)
        }
    }
}

const DECODE: &str = "context_tokens = 70\nprompt_tokens = 0\ngenerated_tokens = 1\nbatch = 5";
const PROMPT: &str = "context_tokens = 20\nprompt_tokens = 12\ngenerated_tokens = 2\nbatch = 2";

fn experiment(machine: &str, kind: &str, generation: &str, mapping: &str) -> Experiment {
    let text = format!(
        "[machine]\nbase = \"{machine}\"\n{}[workload.generation]\n{generation}\n[mapping]\n{mapping}\n",
        model(kind)
    );
    let source = Source::from_text("exp.toml", text);
    Experiment::new(&source, None).unwrap_or_else(|e| panic!("{machine}, {kind}, {generation}, {mapping}: {e}"))
}

/// The claims and the program of a step.
fn step(experiment: &Experiment, index: u64) -> (Claims, Program) {
    let mut system = System::new(&experiment.machine, RunOptions::default());
    let mut plan = experiment.plan.boxed();
    let claims = plan.claims(index, &mut system).unwrap().unwrap();
    (claims, plan.lower(index, &mut system).unwrap())
}

/// Kernels read what was written, whatever a framework fuses.
#[test]
fn plans_of_every_framework_pass() {
    for machine in ["h200", "b200"] {
        for kind in ["dense", "experts", "states"] {
            for framework in ["torch", "compiled", "vllm", "sglang", "trtllm"] {
                let mapping = format!("strategy = \"gpu\"\nframework = \"{framework}\"");
                for generation in [DECODE, PROMPT] {
                    let own = experiment(machine, kind, generation, &mapping);
                    for index in 0..own.plan.programs() {
                        let (claims, program) = step(&own, index);
                        let done = check(&program, &claims, &own.machine);
                        let report = done.unwrap_or_else(|e| panic!("{machine}, {kind}, {framework}, {index}: {e}"));
                        assert!(report.kernels > 0);
                    }
                }
            }
        }
    }
}

const PLACES: [(&str, &str); 6] = [
    ("dense", "products = \"pim\""),
    ("dense", "products = \"pim\"\nelementwise = \"pim\"\nattention = \"gpu\""),
    ("experts", "experts = \"pim\""),
    ("experts", "experts = { pim_below_tokens = 2 }"),
    ("states", "states = \"pim\""),
    ("states", "states = \"pim\"\nproducts = \"pim\""),
];

fn mappings(place: &str) -> Vec<String> {
    let of = |keys: &str| format!("strategy = \"hybrid\"\n{keys}\n[mapping.place]\n{place}");
    ["", "copies = \"convert\"", "copies = \"direct\""].map(of).into()
}

/// Products, experts and states in the banks beside a GPU: behind a link, in its own memory by turns (halves), and in its own memory at once.
#[test]
fn plans_that_place_operators_pass() {
    for machine in ["h200-aim", "h200-attacc", "neupims", "duplex", "sieve"] {
        for (kind, place) in PLACES {
            for mapping in mappings(place) {
                for generation in [DECODE, PROMPT] {
                    let own = experiment(machine, kind, generation, &mapping);
                    for index in 0..own.plan.programs() {
                        let (claims, program) = step(&own, index);
                        check(&program, &claims, &own.machine)
                            .unwrap_or_else(|e| panic!("{machine}, {kind}, {mapping}, {generation}, {index}: {e}"));
                    }
                }
            }
        }
    }
}

/// Systems of the field, and a table of tokens whose rows lie in several groups of channels.
#[test]
fn plans_that_come_with_the_program_pass() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    for name in ["hbm-pim/llama2-7b", "pim-systems/duplex", "pim-systems/ianus", "pim-systems/sieve"] {
        let own = Experiment::read::<&str>(&root.join(name).with_extension("toml"), &[]).unwrap();
        let (claims, program) = step(&own, own.plan.programs() - 1);
        check(&program, &claims, &own.machine).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

/// A program without one of its instructions: what waited for it waits for nothing in its place.
fn without(program: &Program, taken: usize) -> Program {
    let mut spoilt = Program { instructions: Vec::new(), dependencies: Vec::new(), ..program.clone() };
    for (i, instruction) in program.instructions.iter().enumerate().filter(|(i, _)| *i != taken) {
        let mut own = *instruction;
        own.first_dependency = spoilt.dependencies.len() as u32;
        let kept = program.dependencies_of(i).iter().filter(|d| **d as usize != taken);
        spoilt.dependencies.extend(kept.map(|d| if (*d as usize) < taken { *d } else { *d - 1 }));
        own.dependencies = spoilt.dependencies.len() as u32 - own.first_dependency;
        spoilt.instructions.push(own);
    }
    spoilt
}

/// A program in which one instruction waits for nothing.
fn unordered(program: &Program, hasty: usize) -> Program {
    let mut spoilt = program.clone();
    spoilt.instructions[hasty].dependencies = 0;
    spoilt
}

/// Every transfer, kernel and block of a program that places operators is missed when it is taken out; a transfer or a kernel that waits for
/// nothing is found where it uses what the other device gives.
#[test]
fn what_is_taken_out_of_a_placed_plan_is_missed() {
    for machine in ["h200-aim", "h200-attacc"] {
        for (kind, place) in PLACES {
            let own = experiment(machine, kind, DECODE, &mappings(place)[0]);
            let (claims, program) = step(&own, 0);
            let pim = claims.banks[0].device;
            let (mut refused, mut hasty) = (0, 0);
            for (i, instruction) in program.instructions.iter().enumerate() {
                let name = &program.operators[instruction.operator as usize].name;
                // The vector unit's share of products is counted together, and may be done in one go or several.
                if !matches!(instruction.work, Work::Vector { .. }) {
                    let wrong = check(&without(&program, i), &claims, &own.machine);
                    assert!(wrong.is_err(), "{machine}, {kind}, {place}: {i}, of {name}, may be left out");
                    refused += 1;
                }
                // A transfer waits for what it sends.
                if matches!(instruction.work, Work::Transfer { .. }) && instruction.dependencies > 0 {
                    let wrong = check(&unordered(&program, i), &claims, &own.machine);
                    assert!(wrong.is_err(), "{machine}, {kind}, {place}: {i}, of {name}, need not wait");
                    hasty += 1;
                }
                // So does a kernel after one.
                let sent = |d: &u32| matches!(program.instructions[*d as usize].work, Work::Transfer { .. });
                if matches!(instruction.work, Work::Kernel { .. }) && program.dependencies_of(i).iter().any(sent) {
                    let wrong = check(&unordered(&program, i), &claims, &own.machine);
                    assert!(wrong.is_err(), "{machine}, {kind}, {place}: {i}, of {name}, need not wait");
                    hasty += 1;
                }
            }
            assert!(program.instructions.iter().any(|x| x.on == pim) && refused > 20, "{machine}, {kind}, {place}");
            // The memory of the second machine is the GPU's own.
            assert!(hasty > 0 || machine != "h200-aim", "{machine}, {kind}, {place}");
        }
    }
}

/// Bytes over the link are those of the values that cross.
#[test]
fn a_transfer_of_other_bytes_is_refused() {
    let own = experiment("h200-aim", "dense", DECODE, &mappings(PLACES[0].1)[0]);
    let (claims, mut program) = step(&own, 0);
    let sent = program.instructions.iter_mut().find_map(|x| match &mut x.work {
        Work::Transfer { bytes, .. } => Some(bytes),
        _ => None,
    });
    *sent.unwrap() -= 2;
    let wrong = check(&program, &claims, &own.machine).unwrap_err().to_string();
    assert!(wrong.contains("bytes over the link"), "{wrong}");
}

/// A program in a file may be of a machine with more channels.
#[test]
fn a_program_of_another_machine_is_refused() {
    let folder = Folder::new("check-other-machine");
    let (file, program) = ("../configs/search/layer-aim.toml", folder.path("p.json"));
    succeeds(&["map", file, "--set", "machine.memory.channels=64", "--program", &program]);
    let (code, said) = fails(&["map", file, "--check", "--program", &program]);
    assert_eq!(code, 2);
    assert!(said.contains("channels") && said.contains("takes 64, and there are 32"), "{said}");
}
