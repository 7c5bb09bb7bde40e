//! The graphs of all shapes.
//!
//! Ports are numbered as BookSim2 numbers them, for the turns of its arbiters follow the ports.

mod cubes;
mod dragonfly;
mod graph;
mod ports;
mod trees;

pub use ports::{End, Ports, Topology};

use super::config::NocError;
use super::shape::Shape;

impl Topology {
    /// The graph of a shape, with its links' own latencies or one cycle for all.
    ///
    /// # Errors
    /// A router has more than 64 ports, a size is zero, or the text of `Shape::Links` is not a network.
    pub fn new(shape: &Shape, unit_latency: bool) -> Result<Topology, NocError> {
        let power = |radix: usize, n: usize| {
            let size = u32::try_from(n).ok().and_then(|n| radix.checked_pow(n)).filter(|s| *s <= 1 << 20);
            size.filter(|s| *s > 0 && n > 0 && radix > 1).ok_or_else(|| {
                NocError(format!(
                    "{radix} routers in each of {n} dimensions: at least two, and at most a million in all"
                ))
            })
        };
        let mut topology = match shape {
            Shape::Mesh { radix, dimensions } => cubes::cube(*radix, *dimensions, power(*radix, *dimensions)?, 1),
            Shape::Torus { radix, dimensions } => cubes::cube(*radix, *dimensions, power(*radix, *dimensions)?, 2),
            Shape::Butterfly { radix, stages } => cubes::butterfly(*radix, *stages, power(*radix, *stages)?),
            Shape::ConcentratedMesh { radix } => cubes::concentrated(*radix, power(*radix, 2)?)?,
            Shape::FlattenedButterfly { radix, dimensions, side } => {
                let size = power(*radix, *dimensions)?;
                cubes::flattened(*radix, *dimensions, *side, size)?
            }
            Shape::FatTree { radix, levels } => trees::fat_tree(*radix, *levels, power(*radix, *levels)?),
            Shape::QuadTree => trees::quad_tree(),
            Shape::Tree4 => trees::tree4(),
            Shape::Dragonfly { radix } => dragonfly::dragonfly(*radix)?,
            Shape::Links(text) => graph::from_links(text)?,
        };
        if unit_latency {
            let ports = topology.routers.iter_mut().flat_map(|r| r.outputs.iter_mut().chain(&mut r.inputs));
            ports.chain(&mut topology.entries).chain(&mut topology.exits).for_each(|end| end.latency = 1);
        }
        match topology.routers.iter().map(|r| r.outputs.len().max(r.inputs.len())).max() {
            Some(1..=64) => Ok(topology),
            Some(ports) => Err(NocError(format!("a router has {ports} ports, and at most 64 are modelled"))),
            None => Err(NocError("a network has at least one router".to_owned())),
        }
    }
}
