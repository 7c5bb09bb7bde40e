//! PIM units that the host drives by ordinary accesses: Samsung's HBM-PIM and its published kernels.
//!
//! A kernel is a list of reads and writes of one pseudo-channel, in groups that a barrier ends; every pseudo-channel runs the same list at the
//! same time. The controller keeps to the order of groups; within a group it serves what is ready, opens what is wanted, and closes a row
//! as soon as the group wants it no more (SAITPublic/PIMSimulator, `CommandQueue.cpp`). Nothing but these rules and the device's timing rows
//! decides how long a kernel takes.

use std::collections::VecDeque;
use std::sync::Arc;

use banksia_input::InputError;

use super::isa::IsaOutcome;
use crate::dram::device::Roles;
use crate::dram::table::RawKernel;
use crate::dram::{Channel, Cycle, Device, NO_ROW, catalog};

/// One access of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access {
    write: bool,
    bank: u32,
    row: u32,
    column: u32,
    /// Nothing after it issues before it has.
    barrier: bool,
}

/// A kernel being put together.
#[derive(Debug, Clone)]
pub struct HostKernel {
    device: Arc<Device>,
    units: RawKernel,
    roles: Roles,
    accesses: Vec<Access>,
}

/// Accesses that the controller looks at.
const QUEUE: usize = 64;

impl HostKernel {
    /// A kernel of no access, for a device that has such units.
    ///
    /// # Errors
    /// It has none, or not the commands to drive them.
    pub fn new(name: &str, device: &Arc<Device>) -> Result<Self, InputError> {
        let fail = |problem: &str| InputError::new(format!("device {name}"), problem);
        let units = catalog::resolved(name)?
            .kernel
            .ok_or_else(|| fail("has no PIM units that ordinary accesses drive").key("kernel"))?;
        let roles = device.roles.ok_or_else(|| fail("has no activate, precharge, read and write"))?;
        let rows = [units.register_row, units.enter_row, units.leave_row, units.park_row];
        if rows.iter().any(|r| *r >= device.rows) {
            return Err(fail("has a reserved row beyond its last").key("kernel"));
        }
        if [units.channels, units.blocks, units.registers, units.lanes].contains(&0) || device.banks < 10 {
            return Err(fail("has none of some unit, or fewer than ten banks").key("kernel"));
        }
        Ok(Self { device: device.clone(), units, roles, accesses: Vec::new() })
    }

    /// Channels of the machine.
    pub fn channels(&self) -> u32 {
        self.units.channels
    }

    /// A matrix-vector product: tiles of `registers` outputs a block; for every `registers` x `lanes` inputs these are written to the
    /// registers and multiplied by as many columns, the even inputs' weights from the even bank, then the odd ones'.
    ///
    /// # Errors
    /// A side is nothing, or the weights do not fit.
    pub fn gemv(&mut self, outputs: u64, inputs: u64) -> Result<(), InputError> {
        let u = self.units;
        let fail = |problem: &str| InputError::new("--gemv", problem);
        if outputs == 0 || inputs == 0 {
            return Err(fail("has a side of 0"));
        }
        let (blocks, registers) = (u64::from(u.channels) * u64::from(u.blocks), u64::from(u.registers));
        let output_tiles = outputs.div_ceil(blocks * registers);
        let input_tiles = inputs.div_ceil(u64::from(u.lanes) * registers);
        let tile = registers * registers;
        let columns = output_tiles.checked_mul(input_tiles.div_ceil(2)).and_then(|n| n.checked_mul(tile));
        let capacity = u64::from(u.enter_row.min(u.leave_row).min(u.park_row)) * u64::from(self.device.columns);
        let Some(result) = columns.filter(|c| c + output_tiles * registers <= capacity) else {
            return Err(fail("does not fit in the rows below the reserved ones"));
        };
        self.enter(1);
        for output in 0..output_tiles {
            self.set_mode();
            for odd in 0..2u32 {
                for input in (u64::from(odd)..input_tiles).step_by(2) {
                    self.run(true, 1, u64::from(u.register_row) * u64::from(self.device.columns) + 8, registers);
                    let start = tile * (output * input_tiles.div_ceil(2) + input / 2);
                    for group in 0..registers {
                        self.run(false, odd, start + group * registers, registers);
                    }
                }
            }
            self.run(true, 1, result + output * registers, registers);
            self.set_mode();
        }
        self.leave();
        Ok(())
    }

    /// The sum of two vectors: a register file's worth of one is read in every bank, added to the other's, and written.
    ///
    /// # Errors
    /// There is nothing to add, or it does not fit.
    pub fn add(&mut self, elements: u64) -> Result<(), InputError> {
        let u = self.units;
        let registers = u64::from(u.registers);
        let at_once = u64::from(u.channels) * u64::from(self.device.banks) * registers * u64::from(u.lanes);
        let tiles = elements.div_ceil(at_once);
        let columns = u64::from(self.device.columns);
        let operand = (tiles * registers).div_ceil(columns) * columns;
        let capacity = u64::from(u.enter_row.min(u.leave_row).min(u.park_row)) * columns;
        if elements == 0 || operand.checked_mul(3).is_none_or(|n| n > capacity) {
            return Err(InputError::new("--add", "is nothing, or does not fit in the rows below the reserved ones"));
        }
        self.enter(1);
        self.set_mode();
        for tile in 0..tiles {
            for bank in 0..2 {
                self.run(false, bank, tile * registers, registers);
                self.run(false, bank, operand + tile * registers, registers);
                self.run(true, bank, 2 * operand + tile * registers, registers);
            }
        }
        self.set_mode();
        self.leave();
        Ok(())
    }

    /// Accesses of one bank from a column counted over its rows, and a barrier.
    fn run(&mut self, write: bool, bank: u32, start: u64, count: u64) {
        let columns = u64::from(self.device.columns);
        for at in start..start + count {
            self.push(write, bank, (at / columns) as u32, (at % columns) as u32);
        }
        self.barrier();
    }

    fn push(&mut self, write: bool, bank: u32, row: u32, column: u32) {
        self.accesses.push(Access { write, bank, row, column, barrier: false });
    }

    fn barrier(&mut self) {
        if let Some(last) = self.accesses.last_mut() {
            last.barrier = true;
        }
    }

    /// Every bank opens a row of memory.
    fn park(&mut self) {
        let groups = self.device.banks / 4;
        for bank in 0..4 {
            for group in 0..groups {
                self.push(false, group * 4 + bank, self.units.park_row, 0);
            }
        }
        self.barrier();
    }

    /// From single-bank to all-bank mode, and the program of the units.
    fn enter(&mut self, instructions: u32) {
        self.park();
        let last = self.device.columns - 1;
        for bank in [0, 1, 8, 9] {
            self.push(true, bank, self.units.enter_row, last);
        }
        self.barrier();
        for i in 0..instructions {
            self.push(true, 1, self.units.register_row, 4 + i);
        }
        self.barrier();
    }

    /// To PIM mode or back.
    fn set_mode(&mut self) {
        self.push(true, 0, self.units.register_row, 0);
        self.barrier();
    }

    /// Back to single-bank mode.
    fn leave(&mut self) {
        let last = self.device.columns - 1;
        self.push(true, 0, self.units.leave_row, last);
        self.push(true, 1, self.units.leave_row, last);
        self.barrier();
        self.park();
    }

    /// Runs the kernel. The first refresh falls due half an interval after its start.
    ///
    /// # Errors
    /// Refresh is asked for, and the device has none.
    pub fn execute(&self, refresh: bool) -> Result<IsaOutcome, InputError> {
        let device = &*self.device;
        let refresh = match (refresh, device.refresh) {
            (true, None) => {
                let problem = "has no refresh to issue: give [refresh], or switch refresh off";
                return Err(InputError::new(format!("device {}", device.name), problem));
            }
            (true, some) => some,
            (false, _) => None,
        };
        let mut channel = Channel::new(self.device.clone());
        let mut due = refresh.map_or(Cycle::MAX, |r| r.interval / 2);
        let mut queue: VecDeque<Access> = VecDeque::with_capacity(QUEUE);
        let mut coming = self.accesses.iter();
        let mut now: Cycle = 0;
        let mut done: Cycle = 0;
        loop {
            while queue.len() < QUEUE {
                let Some(access) = coming.next() else { break };
                queue.push_back(*access);
            }
            if queue.is_empty() {
                break;
            }
            now = match refresh.filter(|_| due <= now) {
                Some(r) => {
                    due += r.interval;
                    self.refresh(&mut channel, r.command, now)
                }
                None => self.step(&mut channel, &mut queue, now, &mut done),
            };
        }
        let cycles = done.max(now);
        let per_channel = channel.counts().iter();
        let channels = u64::from(self.units.channels);
        Ok(IsaOutcome {
            cycles,
            counts: per_channel.map(|n| n * channels).collect(),
            active_cycles: channel.active_cycles(cycles) * channels,
            standby_nodes: channel.standby_nodes() * channels,
        })
    }

    fn refresh(&self, channel: &mut Channel, command: crate::dram::CommandId, now: Cycle) -> Cycle {
        let mut at = now;
        if !channel.state_allows(command, 0, NO_ROW) {
            at = channel.earliest(self.roles.precharge_all, 0).max(at);
            channel.issue(self.roles.precharge_all, 0, NO_ROW, at);
        }
        at = channel.earliest(command, 0).max(at);
        channel.issue(command, 0, NO_ROW, at);
        at + 1
    }

    /// Issues the next command at the first cycle from `now` on at which one is ready. Returns the cycle after it.
    fn step(&self, channel: &mut Channel, queue: &mut VecDeque<Access>, now: Cycle, done: &mut Cycle) -> Cycle {
        let group = queue.iter().position(|a| a.barrier).unwrap_or(queue.len() - 1);
        let access = |a: &Access| if a.write { self.roles.write } else { self.roles.read };
        // An access that is ready goes before an activation, and that before a precharge; of the first of each kind the earliest.
        let mut best: Option<(Cycle, u8, usize)> = None;
        let mut offer = |at: Cycle, kind: u8, which: usize| {
            let found = (at.max(now), kind, which);
            if best.is_none_or(|b| found < b) {
                best = Some(found);
            }
        };
        for (i, a) in queue.iter().enumerate().take(group + 1) {
            // The one that the barrier stands behind waits for the rest of its group.
            if channel.open_row(a.bank) == a.row && (i == 0 || !a.barrier) {
                offer(channel.earliest(access(a), a.bank), 0, i);
            } else if channel.open_row(a.bank) == NO_ROW {
                offer(channel.earliest(self.roles.activate, a.bank), 1, i);
            }
        }
        for bank in 0..self.device.banks {
            let row = channel.open_row(bank);
            if row != NO_ROW && !queue.iter().take(group + 1).any(|a| a.bank == bank && a.row == row) {
                offer(channel.earliest(self.roles.precharge, bank), 2, bank as usize);
            }
        }
        let Some((at, kind, which)) = best else { return now + 1 };
        match kind {
            0 => {
                let Some(a) = queue.remove(which) else { return now + 1 };
                channel.issue(access(&a), a.bank, a.row, at);
                *done = (*done).max(at + self.device.spec(access(&a)).latency);
            }
            1 => channel.issue(self.roles.activate, queue[which].bank, queue[which].row, at),
            _ => channel.issue(self.roles.precharge, which as u32, NO_ROW, at),
        }
        at + 1
    }
}
