//! From a model and a step to its operator graph.

use petgraph::graph::NodeIndex;

use crate::config::{GptConfig, Positions};
use crate::generation::{Generation, Step};
use crate::graph::Graph;
use crate::model::Norm;
use crate::op::{Op, OperatorNode};
use crate::tensor::{DataType, Tensor, TensorKind};

/// A tensor and the node that produces it; no node where it comes from outside.
#[derive(Clone)]
struct Value {
    node: Option<NodeIndex>,
    tensor: Tensor,
}

struct Builder<'a> {
    model: &'a GptConfig,
    batch: u64,
    tokens: u64,
    context: u64,
    layer: Option<u32>,
    graph: Graph,
}

impl GptConfig {
    /// The operator graph of one step: embedding, every layer, final norm, vocabulary projection and the choice of the
    /// token, the first and the last as `generation` says. The final norm and what follows run for the last token of each
    /// sequence only, since no other is sampled from.
    ///
    /// Decode steps differ in their context alone: keep one graph and move it along with [`Graph::set_context`]. Layers
    /// are alike: [`GptConfig::layer_operators`] gives one.
    pub fn step_graph(&self, step: &Step, generation: &Generation) -> Graph {
        self.graph_of_layers(self.layers, step, generation)
    }

    /// The operators of one layer in the order of execution, with names that lack the layer's prefix (`qkv` for
    /// `layer3.qkv`) and no layer number. Every layer of [`GptConfig::step_graph`] consists of these, prefixed
    /// `layer{n}.`.
    pub fn layer_operators(&self, step: &Step, generation: &Generation) -> Vec<OperatorNode> {
        let strip = |name: &mut String| {
            if let Some(rest) = name.strip_prefix("layer0.") {
                *name = rest.to_owned();
            }
        };
        let mut nodes: Vec<OperatorNode> =
            self.distinct_operators(step, generation).into_iter().filter(|n| n.layer.is_some()).collect();
        for node in &mut nodes {
            node.layer = None;
            strip(&mut node.name);
            for tensor in node.inputs.iter_mut().chain(&mut node.weights).chain(&mut node.outputs) {
                strip(&mut tensor.name);
            }
        }
        nodes
    }

    /// The operators before the first layer, of the first layer, and after the last: one of every kind in the step.
    pub fn distinct_operators(&self, step: &Step, generation: &Generation) -> Vec<OperatorNode> {
        self.graph_of_layers(1, step, generation).operators().cloned().collect()
    }

    fn graph_of_layers(&self, layers: u32, step: &Step, generation: &Generation) -> Graph {
        let per_layer = 16;
        let mut builder = Builder {
            model: self,
            batch: generation.batch,
            tokens: step.tokens,
            context: step.context,
            layer: None,
            graph: Graph::with_capacity((layers as usize).saturating_mul(per_layer).saturating_add(8)),
        };
        let mut hidden = builder.embed(generation.embedding);
        for layer in 0..layers {
            builder.layer = Some(layer);
            hidden = builder.layer(&hidden);
        }
        builder.layer = None;
        builder.head(hidden, generation.lm_head);
        builder.graph
    }
}

impl Builder<'_> {
    fn name(&self, name: &str) -> String {
        self.layer.map_or_else(|| name.to_owned(), |layer| format!("layer{layer}.{name}"))
    }

    fn activation(&self, name: String, shape: impl Into<Vec<u64>>) -> Tensor {
        Tensor::new(name, shape, self.model.dtype, TensorKind::Activation)
    }

    /// Adds a node that reads `inputs` and produces `outputs`.
    fn push(
        &mut self,
        name: &str,
        label: &str,
        op: Op,
        inputs: &[&Value],
        weights: Vec<Tensor>,
        outputs: Vec<Tensor>,
    ) -> NodeIndex {
        let outside = inputs.iter().filter(|v| v.node.is_none()).map(|v| v.tensor.clone()).collect();
        let node = self.graph.add(OperatorNode {
            name: self.name(name),
            label: label.to_owned(),
            layer: self.layer,
            op,
            tokens: self.tokens,
            batch: self.batch,
            dtype: self.model.dtype,
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
    fn plain(&mut self, name: &str, label: &str, op: Op, inputs: &[&Value], weights: Vec<Tensor>, width: u64) -> Value {
        let tensor = self.activation(self.name(name), [self.batch, self.tokens, width]);
        let node = self.push(name, label, op, inputs, weights, vec![tensor.clone()]);
        Value { node: Some(node), tensor }
    }

    fn embed(&mut self, embedding: bool) -> Value {
        let (model, width) = (self.model, self.model.width);
        let shape = [self.batch, self.tokens];
        if !embedding {
            let shape = [self.batch, self.tokens, width];
            return Value { node: None, tensor: Tensor::new("hidden", shape, model.dtype, TensorKind::Input) };
        }
        let indices =
            Value { node: None, tensor: Tensor::new("token_indices", shape, DataType::Int32, TensorKind::Input) };
        let table = vec![model.weight("token_embedding.weight".into(), [model.vocab, width])];
        let op = Op::Embedding { vocab: model.vocab, width };
        let hidden = self.plain("token_embedding", "token embedding", op, &[&indices], table, width);
        if model.positions != Positions::Learned {
            return hidden;
        }
        let table = vec![model.weight("position_embedding.weight".into(), [model.position_rows, width])];
        let op = Op::PositionEmbedding { positions: model.position_rows, width };
        self.plain("position_embedding", "position embedding", op, &[&hidden], table, width)
    }

    fn norm(&mut self, name: &str, label: &str, input: &Value) -> Value {
        let width = self.model.width;
        let full = self.name(name);
        let gain = self.model.weight(format!("{full}.gain"), [width]);
        let (op, weights) = match self.model.norm {
            Norm::LayerNorm => {
                (Op::LayerNorm { width }, vec![gain, self.model.weight(format!("{full}.shift"), [width])])
            }
            Norm::RmsNorm => (Op::RmsNorm { width }, vec![gain]),
            Norm::LayerNormNoShift | Norm::LayerNormPlain => (Op::LayerNorm { width }, vec![gain]),
        };
        self.plain(name, label, op, &[input], weights, width)
    }

    /// The operator and the weights of one of the layer's matrices.
    fn matrix(&self, name: &str, [out_features, in_features]: [u64; 2]) -> (Op, Vec<Tensor>) {
        let (full, bias) = (self.name(name), self.model.bias);
        let mut weights = vec![self.model.weight(format!("{full}.weight"), [out_features, in_features])];
        if bias {
            weights.push(self.model.weight(format!("{full}.bias"), [out_features]));
        }
        (Op::Linear { in_features, out_features, bias }, weights)
    }

    fn linear(&mut self, name: &str, label: &str, input: &Value, shape: [u64; 2]) -> Value {
        let (op, weights) = self.matrix(name, shape);
        self.plain(name, label, op, &[input], weights, shape[0])
    }

    fn residual(&mut self, name: &str, label: &str, a: &Value, b: &Value) -> Value {
        let width = self.model.width;
        self.plain(name, label, Op::Residual { width }, &[a, b], Vec::new(), width)
    }

    fn layer(&mut self, input: &Value) -> Value {
        let normed = self.norm("attention_norm", "attention norm", input);
        let attention = self.attention(&normed);
        let sum = self.residual("attention_residual", "attention residual", input, &attention);
        let ffn_input = if self.model.parallel_block { input } else { &sum };
        let normed = self.norm("ffn_norm", "ffn norm", ffn_input);
        let ffn = self.feed_forward(&normed);
        self.residual("ffn_residual", "ffn residual", &sum, &ffn)
    }

    fn attention(&mut self, input: &Value) -> Value {
        let model = self.model;
        let (heads, kv_heads, head_dim) = (model.heads, model.kv_heads, model.head_dim);
        let (batch, tokens, context) = (self.batch, self.tokens, self.context);
        let query_shape = [batch, tokens, heads, head_dim];
        let key_shape = [batch, tokens, kv_heads, head_dim];
        let attention_width = model.attention_width();

        let qkv = attention_width.saturating_add(model.kv_width().saturating_mul(2));
        let (op, weights) = self.matrix("qkv", [qkv, model.width]);
        let full = self.name("qkv");
        let q = self.activation(format!("{full}.q"), query_shape);
        let k = self.activation(format!("{full}.k"), key_shape);
        let v = self.activation(format!("{full}.v"), key_shape);
        let node = self.push("qkv", "qkv projection", op, &[input], weights, vec![q.clone(), k.clone(), v.clone()]);
        let [mut q, mut k, v] = [q, k, v].map(|tensor| Value { node: Some(node), tensor });

        if model.positions == Positions::Rotary {
            let full = self.name("rotary");
            let rotated_q = self.activation(format!("{full}.q"), query_shape);
            let rotated_k = self.activation(format!("{full}.k"), key_shape);
            let op = Op::Rotary { heads, kv_heads, head_dim, rotary_dim: model.rotary_dim };
            let outputs = vec![rotated_q.clone(), rotated_k.clone()];
            let node = self.push("rotary", "rotary embedding", op, &[&q, &k], Vec::new(), outputs);
            q = Value { node: Some(node), tensor: rotated_q };
            k = Value { node: Some(node), tensor: rotated_k };
        }

        let full = self.name("kv_append");
        let cache_shape = [batch, kv_heads, context, head_dim];
        let cache = |part: &str| Tensor::new(format!("{full}.{part}"), cache_shape, model.dtype, TensorKind::KvCache);
        let (keys, values) = (cache("keys"), cache("values"));
        let op = Op::KvAppend { heads: kv_heads, head_dim, context };
        let node = self.push("kv_append", "kv append", op, &[&k, &v], Vec::new(), vec![keys.clone(), values.clone()]);
        let keys = Value { node: Some(node), tensor: keys };
        let values = Value { node: Some(node), tensor: values };

        let causal = true;
        let score_shape = [batch, heads, tokens, context];
        let scores = self.activation(self.name("scores"), score_shape);
        let op = Op::AttentionScores { heads, kv_heads, head_dim, context, causal };
        let node = self.push("scores", "attention scores", op, &[&q, &keys], Vec::new(), vec![scores.clone()]);
        let scores = Value { node: Some(node), tensor: scores };

        let rows = batch.saturating_mul(heads).saturating_mul(tokens);
        let probabilities = self.activation(self.name("softmax"), score_shape);
        let op = Op::Softmax { rows, columns: context, causal };
        let outputs = vec![probabilities.clone()];
        let node = self.push("softmax", "attention softmax", op, &[&scores], Vec::new(), outputs);
        let probabilities = Value { node: Some(node), tensor: probabilities };

        let op = Op::AttentionValues { heads, kv_heads, head_dim, context, causal };
        let inputs = [&probabilities, &values];
        let mixed = self.plain("values", "attention values", op, &inputs, Vec::new(), attention_width);
        self.linear("attention_out", "attention output projection", &mixed, [model.width, attention_width])
    }

    fn feed_forward(&mut self, input: &Value) -> Value {
        let model = self.model;
        let inner = model.ffn_width;
        let op = Op::Activation { kind: model.activation, width: inner };
        let activated = if model.gated {
            let gate = self.linear("ffn_gate", "ffn gate projection", input, [inner, model.width]);
            let up = self.linear("ffn_up", "ffn up projection", input, [inner, model.width]);
            let gate = self.plain("ffn_activation", "ffn activation", op, &[&gate], Vec::new(), inner);
            let op = Op::GatedMul { width: inner };
            self.plain("ffn_gated", "ffn gate product", op, &[&gate, &up], Vec::new(), inner)
        } else {
            let up = self.linear("ffn_up", "ffn up projection", input, [inner, model.width]);
            self.plain("ffn_activation", "ffn activation", op, &[&up], Vec::new(), inner)
        };
        self.linear("ffn_down", "ffn down projection", &activated, [model.width, inner])
    }

    fn head(&mut self, mut hidden: Value, lm_head: bool) {
        let model = self.model;
        // Only the last token of each sequence is sampled from.
        self.tokens = self.tokens.min(1);
        hidden.tensor.shape[1] = self.tokens;
        let normed = self.norm("final_norm", "final norm", &hidden);
        if !lm_head {
            return;
        }
        let table = if model.tied_embeddings { "token_embedding.weight" } else { "lm_head.weight" };
        let weights = vec![model.weight(table.into(), [model.vocab, model.width])];
        let op = Op::Linear { in_features: model.width, out_features: model.vocab, bias: false };
        let logits = self.plain("lm_head", "lm head", op, &[&normed], weights, model.vocab);
        let shape = [self.batch, self.tokens];
        let chosen = Tensor::new("argmax", shape, DataType::Int32, TensorKind::Activation);
        self.push("argmax", "argmax", Op::ArgMax { vocab: model.vocab }, &[&logits], Vec::new(), vec![chosen]);
    }
}
