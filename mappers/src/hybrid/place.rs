//! Which device runs which operator: rules of `[mapping]`, and what they say of a step.
//!
//! An operator's rule is its own, else its class's. What no rule places follows what it stands between: on the PIM device where all of that is there,
//! so that nothing is sent back and forth for an activation between two products.

use std::collections::{BTreeMap, BTreeSet};

use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, Op, OperatorNode, Phase, StepGraph};
use petgraph::graph::NodeIndex;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// One of the two devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum On {
    /// The PIM device.
    #[default]
    Pim,
    /// The GPU.
    Gpu,
}

/// Where an operator runs: `"gpu"`, `"pim"`, or by what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum Rule {
    /// One device.
    On(On),
    /// On the PIM device where every condition that is given holds, else on the GPU.
    Where(Conditions),
}

// What is wrong is said of the form that was written, not of all forms at once.
impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Rule;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"gpu\", \"pim\", or a table of pim_below_batch, pim_from_context, pim_below_tokens")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Rule, E> {
                On::deserialize(text.into_deserializer()).map(Rule::On)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
                Conditions::deserialize(MapAccessDeserializer::new(map)).map(Rule::Where)
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// When the PIM device runs an operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Conditions {
    /// The batch has fewer sequences than this.
    #[schemars(range(min = 1))]
    pim_below_batch: Option<i64>,
    /// The longest context of the generation has at least so many tokens.
    #[schemars(range(min = 1))]
    pim_from_context: Option<i64>,
    /// Of experts: those that get fewer tokens of the step than this; the others run on the GPU, at the same time where the devices have memories of their
    /// own.
    #[schemars(range(min = 1))]
    pim_below_tokens: Option<i64>,
}

/// The device, or the devices, of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// The GPU.
    Gpu,
    /// The PIM device.
    Pim,
    /// Of experts, those with fewer rows than this run on the PIM device, the others on the GPU.
    Below(u64),
}

impl Placed {
    pub(super) fn on_gpu(self) -> bool {
        self != Self::Pim
    }

    pub(super) fn on_pim(self) -> bool {
        self != Self::Gpu
    }
}

/// Operators that have one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Products with weights that are not experts'.
    Products,
    /// Products of experts, and how tokens get there and back.
    Experts,
    /// On keys and values.
    Attention,
    /// On states of recurrences.
    States,
    /// All else: norms, residuals, activations, rotations, tables, choices.
    Elementwise,
}

impl Class {
    const ALL: [Self; 5] = [Self::Products, Self::Experts, Self::Attention, Self::States, Self::Elementwise];

    fn name(self) -> &'static str {
        match self {
            Self::Products => "products",
            Self::Experts => "experts",
            Self::Attention => "attention",
            Self::States => "states",
            Self::Elementwise => "elementwise",
        }
    }

    fn of(node: &OperatorNode) -> Self {
        match node.op {
            Op::Linear { .. } | Op::HeadLinear { .. } => Self::Products,
            Op::ExpertLinear { .. } => Self::Experts,
            _ if is_of_attention(node) => Self::Attention,
            _ if node.state_bytes() > 0 => Self::States,
            _ => Self::Elementwise,
        }
    }
}

/// Whether an operator works on the cache, or on what lies between two that do.
pub(super) fn is_of_attention(node: &OperatorNode) -> bool {
    matches!(
        node.op,
        Op::KvAppend { .. }
            | Op::AttentionScores { .. }
            | Op::Softmax { .. }
            | Op::ScoreCap { .. }
            | Op::AttentionValues { .. }
    )
}

/// The rules of a mapping.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    decode: BTreeMap<String, Rule>,
    prefill: BTreeMap<String, Rule>,
    /// Attention of decode.
    attention: On,
    batch: i64,
    context: i64,
}

/// Where each operator of a step's graph runs: by region, and by operator.
pub(super) type Resolved = Vec<Vec<Placed>>;

impl Places {
    /// Checks the rules against the operators that a model has in decode.
    pub(super) fn new(
        [decode, prefill]: [BTreeMap<String, Rule>; 2],
        attention: Option<On>,
        generation: &Generation,
        graph: &StepGraph,
        source: &Source,
    ) -> Result<Self, InputError> {
        let clamp = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let (batch, context) = (clamp(generation.batch), clamp(generation.last_context()));
        let mut this = Self { decode, prefill, attention: On::Pim, batch, context };
        let labels: BTreeSet<&str> = graph.operators().map(|(n, _)| n.label.as_str()).collect();
        for (table, rules) in [("place", &this.decode), ("place_prefill", &this.prefill)] {
            for (name, rule) in rules {
                let path = format!("mapping.{table}.\"{name}\"");
                let class = Class::ALL.into_iter().find(|c| c.name() == name);
                if class.is_none() && !labels.contains(name.as_str()) {
                    let mut known: Vec<&str> = Class::ALL.map(Class::name).to_vec();
                    known.extend(labels.iter().copied());
                    return Err(source.unknown_name(&format!("mapping.{table}"), "operator or class", name, known));
                }
                let nodes = || graph.operators().map(|(n, _)| n).filter(|n| n.label == *name);
                let all =
                    |wanted: Class| class == Some(wanted) || nodes().next().is_some_and(|n| Class::of(n) == wanted);
                if let Rule::Where(conditions) = rule {
                    this.check(conditions, class == Some(Class::Experts), &path, source)?;
                }
                if class.is_none() && all(Class::Attention) {
                    let error =
                        source.error(&path, "is a part of attention, whose parts run where keys and values lie");
                    return Err(error.help(format!("place all of it: {table}.\"attention\"")));
                }
                let fixed = all(Class::Attention) || all(Class::States);
                if table == "place_prefill" && fixed && *rule != Rule::On(On::Gpu) {
                    let problem = "runs on the PIM device, which takes one token of a sequence after the other there";
                    return Err(source.error(&path, problem).help("leave it out: of a prompt the GPU runs it"));
                }
            }
        }
        let rule = this.decode.get(Class::Attention.name()).map(|rule| this.holds(rule));
        let rule = rule.map(|pim| if pim { On::Pim } else { On::Gpu });
        if let (Some(key), Some(rule)) = (attention, rule)
            && key != rule
        {
            let problem = "and mapping.attention_on say different things of this generation";
            return Err(source.error("mapping.place.\"attention\"", problem).help("leave one of them out"));
        }
        this.attention = rule.or(attention).unwrap_or_default();
        Ok(this)
    }

    fn check(&self, conditions: &Conditions, experts: bool, path: &str, source: &Source) -> Result<(), InputError> {
        let Conditions { pim_below_batch, pim_from_context, pim_below_tokens } = *conditions;
        let given = [
            ("pim_below_batch", pim_below_batch),
            ("pim_from_context", pim_from_context),
            ("pim_below_tokens", pim_below_tokens),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                source.check(&format!("{path}.{key}"), value, 1..=i64::MAX)?;
            }
        }
        if given.iter().all(|(_, value)| value.is_none()) {
            let help = "give pim_below_batch, pim_from_context or, of experts, pim_below_tokens";
            return Err(source.error(path, "has no condition").help(help));
        }
        if pim_below_tokens.is_some() && !experts {
            let error = source.error(path, "has pim_below_tokens, which is for all products of experts together");
            return Err(error.help("place \"experts\" by it, or use pim_below_batch"));
        }
        Ok(())
    }

    /// Whether the PIM device has an operator, as far as the generation decides it.
    fn holds(&self, rule: &Rule) -> bool {
        match rule {
            Rule::On(on) => *on == On::Pim,
            Rule::Where(c) => {
                c.pim_below_batch.is_none_or(|n| self.batch < n) && c.pim_from_context.is_none_or(|n| self.context >= n)
            }
        }
    }

    fn of_rule(&self, rule: &Rule) -> Placed {
        match (self.holds(rule), rule) {
            (false, _) => Placed::Gpu,
            (true, Rule::Where(Conditions { pim_below_tokens: Some(rows), .. })) => Placed::Below(rows.unsigned_abs()),
            (true, _) => Placed::Pim,
        }
    }

    /// Where attention of decode runs, and keys and values lie.
    pub(super) fn attention(&self) -> On {
        self.attention
    }

    /// Whether something beside attention of decode may run on the PIM device.
    pub(super) fn beyond_attention(&self) -> bool {
        let other =
            |(name, rule): (&String, &Rule)| name != Class::Attention.name() && self.of_rule(rule) != Placed::Gpu;
        self.decode.iter().any(other) || self.prefill.iter().any(other)
    }

    /// What a rule says of an operator; `None` where none does.
    fn ruled(&self, phase: Phase, node: &OperatorNode) -> Option<Placed> {
        let class = Class::of(node);
        if class == Class::Attention {
            let pim = phase == Phase::Decode && self.attention == On::Pim;
            return Some(if pim { Placed::Pim } else { Placed::Gpu });
        }
        let rules = if phase == Phase::Decode { &self.decode } else { &self.prefill };
        let named = rules.get(&node.label).or_else(|| rules.get(class.name())).map(|rule| self.of_rule(rule));
        match (named, node.op) {
            (None, Op::Dispatch { .. } | Op::Combine { .. }) => {
                // What is sent to experts as a whole goes there once a token.
                let experts = rules.get(Class::Experts.name()).map(|rule| self.of_rule(rule));
                Some(experts.filter(|p| *p == Placed::Pim).unwrap_or(Placed::Gpu))
            }
            (None, _) if class == Class::Elementwise => None,
            (named, _) => Some(named.unwrap_or(Placed::Gpu)),
        }
    }

    /// Where each operator of a step runs.
    pub(super) fn resolve(&self, phase: Phase, graph: &StepGraph) -> Resolved {
        graph.regions.iter().map(|region| self.resolve_region(phase, &region.body)).collect()
    }

    fn resolve_region(&self, phase: Phase, graph: &banksia_workloads::Graph) -> Vec<Placed> {
        let inner = graph.petgraph();
        let ruled: Vec<Option<Placed>> = graph.operators().map(|node| self.ruled(phase, node)).collect();
        let mut placed: Vec<Placed> = ruled.iter().map(|p| p.unwrap_or(Placed::Gpu)).collect();
        let mut seen = vec![false; ruled.len()];
        for start in 0..ruled.len() {
            if seen[start] || ruled[start].is_some() {
                continue;
            }
            // What follows, as far as it hangs together, and the devices of what is around it.
            let (mut group, mut around, mut stack) = (Vec::new(), Vec::new(), vec![start]);
            seen[start] = true;
            while let Some(index) = stack.pop() {
                group.push(index);
                for next in inner.neighbors_undirected(NodeIndex::new(index)) {
                    match ruled.get(next.index()).copied().flatten() {
                        Some(device) => around.push(device),
                        None if !seen[next.index()] => {
                            seen[next.index()] = true;
                            stack.push(next.index());
                        }
                        None => {}
                    }
                }
            }
            let alike = around.first().copied().filter(|first| around.iter().all(|d| d == first));
            for index in group {
                placed[index] = alike.unwrap_or(Placed::Gpu);
            }
        }
        placed
    }
}
