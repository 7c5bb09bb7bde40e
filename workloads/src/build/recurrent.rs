//! Mixers whose past is a state.

use super::flow::{Flow, Part, Value};
use crate::activation::ActivationKind;
use crate::model::{
    DiagonalSpec, LinearAttentionSpec, LinearRule, Mamba1Spec, Mamba2Spec, RwkvSpec, ShortConvolutionSpec,
};
use crate::op::Op;
use crate::tensor::Tensor;

impl Flow<'_> {
    /// A causal convolution, by run; its result may be split.
    fn conv(&mut self, name: &str, input: &Value, [channels, kernel]: [u64; 2], bias: bool, silu: bool) -> Value {
        self.by_run(name, &[input], channels, |flow, _, own| {
            let mut weights = vec![flow.vector(&format!("{name}.taps"), [channels, kernel])];
            if bias {
                weights.push(flow.vector(&format!("{name}.bias"), [channels]));
            }
            let op = Op::CausalConv { channels, kernel, bias, silu };
            flow.plain(name, "causal convolution", op, &[&own[0]], weights, channels)
        })
    }

    /// The first columns of a value, or others: no data moves.
    fn columns(value: &Value, width: u64) -> Value {
        let mut shape = value.tensor.shape.clone();
        if let Some(last) = shape.last_mut() {
            *last = width;
        }
        Value { node: value.node, tensor: Tensor { shape, ..value.tensor.clone() } }
    }

    pub(super) fn mamba(&mut self, m: &Mamba1Spec, input: &Value) -> Value {
        let (width, inner) = (self.width, m.inner);
        let parts = [("x", vec![inner]), ("gate", vec![inner])];
        let shape = [2 * inner, width];
        let mut split = self.split("in_proj", "mamba input projection", Part::Layer, input, shape, m.bias, &parts);
        let (gate, x) = (split.pop(), split.pop());
        let (Some(gate), Some(x)) = (gate, x) else { return input.clone() };
        let x = self.conv("conv", &x, [inner, m.conv_kernel], m.conv_bias, true);
        let vectors = m.state.saturating_mul(2);
        let parts = [("dt", vec![m.dt_rank]), ("vectors", vec![vectors])];
        let shape = [m.dt_rank.saturating_add(vectors), inner];
        let mut split = self.split("x_proj", "state projection", Part::Layer, &x, shape, false, &parts);
        let (vectors, dt) = (split.pop(), split.pop());
        let (Some(mut vectors), Some(mut dt)) = (vectors, dt) else { return input.clone() };
        if m.inner_norms {
            dt = self.rms("dt_norm", "state norms", &dt);
            vectors = self.rms("vectors_norm", "state norms", &vectors);
        }
        let dt = self.linear("dt_proj", "time step projection", Part::Layer, &dt, [inner, m.dt_rank], true);
        let y = self.by_run("scan", &[&x, &dt, &vectors], inner, |flow, _, own| {
            let weights = vec![flow.vector("scan.decay", [inner, m.state]), flow.vector("scan.skip", [inner])];
            let op = Op::SelectiveScan { channels: inner, state: m.state };
            flow.plain("scan", "selective scan", op, &[&own[0], &own[1], &own[2]], weights, inner)
        });
        let gate = self.activated("gate_activation", "mamba gate", ActivationKind::Silu, &gate);
        let y = self.gated("gated", "mamba gate product", &y, &gate);
        self.linear("out_proj", "mamba output projection", Part::Layer, &y, [width, inner], m.bias)
    }

    pub(super) fn mamba2(&mut self, m: &Mamba2Spec, input: &Value) -> Value {
        let (width, inner, channels) = (self.width, m.inner(), m.conv_channels());
        let parts = [("gate", vec![inner]), ("x", vec![channels]), ("dt", vec![m.heads])];
        let shape = [inner.saturating_add(channels).saturating_add(m.heads), width];
        let split = self.split("in_proj", "mamba2 input projection", Part::Layer, input, shape, m.bias, &parts);
        let [gate, x, dt] = split.as_slice() else { return input.clone() };
        let x = self.conv("conv", x, [channels, m.conv_kernel], m.conv_bias, true);
        let y = self.by_run("ssd", &[&x, dt], inner, |flow, _, own| {
            let of = |what: &str| flow.vector(&format!("ssd.{what}"), [m.heads]);
            let weights = vec![of("decay"), of("skip"), of("step_bias")];
            let op = Op::StateSpaceDual {
                heads: m.heads,
                head_dim: m.head_dim,
                state: m.state,
                groups: m.groups,
                chunk: m.chunk,
            };
            flow.plain("ssd", "state space", op, &[&own[0], &own[1]], weights, inner)
        });
        let y = if m.gated_norm {
            self.gated_norm("gated_norm", "mamba2 gated norm", &y, gate, inner / m.groups.max(1), false)
        } else {
            let gate = self.activated("gate_activation", "mamba2 gate", ActivationKind::Silu, gate);
            self.gated("gated", "mamba2 gate product", &y, &gate)
        };
        self.linear("out_proj", "mamba2 output projection", Part::Layer, &y, [width, inner], m.bias)
    }

    fn gated_norm(&mut self, name: &str, label: &str, x: &Value, gate: &Value, group: u64, shared_gain: bool) -> Value {
        let width = x.tensor.shape.last().copied().unwrap_or(self.width);
        let gain = self.vector(&format!("{name}.gain"), [if shared_gain { group } else { width }]);
        let gate = super::flow::flat(gate);
        self.plain(name, label, Op::GatedNorm { width, group, shared_gain }, &[x, &gate], vec![gain], width)
    }

    pub(super) fn linear_attention(&mut self, l: &LinearAttentionSpec, input: &Value) -> Value {
        let width = self.width;
        let (keys, values) = (l.key_heads.saturating_mul(l.key_dim), l.value_heads.saturating_mul(l.value_dim));
        let qkv = keys.saturating_mul(2).saturating_add(values);
        let mut parts = vec![("qkv", vec![qkv])];
        let mut out = qkv;
        if l.output_gate {
            parts.push(("gate", vec![values]));
            out = out.saturating_add(values);
        }
        let mut split = self
            .split("in_proj", "linear attention projection", Part::Layer, input, [out, width], false, &parts)
            .into_iter();
        let Some(mut x) = split.next() else { return input.clone() };
        let gate = split.next();
        // Decays and learning rates.
        let mut beside = Vec::new();
        let decays = match l.rule {
            LinearRule::VectorGate | LinearRule::VectorGatedDelta => keys,
            LinearRule::ScalarGate | LinearRule::GatedDelta => l.value_heads,
            LinearRule::Plain | LinearRule::Retention | LinearRule::Delta => 0,
        };
        if decays > 0 {
            let decay = match l.gate_rank {
                0 => self.linear("decay", "decay projection", Part::Layer, input, [decays, width], false),
                rank => {
                    let low = self.linear("decay_down", "decay projection", Part::Layer, input, [rank, width], false);
                    self.linear("decay", "decay projection", Part::Layer, &low, [decays, rank], true)
                }
            };
            beside.push(decay);
        }
        if matches!(l.rule, LinearRule::Delta | LinearRule::GatedDelta | LinearRule::VectorGatedDelta) {
            beside.push(self.linear("beta", "beta projection", Part::Layer, input, [l.value_heads, width], false));
        }
        if l.conv_kernel > 0 {
            x = self.conv("conv", &x, [qkv, l.conv_kernel], false, true);
        }
        if l.rotary {
            let shaped = |dim: u64, heads: u64| {
                let mut v = x.clone();
                v.tensor.shape = vec![self.batch, self.tokens, heads, dim];
                v
            };
            let (q, k) = (shaped(l.key_dim, l.key_heads), shaped(l.key_dim, l.key_heads));
            self.rotary("rotary", [l.key_heads, l.key_heads, l.key_dim, l.key_dim], &q, &k);
        }
        let inputs: Vec<&Value> = std::iter::once(&x).chain(&beside).collect();
        let y = self.by_run("recurrence", &inputs, values, |flow, _, own| {
            let op = Op::LinearAttention {
                rule: l.rule,
                key_heads: l.key_heads,
                value_heads: l.value_heads,
                key_dim: l.key_dim,
                value_dim: l.value_dim,
            };
            let own: Vec<&Value> = own.iter().collect();
            flow.plain("recurrence", "linear attention", op, &own, Vec::new(), values)
        });
        let y = match gate {
            Some(gate) => self.gated_norm("gated_norm", "linear attention gated norm", &y, &gate, l.value_dim, true),
            None => y,
        };
        self.linear("out_proj", "linear attention output projection", Part::Layer, &y, [width, values], false)
    }

    pub(super) fn rwkv(&mut self, r: &RwkvSpec, input: &Value) -> Value {
        let (width, inner) = (self.width, r.inner);
        let mixes = match r.version {
            4 => 3,
            5 => 4,
            6 => 5,
            _ => 6,
        };
        let shifted = self.shift("shift", input, mixes);
        let x = Self::columns(&shifted, width);
        if r.low_rank > 0 {
            let low = self.linear("mix_down", "mixing projection", Part::Layer, &x, [r.low_rank, width], false);
            self.linear("mix_up", "mixing projection", Part::Layer, &low, [width, r.low_rank], false);
        }
        // Receptance, keys and values, each of a mix of its own.
        let [a, b, c] = ["receptance", "key", "value"]
            .map(|name| self.linear(name, &format!("{name} projection"), Part::Layer, &x, [inner, width], false));
        let gate = (r.version > 4 && r.version < 7)
            .then(|| self.linear("gate", "gate projection", Part::Layer, &x, [inner, width], false));
        let mut beside = Vec::new();
        if r.low_rank > 0 {
            let low = self.linear("decay_down", "decay projection", Part::Layer, &x, [r.low_rank, width], false);
            beside.push(self.linear("decay_up", "decay projection", Part::Layer, &low, [inner, r.low_rank], false));
        }
        let mut all = a;
        all.tensor.shape[2] = inner.saturating_mul(3);
        let all = Value { node: None, tensor: Tensor { kind: crate::tensor::TensorKind::Input, ..all.tensor } };
        let inputs: Vec<&Value> = [&all, &b, &c].into_iter().chain(&beside).collect();
        let y = self.by_run("wkv", &inputs, inner, |flow, _, own| {
            let weights = vec![flow.vector("wkv.decay", [inner]), flow.vector("wkv.bonus", [inner])];
            let op = Op::Wkv { version: r.version, channels: inner, head_dim: r.head_dim.max(1) };
            let own: Vec<&Value> = own.iter().collect();
            flow.plain("wkv", "wkv", op, &own, weights, inner)
        });
        let y = match gate {
            Some(gate) => self.gated_norm("gated_norm", "wkv gated norm", &y, &gate, r.head_dim.max(1), false),
            None => {
                let a = self.activated("receptance_gate", "receptance gate", ActivationKind::Sigmoid, &b);
                self.gated("gated", "receptance product", &y, &a)
            }
        };
        let out = self.linear("out_proj", "time mix output projection", Part::Layer, &y, [width, inner], false);
        if r.channel_mix == 0 {
            return out;
        }
        self.channel_mix(r, &out)
    }

    /// RWKV's feed-forward layer: keys of a squared ReLU, gated by a receptance.
    fn channel_mix(&mut self, r: &RwkvSpec, input: &Value) -> Value {
        let (width, inner) = (self.width, r.channel_mix);
        let mixes = if r.version < 7 { 2 } else { 1 };
        let shifted = self.shift("channel_shift", input, mixes);
        let x = Self::columns(&shifted, width);
        let keys = self.linear("channel_key", "channel key projection", Part::FeedForward, &x, [inner, width], false);
        let keys = self.activated("channel_activation", "channel activation", ActivationKind::Relu2, &keys);
        let shape = [width, inner];
        let values = self.linear("channel_value", "channel value projection", Part::FeedForward, &keys, shape, false);
        if r.version >= 7 {
            return values;
        }
        let shape = [width, width];
        let gate =
            self.linear("channel_receptance", "channel receptance projection", Part::FeedForward, &x, shape, false);
        let gate = self.activated("channel_gate", "channel gate", ActivationKind::Sigmoid, &gate);
        self.gated("channel_gated", "channel gate product", &values, &gate)
    }

    fn shift(&mut self, name: &str, input: &Value, mixes: u64) -> Value {
        let width = self.width;
        self.by_run(name, &[input], width.saturating_mul(mixes), |flow, _, own| {
            let weights = vec![flow.vector(&format!("{name}.mixes"), [mixes, width])];
            flow.plain(
                name,
                "token shift",
                Op::TokenShift { width, mixes },
                &[&own[0]],
                weights,
                width.saturating_mul(mixes),
            )
        })
    }

    pub(super) fn diagonal(&mut self, d: &DiagonalSpec, input: &Value) -> Value {
        let (width, inner) = (self.width, d.inner);
        let gate = self.linear("gate_proj", "recurrent gate projection", Part::Layer, input, [inner, width], d.bias);
        let x = self.linear("in_proj", "recurrent input projection", Part::Layer, input, [inner, width], d.bias);
        let x = self.conv("conv", &x, [inner, d.conv_kernel], true, false);
        let block = inner / d.blocks.max(1);
        let mut by_block = x.clone();
        by_block.tensor.shape = vec![self.batch, self.tokens, d.blocks, block];
        let gates = ["input_gate", "recurrence_gate"].map(|name| {
            let gate = self.head_product(name, &name.replace('_', " "), d.blocks, [block, block], &by_block);
            super::flow::flat(&gate)
        });
        let y = self.by_run("scan", &[&x, &gates[0], &gates[1]], inner, |flow, _, own| {
            let weights = vec![flow.vector("scan.decay", [inner])];
            let op = Op::DiagonalScan { channels: inner };
            flow.plain("scan", "diagonal scan", op, &[&own[0], &own[1], &own[2]], weights, inner)
        });
        let gate = self.activated("gate_activation", "recurrent gate", ActivationKind::Gelu, &gate);
        let y = self.gated("gated", "recurrent gate product", &y, &gate);
        self.linear("out_proj", "recurrent output projection", Part::Layer, &y, [width, inner], d.bias)
    }

    pub(super) fn short_convolution(&mut self, s: &ShortConvolutionSpec, input: &Value) -> Value {
        let (width, inner) = (self.width, s.inner);
        let parts = [("b", vec![inner]), ("c", vec![inner]), ("x", vec![inner])];
        let shape = [inner.saturating_mul(3), width];
        let split = self.split("in_proj", "convolution input projection", Part::Layer, input, shape, s.bias, &parts);
        let [b, c, x] = split.as_slice() else { return input.clone() };
        let x = self.gated("gated_in", "convolution gate product", b, x);
        let x = self.conv("conv", &x, [inner, s.conv_kernel], s.bias, false);
        let y = self.gated("gated_out", "convolution gate product", c, &x);
        self.linear("out_proj", "convolution output projection", Part::Layer, &y, [width, inner], s.bias)
    }
}
