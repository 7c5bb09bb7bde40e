//! Convolutions, scans and linear attention in training: which call a node of the step is, forward and backward, by mamba-ssm's and fla's kernels.

use banksia_hw::gpu::spec::GpuSpec;
use banksia_workloads::Op;
use banksia_workloads::backward::TrainNode;
use banksia_workloads::model::LinearRule;

use crate::gpu::fused::strided_copy;
use crate::gpu::launch::{Item, Operand};
use crate::gpu::linear::{self, LinearCall, Rule, Source};
use crate::gpu::ssm::{
    ConvCall, ConvKernel, ConvNames, Diagonal, DiagonalNames, SelectiveNames, SelectiveScan, Ssd, SsdGradients,
    SsdNames, causal_conv, causal_conv_gradient, diagonal_scan, diagonal_scan_gradient, selective_scan,
    selective_scan_gradient, ssd, ssd_gradient,
};

fn int(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Memory of a node's values, by place.
pub(super) struct Memory<'a>(pub(super) &'a TrainNode);

impl Memory<'_> {
    pub(super) fn read(&self, i: usize) -> Operand {
        let last = self.0.reads.len().saturating_sub(1);
        Operand::shared(self.0.reads.get(i.min(last)).map_or("input", |v| v.name.as_str()))
    }

    pub(super) fn write(&self, i: usize) -> Operand {
        Operand::shared(self.0.writes.get(i).map_or("scratch_output", |v| v.name.as_str()))
    }
}

fn conv(node: &TrainNode, channels: u64, taps: u64, silu: bool) -> ConvCall {
    ConvCall {
        batch: int(node.batch),
        tokens: int(node.tokens),
        channels: int(channels),
        taps: int(taps),
        silu,
        keep_state: false,
        kernel: ConvKernel::Triton,
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

fn state_space(node: &TrainNode, [heads, head_dim, state, groups, chunk]: [u64; 5]) -> Ssd {
    Ssd {
        batch: int(node.batch),
        tokens: int(node.tokens),
        heads: int(heads),
        head_dim: int(head_dim),
        state: int(state),
        groups: int(groups),
        chunk: int(chunk),
        element_bytes: 2,
        packed: true,
        step_pitch: int(heads),
        softplus: true,
        skip: true,
        gate: false,
        initial: false,
    }
}

fn linear_call(node: &TrainNode, rule: LinearRule, [key_heads, heads, key_dim, value_dim]: [u64; 4]) -> LinearCall {
    LinearCall {
        key_heads: int(key_heads),
        carries_state: false,
        ..LinearCall::new(rule_of(rule), int(node.batch), int(node.tokens), int(heads), int(key_dim), int(value_dim))
    }
}

/// A forward operator over a state; none where it is not one.
pub(super) fn forward(node: &TrainNode, op: Op, spec: &GpuSpec) -> Option<Result<Vec<Item>, String>> {
    let m = Memory(node);
    let scratch = Operand::shared("last_states");
    Some(match op {
        Op::CausalConv { channels, kernel, silu, .. } => {
            let call = conv(node, channels, kernel, silu);
            let whole = Operand::shared("conv_input");
            // A part of the projection's rows, brought together first.
            let copy = strided_copy(node.rows().saturating_mul(channels), 2);
            let copy = Item::kernel(copy, [m.read(0), whole.clone()]);
            let names = ConvNames { input: whole, weight: m.read(1), state: scratch, output: m.write(0) };
            causal_conv(&call, spec, &names).map(|conv| std::iter::once(copy).chain(conv).collect())
        }
        Op::StateSpaceDual { heads, head_dim, state, groups, chunk } => {
            let call = state_space(node, [heads, head_dim, state, groups, chunk]);
            let names = SsdNames {
                x: m.read(0),
                dt: m.read(1),
                parameters: m.read(2),
                state: scratch,
                y: m.write(0),
                ..SsdNames::default()
            };
            ssd(&call, spec, &names)
        }
        Op::SelectiveScan { channels, state } => {
            let call = selective(node, channels, state);
            let names = SelectiveNames {
                x: m.read(0),
                dt: m.read(1),
                projections: m.read(2),
                parameters: m.read(3),
                state: scratch,
                y: m.write(0),
                ..SelectiveNames::default()
            };
            selective_scan(&call, spec, &names)
        }
        Op::LinearAttention { rule, key_heads, value_heads, key_dim, value_dim } => {
            let call = linear_call(node, rule, [key_heads, value_heads, key_dim, value_dim]);
            let mut names = linear::Names::of("linear");
            (names.q, names.k, names.v) = (m.read(0), m.read(0), m.read(0));
            (names.gate, names.beta, names.output) = (m.read(1), m.read(2), m.write(0));
            linear::chunk(Source::Fla, &call, spec, &names)
        }
        Op::DiagonalScan { channels } => {
            let call = Diagonal { batch: int(node.batch), tokens: int(node.tokens), channels: int(channels) };
            let names = DiagonalNames { x: m.read(0), decay: m.read(2), state: scratch, y: m.write(0) };
            diagonal_scan(&call, spec, &names)
        }
        _ => return None,
    })
}

fn selective(node: &TrainNode, channels: u64, state: u64) -> SelectiveScan {
    SelectiveScan {
        batch: int(node.batch),
        tokens: int(node.tokens),
        channels: int(channels),
        state: int(state),
        groups: 1,
        gate: false,
    }
}

/// The gradient of a causal convolution. Reads: the result's gradient, the input, the taps.
pub(super) fn conv_gradient(
    node: &TrainNode,
    [channels, taps]: [u64; 2],
    silu: bool,
    spec: &GpuSpec,
) -> Result<Vec<Item>, String> {
    let m = Memory(node);
    let names = [m.read(0), m.read(1), m.read(2), m.write(0), m.write(1)];
    causal_conv_gradient(&conv(node, channels, taps, silu), spec, &names)
}

/// The gradient of a recurrence; none where it is not one that kernels are known of. Reads: the result's gradient, inputs, parameters.
pub(super) fn gradient(node: &TrainNode, op: Op, spec: &GpuSpec) -> Option<Result<Vec<Item>, String>> {
    let m = Memory(node);
    Some(match op {
        Op::StateSpaceDual { heads, head_dim, state, groups, chunk } => {
            let call = state_space(node, [heads, head_dim, state, groups, chunk]);
            let names = SsdNames { x: m.read(1), dt: m.read(2), parameters: m.read(3), ..SsdNames::default() };
            let gradients = SsdGradients {
                y: m.read(0),
                x: m.write(0),
                b: m.write(0),
                c: m.write(0),
                dt: m.write(1),
                parameters: m.write(2),
            };
            ssd_gradient(&call, spec, &names, &gradients)
        }
        Op::SelectiveScan { channels, state } => {
            let names = [m.read(0), m.read(1), m.read(2), m.read(3), m.read(4)];
            let gradients = [m.write(0), m.write(1), m.write(2), m.write(3)];
            selective_scan_gradient(&selective(node, channels, state), spec, &names, &gradients)
        }
        Op::LinearAttention { rule, key_heads, value_heads, key_dim, value_dim } => {
            let call = linear_call(node, rule, [key_heads, value_heads, key_dim, value_dim]);
            let mut names = linear::Names::of("linear");
            (names.q, names.k, names.v) = (m.read(1), m.read(1), m.read(1));
            (names.gate, names.beta, names.output) = (m.read(2), m.read(3), m.read(0));
            let gradients =
                linear::Gradients { q: m.write(0), k: m.write(0), v: m.write(0), gate: m.write(1), beta: m.write(2) };
            linear::chunk_gradient(&call, spec, &names, &gradients)
        }
        Op::DiagonalScan { channels } => {
            let call = Diagonal { batch: int(node.batch), tokens: int(node.tokens), channels: int(channels) };
            let names = [m.read(0), m.read(1), m.read(3), m.write(0), m.write(2)];
            diagonal_scan_gradient(&call, spec, &names)
        }
        _ => return None,
    })
}
