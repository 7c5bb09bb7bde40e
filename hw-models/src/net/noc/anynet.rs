//! Networks given as a list of links, and the shortest paths through them.

use std::collections::BTreeMap;

use super::config::NocError;

/// Routers with their terminals and neighbours, each with the latency of the link in cycles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) terminals: Vec<BTreeMap<usize, u16>>,
    pub(super) neighbours: Vec<BTreeMap<usize, u16>>,
    /// The router of each terminal.
    pub(super) homes: BTreeMap<usize, usize>,
}

/// Reads lines of `router 0 node 0 router 1 5`: router 0 has terminal 0, and a link of 5 cycles to router 1. A link without a latency
/// takes one cycle, and so does its way back until the other router's line says otherwise.
pub(super) fn parse(text: &str) -> Result<Links, NocError> {
    let mut links = Links::default();
    for line in text.lines() {
        let bad = |what: &str| NocError(format!("`{line}`: {what}"));
        let mut words = line.split_whitespace().peekable();
        let Some(kind) = words.next() else { continue };
        let number = |word: Option<&str>| {
            let n: Option<usize> = word.and_then(|w| w.parse().ok()).filter(|n| *n < 1 << 20);
            n.ok_or_else(|| bad("a router or node has a number below a million"))
        };
        let head = number(words.next())?;
        while let Some(what) = words.next() {
            let body = number(words.next())?;
            let mut latency = None;
            if let Some(cycles) = words.next_if(|w| !matches!(*w, "router" | "node")) {
                latency = cycles.parse().ok().filter(|c| *c > 0);
                latency.ok_or_else(|| bad("a latency is a number of cycles, at least 1"))?;
            }
            let latency: u16 = latency.unwrap_or(1);
            match (kind, what) {
                ("router", "router") => {
                    links.grow(head.max(body) + 1);
                    links.neighbours[head].insert(body, latency);
                    links.neighbours[body].entry(head).or_insert(1);
                }
                ("router", "node") | ("node", "router") => {
                    let (router, terminal) = if kind == "router" { (head, body) } else { (body, head) };
                    links.grow(router + 1);
                    if links.homes.insert(terminal, router).is_some_and(|old| old != router) {
                        return Err(bad("a node is at one router"));
                    }
                    links.terminals[router].insert(terminal, latency);
                }
                _ => return Err(bad("links join routers with routers or nodes")),
            }
        }
    }
    match links.homes.keys().last() {
        None => Err(NocError("the network has no node".to_owned())),
        Some(last) if last + 1 != links.homes.len() => Err(NocError(format!(
            "nodes are numbered from 0 without gaps: there are {}, and a node {last}",
            links.homes.len()
        ))),
        Some(_) => Ok(links),
    }
}

impl Links {
    fn grow(&mut self, routers: usize) {
        if self.terminals.len() < routers {
            self.terminals.resize(routers, BTreeMap::new());
            self.neighbours.resize(routers, BTreeMap::new());
        }
    }

    /// The output port at each router for each terminal, along paths of the least latency. Of equal paths that whose routers were
    /// settled first, by number.
    pub(super) fn routes(&self) -> Result<Vec<Vec<u16>>, NocError> {
        (0..self.terminals.len()).map(|router| self.routes_of(router)).collect()
    }

    fn routes_of(&self, start: usize) -> Result<Vec<u16>, NocError> {
        let size = self.terminals.len();
        let mut distance = vec![u64::MAX; size];
        let mut previous = vec![usize::MAX; size];
        let mut settled = vec![false; size];
        distance[start] = 0;
        for _ in 0..size {
            let nearest = (0..size).filter(|r| !settled[*r]).min_by_key(|r| distance[*r]);
            let Some(nearest) = nearest.filter(|r| distance[*r] < u64::MAX) else { break };
            settled[nearest] = true;
            for (next, latency) in &self.neighbours[nearest] {
                let through = distance[nearest] + u64::from(*latency);
                if through < distance[*next] {
                    distance[*next] = through;
                    previous[*next] = nearest;
                }
            }
        }
        let mut row = vec![0; self.homes.len()];
        for (terminal, home) in &self.homes {
            let port = if *home == start {
                self.terminals[start].keys().position(|t| t == terminal)
            } else {
                let mut first = *home;
                while previous[first] != start {
                    first = previous[first];
                    if first == usize::MAX {
                        return Err(NocError(format!("no way from router {start} to node {terminal}")));
                    }
                }
                self.neighbours[start].keys().position(|n| *n == first).map(|p| p + self.terminals[start].len())
            };
            row[*terminal] = port.unwrap_or_default() as u16;
        }
        Ok(row)
    }
}
