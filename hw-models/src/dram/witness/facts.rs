//! What the witness knows of a device: physics by the standards' names, and no timing row.

use super::super::Cycle;
use super::super::device::{Command, CommandId, DataDirection, Device, Effect, LevelId, Needs};
use super::law::{HALF, WHOLE, sleeps};

/// A burst of a command: when it begins after the command, how long the pins carry it, which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BurstOf {
    pub lead: Cycle,
    pub length: Cycle,
    pub write: bool,
}

/// What a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub effect: Effect,
    /// It reads or writes a column of an open row.
    pub column: Option<Column>,
    /// Ticks from its first to the end of its last on the bus.
    pub bus: Cycle,
    /// Banks of one node of its scope.
    pub banks: u32,
    /// How many nodes, how far apart.
    pub count: u32,
    pub apart: u32,
    /// Banks from the first that it acts on to the last.
    pub reach: u32,
    /// The row buffers of its banks that it acts on, by bit.
    pub row_buffers: u8,
    /// It acts on banks at all (register accesses do not).
    pub touches: bool,
    pub burst: Option<BurstOf>,
    /// Ticks of a refresh.
    pub refresh: Cycle,
    /// How much of a bank's share in tREFI a refresh is worth, of [`WHOLE`].
    pub share: u32,
    /// Ticks of the precharge that it starts.
    pub precharge: Cycle,
}

/// A column access, as far as the row is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Read,
    Write,
}

/// A device's physics, in ticks.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub commands: Vec<Entry>,
    /// Banks of one set of data pins, of a rank, of a stack id, of what sleeps together.
    pub pin_banks: u32,
    pub rank_banks: u32,
    pub stack_banks: u32,
    pub rest_banks: u32,
    /// A clock.
    pub clock: Cycle,
    /// From a read of one stack id to that of another.
    pub stack_gap: Cycle,
    /// tRAS, tRCD of reads and writes, read to precharge, end of write data to precharge.
    pub restore: Cycle,
    /// From an activation to the next where the device precharges by itself, once the row is restored: tRAS + tRP, or a clock less where
    /// tRC is rounded to less than both together.
    pub row_cycle: Cycle,
    pub to_read: Cycle,
    pub to_write: Cycle,
    pub read_to_precharge: Cycle,
    pub recovery: Cycle,
    /// From waking to the next command: of power-down, of self-refresh.
    pub wake: Cycle,
    pub wake_refresh: Cycle,
    /// The refresh command, and tREFI.
    pub interval: Option<(CommandId, Cycle)>,
    /// How many refreshes may be late or early.
    pub allowance: u32,
    pub unjudged: Vec<String>,
}

impl Facts {
    pub(super) fn new(device: &Device) -> Self {
        let mut unjudged = Vec::new();
        let ticks = Cycle::from(device.ticks_per_clock);
        let mut named = |names: &[&str], what: &str| -> Cycle {
            match names.iter().find_map(|n| device.timing(n)) {
                Some(clocks) => clocks as Cycle * ticks,
                None => {
                    unjudged.push(format!("{what}: no {}", names.join(" or ")));
                    0
                }
            }
        };
        let restore = named(&["nRAS"], "restoring an opened row");
        let to_read = named(&["nRCDRD", "nRCD"], "opening a row to read");
        let to_write = named(&["nRCDWR", "nRCD"], "opening a row to write");
        let read_to_precharge = named(&["nRTP", "nRTPSB", "nRTPL"], "reading before a precharge");
        let recovery = named(&["nWR"], "restoring what was written");
        let precharge = named(&["nRP"], "precharging a bank");
        let interval = device.refresh.map(|r| (r.command, named(&["nREFI"], "the interval of refreshes")));
        let can_sleep = device.commands.iter().any(|c| sleeps(c.effect));
        let (wake, wake_refresh) = match can_sleep {
            true => (named(&["nXP"], "waking from power-down"), named(&["nXS"], "waking from self-refresh")),
            false => (0, 0),
        };
        // Optional names: what has none is as the general one.
        let optional = |names: &[&str]| names.iter().find_map(|n| device.timing(n)).map(|c| c as Cycle * ticks);
        let precharge_all = optional(&["nRPab"]).unwrap_or(precharge);
        let row_cycle = restore + precharge;
        let row_cycle = optional(&["nRC"]).map_or(row_cycle, |rc| rc.clamp(row_cycle.saturating_sub(ticks), row_cycle));
        let level_banks = |name: &str| device.levels.iter().find(|l| l.name == name).map(|l| l.banks);
        let whole = device.banks.max(1);
        let mut commands = Vec::with_capacity(device.commands.len());
        for (i, spec) in device.commands.iter().enumerate() {
            let id = CommandId(i as u8);
            let (count, apart) = device.spread(id);
            let banks = device.levels[spec.scope.0 as usize].banks;
            let touches = touches(spec);
            let column = match (spec.needs, spec.data) {
                (Needs::Open, DataDirection::Read | DataDirection::Internal) => Some(Column::Read),
                (Needs::Open, DataDirection::Write) => Some(Column::Write),
                _ => None,
            };
            let refresh = if spec.effect == Effect::Refresh { refresh_ticks(device, spec) } else { 0 };
            commands.push(Entry {
                effect: spec.effect,
                column,
                bus: spec.bus_cycles,
                banks,
                count,
                apart,
                reach: (count - 1) * apart + banks,
                row_buffers: spec.row_buffers,
                touches,
                burst: burst(device, spec),
                refresh,
                share: share(device, id),
                precharge: if banks > 1 { precharge_all } else { precharge },
            });
        }
        let rest = device
            .commands
            .iter()
            .filter(|c| sleeps(c.effect))
            .map(|c| device.levels[c.scope.0 as usize].banks)
            .min()
            .unwrap_or(device.levels[device.standby.0 as usize].banks);
        Self {
            commands,
            pin_banks: level_banks("pseudochannel").unwrap_or(whole),
            rank_banks: level_banks("rank").unwrap_or(whole),
            stack_banks: level_banks("sid").unwrap_or(whole),
            rest_banks: rest.max(1),
            clock: ticks,
            stack_gap: optional(&["nCCDR"]).unwrap_or(0),
            restore,
            row_cycle,
            to_read,
            to_write,
            read_to_precharge,
            recovery,
            wake,
            wake_refresh,
            interval: interval.filter(|(_, t)| *t > 0),
            allowance: device.roles.map_or(0, |r| r.max_postponed),
            unjudged,
        }
    }
}

/// Register accesses, clock starts and wake-ups act on no bank.
fn touches(spec: &Command) -> bool {
    spec.needs != Needs::Any
        || matches!(spec.effect, Effect::Open | Effect::OpenFirst | Effect::Close | Effect::Refresh)
}

/// How long a refresh keeps what it refreshes, by the standards' names; what has none says it as its latency.
fn refresh_ticks(device: &Device, spec: &Command) -> Cycle {
    let family: &[&str] = if spec.name.starts_with("RFM") { &["nRFM", "nRFC"] } else { &["nRFC"] };
    let suffixes: &[&str] = match (spec.across, is_bank(device, spec.scope)) {
        (Some(level), _) if device.levels[level.0 as usize].name == "bankgroup" => &["sb", "pb"],
        (_, true) => &["pb"],
        (_, false) => &["ab", ""],
    };
    let named = family
        .iter()
        .flat_map(|stem| suffixes.iter().map(move |suffix| format!("{stem}{suffix}")))
        .find_map(|name| device.timing(&name));
    named.map_or(spec.latency, |clocks| clocks as Cycle * Cycle::from(device.ticks_per_clock))
}

fn is_bank(device: &Device, scope: LevelId) -> bool {
    device.levels[scope.0 as usize].banks == 1
}

/// A refresh of the same bank of every bank group is one of fine granularity: half of a bank's share, and twice as often.
fn share(device: &Device, id: CommandId) -> u32 {
    let roles = device.roles;
    if device.refresh.is_some_and(|r| r.command == id) || roles.and_then(|r| r.refresh_bank).is_some_and(|r| r.0 == id)
    {
        WHOLE
    } else if roles.and_then(|r| r.refresh_same_bank).is_some_and(|r| r.0 == id) {
        HALF
    } else {
        0
    }
}

/// When a command's bytes are on the pins, and for how long: by bytes, pins and rate alone.
fn burst(device: &Device, spec: &Command) -> Option<BurstOf> {
    let write = match spec.data {
        DataDirection::Read => false,
        DataDirection::Write => true,
        DataDirection::None | DataDirection::Internal => return None,
    };
    let ticks = Cycle::from(device.ticks_per_clock);
    let parts = device.levels.iter().find(|l| l.name == "pseudochannel").map_or(1, |l| l.nodes.max(1));
    let gbps = f64::from(device.data_pins) / f64::from(parts) * device.pin_gbps;
    let length = |bytes: u32| {
        let tick_ps = device.clock_fs as f64 / 1000.0;
        // Rates and clocks are rounded figures, to half a per cent (4.8 Gb/s beside a clock of 416 ps).
        (f64::from(bytes) * 8000.0 / gbps / tick_ps * 0.995).ceil().max(1.0) as Cycle
    };
    let carried = length(spec.pin_bytes);
    // The latency is that of the burst's end, of which the device names the length where it is more than the pins need.
    let named = ["nBL", "nBL_min"].iter().find_map(|n| device.timing(n)).map_or(0, |c| c as Cycle * ticks);
    let mut lead = spec.latency.saturating_sub(named.max(length(device.access_bytes)));
    // A write of a row begins after the write latency, whatever else its latency counts.
    if write
        && spec.needs == Needs::Open
        && let Some(clocks) = device.timing("nCWL").or_else(|| device.timing("nWL"))
    {
        lead = clocks as Cycle * ticks;
    }
    Some(BurstOf { lead, length: carried, write })
}
