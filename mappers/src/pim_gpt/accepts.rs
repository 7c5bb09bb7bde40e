//! What models the banks take, and where layers share their weights.

use std::borrow::Cow;

use banksia_input::{InputError, Source};
use banksia_workloads::{DataType, Graph, Model, Op, OperatorNode, TensorKind};

/// Layers whose weights lie once: those of a block that layers share have them where the first of them has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owners {
    /// Of each layer, the one that has its weights.
    of: Vec<u32>,
}

impl Owners {
    /// Of a model.
    pub(crate) fn new(model: &Model) -> Self {
        let mut of: Vec<u32> = Vec::new();
        let mut firsts: Vec<(&str, u32)> = Vec::new();
        for (block, layers) in model.runs() {
            for _ in 0..layers {
                let layer = of.len() as u32;
                let first = firsts.iter().find(|(name, _)| *name == block.name).map(|(_, first)| *first);
                match first {
                    Some(first) if block.shared => of.push(first),
                    Some(_) => of.push(layer),
                    None => {
                        firsts.push((&block.name, layer));
                        of.push(layer);
                    }
                }
            }
        }
        Self { of }
    }

    /// The name under which a node's weights lie.
    pub(crate) fn name<'a>(&self, node: &'a OperatorNode) -> Cow<'a, str> {
        let own = node.layer.and_then(|layer| self.of.get(layer as usize).map(|own| (layer, *own)));
        let Some((layer, own)) = own.filter(|(layer, own)| layer != own) else { return Cow::Borrowed(&node.name) };
        match node.name.strip_prefix(&format!("layer{layer}.")) {
            Some(rest) => Cow::Owned(format!("layer{own}.{rest}")),
            None => Cow::Borrowed(&node.name),
        }
    }
}

/// Whether the banks and their vector unit can run a model's step.
///
/// # Errors
/// It has an encoder, weights or a cache that are not plain numbers of `width` bits (as wide as its activations, if none is given), or an
/// operator that they cannot run.
pub(crate) fn check(
    model: &Model,
    graph: &Graph,
    width: Option<u64>,
    mapper: &str,
    source: &Source,
) -> Result<(), InputError> {
    let fail = |problem: String, help: &str| Err(source.error("workload.model", problem).help(help));
    if model.encoder.is_some() {
        let problem = format!("is `{}`, which has an encoder: the {mapper} mapping feeds token by token", model.name);
        return fail(problem, "use the gpu mapping");
    }
    let types = &model.types;
    let width = width.unwrap_or(types.activations.bits());
    let weights: Vec<_> = graph.operators().filter(|n| n.matrices().is_some()).map(|n| n.types.weights).collect();
    let all = [types.activations, types.operands(), types.cache].into_iter();
    if let Some(other) = all.chain(weights.iter().map(|w| w.dtype)).find(|t: &DataType| t.bits() != width) {
        let problem = format!("`{}` is of type {}: the units multiply {width}-bit numbers", model.name, other.name());
        return fail(problem, "give a model with dtype = \"bf16\" or \"f16\", or set workload.dtype");
    }
    if weights.iter().any(|w| w.scale.is_some() || w.zero_points || w.kept > 0 || w.outliers_per_10000 > 0) {
        let problem =
            format!("`{}` has weights with scales or places beside them: the units multiply plain ones", model.name);
        return fail(
            problem,
            "give a model whose types.weights is dtype = \"bf16\" or \"f16\" alone, or set workload.dtype",
        );
    }
    check_operators(graph.operators(), mapper, source)
}

/// Whether the banks can run the attention of some operators.
///
/// # Errors
/// It reads keys of an encoder, of another layer or of tokens that follow, or keys that an indexer picks.
pub(crate) fn check_operators<'a>(
    operators: impl Iterator<Item = &'a OperatorNode>,
    mapper: &str,
    source: &Source,
) -> Result<(), InputError> {
    for node in operators {
        let problem = match node.op {
            Op::AttentionScores { .. } if node.inputs.iter().any(|t| t.kind == TensorKind::KvCache) => {
                format!(
                    "has `{}` that read keys of an encoder or of another layer, which the {mapper} mapping cannot",
                    node.label
                )
            }
            Op::AttentionScores { causal: false, .. } => {
                format!(
                    "has `{}` of tokens that see those after them: the {mapper} mapping feeds token by token",
                    node.label
                )
            }
            Op::Index { .. } => format!(
                "has the operator `{}` ({}), which the {mapper} mapping cannot run: keys that are picked lie scattered over the rows of the banks",
                node.label,
                node.op.kind()
            ),
            _ => continue,
        };
        return Err(source.error("workload.model", problem).help("use the gpu mapping"));
    }
    Ok(())
}
