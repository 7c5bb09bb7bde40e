//! Issue: lanes that roles share, and matrix instructions.

use banksia_sim::Time;

use super::super::power::width_factor;
use super::state::TENSOR_HOLD_FS;
use super::{Gpu, Product, ProductCost, RoleState};

/// On whose behalf the synchronous matrix path takes issue slots: nobody waits for their end.
const NOBODY: u32 = u32::MAX;

impl Gpu {
    /// Leaves a role to the lanes of its SM.
    pub(super) fn share_lanes(&mut self, sm: usize, agent: usize, now: u64, work: u64, floor: u64) {
        if let Some(next) = self.sms[sm].lanes.add(now, work, floor, agent as u32) {
            self.queue.push(Time::from_fs(next), (self.agents + sm) as u32);
        }
    }

    pub(super) fn lanes_done(&mut self, sm: usize, now: u64) {
        let queue = &mut self.queue;
        let mut go_on = |at, agent| {
            if agent != NOBODY {
                queue.push(Time::from_fs(at), agent);
            }
        };
        if let Some(next) = self.sms[sm].lanes.take(now, &mut go_on) {
            self.queue.push(Time::from_fs(next), (self.agents + sm) as u32);
        }
    }

    /// What a group of matrix instructions of a role of so many warps takes.
    pub(super) fn product_cost(&self, warps: u32, product: &Product) -> ProductCost {
        let &Product { dtype, shape: [m, n, k], sync } = product;
        let t = &self.spec.tensor;
        let rate = self.fma_rates[dtype as usize];
        let fma = f64::from(m) * f64::from(n) * f64::from(k);
        let mut cost = ProductCost { fma, weighted_fma: fma * width_factor(dtype), ..ProductCost::default() };
        if let Some(others) = sync.or((!t.warpgroup).then_some(0.0)) {
            cost.held = fma * (f64::from(dtype.bits()) / 8.0) / 4096.0 / 4.0 * t.sync_issue_cycles;
            cost.other_lanes = others * 32.0;
            let issue = if others > 0.0 { cost.held + others / 4.0 * t.sync_beside_cycles } else { 0.0 };
            cost.cycles = (fma / (rate * t.sync_share)).max(issue);
            // Fewer than four warps leave sub-partitions to others.
            cost.alone = cost.cycles / (f64::from(warps.min(4)) / 4.0);
        } else {
            // m64nNkK instructions; K is 32 bytes. With a memory for its sums (`tcgen05.mma`) one has 128 rows.
            let height = if t.memory_bytes > 0 && m >= 128 { 128.0 } else { 64.0 };
            let depth = f64::from(dtype.elements_in(32));
            let instructions = (f64::from(m) / height).ceil() * (f64::from(k) / depth).ceil();
            // A warpgroup holds 256 columns of an instruction at most.
            let wide = (f64::from(n) / 256.0).ceil();
            cost.last = (height * f64::from(n) / wide * depth / rate).max(t.min_instruction_cycles * height / 64.0);
            // Operands come out of shared memory through the data path that `cp.async` fills it by.
            let bytes = instructions * wide * (height + f64::from(n) / wide) * 32.0;
            cost.operands = bytes / self.spec.sm.shared_bytes_per_cycle;
            cost.cycles = instructions * wide * cost.last;
        }
        cost
    }

    /// Issues a group of matrix instructions for a role; when the last of them begins, where the warps wait for that.
    pub(super) fn mma(&mut self, now: u64, sm: usize, cost: &ProductCost, state: &mut RoleState) -> u64 {
        let by_groups = cost.last > 0.0;
        if by_groups {
            self.launch.work.tensor_weighted_fma += cost.weighted_fma;
            let read = self.cycles(cost.operands);
            self.sms[sm].lsu.serve(now, read);
        } else {
            self.launch.work.tensor_sync_weighted_fma += cost.weighted_fma;
            self.launch.work.issued_lanes += cost.other_lanes;
        }
        self.launch.work.tensor_fma += cost.fma;
        let drain = self.spec.tensor.drain_cycles;
        if now >= self.clock.tensor_until {
            let clock = self.spec.power.tensor_clock_mhz.min(self.clock.clock_limit_mhz).min(1e9 / self.clock.period);
            self.run_at(clock);
        }
        self.clock.tensor_until = now + TENSOR_HOLD_FS;
        let time = self.cycles(cost.cycles);
        if by_groups {
            self.clock.epoch_tensor += time;
        } else {
            self.clock.epoch_tensor_sync += time;
        }
        if cost.held > 0.0 {
            let held = self.cycles(cost.held);
            self.share_lanes(sm, NOBODY as usize, now, held, now);
        }
        // A role's own products follow one another.
        let drain = self.cycles(drain);
        let begin = now.max(state.last_group().saturating_sub(drain));
        let done = self.sms[sm].tensor.serve(now, time).max(begin + self.cycles(cost.alone));
        state.issue(done + drain);
        if by_groups { done - self.cycles(cost.last) } else { 0 }
    }
}
