//! The operator graph of one step, and the check of its shapes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use petgraph::Direction::{Incoming, Outgoing};
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::op::{Communication, Op, OperatorNode};
use crate::tensor::{Tensor, TensorKind};

/// What is wrong with a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A tensor at a node does not have the shape that the node's operator requires.
    #[error("operator `{node}`: {what} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The node's name.
        node: String,
        /// Which tensor: its role and its name.
        what: String,
        /// The shape that the operator requires.
        expected: Vec<u64>,
        /// The shape that is there.
        found: Vec<u64>,
    },
    /// A node has another number of inputs, weights or outputs than its operator has.
    #[error("operator `{node}`: has {found} {what}, expected {expected}")]
    Arity {
        /// The node's name.
        node: String,
        /// `inputs`, `weights` or `outputs`.
        what: &'static str,
        /// How many the operator has.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A tensor is of the wrong kind or element type for its place.
    #[error("operator `{node}`: {what} is {found}, expected {expected}")]
    Type {
        /// The node's name.
        node: String,
        /// Which tensor: its role and its name.
        what: String,
        /// What the operator requires.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An operator's parameters contradict each other.
    #[error("operator `{node}`: {problem}")]
    Parameters {
        /// The node's name.
        node: String,
        /// The contradiction, with its numbers.
        problem: String,
    },
    /// An edge carries something that the node it leaves does not produce.
    #[error("operator `{node}`: does not produce `{tensor}` {shape:?}, which an edge carries to `{consumer}`")]
    NotProduced {
        /// The producer's name.
        node: String,
        /// The tensor's name.
        tensor: String,
        /// The tensor's shape on the edge.
        shape: Vec<u64>,
        /// The consumer's name.
        consumer: String,
    },
    /// Two nodes share a name.
    #[error("two operators are named `{node}`")]
    Duplicate {
        /// The name.
        node: String,
    },
    /// Operators depend on each other in a circle.
    #[error("the graph has a cycle through {}", list(nodes))]
    Cycle {
        /// Names of the operators of one cycle, in the order in which they were added.
        nodes: Vec<String>,
    },
    /// A count of an operator (operations, bytes) exceeds 64 bits.
    #[error("operator `{node}`: its operations or bytes exceed 64 bits")]
    TooLarge {
        /// The node's name.
        node: String,
    },
}

fn list(nodes: &[String]) -> String {
    nodes.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

/// A directed acyclic graph of operators; an edge carries the tensor (or the part of it) that its consumer reads.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    graph: DiGraph<OperatorNode, Tensor>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_capacity(nodes: usize) -> Self {
        Self { graph: DiGraph::with_capacity(nodes, nodes * 3 / 2) }
    }

    /// Adds an operator.
    pub fn add(&mut self, node: OperatorNode) -> NodeIndex {
        self.graph.add_node(node)
    }

    /// Lets `to` read `tensor`, which `from` produces, as its next input. `tensor` has the name of one of the outputs of
    /// `from`, and its shape or, in some dimensions, less. Ignored where either node is not of this graph.
    pub fn connect(&mut self, from: NodeIndex, to: NodeIndex, tensor: Tensor) {
        if from.index() < self.graph.node_count() && to.index() < self.graph.node_count() {
            self.graph.add_edge(from, to, tensor);
        }
    }

    /// The petgraph underneath, for its algorithms.
    pub fn petgraph(&self) -> &DiGraph<OperatorNode, Tensor> {
        &self.graph
    }

    /// The operator at an index.
    pub fn operator(&self, index: NodeIndex) -> Option<&OperatorNode> {
        self.graph.node_weight(index)
    }

    /// The same, to be changed: what is changed is not checked.
    pub fn operator_mut(&mut self, index: NodeIndex) -> Option<&mut OperatorNode> {
        self.graph.node_weight_mut(index)
    }

    /// The operator of a name.
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        self.graph.node_indices().find(|i| self.graph[*i].name == name)
    }

    /// Every operator, in the order of addition, which for the graphs built here is an order of execution.
    pub fn operators(&self) -> impl Iterator<Item = &OperatorNode> {
        self.graph.node_weights()
    }

    /// The tensors that a node reads: those from outside, then those of its edges in the order of connection, then caches from outside.
    pub fn inputs(&self, index: NodeIndex) -> Vec<&Tensor> {
        let Some(node) = self.graph.node_weight(index) else { return Vec::new() };
        let mut edges: Vec<_> = self.graph.edges_directed(index, Incoming).map(|e| (e.id(), e.weight())).collect();
        edges.sort_unstable_by_key(|(id, _)| *id);
        let (caches, others): (Vec<&Tensor>, Vec<&Tensor>) =
            node.inputs.iter().partition(|t| t.kind == TensorKind::KvCache);
        others.into_iter().chain(edges.into_iter().map(|(_, tensor)| tensor)).chain(caches).collect()
    }

    /// An order in which every operator comes after those it depends on; of several, the one nearest to the order of
    /// addition.
    ///
    /// # Errors
    /// The graph has a cycle.
    pub fn topological(&self) -> Result<Vec<NodeIndex>, GraphError> {
        let mut missing: Vec<usize> =
            self.graph.node_indices().map(|i| self.graph.edges_directed(i, Incoming).count()).collect();
        let mut ready: BinaryHeap<Reverse<NodeIndex>> =
            self.graph.node_indices().filter(|i| missing[i.index()] == 0).map(Reverse).collect();
        let mut order = Vec::with_capacity(missing.len());
        while let Some(Reverse(next)) = ready.pop() {
            order.push(next);
            for consumer in self.graph.neighbors_directed(next, Outgoing) {
                missing[consumer.index()] -= 1;
                if missing[consumer.index()] == 0 {
                    ready.push(Reverse(consumer));
                }
            }
        }
        if order.len() == missing.len() { Ok(order) } else { Err(self.cycle()) }
    }

    /// The first strongly connected part that is a cycle.
    fn cycle(&self) -> GraphError {
        let mut cycles: Vec<Vec<NodeIndex>> = tarjan_scc(&self.graph)
            .into_iter()
            .filter(|part| part.len() > 1 || part.iter().any(|n| self.graph.contains_edge(*n, *n)))
            .collect();
        for part in &mut cycles {
            part.sort_unstable();
        }
        cycles.sort_unstable();
        let first = cycles.into_iter().next().unwrap_or_default();
        GraphError::Cycle { nodes: first.into_iter().map(|n| self.graph[n].name.clone()).collect() }
    }

    /// Operations of the whole graph.
    pub fn flops(&self) -> u128 {
        self.operators().map(|n| u128::from(n.flops())).sum()
    }

    /// Bytes of cached keys and values that the whole graph reads.
    pub fn kv_bytes_read(&self) -> u128 {
        self.operators().map(|n| u128::from(n.kv_bytes_read())).sum()
    }

    /// Changes every operator and tensor in place to another context. The result equals a graph built for it, at a
    /// fraction of the cost: successive decode steps differ in nothing else.
    pub fn set_context(&mut self, context: u64) {
        for node in self.graph.node_weights_mut() {
            node.op = node.op.with_context(context);
            if let Some(dimension) = context_dimension(&node.op) {
                for tensor in &mut node.outputs {
                    if let Some(extent) = tensor.shape.get_mut(dimension) {
                        *extent = context;
                    }
                }
            }
        }
        for edge in self.graph.edge_indices() {
            let Some((from, _)) = self.graph.edge_endpoints(edge) else { continue };
            let dimension = context_dimension(&self.graph[from].op);
            if let (Some(dimension), Some(tensor)) = (dimension, self.graph.edge_weight_mut(edge))
                && let Some(extent) = tensor.shape.get_mut(dimension)
            {
                *extent = context;
            }
        }
    }

    /// Checks that names are unique, that there is no cycle, and that at every node the number, shapes, kinds and element
    /// types of inputs, weights and outputs are those that its operator requires.
    ///
    /// # Errors
    /// The first thing that is wrong, in topological order, with the node's name and what was expected and found.
    pub fn validate(&self) -> Result<(), GraphError> {
        let order = self.topological()?;
        let mut names = HashSet::with_capacity(order.len());
        for index in order {
            let node = &self.graph[index];
            if !names.insert(node.name.as_str()) {
                return Err(GraphError::Duplicate { node: node.name.clone() });
            }
            self.validate_node(index, node)?;
        }
        Ok(())
    }

    fn validate_node(&self, index: NodeIndex, node: &OperatorNode) -> Result<(), GraphError> {
        check_parameters(node)?;
        let expected = Expected::of(node);
        let inputs = self.inputs(index);
        match node.op {
            Op::Concat { width } => check_joined(node, width, &inputs)?,
            // Decays and learning rates follow, as the rule has them.
            Op::LinearAttention { .. } | Op::Wkv { .. } => {
                check(node, "inputs", &expected.inputs, inputs.get(..1).unwrap_or_default())?;
            }
            Op::Collective { what: Communication::Dispatch | Communication::Return, .. } => {}
            // The parts of a product's result.
            Op::Collective { what: Communication::AllReduce, .. } if node.outputs.len() > 1 => {}
            _ => check(node, "inputs", &expected.inputs, &inputs)?,
        }
        check(node, "weights", &expected.weights, &node.weights.iter().collect::<Vec<_>>())?;
        if let Op::Linear { out_features, .. } = node.op {
            check_split(node, out_features)?;
        } else if let (Op::Collective { what: Communication::AllReduce, width, .. }, 2..) =
            (node.op, node.outputs.len())
        {
            check_split(node, width)?;
        } else if let Op::Concat { width }
        | Op::CausalConv { channels: width, .. }
        | Op::TokenShift { width, mixes: 1 } = node.op
        {
            check_split(node, width)?;
        } else if let Op::TokenShift { width, mixes } = node.op {
            check_split(node, width.saturating_mul(mixes))?;
        } else {
            check(node, "outputs", &expected.outputs, &node.outputs.iter().collect::<Vec<_>>())?;
        }
        for edge in self.graph.edges_directed(index, Outgoing) {
            let carried = edge.weight();
            let produced = node.outputs.iter().any(|o| {
                o.name == carried.name
                    && (o.dtype, o.kind) == (carried.dtype, carried.kind)
                    && is_part(&carried.shape, &o.shape)
            });
            if !produced {
                return Err(GraphError::NotProduced {
                    node: node.name.clone(),
                    tensor: carried.name.clone(),
                    shape: carried.shape.clone(),
                    consumer: self.graph[edge.target()].name.clone(),
                });
            }
        }
        if node.is_countable() { Ok(()) } else { Err(GraphError::TooLarge { node: node.name.clone() }) }
    }
}

/// Which dimension of an operator's outputs is the context.
fn context_dimension(op: &Op) -> Option<usize> {
    match op {
        Op::KvAppend { .. } => Some(2),
        Op::AttentionScores { .. } | Op::Softmax { .. } => Some(3),
        _ => None,
    }
}

/// A required tensor: its role, shape, and kind.
struct Slot {
    role: &'static str,
    shape: Vec<u64>,
    kind: SlotKind,
}

#[derive(PartialEq, Eq)]
enum SlotKind {
    /// An activation or, from outside, an input.
    Data,
    /// Token indices.
    Indices,
    Cache,
    Weight,
}

fn slot(role: &'static str, shape: impl Into<Vec<u64>>, kind: SlotKind) -> Slot {
    Slot { role, shape: shape.into(), kind }
}

struct Expected {
    inputs: Vec<Slot>,
    weights: Vec<Slot>,
    outputs: Vec<Slot>,
}

impl Expected {
    fn of(node: &OperatorNode) -> Self {
        use SlotKind::{Cache, Data, Indices, Weight};
        let (b, t) = (node.batch, node.tokens);
        let data = |role, width| slot(role, [b, t, width], Data);
        let (inputs, weights, outputs) = match node.op {
            Op::Embedding { vocab, width } => (
                vec![slot("token indices", [b, t], Indices)],
                vec![slot("table", [vocab, width], Weight)],
                vec![data("output", width)],
            ),
            Op::PositionEmbedding { positions, width } => (
                vec![data("input", width)],
                vec![slot("table", [positions, width], Weight)],
                vec![data("output", width)],
            ),
            Op::LayerNorm { width } => (
                vec![data("input", width)],
                vec![slot("gain", [width], Weight), slot("shift", [width], Weight)],
                vec![data("output", width)],
            ),
            Op::RmsNorm { width } => {
                (vec![data("input", width)], vec![slot("gain", [width], Weight)], vec![data("output", width)])
            }
            Op::Linear { in_features, out_features, bias } => {
                let mut weights = vec![slot("weight", [out_features, in_features], Weight)];
                if bias {
                    weights.push(slot("bias", [out_features], Weight));
                }
                (vec![data("input", in_features)], weights, Vec::new())
            }
            Op::Rotary { heads, kv_heads, head_dim, .. } => {
                let queries = || slot("queries", [b, t, heads, head_dim], Data);
                let keys = || slot("keys", [b, t, kv_heads, head_dim], Data);
                (vec![queries(), keys()], Vec::new(), vec![queries(), keys()])
            }
            Op::KvAppend { heads, head_dim, value_dim, context } => {
                let mut inputs = vec![slot("keys", [b, t, heads, head_dim], Data)];
                let mut outputs = vec![slot("key cache", [b, heads, context, head_dim], Cache)];
                if value_dim > 0 {
                    inputs.push(slot("values", [b, t, heads, value_dim], Data));
                    outputs.push(slot("value cache", [b, heads, context, value_dim], Cache));
                }
                (inputs, Vec::new(), outputs)
            }
            Op::AttentionScores { heads, kv_heads, head_dim, context, .. } => (
                vec![
                    slot("queries", [b, t, heads, head_dim], Data),
                    slot("key cache", [b, kv_heads, context, head_dim], Cache),
                ],
                Vec::new(),
                vec![slot("scores", [b, heads, t, context], Data)],
            ),
            Op::Softmax { rows, columns, .. } => {
                let heads = rows / b.saturating_mul(t).max(1);
                let square = |role| slot(role, [b, heads, t, columns], Data);
                (vec![square("scores")], Vec::new(), vec![square("probabilities")])
            }
            Op::AttentionValues { heads, kv_heads, head_dim, context, .. } => (
                vec![
                    slot("probabilities", [b, heads, t, context], Data),
                    slot("value cache", [b, kv_heads, context, head_dim], Cache),
                ],
                Vec::new(),
                vec![data("output", heads.saturating_mul(head_dim))],
            ),
            Op::Residual { width } => {
                (vec![data("first term", width), data("second term", width)], Vec::new(), vec![data("sum", width)])
            }
            Op::GatedMul { width } => {
                (vec![data("gate", width), data("factor", width)], Vec::new(), vec![data("product", width)])
            }
            Op::Activation { width, .. } => (vec![data("input", width)], Vec::new(), vec![data("output", width)]),
            Op::ArgMax { vocab } => {
                (vec![data("logits", vocab)], Vec::new(), vec![slot("token indices", [b, t], Indices)])
            }
            _ => return Self::of_mixture_or_state(node),
        };
        Self { inputs, weights, outputs }
    }
}

impl Expected {
    /// Of operators of mixtures of experts, of recurrences, and of what stands around them.
    fn of_mixture_or_state(node: &OperatorNode) -> Self {
        use SlotKind::{Cache, Data, Weight};
        let (b, t) = (node.batch, node.tokens);
        let data = |role, width| slot(role, [b, t, width], Data);
        let vector = |role, n: u64| slot(role, [n], Weight);
        let (inputs, weights, outputs) = match node.op {
            Op::PlainNorm { width, gain } => {
                let gains = if gain { vec![vector("gain", width)] } else { Vec::new() };
                (vec![data("input", width)], gains, vec![data("output", width)])
            }
            Op::QkNorm { heads, kv_heads, head_dim, parameters } => {
                let queries = || slot("queries", [b, t, heads, head_dim], Data);
                let keys = || slot("keys", [b, t, kv_heads, head_dim], Data);
                let gains = if parameters > 0 { vec![vector("gains", parameters)] } else { Vec::new() };
                (vec![queries(), keys()], gains, vec![queries(), keys()])
            }
            Op::ScoreCap { rows, columns } => {
                let heads = rows / b.saturating_mul(t).max(1);
                let square = |role| slot(role, [b, heads, t, columns], Data);
                (vec![square("scores")], Vec::new(), vec![square("capped scores")])
            }
            Op::HeadLinear { heads, in_features, out_features } => (
                vec![slot("input", [b, t, heads, in_features], Data)],
                vec![slot("weight", [heads, out_features, in_features], Weight)],
                vec![slot("output", [b, t, heads, out_features], Data)],
            ),
            Op::Route { experts, top_k, .. } => {
                (vec![data("logits", experts)], Vec::new(), vec![data("weights of experts", top_k)])
            }
            Op::Dispatch { top_k, width } => (
                vec![
                    slot("input", [b, t / top_k.max(1), width], Data),
                    slot("routes", [b, t / top_k.max(1), top_k], Data),
                ],
                Vec::new(),
                vec![data("output", width)],
            ),
            Op::ExpertLinear { experts, in_features, out_features, bias } => {
                let mut weights = vec![slot("weight", [experts, out_features, in_features], Weight)];
                if bias {
                    weights.push(slot("bias", [experts, out_features], Weight));
                }
                (vec![data("input", in_features)], weights, vec![data("output", out_features)])
            }
            Op::Combine { top_k, width } => (
                vec![slot("rows", [b, t.saturating_mul(top_k), width], Data), slot("routes", [b, t, top_k], Data)],
                Vec::new(),
                vec![data("output", width)],
            ),
            Op::CausalConv { channels, kernel, bias, .. } => {
                let mut weights = vec![slot("taps", [channels, kernel], Weight)];
                if bias {
                    weights.push(vector("bias", channels));
                }
                (vec![data("input", channels)], weights, vec![data("output", channels)])
            }
            Op::GatedNorm { width, group, shared_gain } => {
                let gain = vector("gain", if shared_gain { group } else { width });
                (vec![data("input", width), data("gate", width)], vec![gain], vec![data("output", width)])
            }
            Op::SelectiveScan { channels, state } => (
                vec![data("input", channels), data("time steps", channels), data("vectors", state.saturating_mul(2))],
                vec![slot("decay", [channels, state], Weight), vector("skip", channels)],
                vec![data("output", channels)],
            ),
            Op::StateSpaceDual { heads, head_dim, state, groups, .. } => {
                let inner = heads.saturating_mul(head_dim);
                let with_vectors = inner.saturating_add(groups.saturating_mul(state).saturating_mul(2));
                (
                    vec![data("input and vectors", with_vectors), data("time steps", heads)],
                    vec![vector("decay", heads), vector("skip", heads), vector("step bias", heads)],
                    vec![data("output", inner)],
                )
            }
            Op::LinearAttention { key_heads, value_heads, key_dim, value_dim, .. } => {
                let (keys, values) = (key_heads.saturating_mul(key_dim), value_heads.saturating_mul(value_dim));
                (
                    vec![data("queries, keys and values", keys.saturating_mul(2).saturating_add(values))],
                    Vec::new(),
                    vec![data("output", values)],
                )
            }
            Op::Wkv { channels, .. } => (
                vec![data("receptance, keys and values", channels.saturating_mul(3))],
                vec![vector("decay", channels), vector("bonus", channels)],
                vec![data("output", channels)],
            ),
            Op::TokenShift { width, mixes } => (
                vec![data("input", width)],
                vec![slot("mixes", [mixes, width], Weight)],
                vec![data("output", width.saturating_mul(mixes))],
            ),
            Op::DiagonalScan { channels } => (
                vec![data("input", channels), data("input gate", channels), data("recurrence gate", channels)],
                vec![vector("decay", channels)],
                vec![data("output", channels)],
            ),
            Op::Index { heads, head_dim, context, top_k } => (
                vec![
                    slot("queries", [b, t, heads, head_dim], Data),
                    slot("index cache", [b, 1, context, head_dim], Cache),
                    data("head weights", heads),
                ],
                Vec::new(),
                vec![data("keys picked", top_k.min(context))],
            ),
            Op::Collective { what, ranks, width } => {
                let share = |n: u64| n.div_ceil(u64::from(ranks.max(1)));
                let whole = |role| slot(role, [b, t, width], Data);
                let tokens = |role| slot(role, [b, share(t), width], Data);
                let (input, output) = match what {
                    Communication::AllReduce | Communication::AllToAll => (whole("input"), whole("output")),
                    Communication::ReduceScatter => (whole("input"), tokens("output")),
                    Communication::AllGather => (tokens("input"), whole("output")),
                    Communication::GatherFeatures => (slot("input", [b, t, share(width)], Data), whole("output")),
                    // How many rows come from or go to others depends on who is routed where.
                    Communication::Dispatch | Communication::Return => {
                        let of = |role, tensors: &[Tensor]| {
                            tensors.first().map(|o| slot(role, o.shape.clone(), Data)).into_iter().collect()
                        };
                        return Self { inputs: Vec::new(), weights: Vec::new(), outputs: of("output", &node.outputs) };
                    }
                };
                (vec![input], Vec::new(), vec![output])
            }
            _ => (Vec::new(), Vec::new(), Vec::new()),
        };
        Self { inputs, weights, outputs }
    }
}

/// What the shapes alone do not say.
fn check_parameters(node: &OperatorNode) -> Result<(), GraphError> {
    let fail = |problem: String| Err(GraphError::Parameters { node: node.name.clone(), problem });
    if node.tokens == 0 || node.batch == 0 {
        return fail(format!("{} tokens of {} sequences: both must be at least 1", node.tokens, node.batch));
    }
    if let Some(context) = node.op.context()
        && context < node.tokens
    {
        return fail(format!("a context of {context} cannot hold the step's own {} tokens", node.tokens));
    }
    match node.op {
        Op::AttentionScores { heads, kv_heads, .. } | Op::AttentionValues { heads, kv_heads, .. }
            if kv_heads == 0 || !heads.is_multiple_of(kv_heads) =>
        {
            fail(format!("{heads} query heads cannot share {kv_heads} key heads evenly"))
        }
        Op::Rotary { head_dim, rotary_dim, .. } if rotary_dim > head_dim || !rotary_dim.is_multiple_of(2) => {
            fail(format!("cannot rotate {rotary_dim} elements in pairs within a head of {head_dim}"))
        }
        Op::Softmax { rows, .. } if node.batch.checked_mul(node.tokens).is_none_or(|n| !rows.is_multiple_of(n)) => {
            fail(format!("{rows} rows are not a multiple of {} sequences x {} tokens", node.batch, node.tokens))
        }
        _ => Ok(()),
    }
}

fn check(node: &OperatorNode, what: &'static str, expected: &[Slot], found: &[&Tensor]) -> Result<(), GraphError> {
    if expected.len() != found.len() {
        let (expected, found) = (expected.len(), found.len());
        return Err(GraphError::Arity { node: node.name.clone(), what, expected, found });
    }
    for (slot, tensor) in expected.iter().zip(found) {
        let what = || format!("{} `{}`", slot.role, tensor.name);
        // Without a cache, keys and values of this pass stand in its place: as many elements, in their own order.
        let wanted = slot.shape.iter().fold(1u64, |p, e| p.saturating_mul(*e));
        if slot.kind == SlotKind::Cache && tensor.kind != TensorKind::KvCache && tensor.elements() == wanted {
            continue;
        }
        let kinds: &[TensorKind] = match slot.kind {
            SlotKind::Data | SlotKind::Indices => &[TensorKind::Activation, TensorKind::Input],
            SlotKind::Cache => &[TensorKind::KvCache],
            SlotKind::Weight => &[TensorKind::Weight],
        };
        if !kinds.contains(&tensor.kind) {
            return Err(GraphError::Type {
                node: node.name.clone(),
                what: what(),
                expected: format!("{:?}", kinds[0]),
                found: format!("{:?}", tensor.kind),
            });
        }
        let dtype = match slot.kind {
            SlotKind::Indices => crate::tensor::DataType::Int32,
            SlotKind::Cache => node.types.cache,
            SlotKind::Weight if node.matrices().is_some() && slot.shape.len() > 1 => node.types.weights.dtype,
            SlotKind::Data | SlotKind::Weight => node.dtype,
        };
        if tensor.dtype != dtype {
            return Err(GraphError::Type {
                node: node.name.clone(),
                what: what(),
                expected: dtype.to_string(),
                found: tensor.dtype.to_string(),
            });
        }
        if tensor.shape != slot.shape {
            return Err(GraphError::Shape {
                node: node.name.clone(),
                what: what(),
                expected: slot.shape.clone(),
                found: tensor.shape.clone(),
            });
        }
    }
    Ok(())
}

/// Whether a tensor is another or a part of it: less in some dimension, or the tokens of one run among those of all.
fn is_part(part: &[u64], whole: &[u64]) -> bool {
    let tokens = |shape: &[u64]| shape.iter().take(2).fold(1u64, |p, e| p.saturating_mul(*e));
    let elements = |shape: &[u64]| shape.iter().skip(2).fold(1u64, |p, e| p.saturating_mul(*e));
    (part.len() == whole.len() && part.iter().zip(whole).all(|(p, w)| p <= w))
        || (tokens(part) <= tokens(whole) && elements(part) <= elements(whole))
        // Its elements, or some of them, in another order.
        || part.iter().fold(1u64, |p, e| p.saturating_mul(*e)) <= whole.iter().fold(1u64, |p, e| p.saturating_mul(*e))
}

/// Tokens of all runs make up those of the result.
fn check_joined(node: &OperatorNode, width: u64, inputs: &[&Tensor]) -> Result<(), GraphError> {
    let joined = inputs.iter().fold(0u64, |sum, t| sum.saturating_add(t.elements()));
    if joined == node.batch.saturating_mul(node.tokens).saturating_mul(width) {
        return Ok(());
    }
    Err(GraphError::Shape {
        node: node.name.clone(),
        what: "inputs taken together".into(),
        expected: vec![node.batch, node.tokens, width],
        found: vec![joined],
    })
}

/// A linear operator's outputs are `[b, t, ..]` each, and together have `out_features` per token.
fn check_split(node: &OperatorNode, out_features: u64) -> Result<(), GraphError> {
    if node.outputs.is_empty() {
        return Err(GraphError::Arity { node: node.name.clone(), what: "outputs", expected: 1, found: 0 });
    }
    let mut features = 0u64;
    for tensor in &node.outputs {
        if tensor.dtype != node.dtype || tensor.kind != TensorKind::Activation {
            return Err(GraphError::Type {
                node: node.name.clone(),
                what: format!("output `{}`", tensor.name),
                expected: format!("{} Activation", node.dtype),
                found: format!("{} {:?}", tensor.dtype, tensor.kind),
            });
        }
        let part = tensor.shape.iter().skip(2).try_fold(1u64, |p, e| p.checked_mul(*e)).unwrap_or(u64::MAX);
        features = features.saturating_add(part);
        if tensor.shape.len() < 3 || tensor.shape[0] != node.batch || tensor.shape[1] != node.tokens {
            return Err(GraphError::Shape {
                node: node.name.clone(),
                what: format!("output `{}`", tensor.name),
                expected: vec![node.batch, node.tokens, out_features],
                found: tensor.shape.clone(),
            });
        }
    }
    if features == out_features {
        return Ok(());
    }
    Err(GraphError::Shape {
        node: node.name.clone(),
        what: "outputs taken together".into(),
        expected: vec![node.batch, node.tokens, out_features],
        found: vec![node.batch, node.tokens, features],
    })
}
