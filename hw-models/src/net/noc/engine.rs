//! A simulation with the routers that fit its configuration.

use super::config::{CLASSES, NocConfig, NocError};
use super::masked::Masked;
use super::queued::Queued;
use super::random::Draws;
use super::routing::Routing;
use super::sim::Simulation;
use super::topology::Topology;
use super::workload::Workload;

/// A simulation, with one kind of routers or the other.
#[derive(Debug)]
pub(super) enum Engine {
    /// Routers of every kind.
    Queued(Box<Simulation<Queued>>),
    /// Routers of the usual kind.
    Masked(Box<Simulation<Masked>>),
}

macro_rules! each {
    ($self:ident, $simulation:ident => $value:expr) => {
        match $self {
            Engine::Queued($simulation) => $value,
            Engine::Masked($simulation) => $value,
        }
    };
}

impl Engine {
    /// A network at rest. `skip` passes over what is idle; `general` takes the routers of every kind even where others would do.
    pub(super) fn new(
        config: &NocConfig,
        topology: &Topology,
        classes: [(usize, usize); CLASSES],
        draws: Draws,
        skip: bool,
        general: bool,
    ) -> Engine {
        let routing = Routing::new(config, classes, topology.routes.clone());
        if !general && Masked::fits(topology, config, &routing, &draws) {
            let fabric = Masked::new(topology, config, routing, &draws);
            return Engine::Masked(Box::new(Simulation::new(config, topology, fabric, draws, skip)));
        }
        let fabric = Queued::new(topology.clone(), config, routing);
        Engine::Queued(Box::new(Simulation::new(config, topology, fabric, draws, skip)))
    }

    pub(super) fn now(&self) -> u64 {
        each!(self, s => s.now())
    }

    pub(super) fn flits_sent(&self) -> u64 {
        each!(self, s => s.flits_sent())
    }

    pub(super) fn flits_arrived(&self) -> u64 {
        each!(self, s => s.flits_arrived())
    }

    pub(super) fn flit_hops(&self) -> u64 {
        each!(self, s => s.flit_hops())
    }

    pub(super) fn link_flits(&self) -> Vec<u64> {
        each!(self, s => s.link_flits())
    }

    /// One cycle, or a jump to the next one before `end` in which something happens.
    ///
    /// # Errors
    /// The network is deadlocked.
    pub(super) fn cycle(&mut self, end: u64, work: &mut impl Workload) -> Result<(), NocError> {
        each!(self, s => s.cycle(end, work))
    }
}
