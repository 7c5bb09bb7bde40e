//! Bookkeeping of a PIM run: who did what, for how long, and at what cost. Counts are integers until the very end.

use std::collections::BTreeMap;
use std::sync::Arc;

use banksia_sim::{Elapsed, Time};

use super::config::PimMachine;
use super::group::{ChannelTotals, Group};
use super::{PimChannel, config};
use crate::dram::{Cycle, DataDirection, Device};
use crate::outcome::{ComponentOutcome, WorkedOut};
use crate::program::{Program, VectorFunction};
use crate::system::{Books, OperatorBooks};

#[derive(Debug, Clone, Copy, Default)]
struct VectorTotals {
    cycles: u64,
    read_bytes: u64,
    write_bytes: u64,
}

#[derive(Debug, Clone, Default)]
struct OperatorTotals {
    name: String,
    busy: Elapsed,
    counts: Vec<u64>,
    vector: VectorTotals,
}

/// The books of one run.
#[derive(Debug)]
pub(super) struct Account {
    machine: Arc<PimMachine>,
    operators: Vec<OperatorTotals>,
    by_name: BTreeMap<String, usize>,
    /// From the operators of the program in hand to those of the run.
    map: Vec<usize>,
    before: Vec<u64>,
    channels: Vec<ChannelTotals>,
    vector: VectorTotals,
    commands_stepped: u64,
    epoch: Elapsed,
}

impl Account {
    pub(super) fn new(machine: Arc<PimMachine>) -> Self {
        let commands = machine.device.commands.len();
        let totals = ChannelTotals { counts: vec![0; commands], ..ChannelTotals::default() };
        Self {
            channels: vec![totals; machine.channels() as usize],
            machine,
            operators: Vec::new(),
            by_name: BTreeMap::new(),
            map: Vec::new(),
            before: Vec::new(),
            vector: VectorTotals::default(),
            commands_stepped: 0,
            epoch: Elapsed::ZERO,
        }
    }

    pub(super) fn begin_step(&mut self, program: &Program) {
        self.map.clear();
        for operator in &program.operators {
            let index = *self.by_name.entry(operator.name.clone()).or_insert_with(|| {
                self.operators.push(OperatorTotals {
                    name: operator.name.clone(),
                    counts: vec![0; self.machine.device.commands.len()],
                    ..OperatorTotals::default()
                });
                self.operators.len() - 1
            });
            self.map.push(index);
        }
    }

    /// A channel is about to run a block.
    pub(super) fn before(&mut self, channel: &PimChannel) {
        self.before.clear();
        self.before.extend_from_slice(channel.dram().counts());
        self.commands_stepped = self.commands_stepped.wrapping_sub(channel.stepped());
    }

    /// The channel has run the block, for `members` channels alike.
    pub(super) fn after(&mut self, operator: u32, channel: &PimChannel, members: u32, busy: Time) {
        let totals = &mut self.operators[self.map[operator as usize]];
        let counts = channel.dram().counts();
        for (total, (now, before)) in totals.counts.iter_mut().zip(counts.iter().zip(&self.before)) {
            *total += (now - before) * u64::from(members);
        }
        totals.busy.add_times(busy, u64::from(members));
        self.commands_stepped = self.commands_stepped.wrapping_add(channel.stepped());
    }

    /// The channels have run a block, with so many issues of each command, and been busy so long, all of them together.
    pub(super) fn block(&mut self, operator: u32, counts: &[u64], busy: Elapsed) {
        let totals = &mut self.operators[self.map[operator as usize]];
        for (total, n) in totals.counts.iter_mut().zip(counts) {
            *total += n;
        }
        totals.busy = totals.busy.and(busy);
        self.commands_stepped += counts.iter().sum::<u64>();
    }

    /// Cycles of the memory.
    pub(super) fn memory_time(&self, cycles: Cycle) -> Elapsed {
        elapsed(&self.machine.memory_clock, cycles)
    }

    /// Books what a channel that runs blocks has done from the beginning.
    pub(super) fn set(&mut self, channel: u32, totals: ChannelTotals) {
        self.channels[channel as usize] = totals;
    }

    /// The vector unit runs a function.
    pub(super) fn vector(&mut self, operator: u32, function: &VectorFunction, cycles: u64, busy: Time) {
        let totals = &mut self.operators[self.map[operator as usize]];
        totals.busy.add(busy);
        let read: u64 = function.phases.iter().map(|p| p.read_bytes).fold(0, u64::saturating_add);
        let write: u64 = function.phases.iter().map(|p| p.write_bytes).fold(0, u64::saturating_add);
        for v in [&mut totals.vector, &mut self.vector] {
            v.cycles += cycles;
            v.read_bytes = v.read_bytes.saturating_add(read);
            v.write_bytes = v.write_bytes.saturating_add(write);
        }
    }

    /// Books what a group has done since it was last flushed to each of its channels.
    pub(super) fn flush(&mut self, group: &mut Group, now: Cycle) {
        let totals = ChannelTotals::of(&group.channel, group.busy_cycles, now);
        for channel in group.members.iter() {
            self.channels[channel as usize].add_difference(&totals, &group.booked);
        }
        group.booked = totals;
    }

    /// Books what groups have done until the end of a step; energy of channels and vector unit until then.
    pub(super) fn end_step(&mut self, end: Time, end_cycle: Cycle, groups: &mut [Group]) -> f64 {
        for group in groups {
            self.flush(group, end_cycle);
        }
        self.memory_energy(end_cycle).values().sum::<f64>() + self.vector_energy(end)
    }

    pub(super) fn move_epoch(&mut self, by: Time) {
        self.epoch.add(by);
    }

    fn channel_energy(&self, totals: &ChannelTotals, end: Cycle) -> BTreeMap<String, f64> {
        let device = &self.machine.device;
        let standing = end * u64::from(device.levels[device.standby.0 as usize].nodes);
        // A refresh that began in the last step may close rows a few cycles past its end.
        device.energy.joules(&totals.counts, totals.active, standing.saturating_sub(totals.active))
    }

    fn memory_energy(&self, end: Cycle) -> BTreeMap<String, f64> {
        let mut parts = BTreeMap::new();
        for totals in &self.channels {
            for (part, joules) in self.channel_energy(totals, end) {
                *parts.entry(part).or_insert(0.0) += joules;
            }
        }
        parts
    }

    fn vector_active_energy(&self, cycles: u64) -> f64 {
        let period = self.machine.vector_clock.period_ps_f64() * 1e-12;
        let file: &config::VectorUnitFile = &self.machine.file.vector_unit;
        cycles as f64 * period * (file.active_mw - file.idle_mw) * 1e-3
    }

    /// Energy of the vector unit until `end`: its idle power throughout, and what working adds.
    fn vector_energy(&self, end: Time) -> f64 {
        self.vector_active_energy(self.vector.cycles) + self.vector_idle_energy(end)
    }

    fn vector_idle_energy(&self, end: Time) -> f64 {
        self.epoch.plus(end).as_secs_f64() * self.machine.file.vector_unit.idle_mw * 1e-3
    }

    /// What was done until the end.
    pub(super) fn books(&self, end: Time, end_cycle: Cycle) -> Books {
        let device = &*self.machine.device;
        let mut outcome = Books::default();
        let (mut accesses, mut misses, mut mac_slots) = (0, 0, 0);
        for (c, totals) in self.channels.iter().enumerate() {
            accesses += totals.accesses;
            misses += totals.misses;
            for (command, count) in device.commands.iter().zip(&totals.counts) {
                if *count > 0 {
                    *outcome.commands.entry(command.name.clone()).or_insert(0) += count;
                    mac_slots += count * u64::from(command.macs);
                }
            }
            outcome.components.push(ComponentOutcome {
                name: format!("channel {c}"),
                kind: "PIM channel".into(),
                busy: elapsed(&self.machine.memory_clock, totals.busy),
                energy_j: self.channel_energy(totals, end_cycle),
                traffic_bytes: memory_traffic(device, &totals.counts),
            });
        }
        let energy = BTreeMap::from([
            ("vector_unit".to_owned(), self.vector_active_energy(self.vector.cycles)),
            ("vector_unit_idle".to_owned(), self.vector_idle_energy(end)),
        ]);
        outcome.components.push(ComponentOutcome {
            name: "ASIC".into(),
            kind: "vector unit".into(),
            busy: elapsed(&self.machine.vector_clock, self.vector.cycles),
            energy_j: energy,
            traffic_bytes: vector_traffic(&self.vector),
        });
        let refresh = device.refresh.map(|r| r.command.0 as usize);
        for totals in &self.operators {
            let mut own = totals.counts.clone();
            // Refresh belongs to the time that passes, not to the operator that it interrupts.
            if let Some(refresh) = refresh {
                own[refresh] = 0;
            }
            let mut energy_j = device.energy.joules(&own, 0, 0);
            energy_j.remove("background");
            energy_j.insert("vector_unit".into(), self.vector_active_energy(totals.vector.cycles));
            let mut traffic_bytes = memory_traffic(device, &totals.counts);
            traffic_bytes.extend(vector_traffic(&totals.vector));
            outcome.operators.push(OperatorBooks {
                name: totals.name.clone(),
                busy: totals.busy,
                energy_j,
                traffic_bytes,
            });
        }
        outcome.counts = BTreeMap::from([("accesses", accesses), ("row_misses", misses), ("mac_slots", mac_slots)]);
        outcome.worked_out = Some(WorkedOut {
            what: "DRAM commands",
            total: outcome.commands.values().sum(),
            simulated: self.commands_stepped,
            ..WorkedOut::default()
        });
        outcome
    }
}

/// So many cycles of a clock.
fn elapsed(clock: &banksia_sim::Clock, cycles: u64) -> Elapsed {
    // In parts that 64 bits hold: edges at multiples of the denominator are exact.
    let (num, den) = clock.period_fs();
    let (whole, rest) = (cycles / den, cycles % den);
    let mut all = Elapsed::from(clock.edge(banksia_sim::Cycles(rest)));
    all.add_times(Time::from_fs(num), whole);
    all
}

/// Bytes by channel of traffic of some issues of each command.
fn memory_traffic(device: &Device, counts: &[u64]) -> BTreeMap<String, u64> {
    let mut traffic = BTreeMap::new();
    for (command, count) in device.commands.iter().zip(counts) {
        let pins = match command.data {
            DataDirection::Read => "pins_read",
            DataDirection::Write => "pins_write",
            DataDirection::None | DataDirection::Internal => "",
        };
        if !pins.is_empty() {
            *traffic.entry(pins.to_owned()).or_insert(0) += count * u64::from(command.pin_bytes);
        }
        if command.internal_bytes > 0 {
            *traffic.entry("bank_internal".to_owned()).or_insert(0) += count * u64::from(command.internal_bytes);
        }
    }
    traffic
}

fn vector_traffic(totals: &VectorTotals) -> BTreeMap<String, u64> {
    BTreeMap::from([
        ("vector_sram_read".to_owned(), totals.read_bytes),
        ("vector_sram_write".to_owned(), totals.write_bytes),
    ])
}
