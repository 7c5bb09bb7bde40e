//! Attention with keys and values in a cache, or over all tokens at once.

use super::flow::{Flow, Part, Value};
use crate::activation::ActivationKind;
use crate::generation::{Phase, Run};
use crate::model::{AttentionSpec, Norm, QkNorm};
use crate::op::Op;
use crate::tensor::{Tensor, TensorKind};

/// Names of an attention's nodes: those of the first of a layer are plain.
fn prefix(name: &str) -> String {
    if name == "attention" { String::new() } else { format!("{name}_") }
}

impl Flow<'_> {
    pub(super) fn attention(&mut self, a: &AttentionSpec, name: &str, input: &Value) -> Value {
        let p = prefix(name);
        let in_features = input.tensor.shape.last().copied().unwrap_or(self.width);
        let (queries, keys) = (a.heads.saturating_mul(a.head_dim), a.kv_heads.saturating_mul(a.head_dim));
        let values = a.kv_heads.saturating_mul(a.values());
        let own_keys = !a.cross && !a.shares_cache;

        let mut parts = vec![("q", vec![a.heads, a.head_dim])];
        let mut out_features = queries;
        if own_keys {
            parts.push(("k", vec![a.kv_heads, a.head_dim]));
            out_features = out_features.saturating_add(keys);
            if !a.values_are_keys {
                parts.push(("v", vec![a.kv_heads, a.values()]));
                out_features = out_features.saturating_add(values);
            }
        }
        if a.output_gate {
            parts.push(("gate", vec![a.heads, a.head_dim]));
            out_features = out_features.saturating_add(queries);
        }
        let (node, label) = if own_keys { ("qkv", "qkv projection") } else { ("q", "query projection") };
        let shape = [out_features, in_features];
        let mut split =
            self.split(&format!("{p}{node}"), label, Part::Layer, input, shape, a.qkv_bias, &parts).into_iter();
        let mut q = split.next().unwrap_or_else(|| input.clone());
        let (mut k, mut v) = (None, None);
        if own_keys {
            k = split.next();
            // Values may be what the projection of keys gives, before its norm and rotation.
            v = if a.values_are_keys { k.clone() } else { split.next() };
        }
        let gate = if a.output_gate { split.next() } else { None };
        if let (Some(norm), Some(keys)) = (a.qk_norm, k.as_ref()) {
            let (normed_q, normed_k) = self.qk_norm(&format!("{p}qk_norm"), a, norm, &q, keys);
            (q, k) = (normed_q, Some(normed_k));
        }
        if let (true, Some(keys)) = (a.rotary_dim > 0, k.as_ref()) {
            let (rotated_q, rotated_k) =
                self.rotary(&format!("{p}rotary"), [a.heads, a.kv_heads, a.head_dim, a.rotary_dim], &q, keys);
            (q, k) = (rotated_q, Some(rotated_k));
        }
        let mut cross = None;
        if a.cross {
            cross = Some(self.cross_keys(&p, a));
        }
        let out_width = a.heads.saturating_mul(a.values());
        let inputs: Vec<&Value> = [Some(&q), k.as_ref(), v.as_ref()].into_iter().flatten().collect();
        let mixed = self.by_run(&format!("{p}values"), &inputs, out_width, |flow, run, own| {
            let (keys, values, context) = match (&cross, own) {
                (Some((keys, values, context)), _) => (keys.clone(), values.clone(), *context),
                (None, [_, k, v]) if a.causal => flow.append(&p, a, run, k, v),
                // Without a cache: all of this pass.
                (None, [_, k, v]) => (k.clone(), v.clone(), run.new),
                _ => flow.shared_cache(&p, a, run),
            };
            flow.scores_to_values(&p, a, &own[0], &keys, &values, context)
        });
        let mixed = match gate {
            Some(gate) => {
                let gate =
                    self.activated(&format!("{p}gate_activation"), "attention gate", ActivationKind::Sigmoid, &gate);
                self.gated(&format!("{p}gated"), "attention gate product", &mixed, &gate)
            }
            None => mixed,
        };
        let mixed = match a.head_gate {
            true => {
                let shape = [a.heads, in_features];
                let gate =
                    self.linear(&format!("{p}head_gate"), "head gate projection", Part::Layer, input, shape, false);
                let name = format!("{p}head_gate_activation");
                let gate = self.activated(&name, "head gate", ActivationKind::Sigmoid, &gate);
                self.scaled(&format!("{p}head_gated"), "head gate product", &mixed, &gate)
            }
            false => mixed,
        };
        let shape = [self.width, out_width];
        self.linear(&format!("{p}attention_out"), "attention output projection", Part::Layer, &mixed, shape, a.out_bias)
    }

    /// Normalises queries and keys.
    fn qk_norm(&mut self, name: &str, a: &AttentionSpec, norm: QkNorm, q: &Value, k: &Value) -> (Value, Value) {
        let per = if norm.whole || norm.per_head_gain { a.heads.saturating_add(a.kv_heads) } else { 2 };
        let parameters = norm.norm.parameters(per.saturating_mul(a.head_dim));
        let op = Op::QkNorm { heads: a.heads, kv_heads: a.kv_heads, head_dim: a.head_dim, parameters };
        let weights =
            if parameters > 0 { vec![self.vector(&format!("{name}.gains"), [parameters])] } else { Vec::new() };
        self.pair(name, "qk norm", op, q, k, weights)
    }

    /// A node from queries and keys to both.
    fn pair(&mut self, name: &str, label: &str, op: Op, q: &Value, k: &Value, weights: Vec<Tensor>) -> (Value, Value) {
        let full = self.name(name);
        let outputs =
            [("q", q), ("k", k)].map(|(own, v)| self.activation(format!("{full}.{own}"), v.tensor.shape.clone()));
        let node = self.push(name, label, op, &[q, k], weights, outputs.to_vec());
        let [q, k] = outputs.map(|tensor| Value { node: Some(node), tensor });
        (q, k)
    }

    pub(super) fn rotary(
        &mut self,
        name: &str,
        [heads, kv_heads, head_dim, rotary_dim]: [u64; 4],
        q: &Value,
        k: &Value,
    ) -> (Value, Value) {
        let op = Op::Rotary { heads, kv_heads, head_dim, rotary_dim };
        self.pair(name, "rotary embedding", op, q, k, Vec::new())
    }

    /// Tokens that a layer's cache holds for a run: a window keeps what the run's first token sees, a chunk what has passed of it.
    fn held(a: &AttentionSpec, run: &Run) -> u64 {
        match a.window {
            chunk if a.chunked && chunk > 0 => (run.past % chunk).saturating_add(run.new),
            0 => run.context(),
            window => run.context().min(window.saturating_add(run.new).saturating_sub(1)),
        }
    }

    fn cache(&self, name: &str, heads: u64, context: u64, dim: u64) -> Tensor {
        let shape = [self.batch, heads, context, dim];
        Tensor::new(self.name(name), shape, self.types().cache, TensorKind::KvCache)
    }

    /// Writes new keys and values behind those of before.
    fn append(&mut self, p: &str, a: &AttentionSpec, run: &Run, k: &Value, v: &Value) -> (Value, Value, u64) {
        let context = Self::held(a, run);
        let name = format!("{p}kv_append");
        let keys = self.cache(&format!("{name}.keys"), a.kv_heads, context, a.head_dim);
        let values = self.cache(&format!("{name}.values"), a.kv_heads, context, a.values());
        let op = Op::KvAppend { heads: a.kv_heads, head_dim: a.head_dim, value_dim: a.values(), context };
        let outputs = vec![keys.clone(), values.clone()];
        let node = self.push(&name, "kv append", op, &[k, v], Vec::new(), outputs);
        (Value { node: Some(node), tensor: keys }, Value { node: Some(node), tensor: values }, context)
    }

    /// The cache of an earlier layer.
    fn shared_cache(&self, p: &str, a: &AttentionSpec, run: &Run) -> (Value, Value, u64) {
        let context = Self::held(a, run);
        let keys = self.cache(&format!("{p}shared.keys"), a.kv_heads, context, a.head_dim);
        let values = self.cache(&format!("{p}shared.values"), a.kv_heads, context, a.values());
        (Value { node: None, tensor: keys }, Value { node: None, tensor: values }, context)
    }

    /// Keys and values of an encoder's output: made with the prompt, read ever after.
    fn cross_keys(&mut self, p: &str, a: &AttentionSpec) -> (Value, Value, u64) {
        let context = self.source.first().map_or(1, |r| r.new);
        let width = self.model.encoder.as_ref().map_or(self.width, |e| e.width);
        let keys = self.cache(&format!("{p}kv.keys"), a.kv_heads, context, a.head_dim);
        let values = self.cache(&format!("{p}kv.values"), a.kv_heads, context, a.values());
        if self.phase == Phase::Prefill {
            let own = (self.batch, self.tokens);
            self.tokens = context;
            let shape = [self.batch, context, width];
            let encoded = Value {
                node: None,
                tensor: Tensor::new("encoder_output", shape, self.types().activations, TensorKind::Input),
            };
            let (k, v) = (a.kv_heads.saturating_mul(a.head_dim), a.kv_heads.saturating_mul(a.values()));
            self.linear(
                &format!("{p}kv"),
                "cross kv projection",
                Part::Layer,
                &encoded,
                [k.saturating_add(v), width],
                a.qkv_bias,
            );
            (self.batch, self.tokens) = own;
        }
        (Value { node: None, tensor: keys }, Value { node: None, tensor: values }, context)
    }

    fn scores_to_values(
        &mut self,
        p: &str,
        a: &AttentionSpec,
        q: &Value,
        keys: &Value,
        values: &Value,
        context: u64,
    ) -> Value {
        let (heads, kv_heads, window) = (a.heads, a.kv_heads, a.window);
        let causal = a.causal && !a.cross;
        self.attend(
            p,
            [heads, kv_heads, a.head_dim, a.values(), context, window],
            causal,
            a.soft_cap,
            [q, keys, values],
        )
    }

    /// Scores, softmax, values: `[b, t, heads x value_dim]`.
    pub(super) fn attend(
        &mut self,
        p: &str,
        [heads, kv_heads, head_dim, value_dim, context, window]: [u64; 6],
        causal: bool,
        capped: bool,
        [q, keys, values]: [&Value; 3],
    ) -> Value {
        let score_shape = [self.batch, heads, self.tokens, context];
        let rows = self.batch.saturating_mul(heads).saturating_mul(self.tokens);
        let name = format!("{p}scores");
        let tensor = self.activation(self.name(&name), score_shape);
        let op = Op::AttentionScores { heads, kv_heads, head_dim, context, causal, window };
        let node = self.push(&name, "attention scores", op, &[q, keys], Vec::new(), vec![tensor.clone()]);
        let mut scores = Value { node: Some(node), tensor };
        if capped {
            let name = format!("{p}score_cap");
            let tensor = self.activation(self.name(&name), score_shape);
            let op = Op::ScoreCap { rows, columns: context };
            let node = self.push(&name, "attention score cap", op, &[&scores], Vec::new(), vec![tensor.clone()]);
            scores = Value { node: Some(node), tensor };
        }
        let name = format!("{p}softmax");
        let tensor = self.activation(self.name(&name), score_shape);
        let op = Op::Softmax { rows, columns: context, causal, window };
        let node = self.push(&name, "attention softmax", op, &[&scores], Vec::new(), vec![tensor.clone()]);
        let probabilities = Value { node: Some(node), tensor };
        let op = Op::AttentionValues { heads, kv_heads, head_dim: value_dim, context, causal, window };
        let width = heads.saturating_mul(value_dim);
        self.plain(&format!("{p}values"), "attention values", op, &[&probabilities, values], Vec::new(), width)
    }

    /// An RMS norm of a part of another node's result.
    pub(super) fn rms(&mut self, name: &str, label: &str, input: &Value) -> Value {
        self.norm(name, label, Norm::RmsNorm, input)
    }
}
