//! Mixtures of experts: route, dispatch, products by expert, combine.

use super::flow::{Flow, Part, Value};
use crate::activation::ActivationKind;
use crate::model::{ExpertsSpec, FeedForwardSpec};
use crate::op::Op;
use crate::tensor::{Tensor, TensorKind};

impl Flow<'_> {
    pub(super) fn experts(&mut self, e: &ExpertsSpec, input: &Value) -> Value {
        let width = self.width;
        let tokens = self.batch.saturating_mul(self.tokens);
        let logits = self.linear("router", "router", Part::Router, input, [e.experts, width], e.router_bias);
        let op = Op::Route { experts: e.experts, top_k: e.top_k, router: e.router };
        let routes = self.plain("route", "expert routing", op, &[&logits], Vec::new(), e.top_k);
        let (mut entering, mut inner_width) = (input.clone(), width);
        if e.latent_width > 0 {
            inner_width = e.latent_width;
            entering =
                self.linear("latent_down", "latent down projection", Part::Layer, input, [inner_width, width], false);
        }
        let mut load = self.model.routing.rows(e.experts, e.top_k, tokens);
        if e.capacity_percent > 0 {
            let even = tokens.saturating_mul(e.top_k).div_ceil(e.experts.max(1));
            let most = (even.saturating_mul(e.capacity_percent) / 100).max(1);
            load.iter_mut().for_each(|rows| *rows = (*rows).min(most));
        }

        // From here to the sum there is a row for each expert of a token.
        let own = self.tokens;
        self.tokens = own.saturating_mul(e.top_k);
        let op = Op::Dispatch { top_k: e.top_k, width: inner_width };
        let rows = self.plain("dispatch", "expert dispatch", op, &[&entering, &routes], Vec::new(), inner_width);
        let ups = if e.gated { 2 * e.inner } else { e.inner };
        let up = self.expert_product("experts_up", "experts up projection", e, &load, &rows, [ups, inner_width]);
        let activated = if e.gated {
            let half = |v: &Value| Value {
                node: v.node,
                tensor: Tensor { shape: vec![v.tensor.shape[0], v.tensor.shape[1], e.inner], ..v.tensor.clone() },
            };
            let gate = self.activated("experts_activation", "experts activation", e.activation, &half(&up));
            self.gated("experts_gated", "experts gate product", &gate, &half(&up))
        } else {
            self.activated("experts_activation", "experts activation", e.activation, &up)
        };
        let shape = [inner_width, e.inner];
        let down = self.expert_product("experts_down", "experts down projection", e, &load, &activated, shape);
        self.tokens = own;

        let op = Op::Combine { top_k: e.top_k, width: inner_width };
        let mut out = self.plain("combine", "expert combine", op, &[&down, &routes], Vec::new(), inner_width);
        if e.latent_width > 0 {
            out = self.linear("latent_up", "latent up projection", Part::Layer, &out, [width, inner_width], false);
        }
        if e.shared_inner == 0 {
            return out;
        }
        let shared = FeedForwardSpec { inner: e.shared_inner, activation: e.activation, gated: e.gated, bias: false };
        let mut beside = self.gated_pair(&shared, "shared_expert", "shared expert", input, [width, width]);
        if e.shared_gate {
            let gate = self.linear("shared_gate", "shared expert gate", Part::Router, input, [1, width], false);
            let gate = self.activated("shared_gate_activation", "shared expert gate", ActivationKind::Sigmoid, &gate);
            // One factor a token.
            let spread = Value { node: gate.node, tensor: Tensor { kind: TensorKind::Activation, ..gate.tensor } };
            beside = self.scaled("shared_gated", "shared expert gate product", &beside, &spread);
        }
        self.residual("shared_residual", "shared expert sum", &out, &beside)
    }

    /// A product by a number a token.
    pub(super) fn scaled(&mut self, name: &str, label: &str, value: &Value, factor: &Value) -> Value {
        let width = value.tensor.shape.last().copied().unwrap_or(self.width);
        let mut factor = factor.clone();
        factor.tensor.shape = value.tensor.shape.clone();
        // The factor of a token is read for each of its elements: as an input from outside, so that shapes agree.
        factor.node = None;
        factor.tensor.kind = TensorKind::Input;
        self.plain(name, label, Op::GatedMul { width }, &[value, &factor], Vec::new(), width)
    }

    fn expert_product(
        &mut self,
        name: &str,
        label: &str,
        e: &ExpertsSpec,
        load: &[u64],
        input: &Value,
        [out_features, in_features]: [u64; 2],
    ) -> Value {
        let format = self.format(Part::Expert);
        let shape = [e.experts, out_features, in_features];
        let mut weights =
            vec![Tensor::new(self.name(&format!("{name}.weight")), shape, format.dtype, TensorKind::Weight)];
        if e.bias {
            weights.push(self.vector(&format!("{name}.bias"), [e.experts, out_features]));
        }
        let op = Op::ExpertLinear { experts: e.experts, in_features, out_features, bias: e.bias };
        let tensor = self.activation(self.name(name), [self.batch, self.tokens, out_features]);
        let node = self.push_as(name, label, op, &[input], weights, vec![tensor.clone()], format, load);
        Value { node: Some(node), tensor }
    }
}
