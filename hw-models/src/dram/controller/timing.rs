//! The timing rows of one channel, arranged for a controller: only the commands that its policies issue, only the rows that
//! can ever decide.

use std::collections::BTreeMap;

use super::super::Cycle;
use super::super::device::{Bus, CommandId, Device};
use super::config::ControllerConfig;
use super::role::{self, ROLES, Role};

/// Roles that issue now and then, at many banks.
const RARE: u32 = 1 << role::PREAB
    | 1 << role::REF
    | 1 << role::RFM_ALL
    | 1 << role::SLEEP
    | 1 << role::WAKE
    | 1 << role::SELF_REFRESH
    | 1 << role::SELF_REFRESH_EXIT;

/// Roles whose scope is one bank.
const ONE_BANK: u32 = 1 << role::ACT
    | 1 << role::PRE
    | 1 << role::RD
    | 1 << role::WR
    | 1 << role::ACT2
    | 1 << role::CAS_RD
    | 1 << role::CAS_WR
    | 1 << role::RDA
    | 1 << role::WRA;

/// Later than anything.
pub(super) const NEVER: Cycle = Cycle::MAX / 4;

/// What an issue of a command sets: a place in `ready` (or the place of bank 0, for one at each bank), to so long after the issue.
#[derive(Debug, Clone, Copy)]
struct Effect {
    place: u32,
    wait: u32,
}

/// Some effects: from, to.
type Effects = (u32, u32);

/// What an issue of a command sets.
#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    /// At its own bank.
    own: Effects,
    /// At the other banks beside its own, so many together.
    beside: Effects,
    together: u32,
}

/// A row that counts several issues: where its node's last ones stand, and which places from `ready` on, so many for each node of
/// its level, it sets.
#[derive(Debug, Clone, Copy)]
struct Window {
    level: u8,
    ready: u32,
    each: u32,
    wait: Cycle,
    history: u16,
}

/// The last issues of the commands of a windowed row, a ring for each node.
#[derive(Debug, Clone, Copy)]
struct History {
    first: usize,
    heads: usize,
    window: usize,
}

/// The earliest cycles of every command at every node of one channel.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    /// When a role is ready. For a role of one bank: at each bank, and at each group of banks (the nodes above the banks), with
    /// the rows of coarser levels told to every group below. For others: at each node of the levels that some row speaks of.
    /// The first, one for each bank, are always 0.
    ready: Vec<Cycle>,
    first_bank: [u32; ROLES],
    first_group: [u32; ROLES],
    /// The group of each bank.
    group: Vec<u16>,
    groups: usize,
    /// `wide[role * banks + bank]`: the places of a role of several banks, filled up with 0.
    wide: Vec<[u32; 8]>,
    banks: usize,
    effects: Vec<Effect>,
    plans: [Plan; ROLES],
    /// `effects[shared[role * groups + group]]`: what an issue at a bank of a group sets beyond that bank.
    shared: Vec<Effects>,
    /// `effects[lasting[role * banks + bank]]`: all of it, but for what is over before a read that follows alone is done.
    lasting: Vec<Effects>,
    /// The windows that each role's issues count in.
    counted: [(u16, u16); ROLES],
    windows: Vec<Window>,
    /// The node of each level above each bank, counted within the level.
    path: Vec<[u16; 8]>,
    histories: Vec<History>,
    issues: Vec<Cycle>,
    heads: Vec<u8>,
    reach: [[u8; ROLES]; ROLES],
    /// `apart[from][to]`: the least time from one command to another at the same bank, and at least a cycle.
    pub apart: [[Cycle; ROLES]; ROLES],
    /// No row of several issues keeps an access from its own activation or precharge: `apart` says all.
    pub simple: bool,
}

/// A row between two roles, before it is arranged.
#[derive(Clone, Copy, PartialEq)]
struct Row {
    level: usize,
    from: Role,
    to: Role,
    wait: Cycle,
    window: u32,
    sibling: bool,
}

impl Timing {
    pub(super) fn new(device: &Device, ids: &[Option<CommandId>; ROLES], config: &ControllerConfig) -> Self {
        // A level of one node is its parent.
        let mut merged = Vec::new();
        let mut kept: Vec<usize> = Vec::new();
        for (i, level) in device.levels.iter().enumerate() {
            if i == 0 || level.per_parent > 1 {
                kept.push(i);
            }
            merged.push(kept.len() - 1);
        }
        let levels = kept.len();
        let banks = device.banks as usize;
        let path: Vec<[u16; 8]> = (0..device.banks)
            .map(|bank| {
                let mut path = [0u16; 8];
                for (node, level) in path.iter_mut().zip(&kept) {
                    *node = (bank / device.levels[*level].banks) as u16;
                }
                path
            })
            .collect();
        let nodes: Vec<usize> = kept.iter().map(|l| device.levels[*l].nodes as usize).collect();
        let rows = rows(device, ids, config, &merged);
        let (leaf, group) = (levels - 1, levels.saturating_sub(2));
        let mut reach = [[0; ROLES]; ROLES];
        let mut apart = [[1; ROLES]; ROLES];
        let mut simple = true;
        for r in &rows {
            let far = if r.sibling || r.level < leaf { 2 } else { 1 };
            reach[r.from][r.to] = far.max(reach[r.from][r.to]);
            if r.window > 1 {
                simple &= r.from == r.to || !matches!(r.to, role::ACT | role::RD | role::WR);
            } else if !r.sibling {
                apart[r.from][r.to] = r.wait.max(apart[r.from][r.to]);
            }
        }
        // What a rare command forbids a bank is kept with the bank, and what stands above the groups with the groups, so that a
        // bank's command depends on two places only.
        let one_bank = |to: Role| ONE_BANK >> to & 1 == 1;
        let at_bank = |r: &Row| r.level == leaf || (RARE >> r.from & 1 == 1 && r.window == 1 && !r.sibling);
        let level_of = |r: &Row| match one_bank(r.to) {
            true if at_bank(r) => leaf,
            true => group,
            false => r.level,
        };
        let mut first: Vec<[u32; ROLES]> = vec![[0; ROLES]; levels];
        let mut ready = banks as u32;
        for r in &rows {
            let first = &mut first[level_of(r)][r.to];
            if *first == 0 {
                *first = ready;
                ready += nodes[level_of(r)] as u32;
            }
        }
        let mut timing = Self {
            ready: vec![0; ready as usize],
            first_bank: [0; ROLES],
            first_group: [0; ROLES],
            group: path.iter().map(|p| if group < leaf { p[group] } else { 0 }).collect(),
            groups: if group < leaf { nodes[group] } else { 1 },
            wide: vec![[0; 8]; ROLES * banks],
            banks,
            effects: Vec::new(),
            plans: [Plan::default(); ROLES],
            shared: Vec::new(),
            lasting: Vec::new(),
            counted: [(0, 0); ROLES],
            windows: Vec::new(),
            path,
            histories: Vec::new(),
            issues: Vec::new(),
            heads: Vec::new(),
            reach,
            apart,
            simple,
        };
        for role in 0..ROLES {
            timing.first_bank[role] = first[leaf][role];
            timing.first_group[role] = if group < leaf { first[group][role] } else { 0 };
            for bank in 0..banks {
                let place = |level: usize| match first[level][role] {
                    0 => 0,
                    first => first + u32::from(timing.path[bank][level]),
                };
                if !one_bank(role) {
                    (0..levels).for_each(|level| timing.wide[role * banks + bank][level] = place(level));
                }
            }
        }
        // Rows that count their commands together share a history.
        let mut groups: Vec<Row> = Vec::new();
        let read_latency = ids[role::RD].map_or(0, |id| device.spec(id).latency);
        for from in 0..ROLES {
            let windows = timing.windows.len() as u16;
            for row in rows.iter().filter(|r| r.from == from && r.window > 1 && !r.sibling) {
                let key = Row { from: 0, ..*row };
                let known = groups.iter().position(|g| *g == key).unwrap_or_else(|| {
                    groups.push(key);
                    let (nodes, window) = (nodes[row.level], row.window as usize);
                    let history = History { first: timing.issues.len(), heads: timing.heads.len(), window };
                    timing.histories.push(history);
                    timing.issues.resize(timing.issues.len() + window * nodes, Cycle::MAX);
                    timing.heads.resize(timing.heads.len() + nodes, 0);
                    groups.len() - 1
                });
                timing.windows.push(Window {
                    level: row.level as u8,
                    ready: first[level_of(row)][row.to],
                    each: (nodes[level_of(row)] / nodes[row.level]) as u32,
                    wait: row.wait,
                    history: known as u16,
                });
            }
            timing.counted[from] = (windows, timing.windows.len() as u16);
            // A read alone is done when its data is, and the next command comes a cycle later at the earliest.
            let until_done = match from {
                role::RD => read_latency + 1,
                role::ACT => apart[role::ACT][role::RD] + read_latency + 1,
                role::PRE => apart[role::PRE][role::ACT] + apart[role::ACT][role::RD] + read_latency + 1,
                _ => 0,
            };
            let rows = || rows.iter().filter(|r| r.from == from && (r.window == 1 || r.sibling));
            let mut plan = Plan { together: device.levels[kept[leaf]].per_parent, ..Plan::default() };
            for (list, siblings) in [(&mut plan.own, false), (&mut plan.beside, true)] {
                let at_banks = rows().filter(|r| r.level == leaf && r.sibling == siblings);
                *list = timing.keep(at_banks.map(|r| (first[leaf][r.to], r.wait)));
            }
            timing.plans[from] = plan;
            for group in 0..timing.groups {
                let bank = timing.group.iter().position(|g| usize::from(*g) == group).unwrap_or(0);
                let mut effects: BTreeMap<u32, Cycle> = BTreeMap::new();
                for row in rows().filter(|r| r.level < leaf) {
                    let here = usize::from(timing.path[bank][row.level]);
                    let n = device.levels[kept[row.level]].per_parent as usize;
                    let reached = |node: usize| match row.sibling {
                        true => node != here && node / n == here / n,
                        false => node == here,
                    };
                    let level = level_of(row);
                    let each = nodes[level] / nodes[row.level];
                    for node in (0..nodes[level]).filter(|node| reached(node / each)) {
                        let wait = effects.entry(first[level][row.to] + node as u32).or_default();
                        *wait = row.wait.max(*wait);
                    }
                }
                let shared = timing.keep(effects.into_iter());
                timing.shared.push(shared);
            }
            for bank in 0..banks {
                let (own, shared) = (plan.own, timing.shared[from * timing.groups + usize::from(timing.group[bank])]);
                let at_bank = timing.effects_of(own).map(|(place, wait)| (place + bank as u32, wait));
                let of_group = timing.effects_of(shared);
                let all: Vec<(u32, Cycle)> = at_bank.chain(of_group).filter(|(_, wait)| *wait > until_done).collect();
                let lasting = timing.keep(all.into_iter());
                timing.lasting.push(lasting);
            }
            // Rows beside a bank are rare enough to leave a read to the usual course.
            timing.simple &= plan.beside.0 == plan.beside.1 || !matches!(from, role::ACT | role::PRE | role::RD);
        }
        timing
    }

    fn keep(&mut self, effects: impl Iterator<Item = (u32, Cycle)>) -> Effects {
        let start = self.effects.len() as u32;
        let narrow = |wait: Cycle| u32::try_from(wait).unwrap_or(u32::MAX);
        self.effects.extend(effects.map(|(place, wait)| Effect { place, wait: narrow(wait) }));
        (start, self.effects.len() as u32)
    }

    fn effects_of(&self, (from, to): Effects) -> impl Iterator<Item = (u32, Cycle)> {
        self.effects[from as usize..to as usize].iter().map(|e| (e.place, Cycle::from(e.wait)))
    }

    /// The first cycle at which the rows allow a command at a bank (or at the node of its scope above that bank).
    #[inline(always)]
    pub(super) fn earliest(&self, command: Role, bank: usize) -> Cycle {
        let command = command & (ROLES - 1);
        if ONE_BANK >> command & 1 == 1 {
            let own = self.ready[self.first_bank[command] as usize + bank];
            // A role of which no row speaks beyond the bank begins at 0, where the zeros are.
            return own.max(self.ready[self.first_group[command] as usize + self.group[bank] as usize]);
        }
        let wide = &self.wide[command * self.banks + bank];
        wide.iter().fold(0, |e, place| self.ready[*place as usize].max(e))
    }

    /// Records an issue.
    #[inline(always)]
    pub(super) fn issue(&mut self, command: Role, bank: usize, cycle: Cycle) {
        let plan = self.plans[command & (ROLES - 1)];
        self.apply(plan.own, bank, cycle);
        self.apply(self.shared[command * self.groups + self.group[bank] as usize], 0, cycle);
        if plan.beside.0 != plan.beside.1 {
            let (together, within) = (plan.together as usize, bank % plan.together as usize);
            for other in (0..together).filter(|other| *other != within) {
                self.apply(plan.beside, bank - within + other, cycle);
            }
        }
        self.count(command, bank, cycle, cycle);
    }

    /// Records an issue for a read alone, after which nothing can issue until after `next`.
    #[inline(always)]
    pub(super) fn issue_for_one(&mut self, command: Role, bank: usize, cycle: Cycle, next: Cycle) {
        self.apply(self.lasting[command * self.banks + bank], 0, cycle);
        self.count(command, bank, cycle, next);
    }

    #[inline(always)]
    fn apply(&mut self, (from, to): Effects, bank: usize, cycle: Cycle) {
        for effect in &self.effects[from as usize..to as usize] {
            let ready = &mut self.ready[effect.place as usize + bank];
            *ready = (*ready).max(cycle + Cycle::from(effect.wait));
        }
    }

    #[inline(always)]
    fn count(&mut self, command: Role, bank: usize, cycle: Cycle, next: Cycle) {
        let (from, to) = self.counted[command & (ROLES - 1)];
        for w in &self.windows[from as usize..to as usize] {
            let node = self.path[bank][w.level as usize & 7] as usize;
            let h = self.histories[w.history as usize];
            let issues = &mut self.issues[h.first + node * h.window..][..h.window];
            let head = &mut self.heads[h.heads + node];
            issues[*head as usize] = cycle;
            *head = if *head as usize + 1 == h.window { 0 } else { *head + 1 };
            let since = issues[*head as usize];
            if since != Cycle::MAX && since + w.wait > next {
                let each = w.each as usize;
                for ready in &mut self.ready[w.ready as usize + node * each..][..each] {
                    *ready = (*ready).max(since + w.wait);
                }
            }
        }
    }

    /// Appends what is left at `clock` of every wait: two timings with the same appended forbid the same from there on.
    pub(super) fn remaining(&self, clock: Cycle, out: &mut Vec<Cycle>) {
        out.extend(self.ready.iter().map(|r| r.saturating_sub(clock)));
        for w in &self.windows {
            let h = self.histories[w.history as usize];
            let rings = self.issues[h.first..].chunks_exact(h.window).zip(&self.heads[h.heads..]);
            let nodes = self.nodes_of(w.history as usize);
            for (issues, head) in rings.take(nodes) {
                // Oldest first; one too long ago to delay anything counts as none.
                let (newer, older) = issues.split_at(usize::from(*head));
                out.extend(older.iter().chain(newer).map(|at| match *at {
                    Cycle::MAX => 0,
                    at => (at + w.wait).saturating_sub(clock),
                }));
            }
        }
    }

    /// How many nodes a history keeps a ring for.
    fn nodes_of(&self, history: usize) -> usize {
        let next = self.histories.get(history + 1).map_or(self.heads.len(), |h| h.heads);
        next - self.histories[history].heads
    }

    /// Moves everything that matters at `clock` or later on by a time.
    pub(super) fn move_on(&mut self, clock: Cycle, by: Cycle) {
        for ready in self.ready.iter_mut().filter(|r| **r > clock) {
            *ready += by;
        }
        for issue in self.issues.iter_mut().filter(|i| **i != Cycle::MAX) {
            *issue += by;
        }
    }

    /// How far an issue of `from` reaches into when `to` may issue: 0 not at all, 1 at its own bank only, 2 at other banks.
    pub(super) fn reach(&self, from: Role, to: Role) -> u8 {
        self.reach[from][to]
    }
}

/// The rows between the commands in use, with those left out that another always outlasts.
fn rows(device: &Device, ids: &[Option<CommandId>; ROLES], config: &ControllerConfig, merged: &[usize]) -> Vec<Row> {
    let used = role::used(config);
    let roles_of = |id: CommandId| (0..ROLES).filter(move |r| used & (1 << r) != 0 && ids[*r] == Some(id));
    let mut rows: Vec<Row> = Vec::new();
    for row in &device.timing {
        if row.sibling && device.levels[row.level.0 as usize].per_parent == 1 {
            continue;
        }
        for from in roles_of(row.from) {
            for to in roles_of(row.to) {
                rows.push(Row {
                    level: merged[row.level.0 as usize],
                    from,
                    to,
                    wait: row.cycles,
                    window: row.window,
                    sibling: row.sibling,
                });
            }
        }
    }
    // A command that holds its bus for several cycles keeps every other of that bus away for as long.
    let spec = |r: Role| ids[r].map(|id| device.spec(id));
    for from in 0..ROLES {
        for to in 0..ROLES {
            let (Some(f), Some(t)) = (spec(from), spec(to)) else { continue };
            if used & (1 << from) != 0 && used & (1 << to) != 0 && f.bus == t.bus && f.bus_cycles > 1 {
                rows.push(Row { level: 0, from, to, wait: f.bus_cycles, window: 1, sibling: false });
            }
        }
    }
    // One command issues at a time on a bus, and within a cycle the column bus is served first: a wait of one cycle says
    // nothing, but from a column command to a row command.
    rows.retain(|r| {
        let crosses =
            spec(r.from).is_some_and(|c| c.bus == Bus::Column) && spec(r.to).is_some_and(|c| c.bus == Bus::Row);
        r.wait > 1 || crosses
    });
    let plain = |r: &Row| r.window == 1 && !r.sibling;
    let outlasted = |i: usize, a: &Row| {
        plain(a)
            && rows.iter().enumerate().any(|(j, b)| {
                i != j
                    && plain(b)
                    && (a.from, a.to) == (b.from, b.to)
                    && b.level <= a.level
                    && (b.wait > a.wait || (b.wait == a.wait && (b.level < a.level || j < i)))
            })
    };
    let keep: Vec<bool> = rows.iter().enumerate().map(|(i, r)| !outlasted(i, r)).collect();
    let mut kept = keep.iter();
    rows.retain(|_| *kept.next().unwrap_or(&true));
    rows
}
