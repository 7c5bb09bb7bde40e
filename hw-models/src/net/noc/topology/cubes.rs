//! Meshes, tori, butterflies, concentrated meshes and flattened butterflies.

use super::super::config::NocError;
use super::ports::{Channel, Topology};

/// Meshes and tori: port `2d` leads up in dimension `d`, `2d + 1` down, the last one to the terminal. A mesh has the wires of the torus,
/// and its routing never takes those around the edge.
pub(super) fn cube(radix: usize, dimensions: usize, size: usize, latency: u16) -> Topology {
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
pub(super) fn butterfly(radix: usize, stages: usize, terminals: usize) -> Topology {
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
pub(super) fn concentrated(radix: usize, size: usize) -> Result<Topology, NocError> {
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

/// A flattened butterfly: terminals first, then for each dimension the other routers of the row by number. Inputs from routers are in the
/// order of the routers that feed them. A link takes as many cycles as there are terminals between its ends; a terminal's depends on how
/// far from the middle of its router's square it stands.
pub(super) fn flattened(radix: usize, dimensions: usize, side: usize, size: usize) -> Result<Topology, NocError> {
    if dimensions > 4 || side == 0 || side > 16 {
        return Err(NocError("a flattened butterfly has 1 to 4 dimensions and 1 to 16 terminals a side".to_owned()));
    }
    let (concentration, degree) = (side * side, (radix - 1) * dimensions);
    let mut topology = Topology::empty(size, concentration + degree, size * concentration);
    let latencies = terminal_latencies(side);
    for router in 0..size {
        let (x, y) = (router % radix, router / radix);
        for (port, latency) in latencies.iter().enumerate() {
            let terminal = radix * side * (side * y + port / side) + side * x + port % side;
            topology.attach(terminal, (router, port), (router, port), *latency);
        }
    }
    let mut inputs = vec![concentration; size];
    for router in 0..size {
        let mut stride = 1;
        for d in 0..dimensions {
            let at = router / stride % radix;
            for place in (0..radix).filter(|p| *p != at) {
                let other = router + place * stride - at * stride;
                let apart =
                    side * (router % radix).abs_diff(other % radix) + side * (router / radix).abs_diff(other / radix);
                let latency =
                    u16::try_from(apart).map_err(|_| NocError("a link takes at most 65535 cycles".to_owned()))?;
                let port = concentration + (radix - 1) * d + place - usize::from(place > at);
                topology.connect(&Channel { from: (router, port), to: (other, inputs[other]), latency });
                inputs[other] += 1;
            }
            stride *= radix;
        }
    }
    Ok(topology)
}

/// Cycles to each terminal of a square of `side` x `side` whose middle is the router: a step of one that leaves out the middle, counted
/// column by column, as BookSim2 does.
fn terminal_latencies(side: usize) -> Vec<u16> {
    let half = (side / 2) as i64;
    let skip = |at: i64| if at == 0 && side.is_multiple_of(2) { 1 } else { at };
    let (mut x, mut y) = (-half, -half);
    let mut latencies = Vec::new();
    for _ in 0..side * side {
        (x, y) = (skip(x), skip(y));
        let beyond = |at: i64| (at.abs() - 1).max(0);
        latencies.push((1 + beyond(x) + beyond(y)) as u16);
        y += 1;
        if y > half {
            y = -half;
            x += 1;
        }
    }
    latencies
}
