//! The shapes of networks, and the routing functions that each has.

/// The shape of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// `radix` routers in each of `dimensions`, one terminal at each router, links of one cycle.
    Mesh {
        /// Routers along a dimension.
        radix: usize,
        /// Dimensions.
        dimensions: usize,
    },
    /// A mesh whose rows are rings, with links of two cycles: folded, so that all are alike.
    Torus {
        /// Routers along a dimension.
        radix: usize,
        /// Dimensions.
        dimensions: usize,
    },
    /// A butterfly of `stages` stages of `radix` x `radix` routers; one stage is a single router.
    Butterfly {
        /// Inputs and outputs of a router.
        radix: usize,
        /// Routers on a way.
        stages: usize,
    },
    /// A square mesh of `radix` x `radix` routers with four terminals each, and express links along its edges (Balfour and Dally 2006).
    ConcentratedMesh {
        /// Routers along a side.
        radix: usize,
    },
    /// Every router has a link to each other router of its row in each dimension (Kim, Dally and Abts 2007), as long as they are apart.
    FlattenedButterfly {
        /// Routers along a dimension.
        radix: usize,
        /// Dimensions, 1 to 4.
        dimensions: usize,
        /// Terminals of a router along x and y: its concentration is the square.
        side: usize,
    },
    /// A folded butterfly: `levels` levels, `radix` links down and as many up at each router (Leiserson 1985).
    FatTree {
        /// Links in each direction of a router.
        radix: usize,
        /// Levels of routers; the terminals hang at the lowest.
        levels: usize,
    },
    /// 64 terminals under a tree of 1, 4 and 16 routers with four children each: a tree without more room at its root.
    QuadTree,
    /// 64 terminals under 16, 8 and 4 routers: a tree whose root has half the width of its leaves.
    Tree4,
    /// Groups of `2 radix` routers, all linked with each other, with `radix` terminals and `radix` links to other groups each, every pair
    /// of groups by one (Kim, Dally, Scott and Abts 2008). Links take 10 cycles within a group, 100 between groups.
    Dragonfly {
        /// Terminals of a router, and its links to other groups.
        radix: usize,
    },
    /// Routers, terminals and links of given latencies, one router a line (`router 0 node 0 router 1 5`).
    Links(String),
}

impl Shape {
    /// Its name in configurations.
    pub fn name(&self) -> &'static str {
        match self {
            Shape::Mesh { .. } => "mesh",
            Shape::Torus { .. } => "torus",
            Shape::Butterfly { .. } => "butterfly",
            Shape::ConcentratedMesh { .. } => "concentrated-mesh",
            Shape::FlattenedButterfly { .. } => "flattened-butterfly",
            Shape::FatTree { .. } => "fat-tree",
            Shape::QuadTree => "quad-tree",
            Shape::Tree4 => "tree4",
            Shape::Dragonfly { .. } => "dragonfly",
            Shape::Links(_) => "graph",
        }
    }
}

/// Where packets go: the routing function. Not every shape has every one ([`RoutingFunction::fits`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoutingFunction {
    /// Mesh, torus: one dimension after the other. A torus has a dateline in each ring that splits its virtual channels. A flattened
    /// butterfly: the direct link of one dimension after the other. A concentrated mesh: along its express links where they are shorter.
    DimensionOrder,
    /// Torus: as dimension order, but packets that cross no dateline use either half of the virtual channels (Scott and Thorson 1996).
    DimensionOrderBalanced,
    /// Concentrated mesh: dimension order without its express links.
    DimensionOrderNoExpress,
    /// Mesh, concentrated mesh, flattened butterfly: x first or y first, drawn for each packet, each with half of the virtual channels.
    XyYx,
    /// Concentrated mesh: the same without express links.
    XyYxNoExpress,
    /// Mesh, flattened butterfly: x first or y first by which link of the source router has fewer flits waiting beyond it.
    AdaptiveXyYx,
    /// Mesh: by way of a random router in the box between source and destination, in two phases (Nesson and Johnsson 1995).
    Romm,
    /// Mesh, torus, flattened butterfly: by way of a random terminal, in two phases (Valiant 1982).
    Valiant,
    /// Mesh, torus: as BookSim2 runs it. A packet that passes its destination on the way to the random terminal may take any virtual channel
    /// there, which can deadlock.
    LooseValiant,
    /// Mesh, torus: any of the shortest ways, with dimension order as the escape (Duato 1993).
    MinimalAdaptive,
    /// Mesh: adaptive in one plane of two dimensions after the other (Chien and Kim 1992).
    PlanarAdaptive,
    /// As BookSim2 runs the two before: of the links that are offered with one priority only the first is kept, so that there is no choice.
    FirstOfAdaptive,
    /// As BookSim2 runs planar adaptive routing: its first link only.
    FirstOfPlanar,
    /// Butterfly: by the digits of the destination.
    DestinationTag,
    /// Trees: up to the nearest common ancestor, by a random link where there are several, and down.
    NearestCommonAncestor,
    /// Trees: the same, with the better of two random links (fat tree), or any of the links up (tree4).
    AdaptiveCommonAncestor,
    /// Flattened butterfly and dragonfly: minimal or by way of a random terminal, by how much waits in front of each (Singh 2005).
    Ugal,
    /// Flattened butterfly: the same, x first or y first.
    UgalXyYx,
    /// Dragonfly: the shortest way. Links: along paths of the least latency, which may deadlock.
    Minimal,
}

impl RoutingFunction {
    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        use RoutingFunction as R;
        match self {
            R::DimensionOrder => "dimension-order",
            R::DimensionOrderBalanced => "dimension-order-balanced",
            R::DimensionOrderNoExpress => "dimension-order-no-express",
            R::XyYx => "xy-yx",
            R::XyYxNoExpress => "xy-yx-no-express",
            R::AdaptiveXyYx => "adaptive-xy-yx",
            R::Romm => "romm",
            R::Valiant => "valiant",
            R::LooseValiant => "loose-valiant",
            R::MinimalAdaptive => "minimal-adaptive",
            R::PlanarAdaptive => "planar-adaptive",
            R::FirstOfAdaptive => "first-of-adaptive",
            R::FirstOfPlanar => "first-of-planar",
            R::DestinationTag => "destination-tag",
            R::NearestCommonAncestor => "nearest-common-ancestor",
            R::AdaptiveCommonAncestor => "adaptive-common-ancestor",
            R::Ugal => "ugal",
            R::UgalXyYx => "ugal-xy-yx",
            R::Minimal => "minimal",
        }
    }

    /// The routing functions of a shape, the plainest first.
    pub fn of(shape: &Shape) -> &'static [RoutingFunction] {
        use RoutingFunction as R;
        match shape {
            Shape::Mesh { .. } => &[
                R::DimensionOrder,
                R::XyYx,
                R::AdaptiveXyYx,
                R::Romm,
                R::Valiant,
                R::LooseValiant,
                R::MinimalAdaptive,
                R::PlanarAdaptive,
                R::FirstOfAdaptive,
                R::FirstOfPlanar,
            ],
            Shape::Torus { .. } => &[
                R::DimensionOrder,
                R::DimensionOrderBalanced,
                R::Valiant,
                R::LooseValiant,
                R::MinimalAdaptive,
                R::FirstOfAdaptive,
            ],
            Shape::Butterfly { .. } => &[R::DestinationTag],
            Shape::ConcentratedMesh { .. } => {
                &[R::DimensionOrderNoExpress, R::DimensionOrder, R::XyYx, R::XyYxNoExpress]
            }
            Shape::FlattenedButterfly { .. } => {
                &[R::DimensionOrder, R::XyYx, R::AdaptiveXyYx, R::Valiant, R::Ugal, R::UgalXyYx]
            }
            Shape::FatTree { .. } | Shape::Tree4 => &[R::NearestCommonAncestor, R::AdaptiveCommonAncestor],
            Shape::QuadTree => &[R::NearestCommonAncestor],
            Shape::Dragonfly { .. } => &[R::Minimal, R::Ugal],
            Shape::Links(_) => &[R::Minimal],
        }
    }

    /// Whether a shape has it.
    pub fn fits(self, shape: &Shape) -> bool {
        Self::of(shape).contains(&self)
    }

    /// Virtual channels of a class that it needs at least, so that its phases, orders and datelines have one each.
    pub fn least_vcs(self, shape: &Shape) -> usize {
        use RoutingFunction as R;
        match (self, shape) {
            (R::Valiant | R::LooseValiant | R::FirstOfAdaptive | R::MinimalAdaptive, Shape::Torus { .. })
            | (R::UgalXyYx, _) => 4,
            (R::PlanarAdaptive | R::FirstOfPlanar, _) | (R::Ugal, Shape::Dragonfly { .. }) => 3,
            (R::DimensionOrder | R::DimensionOrderBalanced, Shape::Torus { .. })
            | (R::Minimal, Shape::Dragonfly { .. })
            | (
                R::XyYx
                | R::XyYxNoExpress
                | R::AdaptiveXyYx
                | R::Romm
                | R::Valiant
                | R::LooseValiant
                | R::MinimalAdaptive
                | R::FirstOfAdaptive
                | R::Ugal,
                _,
            ) => 2,
            _ => 1,
        }
    }
}
