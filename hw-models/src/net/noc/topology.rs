//! The graph of a network: routers, their ports, and the channels between ports and terminals.
//!
//! Ports are numbered as BookSim2 numbers them, for the turns of its arbiters follow the ports.

use super::anynet;
use super::config::{NocError, Shape};

/// Where a channel ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// A router, or a terminal.
    pub to: u32,
    /// The router's port; 0 at a terminal.
    pub port: u16,
    /// Cycles from one end to the other, at least 1.
    pub latency: u16,
    /// Whether `to` is a terminal.
    pub terminal: bool,
}

/// The ports of one router. Flits leave by `outputs`; credits for the flits of an input return by `inputs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ports {
    /// Where each output leads.
    pub outputs: Vec<End>,
    /// What each input is fed by.
    pub inputs: Vec<End>,
}

/// A network: routers, and terminals that send and receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The ports of each router.
    pub routers: Vec<Ports>,
    /// Where each terminal's flits enter.
    pub entries: Vec<End>,
    /// Where each terminal's credits return: the output port that feeds it.
    pub exits: Vec<End>,
    /// The output port at a router for a terminal, a row a router; empty where routes are computed from addresses.
    pub routes: Vec<Vec<u16>>,
}

/// A channel between two routers: the output port of one and the input port of the other.
struct Channel {
    from: (usize, usize),
    to: (usize, usize),
    latency: u16,
}

impl Topology {
    /// The graph of a shape.
    ///
    /// # Errors
    /// A router has more than 64 ports, a size is zero, or the text of `Shape::Links` is not a network.
    pub fn new(shape: &Shape) -> Result<Topology, NocError> {
        let power = |radix: usize, n: usize| {
            let size = u32::try_from(n).ok().and_then(|n| radix.checked_pow(n)).filter(|s| *s <= 1 << 20);
            size.filter(|s| *s > 0 && n > 0 && radix > 1).ok_or_else(|| {
                NocError(format!(
                    "{radix} routers in each of {n} dimensions: at least two, and at most a million in all"
                ))
            })
        };
        let topology = match shape {
            Shape::Mesh { radix, dimensions } => cube(*radix, *dimensions, power(*radix, *dimensions)?, 1),
            Shape::Torus { radix, dimensions } => cube(*radix, *dimensions, power(*radix, *dimensions)?, 2),
            Shape::Butterfly { radix, stages } => butterfly(*radix, *stages, power(*radix, *stages)?),
            Shape::ConcentratedMesh { radix } => concentrated(*radix, power(*radix, 2)?)?,
            Shape::Links(text) => from_links(&anynet::parse(text)?)?,
        };
        match topology.routers.iter().map(|r| r.outputs.len().max(r.inputs.len())).max() {
            Some(1..=64) => Ok(topology),
            Some(ports) => Err(NocError(format!("a router has {ports} ports, and at most 64 are modelled"))),
            None => Err(NocError("a network has at least one router".to_owned())),
        }
    }

    fn empty(routers: usize, ports: usize, terminals: usize) -> Topology {
        let nothing = End { to: 0, port: 0, latency: 1, terminal: true };
        let ports = Ports { outputs: vec![nothing; ports], inputs: vec![nothing; ports] };
        Topology {
            routers: vec![ports; routers],
            entries: vec![nothing; terminals],
            exits: vec![nothing; terminals],
            routes: Vec::new(),
        }
    }

    fn connect(&mut self, channel: &Channel) {
        let (from, to) = (channel.from, channel.to);
        let end = |(router, port): (usize, usize)| End {
            to: router as u32,
            port: port as u16,
            latency: channel.latency,
            terminal: false,
        };
        self.routers[from.0].outputs[from.1] = end(to);
        self.routers[to.0].inputs[to.1] = end(from);
    }

    fn attach(&mut self, terminal: usize, input: (usize, usize), output: (usize, usize), latency: u16) {
        let end = End { to: terminal as u32, port: 0, latency, terminal: true };
        self.routers[input.0].inputs[input.1] = end;
        self.routers[output.0].outputs[output.1] = end;
        let at =
            |(router, port): (usize, usize)| End { to: router as u32, port: port as u16, latency, terminal: false };
        self.entries[terminal] = at(input);
        self.exits[terminal] = at(output);
    }
}

/// Meshes and tori: port `2d` leads up in dimension `d`, `2d + 1` down, the last one to the terminal. A mesh has the wires of the torus,
/// and its routing never takes those around the edge.
fn cube(radix: usize, dimensions: usize, size: usize, latency: u16) -> Topology {
    let mut topology = Topology::empty(size, 2 * dimensions + 1, size);
    for router in 0..size {
        let mut stride = 1;
        for d in 0..dimensions {
            let at = router / stride % radix;
            let up = if at == radix - 1 { router - (radix - 1) * stride } else { router + stride };
            // What leaves upwards comes in by the neighbour's even port: it is numbered by the direction of travel.
            topology.connect(&Channel { from: (router, 2 * d), to: (up, 2 * d + 1), latency });
            topology.connect(&Channel { from: (up, 2 * d + 1), to: (router, 2 * d), latency });
            stride *= radix;
        }
        let port = 2 * dimensions;
        topology.attach(router, (router, port), (router, port), 1);
    }
    topology
}

/// Stages of `radix` x `radix` routers. Between stage `s` and the next, the lowest digit of a wire's address changes places with digit
/// `stages - s - 1`.
fn butterfly(radix: usize, stages: usize, terminals: usize) -> Topology {
    let a_stage = terminals / radix;
    let mut topology = Topology::empty(stages * a_stage, radix, terminals);
    for address in 0..a_stage {
        for port in 0..radix {
            let terminal = address * radix + port;
            let last = (stages - 1) * a_stage + address;
            topology.attach(terminal, (address, port), (last, port), 1);
        }
    }
    for stage in 1..stages {
        let stride = radix.pow((stages - stage - 1) as u32);
        for address in 0..a_stage {
            for port in 0..radix {
                let digit = address / stride % radix;
                let before = address - digit * stride + port * stride;
                let from = ((stage - 1) * a_stage + before, digit);
                topology.connect(&Channel { from, to: (stage * a_stage + address, port), latency: 1 });
            }
        }
    }
    topology
}

/// Terminals of a concentrated mesh's router, two rows of two.
const SHARE: usize = 4;

/// A concentrated mesh: ports 0 to 3 lead to terminals, then up and down in x, up and down in y. Links span two terminals; those at the
/// edges are express links across half of the edge, which plain dimension-order routing leaves unused.
fn concentrated(radix: usize, size: usize) -> Result<Topology, NocError> {
    if !radix.is_multiple_of(2) {
        return Err(NocError(format!("a concentrated mesh has an even number of routers a side, not {radix}")));
    }
    let mut topology = Topology::empty(size, 4 + SHARE, size * SHARE);
    let half = radix / 2;
    let across = |at: usize| if at < half { at + half } else { at - half };
    for router in 0..size {
        let (x, y) = (router % radix, router / radix);
        for port in 0..SHARE {
            let terminal = 2 * radix * (2 * y + port / 2) + 2 * x + port % 2;
            topology.attach(terminal, (router, port), (router, port), 1);
        }
        let to = |x: usize, y: usize, port: usize| (y * radix + x, port);
        let (up_x, down_x, up_y, down_y) = (SHARE, SHARE + 1, SHARE + 2, SHARE + 3);
        // Along an edge the express link joins the ports of the same direction.
        let ends = [
            (up_x, x == radix - 1, if x == radix - 1 { to(x, across(y), up_x) } else { to(x + 1, y, down_x) }),
            (down_x, x == 0, if x == 0 { to(x, across(y), down_x) } else { to(x - 1, y, up_x) }),
            (up_y, y == radix - 1, if y == radix - 1 { to(across(x), y, up_y) } else { to(x, y + 1, down_y) }),
            (down_y, y == 0, if y == 0 { to(across(x), y, down_y) } else { to(x, y - 1, up_y) }),
        ];
        for (port, express, end) in ends {
            let latency = if express { radix as u16 } else { 2 };
            topology.connect(&Channel { from: (router, port), to: end, latency });
        }
    }
    Ok(topology)
}

/// Any network: a router's terminals come first, then its neighbours, both by number.
fn from_links(links: &anynet::Links) -> Result<Topology, NocError> {
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
