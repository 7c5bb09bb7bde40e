//! What the GPU's memory takes from a compiled DRAM device: organisation and times of one pseudo-channel.

use crate::dram::device::LevelId;
use crate::dram::{CommandId, Device};

/// Organisation and timings of one pseudo-channel (or of a channel without such), in femtoseconds and accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DramTimings {
    /// Pins.
    pub pins: u32,
    /// Bytes of one access (a burst).
    pub access_bytes: u32,
    /// Bytes of a row.
    pub row_bytes: u64,
    /// Banks, banks of one bank group, banks of one stack (all, where there are no stacks).
    pub banks: u32,
    /// Banks of a bank group.
    pub group_banks: u32,
    /// Banks of a stack.
    pub stack_banks: u32,
    /// Command clocks between accesses of different bank groups (`tCCD_S`).
    pub short_ticks: u64,
    /// The same within a bank group (`tCCD_L`).
    pub long_ticks: u64,
    /// The same between stacks (`tCCD_R`).
    pub stack_ticks: u64,
    /// Activation to first column (`tRCD`).
    pub column_fs: u64,
    /// Activation to activation of a bank (`tRC`).
    pub row_cycle_fs: u64,
    /// Last read to the bank's next activation (`tRTP + tRP`).
    pub close_fs: u64,
    /// Between activations in the long run: the longer of `tRRD_S` and a quarter of `tFAW`.
    pub activate_fs: u64,
    /// A refresh holds its bank, or the channel, so long.
    pub refresh_fs: u64,
    /// And comes so often.
    pub refresh_every_fs: u64,
    /// What a bank's refresh takes of the time for activations: how much further apart are those before and after it.
    pub refresh_slot_fs: u64,
    /// All banks are refreshed together; otherwise they take turns.
    pub refresh_all: bool,
    /// Read to write command and write to read command of one bank group.
    pub turnaround_fs: u64,
}

/// The longest wait between two commands at a level, in ticks: from the last of them, or within a window of some.
fn wait(d: &Device, level: usize, from: CommandId, to: CommandId, window: bool, sibling: bool) -> u64 {
    d.timing
        .iter()
        .filter(|r| r.level == LevelId(level as u8) && r.from == from && r.to == to)
        .filter(|r| (r.window > 1) == window && r.sibling == sibling)
        .map(|r| r.cycles)
        .max()
        .unwrap_or(0)
}

impl DramTimings {
    /// Reads a device's timing rows; nothing if the device lacks the commands that a controller needs. Banks are refreshed one by
    /// one where the device can do that, unless `all_banks` says otherwise.
    pub fn of(d: &Device, all_banks: bool) -> Option<Self> {
        let roles = d.roles?;
        let bank = d.levels.len() - 1;
        let level = |name: &str| d.levels.iter().position(|l| l.name == name);
        let channel = level("pseudochannel").unwrap_or(0);
        let group = level("bankgroup").unwrap_or(bank);
        let stack = level("sid").unwrap_or(channel);
        let (act, rd, wr, pre) = (roles.activate, roles.read, roles.write, roles.precharge);
        let fs = |ticks: u64| ticks * d.clock_fs;
        let outside = |from, to| (0..group).map(|l| wait(d, l, from, to, false, false)).max().unwrap_or(0);
        let short = outside(rd, rd).max(1);
        let faw = (0..=channel).map(|l| wait(d, l, act, act, true, false)).max().unwrap_or(0);
        let by_bank = roles.refresh_bank.filter(|_| !all_banks || d.refresh.is_none());
        let (refresh, every, slot, all) = match (by_bank, d.refresh) {
            (Some((c, interval)), _) => {
                // Between two activations, which would be so far apart anyway.
                let slot = (outside(c, act) + outside(act, c)).saturating_sub(outside(act, act).max(faw / 4));
                (wait(d, bank, c, act, false, false), interval, slot, false)
            }
            (None, Some(r)) => {
                let longest = (0..=bank).map(|l| wait(d, l, r.command, act, false, false)).max().unwrap_or(0);
                (longest, r.interval, 0, true)
            }
            (None, None) => (0, 0, 0, true),
        };
        Some(Self {
            pins: d.data_pins / d.levels[channel].nodes.max(1),
            access_bytes: d.access_bytes,
            row_bytes: d.row_bytes(),
            banks: d.levels[channel].banks,
            group_banks: d.levels[group].banks,
            stack_banks: d.levels[stack].banks,
            short_ticks: short,
            long_ticks: wait(d, group, rd, rd, false, false).max(short),
            stack_ticks: wait(d, stack, rd, rd, false, true).max(short),
            column_fs: fs(wait(d, bank, act, rd, false, false)),
            row_cycle_fs: fs(wait(d, bank, act, act, false, false)),
            close_fs: fs(wait(d, bank, rd, pre, false, false) + wait(d, bank, pre, act, false, false)),
            activate_fs: fs(outside(act, act)).max(fs(faw) / 4),
            refresh_fs: fs(refresh),
            refresh_every_fs: fs(every),
            refresh_slot_fs: fs(slot),
            refresh_all: all,
            turnaround_fs: fs(outside(rd, wr) + outside(wr, rd).max(wait(d, group, wr, rd, false, false))),
        })
    }
}
