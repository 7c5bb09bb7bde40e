//! The options of the mapping.

use std::collections::BTreeMap;

use banksia_hw::program::LaunchMode;
use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, Op, OperatorNode, Step};
use schemars::JsonSchema;
use serde::Deserialize;

use super::place::{On, Rule};
use super::weights::Copies;
use crate::gpu::model::AttentionKernels;
use crate::pim::MatrixOptions;
use crate::plan::Problem;
use crate::space::{Knob, of_values};

/// The options of the mapping, as the table `[mapping]` writes them.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub(super) struct HybridOptions {
    /// How the GPU's kernels are launched.
    #[serde(default)]
    pub(super) launch: LaunchMode,
    /// Which kernels compute attention over the prompt.
    #[serde(default)]
    pub(super) attention: AttentionKernels,
    /// Into how many parts that take turns the batch is cut in decode: 1 or 2. Where absent 2; 1 of one sequence, and
    /// where both devices use one memory at which they take turns.
    #[schemars(range(min = 1, max = 2))]
    pub(super) halves: Option<i64>,
    /// Where attention of decode runs, and with it where keys and values lie; the PIM device where nothing is said.
    pub(super) attention_on: Option<On>,
    /// Channels that a head's keys and values lie over in the PIM device; an even share of all where absent.
    #[schemars(range(min = 1))]
    pub(super) attention_channels: Option<i64>,
    /// Where operators of decode run: by an operator's name in reports, or by class (`products`, `experts`, `attention`, `states`,
    /// `elementwise`). `"gpu"`, `"pim"`, or a table of conditions under which the PIM device has it. What has no rule runs on the GPU, but for what stands
    /// between operators of the PIM device alone.
    #[serde(default)]
    pub(super) place: BTreeMap<String, Rule>,
    /// The same of the prompt: products and experts, all else is the GPU's.
    #[serde(default)]
    pub(super) place_prefill: BTreeMap<String, Rule>,
    /// How weights are kept that both devices use: twice (`two`), or once as the banks have them, copied by the GPU before each use (`convert`), or once in
    /// a layout that both read at their full rates (`direct`).
    #[serde(default)]
    pub(super) copies: Copies,
    /// How the matrix of an operator lies in the banks, by the operator's name in reports; in the fewest rows where nothing is said.
    #[serde(default)]
    pub(super) layout: BTreeMap<String, MatrixOptions>,
}

impl HybridOptions {
    /// The places that leave all of decode to the GPU, so that nothing takes turns; none where a rule is of other operators.
    pub(super) fn alone(&self) -> Vec<Vec<(&'static str, toml::Value)>> {
        let own = |class: &String| CLASSES.iter().any(|(own, _)| own == class) || class == "attention";
        if !self.place.keys().all(own) {
            return Vec::new();
        }
        let of = |(_, key): &(&str, &'static str)| (*key, toml::Value::from("gpu"));
        vec![CLASSES.iter().map(of).chain(attention_on("gpu")).collect()]
    }

    /// Whether a rule says where attention runs.
    pub(super) fn places_attention(&self) -> bool {
        self.place.contains_key("attention")
    }

    /// Parts of the batch that take turns; `alone` where the GPU runs all of it.
    pub(super) fn halves(
        &self,
        generation: &Generation,
        turns: bool,
        alone: bool,
        source: &Source,
    ) -> Result<u64, InputError> {
        // On the GPU alone nothing takes turns.
        let most = if turns || alone { 1 } else { 2 };
        let Some(halves) = self.halves else { return Ok(generation.batch.clamp(1, most)) };
        let halves = source.check("mapping.halves", halves, 1..=2)?.unsigned_abs();
        if halves > 1 && alone {
            let error = source.error(
                "mapping.halves",
                "is 2, and attention_on is \"gpu\": with all of it on one device nothing takes turns",
            );
            return Err(error.help("set halves = 1, or attention_on = \"pim\""));
        }
        if halves > generation.batch {
            let error = source.error("mapping.halves", format!("is {halves}, and the batch has one sequence"));
            return Err(error.help("set halves = 1, or a larger workload.generation.batch"));
        }
        Ok(halves)
    }
}

/// Classes of operators that a model may have beside attention, and their keys.
const CLASSES: [(&str, &str); 3] =
    [("products", "place.\"products\""), ("experts", "place.\"experts\""), ("states", "place.\"states\"")];

/// Both keys that say where attention of decode runs.
pub(super) fn attention_on(device: &'static str) -> Vec<(&'static str, toml::Value)> {
    ["attention_on", "place.\"attention\""].map(|key| (key, toml::Value::from(device))).to_vec()
}

/// Classes of operators that a model has beside attention, each on either device, and how weights of both are kept.
pub(super) fn places(problem: &Problem<'_>, options: &HybridOptions) -> Vec<Knob> {
    let generation = problem.generation;
    let step = Step::decode(generation.batch, generation.last_context());
    let graph = problem.model.graph(&step, generation);
    let has = |wanted: &dyn Fn(&OperatorNode) -> bool| graph.operators().any(|(node, _)| wanted(node));
    let mut knobs = Vec::new();
    let both = || of_values(["gpu", "pim"]);
    if has(&|n| matches!(n.op, Op::Linear { .. } | Op::HeadLinear { .. })) {
        let meaning = "where products of decode run, and what stands between two of them";
        knobs.push(Knob::whole("place.\"products\"", meaning, both()));
    }
    if has(&|n| matches!(n.op, Op::ExpertLinear { .. })) {
        let meaning = "where products of experts run in decode: all, or those that few tokens are sent to";
        let below = |rows: i64| {
            let rule = toml::Table::from_iter([("pim_below_tokens".to_owned(), toml::Value::from(rows))]);
            toml::Value::Table(rule)
        };
        let most = graph.operators().flat_map(|(n, _)| n.load.iter().copied()).max().unwrap_or(0);
        let limits =
            [2i64, 3, 4, 6, 8, 12, 16, 24, 32].into_iter().filter(|rows| rows.unsigned_abs() <= most).map(below);
        knobs.push(Knob::whole("place.\"experts\"", meaning, both().into_iter().chain(limits).collect()));
    }
    if has(&|n| n.state_bytes() > 0) {
        let meaning = "where states of recurrences are updated in decode, and lie";
        knobs.push(Knob::whole("place.\"states\"", meaning, both()));
    }
    // A prompt is the GPU's, and uses what the banks have for decode; without one both use experts that are split alone.
    let prompts = generation.prompt_tokens > 1;
    if prompts || has(&|n| matches!(n.op, Op::ExpertLinear { .. })) {
        let meaning = "weights that both devices use: twice, or once and copied by the GPU before each use";
        let [(_, products), (_, experts), _] = CLASSES;
        let of = |key: &'static str, device: &str| (key, toml::Value::from(device));
        let inert = match prompts {
            // A rule of other operators may give these to both.
            _ if options.place.keys().any(|k| CLASSES.iter().all(|(own, _)| own != k) && k != "attention") => {
                Vec::new()
            }
            true if options.place_prefill.is_empty() => vec![vec![of(products, "gpu"), of(experts, "gpu")]],
            true => Vec::new(),
            false => vec![vec![of(experts, "gpu")], vec![of(experts, "pim")]],
        };
        knobs.push(Knob { inert, ..Knob::whole("copies", meaning, of_values(["two", "convert"])) });
    }
    knobs
}
