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
    /// By row buffer, and within one by bank.
    open_row: Vec<u32>,
    /// Open row buffers of banks, and since when, of each standby node.
    open_banks: Vec<u32>,
    open_since: Vec<Cycle>,
    active_cycles: Cycle,
    /// The first cycle at which each command bus is free.
    bus_ready: [Cycle; 2],
    counts: Vec<u64>,
    log: L,
}

/// How a relative state writes a bank without an open row: rows stay below 2^26, so no difference of two is this large.
const CLOSED: u32 = 1 << 31;
/// How it writes a bank between the two halves of an activate.
const HALF_OPEN: u32 = CLOSED + 1;

/// A channel's state relative to a cycle and a row; two equal ones behave alike from there on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelativeState(Vec<u32>);

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
            open_row: vec![NO_ROW; (device.banks * device.row_buffers) as usize],
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

    /// The row open in a bank for ordinary accesses, or [`NO_ROW`].
    pub fn open_row(&self, bank: u32) -> u32 {
        self.open_row[bank as usize]
    }

    /// Whether every bank of a command's scope is closed, in the row buffers that the command acts on.
    pub fn is_closed_for(&self, command: CommandId, node: u32) -> bool {
        let device = &*self.device;
        let banks = device.banks_of(command, node);
        let mut buffers = device.row_buffers_of(command).map(|b| b * device.banks);
        buffers.all(|base| banks.clone().all(|bank| self.open_row[(base + bank) as usize] == NO_ROW))
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
            let bank = ((node + i * apart) * device.levels[scope].banks) as usize;
            for at in &device.node_at[bank * device.levels.len()..][..=scope] {
                earliest = earliest.max(self.ready[*at as usize * commands + command.0 as usize]);
            }
        }
        // The rising edges of a clock of two ticks are the odd ones.
        if device.ticks_per_clock == 2 && !spec.falling_edge { earliest | 1 } else { earliest }
    }

    /// Whether the banks in a command's scope are in the state that it needs.
    pub fn state_allows(&self, command: CommandId, node: u32, row: u32) -> bool {
        let device = &*self.device;
        let spec = device.spec(command);
        let wanted = match spec.needs {
            Needs::Any => return true,
            Needs::Open => row,
            Needs::Closed => NO_ROW,
            Needs::Opening => OPENING,
        };
        // One bank of one row buffer, as most are.
        if device.row_buffers == 1 && spec.across.is_none() && device.levels[spec.scope.0 as usize].banks == 1 {
            return self.open_row[node as usize] == wanted;
        }
        let (nodes, apart) = device.spread(command);
        device.row_buffers_of(command).map(|b| b * device.banks).all(|base| {
            (0..nodes).all(|i| {
                let banks = device.banks_of(command, node + i * apart);
                let rows = &self.open_row[(base + banks.start) as usize..(base + banks.end) as usize];
                rows.iter().all(|r| *r == wanted)
            })
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
        let banks = device.banks_of(command, node);
        let buffers = device.row_buffers_of(command).map(|b| b * device.banks);
        for (base, bank) in buffers.flat_map(|base| banks.clone().map(move |bank| (base, bank))) {
            let was = std::mem::replace(&mut self.open_row[(base + bank) as usize], row);
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
        // Waits are at most 10^9 cycles each (the table's limit), so what is left of one fits 32 bits.
        out.extend(self.bus_ready.iter().map(|b| b.saturating_sub(now) as u32));
        out.extend(self.ready.iter().map(|r| r.saturating_sub(now) as u32));
        for (r, ring) in self.device.rings.iter().enumerate() {
            let nodes = self.device.banks / ring.banks;
            for at in 0..nodes {
                let head = self.ring_heads[(self.ring_head_base[r] + at) as usize];
                let slots = &self.rings[(ring.base + at * ring.window) as usize..][..ring.window as usize];
                // Oldest first; an issue too long ago to delay anything counts as none.
                out.extend((0..ring.window).map(|i| match slots[((head + i) % ring.window) as usize] {
                    Cycle::MAX => 0,
                    cycle => (cycle + ring.longest_wait).saturating_sub(now) as u32,
                }));
            }
        }
        out.extend(self.open_row.iter().map(|r| match *r {
            NO_ROW => CLOSED,
            OPENING => HALF_OPEN,
            open => open.wrapping_sub(row),
        }));
    }

    /// Counts what a known course did, `times` over; where it leaves the channel is for [`Channel::restore`] to say.
    /// Standing open until `now`, when the course begins, is counted here, and afterwards by the course.
    pub(crate) fn take_course(&mut self, course: &CourseTotals<'_>) {
        for (count, each) in self.counts.iter_mut().zip(course.counts) {
            *count += each * course.times;
        }
        self.active_cycles = self.active_cycles(course.begins) + course.active_cycles * course.times;
        let ends = course.begins + course.period * course.times;
        for since in &mut self.open_since {
            *since = ends;
        }
    }

    /// Puts the channel into a state taken relative to another cycle and row. What was irrelevant then is so now: an entry
    /// that forbade nothing any more becomes the present.
    pub(crate) fn restore(&mut self, state: &RelativeState, now: Cycle, row: u32) {
        let device = &*self.device;
        let (bus, rest) = state.0.split_at(self.bus_ready.len());
        let (ready, mut rest) = rest.split_at(self.ready.len());
        for (b, relative) in self.bus_ready.iter_mut().zip(bus) {
            *b = now + Cycle::from(*relative);
        }
        for (r, relative) in self.ready.iter_mut().zip(ready) {
            *r = now + Cycle::from(*relative);
        }
        for (r, ring) in device.rings.iter().enumerate() {
            for at in 0..device.banks / ring.banks {
                let (times, others) = rest.split_at(ring.window as usize);
                rest = others;
                // They were taken oldest first.
                self.ring_heads[(self.ring_head_base[r] + at) as usize] = 0;
                let slots = &mut self.rings[(ring.base + at * ring.window) as usize..][..ring.window as usize];
                for (slot, relative) in slots.iter_mut().zip(times) {
                    *slot = if *relative == 0 { Cycle::MAX } else { now + Cycle::from(*relative) - ring.longest_wait };
                }
            }
        }
        let standby_banks = device.levels[device.standby.0 as usize].banks as usize;
        self.open_banks.fill(0);
        for (bank, (open, relative)) in self.open_row.iter_mut().zip(rest).enumerate() {
            *open = match *relative {
                CLOSED => NO_ROW,
                HALF_OPEN => OPENING,
                relative => row.wrapping_add(relative),
            };
            self.open_banks[bank % device.banks as usize / standby_banks] += u32::from(*open != NO_ROW);
        }
    }
}

/// What a known course did: see [`Channel::take_course`].
pub(crate) struct CourseTotals<'a> {
    pub begins: Cycle,
    pub period: Cycle,
    pub times: u64,
    pub counts: &'a [u64],
    pub active_cycles: Cycle,
}

impl RelativeState {
    /// A short number that equal states share.
    pub(crate) fn signature(&self) -> u64 {
        // Lanes apart, so that the compiler can use vectors; a clash only costs a comparison.
        let mut lanes = [0u32; 16];
        let mut chunks = self.0.chunks_exact(16);
        for (chunk, i) in chunks.by_ref().zip(0u32..) {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane = lane.rotate_left(5) ^ value.wrapping_add(i);
            }
        }
        let words = lanes.iter().chain(chunks.remainder());
        words.fold(0, |s, word| (s ^ u64::from(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
    }
}
