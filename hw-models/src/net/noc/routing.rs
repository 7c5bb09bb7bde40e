//! Where a packet goes next: deterministic routing functions.

use super::config::Shape;

/// An output port and the virtual channels of it that a packet may take, first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Route {
    /// The output port.
    pub port: u16,
    /// The first of the virtual channels.
    pub first: u8,
    /// The last of them.
    pub last: u8,
}

/// The routing function of a network.
#[derive(Debug, Clone)]
pub(super) struct Routing {
    kind: Kind,
    radix: usize,
    dimensions: usize,
    /// Routers of a stage of a butterfly.
    a_stage: usize,
    vcs: usize,
    table: Vec<Vec<u16>>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Mesh,
    Torus,
    Butterfly,
    Concentrated,
    Table,
}

impl Routing {
    pub(super) fn new(shape: &Shape, vcs: usize, table: Vec<Vec<u16>>) -> Routing {
        let (kind, radix, dimensions) = match shape {
            Shape::Mesh { radix, dimensions } => (Kind::Mesh, *radix, *dimensions),
            Shape::Torus { radix, dimensions } => (Kind::Torus, *radix, *dimensions),
            Shape::Butterfly { radix, stages } => (Kind::Butterfly, *radix, *stages),
            Shape::ConcentratedMesh { radix } => (Kind::Concentrated, *radix, 2),
            Shape::Links(_) => (Kind::Table, 1, 1),
        };
        let a_stage = radix.pow(dimensions as u32 - 1);
        Routing { kind, radix, dimensions, a_stage, vcs, table }
    }

    /// The route at `router` of a packet to terminal `to` that came in by `input`. `upper` is what a torus remembers of a packet: that
    /// it takes the upper half of the virtual channels in this dimension.
    pub(super) fn next(&self, router: usize, input: usize, to: usize, upper: &mut bool) -> Route {
        let all = |port: usize| Route { port: port as u16, first: 0, last: (self.vcs - 1) as u8 };
        match self.kind {
            Kind::Mesh => all(self.mesh(router, to)),
            Kind::Torus => self.torus(router, input, to, upper),
            Kind::Butterfly => {
                let mut digits = to;
                for _ in router / self.a_stage + 1..self.dimensions {
                    digits /= self.radix;
                }
                all(digits % self.radix)
            }
            Kind::Concentrated => {
                let home = to / (2 * self.radix) / 2 * self.radix + to % (2 * self.radix) / 2;
                all(if home == router {
                    // Terminals stand two by two at a router.
                    2 * (to / (2 * self.radix) % 2) + to % 2
                } else {
                    4 + self.mesh(router, home)
                })
            }
            Kind::Table => all(usize::from(self.table[router][to])),
        }
    }

    /// Dimension order: even ports up, odd ports down, the last port to the terminal.
    fn mesh(&self, router: usize, to: usize) -> usize {
        let (mut here, mut there) = (router, to);
        for d in 0..self.dimensions {
            let (at, goal) = (here % self.radix, there % self.radix);
            if at != goal {
                return 2 * d + usize::from(at > goal);
            }
            here /= self.radix;
            there /= self.radix;
        }
        2 * self.dimensions
    }

    /// Dimension order on rings: the shorter way round, chosen where the packet turns into the ring. A packet upwards that will pass the
    /// edge takes the upper half of the virtual channels for the whole ring; downwards it does so when it will *not* pass it, which
    /// breaks the cycle just as well.
    fn torus(&self, router: usize, input: usize, to: usize, upper: &mut bool) -> Route {
        let (mut here, mut there) = (router, to);
        let mut d = 0;
        while d < self.dimensions && here % self.radix == there % self.radix {
            here /= self.radix;
            there /= self.radix;
            d += 1;
        }
        let last = (self.vcs - 1) as u8;
        if d == self.dimensions {
            return Route { port: (2 * d) as u16, first: 0, last };
        }
        let port = if input / 2 == d {
            // Straight on: out by the port across from that of entry.
            input ^ 1
        } else {
            let (at, goal) = (here % self.radix, there % self.radix);
            let up = (goal + self.radix - at) % self.radix;
            *upper = at > goal;
            // Of two ways of the same length the one upwards.
            2 * d + usize::from(2 * up > self.radix)
        };
        let half = (self.vcs / 2) as u8;
        if *upper {
            Route { port: port as u16, first: half, last }
        } else {
            Route { port: port as u16, first: 0, last: last - half }
        }
    }
}
