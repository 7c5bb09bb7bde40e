//! Routing in tori.

use super::cube::Stop;
use super::{Flit, Route, Routing, RoutingFunction, Surroundings, half};

impl Routing {
    /// A torus: the ports of a mesh.
    pub(super) fn torus(
        &self,
        function: RoutingFunction,
        stop: Stop,
        flit: &mut Flit,
        at: &mut Surroundings<'_>,
    ) -> Route {
        use RoutingFunction as R;
        let Stop { router, input, to, all, exit } = stop;
        match function {
            R::Valiant | R::LooseValiant => {
                let (mut phase, mut from) = (flit.phase / 2, input);
                if self.enters(input) {
                    phase = 0;
                    self.draw_way(stop, flit, at);
                }
                if phase == 0 && router == flit.way as usize {
                    // The second phase begins as if the packet came in here.
                    (phase, from) = (1, exit);
                }
                let goal = Self::goal(stop, flit, phase);
                let mut upper = flit.phase & 1;
                let port = self.ring(router, from, goal, &mut upper, false, flit, at);
                flit.phase = 2 * phase + upper;
                let leaves = Self::may_leave(stop, function, phase);
                let vcs = if leaves { all } else { half(half(all, upper == 1), phase == 1) };
                Route::new(port, vcs)
            }
            R::MinimalAdaptive | R::FirstOfAdaptive => {
                if router == to {
                    return Route::new(exit, all);
                }
                // The two lowest virtual channels are the escape, on either side of the dateline; what is there stays there.
                let adaptive = self.enters(input) || usize::from(flit.vc) > all.0 + 1;
                let mut upper = flit.phase;
                let from = if adaptive { exit } else { input };
                let mut more = 0;
                if adaptive {
                    more = self.productive_on_rings(router, to, function == R::FirstOfAdaptive);
                }
                let port = self.ring(router, from, to, &mut upper, false, flit, at);
                flit.phase = upper;
                let escape = all.0 + usize::from(upper);
                let mut route = Route::new(port, (escape, escape));
                // BookSim2 has one adaptive virtual channel, the fourth; here all but the two of the escape are.
                let first = all.0 + if function == R::FirstOfAdaptive { 3 } else { 2 };
                let last = if function == R::FirstOfAdaptive { first } else { all.1 };
                (route.more_first, route.more_last, route.more) = (first as u8, last as u8, more);
                route
            }
            _ => {
                let mut upper = flit.phase;
                let balanced = function == R::DimensionOrderBalanced;
                let port = self.ring(router, input, to, &mut upper, balanced, flit, at);
                flit.phase = upper;
                Route::new(port, if router == to { all } else { half(all, upper == 1) })
            }
        }
    }

    /// Dimension order on rings: the shorter way round, chosen where the packet turns into the ring, at random of two that are as long. A
    /// packet upwards that will pass the edge takes the upper half of the virtual channels for the whole ring. Downwards it does so when it
    /// will *not* pass it, which breaks the cycle just as well; balanced, what passes neither edge nor middle takes either half.
    #[allow(clippy::too_many_arguments)]
    fn ring(
        &self,
        router: usize,
        input: usize,
        to: usize,
        upper: &mut u8,
        balanced: bool,
        flit: &Flit,
        around: &mut Surroundings<'_>,
    ) -> usize {
        let k = self.radix;
        let (mut here, mut there) = (router, to);
        let mut d = 0;
        while d < self.dimensions && here % k == there % k {
            here /= k;
            there /= k;
            d += 1;
        }
        if d == self.dimensions {
            return 2 * d;
        }
        if input / 2 == d {
            // Straight on: out by the port across from that of entry.
            return input ^ 1;
        }
        let (at, goal) = (here % k, there % k);
        let steps_up = 2 * ((goal + k - at) % k);
        let up = steps_up < k || (steps_up == k && around.draw(1, flit, 2 * router) > 0);
        *upper = if !balanced {
            u8::from(at > goal)
        } else if up == (at > goal) {
            // Over the edge.
            1
        } else {
            let middle = (k - 1) / 2;
            let over_middle = if up { at <= middle && goal > middle } else { at > middle && goal <= middle };
            if over_middle { 0 } else { around.draw(1, flit, 2 * router + 1) as u8 }
        };
        2 * d + usize::from(!up)
    }

    /// The ports of all rings on which a packet may come nearer, or the first of them; downwards where both ways are as long.
    fn productive_on_rings(&self, router: usize, to: usize, first: bool) -> u16 {
        let k = self.radix;
        let mut ports = 0;
        for d in 0..self.dimensions.min(8) {
            let (at, goal) = (router / self.powers[d] % k, to / self.powers[d] % k);
            if at != goal && !(first && ports != 0) {
                ports |= 1 << (2 * d + usize::from(2 * ((goal + k - at) % k) >= k));
            }
        }
        ports
    }
}
