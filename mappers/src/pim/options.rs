//! The options of the mapping: how each matrix lies in the banks, and how many channels a head has.

use std::collections::{BTreeMap, BTreeSet};

use banksia_hw::program::ChannelSet;
use banksia_input::{InputError, Source};
use banksia_workloads::{Graph, Op, OperatorNode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::attention::OPERATORS;
use super::banks::{Banks, Product};
use crate::space::{Knob, of_values};

/// The table `[mapping]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub(super) struct PimOptions {
    /// Channels that a head's keys and values lie over, in decode attention. Heads that are not at work at once come in rounds. Where
    /// absent, the channels shared evenly among the heads of all sequences, one at least.
    #[schemars(range(min = 1))]
    pub(super) attention_channels: Option<i64>,
    /// How the matrix of an operator lies, by the operator's name in reports.
    #[serde(default)]
    pub(super) layout: BTreeMap<String, MatrixOptions>,
}

/// How a matrix lies in the banks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MatrixOptions {
    /// Groups of channels that each multiply a part of the vector, whose results the vector unit adds; must divide the channels. One
    /// group broadcasts the whole vector to all channels; more load less into each and read more results.
    #[schemars(range(min = 1))]
    split: Option<i64>,
    /// Outputs whose weights take half a row of a bank or less share rows: fewer rows are opened, and less room is taken.
    #[serde(default)]
    packed: bool,
}

/// A matrix' layout as it has been checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MatrixLayout {
    /// 0 where nothing is said.
    pub(super) split: u32,
    pub(super) packed: bool,
}

/// Checked options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chosen {
    pub(super) attention_channels: Option<u32>,
    matrices: BTreeMap<String, MatrixLayout>,
}

impl Chosen {
    /// The same, and every other matrix cut so that it takes the fewest rows: of narrow ones, groups of channels each have a part of the vector. A product
    /// opens each row once, so that fewer rows are less time too.
    pub(super) fn densest(&self, graph: &Graph, banks: &Banks) -> Self {
        let mut this = self.clone();
        let all = [ChannelSet::first(banks.channels)];
        for label in movable(graph).into_iter().filter(|l| !self.matrices.contains_key(*l)) {
            let shape = graph.operators().find(|n| n.label == label).and_then(OperatorNode::matrices);
            let Some((_, [outputs, inputs], _)) = shape else { continue };
            let rows = |split: u32| {
                let product =
                    Product { outputs, inputs, sets: &all, first_row: 0, packed: false, split, room: 0, vectors: 1 };
                banks.rows_of(&product)
            };
            let mut best = (rows(0), 0);
            for split in divisors(banks.channels).into_iter().filter(|d| *d > 1) {
                let found = rows(split);
                if found.is_some_and(|n| best.0.is_none_or(|least| n < least)) {
                    best = (found, split);
                }
            }
            this.matrices.insert(label.to_owned(), MatrixLayout { split: best.1, packed: false });
        }
        this
    }

    /// The layout of an operator's matrix.
    pub(super) fn of(&self, label: &str) -> MatrixLayout {
        self.matrices.get(label).copied().unwrap_or_default()
    }
}

/// Operators whose matrix can lie in several ways: those with matrices of their own, which are not looked up as tables too.
fn movable(graph: &Graph) -> BTreeSet<&str> {
    let tables: BTreeSet<&str> = graph
        .operators()
        .filter(|n| matches!(n.op, Op::Embedding { .. } | Op::PositionEmbedding { .. }))
        .filter_map(|n| n.weights.first().map(|t| t.name.as_str()))
        .collect();
    let own = |n: &banksia_workloads::OperatorNode| {
        n.matrices().is_some() && n.weights.first().is_none_or(|t| !tables.contains(t.name.as_str()))
    };
    graph.operators().filter(|n| own(n)).map(|n| n.label.as_str()).collect()
}

impl PimOptions {
    /// Checks them against a model's graph and a machine's channels.
    pub(super) fn check(&self, graph: &Graph, channels: u32, source: &Source) -> Result<Chosen, InputError> {
        let count = |path: &str, n: i64| -> Result<u32, InputError> {
            let n = source.check(path, n, 1..=i64::from(channels))?;
            u32::try_from(n).map_err(|_| source.error(path, "is too large"))
        };
        let attention_channels = self.attention_channels.map(|n| count("mapping.attention_channels", n)).transpose()?;
        let known = movable(graph);
        let mut matrices = BTreeMap::new();
        for (label, options) in &self.layout {
            if !known.contains(label.as_str()) {
                return Err(source.unknown_name(
                    "mapping.layout",
                    "operator with a matrix of its own",
                    label,
                    known.iter().copied(),
                ));
            }
            let path = format!("mapping.layout.{label}.split");
            let split = options.split.map(|n| count(&path, n)).transpose()?.unwrap_or(0);
            if split > 0 && !channels.is_multiple_of(split) {
                let problem = format!("is {split}, which does not divide the {channels} channels into equal groups");
                return Err(source.error(&path, problem).help(format!("use one of {}", list(&divisors(channels)))));
            }
            matrices.insert(label.clone(), MatrixLayout { split, packed: options.packed });
        }
        Ok(Chosen { attention_channels, matrices })
    }
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn divisors(n: u32) -> Vec<u32> {
    (1..=n).filter(|d| n.is_multiple_of(*d)).collect()
}

/// The space of layouts of a graph's matrices, of so many sequences.
pub(super) fn space(graph: &Graph, banks: &Banks, sequences: u64) -> Vec<Knob> {
    let channels = banks.channels;
    let groups: Vec<u32> = divisors(channels).into_iter().filter(|d| d.is_power_of_two()).collect();
    let mut knobs = Vec::new();
    let heads = graph.operators().find_map(|n| match n.op {
        Op::AttentionScores { kv_heads, .. } => Some(kv_heads),
        _ => None,
    });
    if let Some(heads) = heads {
        // An even share, where nothing is said.
        let at_once = heads.saturating_mul(sequences).clamp(1, u64::from(channels));
        let even = u64::from(channels) / at_once;
        knobs.push(Knob {
            key: "attention_channels".into(),
            meaning: "channels of a head's keys and values",
            values: of_values(groups.iter().map(|n| i64::from(*n))),
            default: groups.iter().position(|n| u64::from(*n) == even),
            inert: Vec::new(),
            operators: OPERATORS.map(str::to_owned).to_vec(),
        });
    }
    for label in movable(graph) {
        let table = |split: u32, packed: bool| {
            let mut table = toml::Table::new();
            table.insert("split".into(), i64::from(split).into());
            if packed {
                table.insert("packed".into(), true.into());
            }
            toml::Value::Table(table)
        };
        let shape = graph.operators().find(|n| n.label == label).and_then(OperatorNode::matrices);
        let Some((_, [outputs, inputs], _)) = shape else { continue };
        let all = [ChannelSet::first(channels)];
        let rows = |split: u32, packed: bool| {
            banks.rows_of(&Product { outputs, inputs, sets: &all, first_row: 0, packed, split, room: 0, vectors: 1 })
        };
        // Sharing rows is a way of its own only where it takes fewer.
        let plain = groups.iter().map(|n| table(*n, false));
        let packed = groups.iter().filter(|n| rows(**n, true) < rows(**n, false)).map(|n| table(*n, true));
        knobs.push(Knob {
            key: format!("layout.\"{label}\""),
            meaning: "groups of channels that each multiply a part of the vector, and whether outputs share rows",
            values: plain.chain(packed).collect(),
            default: banks.split_by_itself().and_then(|own| groups.iter().position(|n| u64::from(*n) == own)),
            inert: Vec::new(),
            operators: vec![label.to_owned()],
        });
    }
    knobs
}
