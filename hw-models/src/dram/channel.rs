//! One channel's timing state: when a command may issue, and what issuing it changes.

use std::sync::Arc;

use super::device::{CommandId, Device, Effect, Needs};
use super::{Cycle, NO_ROW, OPENING};

/// Hears of every issued command. With [`NoLog`] the calls compile to nothing.
pub trait CommandLog {
    /// Whether anyone listens; a fast path that would skip commands steps them instead when someone does.
    const ENABLED: bool;
    /// A command issued.
    fn issued(&mut self, command: LoggedCommand);
}

/// A command as it went over the command bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedCommand {
    /// The cycle at which it issued.
    pub cycle: Cycle,
    /// Which command.
    pub command: CommandId,
    /// The node of the command's scope.
    pub node: u32,
    /// The row, for a command that opens or accesses one; otherwise [`NO_ROW`].
    pub row: u32,
}

/// No one listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLog;

impl CommandLog for NoLog {
    const ENABLED: bool = false;
    fn issued(&mut self, _: LoggedCommand) {}
}

impl CommandLog for Vec<LoggedCommand> {
    const ENABLED: bool = true;
    fn issued(&mut self, command: LoggedCommand) {
        self.push(command);
    }
}

/// The timing state of one channel.
///
/// `ready[node][command]` is the earliest cycle at which the timing rows of that node's level allow the command there; a
/// command may issue at the latest of these over its node's ancestors. Issuing raises the entries of the commands that
/// its rows name.
#[derive(Debug, Clone)]
pub struct Channel<L = NoLog> {
    device: Arc<Device>,
    ready: Vec<Cycle>,
    rings: Vec<Cycle>,
    ring_heads: Vec<u32>,
    ring_head_base: Vec<u32>,
    open_row: Vec<u32>,
    /// Open banks, and since when, of each standby node.
    open_banks: Vec<u32>,
    open_since: Vec<Cycle>,
    active_cycles: Cycle,
    /// The first cycle at which each command bus is free.
    bus_ready: [Cycle; 2],
    counts: Vec<u64>,
    log: L,
}

/// A channel's state relative to a cycle and a row; two equal ones behave alike from there on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelativeState(Vec<u64>);

impl Channel<NoLog> {
    /// A channel with every bank closed and no history.
    pub fn new(device: Arc<Device>) -> Self {
        Self::with_log(device, NoLog)
    }
}

impl<L: CommandLog> Channel<L> {
    /// A channel that tells a log of every command.
    pub fn with_log(device: Arc<Device>, log: L) -> Self {
        let commands = device.commands.len();
        let standby = device.levels[device.standby.0 as usize].nodes as usize;
        let mut ring_head_base = Vec::with_capacity(device.rings.len());
        let mut heads = 0;
        for ring in &device.rings {
            ring_head_base.push(heads);
            heads += device.banks / ring.banks;
        }
        Self {
            ready: vec![0; device.ready_nodes as usize * commands],
            rings: vec![Cycle::MAX; device.ring_slots as usize],
            ring_heads: vec![0; heads as usize],
            ring_head_base,
            open_row: vec![NO_ROW; device.banks as usize],
            open_banks: vec![0; standby],
            open_since: vec![0; standby],
            active_cycles: 0,
            bus_ready: [0; 2],
            counts: vec![0; commands],
            device,
            log,
        }
    }

    /// The device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The log.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// The row open in a bank, or [`NO_ROW`].
    pub fn open_row(&self, bank: u32) -> u32 {
        self.open_row[bank as usize]
    }

    /// Issues of each command so far.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Cycles until `now` for which some bank of a standby node was open, summed over standby nodes.
    pub fn active_cycles(&self, now: Cycle) -> Cycle {
        let open: Cycle = self
            .open_banks
            .iter()
            .zip(&self.open_since)
            .filter(|(banks, _)| **banks > 0)
            .map(|(_, since)| now.saturating_sub(*since))
            .sum();
        self.active_cycles + open
    }

    /// Standby nodes of the channel.
    pub fn standby_nodes(&self) -> u64 {
        self.open_banks.len() as u64
    }

    /// The first cycle at which every command bus is free.
    pub fn bus_ready(&self) -> Cycle {
        self.bus_ready[0].max(self.bus_ready[1])
    }

    /// The earliest cycle at which timing and the command bus allow a command at a node of its scope. The banks' states are
    /// the caller's to see to ([`Channel::state_allows`]).
    pub fn earliest(&self, command: CommandId, node: u32) -> Cycle {
        let device = &*self.device;
        let commands = device.commands.len();
        let spec = &device.commands[command.0 as usize];
        let scope = spec.scope.0 as usize;
        let mut earliest = self.bus_ready[spec.bus as usize];
        let (nodes, apart) = device.spread(command);
        for i in 0..nodes {
            let bank = (node + i * apart) * device.levels[scope].banks;
            for level in 0..=scope {
                let at = device.level_base[level] + bank / device.levels[level].banks;
                earliest = earliest.max(self.ready[at as usize * commands + command.0 as usize]);
            }
        }
        // The rising edges of a clock of two ticks are the odd ones.
        if device.ticks_per_clock == 2 && !spec.falling_edge { earliest | 1 } else { earliest }
    }

    /// Whether the banks in a command's scope are in the state that it needs.
    pub fn state_allows(&self, command: CommandId, node: u32, row: u32) -> bool {
        let device = &*self.device;
        let (nodes, apart) = device.spread(command);
        (0..nodes).all(|i| {
            let banks = device.banks_of(command, node + i * apart);
            let rows = &self.open_row[banks.start as usize..banks.end as usize];
            match device.spec(command).needs {
                Needs::Any => true,
                Needs::Open => rows.iter().all(|r| *r == row),
                Needs::Closed => rows.iter().all(|r| *r == NO_ROW),
                Needs::Opening => rows.iter().all(|r| *r == OPENING),
            }
        })
    }

    /// Issues a command at a cycle that [`Channel::earliest`] allows.
    pub fn issue(&mut self, command: CommandId, node: u32, row: u32, cycle: Cycle) {
        debug_assert!(cycle >= self.earliest(command, node), "issued too early");
        debug_assert!(self.state_allows(command, node, row), "issued in the wrong state");
        self.issue_last_of(command, node, row, cycle, 0, 1);
    }

    /// Issues `count` of the same command at the same node, each as early as the one before allows. Returns the cycles of
    /// the first and the last. Bit-identical to issuing them one by one.
    pub fn issue_run(&mut self, command: CommandId, node: u32, row: u32, from: Cycle, count: u64) -> (Cycle, Cycle) {
        let first = self.earliest(command, node).max(from);
        if count == 0 {
            return (first, first);
        }
        debug_assert!(self.state_allows(command, node, row), "issued in the wrong state");
        self.issue_last_of(command, node, row, first, 0, 1);
        if count == 1 {
            return (first, first);
        }
        let Some(gap) = self.run_gap(command) else {
            let mut last = first;
            for _ in 1..count {
                last = self.earliest(command, node).max(last);
                self.issue_last_of(command, node, row, last, 0, 1);
            }
            return (first, last);
        };
        // Rows from other commands were satisfied by the first and only its own rows move, so every further gap is the same.
        let last = first + gap * (count - 1);
        if L::ENABLED {
            for i in 1..count {
                self.log.issued(LoggedCommand { cycle: first + gap * i, command, node, row });
            }
        }
        self.issue_last_of(command, node, row, last, count - 1, if L::ENABLED { 0 } else { 1 });
        (first, last)
    }

    /// The constant gap between commands of a run, or `None` where a window row or a state change makes it vary.
    fn run_gap(&self, command: CommandId) -> Option<Cycle> {
        let device = &*self.device;
        let spec = device.spec(command);
        if spec.effect != Effect::None || device.rings.iter().any(|r| r.commands & (1 << command.0) != 0) {
            return None;
        }
        let (start, end) = device.update_ranges[command.0 as usize];
        let own = device.updates[start as usize..end as usize].iter().filter(|u| u.to == command.0 && !u.sibling);
        Some(own.map(|u| u.cycles).max().unwrap_or(0).max(spec.bus_cycles))
    }

    /// Applies the last of a run of issues: `counted` is how many issues to count (0 for one), `logged` whether to log it.
    fn issue_last_of(&mut self, command: CommandId, node: u32, row: u32, cycle: Cycle, counted: u64, logged: u64) {
        let device = &*self.device;
        let c = command.0 as usize;
        let spec = &device.commands[c];
        self.counts[c] += counted.max(1);
        self.bus_ready[spec.bus as usize] = cycle + spec.bus_cycles;
        if logged == 1 {
            self.log.issued(LoggedCommand { cycle, command, node, row });
        }
        let (nodes, apart) = device.spread(command);
        for i in 0..nodes {
            self.apply(command, node + i * apart, row, cycle);
        }
    }

    /// What an issue does at one node.
    fn apply(&mut self, command: CommandId, node: u32, row: u32, cycle: Cycle) {
        let device = &*self.device;
        let commands = device.commands.len();
        let c = command.0 as usize;
        let spec = &device.commands[c];
        let bank = node * device.levels[spec.scope.0 as usize].banks;
        for (r, ring) in device.rings.iter().enumerate() {
            if ring.commands & (1 << command.0) != 0 {
                let at = bank / ring.banks;
                let head = &mut self.ring_heads[(self.ring_head_base[r] + at) as usize];
                self.rings[(ring.base + at * ring.window + *head) as usize] = cycle;
                *head = (*head + 1) % ring.window;
            }
        }
        let (start, end) = device.update_ranges[c];
        for update in &device.updates[start as usize..end as usize] {
            let at = bank / update.banks;
            let to = update.to as usize;
            if update.sibling {
                let parent = at / update.per_parent * update.per_parent;
                for sibling in (parent..parent + update.per_parent).filter(|s| *s != at) {
                    let ready = &mut self.ready[(update.level_base + sibling) as usize * commands + to];
                    *ready = (*ready).max(cycle + update.cycles);
                }
                continue;
            }
            let since = match update.ring {
                None => cycle,
                Some(r) => {
                    let ring = &device.rings[r as usize];
                    let head = self.ring_heads[(self.ring_head_base[r as usize] + at) as usize];
                    // The head now points at the oldest of the last `window` issues.
                    match self.rings[(ring.base + at * ring.window + head) as usize] {
                        Cycle::MAX => continue,
                        since => since,
                    }
                }
            };
            let ready = &mut self.ready[(update.level_base + at) as usize * commands + to];
            *ready = (*ready).max(since + update.cycles);
        }
        let row = match spec.effect {
            Effect::None | Effect::Refresh | Effect::PowerDown | Effect::SelfRefresh | Effect::Wake => return,
            Effect::Open => row,
            Effect::OpenFirst => OPENING,
            Effect::Close | Effect::AccessAndClose => NO_ROW,
        };
        let standby_banks = device.levels[device.standby.0 as usize].banks;
        for bank in device.banks_of(command, node) {
            let was = std::mem::replace(&mut self.open_row[bank as usize], row);
            let standby = (bank / standby_banks) as usize;
            if was == NO_ROW && row != NO_ROW {
                if self.open_banks[standby] == 0 {
                    self.open_since[standby] = cycle;
                }
                self.open_banks[standby] += 1;
            } else if was != NO_ROW && row == NO_ROW {
                self.open_banks[standby] -= 1;
                if self.open_banks[standby] == 0 {
                    self.active_cycles += cycle - self.open_since[standby];
                }
            }
        }
    }

    /// Writes the state relative to a cycle and a row into `state`. Two channels (or one at two times) whose relative states
    /// are equal do the same from there on, shifted by the difference of the cycles and of the rows.
    pub fn relative_state(&self, now: Cycle, row: u32, state: &mut RelativeState) {
        let out = &mut state.0;
        out.clear();
        out.extend(self.bus_ready.iter().map(|b| b.saturating_sub(now)));
        out.extend(self.ready.iter().map(|r| r.saturating_sub(now)));
        for (r, ring) in self.device.rings.iter().enumerate() {
            let nodes = self.device.banks / ring.banks;
            for at in 0..nodes {
                let head = self.ring_heads[(self.ring_head_base[r] + at) as usize];
                let slots = &self.rings[(ring.base + at * ring.window) as usize..][..ring.window as usize];
                // Oldest first; an issue too long ago to delay anything counts as none.
                out.extend((0..ring.window).map(|i| match slots[((head + i) % ring.window) as usize] {
                    Cycle::MAX => 0,
                    cycle => (cycle + ring.longest_wait).saturating_sub(now),
                }));
            }
        }
        out.extend(
            self.open_row
                .iter()
                .map(|r| if *r >= OPENING { u64::MAX - u64::from(*r) } else { u64::from(r.wrapping_sub(row)) }),
        );
    }

    /// Repeats an iteration whose course is known: the whole state moves later by its period and the open rows up by its
    /// stride, `times` over, and its counts and open time are added as often.
    pub(crate) fn repeat(&mut self, repeat: &Repetition<'_>) {
        let by = repeat.period * repeat.times;
        for b in &mut self.bus_ready {
            *b += by;
        }
        for r in &mut self.ready {
            *r += by;
        }
        for r in &mut self.rings {
            if *r != Cycle::MAX {
                *r += by;
            }
        }
        for s in &mut self.open_since {
            *s += by;
        }
        let rows = repeat.row_stride * repeat.times as u32;
        for r in &mut self.open_row {
            if *r < OPENING {
                *r += rows;
            }
        }
        for (count, each) in self.counts.iter_mut().zip(repeat.counts) {
            *count += each * repeat.times;
        }
        self.active_cycles += repeat.active_cycles * repeat.times;
    }
}

/// An iteration whose course is known, and how often it is to be repeated: see [`Channel::repeat`].
pub(crate) struct Repetition<'a> {
    pub period: Cycle,
    pub times: u64,
    pub row_stride: u32,
    pub counts: &'a [u64],
    pub active_cycles: Cycle,
}
