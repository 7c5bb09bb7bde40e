//! Dragonflies of one dimension within a group.

use super::super::config::NocError;
use super::ports::{Channel, Topology};

/// Cycles of a link within a group, and of one between groups: those of BookSim2's `dragonflynew`.
const WITHIN: u16 = 10;
const BETWEEN: u16 = 100;

/// A dragonfly: at each router `radix` terminals, then the other routers of its group by number, then `radix` links to other groups. The
/// `n`-th link of a group leads to the `n`-th of the other groups.
pub(super) fn dragonfly(radix: usize) -> Result<Topology, NocError> {
    if !(1..=16).contains(&radix) {
        return Err(NocError(format!("a dragonfly's radix is 1 to 16, not {radix}")));
    }
    let in_group = 2 * radix;
    let groups = in_group * radix + 1;
    let routers = groups * in_group;
    let mut topology = Topology::empty(routers, 4 * radix - 1, routers * radix);
    for router in 0..routers {
        for port in 0..radix {
            topology.attach(router * radix + port, (router, port), (router, port), 1);
        }
        let (group, place) = (router / in_group, router % in_group);
        for other in (0..in_group).filter(|o| *o != place) {
            let port = |to: usize, from: usize| radix + to - usize::from(to > from);
            let to = (group * in_group + other, port(place, other));
            topology.connect(&Channel { from: (router, port(other, place)), to, latency: WITHIN });
        }
        for link in 0..radix {
            let out = place * radix + link;
            let other = out + usize::from(out >= group);
            let back = group - usize::from(group > other);
            let first = radix + in_group - 1;
            let to = (other * in_group + back / radix, first + back % radix);
            topology.connect(&Channel { from: (router, first + link), to, latency: BETWEEN });
        }
    }
    Ok(topology)
}
