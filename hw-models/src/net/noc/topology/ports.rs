//! The graph of a network: routers, their ports, and the channels between ports and terminals.

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
pub(super) struct Channel {
    pub(super) from: (usize, usize),
    pub(super) to: (usize, usize),
    pub(super) latency: u16,
}

impl Topology {
    /// Routers that a terminal's packets and credits pass first: where it enters.
    pub fn home(&self, terminal: usize) -> usize {
        self.entries.get(terminal).map_or(0, |e| e.to as usize)
    }

    /// Cycles of the longest channel.
    pub(in crate::net::noc) fn longest(&self) -> u64 {
        let ends = self.routers.iter().flat_map(|r| r.outputs.iter().chain(&r.inputs));
        ends.chain(&self.entries).chain(&self.exits).map(|e| u64::from(e.latency)).max().unwrap_or(1)
    }

    /// Where each router's outputs begin when all routers' are numbered after each other.
    pub(in crate::net::noc) fn first_outputs(&self) -> Vec<u32> {
        let ends = self.routers.iter().scan(0, |next, r| {
            let first = *next;
            *next += r.outputs.len() as u32;
            Some(first)
        });
        ends.collect()
    }

    pub(super) fn empty(routers: usize, ports: usize, terminals: usize) -> Topology {
        let nothing = End { to: 0, port: 0, latency: 1, terminal: true };
        let ports = Ports { outputs: vec![nothing; ports], inputs: vec![nothing; ports] };
        Topology {
            routers: vec![ports; routers],
            entries: vec![nothing; terminals],
            exits: vec![nothing; terminals],
            routes: Vec::new(),
        }
    }

    pub(super) fn connect(&mut self, channel: &Channel) {
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

    pub(super) fn attach(&mut self, terminal: usize, input: (usize, usize), output: (usize, usize), latency: u16) {
        let end = End { to: terminal as u32, port: 0, latency, terminal: true };
        self.routers[input.0].inputs[input.1] = end;
        self.routers[output.0].outputs[output.1] = end;
        let at =
            |(router, port): (usize, usize)| End { to: router as u32, port: port as u16, latency, terminal: false };
        self.entries[terminal] = at(input);
        self.exits[terminal] = at(output);
    }
}
