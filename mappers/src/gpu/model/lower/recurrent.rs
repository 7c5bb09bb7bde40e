//! Recurrences: chunked kernels for prompts, one update for a token.

use banksia_workloads::model::LinearRule;
use banksia_workloads::{NodeTypes, Op};

use super::{Lowering, One, int};
use crate::gpu::frameworks::Framework;
use crate::gpu::fused::strided_copy;
use crate::gpu::launch::{Item, Operand};
use crate::gpu::layers::row_operator;
use crate::gpu::linear::{self, LinearCall, Rule, Source};
use crate::gpu::ssm::{
    ConvCall, ConvKernel, ConvNames, ConvUpdate, ConvUpdateKernel, Diagonal, DiagonalNames, SelectiveNames,
    SelectiveScan, Ssd, SsdNames, StateUpdate, StateUpdateNames, Wkv, WkvNames, causal_conv, conv_update,
    diagonal_scan, selective_scan, ssd, state_update, wkv,
};
use crate::plan::Unsupported;

/// The state of an operator, a layer's own.
fn state_of(one: &One<'_>) -> Operand {
    Operand::own(format!("{}.state", one.part.output.name))
}

impl Lowering<'_> {
    pub(super) fn recurrent(&self, one: &One<'_>, types: &NodeTypes) -> Result<Vec<Item>, Unsupported> {
        let part = one.part;
        let (batch, tokens) = (int(one.batch), int(one.tokens));
        let spec = &self.model.spec;
        let element_bytes = int(self.element());
        let state_bytes = int(types.state.bits().div_ceil(8));
        let items = match one.op {
            Op::CausalConv { channels, kernel, silu, .. } => self.convolution(one, channels, kernel, silu),
            Op::StateSpaceDual { heads, head_dim, state, groups, .. } if tokens == 1 => {
                let call = StateUpdate {
                    batch,
                    heads: int(heads),
                    head_dim: int(head_dim),
                    state: int(state),
                    groups: int(groups),
                    state_bytes,
                    element_bytes,
                    tied: true,
                    gate: false,
                };
                state_update(&call, spec, &self.update_names(one))
            }
            Op::StateSpaceDual { heads, head_dim, state, groups, chunk } => {
                let call = Ssd {
                    batch,
                    tokens,
                    heads: int(heads),
                    head_dim: int(head_dim),
                    state: int(state),
                    groups: int(groups),
                    chunk: int(chunk),
                    element_bytes,
                    packed: true,
                    step_pitch: int(heads),
                    softplus: true,
                    skip: true,
                    gate: false,
                    initial: false,
                };
                let names = SsdNames {
                    x: part.input(0),
                    dt: part.input(1),
                    parameters: part.weight(0),
                    state: state_of(one),
                    y: part.output.clone(),
                    ..SsdNames::default()
                };
                ssd(&call, spec, &names)
            }
            Op::SelectiveScan { channels, state } if tokens == 1 => {
                let call = StateUpdate {
                    batch,
                    heads: 1,
                    head_dim: int(channels),
                    state: int(state),
                    groups: 1,
                    state_bytes,
                    element_bytes,
                    tied: false,
                    gate: false,
                };
                state_update(&call, spec, &self.update_names(one))
            }
            Op::SelectiveScan { channels, state } => {
                let call =
                    SelectiveScan { batch, tokens, channels: int(channels), state: int(state), groups: 1, gate: false };
                let names = SelectiveNames {
                    x: part.input(0),
                    dt: part.input(1),
                    projections: part.input(2),
                    parameters: part.weight(0),
                    state: state_of(one),
                    y: part.output.clone(),
                    ..SelectiveNames::default()
                };
                selective_scan(&call, spec, &names)
            }
            Op::LinearAttention { rule, key_heads, value_heads, key_dim, value_dim } => {
                let call = LinearCall {
                    key_heads: int(key_heads),
                    ..LinearCall::new(rule_of(rule), batch, tokens, int(value_heads), int(key_dim), int(value_dim))
                };
                self.linear(one, &call)
            }
            Op::Wkv { version, channels, head_dim } => {
                let head = head_dim.max(if version < 5 { 1 } else { 16 });
                let call = Wkv {
                    batch,
                    tokens,
                    heads: int(channels / head.max(1)).max(1),
                    head_dim: int(head),
                    delta: version >= 7,
                    keep_state: true,
                };
                let names = WkvNames { vectors: part.inputs.clone(), state: state_of(one), y: part.output.clone() };
                wkv(&call, spec, &names)
            }
            Op::DiagonalScan { channels } => {
                let call = Diagonal { batch, tokens, channels: int(channels) };
                let names = DiagonalNames {
                    x: part.input(0),
                    decay: part.input(2),
                    state: state_of(one),
                    y: part.output.clone(),
                };
                diagonal_scan(&call, spec, &names)
            }
            // A mix with the token before: elementwise, each result by itself.
            Op::TokenShift { width, mixes } => {
                let kernel = row_operator("add", int(one.rows()), int(width.saturating_mul(mixes)));
                let kernel = kernel.ok_or_else(|| self.unknown(part, one.op.kind()))?;
                Ok(vec![Item::kernel(kernel, [part.input(0), state_of(one), part.output.clone()])])
            }
            _ => return Err(self.unknown(part, one.op.kind())),
        };
        self.items(part, items)
    }

    fn update_names(&self, one: &One<'_>) -> StateUpdateNames {
        StateUpdateNames {
            input: one.part.input(0),
            projections: one.part.input(0),
            parameters: one.part.weight(0),
            state: state_of(one),
            output: one.part.output.clone(),
        }
    }

    fn convolution(&self, one: &One<'_>, channels: u64, taps: u64, silu: bool) -> Result<Vec<Item>, String> {
        let part = one.part;
        let spec = &self.model.spec;
        let names = ConvNames {
            input: part.input(0),
            weight: part.weight(0),
            state: state_of(one),
            output: part.output.clone(),
        };
        let (batch, tokens, channels, taps) = (int(one.batch), int(one.tokens), int(channels), int(taps));
        if tokens == 1 {
            let kernel = match self.framework() {
                Framework::Torch | Framework::Compiled => ConvUpdateKernel::Operators,
                Framework::Vllm | Framework::Sglang | Framework::Trtllm => ConvUpdateKernel::Fused,
            };
            return conv_update(&ConvUpdate { batch, channels, taps, kernel }, spec, &names);
        }
        let kernel = match self.framework() {
            Framework::Torch | Framework::Compiled => ConvKernel::Triton,
            Framework::Vllm | Framework::Sglang => ConvKernel::ChannelLast,
            Framework::Trtllm => ConvKernel::ChannelFirst,
        };
        let call = ConvCall { batch, tokens, channels, taps, silu, keep_state: false, kernel };
        if kernel != ConvKernel::Triton {
            return causal_conv(&call, spec, &names);
        }
        // A part of the projection's rows, brought together first.
        let whole = Operand::shared("conv_input");
        let elements = one.rows().saturating_mul(u64::from(channels));
        let copy = Item::kernel(strided_copy(elements, int(self.element())), [part.input(0), whole.clone()]);
        let conv = causal_conv(&call, spec, &ConvNames { input: whole, ..names })?;
        Ok(std::iter::once(copy).chain(conv).collect())
    }

    fn linear(&self, one: &One<'_>, call: &LinearCall) -> Result<Vec<Item>, String> {
        let part = one.part;
        let source = match self.framework() {
            Framework::Torch | Framework::Compiled => Source::Fla,
            Framework::Vllm => Source::Vllm,
            Framework::Sglang => Source::Sglang,
            Framework::Trtllm => Source::Trtllm,
        };
        let mut names = linear::Names::of(&part.output.name);
        names.q = part.input(0);
        names.k = part.input(0);
        names.v = part.input(0);
        names.gate = part.input(1);
        names.beta = part.input(2);
        names.output = part.output.clone();
        match call.tokens {
            // A few tokens are taken one after another.
            1..=8 => linear::recurrent(source, call, &self.model.spec, &names),
            _ => linear::chunk(source, call, &self.model.spec, &names),
        }
    }
}

fn rule_of(rule: LinearRule) -> Rule {
    match rule {
        LinearRule::Plain | LinearRule::Retention => Rule::Retention,
        LinearRule::ScalarGate => Rule::SimpleGla,
        LinearRule::VectorGate => Rule::Gla,
        LinearRule::Delta => Rule::Delta,
        LinearRule::GatedDelta => Rule::GatedDelta,
        LinearRule::VectorGatedDelta => Rule::Kda,
    }
}
