//! Universal globally adaptive load-balanced routing: at its source a packet chooses between the shortest way and one by way of a random
//! place, by the hops and what waits in front of each (Singh, "Load-balanced routing in interconnection networks", 2005).

use super::{Flit, Route, Routing, Surroundings, half};

/// Flits that a longer way must be better by, on a flattened butterfly and on a dragonfly, in BookSim2's units (hops x flits; flits).
const FLAT_BIAS: u64 = 2;
const DRAGONFLY_BIAS: u64 = 30;

impl Routing {
    /// Phases: 0 to be decided, 1 on the way to a random router, 2 on the way to the destination.
    pub(super) fn flat_ugal(
        &self,
        orders: bool,
        router: usize,
        input: usize,
        flit: &mut Flit,
        at: &mut Surroundings<'_>,
    ) -> Route {
        let all = self.classes[usize::from(flit.class)];
        let (home, exit) = self.flat_home(flit.to as usize);
        let enters = self.enters(input);
        if enters {
            flit.phase = 0;
        }
        let mut goal = if flit.phase == 1 { flit.way as usize } else { home };
        if goal == router {
            if flit.phase != 1 {
                return Route::new(exit, all);
            }
            flit.phase = 2;
            goal = home;
        }
        let first_x = match (orders, enters) {
            (false, _) => true,
            (true, true) => at.draw(1, flit, 2 * router) > 0,
            (true, false) => usize::from(flit.vc) < half(all, true).0,
        };
        let port = |goal: usize| self.flat_port(router, goal, first_x).unwrap_or(exit);
        if flit.phase == 0 {
            let way = self.random_way(router, home, flit, at);
            flit.phase = 2;
            if way != router {
                let hops = self.flat_distance(router, home);
                let longer = self.flat_distance(router, way) + self.flat_distance(way, home);
                let (near, far) = (at.used(router, port(home)), at.used(router, port(way)));
                if hops * u64::from(near) > longer * u64::from(far) + FLAT_BIAS {
                    flit.phase = 1;
                    flit.way = way as u32;
                    goal = way;
                }
            }
        }
        let out = port(goal);
        if out < self.concentration {
            return Route::new(out, all);
        }
        let vcs = if orders { half(all, !first_x) } else { all };
        Route::new(out, half(vcs, flit.phase == 2))
    }

    /// A random router among those that share all dimensions with both ends in which these are alike.
    fn random_way(&self, from: usize, to: usize, flit: &Flit, at: &mut Surroundings<'_>) -> usize {
        // The terminal at that router is drawn too, for the sake of the sequence; only the router counts.
        at.draw(self.concentration - 1, flit, usize::MAX);
        (0..self.dimensions)
            .map(|d| {
                let place = |r: usize| r / self.powers[d] % self.radix;
                let alike = place(from) == place(to);
                self.powers[d] * if alike { place(from) } else { at.draw(self.radix - 1, flit, usize::MAX - 1 - d) }
            })
            .sum()
    }

    /// Hops between two routers.
    fn flat_distance(&self, from: usize, to: usize) -> u64 {
        let place = |r: usize, d: usize| r / self.powers[d] % self.radix;
        (0..self.dimensions).filter(|d| place(from, *d) != place(to, *d)).count() as u64
    }

    /// A dragonfly. Phases are the virtual channels: 0 before the link to another group (or on the way to a random place), 1 after it, and
    /// with UGAL 2 after the last such link.
    pub(super) fn dragonfly(
        &self,
        adaptive: bool,
        router: usize,
        input: usize,
        flit: &mut Flit,
        at: &mut Surroundings<'_>,
    ) -> Route {
        let to = flit.to as usize;
        let (in_group, group_terminals) = (2 * self.radix, 2 * self.radix * self.radix);
        let first_global = self.radix + in_group - 1;
        let is_global = |port: usize| port >= first_global;
        if !adaptive {
            if self.enters(input) {
                flit.phase = 0;
            }
            let port = self.dragonfly_port(router, to);
            if is_global(port) {
                flit.phase = 1;
            }
            let vc = usize::from(flit.phase);
            return Route::new(port, (vc, vc));
        }
        if self.enters(input) {
            let group = router / in_group;
            flit.phase = 1;
            if to / group_terminals == group {
                flit.phase = 2;
            } else {
                let groups = in_group * self.radix + 1;
                let way = at.draw(groups * group_terminals - 1, flit, router);
                flit.way = way as u32;
                if way / group_terminals != group {
                    let near = at.used(router, self.dragonfly_port(router, to));
                    let far = at.used(router, self.dragonfly_port(router, way));
                    if u64::from(near) > 2 * u64::from(far) + DRAGONFLY_BIAS {
                        flit.phase = 0;
                    }
                }
            }
        }
        if flit.phase == 0 && router == flit.way as usize / self.radix {
            flit.phase = 1;
        }
        let port = self.dragonfly_port(router, if flit.phase == 0 { flit.way as usize } else { to });
        if flit.phase == 1 && is_global(port) {
            flit.phase = 2;
        }
        let vc = usize::from(flit.phase);
        Route::new(port, (vc, vc))
    }

    /// The port of the shortest way to a terminal.
    fn dragonfly_port(&self, router: usize, terminal: usize) -> usize {
        let in_group = 2 * self.radix;
        let (group, place) = (router / in_group, router % in_group);
        let home = terminal / self.radix;
        let goal_group = home / in_group;
        if home == router {
            return terminal % self.radix;
        }
        let link = goal_group - usize::from(goal_group > group);
        let goal = if goal_group == group { home % in_group } else { link / self.radix };
        if goal == place {
            return self.radix + in_group - 1 + link % self.radix;
        }
        self.radix + goal - usize::from(goal > place)
    }
}
