//! What the PIM-GPT tests share: experiments by model, single steps, and the bytes that a step cannot do without.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_hw::outcome::Outcome;
use banksia_hw::program::Program;
use banksia_hw::system::RunOptions;
use banksia_input::Source;
use banksia_reports::RunReport;
use banksia_workloads::Model;

/// PIM-GPT's eight models, smallest first within each family.
pub(crate) const MODELS: [&str; 8] =
    ["gpt2-small", "gpt2-medium", "gpt2-large", "gpt2-xl", "gpt3-small", "gpt3-medium", "gpt3-large", "gpt3-xl"];

/// The checkout.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The experiment file of a model, with settings written over it.
pub(crate) fn experiment(model: &str, settings: &[&str]) -> Experiment {
    Experiment::read(&root().join(format!("configs/pim-gpt/{model}.toml")), settings).unwrap_or_else(|e| panic!("{e}"))
}

/// GPT-3 XL with 24 heads of 64, as the H200 measured it.
pub(crate) fn gpt3_xl_24x64() -> Experiment {
    let text = std::fs::read_to_string(root().join("workloads/models/gpt3-xl.toml")).unwrap();
    let model = text.replace("heads = 16\n", "heads = 24\n").replace("head_dim = 128\n", "head_dim = 64\n");
    let text = format!(
        "[machine]\nbase = \"pim-gpt\"\n[workload.generation]\nprompt_tokens = 1\ngenerated_tokens = 1024\n[workload.model]\n{model}"
    );
    let experiment =
        Experiment::new(&Source::from_text("gpt3-xl-24x64.toml", text), None).unwrap_or_else(|e| panic!("{e}"));
    let gpt = experiment.model.as_gpt().unwrap();
    assert_eq!((gpt.heads, gpt.head_dim), (24, 64));
    experiment
}

/// The program of the pass at one context.
pub(crate) fn program(experiment: &Experiment, context: u64) -> Program {
    run::program(experiment, context - 1).unwrap_or_else(|e| panic!("{}: {e}", experiment.name))
}

/// The pass through the model at one context, on a machine that has done nothing before.
pub(crate) fn step(experiment: &Experiment, context: u64) -> (RunReport, Outcome) {
    run::run_program(experiment, std::path::Path::new("mapped"), program(experiment, context), RunOptions::default())
        .unwrap_or_else(|e| panic!("{}: {e}", experiment.name))
}

/// Every token of the experiment.
pub(crate) fn whole(experiment: &Experiment) -> (RunReport, Outcome) {
    run::run(experiment, RunOptions::default(), &mut |_| {}).unwrap_or_else(|e| panic!("{}: {e}", experiment.name))
}

/// Bytes of weights and of keys and values that one pass at a context multiplies, each once: by the model's sizes alone.
pub(crate) fn weight_and_kv_bytes(model: &Model, context: u64, lm_head: bool) -> u64 {
    let model = &model.as_gpt().unwrap();
    let attention = model.heads * model.head_dim;
    let layer = model.width * 3 * attention + attention * model.width + 2 * model.width * model.ffn_width;
    let head = if lm_head { model.vocab * model.width } else { 0 };
    let layers = u64::from(model.layers);
    2 * (layers * (layer + 2 * attention * context) + head)
}

/// Bytes that the banks of all channels deliver to their MAC units in a second: a 32-byte column in each of 16 banks of
/// each channel every nanosecond (tCCD of PIM-GPT's table).
pub(crate) fn bank_bytes_per_s(channels: u32) -> f64 {
    f64::from(channels) * 16.0 * 32.0 / 1e-9
}
