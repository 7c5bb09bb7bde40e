//! Routing in flattened butterflies.

use super::{Flit, Route, Routing, RoutingFunction, Surroundings, half};

impl Routing {
    /// The router of a terminal, and its port there.
    pub(super) fn flat_home(&self, terminal: usize) -> (usize, usize) {
        let (side, row) = (self.side, self.radix * self.side);
        let (column, line) = (terminal % row, terminal / row);
        (line / side * self.radix + column / side, side * (line % side) + column % side)
    }

    /// The port to the router that has the goal's place in one dimension: the first in which they differ, or the last.
    pub(super) fn flat_port(&self, router: usize, goal: usize, ascending: bool) -> Option<usize> {
        let place = |r: usize, d: usize| r / self.powers[d] % self.radix;
        let differs = |d: &usize| place(router, *d) != place(goal, *d);
        let d = if ascending { (0..self.dimensions).find(differs) } else { (0..self.dimensions).rev().find(differs) }?;
        let (at, to) = (place(router, d), place(goal, d));
        Some(self.concentration + (self.radix - 1) * d + to - usize::from(to > at))
    }

    pub(super) fn flattened(
        &self,
        function: RoutingFunction,
        router: usize,
        input: usize,
        flit: &mut Flit,
        at: &mut Surroundings<'_>,
    ) -> Route {
        use RoutingFunction as R;
        let all = self.classes[usize::from(flit.class)];
        let (home, exit) = self.flat_home(flit.to as usize);
        let port = |goal: usize, ascending: bool| self.flat_port(router, goal, ascending).unwrap_or(exit);
        match function {
            R::Ugal | R::UgalXyYx => self.flat_ugal(function == R::UgalXyYx, router, input, flit, at),
            R::Valiant => {
                if self.enters(input) {
                    flit.phase = 0;
                    flit.way = at.draw(self.nodes - 1, flit, router) as u32;
                }
                let way = self.flat_home(flit.way as usize).0;
                if way == router || home == router {
                    flit.phase = 1;
                }
                let goal = if flit.phase == 0 { way } else { home };
                Route::new(port(goal, true), if home == router { all } else { half(all, flit.phase == 1) })
            }
            R::XyYx | R::AdaptiveXyYx if home != router => {
                let ascending = if !self.enters(input) {
                    usize::from(flit.vc) < half(all, true).0
                } else if function == R::AdaptiveXyYx {
                    self.prefers_first(router, [port(home, true), port(home, false)], flit, at)
                } else {
                    at.draw(1, flit, router) > 0
                };
                Route::new(port(home, ascending), half(all, !ascending))
            }
            _ => Route::new(port(home, true), all),
        }
    }
}
