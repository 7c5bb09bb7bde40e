//! What the data pins wait for: the time between two bursts on the same pins, by what kept the second one.
//!
//! It hears what a controller issues and reads a few named waits of the device; it decides nothing. A gap is cut in three: what a
//! refresh of the rank took of it, what passed before the request was accepted, and the rest, which its own activation, the turn of
//! the pins or its bank group explains.

use super::super::Cycle;
use super::super::device::{CommandId, Device};
use super::role::{self, Role};

/// Why pins were idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Idle {
    /// They turned between reads and writes.
    Turn,
    /// The bank group had to rest (tCCD_L), and no other had a row open that was wanted.
    BankGroup,
    /// An activation waited for the window of four (tFAW) or the distance to the one before (tRRD).
    ActivationWindow,
    /// An activation waited for its own bank: tRC, tRP, tWR.
    Bank,
    /// A refresh held the rank.
    Refresh,
    /// No request that could use them had a place in the queue, or might be outstanding.
    Queue,
    /// No request had arrived.
    Arrival,
    /// Something else: another rank's or stack's turn, the command bus, a data clock to start.
    Other,
}

impl Idle {
    /// Every cause with its name in reports, in the order of their numbers.
    pub const NAMES: [(&'static str, Idle); 8] = [
        ("turnaround", Idle::Turn),
        ("bank_group", Idle::BankGroup),
        ("activation_window", Idle::ActivationWindow),
        ("bank", Idle::Bank),
        ("refresh", Idle::Refresh),
        ("queue", Idle::Queue),
        ("arrivals", Idle::Arrival),
        ("other", Idle::Other),
    ];
}

#[derive(Debug, Clone, Copy, Default)]
struct BankPast {
    opened: Cycle,
    /// The first tick at which the bank itself allows an activation.
    ready: Cycle,
    /// Its rank, bank group and pins: looked up, since a division would cost as much as all the rest.
    rank: u16,
    group: u16,
    pins: u16,
    /// What kept its last activation.
    kept: u8,
}

#[derive(Debug, Clone, Copy, Default)]
struct RankPast {
    /// The last four activations, a ring.
    opened: [Cycle; 4],
    next: u8,
    group: u16,
    /// The last refresh: from when it was due to its end.
    refresh: (Cycle, Cycle),
}

#[derive(Debug, Clone, Copy, Default)]
struct PinPast {
    free: Cycle,
    group: u16,
    write: bool,
}

/// The account of a channel's pins.
#[derive(Debug, Clone)]
pub(super) struct Pins {
    /// Whether it is kept; with one request outstanding at a time it says nothing.
    kept: bool,
    banks: Vec<BankPast>,
    ranks: Vec<RankPast>,
    pins: Vec<PinPast>,
    rank_banks: usize,
    burst: Cycle,
    row_cycle: Cycle,
    row_precharge: Cycle,
    row_to_column: Cycle,
    window: Cycle,
    distances: (Cycle, Cycle),
    refresh: Cycle,
    refresh_bank: Cycle,
    /// Refresh management of all banks, and of some.
    management: (Cycle, Cycle),
    /// Idle ticks by cause, summed over groups of pins.
    pub idle: [Cycle; Idle::NAMES.len()],
}

impl Pins {
    pub(super) fn new(device: &Device, rank_banks: usize, pin_banks: usize, kept: bool) -> Self {
        let roles = device.roles;
        let last = device.levels.len() - 1;
        let group_banks = device.levels[last.saturating_sub(1)].banks as usize;
        // The longest wait from one command to another, of the rows of a bank, or of those above it.
        let wait = |from: Option<CommandId>, to: Option<CommandId>, at_bank: bool, window: u32| {
            let rows = device.timing.iter().filter(|r| Some(r.from) == from && Some(r.to) == to && !r.sibling);
            let rows = rows.filter(|r| (usize::from(r.level.0) == last) == at_bank && r.window == window);
            rows.map(|r| r.cycles).max().unwrap_or(0)
        };
        let act = roles.map(|r| r.activate);
        let group_wait = wait(act, act, false, 1);
        let outer = device.timing.iter().filter(|r| {
            Some(r.from) == act
                && Some(r.to) == act
                && !r.sibling
                && r.window == 1
                && usize::from(r.level.0) + 2 <= last
        });
        let groups = f64::from(device.data_pins) * pin_banks as f64 / f64::from(device.banks);
        let tick_ps = device.clock_fs as f64 / 1000.0;
        let burst = f64::from(device.access_bytes) * 8.0 / (groups * device.pin_gbps) * 1000.0 / tick_ps;
        let banks = device.banks as usize;
        Self {
            kept,
            banks: (0..banks)
                .map(|bank| BankPast {
                    rank: (bank / rank_banks) as u16,
                    group: (bank / group_banks) as u16,
                    pins: (bank / pin_banks) as u16,
                    ..BankPast::default()
                })
                .collect(),
            ranks: vec![RankPast::default(); banks / rank_banks],
            pins: vec![PinPast::default(); banks / pin_banks],
            rank_banks,
            burst: burst.round() as Cycle,
            row_cycle: wait(act, act, true, 1),
            row_precharge: wait(roles.map(|r| r.precharge), act, true, 1),
            // Two clocks of grace: for the edge that a column command needs, and for a data clock to start.
            row_to_column: wait(act, roles.map(|r| r.read), true, 1) + 2 * Cycle::from(device.ticks_per_clock),
            window: wait(act, act, false, 4),
            distances: (outer.map(|r| r.cycles).max().unwrap_or(0), group_wait),
            refresh: device.refresh.map_or(0, |r| device.spec(r.command).latency),
            refresh_bank: roles
                .and_then(|r| r.refresh_bank.or(r.refresh_same_bank))
                .map_or(0, |(c, _)| device.spec(c).latency),
            management: device.row_hammer.map_or((0, 0), |offer| {
                (device.spec(offer.all).latency, offer.some.map_or(0, |id| device.spec(id).latency))
            }),
            idle: [0; Idle::NAMES.len()],
        }
    }

    /// A command that is no access issued; `due` is when its refresh was, for one.
    #[inline(always)]
    pub(super) fn command(&mut self, command: Role, bank: usize, clock: Cycle, due: Cycle) {
        if !self.kept {
            return;
        }
        match command {
            role::ACT => self.activated(bank, clock),
            role::PRE | role::RDA | role::WRA => self.closed(bank, clock),
            role::PREAB => (bank..bank + self.rank_banks).for_each(|bank| self.closed(bank, clock)),
            role::REF => self.ranks[usize::from(self.banks[bank].rank)].refresh = (due, clock + self.refresh),
            role::RFM_ALL => {
                self.ranks[usize::from(self.banks[bank].rank)].refresh = (clock, clock + self.management.0);
            }
            role::RFM_SOME => {
                let ready = &mut self.banks[bank].ready;
                *ready = (*ready).max(clock + self.management.1);
            }
            role::REF_BANK | role::REF_SAME => {
                let ready = &mut self.banks[bank].ready;
                *ready = (*ready).max(clock + self.refresh_bank);
            }
            _ => {}
        }
    }

    #[inline(always)]
    fn closed(&mut self, bank: usize, clock: Cycle) {
        let ready = &mut self.banks[bank].ready;
        *ready = (*ready).max(clock + self.row_precharge);
    }

    #[inline(always)]
    fn activated(&mut self, bank: usize, clock: Cycle) {
        let past = &mut self.banks[bank];
        let (rank, group) = (&mut self.ranks[usize::from(past.rank)], past.group);
        let newest = rank.opened[(rank.next as usize + 3) & 3];
        let distance = if group == rank.group { self.distances.1 } else { self.distances.0 };
        let window = (rank.opened[rank.next as usize & 3] + self.window).max(newest + distance);
        // What had only just let it go kept it; a tick's grace is for the other command of the tick.
        past.kept = if window.max(past.ready) + 2 <= clock {
            Idle::Queue as u8
        } else if window >= past.ready {
            Idle::ActivationWindow as u8
        } else {
            Idle::Bank as u8
        };
        past.opened = clock;
        past.ready = clock + self.row_cycle;
        rank.opened[rank.next as usize & 3] = clock;
        rank.next = (rank.next + 1) & 3;
        rank.group = group;
    }

    /// An access issued, of a request that arrived at `asked` and was accepted at `accepted`.
    #[inline(always)]
    pub(super) fn access(&mut self, bank: usize, write: bool, clock: Cycle, asked: Cycle, accepted: Cycle) {
        if !self.kept {
            return;
        }
        let past = self.banks[bank];
        let (group, pins) = (past.group, &mut self.pins[usize::from(past.pins)]);
        let before = *pins;
        *pins = PinPast { free: clock + self.burst, write, group };
        if clock <= before.free {
            return;
        }
        let mut from = before.free;
        let (due, end) = self.ranks[usize::from(past.rank)].refresh;
        if end > from {
            // The rank drains from when the refresh is due.
            let held = end.min(clock).saturating_sub(due.max(from));
            self.idle[Idle::Refresh as usize] += held;
            from += held;
        }
        if accepted + 1 > from {
            let late = (accepted + 1).min(clock) - from;
            let cause = if asked < accepted { Idle::Queue } else { Idle::Arrival };
            self.idle[cause as usize] += late;
            from += late;
        }
        let cause = if past.opened + self.row_to_column >= clock && past.opened > 0 {
            past.kept as usize
        } else if before.write != write {
            Idle::Turn as usize
        } else if before.group == group {
            Idle::BankGroup as usize
        } else {
            Idle::Other as usize
        };
        self.idle[cause & 7] += clock - from.min(clock);
    }
}
