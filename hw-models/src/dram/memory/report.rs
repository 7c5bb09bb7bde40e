//! What a memory did, as one record.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::controller::Statistics;
use super::super::device::Device;

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemoryReport {
    /// The device's name.
    pub device: String,
    /// Channels.
    pub channels: u32,
    /// Requests done.
    pub requests: u64,
    /// Of these, reads.
    pub reads: u64,
    /// Of these, writes.
    pub writes: u64,
    /// Reads that took their data from a queued write.
    pub forwarded_reads: u64,
    /// Writes that were merged into a queued write.
    pub absorbed_writes: u64,
    /// Whole cycles of the command clock until the last request was done.
    pub cycles: u64,
    /// Period of the command clock, picoseconds.
    pub clock_ps: f64,
    /// The same time, seconds.
    pub latency_s: f64,
    /// Mean cycles of a read from acceptance to its last data; `None`, as the others of reads, where there was none.
    pub read_latency_avg_cycles: Option<f64>,
    /// Of these, until its column command.
    pub read_queueing_avg_cycles: Option<f64>,
    /// Of these, from its column command on.
    pub read_device_avg_cycles: Option<f64>,
    /// The longest read.
    pub read_latency_max_cycles: Option<f64>,
    /// The mean read, nanoseconds.
    pub read_latency_avg_ns: Option<f64>,
    /// Bytes of all requests over the time.
    pub bandwidth_bytes_per_s: f64,
    /// What the pins could carry.
    pub peak_bandwidth_bytes_per_s: f64,
    /// Requests that found their row open.
    pub row_hits: u64,
    /// Requests that found their bank closed.
    pub row_misses: u64,
    /// Requests that found another row open.
    pub row_conflicts: u64,
    /// Issues of each command.
    pub commands: BTreeMap<String, u64>,
    /// Energy by part, joules.
    pub energy_j: BTreeMap<String, f64>,
    /// All of it.
    pub energy_total_j: f64,
}

impl MemoryReport {
    pub(super) fn new(device: &Device, channels: &[Statistics]) -> Self {
        let sum = |f: fn(&Statistics) -> u64| channels.iter().map(f).fold(0, u64::saturating_add);
        let ticks = channels.iter().map(|c| c.ticks).max().unwrap_or(0);
        let per_clock = f64::from(device.ticks_per_clock);
        let seconds = ticks as f64 * device.clock_fs as f64 * 1e-15;
        let (requests, reads) = (sum(|c| c.requests), sum(|c| c.reads));
        let mean = |total: u64| (reads > 0).then(|| total as f64 / reads as f64 / per_clock);
        let latency = mean(sum(|c| c.read_latency));
        let longest = channels.iter().map(|c| c.read_latency_max).max();
        let queueing = mean(sum(|c| c.read_queueing));
        let counts: Vec<u64> =
            (0..device.commands.len()).map(|i| channels.iter().map(|c| c.commands[i]).sum()).collect();
        let commands = device.commands.iter().zip(&counts).filter(|(_, n)| **n > 0);
        let nodes = u64::from(device.levels[device.standby.0 as usize].nodes) * channels.len() as u64;
        let (active, active_sleep) = (sum(|c| c.active_ticks), sum(|c| c.active_sleep_ticks));
        let (precharged_sleep, self_refresh) = (sum(|c| c.precharged_sleep_ticks), sum(|c| c.self_refresh_ticks));
        let precharged = [active, active_sleep, precharged_sleep, self_refresh]
            .into_iter()
            .fold(nodes.saturating_mul(ticks), u64::saturating_sub);
        let model = &device.energy;
        let mut energy_j = model.joules(&counts, active, precharged);
        let asleep = active_sleep as f64 * model.active_power_down_pj_per_cycle
            + precharged_sleep as f64 * model.precharge_power_down_pj_per_cycle
            + self_refresh as f64 * model.self_refresh_pj_per_cycle;
        *energy_j.entry("background".into()).or_default() += asleep * 1e-12;
        let bytes = requests as f64 * f64::from(device.access_bytes);
        let clock_ps = device.clock_fs as f64 * per_clock / 1000.0;
        Self {
            device: device.name.clone(),
            channels: channels.len() as u32,
            requests,
            reads,
            writes: requests - reads,
            forwarded_reads: sum(|c| c.forwarded),
            absorbed_writes: sum(|c| c.absorbed),
            cycles: ticks.div_ceil(u64::from(device.ticks_per_clock)),
            clock_ps,
            latency_s: seconds,
            read_latency_avg_cycles: latency,
            read_queueing_avg_cycles: queueing,
            read_device_avg_cycles: latency.zip(queueing).map(|(latency, queueing)| latency - queueing),
            read_latency_max_cycles: longest.filter(|_| reads > 0).map(|ticks| ticks as f64 / per_clock),
            read_latency_avg_ns: latency.map(|cycles| cycles * clock_ps / 1000.0),
            bandwidth_bytes_per_s: if seconds > 0.0 { bytes / seconds } else { 0.0 },
            peak_bandwidth_bytes_per_s: device.pin_bandwidth() * channels.len() as f64,
            row_hits: sum(|c| c.row_hits),
            row_misses: sum(|c| c.row_misses),
            row_conflicts: sum(|c| c.row_conflicts),
            commands: commands.map(|(c, n)| (c.name.clone(), *n)).collect(),
            energy_total_j: energy_j.values().sum(),
            energy_j,
        }
    }
}
