//! A graph under construction: values that flow from operator to operator.

use std::collections::BTreeMap;
use std::sync::Arc;

use petgraph::graph::NodeIndex;

use crate::activation::ActivationKind;
use crate::generation::{Phase, Run};
use crate::graph::Graph;
use crate::model::{Mixer, Model, Norm, Reach, Stage, Types, WeightFormat};
use crate::op::{NodeTypes, Op, OperatorNode};
use crate::tensor::{DataType, Tensor, TensorKind};

/// A tensor and the node that produces it; no node where it comes from outside.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) node: Option<NodeIndex>,
    pub(super) tensor: Tensor,
}

/// What a product belongs to: which formats reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Layer,
    FeedForward,
    Expert,
    Router,
    Head,
}

/// A graph under construction.
pub(super) struct Flow<'a> {
    pub(super) model: &'a Model,
    /// Elements of the hidden state.
    pub(super) width: u64,
    pub(super) phase: Phase,
    pub(super) runs: &'a [Run],
    /// Runs of the encoder whose output is read.
    pub(super) source: &'a [Run],
    /// Sequences and tokens of the nodes that are added.
    pub(super) batch: u64,
    pub(super) tokens: u64,
    pub(super) layer: Option<u32>,
    /// Begins the names of layers.
    within: &'static str,
    pub(super) graph: Graph,
    /// How often a layer has had a kind of mixer.
    seen: BTreeMap<&'static str, u32>,
    /// Ends the names of nodes of one of several runs, or of a further mixer of a kind.
    suffix: String,
}

impl<'a> Flow<'a> {
    pub(super) fn new(model: &'a Model, width: u64, phase: Phase, runs: &'a [Run], layer: Option<u32>) -> Self {
        let mut flow = Self {
            model,
            width,
            phase,
            runs,
            source: &[],
            batch: 1,
            tokens: 1,
            layer,
            within: "layer",
            graph: Graph::with_capacity(24),
            seen: BTreeMap::new(),
            suffix: String::new(),
        };
        flow.all_tokens();
        flow
    }

    pub(super) fn within(mut self, what: &'static str) -> Self {
        self.within = what;
        self
    }

    pub(super) fn reading(mut self, source: &'a [Run]) -> Self {
        self.source = source;
        self
    }

    pub(super) fn types(&self) -> &'a Types {
        &self.model.types
    }

    /// Nodes are of every token: of a single run by sequence, of several in one row.
    fn all_tokens(&mut self) {
        (self.batch, self.tokens) = match self.runs {
            [run] => (run.sequences, run.new),
            runs => (1, runs.iter().fold(0u64, |sum, r| sum.saturating_add(r.tokens()))),
        };
    }

    pub(super) fn begin_block(&mut self) {
        self.seen.clear();
    }

    pub(super) fn name(&self, name: &str) -> String {
        let suffix = &self.suffix;
        match self.layer {
            Some(layer) => format!("{}{layer}.{name}{suffix}", self.within),
            None => format!("{name}{suffix}"),
        }
    }

    /// A hidden state from outside the graph.
    pub(super) fn outside(&self, name: &str) -> Value {
        let shape = [self.batch, self.tokens, self.width];
        Value { node: None, tensor: Tensor::new(name, shape, self.types().activations, TensorKind::Input) }
    }

    pub(super) fn activation(&self, name: String, shape: impl Into<Vec<u64>>) -> Tensor {
        Tensor::new(name, shape, self.types().activations, TensorKind::Activation)
    }

    /// A parameter that is no matrix of a product.
    pub(super) fn vector(&self, name: &str, shape: impl Into<Vec<u64>>) -> Tensor {
        Tensor::new(self.name(name), shape, self.types().activations, TensorKind::Weight)
    }

    /// How the weights of a product are stored.
    pub(super) fn format(&self, part: Part) -> WeightFormat {
        let own = self.types().weights;
        let reached = match own.reach {
            Reach::All => part != Part::Router,
            Reach::Layers => matches!(part, Part::Layer | Part::FeedForward | Part::Expert),
            Reach::FeedForward => matches!(part, Part::FeedForward | Part::Expert),
            Reach::Experts => part == Part::Expert,
        };
        if reached { own } else { WeightFormat::plain(self.types().activations) }
    }

    fn node_types(&self, weights: WeightFormat) -> NodeTypes {
        let t = self.types();
        // Operands are narrow where weights are.
        let operands = if weights.dtype == t.activations { t.activations } else { t.operands() };
        NodeTypes { weights, operands, cache: t.cache, state: t.state }
    }

    /// Adds a node that reads `inputs` and produces `outputs`.
    pub(super) fn push(
        &mut self,
        name: &str,
        label: &str,
        op: Op,
        inputs: &[&Value],
        weights: Vec<Tensor>,
        outputs: Vec<Tensor>,
    ) -> NodeIndex {
        self.push_as(name, label, op, inputs, weights, outputs, WeightFormat::plain(self.types().activations), &[])
    }

    /// The same, with how its matrix is stored and what its experts are sent.
    #[allow(clippy::too_many_arguments)] // a node's parts, one by one
    pub(super) fn push_as(
        &mut self,
        name: &str,
        label: &str,
        op: Op,
        inputs: &[&Value],
        weights: Vec<Tensor>,
        outputs: Vec<Tensor>,
        format: WeightFormat,
        load: &[u64],
    ) -> NodeIndex {
        let outside = inputs.iter().filter(|v| v.node.is_none()).map(|v| v.tensor.clone()).collect();
        let node = self.graph.add(OperatorNode {
            name: self.name(name),
            label: label.to_owned(),
            layer: self.layer,
            op,
            tokens: self.tokens,
            batch: self.batch,
            dtype: self.types().activations,
            types: self.node_types(format),
            load: Arc::from(load),
            inputs: outside,
            weights,
            outputs,
        });
        for value in inputs {
            if let Some(from) = value.node {
                self.graph.connect(from, node, value.tensor.clone());
            }
        }
        node
    }

    /// A node with one output `[batch, tokens, width]`, named as the node is.
    pub(super) fn plain(
        &mut self,
        name: &str,
        label: &str,
        op: Op,
        inputs: &[&Value],
        weights: Vec<Tensor>,
        width: u64,
    ) -> Value {
        let tensor = self.activation(self.name(name), [self.batch, self.tokens, width]);
        let node = self.push(name, label, op, inputs, weights, vec![tensor.clone()]);
        Value { node: Some(node), tensor }
    }

    pub(super) fn norm(&mut self, name: &str, label: &str, norm: Norm, input: &Value) -> Value {
        let width = input.tensor.shape.last().copied().unwrap_or(self.width);
        let gain = || self.vector(&format!("{name}.gain"), [width]);
        let (op, weights) = match norm {
            Norm::LayerNorm => (Op::LayerNorm { width }, vec![gain(), self.vector(&format!("{name}.shift"), [width])]),
            Norm::RmsNorm => (Op::RmsNorm { width }, vec![gain()]),
            Norm::LayerNormNoShift => (Op::PlainNorm { width, gain: true }, vec![gain()]),
            Norm::LayerNormPlain => (Op::PlainNorm { width, gain: false }, Vec::new()),
        };
        self.plain(name, label, op, &[input], weights, width)
    }

    /// A product whose result is split into tensors of some shapes beyond batch and tokens, named after the node.
    #[allow(clippy::too_many_arguments)] // a node's parts, one by one
    pub(super) fn split(
        &mut self,
        name: &str,
        label: &str,
        part: Part,
        input: &Value,
        [out_features, in_features]: [u64; 2],
        bias: bool,
        parts: &[(&str, Vec<u64>)],
    ) -> Vec<Value> {
        let format = self.format(part);
        let full = self.name(name);
        let outputs: Vec<Tensor> = parts
            .iter()
            .map(|(own, rest)| {
                let shape: Vec<u64> = [self.batch, self.tokens].into_iter().chain(rest.iter().copied()).collect();
                self.activation(if own.is_empty() { full.clone() } else { format!("{full}.{own}") }, shape)
            })
            .collect();
        let node = if format.low_rank > 0 {
            let rank = format.low_rank;
            let label_of = |which: &str| format!("{label} ({which})");
            let down =
                self.product(&format!("{name}_narrow"), &label_of("narrow"), input, [rank, in_features], false, format);
            self.product_into(name, &label_of("wide"), &down, [out_features, rank], bias, format, outputs.clone())
        } else {
            self.product_into(name, label, input, [out_features, in_features], bias, format, outputs.clone())
        };
        if format.adapter_rank > 0 {
            // An adapter's pair in 16 bits, added to the product: the sum has no operator of its own, its second product adds as it stores.
            let plain = WeightFormat::plain(self.types().activations);
            let rank = format.adapter_rank;
            let narrow = self.product(&format!("{name}_lora_a"), "lora a", input, [rank, in_features], false, plain);
            self.product(&format!("{name}_lora_b"), "lora b", &narrow, [out_features, rank], false, plain);
        }
        outputs.into_iter().map(|tensor| Value { node: Some(node), tensor }).collect()
    }

    fn product(
        &mut self,
        name: &str,
        label: &str,
        input: &Value,
        shape: [u64; 2],
        bias: bool,
        format: WeightFormat,
    ) -> Value {
        let tensor = self.activation(self.name(name), [self.batch, self.tokens, shape[0]]);
        let node = self.product_into(name, label, input, shape, bias, format, vec![tensor.clone()]);
        Value { node: Some(node), tensor }
    }

    #[allow(clippy::too_many_arguments)] // a node's parts, one by one
    fn product_into(
        &mut self,
        name: &str,
        label: &str,
        input: &Value,
        [out_features, in_features]: [u64; 2],
        bias: bool,
        format: WeightFormat,
        outputs: Vec<Tensor>,
    ) -> NodeIndex {
        let weight = Tensor::new(
            self.name(&format!("{name}.weight")),
            [out_features, in_features],
            format.dtype,
            TensorKind::Weight,
        );
        let mut weights = vec![weight];
        if bias {
            weights.push(self.vector(&format!("{name}.bias"), [out_features]));
        }
        let op = Op::Linear { in_features, out_features, bias };
        self.push_as(name, label, op, &[input], weights, outputs, format, &[])
    }

    /// A product `[tokens, in] x [out, in]`.
    pub(super) fn linear(
        &mut self,
        name: &str,
        label: &str,
        part: Part,
        input: &Value,
        shape: [u64; 2],
        bias: bool,
    ) -> Value {
        let mut values = self.split(name, label, part, input, shape, bias, &[("", vec![shape[0]])]);
        values.remove(0)
    }

    pub(super) fn residual(&mut self, name: &str, label: &str, a: &Value, b: &Value) -> Value {
        let width = a.tensor.shape.last().copied().unwrap_or(self.width);
        self.plain(name, label, Op::Residual { width }, &[a, b], Vec::new(), width)
    }

    pub(super) fn activated(&mut self, name: &str, label: &str, kind: ActivationKind, input: &Value) -> Value {
        let width = input.tensor.shape.iter().skip(2).product();
        let input = flat(input);
        self.plain(name, label, Op::Activation { kind, width }, &[&input], Vec::new(), width)
    }

    pub(super) fn gated(&mut self, name: &str, label: &str, a: &Value, b: &Value) -> Value {
        let width = a.tensor.shape.iter().skip(2).product();
        let (a, b) = (flat(a), flat(b));
        self.plain(name, label, Op::GatedMul { width }, &[&a, &b], Vec::new(), width)
    }

    /// Adds nodes for each run by itself: what mixes tokens of a sequence. Results of one width are joined.
    pub(super) fn by_run(
        &mut self,
        name: &str,
        inputs: &[&Value],
        width: u64,
        mut each: impl FnMut(&mut Self, &Run, &[Value]) -> Value,
    ) -> Value {
        let runs = self.runs;
        if let [run] = runs {
            let own: Vec<Value> = inputs.iter().map(|v| (*v).clone()).collect();
            return each(self, run, &own);
        }
        let outer = self.suffix.clone();
        let mut parts = Vec::with_capacity(runs.len());
        for (i, run) in runs.iter().enumerate() {
            (self.batch, self.tokens) = (run.sequences, run.new);
            self.suffix = format!("{outer}.run{i}");
            let own: Vec<Value> = inputs.iter().map(|v| of_run(v, run)).collect();
            parts.push(each(self, run, &own));
        }
        self.suffix = outer;
        self.all_tokens();
        let parts: Vec<&Value> = parts.iter().collect();
        self.plain(&format!("{name}_joined"), "join runs", Op::Concat { width }, &parts, Vec::new(), width)
    }

    /// `post(x + sum of branches(norm(x)))`.
    pub(super) fn stage(&mut self, stage: &Stage, input: &Value) -> Value {
        let first = stage.branches.first().map_or("stage", |b| b.mixer.name());
        let word = |name: &str| name.replace('_', " ");
        let mut sum = input.clone();
        // Branches that are normalised together before they are added.
        let mut beside: Option<Value> = None;
        let shared = stage.norm.map(|norm| {
            let name = self.numbered(first);
            let source = self.widened(&stage.branches[0].mixer, input, &name);
            self.norm(&format!("{name}_norm"), &format!("{} norm", word(first)), norm, &source)
        });
        for branch in &stage.branches {
            let kind = branch.mixer.name();
            let name = self.numbered(kind);
            let source = match branch.norm {
                Some(norm) => self.norm(&format!("{name}_norm"), &format!("{} norm", word(kind)), norm, input),
                None => match &shared {
                    Some(normed) => normed.clone(),
                    None => self.widened(&branch.mixer, input, &name),
                },
            };
            *self.seen.entry(kind).or_insert(0) += 1;
            let mut out = self.mix(&branch.mixer, &name, &source);
            if let Some(norm) = branch.out_norm {
                out = self.norm(&format!("{name}_out_norm"), &format!("{} output norm", word(kind)), norm, &out);
            }
            if stage.sum_norm.is_some() {
                let name = format!("{name}_sum");
                beside = Some(match beside {
                    Some(before) => self.residual(&name, &format!("{} sum", word(kind)), &before, &out),
                    None => out,
                });
                continue;
            }
            sum = match stage.no_residual {
                true => out,
                false => self.residual(&format!("{name}_residual"), &format!("{} residual", word(kind)), &sum, &out),
            };
        }
        if let (Some(norm), Some(out)) = (stage.sum_norm, beside) {
            let out = self.norm(&format!("{first}_sum_norm"), &format!("{} sum norm", word(first)), norm, &out);
            sum = match stage.no_residual {
                true => out,
                false => self.residual(&format!("{first}_residual"), &format!("{} residual", word(first)), &sum, &out),
            };
        }
        match stage.post_norm {
            Some(norm) => self.norm(&format!("{first}_post_norm"), &format!("{} norm", word(first)), norm, &sum),
            None => sum,
        }
    }

    /// What a mixer reads whose input is wider than the hidden state: the embedding beside it.
    fn widened(&mut self, mixer: &Mixer, input: &Value, _name: &str) -> Value {
        match mixer {
            Mixer::Attention(a) if a.input_width > 0 && a.input_width != self.width => {
                let mut wide = input.clone();
                if let Some(last) = wide.tensor.shape.last_mut() {
                    *last = a.input_width;
                }
                // Both lie side by side: an outside tensor stands for them.
                Value {
                    node: None,
                    tensor: Tensor { name: "hidden_and_embedding".into(), kind: TensorKind::Input, ..wide.tensor },
                }
            }
            _ => input.clone(),
        }
    }

    fn numbered(&self, kind: &str) -> String {
        match self.seen.get(kind) {
            None | Some(0) => kind.to_owned(),
            Some(n) => format!("{kind}{}", n + 1),
        }
    }

    fn mix(&mut self, mixer: &Mixer, name: &str, input: &Value) -> Value {
        match mixer {
            Mixer::Attention(a) => self.attention(a, name, input),
            Mixer::LatentAttention(l) => self.latent(l, input),
            Mixer::FeedForward(f) => self.feed_forward(f, name, input),
            Mixer::Experts(e) => self.experts(e, input),
            Mixer::Mamba(m) => self.mamba(m, input),
            Mixer::Mamba2(m) => self.mamba2(m, input),
            Mixer::LinearAttention(l) => self.linear_attention(l, input),
            Mixer::Rwkv(r) => self.rwkv(r, input),
            Mixer::Diagonal(d) => self.diagonal(d, input),
            Mixer::ShortConvolution(s) => self.short_convolution(s, input),
        }
    }
}

/// The tokens of one run.
pub(super) fn of_run(value: &Value, run: &Run) -> Value {
    let mut own = value.clone();
    if let [batch, tokens, ..] = own.tensor.shape.as_mut_slice() {
        (*batch, *tokens) = (run.sequences, run.new);
    }
    own
}

/// A value as a row a token.
pub(super) fn flat(value: &Value) -> Value {
    let shape = &value.tensor.shape;
    if shape.len() <= 3 {
        return value.clone();
    }
    let width = shape.iter().skip(2).product();
    Value { node: value.node, tensor: Tensor { shape: vec![shape[0], shape[1], width], ..value.tensor.clone() } }
}

/// Element type of indices.
pub(super) const INDEX: DataType = DataType::Int32;
