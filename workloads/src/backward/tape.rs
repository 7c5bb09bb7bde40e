//! Gradients under way: who has given one to a tensor, and what puts several together.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::NodeIndex;

use super::node::{HIDDEN, HIDDEN_GRADIENT, NEXT_HIDDEN, NEXT_HIDDEN_GRADIENT, Role, TrainNode, TrainOp, Value};
use crate::graph::Graph;
use crate::op::{Op, OperatorNode};
use crate::tensor::{DataType, Tensor, TensorKind};

/// Where a tensor comes from: a node of the graph, or outside of it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) node: Option<NodeIndex>,
    pub(super) tensor: Tensor,
}

/// The name of a value within its layer.
pub(super) fn unlayered(name: &str) -> &str {
    ["layer", "encoder"]
        .iter()
        .find_map(|stack| name.strip_prefix(stack)?.split_once('.').filter(|(n, _)| n.parse::<u32>().is_ok()))
        .map_or(name, |(_, rest)| rest)
}

/// A region's graph with its forward nodes made, and its gradients in the making.
pub(super) struct Tape<'a> {
    graph: &'a Graph,
    /// The node whose result the next region reads.
    last: Option<NodeIndex>,
    /// What gradients and sums of parameters are of.
    gradients: DataType,
    /// The backward pass so far.
    pub(super) nodes: Vec<TrainNode>,
    /// Gradients of tensors, by the node that made them and their name.
    given: BTreeMap<(Option<usize>, String), Vec<Value>>,
    /// Parameters that have a gradient already: others are added to it.
    summed: &'a mut BTreeSet<String>,
    /// Ends the names of gradients that would else have equal ones.
    number: usize,
}

impl<'a> Tape<'a> {
    pub(super) fn new(graph: &'a Graph, last: bool, gradients: DataType, summed: &'a mut BTreeSet<String>) -> Self {
        let last = graph.petgraph().node_indices().next_back().filter(|_| last);
        Self { graph, last, gradients, nodes: Vec::new(), given: BTreeMap::new(), summed, number: 0 }
    }

    pub(super) fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// The value that a node of the forward pass writes, all parts of it.
    pub(super) fn value(&self, index: NodeIndex) -> Value {
        let Some(node) = self.graph.operator(index) else { return outside_value(HIDDEN, 0, DataType::Bf16) };
        let name = if Some(index) == self.last { NEXT_HIDDEN } else { unlayered(&node.name) };
        let elements = node.outputs.iter().fold(0u64, |sum, t| sum.saturating_add(t.elements()));
        Value { name: name.to_owned(), elements, dtype: node.dtype, role: Role::Activation }
    }

    /// The value that a tensor lies in.
    pub(super) fn value_of(&self, source: &Source) -> Value {
        match source.node {
            Some(node) => self.value(node),
            None => {
                let name = if source.tensor.name.ends_with("hidden") { HIDDEN } else { unlayered(&source.tensor.name) };
                let role = if name == HIDDEN { Role::Activation } else { Role::Outside };
                Value { role, ..outside_value(name, source.tensor.elements(), source.tensor.dtype) }
            }
        }
    }

    /// Where the inputs of a node come from, in order; caches and joined runs are seen through to what was put into them.
    pub(super) fn sources(&self, index: NodeIndex) -> Vec<Source> {
        let tensors: Vec<Tensor> = self.graph.inputs(index).into_iter().cloned().collect();
        tensors.into_iter().map(|tensor| self.source(tensor)).collect()
    }

    fn source(&self, tensor: Tensor) -> Source {
        let maker = self
            .graph
            .petgraph()
            .node_indices()
            .find(|i| self.graph.operator(*i).is_some_and(|n| n.outputs.iter().any(|o| o.name == tensor.name)));
        let Some(node) = maker else { return Source { node: None, tensor } };
        let passes = matches!(self.graph.operator(node).map(|n| n.op), Some(Op::KvAppend { .. } | Op::Concat { .. }));
        if passes {
            let outputs = self.graph.operator(node).map_or(&[][..], |n| n.outputs.as_slice());
            let place = outputs.iter().position(|o| o.name == tensor.name).unwrap_or(0);
            let below = self.graph.inputs(node).into_iter().filter(|t| t.kind != TensorKind::KvCache).nth(place);
            if let Some(below) = below.cloned() {
                return self.source(below);
            }
        }
        Source { node: Some(node), tensor }
    }

    /// Parameters of a node.
    pub(super) fn parameters(node: &OperatorNode) -> Vec<Value> {
        let of = |t: &Tensor| Value {
            name: unlayered(&t.name).to_owned(),
            elements: t.elements(),
            dtype: t.dtype,
            role: Role::Parameter,
        };
        node.weights.iter().map(of).collect()
    }

    /// A node of the backward pass.
    pub(super) fn node(
        &self,
        of: &OperatorNode,
        what: &str,
        op: TrainOp,
        reads: Vec<Value>,
        writes: Vec<Value>,
    ) -> TrainNode {
        TrainNode {
            label: if what.is_empty() { of.label.clone() } else { format!("{} {what}", of.label) },
            op,
            batch: of.batch,
            tokens: of.tokens,
            load: of.load.to_vec(),
            reads,
            writes,
            scratch: Vec::new(),
        }
    }

    /// A gradient of so many elements, of a name.
    pub(super) fn gradient(&mut self, name: &str, elements: u64) -> Value {
        self.number += 1;
        Value { name: format!("d_{name}_{}", self.number), elements, dtype: self.gradients, role: Role::Gradient }
    }

    /// The gradient of a tensor, new.
    pub(super) fn gradient_of(&mut self, source: &Source) -> Value {
        if source.node.is_none() && source.tensor.name.ends_with("hidden") {
            return Value {
                name: HIDDEN_GRADIENT.to_owned(),
                elements: source.tensor.elements(),
                dtype: self.gradients,
                role: Role::Gradient,
            };
        }
        let name = self.value_of(source).name;
        self.gradient(&name, source.tensor.elements())
    }

    /// Gives a tensor a gradient. What comes from outside and is no hidden state has none.
    pub(super) fn give(&mut self, source: &Source, gradient: Value) {
        let hidden = source.tensor.name.ends_with("hidden");
        if source.node.is_some() || hidden {
            let name = if source.node.is_none() { HIDDEN.to_owned() } else { source.tensor.name.clone() };
            self.given.entry((source.node.map(NodeIndex::index), name)).or_default().push(gradient);
        }
    }

    /// Gives the result that the next region reads its gradient.
    pub(super) fn seed(&mut self) {
        let Some(last) = self.last else { return };
        let value = self.value(last);
        let gradient = Value {
            name: NEXT_HIDDEN_GRADIENT.to_owned(),
            elements: value.elements,
            dtype: self.gradients,
            role: Role::Gradient,
        };
        let name = self.graph.operator(last).and_then(|n| n.outputs.first()).map(|o| o.name.clone());
        self.given.entry((Some(last.index()), name.unwrap_or_default())).or_default().push(gradient);
    }

    /// All gradients of one tensor as one: those of its parts side by side, others added up, pair by pair.
    fn sum(&mut self, node: &OperatorNode, mut all: Vec<Value>, whole: u64) -> Option<Value> {
        let elements: u64 = all.iter().fold(0, |sum: u64, v| sum.saturating_add(v.elements));
        if all.len() > 1 && elements == whole {
            return self.join(node, all, whole);
        }
        let mut sum = all.drain(..1).next()?;
        for other in all {
            let rows = node.batch.saturating_mul(node.tokens).max(1);
            // The sum takes the place of the first.
            let out = Value { name: format!("{}_sum", sum.name), ..sum.clone() };
            let op = TrainOp::Accumulate { width: (whole / rows).max(1) };
            let add = self.node(node, "gradient sum", op, vec![sum, other], vec![out.clone()]);
            self.nodes.push(add);
            sum = out;
        }
        Some(sum)
    }

    fn join(&mut self, node: &OperatorNode, parts: Vec<Value>, whole: u64) -> Option<Value> {
        let rows = node.batch.saturating_mul(node.tokens).max(1);
        let out = self.gradient(unlayered(&node.name), whole);
        let together = Value { name: format!("{}_stacked", out.name), ..out.clone() };
        let op = TrainOp::JoinGradients { parts: parts.len() as u64, width: (whole / rows).max(1) };
        let mut join = self.node(node, "gradients joined", op, parts, vec![out.clone()]);
        join.scratch = vec![together];
        self.nodes.push(join);
        Some(out)
    }

    /// The gradient of a node's whole result, where anything has been given to it.
    pub(super) fn whole(&mut self, index: NodeIndex) -> Option<Value> {
        let node = self.graph.operator(index)?;
        let mut parts = Vec::new();
        for output in &node.outputs {
            let Some(all) = self.given.remove(&(Some(index.index()), output.name.clone())) else { continue };
            parts.extend(self.sum(node, all, output.elements()));
        }
        match parts.len() {
            0 | 1 => parts.pop(),
            _ => {
                let whole = parts.iter().fold(0u64, |sum, v| sum.saturating_add(v.elements));
                self.join(node, parts, whole)
            }
        }
    }

    /// Puts the gradients of the hidden state together; the last of them has its name.
    pub(super) fn close(&mut self) {
        let Some(mut all) = self.given.remove(&(None, HIDDEN.to_owned())) else { return };
        let first = all.drain(..1).next();
        let (Some(mut sum), Some(node)) = (first, self.graph.operators().next()) else { return };
        for other in all {
            let rows = node.batch.saturating_mul(node.tokens).max(1);
            let op = TrainOp::Accumulate { width: (sum.elements / rows).max(1) };
            let out = Value { name: HIDDEN_GRADIENT.to_owned(), ..sum.clone() };
            let add = self.node(node, "gradient sum", op, vec![sum, other], vec![out.clone()]);
            self.nodes.push(add);
            sum = out;
        }
    }

    /// A gradient of a parameter: written by `node`, or, where there is one already, added to that.
    pub(super) fn parameter(&mut self, of: &OperatorNode, parameter: &Value) -> (Value, Option<TrainNode>) {
        let name = format!("{}.grad", parameter.name);
        let value =
            Value { name: name.clone(), dtype: self.gradients, role: Role::ParameterGradient, ..parameter.clone() };
        if self.summed.insert(name) {
            return (value, None);
        }
        let further = Value { name: format!("{}.more", value.name), role: Role::Gradient, ..value.clone() };
        let op = TrainOp::AccumulateParameter { elements: value.elements };
        let add = self.node(of, "weight gradient sum", op, vec![value.clone(), further.clone()], vec![value]);
        (further, Some(add))
    }
}

fn outside_value(name: &str, elements: u64, dtype: DataType) -> Value {
    Value { name: name.to_owned(), elements, dtype, role: Role::Outside }
}
