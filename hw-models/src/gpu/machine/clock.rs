//! The clock that follows the load, and the result of a launch.

use super::super::launch::{KernelResult, Progress};
use super::super::power::energy;
use super::Gpu;
use super::state::EPOCH_FS;

impl Gpu {
    /// Sets the clock of the SMs and of the crossbar's ports.
    pub(super) fn run_at(&mut self, mhz: f64) {
        self.clock.period = 1e9 / mhz;
        self.memory.slow(self.spec.sm_clock_mhz / mhz);
    }

    /// Lets the clock follow what the last epoch did.
    pub(super) fn epoch(&mut self, now: u64) {
        let p = &self.spec.power;
        let length = (now - (self.clock.epoch_end - EPOCH_FS)) as f64;
        self.clock.clock_sum += length * 1e9 / self.clock.period;
        self.clock.clock_fs += now - (self.clock.epoch_end - EPOCH_FS);
        let mut clock = self.spec.sm_clock_mhz;
        if now < self.clock.tensor_until {
            let share = |busy: u64| (busy as f64 / length / self.sms.len() as f64).min(1.0);
            let (groups, sync) = (share(self.clock.epoch_tensor), share(self.clock.epoch_tensor_sync));
            let bytes = self.memory.traffic.crossbar_read_bytes - self.clock.epoch_bytes;
            let tb_s = bytes as f64 / length * 1e3;
            let droop = groups * p.tensor_droop_mhz + sync * p.tensor_sync_droop_mhz;
            clock = p.tensor_clock_mhz.min(clock) - droop - (groups + sync) * p.tensor_droop_mhz_per_tb_s * tb_s;
        }
        let clock = clock.min(self.clock.clock_limit_mhz).max(p.min_clock_mhz);
        self.run_at(clock);
        self.clock.epoch_tensor = 0;
        self.clock.epoch_tensor_sync = 0;
        self.clock.epoch_bytes = self.memory.traffic.crossbar_read_bytes;
        self.clock.epoch_end = now + EPOCH_FS;
    }

    /// The average clock of the SMs until `end`.
    pub(super) fn average_clock_mhz(&mut self, end: u64) -> f64 {
        let tail = end.saturating_sub(self.clock.epoch_end - EPOCH_FS);
        self.clock.clock_sum += tail as f64 * 1e9 / self.clock.period;
        self.clock.clock_fs += tail;
        if self.clock.clock_fs > 0 {
            self.clock.clock_sum / self.clock.clock_fs as f64
        } else {
            1e9 / self.clock.period
        }
    }

    pub(super) fn result(&mut self, per_sm: u32) -> KernelResult {
        // What the channels still owe, the next kernel would wait for.
        let end = self.launch.end.max(self.memory.dram_drained()).max(1);
        let clock_mhz = self.average_clock_mhz(end);
        self.memory.traffic.l2_read_bytes += self.spec.launch.front_end_l2_bytes;
        let span_s = end as f64 * 1e-15;
        let latency_s = span_s + (self.spec.launch.graph_gap_us * 1e3 + self.spec.launch.flush_ns) * 1e-9;
        let (l2, dram) = self.memory.busy();
        let tensor: u64 = self.sms.iter().map(|s| s.tensor.busy).sum();
        let sms = self.sms.len() as f64;
        let progress = (self.launch.marks.1 <= self.launch.items_end).then(|| {
            self.launch.marked.map(|(at, traffic, work)| Progress {
                at_s: at as f64 * 1e-15,
                energy: energy(&self.spec, &work, &traffic, 0.0, clock_mhz),
                traffic,
                work,
            })
        });
        KernelResult {
            span_s,
            latency_s,
            traffic: self.memory.traffic,
            work: self.launch.work,
            energy: energy(&self.spec, &self.launch.work, &self.memory.traffic, latency_s, clock_mhz),
            clock_mhz,
            ctas_per_sm: per_sm,
            tensor_busy: tensor as f64 / end as f64 / sms,
            l2_busy: l2 as f64 / end as f64,
            dram_busy: dram as f64 / end as f64,
            occupancy: self.launch.warp_time / end as f64 / sms / (f64::from(self.spec.sm.max_threads) / 32.0),
            steps: self.launch.steps,
            continued: false,
            progress,
        }
    }
}
