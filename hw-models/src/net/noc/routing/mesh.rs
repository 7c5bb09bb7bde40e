//! Routing in meshes and concentrated meshes.

use super::cube::Stop;
use super::{Flit, Route, Routing, RoutingFunction, Surroundings, half};

impl Routing {
    /// A mesh: even ports up, odd ports down, the last port to the terminal.
    pub(super) fn mesh(
        &self,
        function: RoutingFunction,
        stop: Stop,
        flit: &mut Flit,
        at: &mut Surroundings<'_>,
    ) -> Route {
        use RoutingFunction as R;
        let Stop { router, input, to, all, exit } = stop;
        match function {
            R::XyYx | R::AdaptiveXyYx => {
                if router == to {
                    return Route::new(exit, all);
                }
                let ports = [self.descending(router, to), self.ascending(router, to)];
                let ascending = if !self.enters(input) {
                    usize::from(flit.vc) < half(all, true).0
                } else if function == R::AdaptiveXyYx {
                    self.prefers_first(router, [ports[1], ports[0]], flit, at)
                } else {
                    at.draw(1, flit, router) > 0
                };
                Route::new(ports[usize::from(ascending)], half(all, !ascending))
            }
            R::Romm | R::Valiant | R::LooseValiant => {
                if self.enters(input) {
                    flit.phase = 0;
                    if function == R::Romm {
                        flit.way = self.in_the_box(router, to, flit, at) as u32;
                    } else {
                        self.draw_way(stop, flit, at);
                    }
                }
                if router == flit.way as usize {
                    flit.phase = 1;
                }
                let port = self.ascending(router, Self::goal(stop, flit, flit.phase));
                let leaves = Self::may_leave(stop, function, flit.phase);
                Route::new(port, if leaves { all } else { half(all, flit.phase == 1) })
            }
            R::MinimalAdaptive | R::FirstOfAdaptive => {
                if router == to {
                    return Route::new(exit, all);
                }
                let mut route = Route::new(self.ascending(router, to), (all.0, all.0));
                // What is on the escape channel stays there.
                if self.enters(input) || usize::from(flit.vc) != all.0 {
                    (route.more_first, route.more_last) = (all.0 as u8 + 1, all.1 as u8);
                    route.more = self.productive(router, to, function == R::FirstOfAdaptive);
                }
                route
            }
            R::PlanarAdaptive | R::FirstOfPlanar => self.planar(function, stop),
            _ => Route::new(self.ascending(router, to), all),
        }
    }

    /// The port in the first dimension in which two routers differ.
    pub(super) fn ascending(&self, router: usize, to: usize) -> usize {
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

    /// The port in the last dimension in which two routers differ.
    fn descending(&self, router: usize, to: usize) -> usize {
        for d in (0..self.dimensions).rev() {
            let place = |r: usize| r / self.powers[d] % self.radix;
            if place(router) != place(to) {
                return 2 * d + usize::from(place(router) > place(to));
            }
        }
        2 * self.dimensions
    }

    /// Whether fewer flits wait beyond the first of two ports, or a drawn bit where as many do.
    pub(super) fn prefers_first(
        &self,
        router: usize,
        ports: [usize; 2],
        flit: &Flit,
        at: &mut Surroundings<'_>,
    ) -> bool {
        match at.used(router, ports[0]).cmp(&at.used(router, ports[1])) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => at.draw(1, flit, router) > 0,
        }
    }

    /// A random router of the box between two.
    fn in_the_box(&self, from: usize, to: usize, flit: &Flit, at: &mut Surroundings<'_>) -> usize {
        (0..self.dimensions)
            .map(|d| {
                let place = |r: usize| r / self.powers[d] % self.radix;
                let (low, high) = (place(from).min(place(to)), place(from).max(place(to)));
                self.powers[d] * (low + at.draw(high - low, flit, d))
            })
            .sum()
    }

    /// The ports of all dimensions in which a packet may come nearer, or the first of them.
    fn productive(&self, router: usize, to: usize, first: bool) -> u16 {
        let mut ports = 0;
        for d in 0..self.dimensions.min(8) {
            let place = |r: usize| r / self.powers[d] % self.radix;
            if place(router) != place(to) && !(first && ports != 0) {
                ports |= 1 << (2 * d + usize::from(place(router) > place(to)));
            }
        }
        ports
    }

    /// Planar adaptive routing: in the plane of dimensions `d` and `d + 1` for as long as dimension `d` is not done. Dimension `d` has the
    /// upper third of the virtual channels; dimension `d + 1` the lower or the middle one, by which way the packet goes in dimension `d`.
    fn planar(&self, function: RoutingFunction, stop: Stop) -> Route {
        let Stop { router, input, to, all, exit } = stop;
        let third = (all.1 - all.0 + 1) / 3;
        let place = |r: usize, d: usize| r / self.powers[d] % self.radix;
        let Some(d) = (0..self.dimensions).find(|d| place(router, *d) != place(to, *d)) else {
            return Route::new(exit, all);
        };
        let up = place(router, d) < place(to, d);
        let mut route = Route::new(2 * d + usize::from(!up), (all.0 + 2 * third, all.1));
        let next = d + 1;
        if function == RoutingFunction::PlanarAdaptive && next < self.dimensions {
            let (here, there) = (place(router, next), place(to, next));
            let port = 2 * next + usize::from(here > there);
            if here != there && port != input {
                let first = all.0 + if up { 0 } else { third };
                (route.more_first, route.more_last) = (first as u8, (first + third - 1) as u8);
                route.more = 1 << port;
            }
        }
        route
    }

    /// A concentrated mesh: four ports to terminals, then up and down in x and in y.
    pub(super) fn concentrated(
        &self,
        function: RoutingFunction,
        router: usize,
        input: usize,
        flit: &Flit,
        at: &mut Surroundings<'_>,
    ) -> Route {
        use RoutingFunction as R;
        let all = self.classes[usize::from(flit.class)];
        let (k, to) = (self.radix, flit.to as usize);
        let home = to / (2 * k) / 2 * k + to % (2 * k) / 2;
        if home == router {
            // Terminals stand two by two at a router.
            return Route::new(2 * (to / (2 * k) % 2) + to % 2, all);
        }
        let (here, there) = ([router % k, router / k], [home % k, home / k]);
        match function {
            R::XyYx | R::XyYxNoExpress => {
                let x_first = if self.enters(input) {
                    at.draw(1, flit, router) > 0
                } else {
                    usize::from(flit.vc) < half(all, true).0
                };
                // Here any two columns or rows further on are reached by the express link.
                let express = (function == R::XyYx).then_some(2);
                let order = if x_first { [0, 1] } else { [1, 0] };
                Route::new(self.concentrated_port(here, there, order, express), half(all, !x_first))
            }
            R::DimensionOrder => Route::new(self.concentrated_port(here, there, [0, 1], Some(k / 2)), all),
            _ => Route::new(self.concentrated_port(here, there, [0, 1], None), all),
        }
    }

    /// The port of the first dimension in order that is not done. At an edge that runs along that dimension, what has at least `express`
    /// routers to go takes the express link, which leaves by the port that would lead out of the mesh.
    fn concentrated_port(
        &self,
        here: [usize; 2],
        there: [usize; 2],
        order: [usize; 2],
        express: Option<usize>,
    ) -> usize {
        let d = if here[order[0]] == there[order[0]] { order[1] } else { order[0] };
        let other = 1 - d;
        if express.is_some_and(|far| here[d].abs_diff(there[d]) >= far) {
            if here[other] == 0 {
                return self.concentration + 2 * other + 1;
            }
            if here[other] == self.radix - 1 {
                return self.concentration + 2 * other;
            }
        }
        self.concentration + 2 * d + usize::from(here[d] > there[d])
    }
}
