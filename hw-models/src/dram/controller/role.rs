//! The commands of a controller, by what they are for.

use super::super::defaults::RefreshPolicy;
use super::super::device::{CommandId, Device};
use super::config::{ControllerConfig, PagePolicy, RowHammerPolicy};

/// Index of a role.
pub(super) type Role = usize;

/// How many there are, rounded up to a power of two.
pub(super) const ROLES: usize = 32;

/// Opens a row, or begins to.
pub(super) const ACT: Role = 0;
/// Closes a bank.
pub(super) const PRE: Role = 1;
/// Closes every bank of a refresh scope.
pub(super) const PREAB: Role = 2;
/// Reads.
pub(super) const RD: Role = 3;
/// Writes.
pub(super) const WR: Role = 4;
/// Refreshes every bank of a scope.
pub(super) const REF: Role = 5;
/// Second half of an activation.
pub(super) const ACT2: Role = 6;
/// Starts the data clock before a read.
pub(super) const CAS_RD: Role = 7;
/// Starts the data clock before a write.
pub(super) const CAS_WR: Role = 8;
/// Reads and closes.
pub(super) const RDA: Role = 9;
/// Writes and closes.
pub(super) const WRA: Role = 10;
/// Refreshes a bank.
pub(super) const REF_BANK: Role = 11;
/// Refreshes the same bank of every bank group.
pub(super) const REF_SAME: Role = 12;
/// Takes a rank into power-down.
pub(super) const SLEEP: Role = 13;
/// Takes it out.
pub(super) const WAKE: Role = 14;
/// Takes a rank into self-refresh.
pub(super) const SELF_REFRESH: Role = 15;
/// Takes it out.
pub(super) const SELF_REFRESH_EXIT: Role = 16;
/// Gives every bank of a rank time against RowHammer.
pub(super) const RFM_ALL: Role = 17;
/// Gives one bank, or the same bank of every bank group, time against RowHammer.
pub(super) const RFM_SOME: Role = 18;

/// How a rank sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Asleep {
    /// It does not.
    #[default]
    No,
    /// In power-down.
    Down,
    /// In self-refresh.
    SelfRefresh,
}

impl Asleep {
    /// Whether it sleeps at all.
    #[inline(always)]
    pub(super) fn is(self) -> bool {
        self != Asleep::No
    }

    /// The command that wakes it.
    pub(super) fn waker(self) -> Role {
        if self == Asleep::SelfRefresh { SELF_REFRESH_EXIT } else { WAKE }
    }
}

/// Whether a role acts on a whole rank.
#[inline(always)]
pub(super) fn is_of_rank(role: Role) -> bool {
    const SLEEPS: u32 = 1 << SLEEP | 1 << WAKE | 1 << SELF_REFRESH | 1 << SELF_REFRESH_EXIT;
    const OF_RANK: u32 = 1 << PREAB | 1 << REF | 1 << RFM_ALL | SLEEPS;
    OF_RANK >> role & 1 == 1
}

/// Whether a role gives time against RowHammer.
#[inline(always)]
pub(super) fn is_management(role: Role) -> bool {
    role == RFM_ALL || role == RFM_SOME
}

/// Whether a role moves data.
#[inline(always)]
pub(super) fn is_access(role: Role) -> bool {
    const ACCESSES: u32 = 1 << RD | 1 << WR | 1 << RDA | 1 << WRA;
    ACCESSES >> role & 1 == 1
}

/// The device's command of each role under a configuration, where it has one.
pub(super) fn ids(device: &Device) -> [Option<CommandId>; ROLES] {
    let mut ids = [None; ROLES];
    let Some(roles) = device.roles else { return ids };
    ids[ACT] = Some(roles.activate);
    ids[PRE] = Some(roles.precharge);
    ids[PREAB] = Some(roles.precharge_all);
    ids[RD] = Some(roles.read);
    ids[WR] = Some(roles.write);
    ids[REF] = device.refresh.map(|r| r.command);
    ids[ACT2] = roles.activate_second.map(|(c, _)| c);
    ids[CAS_RD] = roles.sync.map(|s| s.read);
    ids[CAS_WR] = roles.sync.map(|s| s.write);
    ids[RDA] = roles.auto_precharge.map(|(r, _)| r);
    ids[WRA] = roles.auto_precharge.map(|(_, w)| w);
    ids[REF_BANK] = roles.refresh_bank.map(|(c, _)| c);
    ids[REF_SAME] = roles.refresh_same_bank.map(|(c, _)| c);
    ids[SLEEP] = roles.power_down.map(|(enter, _)| enter);
    ids[WAKE] = roles.power_down.map(|(_, exit)| exit);
    ids[SELF_REFRESH] = roles.self_refresh.map(|(enter, _)| enter);
    ids[SELF_REFRESH_EXIT] = roles.self_refresh.map(|(_, exit)| exit);
    ids[RFM_ALL] = device.row_hammer.map(|offer| offer.all);
    ids[RFM_SOME] = device.row_hammer.and_then(|offer| offer.some);
    ids
}

/// The roles that a configuration's policies ever issue, as bits.
pub(super) fn used(config: &ControllerConfig) -> u32 {
    let mut used = 1 << ACT | 1 << PRE | 1 << PREAB | 1 << RD | 1 << WR | 1 << ACT2 | 1 << CAS_RD | 1 << CAS_WR;
    if config.page == PagePolicy::Closed {
        used |= 1 << RDA | 1 << WRA;
    }
    used |= match config.refresh {
        RefreshPolicy::Off | RefreshPolicy::Device => 0,
        RefreshPolicy::AllBank => 1 << REF,
        RefreshPolicy::PerBank => 1 << REF_BANK,
        RefreshPolicy::SameBank => 1 << REF_SAME,
    };
    if config.sleep.power_down.is_some() {
        used |= 1 << SLEEP | 1 << WAKE;
    }
    if config.sleep.self_refresh.is_some() {
        used |= 1 << SELF_REFRESH | 1 << SELF_REFRESH_EXIT;
    }
    used |= match config.row_hammer {
        RowHammerPolicy::Off => 0,
        RowHammerPolicy::Rfm => 1 << RFM_ALL | 1 << RFM_SOME,
        RowHammerPolicy::Prac => 1 << RFM_ALL,
    };
    used
}
