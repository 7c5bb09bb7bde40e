//! What is told of a network file: its curve, where it saturates, and the load of its links.

use serde::Serialize;

use super::config::NocError;
use super::deadlock::{DeadlockCheck, check_deadlock};
use super::energy::EnergyUse;
use super::file::NetRun;
use super::measure::{Measurement, Status, measure};
use super::replay::simulate;
use super::tables::OnDeadlock;
use super::topology::Topology;

/// What a network does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetReport {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: &'static str,
    /// Its routing function.
    pub routing: &'static str,
    /// Routers and terminals.
    pub routers: usize,
    /// Terminals.
    pub terminals: usize,
    /// What the check for deadlock says; none if it was off.
    pub deadlock: Option<String>,
    /// Latency by offered rate.
    pub curve: Vec<Point>,
    /// Where it saturates; none for a trace, or where no rate is unstable.
    pub saturation: Option<Saturation>,
    /// The links at the last stable rate, or of the trace.
    pub links: Vec<LinkLoad>,
    /// What flits cost then.
    pub energy: Option<EnergyUse>,
    /// Where the energies are from.
    pub energy_source: String,
    /// The packets of a trace.
    pub trace: Option<TraceSummary>,
}

/// One rate of a curve. Latencies are in cycles, rates in flits a terminal and cycle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Offered.
    pub offered: f64,
    /// Whether latency stayed below the limit.
    pub stable: bool,
    /// Flits that arrived.
    pub accepted: f64,
    /// Mean latency of a packet, its wait at the source with it; none where none was measured.
    pub latency_cycles: Option<f64>,
    /// Latency that half, 95 and 99 of 100 packets do not exceed.
    pub latency_p50_cycles: u64,
    /// As above.
    pub latency_p95_cycles: u64,
    /// As above.
    pub latency_p99_cycles: u64,
    /// Mean latency from when a packet leaves its source.
    pub network_latency_cycles: Option<f64>,
    /// Routers on the way.
    pub hops: Option<f64>,
    /// Packets that were measured.
    pub packets: u64,
    /// Cycles that were simulated.
    pub cycles: u64,
    /// Flits times routers.
    pub flit_hops: u64,
    /// The part of the time that the busiest link between routers is used.
    pub busiest_link: f64,
}

/// Where a network saturates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Saturation {
    /// The highest offered rate that is stable.
    pub stable_rate: f64,
    /// The lowest that is not.
    pub unstable_rate: f64,
    /// Flits that arrive a terminal and cycle at that one.
    pub accepted: f64,
}

/// The load of a link: flits a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LinkLoad {
    /// The router it leaves.
    pub router: u32,
    /// The output.
    pub output: u16,
    /// The router or terminal it leads to.
    pub to: u32,
    /// Whether that is a terminal.
    pub to_terminal: bool,
    /// Flits a cycle.
    pub load: f64,
}

/// The packets of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TraceSummary {
    /// Packets.
    pub packets: usize,
    /// The cycle after the last arrival.
    pub cycles: u64,
    /// Mean and most latency, from a packet's time to its last flit's arrival.
    pub latency_cycles: f64,
    /// As above.
    pub most_latency_cycles: u64,
    /// Flits times routers.
    pub flit_hops: u64,
}

/// Runs a network file. `progress` is told the rates that are done.
///
/// # Errors
/// The network may deadlock and that is to be refused, the traffic does not fit it, or it did deadlock.
pub fn run(net: &NetRun, progress: &dyn Fn(usize, usize)) -> Result<NetReport, NocError> {
    let topology = Topology::new(&net.config.shape, net.config.unit_latency)?;
    let deadlock = if net.deadlock == OnDeadlock::Off { None } else { Some(check_deadlock(&net.config)?) };
    if let Some(check @ DeadlockCheck::Ring(_)) = &deadlock
        && net.deadlock == OnDeadlock::Refuse
    {
        return Err(NocError(check.told()));
    }
    let mut report = NetReport {
        name: net.name.clone(),
        shape: net.config.shape.name(),
        routing: net.config.routing.name(),
        routers: topology.routers.len(),
        terminals: topology.entries.len(),
        deadlock: deadlock.map(|check| check.told()),
        curve: Vec::new(),
        saturation: None,
        links: Vec::new(),
        energy: None,
        energy_source: net.energy.source.clone(),
        trace: None,
    };
    if let Some(packets) = &net.trace {
        let outcome = simulate(&net.config, packets)?;
        let latencies = outcome.packets.iter().map(|p| p.tail_arrived - p.created);
        report.trace = Some(TraceSummary {
            packets: packets.len(),
            cycles: outcome.cycles,
            latency_cycles: latencies.clone().sum::<u64>() as f64 / packets.len().max(1) as f64,
            most_latency_cycles: latencies.max().unwrap_or(0),
            flit_hops: outcome.flit_hops,
        });
        report.links = links(&topology, &outcome.link_flits, outcome.cycles);
        report.energy = Some(net.energy.of(&topology, &outcome.link_flits, outcome.cycles));
        return Ok(report);
    }
    curve(net, &topology, &mut report, progress)?;
    Ok(report)
}

/// Measures rate after rate to the first unstable one, and then between the last two.
fn curve(
    net: &NetRun,
    topology: &Topology,
    report: &mut NetReport,
    progress: &dyn Fn(usize, usize),
) -> Result<(), NocError> {
    let at = |rate: f64| measure(&net.config, &net.traffic.at(rate), &net.protocol);
    let mut last_stable: Option<(f64, Measurement)> = None;
    let mut unstable: Option<(f64, Measurement)> = None;
    for (done, rate) in net.rates.iter().enumerate() {
        // A source makes at most a packet a cycle.
        if net.traffic.at(*rate).packet_rate > 1.0 {
            break;
        }
        let measurement = at(*rate)?;
        report.curve.push(point(*rate, &measurement, topology));
        progress(done + 1, net.rates.len());
        if measurement.status == Status::Unstable {
            unstable = Some((*rate, measurement));
            break;
        }
        last_stable = Some((*rate, measurement));
    }
    if let Some((mut above, mut beyond)) = unstable {
        let mut below = last_stable.as_ref().map_or(0.0, |(rate, _)| *rate);
        while above - below > net.resolution * above {
            let middle = (below + above) / 2.0;
            let measurement = at(middle)?;
            if measurement.status == Status::Stable {
                below = middle;
                last_stable = Some((middle, measurement));
            } else {
                above = middle;
                beyond = measurement;
            }
        }
        report.saturation =
            Some(Saturation { stable_rate: below, unstable_rate: above, accepted: beyond.accepted_flits });
    }
    if let Some((_, m)) = &last_stable {
        report.links = links(topology, &m.link_flits, m.link_cycles);
        report.energy = Some(net.energy.of(topology, &m.link_flits, m.link_cycles));
    }
    Ok(())
}

fn point(offered: f64, m: &Measurement, topology: &Topology) -> Point {
    let some = |value: f64| value.is_finite().then_some(value);
    let loads = links(topology, &m.link_flits, m.link_cycles);
    Point {
        offered,
        stable: m.status == Status::Stable,
        accepted: m.accepted_flits,
        latency_cycles: some(m.latency[0]),
        latency_p50_cycles: m.latency_quantiles[0],
        latency_p95_cycles: m.latency_quantiles[1],
        latency_p99_cycles: m.latency_quantiles[2],
        network_latency_cycles: some(m.network_latency),
        hops: some(m.hops),
        packets: m.packets,
        cycles: m.cycles,
        flit_hops: m.flit_hops,
        busiest_link: loads.iter().filter(|l| !l.to_terminal).map(|l| l.load).fold(0.0, f64::max),
    }
}

fn links(topology: &Topology, flits: &[u64], cycles: u64) -> Vec<LinkLoad> {
    let outputs =
        topology.routers.iter().enumerate().flat_map(|(router, ports)| {
            ports.outputs.iter().enumerate().map(move |(output, end)| (router, output, end))
        });
    outputs
        .zip(flits)
        .map(|((router, output, end), flits)| LinkLoad {
            router: router as u32,
            output: output as u16,
            to: end.to,
            to_terminal: end.terminal,
            load: *flits as f64 / cycles.max(1) as f64,
        })
        .collect()
}
