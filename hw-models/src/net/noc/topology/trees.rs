//! Fat trees and other trees. Ports down come first, by child; then those up, by parent.

use super::ports::{Channel, Topology};

/// A fat tree: level 0 is the top. Below a router of level `l` are `radix^(levels - l)` terminals; it and its neighbours that share them
/// have the same children.
pub(super) fn fat_tree(radix: usize, levels: usize, terminals: usize) -> Topology {
    let a_level = terminals / radix;
    let mut topology = Topology::empty(levels * a_level, 2 * radix, terminals);
    for top in 0..a_level {
        // The top has no links up.
        topology.routers[top].outputs.truncate(radix);
        topology.routers[top].inputs.truncate(radix);
    }
    for leaf in 0..a_level {
        for port in 0..radix {
            let place = ((levels - 1) * a_level + leaf, port);
            topology.attach(leaf * radix + port, place, place, 1);
        }
    }
    for level in 0..levels - 1 {
        // Routers of this level that have the same terminals below them, and those of each branch.
        let neighbours = radix.pow((levels - 1 - level) as u32);
        let branch = neighbours / radix;
        for position in 0..a_level {
            let (group, place) = (position / neighbours, position % neighbours);
            for port in 0..radix {
                let child = group * neighbours + port * branch + place % branch;
                let (up, down) =
                    ((level * a_level + position, port), ((level + 1) * a_level + child, radix + place / branch));
                topology.connect(&Channel { from: up, to: down, latency: 1 });
                topology.connect(&Channel { from: down, to: up, latency: 1 });
            }
        }
    }
    topology
}

/// A tree of 1, 4 and 16 routers with four children each.
pub(super) fn quad_tree() -> Topology {
    let mut topology = Topology::empty(21, 5, 64);
    topology.routers[0].outputs.truncate(4);
    topology.routers[0].inputs.truncate(4);
    for terminal in 0..64 {
        let place = (5 + terminal / 4, terminal % 4);
        topology.attach(terminal, place, place, 1);
    }
    for (first, width, below) in [(0, 1, 1), (1, 4, 5)] {
        for position in 0..width {
            for port in 0..4 {
                let (up, down) = ((first + position, port), (below + 4 * position + port, 4));
                topology.connect(&Channel { from: up, to: down, latency: 1 });
                topology.connect(&Channel { from: down, to: up, latency: 1 });
            }
        }
    }
    topology
}

/// A tree of 4, 8 and 16 routers: each of the 8 has four children and four parents, each of the 16 two parents. Routers are numbered from
/// the top.
pub(super) fn tree4() -> Topology {
    let mut topology = Topology::empty(28, 8, 64);
    for leaf in 12..28 {
        topology.routers[leaf].outputs.truncate(6);
        topology.routers[leaf].inputs.truncate(6);
    }
    for terminal in 0..64 {
        let place = (12 + terminal / 4, terminal % 4);
        topology.attach(terminal, place, place, 1);
    }
    for middle in 0..8 {
        for port in 0..4 {
            let (up, down) = ((4 + middle, port), (12 + 4 * (middle / 2) + port, 4 + middle % 2));
            topology.connect(&Channel { from: up, to: down, latency: 1 });
            topology.connect(&Channel { from: down, to: up, latency: 1 });
        }
    }
    for top in 0..4 {
        for middle in 0..8 {
            let (up, down) = ((top, middle), (4 + middle, 4 + top));
            topology.connect(&Channel { from: up, to: down, latency: 1 });
            topology.connect(&Channel { from: down, to: up, latency: 1 });
        }
    }
    topology
}
