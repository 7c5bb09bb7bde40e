//! The clock at which a device keeps its power limit.

use banksia_hw::gpu::GpuSpec;

use super::times::OpCost;

/// Seconds of a kernel with its power at the limit or under it: time of matrix units goes with the clock, the rest does not; energy of switching
/// goes with its square, that of memory does not. The limit is kept kernel by kernel: those of a large layer take a millisecond and more, and a
/// phase of less power (a collective, a norm) does not lift the clock of the next above its boost.
pub(super) fn limited_seconds(gpu: &GpuSpec, cost: &OpCost) -> f64 {
    let seconds = |f: f64| cost.seconds * (cost.tensor_busy / f + 1.0 - cost.tensor_busy);
    let power = |f: f64| gpu.power.active_idle_w + (cost.joules * f * f + cost.memory_joules) / seconds(f);
    if cost.seconds <= 0.0 || power(1.0) <= gpu.power.limit_w {
        return cost.seconds;
    }
    let (mut low, mut high) = ((gpu.power.min_clock_mhz / gpu.sm_clock_mhz).min(1.0), 1.0);
    for _ in 0..20 {
        let middle = 0.5 * (low + high);
        if power(middle) > gpu.power.limit_w { high = middle } else { low = middle }
    }
    seconds(low)
}
