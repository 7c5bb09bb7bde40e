//! An all-to-all of equal parts among all GPUs, by what is alike: exactly, and without its million flows.
//!
//! Nodes that are alike within, and linked alike to the same switches, can change places without anything else changing; so can their flows. Max-min
//! rates are unique, and hence the same for all flows from a place in one such group of nodes to a place in another. One flow stands for them, and
//! crosses a link of a group as often as all of them cross one of the links that it stands for.

use std::collections::BTreeMap;

use super::carrier::Carrier;
use super::flow::Fluid;
use super::routing::Routes;
use super::run::Ran;
use super::topology::{CLASSES, Kind, Topology};

/// Nodes by what they are linked to.
struct Groups {
    /// Members of each group, in order.
    members: Vec<Vec<u32>>,
    /// The link of a group's first node that stands for each link; itself between nodes.
    stands_for: Vec<u32>,
}

/// What is seen of a link from its node: its ends there, and its figures, bit by bit.
type Seen = (u32, u32, u64, u64);

/// Nodes with their gates, by what is seen of these; whether each leads out.
type ByGates = BTreeMap<Vec<(Seen, bool)>, Vec<(u32, Vec<u32>)>>;

fn seen(topology: &Topology, id: u32, from: u32, to: u32) -> Seen {
    let link = topology.link(id);
    (from, to, link.bytes_per_s.to_bits(), link.latency_s.to_bits())
}

impl Groups {
    fn new(routes: &Routes<'_>) -> Result<Self, String> {
        let topology = routes.topology();
        let (nodes, parts) = (topology.nodes(), topology.parts());
        let mut inner: Vec<Vec<(Seen, u32)>> = vec![Vec::new(); nodes as usize];
        for (id, link) in topology.links().iter().enumerate() {
            let id = id as u32;
            match (topology.node_of(link.from), topology.node_of(link.to)) {
                (Some(a), Some(b)) if a == b => {
                    inner[a as usize].push((seen(topology, id, link.from % parts, link.to % parts), id));
                }
                (Some(_), Some(_)) => return Err("links nodes with one another directly".to_owned()),
                _ => {}
            }
        }
        for list in &mut inner {
            list.sort_unstable();
        }
        let Some(first) = inner.first() else { return Err("has no nodes".to_owned()) };
        let kinds = |n: u32| (0..parts).map(move |p| topology.kind(n * parts + p));
        for n in 0..nodes {
            let alike = inner[n as usize].iter().map(|l| l.0).eq(first.iter().map(|l| l.0)) && kinds(n).eq(kinds(0));
            if !alike {
                return Err(format!("has nodes that are not alike: {n} and 0"));
            }
        }
        let inside = nodes * parts;
        if topology.gpus().iter().any(|g| *g >= inside) {
            return Err("has GPUs outside of its nodes".to_owned());
        }
        // By gates, in an order that does not depend on the links' numbers.
        let mut by_gates = ByGates::new();
        for n in 0..nodes {
            let mut gates: Vec<(Seen, bool, u32)> = routes
                .gates(n)
                .map(|(link, part, outside)| {
                    (seen(topology, link, part, outside), topology.link(link).from < inside, link)
                })
                .collect();
            gates.sort_unstable();
            let key = gates.iter().map(|g| (g.0, g.1)).collect();
            by_gates.entry(key).or_default().push((n, gates.iter().map(|g| g.2).collect()));
        }
        let mut stands_for: Vec<u32> = (0..topology.links().len() as u32).collect();
        let mut members = Vec::with_capacity(by_gates.len());
        for group in by_gates.into_values() {
            let Some((head, head_gates)) = group.first().cloned() else { continue };
            for (n, gates) in &group {
                gates.iter().zip(&head_gates).for_each(|(g, h)| stands_for[*g as usize] = *h);
                let pairs = inner[*n as usize].iter().zip(&inner[head as usize]);
                pairs.for_each(|(l, h)| stands_for[l.1 as usize] = h.1);
            }
            members.push(group.into_iter().map(|g| g.0).collect());
        }
        Ok(Self { members, stands_for })
    }
}

/// Every GPU sends `bytes` in all, an equal part to each (and keeps its own); equal paths share what goes between two GPUs.
///
/// # Errors
/// The fabric is not one of nodes that are alike, or two GPUs have no path.
pub fn all_to_all(routes: &Routes<'_>, bytes: f64) -> Result<Ran, String> {
    let topology = routes.topology();
    let groups = Groups::new(routes)?;
    let parts = topology.parts();
    let gpus: Vec<u32> = (0..parts).filter(|p| topology.kind(*p) == Kind::Gpu).collect();
    let part_bytes = bytes / topology.gpus().len().max(1) as f64;
    let mut fluid = Fluid::over(topology);
    let mut flow = Vec::new();
    let mut latest = 0.0_f64;
    let mut flows = 0u64;
    let mut begin = |from: u32, to: u32, sources: f64, destinations: f64, pairs: f64| -> Result<(), String> {
        let shares = routes.spread(from, to).ok_or_else(|| format!("has no path between GPUs {from} and {to}"))?;
        flow.clear();
        flow.extend(shares.iter().map(|&(link, share)| {
            let l = topology.link(link);
            let near = [l.from, l.to].iter().find_map(|v| topology.node_of(*v));
            // A link of the source's node is crossed to every destination node, one of the destination's from every source node.
            let times = match near {
                Some(n) if Some(n) == topology.node_of(from) => destinations,
                Some(_) => sources,
                None => pairs,
            };
            (groups.stands_for[link as usize], share * times)
        }));
        let late = shares.iter().map(|(l, share)| topology.link(*l).latency_s * share).sum::<f64>();
        latest = latest.max(late);
        fluid.begin_weighted(flow.iter().copied(), late, part_bytes, flows as u32);
        flows += 1;
        Ok(())
    };
    for a in &groups.members {
        for b in &groups.members {
            let same = a[0] == b[0];
            // Another node of the same group.
            let (head, other) = (a[0], if same { a.get(1).copied() } else { b.first().copied() });
            for &i in &gpus {
                for &j in &gpus {
                    if same && i != j {
                        begin(head * parts + i, head * parts + j, 1.0, 1.0, 1.0)?;
                    }
                    if let Some(other) = other {
                        // In one group, a node has one partner fewer.
                        let (from, to) = (a.len() as f64, b.len() as f64);
                        let less = if same { 1.0 } else { 0.0 };
                        begin(head * parts + i, other * parts + j, from - less, to - less, from * (to - less))?;
                    }
                }
            }
        }
    }
    let mut done = Vec::new();
    while fluid.next(&mut done) {}
    let carried = fluid.carried();
    let link_bytes: Vec<f64> = groups.stands_for.iter().map(|l| carried[*l as usize]).collect();
    let mut class_bytes = [0.0; CLASSES.len()];
    let mut energy_j = 0.0;
    for (link, bytes) in topology.links().iter().zip(&link_bytes) {
        class_bytes[link.class.index()] += bytes;
        energy_j += bytes * 8.0 * link.pj_per_bit * 1e-12;
    }
    let n = topology.gpus().len() as u64;
    let transfers_in_all = n * n.saturating_sub(1);
    Ok(Ran { seconds: fluid.now(), link_bytes, class_bytes, energy_j, transfers: flows, transfers_in_all })
}
