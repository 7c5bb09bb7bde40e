//! Routing in trees: up to the nearest common ancestor, and down.

use super::{Flit, Route, Routing, Surroundings};

/// Routers of the two upper levels of the tree of 4, 8 and 16 routers.
const TREE4_TOPS: usize = 4;
const TREE4_MIDDLES: usize = 8;

impl Routing {
    pub(super) fn fat_tree(&self, adaptive: bool, router: usize, flit: &Flit, at: &mut Surroundings<'_>) -> Route {
        let all = self.classes[usize::from(flit.class)];
        let (k, levels, to) = (self.radix, self.dimensions, flit.to as usize);
        let a_level = self.powers[levels - 1];
        let (level, position) = (router / a_level, router % a_level);
        // Terminals below this router, and below each of its children.
        let (below, below_child) = (self.powers[levels - level], self.powers[levels - level - 1]);
        let group = position / self.powers[levels - level - 1];
        if to / below == group {
            return Route::new(to % below / below_child, all);
        }
        let mut up = at.draw(k - 1, flit, 2 * router);
        if adaptive {
            let other = at.draw(k - 1, flit, 2 * router + 1);
            if at.used(router, k + up) > at.used(router, k + other) {
                up = other;
            }
        }
        Route::new(k + up, all)
    }

    pub(super) fn quad_tree(&self, router: usize, flit: &Flit) -> Route {
        let all = self.classes[usize::from(flit.class)];
        let (position, below) = match router {
            0 => (0, 64),
            1..5 => (router - 1, 16),
            _ => (router - 5, 4),
        };
        let to = flit.to as usize;
        if to / below == position { Route::new(to % below / (below / 4), all) } else { Route::new(4, all) }
    }

    /// The tree of 4, 8 and 16 routers. Adaptive routing offers all links up with one priority, of which BookSim2 keeps the first.
    pub(super) fn tree4(&self, adaptive: bool, router: usize, flit: &Flit, at: &mut Surroundings<'_>) -> Route {
        let all = self.classes[usize::from(flit.class)];
        let to = flit.to as usize;
        let parents = if router < TREE4_TOPS {
            // A router at the top has two links to each group of four children's children.
            return Route::new(2 * (to / 16) + at.draw(1, flit, router), all);
        } else if router < TREE4_TOPS + TREE4_MIDDLES {
            if to / 16 == (router - TREE4_TOPS) / 2 {
                return Route::new(to / 4 % 4, all);
            }
            4
        } else {
            if to / 4 == router - TREE4_TOPS - TREE4_MIDDLES {
                return Route::new(to % 4, all);
            }
            2
        };
        let up = if adaptive { 0 } else { at.draw(parents - 1, flit, router) };
        Route::new(4 + up, all)
    }
}
