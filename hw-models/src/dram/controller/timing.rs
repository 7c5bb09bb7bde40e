//! The timing rows of one channel, arranged for a controller: only the commands that its policies issue, only the rows that
//! can ever decide.

use super::super::Cycle;
use super::super::device::{Bus, CommandId, Device};
use super::config::ControllerConfig;
use super::role::{self, ROLES, Role};

/// Later than anything.
pub(super) const NEVER: Cycle = Cycle::MAX / 4;

/// What one issue of a command sets at one level.
#[derive(Debug, Clone, Copy)]
struct Update {
    level: u8,
    to: u8,
    sibling: bool,
    /// 0, or one more than the index of its history of issues.
    history: u16,
    wait: Cycle,
}

/// The last issues of the commands of a windowed row, for each node.
#[derive(Debug, Clone, Copy)]
struct History {
    base: usize,
    window: usize,
}

/// The earliest cycles of every command at every node of one channel.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    updates: Vec<Update>,
    /// The updates of each command: the start, the end of the plain ones, the end of those to siblings and of windows.
    range: [(u16, u16, u16); ROLES],
    /// `ready[node][role]`.
    ready: Vec<[Cycle; ROLES]>,
    /// The node of each level above each bank.
    path: Vec<[u16; 8]>,
    levels: usize,
    first_node: Vec<usize>,
    per_parent: Vec<usize>,
    histories: Vec<History>,
    history: Vec<Cycle>,
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
        let mut first_node = Vec::new();
        let mut nodes = 0;
        for level in &kept {
            first_node.push(nodes);
            nodes += device.levels[*level].nodes as usize;
        }
        let path = (0..device.banks)
            .map(|bank| {
                let mut path = [0u16; 8];
                for (at, level) in path.iter_mut().zip(&kept).enumerate().map(|(i, (p, l))| ((i, p), l)) {
                    *at.1 = (first_node[at.0] + (bank / device.levels[*level].banks) as usize) as u16;
                }
                path
            })
            .collect();
        let rows = rows(device, ids, config, &merged);
        let mut timing = Self {
            updates: Vec::new(),
            range: [(0, 0, 0); ROLES],
            ready: vec![[0; ROLES]; nodes],
            path,
            levels: kept.len(),
            first_node,
            per_parent: kept.iter().map(|l| device.levels[*l].per_parent as usize).collect(),
            histories: Vec::new(),
            history: Vec::new(),
        };
        // Rows that count their commands together share a history.
        let mut groups: Vec<Row> = Vec::new();
        for from in 0..ROLES {
            let start = timing.updates.len() as u16;
            let mut special = Vec::new();
            for row in rows.iter().filter(|r| r.from == from) {
                let history = if row.window > 1 {
                    let group = Row { from: 0, ..*row };
                    let known = groups.iter().position(|g| *g == group);
                    known.unwrap_or_else(|| {
                        groups.push(group);
                        timing.histories.push(History { base: timing.history.len(), window: row.window as usize });
                        timing.history.resize(timing.history.len() + row.window as usize * nodes, Cycle::MAX);
                        groups.len() - 1
                    }) as u16
                        + 1
                } else {
                    0
                };
                let update =
                    Update { level: row.level as u8, to: row.to as u8, sibling: row.sibling, history, wait: row.wait };
                if update.sibling || update.history > 0 { special.push(update) } else { timing.updates.push(update) }
            }
            let plain = timing.updates.len() as u16;
            timing.updates.append(&mut special);
            timing.range[from] = (start, plain, timing.updates.len() as u16);
        }
        timing
    }

    /// The first cycle at which the rows allow a command at a bank (or at the node of its scope above that bank).
    #[inline(always)]
    pub(super) fn earliest(&self, command: Role, bank: usize) -> Cycle {
        let path = &self.path[bank];
        let at = |level: usize| self.ready[path[level] as usize][command & (ROLES - 1)];
        // Paths are filled up with the channel itself, so that no loop is needed.
        let mut earliest = at(0).max(at(1)).max(at(2));
        if self.levels > 3 {
            earliest = earliest.max(at(3)).max(at(4));
        }
        if self.levels > 5 {
            earliest = earliest.max(at(5)).max(at(6)).max(at(7));
        }
        earliest
    }

    /// Records an issue.
    #[inline(always)]
    pub(super) fn issue(&mut self, command: Role, bank: usize, cycle: Cycle) {
        let path = &self.path[bank];
        let (start, plain, end) = self.range[command & (ROLES - 1)];
        for u in &self.updates[start as usize..plain as usize] {
            let ready = &mut self.ready[path[u.level as usize & 7] as usize][u.to as usize & (ROLES - 1)];
            *ready = (*ready).max(cycle + u.wait);
        }
        for u in &self.updates[plain as usize..end as usize] {
            let level = u.level as usize;
            let node = path[level & 7] as usize;
            if u.sibling {
                let within = (node - self.first_node[level]) % self.per_parent[level];
                let first = node - within;
                for (i, ready) in self.ready[first..first + self.per_parent[level]].iter_mut().enumerate() {
                    if i != within {
                        ready[u.to as usize & (ROLES - 1)] = ready[u.to as usize & (ROLES - 1)].max(cycle + u.wait);
                    }
                }
                continue;
            }
            let h = self.histories[u.history as usize - 1];
            let at = h.base + node * h.window;
            let issues = &mut self.history[at..at + h.window];
            for i in (1..issues.len()).rev() {
                issues[i] = issues[i - 1];
            }
            issues[0] = cycle;
            let since = issues[issues.len() - 1];
            if since != Cycle::MAX {
                let ready = &mut self.ready[node][u.to as usize & (ROLES - 1)];
                *ready = (*ready).max(since + u.wait);
            }
        }
    }

    /// How far an issue of `from` reaches into when `to` may issue: 0 not at all, 1 at its own bank only, 2 at other banks.
    pub(super) fn reach(&self, from: Role, to: Role) -> u8 {
        let (start, _, end) = self.range[from];
        let rows = self.updates[start as usize..end as usize].iter().filter(|u| u.to as usize == to);
        rows.map(|u| if u.sibling || (u.level as usize) < self.levels - 1 { 2 } else { 1 }).max().unwrap_or(0)
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
