//! Two launches that differ in the turns of their loops only: what they have in common is run once.

use super::super::launch::{GpuError, KernelResult, LaunchOptions};
use super::super::program::{Expr, Kernel, Op, Trips};
use super::Gpu;

impl Gpu {
    /// Runs a launch with `turns` in the number `var` of all its items, and one with more, as [`Gpu::run`] would run the one after
    /// the other. Items in which the number is not positive are left as they are.
    ///
    /// Until the first role ends its last turn of the shorter launch, both are the same: the machine stops there, ends the
    /// shorter launch, goes back, and ends the other. That is exact where the number only counts turns; otherwise both are run.
    ///
    /// # Errors
    /// Those of [`Gpu::run`], of either.
    pub fn run_both(
        &mut self,
        kernel: &Kernel,
        options: &LaunchOptions,
        var: usize,
        [turns, more]: [u32; 2],
    ) -> Result<[KernelResult; 2], GpuError> {
        let with = |turns: u32| {
            let mut kernel = kernel.clone();
            for item in &mut kernel.items {
                if let Some(n) = item.get_mut(var).filter(|n| **n > 0) {
                    *n = turns as i32;
                }
            }
            kernel
        };
        let (shorter, longer) = (with(turns), with(more));
        if turns == 0 || turns >= more || !only_counts(kernel, var, turns) {
            return Ok([self.run(&shorter, options)?, self.run(&longer, options)?]);
        }
        let (costs, per_sm) = self.begin(&longer, options)?;
        self.launch.stop_at = turns;
        let stopped = self.go_on(&longer, &costs);
        self.launch.stop_at = u32::MAX;
        self.launch.stopped = false;
        let Some((agent, now)) = stopped else {
            let result = self.end(&longer, per_sm)?;
            return Ok([result, result]);
        };
        let common = self.clone();
        // Loops that have begun end sooner.
        let roles = kernel.roles.len();
        for (i, state) in self.launch.roles.iter_mut().enumerate() {
            for d in 0..usize::from(state.depth) {
                let before = usize::from(state.starts[d]).checked_sub(1);
                if let Some(Op::Loop(Trips::Work(v, _))) = before.and_then(|pc| kernel.roles[i % roles].ops.get(pc))
                    && usize::from(*v) == var
                {
                    state.trips[d] = turns;
                }
            }
        }
        self.advance(&shorter, &costs, agent, now);
        self.go_on(&shorter, &costs);
        let first = self.end(&shorter, per_sm)?;
        *self = common;
        self.advance(&longer, &costs, agent, now);
        self.go_on(&longer, &costs);
        Ok([first, self.end(&longer, per_sm)?])
    }
}

/// Whether a number of a kernel's items says how often loops turn, and nothing else.
fn only_counts(kernel: &Kernel, var: usize, turns: u32) -> bool {
    let placed = |e: &Expr| e.work.get(var).is_some_and(|&c| c != 0);
    kernel.roles.iter().flat_map(|r| &r.ops).all(|op| match op {
        Op::Copy { tile, .. } | Op::Store { tile, .. } | Op::PeerStore { tile, .. } => {
            !placed(&tile.row) && !placed(&tile.byte)
        }
        Op::Loop(Trips::Work(v, add)) => usize::from(*v) != var || *add == 0,
        // There or not, in both launches alike.
        Op::Loop(Trips::Once(v, add)) => usize::from(*v) != var || i64::from(*add) > -i64::from(turns),
        // These look ahead of the turn that they are in.
        Op::Loop(Trips::ExceptLast(_)) => false,
        _ => true,
    })
}
