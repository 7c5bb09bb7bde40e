//! The host that launches a step operator by operator: the device waits where the host is behind.
//!
//! An operator takes the host some microseconds in Python, the dispatcher, the autograd graph and the driver; gradients run in the autograd engine, in C++. While the device
//! has work queued none of that shows; at the beginning of a step, and where operators are short, it does.

use banksia_workloads::Op;
use banksia_workloads::backward::{Pass, TrainNode, TrainOp};
use serde::{Deserialize, Serialize};

/// Microseconds that a host takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HostCosts {
    /// For an operator of the forward pass: a module's call, the operator, its node of the autograd graph, without launches.
    pub forward_us: f64,
    /// For an operator of the backward pass, without launches.
    pub backward_us: f64,
    /// For a launch.
    pub launch_us: f64,
    /// For a launch of Triton's: arguments are looked at one by one, and the kernel found by their types and alignment, and by the sizes it was tuned for.
    pub triton_us: f64,
    /// For each operator of a layer whose activations are computed again: hooks that pack and unpack what is saved, in both passes.
    pub hooks_us: f64,
    /// For each such layer: saving and restoring the state of random numbers, and the frame in which it runs again.
    pub checkpoint_us: f64,
    /// For a parameter tensor in the optimiser: grouping, lists, checks.
    pub parameter_us: f64,
    /// From a launch to its start on an idle device.
    pub reach_us: f64,
    /// From a launch's end to the next one's begin in a stream, beyond what it is in a graph: the device's front end reads each launch from the queue.
    pub gap_us: f64,
}

/// Assumed: rows of training that keep the device busy take 1.2 to 2.0 us a launch more than their kernels, 1.7 in the median (`latency_us`, `kernel_us` and `kernels` in `models.csv`);
/// graphs are modelled with 0.3 (`graph_gap_us` of the H200).
const GAP_US: f64 = 1.4;

/// Assumed: rows of `ssd` and `linear_attention` with gradients take 1.0 and 0.4 ms from call to end beyond their kernels, 40 and 17 launches (`operators.csv`), of which the device waits only for those
/// before the first long kernel.
pub const TRITON_US: f64 = 140.0;

impl Default for HostCosts {
    fn default() -> Self {
        Self::PYTORCH
    }
}

impl HostCosts {
    /// PyTorch 2.11 on the host of the measured H200 (assumed; found on rows whose device is idle for a part of the time: those of `models.csv` that compute layers again. GPT-2 medium's
    /// take 55 to 103 ms for the same calls, 75 to 77 in loops that last, so that they say no more than about what a hook takes).
    pub const PYTORCH: Self = Self {
        forward_us: 12.0,
        backward_us: 14.0,
        launch_us: 4.4,
        triton_us: TRITON_US,
        hooks_us: 40.0,
        checkpoint_us: 450.0,
        parameter_us: 5.0,
        reach_us: 8.0,
        gap_us: GAP_US,
    };

    /// The host's time for an operator with so many launches.
    pub fn of(&self, node: &TrainNode, pass: Pass, launches: usize, checkpointed: bool) -> f64 {
        let own = match pass {
            Pass::Forward | Pass::Backward { recompute: true } => self.forward_us,
            Pass::Backward { .. } => self.backward_us,
            Pass::Update(_) => 0.0,
        };
        // Sums of two gradients are a part of the engine's own work.
        let own = if matches!(node.op, TrainOp::Accumulate { .. } | TrainOp::AccumulateParameter { .. }) {
            own / 2.0
        } else {
            own
        };
        let hooks = if checkpointed { self.hooks_us } else { 0.0 };
        let launch_us = if triton(node) { self.triton_us } else { self.launch_us };
        own + hooks + launch_us * launches as f64
    }
}

/// Whether an operator's kernels are Triton's.
fn triton(node: &TrainNode) -> bool {
    let of = match node.op {
        TrainOp::ConvGradient { .. } | TrainOp::GatedNormGradient { .. } => return true,
        TrainOp::Forward { of } | TrainOp::RecurrenceGradient { of } => of,
        _ => return false,
    };
    matches!(
        of,
        Op::CausalConv { .. }
            | Op::StateSpaceDual { .. }
            | Op::LinearAttention { .. }
            | Op::DiagonalScan { .. }
            | Op::GatedNorm { .. }
    )
}

/// Seconds from the first operator's call to the last one's end: `(host, device)` seconds each, in order.
pub fn timeline(operators: impl IntoIterator<Item = (f64, f64)>, reach_s: f64) -> f64 {
    let (mut host, mut device) = (0.0f64, 0.0f64);
    for (called, runs) in operators {
        host += called;
        device = device.max(host + reach_s) + runs;
    }
    device
}

#[cfg(test)]
mod tests {
    use super::timeline;

    #[test]
    fn the_slower_of_host_and_device_sets_the_pace() {
        let near = |x: f64, y: f64| assert!((x - y).abs() < 1e-12, "{x} {y}");
        near(timeline([(1.0, 10.0); 5], 0.5), 1.0 + 0.5 + 50.0);
        near(timeline([(10.0, 1.0); 5], 0.5), 50.0 + 0.5 + 1.0);
        near(timeline([], 0.5), 0.0);
    }
}
