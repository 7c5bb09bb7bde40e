//! Where parts of sums, and shares of tokens, are brought together.

use std::collections::HashMap;

use petgraph::Direction::Incoming;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::sharding::Sharding;
use crate::build::Place;
use crate::graph::Graph;
use crate::op::{Communication, Op, OperatorNode};
use crate::tensor::{Tensor, TensorKind};

/// What a rank has of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All of it, or its own heads or columns of it, as its consumers want it.
    Whole,
    /// A term of its sum.
    Partial,
    /// Its share of the tokens.
    Rows,
}

/// A graph under construction, and what the rank has of its values.
struct Pass<'a> {
    own: &'a Graph,
    whole: &'a Graph,
    sharding: &'a Sharding,
    sequence: bool,
    out: Graph,
    /// The node that a node of `own` became.
    at: Vec<NodeIndex>,
    states: Vec<State>,
    /// Values that have been brought into a state: by node of `own`.
    brought: HashMap<(NodeIndex, bool), NodeIndex>,
}

/// The graph of a rank's own sizes with collectives where the whole graph's values are more than what the rank has.
pub(super) fn connected(own: &Graph, whole: &Graph, place: Place, sharding: &Sharding, sequence: bool) -> Graph {
    let mut pass = Pass {
        own,
        whole,
        sharding,
        sequence: sequence && sharding.tp > 1,
        out: Graph::with_capacity(own.petgraph().node_count() + 4),
        at: Vec::new(),
        states: Vec::new(),
        brought: HashMap::new(),
    };
    let gathered = (pass.sequence && place == Place::After).then(|| pass.gather_hidden()).flatten();
    for index in own.petgraph().node_indices() {
        if let Some(node) = own.operator(index) {
            pass.add(index, node, place, gathered.as_ref());
        }
    }
    // What the next region reads is whole, or by tokens.
    if let Some(last) = own.petgraph().node_indices().next_back()
        && pass.states.get(last.index()) == Some(&State::Partial)
    {
        pass.bring(last, pass.sequence && place != Place::After);
    }
    pass.out
}

/// Operators that are linear in each input, so that a sum of their results of terms is their result of the sum.
fn keeps_terms(op: &Op) -> bool {
    matches!(op, Op::Combine { .. } | Op::Concat { .. } | Op::GatedMul { .. } | Op::Residual { .. })
}

/// Operators that treat each token alike and have no weights that are divided.
fn by_token(op: &Op) -> bool {
    matches!(op, Op::Residual { .. } | Op::LayerNorm { .. } | Op::RmsNorm { .. } | Op::PlainNorm { .. })
}

impl Pass<'_> {
    /// Whether an operator sums over fewer terms than the whole's.
    fn is_term(&self, index: NodeIndex, node: &OperatorNode) -> bool {
        let whole = self.whole.operator(index).map(|n| n.op);
        match (node.op, whole) {
            (Op::Linear { in_features, .. }, Some(Op::Linear { in_features: all, .. })) => in_features < all,
            (Op::Embedding { vocab, .. }, Some(Op::Embedding { vocab: all, .. })) => vocab < all,
            (
                Op::ExpertLinear { in_features, experts, .. },
                Some(Op::ExpertLinear { in_features: all_in, experts: all, .. }),
            ) => {
                // The down projection: its rows of an expert, or of some experts where the others' are elsewhere.
                in_features < all_in || (experts < all && self.sharding.exchanging == 1 && self.feeds_combine(index))
            }
            _ => false,
        }
    }

    fn feeds_combine(&self, index: NodeIndex) -> bool {
        let graph = self.own.petgraph();
        graph.neighbors(index).any(|n| matches!(self.own.operator(n).map(|n| n.op), Some(Op::Combine { .. })))
    }

    fn sources(&self, index: NodeIndex) -> Vec<(NodeIndex, Tensor)> {
        let graph = self.own.petgraph();
        let mut edges: Vec<_> =
            graph.edges_directed(index, Incoming).map(|e| (e.id(), e.source(), e.weight().clone())).collect();
        edges.sort_unstable_by_key(|(id, ..)| *id);
        edges.into_iter().map(|(_, from, tensor)| (from, tensor)).collect()
    }

    fn state(&self, index: NodeIndex) -> State {
        self.states.get(index.index()).copied().unwrap_or(State::Whole)
    }

    fn add(&mut self, index: NodeIndex, node: &OperatorNode, place: Place, gathered: Option<&(NodeIndex, Tensor)>) {
        let sources = self.sources(index);
        let states: Vec<State> = sources.iter().map(|(from, _)| self.state(*from)).collect();
        let partial = states.iter().filter(|s| **s == State::Partial).count();
        // Residual streams come in by tokens where they are divided so.
        let stream = self.sequence
            && place != Place::After
            && node.inputs.iter().any(|t| t.name == "hidden" && t.kind == TensorKind::Input);
        let terms = partial > 0
            && keeps_terms(&node.op)
            && match node.op {
                Op::Residual { .. } => partial == states.len() && node.inputs.is_empty(),
                Op::GatedMul { .. } => partial == 1,
                _ => true,
            };
        // Sums that go into such an operator are scattered.
        let lone = |from: &NodeIndex| self.own.operator(*from).is_some_and(|n| n.outputs.len() == 1);
        let sums = partial > 0 && !terms && place != Place::After && sources.iter().all(|(from, _)| lone(from));
        let scattered = states.contains(&State::Rows) || sums;
        let rows = self.sequence && by_token(&node.op) && (stream || scattered);
        let mut node = node.clone();
        // Logits are chosen from whole.
        let mut chosen = false;
        if let (Op::ArgMax { vocab }, Some(Op::ArgMax { vocab: all })) =
            (&mut node.op, self.whole.operator(index).map(|n| n.op))
            && *vocab < all
        {
            *vocab = all;
            chosen = true;
        }
        let mut inputs: Vec<(NodeIndex, Tensor)> = Vec::with_capacity(sources.len());
        for (from, tensor) in &sources {
            let state = self.state(*from);
            let input = match state {
                State::Partial if terms => self.plain(*from, tensor),
                State::Partial => self.brought(*from, tensor, rows),
                State::Rows if rows => self.plain(*from, tensor),
                State::Rows => self.gathered_rows(*from),
                State::Whole if chosen => self.gathered_features(*from, tensor),
                State::Whole => self.plain(*from, tensor),
            };
            inputs.push(input);
        }
        let exchanged = self.sharding.exchanging > 1;
        if exchanged && matches!(node.op, Op::ExpertLinear { .. }) && !self.feeds_combine(index) {
            inputs = inputs
                .into_iter()
                .map(|(from, tensor)| self.exchange(from, &tensor, Communication::Dispatch))
                .collect();
        }
        if exchanged && matches!(node.op, Op::Combine { .. }) {
            let down = inputs.remove(0);
            inputs.insert(0, self.exchange(down.0, &down.1, Communication::Return));
        }
        if rows {
            self.cut_tokens(&mut node);
        }
        if let Some((from, tensor)) = gathered
            && let Some(place) = node.inputs.iter().position(|t| t.name == "hidden")
        {
            node.inputs.remove(place);
            inputs.insert(0, (*from, tensor.clone()));
        }
        let state = match () {
            () if terms || self.is_term(index, &node) => State::Partial,
            () if rows => State::Rows,
            () => State::Whole,
        };
        let at = self.out.add(node);
        for (from, tensor) in inputs {
            self.out.connect(from, at, tensor);
        }
        self.at.push(at);
        self.states.push(state);
    }

    fn plain(&self, from: NodeIndex, tensor: &Tensor) -> (NodeIndex, Tensor) {
        let at = self.at.get(from.index()).copied().unwrap_or(from);
        let produced = self.out.operator(at).and_then(|n| n.outputs.iter().find(|o| o.name == tensor.name));
        // Fewer tokens than the edge had, where the producer has a share of them.
        let mut tensor = tensor.clone();
        if let (State::Rows, Some(produced)) = (self.state(from), produced) {
            tensor.shape.clone_from(&produced.shape);
        }
        (at, tensor)
    }

    fn shared_tokens(&self, tokens: u64) -> u64 {
        tokens.div_ceil(u64::from(self.sharding.tp))
    }

    /// Sums brought together: all of them, or a share of the tokens each.
    fn bring(&mut self, from: NodeIndex, rows: bool) -> NodeIndex {
        if let Some(at) = self.brought.get(&(from, rows)) {
            return *at;
        }
        let what = if rows { Communication::ReduceScatter } else { Communication::AllReduce };
        let at = self.collective(from, what);
        self.brought.insert((from, rows), at);
        at
    }

    fn brought(&mut self, from: NodeIndex, tensor: &Tensor, rows: bool) -> (NodeIndex, Tensor) {
        let at = self.bring(from, rows);
        // Of a product whose result is split, the part that is read.
        let outputs = self.own.operator(from).map_or(&[][..], |n| &n.outputs);
        let part = outputs.iter().position(|o| o.name == tensor.name).unwrap_or(0);
        let found = self.out.operator(at).and_then(|n| n.outputs.get(part).cloned());
        (at, found.unwrap_or_else(|| self.output(at)))
    }

    fn gathered_rows(&mut self, from: NodeIndex) -> (NodeIndex, Tensor) {
        let at = match self.brought.get(&(from, true)) {
            Some(at) => *at,
            None => {
                let at = self.collective(from, Communication::AllGather);
                self.brought.insert((from, true), at);
                at
            }
        };
        (at, self.output(at))
    }

    fn gathered_features(&mut self, from: NodeIndex, _: &Tensor) -> (NodeIndex, Tensor) {
        let at = self.collective(from, Communication::GatherFeatures);
        (at, self.output(at))
    }

    /// The only output of a collective.
    fn output(&self, at: NodeIndex) -> Tensor {
        let tensor = self.out.operator(at).and_then(|n| n.outputs.first().cloned());
        tensor.unwrap_or_else(|| Tensor::new("", Vec::new(), crate::tensor::DataType::Bf16, TensorKind::Activation))
    }

    /// A collective of what a node of the shard produces.
    fn collective(&mut self, from: NodeIndex, what: Communication) -> NodeIndex {
        let source = self.at.get(from.index()).copied().unwrap_or(from);
        let Some(producer) = self.out.operator(source).cloned() else { return source };
        let whole = self.own.operator(from).map_or((producer.batch, producer.tokens), |n| (n.batch, n.tokens));
        let width = match what {
            Communication::GatherFeatures => self.whole.operator(from).and_then(|n| n.outputs.first()).map(last),
            _ => producer.outputs.first().map(last),
        };
        let ranks = self.sharding.tp;
        let mut node = node_of(&producer, what, ranks, whole, width.unwrap_or(0), self.shared_tokens(whole.1));
        if what == Communication::AllReduce && producer.outputs.len() > 1 {
            let own = |o: &Tensor| Tensor { name: format!("{}.{}", node.name, o.name), ..o.clone() };
            node.outputs = producer.outputs.iter().map(own).collect();
            node.op = Op::Collective { what, ranks, width: producer.outputs.iter().map(last).sum() };
        }
        let at = self.out.add(node);
        for tensor in producer.outputs {
            self.out.connect(source, at, tensor);
        }
        at
    }

    /// Rows of tokens sent to the ranks of their experts, or their results back.
    fn exchange(&mut self, from: NodeIndex, tensor: &Tensor, what: Communication) -> (NodeIndex, Tensor) {
        let Some(producer) = self.out.operator(from).cloned() else { return (from, tensor.clone()) };
        let rows = (producer.batch, producer.tokens);
        let width = last(tensor);
        let mut node = node_of(&producer, what, self.sharding.ep, rows, width, rows.1);
        node.label = format!("expert exchange {}", what.name());
        let at = self.out.add(node);
        self.out.connect(from, at, tensor.clone());
        (at, self.output(at))
    }

    /// The hidden state of the last tokens, on all ranks.
    fn gather_hidden(&mut self) -> Option<(NodeIndex, Tensor)> {
        let first = self.own.operators().find(|n| n.inputs.iter().any(|t| t.name == "hidden"))?;
        let hidden = first.inputs.iter().find(|t| t.name == "hidden")?.clone();
        // One rank has a sequence's last token.
        let mut node =
            node_of(first, Communication::AllReduce, self.sharding.tp, (first.batch, first.tokens), last(&hidden), 1);
        node.name = "hidden_all_gather".into();
        node.label = "last token all-gather".into();
        node.outputs =
            vec![Tensor { name: "hidden_all_gather".into(), kind: TensorKind::Activation, ..hidden.clone() }];
        node.inputs = vec![hidden];
        let at = self.out.add(node);
        Some((at, self.output(at)))
    }

    /// A node of its rank's share of the tokens.
    fn cut_tokens(&self, node: &mut OperatorNode) {
        let tokens = self.shared_tokens(node.tokens);
        for tensor in node.inputs.iter_mut().chain(&mut node.outputs) {
            if let [_, t, ..] = tensor.shape.as_mut_slice()
                && *t == node.tokens
            {
                *t = tokens;
            }
        }
        node.tokens = tokens;
    }
}

/// Elements of a token.
fn last(tensor: &Tensor) -> u64 {
    tensor.shape.iter().skip(2).product()
}

fn node_of(
    producer: &OperatorNode,
    what: Communication,
    ranks: u32,
    (batch, tokens): (u64, u64),
    width: u64,
    share: u64,
) -> OperatorNode {
    let name = format!("{}_{}", producer.name, what.name().replace('-', "_"));
    let out = if what == Communication::ReduceScatter { share } else { tokens };
    let dtype = producer.dtype;
    OperatorNode {
        outputs: vec![Tensor::new(name.clone(), [batch, out, width], dtype, TensorKind::Activation)],
        name,
        label: format!("{} {}", producer.label, what.name()),
        op: Op::Collective { what, ranks, width },
        tokens,
        batch,
        load: std::sync::Arc::from([]),
        inputs: Vec::new(),
        weights: Vec::new(),
        ..producer.clone()
    }
}
