//! The timing rows of one channel, arranged for a controller: only the commands that its policies issue, only the rows that
//! can ever decide.

use super::super::Cycle;
use super::super::device::{Bus, CommandId, Device};
use super::config::ControllerConfig;
use super::role::{self, ROLES, Role};

/// Roles that issue now and then, at many banks.
const RARE: u32 = 1 << role::PREAB | 1 << role::REF | 1 << role::SLEEP | 1 << role::WAKE;

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

/// What an issue of a command sets: the places in `ready`, the same number for every bank, and how long after the issue each
/// of them is ready; then the rows that look further back than the last issue.
#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    targets: u32,
    waits: u32,
    count: u32,
    windows: (u16, u16),
}

/// A row that counts several issues: where its node's last ones stand, and what it sets.
#[derive(Debug, Clone, Copy)]
struct Window {
    level: u8,
    /// The place of the level's first node in `ready`.
    ready: u32,
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
    /// When each node of a level is ready for a role, for those levels and roles that some row speaks of. The first is always 0.
    ready: Vec<Cycle>,
    /// `places[role * banks + bank]`: what of `ready` a role at a bank depends on, the bank's own first, filled up with 0.
    places: Vec<[u32; 4]>,
    /// The places beyond four.
    more_places: Vec<[u32; 4]>,
    /// How many places a role has.
    depth: [u8; ROLES],
    banks: usize,
    plans: [Plan; ROLES],
    /// Where each bank's issues of a command reach: `targets[plan.targets + bank * plan.count..]`.
    targets: Vec<u32>,
    waits: Vec<Cycle>,
    windows: Vec<Window>,
    /// The node of each level above each bank, counted within the level.
    path: Vec<[u16; 8]>,
    histories: Vec<History>,
    issues: Vec<Cycle>,
    heads: Vec<u8>,
    reach: [[u8; ROLES]; ROLES],
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
        let mut reach = [[0; ROLES]; ROLES];
        for r in &rows {
            let far = if r.sibling || r.level < levels - 1 { 2 } else { 1 };
            reach[r.from][r.to] = far.max(reach[r.from][r.to]);
        }
        // What rare commands forbid a bank is kept with the bank, so that common ones look at fewer levels.
        let apart = |r: &Row| RARE >> r.from & 1 == 1 && ONE_BANK >> r.to & 1 == 1 && !r.sibling && r.window == 1;
        let level_of = |r: &Row| if apart(r) { levels - 1 } else { r.level };
        let mut first: Vec<[u32; ROLES]> = vec![[0; ROLES]; levels];
        let mut ready = 1;
        for r in &rows {
            let first = &mut first[level_of(r)][r.to];
            if *first == 0 {
                *first = ready;
                ready += nodes[level_of(r)] as u32;
            }
        }
        let mut timing = Self {
            ready: vec![0; ready as usize],
            places: vec![[0; 4]; ROLES * banks],
            more_places: vec![[0; 4]; ROLES * banks],
            depth: [0; ROLES],
            banks,
            plans: [Plan::default(); ROLES],
            targets: Vec::new(),
            waits: Vec::new(),
            windows: Vec::new(),
            path,
            histories: Vec::new(),
            issues: Vec::new(),
            heads: Vec::new(),
            reach,
        };
        for role in 0..ROLES {
            let used: Vec<usize> = (0..levels).rev().filter(|l| first[*l][role] != 0).collect();
            timing.depth[role] = used.len() as u8;
            for bank in 0..banks {
                for (i, level) in used.iter().enumerate() {
                    let place = first[*level][role] + u32::from(timing.path[bank][*level]);
                    let places = if i < 4 { &mut timing.places } else { &mut timing.more_places };
                    places[role * banks + bank][i & 3] = place;
                }
            }
        }
        // Rows that count their commands together share a history.
        let mut groups: Vec<Row> = Vec::new();
        for from in 0..ROLES {
            let windows = timing.windows.len() as u16;
            for row in rows.iter().filter(|r| r.from == from && r.window > 1 && !r.sibling) {
                let group = Row { from: 0, ..*row };
                let known = groups.iter().position(|g| *g == group).unwrap_or_else(|| {
                    groups.push(group);
                    let (nodes, window) = (nodes[row.level], row.window as usize);
                    let history = History { first: timing.issues.len(), heads: timing.heads.len(), window };
                    timing.histories.push(history);
                    timing.issues.resize(timing.issues.len() + window * nodes, Cycle::MAX);
                    timing.heads.resize(timing.heads.len() + nodes, 0);
                    groups.len() - 1
                });
                let (level, ready) = (row.level as u8, first[row.level][row.to]);
                timing.windows.push(Window { level, ready, wait: row.wait, history: known as u16 });
            }
            let plain: Vec<&Row> = rows.iter().filter(|r| r.from == from && (r.window == 1 || r.sibling)).collect();
            let (targets, waits) = (timing.targets.len() as u32, timing.waits.len() as u32);
            for bank in 0..banks {
                for row in &plain {
                    let node = |bank: usize| usize::from(timing.path[bank][row.level]);
                    let here = node(bank);
                    let first = first[level_of(row)][row.to];
                    let mut add = |at: usize| {
                        timing.targets.push(first + at as u32);
                        if bank == 0 {
                            timing.waits.push(row.wait);
                        }
                    };
                    if apart(row) {
                        (0..banks).filter(|b| node(*b) == here).for_each(add);
                    } else if row.sibling {
                        let n = device.levels[kept[row.level]].per_parent as usize;
                        (here / n * n..here / n * n + n).filter(|other| *other != here).for_each(add);
                    } else {
                        add(here);
                    }
                }
            }
            let count = timing.waits.len() as u32 - waits;
            timing.plans[from] = Plan { targets, waits, count, windows: (windows, timing.windows.len() as u16) };
        }
        timing
    }

    /// The first cycle at which the rows allow a command at a bank (or at the node of its scope above that bank).
    #[inline(always)]
    pub(super) fn earliest(&self, command: Role, bank: usize) -> Cycle {
        let places = &self.places[command * self.banks + bank];
        let at = |i: usize| self.ready[places[i] as usize];
        let depth = self.depth[command & (ROLES - 1)];
        let mut earliest = at(0);
        if depth > 1 {
            earliest = earliest.max(at(1)).max(at(2));
            if depth > 3 {
                earliest = earliest.max(at(3));
                if depth > 4 {
                    let more = &self.more_places[command * self.banks + bank];
                    earliest = more.iter().fold(earliest, |e, p| e.max(self.ready[*p as usize]));
                }
            }
        }
        earliest
    }

    /// Records an issue.
    #[inline(always)]
    pub(super) fn issue(&mut self, command: Role, bank: usize, cycle: Cycle) {
        let plan = &self.plans[command & (ROLES - 1)];
        let count = plan.count as usize;
        let start = plan.targets as usize + bank * count;
        let waits = &self.waits[plan.waits as usize..][..count];
        for (target, wait) in self.targets[start..][..count].iter().zip(waits) {
            let ready = &mut self.ready[*target as usize];
            *ready = (*ready).max(cycle + wait);
        }
        for w in &self.windows[plan.windows.0 as usize..plan.windows.1 as usize] {
            let node = self.path[bank][w.level as usize & 7] as usize;
            let h = self.histories[w.history as usize];
            let issues = &mut self.issues[h.first + node * h.window..][..h.window];
            let head = &mut self.heads[h.heads + node];
            issues[*head as usize] = cycle;
            *head = if *head as usize + 1 == h.window { 0 } else { *head + 1 };
            let since = issues[*head as usize];
            if since != Cycle::MAX {
                let ready = &mut self.ready[w.ready as usize + node];
                *ready = (*ready).max(since + w.wait);
            }
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
