//! What meshes and tori have in common: a router a terminal, of the same number, whose digits are its place.

use super::{Flit, Route, Routing, RoutingFunction, Surroundings};

/// A head at a router of a mesh or a torus.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    pub(super) router: usize,
    /// The input by which it came.
    pub(super) input: usize,
    /// The terminal it goes to, which is also the number of its router.
    pub(super) to: usize,
    /// The virtual channels of its class.
    pub(super) all: (usize, usize),
    /// The port to the terminal.
    pub(super) exit: usize,
}

impl Routing {
    /// A route in a torus, or in a mesh.
    pub(super) fn cube(
        &self,
        is_torus: bool,
        function: RoutingFunction,
        (router, input): (usize, usize),
        flit: &mut Flit,
        at: &mut Surroundings<'_>,
    ) -> Route {
        let all = self.classes[usize::from(flit.class)];
        let stop = Stop { router, input, to: flit.to as usize, all, exit: 2 * self.dimensions };
        if is_torus { self.torus(function, stop, flit, at) } else { self.mesh(function, stop, flit, at) }
    }

    /// Where a packet that comes into the network goes first: anywhere.
    pub(super) fn draw_way(&self, stop: Stop, flit: &mut Flit, at: &mut Surroundings<'_>) {
        flit.way = at.draw(self.nodes - 1, flit, stop.router) as u32;
    }

    /// The goal of a packet that goes by way of another: that one in the first phase.
    pub(super) fn goal(stop: Stop, flit: &Flit, phase: u8) -> usize {
        if phase == 0 { flit.way as usize } else { stop.to }
    }

    /// Whether a packet that goes by way of another may take any virtual channel out of the network. One that only passes its destination
    /// may not, or there is a ring.
    pub(super) fn may_leave(stop: Stop, function: RoutingFunction, phase: u8) -> bool {
        stop.router == stop.to && (phase == 1 || function == RoutingFunction::LooseValiant)
    }
}
