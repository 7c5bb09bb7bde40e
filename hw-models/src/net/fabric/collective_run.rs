//! Runs a collective on a fabric: time, bandwidth, the load of links, what no algorithm can go below, flows against packets.

use banksia_input::InputError;
use serde::Serialize;

use super::bound::Demand;
use super::cluster::{Cluster, Group};
use super::collective_file::{CollectiveRun, WAYS, Way};
use super::folded::run_folded;
use super::group::Collective;
use super::packet::Packets;
use super::routing::{Policy, Routes};
use super::run::{Ran, run};
use super::schedule::Schedule;
use super::schedules::{direct, double_tree, halving_doubling, hierarchical, in_switch, ring, ring_orders};
use super::symmetric;
use super::topology::{CLASSES, Kind, Topology};

/// What collectives took on a fabric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CollectiveReport {
    /// What the file is called.
    pub name: String,
    /// The fabric's name.
    pub fabric: String,
    /// GPUs of the fabric, and those that take part.
    pub gpus: u32,
    /// GPUs that take part.
    pub ranks: u32,
    /// Links, each direction one.
    pub links: usize,
    /// A row an algorithm and a size.
    pub rows: Vec<CollectiveRow>,
    /// Algorithms that were not run, and why.
    pub skipped: Vec<Skipped>,
    /// Load of each link that carried something, at the last size of each algorithm.
    pub loads: Vec<AlgorithmLoads>,
}

/// An algorithm that was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Which.
    pub algorithm: String,
    /// Why.
    pub reason: String,
}

/// A collective of one size by one algorithm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CollectiveRow {
    /// What was done.
    pub collective: Collective,
    /// How.
    pub algorithm: String,
    /// Bytes, as nccl-tests counts them.
    pub bytes: u64,
    /// At flow level, seconds.
    pub seconds: f64,
    /// Bytes over seconds, GB/s.
    pub algorithm_gb_s: f64,
    /// The same times what a rank must send of it (nccl-tests' bus bandwidth), GB/s.
    pub bus_gb_s: f64,
    /// Bytes over bandwidth of the tightest cut, below which no algorithm can go, seconds.
    pub cut_bound_s: f64,
    /// Which cut that is.
    pub cut: String,
    /// Bytes over bandwidth of the busiest link of this algorithm, seconds.
    pub link_bound_s: f64,
    /// At packet level, seconds; none where packets were not run.
    pub packet_s: Option<f64>,
    /// Packets over flows, less one, per cent.
    pub packet_difference_pct: Option<f64>,
    /// Why packets were not run.
    pub packets_skipped: Option<String>,
    /// What NCCL takes on the cluster, with its launch and its protocols, seconds.
    pub nccl_s: Option<f64>,
    /// Energy of the links, J.
    pub energy_j: f64,
    /// Bytes over links of each class.
    pub bytes_by_class: BytesByClass,
    /// Transfers in all, and those that were carried one by one.
    pub transfers: u64,
    /// Transfers that were carried one by one.
    pub transfers_carried: u64,
}

/// Bytes over all links of a class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BytesByClass {
    /// NVLink.
    pub nvlink: f64,
    /// PCI Express.
    pub pcie: f64,
    /// Between nodes.
    pub network: f64,
    /// CXL.
    pub cxl: f64,
}

/// Loads of links by one algorithm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlgorithmLoads {
    /// Which.
    pub algorithm: String,
    /// At which size, bytes.
    pub bytes: u64,
    /// Links that carried something.
    pub links: Vec<FabricLinkLoad>,
}

/// What a link carried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FabricLinkLoad {
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// From one kind of part to another.
    pub kind: String,
    /// Bandwidth, GB/s.
    pub gb_s: f64,
    /// Bytes.
    pub bytes: f64,
    /// Bytes over what it could carry in that time.
    pub utilisation: f64,
}

/// Most transfers of a schedule that is made.
const MOST_TRANSFERS: u64 = 1 << 22;

/// Bytes a rank must send for one of the collective (nccl-tests).
fn bus_factor(collective: Collective, ranks: u32) -> f64 {
    let n = f64::from(ranks);
    match collective {
        Collective::AllReduce => 2.0 * (n - 1.0) / n,
        Collective::AllGather | Collective::ReduceScatter | Collective::AllToAll => (n - 1.0) / n,
        Collective::Broadcast | Collective::Reduce | Collective::SendRecv => 1.0,
    }
}

/// Switches with which all ranks are linked, both ways.
fn common_switches(topology: &Topology, ranks: &[u32]) -> Vec<u32> {
    let mut met = vec![0u32; topology.vertices() as usize];
    let is_rank = |v: u32| ranks.contains(&v);
    for l in topology.links() {
        for (a, b) in [(l.from, l.to), (l.to, l.from)] {
            if topology.kind(b) == Kind::Switch && is_rank(a) {
                met[b as usize] += 1;
            }
        }
    }
    (0..topology.vertices()).filter(|v| met[*v as usize] as usize >= 2 * ranks.len()).collect()
}

/// A schedule, or why there is none.
fn schedule(net: &CollectiveRun, way: Way, kind: Collective, bytes: u64, switches: u32) -> Result<Schedule, String> {
    let (n, c) = (net.ranks, &net.file.collective);
    let local = per_node(net);
    let pairs = u64::from(n) * u64::from(n - 1);
    let rings = c.rings.unwrap_or(if local < n { local } else { 1 });
    let transfers = match way {
        // No rotation holds for all rings of an all-gather: each time is a step of its own.
        Way::Ring if matches!(kind, Collective::AllGather | Collective::ReduceScatter) => pairs * u64::from(rings),
        Way::Direct if kind == Collective::AllReduce => 2 * pairs,
        Way::Direct => pairs,
        Way::Hierarchical if kind == Collective::AllToAll => 2 * pairs,
        _ => 0,
    };
    if transfers > MOST_TRANSFERS {
        return Err(format!("has {transfers} transfers: up to {MOST_TRANSFERS} are made"));
    }
    match way {
        Way::Ring => ring(kind, n, &ring_orders(n, local, rings), c.pieces, bytes),
        Way::Tree => double_tree(kind, n, c.pieces, bytes),
        Way::HalvingDoubling => halving_doubling(kind, n, bytes),
        Way::Direct => direct(kind, n, bytes),
        Way::Hierarchical if local == n => Err("is of several nodes: all ranks are in one".to_owned()),
        Way::Hierarchical => hierarchical(kind, n, local, bytes),
        Way::InSwitch if switches == 0 => Err("needs a switch that all ranks are linked with".to_owned()),
        Way::InSwitch => in_switch(kind, n, switches, c.pieces, bytes),
    }
}

/// Ranks of a node, where they are whole nodes of several; else all.
fn per_node(net: &CollectiveRun) -> u32 {
    let gpus = net.topology.gpus();
    let first = gpus.first().and_then(|g| net.topology.node_of(*g));
    let local = gpus.iter().filter(|g| net.topology.node_of(**g) == first).count() as u32;
    if first.is_some() && local > 0 && net.ranks.is_multiple_of(local) { local } else { net.ranks }
}

/// What NCCL takes on the cluster for so many ranks of whole nodes, or of one.
fn nccl(cluster: &Cluster, kind: Collective, ranks: u32, bytes: u64) -> Option<f64> {
    let local = cluster.gpus_per_node().min(ranks);
    let group = Group { ranks_per_node: local, nodes: ranks / local, concurrent: 1 };
    let group = if kind == Collective::SendRecv { Group { ranks_per_node: local.min(2), ..group } } else { group };
    if !ranks.is_multiple_of(local) {
        return None;
    }
    cluster.time(kind, group, bytes).ok().map(|c| c.seconds)
}

/// One collective of one size: its name, what it is, and how it is run at flow level.
struct Case<'a> {
    net: &'a CollectiveRun,
    routes: &'a Routes<'a>,
    vertices: Vec<u32>,
}

impl Case<'_> {
    fn row(&self, name: &str, schedule: &Schedule, bytes: u64) -> Result<(CollectiveRow, Ran), String> {
        let ran = run_folded(schedule, self.routes, &self.vertices)?;
        let mut row = self.report(name, schedule.collective, bytes, &ran, &Demand::of(schedule));
        let hops = self.packet_hops(schedule)?;
        let limit = self.net.file.packets.most_hops;
        if hops > limit {
            row.packets_skipped = Some(format!("{hops} packets times links: up to {limit} are run"));
        } else {
            let table = &self.net.file.packets;
            let mut packets = Packets::over(&self.net.topology, table.bytes as f64, table.switching.switching());
            let by_packets = run(schedule, self.routes, &self.vertices, &mut packets)?;
            row.packet_s = Some(by_packets.seconds);
            row.packet_difference_pct = Some((by_packets.seconds / ran.seconds - 1.0) * 100.0);
        }
        Ok((row, ran))
    }

    /// Packets times links of all transfers.
    fn packet_hops(&self, schedule: &Schedule) -> Result<u64, String> {
        let most = self.net.file.packets.bytes as f64;
        let mut path = Vec::new();
        let mut hops = 0u64;
        for step in &schedule.steps {
            for t in &step.transfers {
                path.clear();
                let (from, to) = (self.vertices[t.src as usize], self.vertices[t.dst as usize]);
                if from != to && !self.routes.path(from, to, t.first, &mut path) {
                    return Err(format!("sends from {} to {}, between which there is no path", t.src, t.dst));
                }
                let packets = (schedule.bytes(step, t, 0) / most).ceil().max(1.0) as u64;
                hops = hops.saturating_add(packets * path.len() as u64 * u64::from(step.repeat));
            }
            if hops > self.net.file.packets.most_hops {
                break;
            }
        }
        Ok(hops)
    }

    fn report(&self, name: &str, kind: Collective, bytes: u64, ran: &Ran, demand: &Demand) -> CollectiveRow {
        let topology = &self.net.topology;
        let cut = demand.least(topology, &self.vertices);
        let busiest = topology.links().iter().zip(&ran.link_bytes).map(|(l, b)| b / l.bytes_per_s);
        let algorithm_gb_s = bytes as f64 / ran.seconds * 1e-9;
        let of = |class: usize| ran.class_bytes[CLASSES[class].index()];
        CollectiveRow {
            collective: kind,
            algorithm: name.to_owned(),
            bytes,
            seconds: ran.seconds,
            algorithm_gb_s,
            bus_gb_s: algorithm_gb_s * bus_factor(kind, self.net.ranks),
            cut_bound_s: cut.seconds,
            cut: cut.cut,
            link_bound_s: busiest.fold(0.0, f64::max),
            packet_s: None,
            packet_difference_pct: None,
            packets_skipped: None,
            nccl_s: self.net.cluster.as_ref().and_then(|c| nccl(c, kind, self.net.ranks, bytes)),
            energy_j: ran.energy_j,
            bytes_by_class: BytesByClass { nvlink: of(0), pcie: of(1), network: of(2), cxl: of(3) },
            transfers: ran.transfers_in_all,
            transfers_carried: ran.transfers,
        }
    }

    /// An all-to-all of all GPUs by what is alike, where there are too many to run one by one.
    fn alike(&self, bytes: u64) -> Result<(CollectiveRow, Ran), String> {
        let ran = symmetric::all_to_all(self.routes, bytes as f64)?;
        let demand = Demand::even(Collective::AllToAll, self.net.ranks, bytes);
        let mut row = self.report("direct, equal paths shared", Collective::AllToAll, bytes, &ran, &demand);
        row.packets_skipped = Some("an all-to-all of flows that are alike has no packets".to_owned());
        Ok((row, ran))
    }
}

/// Loads of links that carried something.
fn loads(topology: &Topology, algorithm: &str, bytes: u64, ran: &Ran) -> AlgorithmLoads {
    let all = topology.links().iter().zip(&ran.link_bytes).filter(|(_, bytes)| **bytes > 0.0);
    let links = all.map(|(l, bytes)| FabricLinkLoad {
        from: topology.label(l.from),
        to: topology.label(l.to),
        kind: format!("{} to {}", topology.part(l.from).0, topology.part(l.to).0),
        gb_s: l.bytes_per_s / 1e9,
        bytes: *bytes,
        utilisation: bytes / (l.bytes_per_s * ran.seconds),
    });
    AlgorithmLoads { algorithm: algorithm.to_owned(), bytes, links: links.collect() }
}

/// From how many ranks on an all-to-all of all GPUs is run by what is alike.
const MANY: u32 = 256;

/// Runs all of a file.
///
/// # Errors
/// A schedule's file is none, or nothing that the file names can be run on the fabric.
pub fn run_collectives(net: &CollectiveRun) -> Result<CollectiveReport, InputError> {
    let topology = &net.topology;
    let c = &net.file.collective;
    let routes = Routes::new(topology, net.file.routing.policy());
    let ranks: Vec<u32> = topology.gpus().iter().copied().take(net.ranks as usize).collect();
    let switches = common_switches(topology, &ranks);
    let mut report = CollectiveReport {
        name: net.name.clone(),
        fabric: topology.name.clone(),
        gpus: topology.gpus().len() as u32,
        ranks: net.ranks,
        links: topology.links().len(),
        rows: Vec::new(),
        skipped: Vec::new(),
        loads: Vec::new(),
    };
    if let Some(source) = &net.schedule {
        let mut last = None;
        for &bytes in &c.bytes {
            let schedule = Schedule::from_source(source, bytes)?;
            if schedule.ranks > net.ranks || (schedule.agents > 0 && switches.is_empty()) {
                let problem = format!("is of {} ranks and {} agents", schedule.ranks, schedule.agents);
                let help = format!("{} GPUs take part, with {} switches between all", net.ranks, switches.len());
                return Err(source.error("ranks", problem).help(help));
            }
            let mut vertices = ranks[..schedule.ranks as usize].to_vec();
            vertices.extend(switches.iter().cycle().take(schedule.agents as usize));
            let case = Case { net, routes: &routes, vertices };
            let (row, ran) = case.row("schedule", &schedule, bytes).map_err(|p| source.error("steps", p))?;
            report.rows.push(row);
            last = Some(loads(topology, "schedule", bytes, &ran));
        }
        report.loads.extend(last);
    }
    let Some(kind) = c.kind else { return Ok(report) };
    let named = !c.algorithms.is_empty();
    let ways: &[Way] = if named { &c.algorithms } else { &WAYS };
    for &way in ways.iter().filter(|_| named || net.schedule.is_none()) {
        let alike = way == Way::Direct
            && kind == Collective::AllToAll
            && net.ranks >= MANY
            && net.ranks == report.gpus
            && net.file.routing.policy() == Policy::Shortest;
        let mut last = None;
        for &bytes in &c.bytes {
            let mut vertices = ranks.clone();
            if way == Way::InSwitch {
                vertices.extend(&switches);
            }
            let case = Case { net, routes: &routes, vertices };
            let made = if alike {
                case.alike(bytes)
            } else {
                schedule(net, way, kind, bytes, switches.len() as u32)
                    .and_then(|schedule| case.row(way.name(), &schedule, bytes))
            };
            match made {
                Ok((row, ran)) => {
                    last = Some(loads(topology, &row.algorithm, bytes, &ran));
                    report.rows.push(row);
                }
                Err(reason) if !report.skipped.iter().any(|s| s.algorithm == way.name()) => {
                    report.skipped.push(Skipped { algorithm: way.name().to_owned(), reason });
                }
                Err(_) => {}
            }
        }
        report.loads.extend(last);
    }
    if report.rows.is_empty() {
        let why: Vec<String> = report.skipped.iter().map(|s| format!("{} {}", s.algorithm, s.reason)).collect();
        return Err(InputError::new(&net.name, format!("nothing can be run: {}", why.join("; "))).key("collective"));
    }
    Ok(report)
}
