//! Time without an end: moving the epoch between steps changes nothing, and runs longer than one epoch can count are counted.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::common::ODD_MODEL;
use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_hw::outcome::Outcome;
use banksia_hw::system::RunOptions;
use banksia_input::Source;
use banksia_sim::Time;

/// What 64-bit femtoseconds hold, in seconds.
const ONE_EPOCH_S: f64 = 18_446.0;

fn experiment(machine: &str, generation: &str, settings: &[&str]) -> Experiment {
    let text =
        format!("[machine]\nbase = \"{machine}\"\n[workload]\nmodel = {ODD_MODEL}\ngeneration = {{ {generation} }}\n");
    let source = Source::from_text("epoch.toml", text).with_settings(settings).unwrap();
    Experiment::new(&source, None).unwrap_or_else(|e| panic!("{machine}: {e}"))
}

fn outcome(experiment: &Experiment, options: RunOptions) -> Outcome {
    run::run(experiment, options, &mut |_| {}).unwrap_or_else(|e| panic!("{}: {e}", experiment.name)).1
}

/// Latencies, energies, traffic and counts are the same, bit for bit, wherever the epoch moves.
fn same_with_any_epoch(experiment: &Experiment) {
    let whole = outcome(experiment, RunOptions { epoch_after: Time::MAX, ..RunOptions::default() });
    assert!(whole.steps.len() > 3, "{} steps", whole.steps.len());
    for epoch_after in [Time::ZERO, Time::from_fs(7_000_000_000), whole.steps[2].latency] {
        let mut moved = outcome(experiment, RunOptions { epoch_after, ..RunOptions::default() });
        // Where the epoch moves between them, two steps have nothing in common that a repetition could stand on.
        moved.worked_out.clone_from(&whole.worked_out);
        assert_eq!(moved, whole, "{}, the epoch moves after {epoch_after}", experiment.name);
    }
}

#[test]
fn the_epoch_of_a_pim_machine_moves_without_a_trace() {
    let generation = "prompt_tokens = 3, generated_tokens = 9";
    same_with_any_epoch(&experiment("pim-gpt", generation, &[]));
    // Clocks that have no short common period.
    same_with_any_epoch(&experiment("pim-gpt", generation, &["machine.vector_unit.clock_mhz=700"]));
}

#[test]
fn the_epoch_of_a_gpu_moves_without_a_trace() {
    let generation = "prompt_tokens = 16, generated_tokens = 5, batch = 2";
    for launch in ["graph", "eager"] {
        same_with_any_epoch(&experiment("h200", generation, &[&format!("mapping.launch={launch}")]));
    }
}

/// The whole is the sum of its steps and of its operators, and is longer than one epoch.
fn counted(outcome: &Outcome) {
    let latency = outcome.latency.as_secs_f64();
    assert!(latency > 2.0 * ONE_EPOCH_S, "{latency} s");
    let steps: f64 = outcome.steps.iter().map(|s| s.latency.as_secs_f64()).sum();
    let operators: f64 = outcome.operators.iter().map(|o| o.latency.as_secs_f64()).sum();
    for sum in [steps, operators] {
        assert!((sum - latency).abs() <= 1e-9 * latency, "{sum} s, and together {latency} s");
    }
    let last = outcome.steps.last().unwrap();
    let end = last.start.as_secs_f64() + last.latency.as_secs_f64();
    assert!((end - latency).abs() <= 1e-9 * latency, "the last step ends at {end} s of {latency} s");
}

#[test]
fn hours_on_a_slow_pim_machine_are_counted() {
    // A vector unit of 1 kHz. Without refresh, whose occurrences in so long a time are many.
    let settings =
        ["workload.model=gpt2-medium", "machine.vector_unit.clock_mhz=0.001", "machine.memory.refresh=false"];
    let experiment = experiment("pim-gpt", "prompt_tokens = 1, generated_tokens = 1024", &settings);
    counted(&outcome(&experiment, RunOptions::default()));
}

#[test]
fn hours_on_a_slow_gpu_are_counted() {
    // A host that takes a second for each launch.
    let settings = ["workload.model=gpt2-small", "mapping.launch=eager", "machine.launch.python_us=1e6"];
    let experiment = experiment("h200", "prompt_tokens = 1, generated_tokens = 300", &settings);
    counted(&outcome(&experiment, RunOptions::default()));
}
