//! Multi-head latent attention: projected up for prompts, absorbed in decode.

use super::flow::{Flow, Part, Value};
use crate::generation::Run;
use crate::model::{Indexer, LatentSpec};
use crate::op::Op;
use crate::tensor::{Tensor, TensorKind};

/// Runs of more new tokens project keys and values up; others work on latent vectors. With fewer, the products of `kv_rank` for a key of
/// `nope_dim` cost less than projecting the whole context up.
const ABSORBED: u64 = 16;

impl Flow<'_> {
    pub(super) fn latent(&mut self, l: &LatentSpec, input: &Value) -> Value {
        let (width, heads) = (self.width, l.heads);
        let head = l.nope_dim.saturating_add(l.rope_dim);
        let all = heads.saturating_mul(head);
        let part = Part::Layer;
        let (q_input, q_width) = if l.query_rank > 0 {
            let down = self.linear("q_down", "query down projection", part, input, [l.query_rank, width], l.bias);
            (self.rms("q_norm", "query norm", &down), l.query_rank)
        } else {
            (input.clone(), width)
        };
        let parts = [("nope", vec![heads, l.nope_dim]), ("rope", vec![heads, l.rope_dim])];
        let mut q = self.split("q_up", "query up projection", part, &q_input, [all, q_width], false, &parts);
        let q_rope = q.pop().unwrap_or_else(|| input.clone());
        let q_nope = q.pop().unwrap_or_else(|| input.clone());

        let cached = l.kv_rank.saturating_add(l.rope_dim);
        let parts = [("latent", vec![l.kv_rank]), ("rope", vec![1, l.rope_dim])];
        let mut kv = self.split("kv_down", "kv down projection", part, input, [cached, width], l.bias, &parts);
        let k_rope = kv.pop().unwrap_or_else(|| input.clone());
        let latent = kv.pop().unwrap_or_else(|| input.clone());
        let latent = self.rms("kv_norm", "kv norm", &latent);
        let (q_rope, k_rope) = self.rotary("rotary", [heads, 1, l.rope_dim, l.rope_dim], &q_rope, &k_rope);
        // A layer may take the choice of another's indexer.
        let index = l.indexer.filter(|i| !i.shared).map(|i| self.index_parts(&i, input, &q_input));

        let out_width = heads.saturating_mul(l.value_dim);
        let mut inputs = vec![&q_nope, &q_rope, &latent, &k_rope];
        if let Some((queries, weights, key)) = &index {
            inputs.extend([queries, weights, key]);
        }
        let mixed = self.by_run("values", &inputs, out_width, |flow, run, own| {
            let [nope, rope, latent, k_rope, rest @ ..] = own else { return own[0].clone() };
            let cache = flow.append_latent(l, run, latent, k_rope);
            let mut context = run.context();
            if let Some(i) = l.indexer {
                if let [queries, weights, key] = rest {
                    flow.index(&i, run, queries, weights, key);
                }
                context = context.min(i.top_k.max(run.new));
            }
            if run.new > ABSORBED {
                flow.projected_up(l, run, context, [nope, rope, &cache])
            } else {
                flow.absorbed(l, context, [nope, rope, &cache])
            }
        });
        self.linear("attention_out", "attention output projection", part, &mixed, [width, out_width], l.bias)
    }

    /// Latent vectors and rotated keys go into the cache side by side.
    fn append_latent(&mut self, l: &LatentSpec, run: &Run, latent: &Value, k_rope: &Value) -> Value {
        let (dim, context) = (l.kv_rank.saturating_add(l.rope_dim), run.context());
        let shape = [self.batch, 1, context, dim];
        let cache = Tensor::new(self.name("kv_append.latent"), shape, self.types().cache, TensorKind::KvCache);
        // The rotated part follows in the same row.
        let mut row = latent.clone();
        row.tensor = Tensor { shape: vec![self.batch, self.tokens, 1, dim], kind: TensorKind::Input, ..row.tensor };
        row.node = None;
        let op = Op::KvAppend { heads: 1, head_dim: dim, value_dim: 0, context };
        let node = self.push("kv_append", "kv append", op, &[&row], Vec::new(), vec![cache.clone()]);
        // What it waits for.
        for value in [latent, k_rope] {
            let _ = value;
        }
        Value { node: Some(node), tensor: cache }
    }

    /// Keys and values of the whole context, head by head.
    fn projected_up(&mut self, l: &LatentSpec, run: &Run, context: u64, [nope, _rope, _cache]: [&Value; 3]) -> Value {
        let heads = l.heads;
        let head = l.nope_dim.saturating_add(l.rope_dim);
        let own = self.tokens;
        self.tokens = run.context();
        let shape = [self.batch, self.tokens, l.kv_rank];
        let latent = Value {
            node: None,
            tensor: Tensor::new(self.name("latent_rows"), shape, self.types().activations, TensorKind::Input),
        };
        let out = heads.saturating_mul(l.nope_dim.saturating_add(l.value_dim));
        let parts = [("keys", vec![heads, l.nope_dim]), ("values", vec![heads, l.value_dim])];
        let up = self.split("kv_up", "kv up projection", Part::Layer, &latent, [out, l.kv_rank], false, &parts);
        self.tokens = own;
        let shaped = |v: &Value, dim: u64| Value {
            node: v.node,
            tensor: Tensor { shape: vec![self.batch, heads, context, dim], ..v.tensor.clone() },
        };
        // Rotated keys stand beside the others.
        let keys = shaped(&up[0], head);
        let keys = Value { node: None, tensor: Tensor { kind: TensorKind::Input, ..keys.tensor } };
        let values = shaped(&up[1], l.value_dim);
        let mut q = nope.clone();
        q.tensor.shape = vec![self.batch, self.tokens, heads, head];
        q = Value { node: None, tensor: Tensor { kind: TensorKind::Input, ..q.tensor } };
        self.attend("", [heads, heads, head, l.value_dim, context, 0], true, false, [&q, &keys, &values])
    }

    /// Queries are projected into the latent space, and results out of it.
    fn absorbed(&mut self, l: &LatentSpec, context: u64, [nope, _rope, cache]: [&Value; 3]) -> Value {
        let heads = l.heads;
        let q = self.head_product("absorb_keys", "key absorption", heads, [l.kv_rank, l.nope_dim], nope);
        let dim = l.kv_rank.saturating_add(l.rope_dim);
        let mut wide = q;
        wide.tensor.shape = vec![self.batch, self.tokens, heads, dim];
        let wide = Value { node: None, tensor: Tensor { kind: TensorKind::Input, ..wide.tensor } };
        let mut keys = cache.clone();
        keys.tensor.shape = vec![self.batch, 1, context, dim];
        let mut values = cache.clone();
        values.tensor.shape = vec![self.batch, 1, context, l.kv_rank];
        let mixed =
            self.attend("latent_", [heads, 1, dim, l.kv_rank, context, 0], true, false, [&wide, &keys, &values]);
        let mut by_head = mixed;
        by_head.tensor.shape = vec![self.batch, self.tokens, heads, l.kv_rank];
        let out = self.head_product("absorb_values", "value absorption", heads, [l.value_dim, l.kv_rank], &by_head);
        super::flow::flat(&out)
    }

    /// A product a head.
    pub(super) fn head_product(
        &mut self,
        name: &str,
        label: &str,
        heads: u64,
        [out_features, in_features]: [u64; 2],
        input: &Value,
    ) -> Value {
        let format = self.format(Part::Layer);
        let shape = [heads, out_features, in_features];
        let weight = Tensor::new(self.name(&format!("{name}.weight")), shape, format.dtype, TensorKind::Weight);
        let op = Op::HeadLinear { heads, in_features, out_features };
        let tensor = self.activation(self.name(name), [self.batch, self.tokens, heads, out_features]);
        let node = self.push_as(name, label, op, &[input], vec![weight], vec![tensor.clone()], format, &[]);
        Value { node: Some(node), tensor }
    }

    /// The indexer's queries, weights of its heads, and the key that it caches.
    fn index_parts(&mut self, i: &Indexer, input: &Value, q_input: &Value) -> (Value, Value, Value) {
        let q_width = q_input.tensor.shape.last().copied().unwrap_or(self.width);
        let out = i.heads.saturating_mul(i.head_dim);
        let parts = [("", vec![i.heads, i.head_dim])];
        let shape = [out, q_width];
        let mut q = self.split("index_q", "index query projection", Part::Layer, q_input, shape, false, &parts);
        let weights = self.linear("index_weights", "index weights", Part::Layer, input, [i.heads, self.width], false);
        let key = self.linear("index_k", "index key projection", Part::Layer, input, [i.head_dim, self.width], false);
        (q.remove(0), weights, key)
    }

    fn index(&mut self, i: &Indexer, run: &Run, queries: &Value, weights: &Value, key: &Value) {
        let context = run.context();
        let mut row = key.clone();
        row.tensor.shape = vec![self.batch, self.tokens, 1, i.head_dim];
        let shape = [self.batch, 1, context, i.head_dim];
        let cache = Tensor::new(self.name("index_append.keys"), shape, self.types().cache, TensorKind::KvCache);
        let op = Op::KvAppend { heads: 1, head_dim: i.head_dim, value_dim: 0, context };
        let node = self.push("index_append", "kv append", op, &[&row], Vec::new(), vec![cache.clone()]);
        let cache = Value { node: Some(node), tensor: cache };
        let op = Op::Index { heads: i.heads, head_dim: i.head_dim, context, top_k: i.top_k };
        let inputs = [queries, &cache, weights];
        self.plain("index", "key index", op, &inputs, Vec::new(), i.top_k.min(context));
    }
}
