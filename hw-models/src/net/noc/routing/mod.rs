//! Where a packet goes next: the routing functions.

mod cube;
mod flattened;
mod mesh;
mod torus;
mod trees;
mod ugal;

use super::config::{CLASSES, NocConfig};
use super::flit::Flit;
use super::random::Draws;
pub(super) use super::route::Route;
use super::shape::{RoutingFunction, Shape};

/// What routing functions may look at beside the packet: random numbers, and the flits on their way beyond each output.
pub(super) struct Surroundings<'a> {
    pub(super) draws: &'a mut Draws,
    /// Slots taken of the buffers behind each output, all routers after each other.
    pub(super) used: &'a [u32],
    /// Where each router's outputs begin.
    pub(super) first_output: &'a [u32],
}

/// More flits than any routing function waits behind.
const MANY: u32 = 1 << 16;

impl Surroundings<'_> {
    /// Flits that wait beyond an output or are on their way there; when all courses are looked at, few or many.
    fn used(&mut self, router: usize, output: usize) -> u32 {
        if matches!(self.draws, Draws::Script(_)) {
            return MANY * self.draws.upto(1, 0, 0) as u32;
        }
        self.used[self.first_output[router] as usize + output]
    }

    /// A number up to `most` for a packet at a router.
    fn draw(&mut self, most: usize, flit: &Flit, place: usize) -> usize {
        self.draws.upto(most, flit.packet, place)
    }
}

/// The routing function of a network.
#[derive(Debug, Clone)]
pub(super) struct Routing {
    kind: Kind,
    radix: usize,
    dimensions: usize,
    /// Terminals of a router along a side, and in all.
    side: usize,
    concentration: usize,
    nodes: usize,
    /// Powers of the radix.
    powers: Vec<usize>,
    /// Ports that lead to terminals at a router of entry, by shape: the first and the one after the last.
    entry_ports: (usize, usize),
    /// First and last virtual channel of each class.
    classes: [(usize, usize); CLASSES],
    table: Vec<Vec<u16>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mesh(RoutingFunction),
    Torus(RoutingFunction),
    Butterfly,
    Concentrated(RoutingFunction),
    Flattened(RoutingFunction),
    FatTree { adaptive: bool },
    QuadTree,
    Tree4 { adaptive: bool },
    Dragonfly { adaptive: bool },
    Table,
}

impl Routing {
    pub(super) fn new(config: &NocConfig, classes: [(usize, usize); CLASSES], table: Vec<Vec<u16>>) -> Routing {
        let function = config.routing;
        let adaptive = matches!(function, RoutingFunction::AdaptiveCommonAncestor | RoutingFunction::Ugal);
        let (kind, radix, dimensions) = match &config.shape {
            Shape::Mesh { radix, dimensions } => (Kind::Mesh(function), *radix, *dimensions),
            Shape::Torus { radix, dimensions } => (Kind::Torus(function), *radix, *dimensions),
            Shape::Butterfly { radix, stages } => (Kind::Butterfly, *radix, *stages),
            Shape::ConcentratedMesh { radix } => (Kind::Concentrated(function), *radix, 2),
            Shape::FlattenedButterfly { radix, dimensions, .. } => (Kind::Flattened(function), *radix, *dimensions),
            Shape::FatTree { radix, levels } => (Kind::FatTree { adaptive }, *radix, *levels),
            Shape::QuadTree => (Kind::QuadTree, 4, 3),
            Shape::Tree4 => (Kind::Tree4 { adaptive }, 4, 3),
            Shape::Dragonfly { radix } => (Kind::Dragonfly { adaptive }, *radix, 1),
            Shape::Links(_) => (Kind::Table, 1, 1),
        };
        let side = match &config.shape {
            Shape::FlattenedButterfly { side, .. } => *side,
            Shape::ConcentratedMesh { .. } => 2,
            _ => 1,
        };
        let powers: Vec<usize> = (0..=dimensions as u32).map(|n| radix.checked_pow(n).unwrap_or(usize::MAX)).collect();
        let concentration = side * side;
        let entry_ports = match kind {
            Kind::Mesh(_) | Kind::Torus(_) => (2 * dimensions, 2 * dimensions + 1),
            Kind::Concentrated(_) | Kind::Flattened(_) => (0, concentration),
            Kind::Dragonfly { .. } => (0, radix),
            _ => (0, 0),
        };
        let nodes = powers[dimensions].saturating_mul(concentration);
        Routing { kind, radix, dimensions, side, concentration, nodes, powers, entry_ports, classes, table }
    }

    /// Whether a route depends on the packet's destination and its own memory alone: nothing is drawn, nothing looked at, and there is one
    /// way.
    pub(super) fn is_plain(&self) -> bool {
        use RoutingFunction as R;
        match self.kind {
            Kind::Mesh(f) | Kind::Concentrated(f) | Kind::Flattened(f) => {
                matches!(f, R::DimensionOrder | R::DimensionOrderNoExpress)
            }
            Kind::Torus(f) => f == R::DimensionOrder && !self.radix.is_multiple_of(2),
            Kind::Butterfly | Kind::QuadTree | Kind::Table | Kind::Dragonfly { adaptive: false } => true,
            Kind::FatTree { .. } | Kind::Tree4 { .. } | Kind::Dragonfly { adaptive: true } => false,
        }
    }

    /// Whether a route depends on nothing but the router and the packet's destination, for all virtual channels of its class.
    pub(super) fn is_stateless(&self) -> bool {
        self.is_plain() && !matches!(self.kind, Kind::Torus(_) | Kind::Dragonfly { .. })
    }

    /// A route with all virtual channels of a class.
    pub(super) fn to_port(&self, port: u8, class: u8) -> Route {
        Route::new(usize::from(port), self.classes[usize::from(class)])
    }

    /// Whether a route depends on nothing but the packet and what is drawn for it, and there is one way: nothing is looked at.
    pub(super) fn is_oblivious(&self) -> bool {
        use RoutingFunction as R;
        match self.kind {
            Kind::Mesh(f) | Kind::Torus(f) | Kind::Concentrated(f) | Kind::Flattened(f) => !matches!(
                f,
                R::AdaptiveXyYx
                    | R::MinimalAdaptive
                    | R::PlanarAdaptive
                    | R::FirstOfAdaptive
                    | R::FirstOfPlanar
                    | R::Ugal
                    | R::UgalXyYx
            ),
            Kind::FatTree { adaptive } | Kind::Tree4 { adaptive } | Kind::Dragonfly { adaptive } => !adaptive,
            Kind::Butterfly | Kind::QuadTree | Kind::Table => true,
        }
    }

    /// The virtual channels that a head may take from its source into the network, first and last. A dragonfly's source draws one each
    /// time it tries.
    pub(super) fn entry_vcs(&self, class: u8, packet: u32, now: u64, draws: &mut Draws) -> (usize, usize) {
        let (first, last) = self.classes[usize::from(class)];
        if matches!(self.kind, Kind::Dragonfly { .. }) {
            let vc = draws.upto(last, packet, now as usize);
            return (vc, vc);
        }
        (first, last)
    }

    /// Drops a packet's memory of where it goes first, once it has been there.
    pub(super) fn forget(&self, flit: &mut Flit) {
        let done = match self.kind {
            Kind::Mesh(_) | Kind::Flattened(RoutingFunction::Valiant) => flit.phase == 1,
            Kind::Torus(_) => flit.phase >= 2,
            Kind::Flattened(_) => flit.phase == 2,
            Kind::Dragonfly { .. } => flit.phase >= 1,
            _ => true,
        };
        if done {
            flit.way = 0;
        }
    }

    /// Whether an input of a router comes from a terminal.
    fn enters(&self, input: usize) -> bool {
        (self.entry_ports.0..self.entry_ports.1).contains(&input)
    }

    /// The route at `router` of the packet of a head flit that came in by `input`, or will.
    pub(super) fn next(&self, router: usize, input: usize, flit: &mut Flit, at: &mut Surroundings<'_>) -> Route {
        let all = self.classes[usize::from(flit.class)];
        let to = flit.to as usize;
        match self.kind {
            Kind::Mesh(function) => self.cube(false, function, (router, input), flit, at),
            Kind::Torus(function) => self.cube(true, function, (router, input), flit, at),
            Kind::Butterfly => {
                let stage = router / self.powers[self.dimensions - 1];
                Route::new(to / self.powers[self.dimensions - 1 - stage] % self.radix, all)
            }
            Kind::Concentrated(function) => self.concentrated(function, router, input, flit, at),
            Kind::Flattened(function) => self.flattened(function, router, input, flit, at),
            Kind::FatTree { adaptive } => self.fat_tree(adaptive, router, flit, at),
            Kind::QuadTree => self.quad_tree(router, flit),
            Kind::Tree4 { adaptive } => self.tree4(adaptive, router, flit, at),
            Kind::Dragonfly { adaptive } => self.dragonfly(adaptive, router, input, flit, at),
            Kind::Table => Route::new(usize::from(self.table[router][to]), all),
        }
    }
}

/// The lower half of a range of virtual channels, or the upper one; an odd one out in the middle belongs to both.
fn half((first, last): (usize, usize), upper: bool) -> (usize, usize) {
    let half = (last - first).div_ceil(2);
    if upper { (first + half, last) } else { (first, last - half) }
}
