//! Networks given as a list of links.

use super::super::config::NocError;
use super::ports::{Channel, End, Topology};
use crate::net::noc::anynet;

/// Any network: a router's terminals come first, then its neighbours, both by number.
pub(super) fn from_links(text: &str) -> Result<Topology, NocError> {
    let links = anynet::parse(text)?;
    let size = links.terminals.len();
    let mut topology = Topology::empty(size, 0, links.homes.len());
    let nothing = End { to: 0, port: 0, latency: 1, terminal: true };
    for router in 0..size {
        topology.routers[router].outputs =
            vec![nothing; links.terminals[router].len() + links.neighbours[router].len()];
        // A link in one direction alone would still take an input port; the reader gives each link its way back.
        topology.routers[router].inputs = topology.routers[router].outputs.clone();
    }
    for router in 0..size {
        for (port, (terminal, latency)) in links.terminals[router].iter().enumerate() {
            topology.attach(*terminal, (router, port), (router, port), *latency);
        }
        for (index, (other, latency)) in links.neighbours[router].iter().enumerate() {
            let from = (router, links.terminals[router].len() + index);
            let back = links.neighbours[*other].keys().position(|n| *n == router);
            let back = back.ok_or_else(|| NocError(format!("router {other} has no way back to router {router}")))?;
            let to = (*other, links.terminals[*other].len() + back);
            topology.connect(&Channel { from, to, latency: *latency });
        }
    }
    topology.routes = links.routes()?;
    Ok(topology)
}
