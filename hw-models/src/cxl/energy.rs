//! Energy of a device for a token in one block: its DRAM, controllers, buffers and units.

use super::accounting::Accounting;
use super::file::{CommandUse, CxlMachine};
use super::units::UnitsWork;
use crate::dram::Device;
use crate::pim::IsaOutcome;

/// What the channels of a device did.
#[derive(Debug, Clone, PartialEq)]
pub struct PimRun {
    /// Seconds until everything was done.
    pub seconds: f64,
    /// Issues of each of the DRAM's commands, over all channels.
    pub counts: Vec<u64>,
    /// Seconds with rows open and with none, summed over channels.
    pub active_s: f64,
    /// See `active_s`.
    pub precharged_s: f64,
    /// Instructions that the device took in.
    pub instructions: u64,
    /// Channels.
    pub channels: u32,
}

impl PimRun {
    /// Of an outcome.
    pub fn new(outcome: &IsaOutcome, device: &Device, instructions: u64) -> Self {
        let cycle = device.clock_fs as f64 * 1e-15;
        let channels = outcome.channels.iter().map(|c| c.members.len()).sum();
        let all = outcome.cycles * outcome.standby_nodes;
        Self {
            seconds: outcome.cycles as f64 * cycle,
            counts: outcome.counts.clone(),
            active_s: outcome.active_cycles as f64 * cycle,
            precharged_s: all.saturating_sub(outcome.active_cycles) as f64 * cycle,
            instructions,
            channels,
        }
    }
}

/// Joules by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EnergyBreakdown {
    /// Rows opened and closed.
    pub activate_j: f64,
    /// Accesses to columns, in and out of banks.
    pub access_j: f64,
    /// Accesses of all banks with their multipliers.
    pub internal_j: f64,
    /// The DRAM standing by.
    pub standby_j: f64,
    /// Its pins.
    pub pins_j: f64,
    /// Its controllers.
    pub controllers_j: f64,
    /// Buffers.
    pub buffers_j: f64,
    /// Near-memory units, their control and cores.
    pub units_j: f64,
    /// Links.
    pub links_j: f64,
}

impl EnergyBreakdown {
    /// All of it.
    pub fn total_j(&self) -> f64 {
        self.parts().into_iter().sum()
    }

    /// Its parts, in the order of the fields.
    pub fn parts(&self) -> [f64; 9] {
        [
            self.activate_j,
            self.access_j,
            self.internal_j,
            self.standby_j,
            self.pins_j,
            self.controllers_j,
            self.buffers_j,
            self.units_j,
            self.links_j,
        ]
    }

    /// So many times this, and another.
    #[must_use]
    pub fn times_plus(&self, times: f64, other: &Self) -> Self {
        Self {
            activate_j: self.activate_j * times + other.activate_j,
            access_j: self.access_j * times + other.access_j,
            internal_j: self.internal_j * times + other.internal_j,
            standby_j: self.standby_j * times + other.standby_j,
            pins_j: self.pins_j * times + other.pins_j,
            controllers_j: self.controllers_j * times + other.controllers_j,
            buffers_j: self.buffers_j * times + other.buffers_j,
            units_j: self.units_j * times + other.units_j,
            links_j: self.links_j * times + other.links_j,
        }
    }
}

/// Sums of what commands do.
fn used(counts: &[u64], uses: &[CommandUse]) -> CommandUse {
    let mut sum = CommandUse::default();
    for (n, u) in counts.iter().zip(uses) {
        let n = *n as f64;
        sum.activates += n * u.activates;
        sum.reads += n * u.reads;
        sum.writes += n * u.writes;
        sum.internal += n * u.internal;
        sum.pins += n * u.pins;
        sum.buffer_reads += n * u.buffer_reads;
        sum.buffer_writes += n * u.buffer_writes;
    }
    sum
}

/// Energy of a device for a token in one block, without its links; it stands by for `standing_s` from the block's beginning to its end.
///
/// The artifact divides standby by the channels once more than it has summed over them, so that all of a device stands by with the energy of one
/// channel; and a device stands by no longer than its channels run.
pub fn device_energy(
    machine: &CxlMachine,
    device: &Device,
    uses: &[CommandUse],
    run: &PimRun,
    work: &UnitsWork,
    standing_s: f64,
    accounting: Accounting,
) -> EnergyBreakdown {
    const MILLI: f64 = 1e-3;
    let (dram, buffers, units) = (&machine.power.dram, &machine.power.buffers, &machine.power.units);
    let sum = used(&run.counts, uses);
    let cycle_s = 1e-6 / machine.units.clock_mhz;
    let channels = f64::from(run.channels);
    let idle = accounting.either(0.0, (standing_s - run.seconds).max(0.0) * channels);
    let shared = accounting.either(1.0 / channels, 1.0);
    let standing = accounting.either(run.seconds, standing_s);
    let bits = f64::from(device.access_bytes) * 8.0;
    let commands: u64 = run.counts.iter().sum();
    // Everything but opening, closing, refreshing and changing mode moves a column.
    let accesses: u64 = run
        .counts
        .iter()
        .zip(uses)
        .filter(|(_, u)| u.reads + u.writes + u.internal + u.pins > 0.0)
        .map(|(n, _)| *n)
        .sum();
    let lanes = f64::from(machine.units.lanes);
    let (norms, heads) = (f64::from(work.norms), work.heads as f64);
    let sums = work.partial_sums as f64 / lanes;
    let scores = work.scores as f64 / lanes;
    let rotated = work.rotated as f64;
    // A norm: its sums, one reduction, one core. Softmax: exponentials and sums, a reduction and a core a head. Positions: a core an element.
    let shared_reads = norms * (sums + 2.0) * 2.0 + scores * 3.0 + heads * 2.0 + rotated / lanes;
    let shared_writes = norms * (sums + 2.0) + scores * 2.0 + heads * 2.0 + rotated / lanes * 2.0;
    let instructions = run.instructions as f64 + norms * (sums + 2.0) + scores * 2.0 + heads * 2.0 + rotated;
    let cores = f64::from(machine.units.cores);
    // A core works through one head's softmax by itself.
    let softmax = work.column_elements as f64 * f64::from(machine.units.buffer_write_cycles)
        + f64::from(machine.units.softmax_core_cycles)
        + f64::from(machine.units.buffer_read_cycles);
    let core_cycles = norms * f64::from(machine.units.norm_core_cycles)
        + heads * softmax
        + rotated * f64::from(machine.units.rotary_core_cycles) / accounting.either(cores, 1.0);
    let count = f64::from(machine.units.count);
    let statics = count * (units.reduction_static_mw + units.exponential_static_mw + units.adder_static_mw);
    let control = units.control_activity * (units.control_static_mw + units.control_dynamic_mw);
    EnergyBreakdown {
        activate_j: dram.activate_mw * MILLI * sum.activates * dram.activate_ns * 1e-9,
        access_j: (dram.read_mw * sum.reads + dram.write_mw * sum.writes) * MILLI * dram.burst_ns * 1e-9,
        internal_j: dram.internal_factor * dram.read_mw * MILLI * sum.internal * dram.internal_burst_ns * 1e-9,
        standby_j: (dram.active_standby_mw * run.active_s * shared
            + dram.precharged_standby_mw * (run.precharged_s * shared + idle))
            * MILLI,
        pins_j: dram.pin_pj_per_bit * bits * sum.pins * 1e-12,
        controllers_j: (dram.transaction_mw * accesses as f64 + dram.physical_mw * commands as f64) * MILLI
            / dram.channels_per_controller
            * cycle_s,
        buffers_j: (buffers.global_static_mw * channels + buffers.shared_static_mw + buffers.instruction_static_mw)
            * MILLI
            * standing
            + (buffers.global_read_mw * sum.buffer_reads
                + buffers.global_write_mw * sum.buffer_writes
                + buffers.shared_read_mw * shared_reads
                + buffers.shared_write_mw * shared_writes
                + buffers.instruction_read_mw * instructions)
                * MILLI
                * cycle_s,
        units_j: (statics + control) * MILLI * standing
            + (units.core_mw * core_cycles
                + units.reduction_dynamic_mw * (norms + heads)
                + units.exponential_dynamic_mw * scores
                + units.adder_dynamic_mw * (norms * sums + scores))
                * MILLI
                * cycle_s,
        links_j: 0.0,
    }
}
