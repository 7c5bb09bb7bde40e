//! Issue: lanes that roles share, and matrix instructions.

use banksia_sim::Time;

use super::super::power::width_factor;
use super::clock::TENSOR_HOLD_FS;
use super::{Gpu, Product, RoleState};

/// On whose behalf the synchronous matrix path takes issue slots: nobody waits for their end.
const NOBODY: u32 = u32::MAX;

impl Gpu {
    /// Leaves a role to the lanes of its SM.
    pub(super) fn share_lanes(&mut self, sm: usize, agent: usize, now: u64, work: u64, floor: u64) {
        if let Some(next) = self.sms[sm].lanes.add(now, work, floor, agent as u32) {
            self.queue.push(Time::from_fs(next), (self.roles.len() + sm) as u32);
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
            self.queue.push(Time::from_fs(next), (self.roles.len() + sm) as u32);
        }
    }

    /// Issues a group of matrix instructions for a role; when the last of them begins, where the warps wait for that.
    pub(super) fn mma(&mut self, now: u64, sm: usize, warps: u32, product: &Product, state: &mut RoleState) -> u64 {
        let &Product { dtype, shape: [m, n, k], sync } = product;
        let t = &self.spec.tensor;
        let mut held = 0.0;
        let mut last = 0.0;
        let mut alone = 0.0;
        let rate = self.fma_rates[dtype as usize];
        let fma = f64::from(m) * f64::from(n) * f64::from(k);
        let weighted = fma * width_factor(dtype);
        let cycles = if let Some(others) = sync.or((!t.warpgroup).then_some(0.0)) {
            self.work.tensor_sync_weighted_fma += weighted;
            held = fma * f64::from(dtype.bytes()) / 4096.0 / 4.0 * t.sync_issue_cycles;
            self.work.issued_lanes += others * 32.0;
            let issue = if others > 0.0 { held + others / 4.0 * t.sync_beside_cycles } else { 0.0 };
            let all = (fma / (rate * t.sync_share)).max(issue);
            // Fewer than four warps leave sub-partitions to others.
            alone = all / (f64::from(warps.min(4)) / 4.0);
            all
        } else {
            self.work.tensor_weighted_fma += weighted;
            // m64nNkK instructions; K is 32 bytes.
            let depth = f64::from(32 / dtype.bytes());
            let instructions = (f64::from(m) / 64.0).ceil() * (f64::from(k) / depth).ceil();
            // A warpgroup holds 256 columns of an instruction at most.
            let wide = (f64::from(n) / 256.0).ceil();
            last = (64.0 * f64::from(n) / wide * depth / rate).max(t.min_instruction_cycles);
            // Operands come out of shared memory through the data path that `cp.async` fills it by.
            let bytes = instructions * wide * (64.0 + f64::from(n) / wide) * 32.0;
            let read = self.cycles(bytes / self.spec.sm.shared_bytes_per_cycle);
            self.sms[sm].lsu.serve(now, read);
            instructions * wide * last
        };
        self.work.tensor_fma += fma;
        let drain = t.drain_cycles;
        if now >= self.tensor_until {
            let clock = self.spec.power.tensor_clock_mhz.min(self.clock_limit_mhz).min(1e9 / self.period);
            self.period = 1e9 / clock;
        }
        self.tensor_until = now + TENSOR_HOLD_FS;
        let time = self.cycles(cycles);
        if last > 0.0 {
            self.epoch_tensor += time;
        } else {
            self.epoch_tensor_sync += time;
        }
        if held > 0.0 {
            let held = self.cycles(held);
            self.share_lanes(sm, NOBODY as usize, now, held, now);
        }
        // A role's own products follow one another.
        let begin = now.max(state.last_group().saturating_sub(self.cycles(drain)));
        let done = self.sms[sm].tensor.serve(now, time).max(begin + self.cycles(alone));
        state.issue(done + self.cycles(drain));
        if last > 0.0 { done - self.cycles(last) } else { 0 }
    }
}
