//! What a memory did, as one record.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::controller::{Idle, Latencies, RowHammerPolicy, Statistics};
use super::super::device::Device;

/// Latencies that so many of a hundred reads do not exceed, cycles of the command clock; each rounded up by less than one part in
/// 128.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of them.
    pub p50: f64,
    /// 95 of a hundred.
    pub p95: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// 999 of a thousand.
    pub p999: f64,
}

impl Percentiles {
    fn of(latencies: &Latencies, ticks_per_clock: f64) -> Option<Self> {
        let at = |q: f64| Some(latencies.quantile(q)? as f64 / ticks_per_clock);
        Some(Self { p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)?, p999: at(0.999)? })
    }
}

/// What counter-measures against RowHammer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RowHammerReport {
    /// Alerts of the devices, which count the activations of rows (PRAC).
    pub alerts: u64,
    /// RFM commands.
    pub rfms: u64,
    /// The most activations of a row between two refreshes of its neighbours, where rows are counted (PRAC).
    pub most_activations_of_a_row: Option<u32>,
}

/// What a report has to know of a run besides what its channels counted.
pub(super) struct RunFacts {
    /// Requests that may be outstanding in a channel, where there is a limit.
    pub outstanding: Option<usize>,
    /// Whether requests had times of arrival.
    pub timed: bool,
    /// Requests whose address was wrapped.
    pub wrapped: u64,
    /// What was done against RowHammer.
    pub row_hammer: RowHammerPolicy,
}

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
    /// Of these, until its first command, be it a precharge, an activation or the access.
    pub read_waiting_avg_cycles: Option<f64>,
    /// Of these, from its column command on.
    pub read_device_avg_cycles: Option<f64>,
    /// The longest read.
    pub read_latency_max_cycles: Option<f64>,
    /// How the latencies of reads are spread: from arrival where requests have times of arrival, or else from acceptance.
    pub read_latency_percentiles_cycles: Option<Percentiles>,
    /// Mean cycles of a read from its arrival to its last data, where requests have times of arrival; what it waits for a place in
    /// the queue is in it.
    pub read_latency_from_arrival_avg_cycles: Option<f64>,
    /// The mean read, nanoseconds.
    pub read_latency_avg_ns: Option<f64>,
    /// Bytes of all requests over the time.
    pub bandwidth_bytes_per_s: f64,
    /// The same of each channel.
    pub bandwidth_by_channel_bytes_per_s: Vec<f64>,
    /// What bound the run: `data bus` where it was busy for most of the time, or else what kept it idle for the longest.
    pub bound_by: String,
    /// The time of the data pins, as shares, in the mean of channels and pseudo-channels: `busy` with bursts, and idle by cause; `end`
    /// is the time after the last burst. Only `busy` and `queue` where one request at a time may be outstanding.
    pub data_pins: BTreeMap<String, f64>,
    /// Requests whose address lay beyond the memory and was wrapped into it.
    pub wrapped_requests: u64,
    /// What the pins could carry.
    pub peak_bandwidth_bytes_per_s: f64,
    /// Requests that found their row open.
    pub row_hits: u64,
    /// Requests that found their bank closed.
    pub row_misses: u64,
    /// Requests that found another row open.
    pub row_conflicts: u64,
    /// What was done against RowHammer, where the controller's policies say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_hammer: Option<RowHammerReport>,
    /// Issues of each command.
    pub commands: BTreeMap<String, u64>,
    /// Energy by part, joules.
    pub energy_j: BTreeMap<String, f64>,
    /// All of it; at least so much where a part is not known.
    pub energy_total_j: f64,
    /// Parts whose energy the device's file does not give: the total is at least what it says.
    pub energy_unknown: Vec<String>,
    /// The energy over the time, watts.
    pub average_power_w: f64,
}

impl MemoryReport {
    pub(super) fn new(device: &Device, channels: &[Statistics], run: &RunFacts) -> Self {
        let sum = |f: fn(&Statistics) -> u64| channels.iter().map(f).fold(0, u64::saturating_add);
        let ticks = channels.iter().map(|c| c.ticks).max().unwrap_or(0);
        let per_clock = f64::from(device.ticks_per_clock);
        let seconds = ticks as f64 * device.clock_fs as f64 * 1e-15;
        let (requests, reads) = (sum(|c| c.requests), sum(|c| c.reads));
        let mean = |total: u64| (reads > 0).then(|| total as f64 / reads as f64 / per_clock);
        let latency = mean(sum(|c| c.read_latency));
        let longest = channels.iter().map(|c| c.read_latency_max).max();
        let queueing = mean(sum(|c| c.read_queueing));
        let mut latencies = Latencies::default();
        channels.iter().for_each(|c| latencies.add(&c.read_latencies));
        let data_pins = data_pins(device, channels, ticks, run.outstanding);
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
        model.add_asleep(&mut energy_j, active_sleep, precharged_sleep, self_refresh);
        let rate = |requests: u64| {
            let bytes = requests as f64 * f64::from(device.access_bytes);
            if seconds > 0.0 { bytes / seconds } else { 0.0 }
        };
        let energy_total_j: f64 = energy_j.values().sum();
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
            read_waiting_avg_cycles: mean(sum(|c| c.read_waiting)),
            read_device_avg_cycles: latency.zip(queueing).map(|(latency, queueing)| latency - queueing),
            read_latency_max_cycles: longest.filter(|_| reads > 0).map(|ticks| ticks as f64 / per_clock),
            read_latency_percentiles_cycles: (reads > 0).then(|| Percentiles::of(&latencies, per_clock)).flatten(),
            read_latency_from_arrival_avg_cycles: mean(sum(|c| c.read_latency_from_arrival)).filter(|_| run.timed),
            read_latency_avg_ns: latency.map(|cycles| cycles * clock_ps / 1000.0),
            bandwidth_bytes_per_s: rate(requests),
            bandwidth_by_channel_bytes_per_s: channels.iter().map(|c| rate(c.requests)).collect(),
            bound_by: bound_by(&data_pins, run.outstanding),
            data_pins,
            wrapped_requests: run.wrapped,
            peak_bandwidth_bytes_per_s: device.pin_bandwidth() * channels.len() as f64,
            row_hits: sum(|c| c.row_hits),
            row_misses: sum(|c| c.row_misses),
            row_conflicts: sum(|c| c.row_conflicts),
            row_hammer: row_hammer(device, channels, &counts, run.row_hammer),
            commands: commands.map(|(c, n)| (c.name.clone(), *n)).collect(),
            energy_total_j,
            energy_unknown: model.unknown_in(active_sleep + precharged_sleep, self_refresh),
            average_power_w: if seconds > 0.0 { energy_total_j / seconds } else { 0.0 },
            energy_j,
        }
    }
}

/// What was done against RowHammer, summed over channels.
fn row_hammer(
    device: &Device,
    channels: &[Statistics],
    counts: &[u64],
    policy: RowHammerPolicy,
) -> Option<RowHammerReport> {
    let offer = device.row_hammer.filter(|_| policy != RowHammerPolicy::Off)?;
    let some = offer.some.filter(|some| *some != offer.all);
    let rfms = [Some(offer.all), some].into_iter().flatten().map(|id| counts[id.0 as usize]).sum();
    let most = channels.iter().map(|c| c.most_activations).max();
    Some(RowHammerReport {
        alerts: channels.iter().map(|c| c.alerts).sum(),
        rfms,
        most_activations_of_a_row: most.filter(|_| policy == RowHammerPolicy::Prac),
    })
}

/// The share of the time from which on busy pins are what bound a run.
const BUSY: f64 = 0.85;

/// The time of the data pins by what they did or waited for.
fn data_pins(
    device: &Device,
    channels: &[Statistics],
    ticks: u64,
    outstanding: Option<usize>,
) -> BTreeMap<String, f64> {
    let groups = device.levels.iter().find(|l| l.name == "pseudochannel").map_or(1, |l| l.nodes);
    let all = ticks.max(1) as f64 * f64::from(groups) * channels.len().max(1) as f64;
    let moved: f64 = channels
        .iter()
        .flat_map(|c| device.commands.iter().zip(&c.commands))
        .map(|(command, n)| *n as f64 * f64::from(command.pin_bytes))
        .sum();
    let tick_s = device.clock_fs as f64 * 1e-15;
    let busy = moved / (device.pin_bandwidth() * tick_s) * f64::from(groups) / all;
    let mut shares = BTreeMap::from([("busy".to_owned(), busy)]);
    if outstanding == Some(1) {
        shares.insert("queue".into(), 1.0 - busy);
        return shares;
    }
    for (cause, (name, _)) in Idle::NAMES.iter().enumerate() {
        let idle: f64 = channels.iter().map(|c| c.idle_ticks[cause] as f64).sum();
        if idle > 0.0 {
            shares.insert((*name).into(), idle / all);
        }
    }
    let end = 1.0 - shares.values().sum::<f64>();
    shares.insert("end".into(), end.max(0.0));
    shares
}

/// What bound a run, in words.
fn bound_by(data_pins: &BTreeMap<String, f64>, outstanding: Option<usize>) -> String {
    if data_pins.get("busy").is_some_and(|busy| *busy >= BUSY) {
        return "data bus".into();
    }
    let idle = data_pins.iter().filter(|(name, _)| *name != "busy" && *name != "end");
    let most = idle.max_by(|a, b| a.1.total_cmp(b.1)).map_or("arrivals", |(name, _)| name);
    match (most, outstanding) {
        ("turnaround", _) => "data bus, turning between reads and writes".into(),
        ("bank_group", _) => "bank group (tCCD_L)".into(),
        ("activation_window", _) => "activation window (tFAW, tRRD)".into(),
        ("bank", _) => "one bank (tRC)".into(),
        ("queue", Some(n)) => format!("requests outstanding: {n} in a channel"),
        ("queue", None) => "queue: no place for requests that could use the pins".into(),
        ("arrivals", _) => "arrivals: the pins wait for requests".into(),
        (other, _) => other.into(),
    }
}
