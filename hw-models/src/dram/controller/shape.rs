//! What a controller needs to know of its device besides the timing rows.

use std::sync::Arc;

use banksia_input::InputError;

use super::super::Cycle;
use super::super::defaults::RefreshPolicy;
use super::super::device::{Bus, CommandId, Device};
use super::config::{ControllerConfig, Scheduler};
use super::map::AddressMap;
use super::role::{self, ROLES, Role};

/// How a device takes its commands, which decides the course of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One command bus.
    Single,
    /// A row and a column bus.
    Dual,
    /// Two buses and two ticks a clock.
    HalfClock,
    /// One bus, activation in two commands, a data clock to start.
    Split,
}

/// Resolved facts of a device under a configuration.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub device: Arc<Device>,
    pub config: ControllerConfig,
    pub map: AddressMap,
    pub kind: Kind,
    pub ids: [Option<CommandId>; ROLES],
    /// Whether a role's command may use the falling edge.
    pub falling: [bool; ROLES],
    /// Ticks for which a role's command holds its bus.
    pub bus_ticks: [Cycle; ROLES],
    pub banks: usize,
    /// Banks of one rank: of one node of the all-bank precharge's scope.
    pub rank_banks: usize,
    /// Ticks from a read command to the end of its data.
    pub read_latency: Cycle,
    /// Ticks between refreshes of one rank, and the command's role.
    pub refresh: Option<(Cycle, Role)>,
    /// Banks that share their data pins: those of a pseudo-channel, or all.
    pub pin_banks: usize,
    /// Banks of one node of the standby level.
    pub standby_banks: usize,
    /// The banks that a role's command acts on at once, from its first: how many, how far apart.
    pub spreads: [(usize, usize); ROLES],
    pub activate_deadline: Cycle,
    pub read_keeps: Cycle,
    pub write_keeps: Cycle,
    /// The number of queued writes above which, and below which, the drain mode changes.
    pub high: f32,
    pub low: f32,
    pub page_timeout: Cycle,
    /// The cap on row hits; first come, first served has none, because it passes no request over.
    pub row_hit_cap: Option<u32>,
    /// Idle ticks before power-down.
    pub power_down_after: Cycle,
    /// Ticks without a request before self-refresh.
    pub self_refresh_after: Cycle,
}

impl Shape {
    pub(super) fn new(device: &Arc<Device>, config: &ControllerConfig, channels: u32) -> Result<Self, InputError> {
        let config = &config.for_device(device);
        config.check(device)?;
        let fail = |problem: String| InputError::new(format!("device {}", device.name), problem);
        let roles = device.roles.ok_or_else(|| fail("has no commands for a controller".into()))?;
        let ids = role::ids(device);
        let specs = ids.map(|id| id.map(|id| device.spec(id)));
        let dual = device.commands.iter().any(|c| c.bus == Bus::Column);
        let kind = match (dual, device.ticks_per_clock, roles.activate_second.is_some()) {
            (false, 1, false) => Kind::Single,
            (true, 1, false) => Kind::Dual,
            (true, 2, false) => Kind::HalfClock,
            (false, 1, true) => Kind::Split,
            _ => {
                let problem = "mixes half-clock ticks, two command buses and two-command activation in a way that no controller here takes";
                return Err(fail(problem.into()));
            }
        };
        if (kind == Kind::Split) != roles.sync.is_some() {
            return Err(fail("has a two-command activation or a data clock to start, but not both".into()));
        }
        let rank_banks = device.levels[device.spec(roles.precharge_all).scope.0 as usize].banks as usize;
        if let Some(refresh) = device.refresh
            && device.levels[device.spec(refresh.command).scope.0 as usize].banks as usize != rank_banks
        {
            return Err(fail("refreshes another set of banks than its all-bank precharge closes".into()));
        }
        let refresh = match config.refresh {
            RefreshPolicy::Off | RefreshPolicy::Device => None,
            RefreshPolicy::AllBank => device.refresh.map(|r| (r.interval, role::REF)),
            RefreshPolicy::PerBank => roles.refresh_bank.map(|(_, t)| (t, role::REF_BANK)),
            RefreshPolicy::SameBank => roles.refresh_same_bank.map(|(_, t)| (t, role::REF_SAME)),
        };
        let ticks = Cycle::from(device.ticks_per_clock);
        Ok(Self {
            map: AddressMap::new(&config.map, device, channels)?,
            kind,
            falling: specs.map(|s| s.is_some_and(|s| s.falling_edge)),
            bus_ticks: specs.map(|s| s.map_or(1, |s| s.bus_cycles)),
            ids,
            banks: device.banks as usize,
            rank_banks,
            read_latency: device.spec(roles.read).latency,
            refresh,
            pin_banks: device.levels.iter().find(|l| l.name == "pseudochannel").map_or(device.banks, |l| l.banks)
                as usize,
            standby_banks: device.levels[device.standby.0 as usize].banks as usize,
            spreads: ids
                .map(|id| id.map_or((1, 1), |id| device.spread(id)))
                .map(|(n, apart)| (n as usize, apart.max(1) as usize)),
            activate_deadline: roles.activate_second.map_or(0, |(_, t)| t),
            read_keeps: roles.sync.map_or(0, |s| s.read_keeps),
            write_keeps: roles.sync.map_or(0, |s| s.write_keeps),
            high: config.drain_high * config.write_queue as f32,
            low: config.drain_low * config.write_queue as f32,
            row_hit_cap: config.row_hit_cap.filter(|_| config.scheduler != Scheduler::Fcfs),
            page_timeout: config.page_timeout * ticks,
            power_down_after: config.sleep.power_down.map_or(0, |after| after * ticks),
            self_refresh_after: config.sleep.self_refresh.map_or(0, |after| after * ticks),
            config: config.clone(),
            device: device.clone(),
        })
    }

    /// The banks that a refresh of a role covers, from its first: how many, how far apart.
    pub(super) fn refresh_banks(&self, command: Role) -> (usize, usize) {
        match command {
            role::REF | role::RFM_ALL => (self.rank_banks, 1),
            _ => self.spreads[command],
        }
    }

    /// The first bank of the `turn`-th refresh of a rank.
    pub(super) fn refresh_target(&self, command: Role, rank: usize, turn: u64) -> usize {
        let base = rank * self.rank_banks;
        if command == role::REF {
            return base;
        }
        let (count, apart) = self.spreads[command];
        let turn = (turn % (self.rank_banks / count) as u64) as usize;
        base + turn / apart * (apart * count) + turn % apart
    }
}
