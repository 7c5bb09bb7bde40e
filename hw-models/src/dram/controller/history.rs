//! When each command last issued at each node, and the timing rows read straight from the device over that: the stepped
//! controller's clockwork.

use super::super::Cycle;
use super::super::device::{CommandId, Device, TimingRow};

/// Issue times of one channel.
#[derive(Debug, Clone)]
pub(super) struct History {
    /// For each command and level, for each node: the latest issues, newest first.
    issues: Vec<Vec<Vec<Vec<Cycle>>>>,
    /// The rows that forbid each command, each with the earlier commands that it counts.
    rows: Vec<Vec<(TimingRow, Vec<CommandId>)>>,
    /// The first free cycle of each bus.
    bus_free: [Cycle; 2],
    kept: usize,
}

impl History {
    pub(super) fn new(device: &Device) -> Self {
        let mut rows: Vec<Vec<(TimingRow, Vec<CommandId>)>> = vec![Vec::new(); device.commands.len()];
        for row in &device.timing {
            let list = &mut rows[row.to.0 as usize];
            // Rows of a window that differ in the earlier command alone count these commands together.
            let same =
                |r: &TimingRow| row.window > 1 && (r.level, r.cycles, r.window) == (row.level, row.cycles, row.window);
            match list.iter_mut().find(|(r, _)| same(r)) {
                Some((_, from)) if from.contains(&row.from) => {}
                Some((_, from)) => from.push(row.from),
                None => list.push((row.clone(), vec![row.from])),
            }
        }
        let nodes = |level: usize| vec![Vec::new(); device.levels[level].nodes as usize];
        let levels = || (0..device.levels.len()).map(nodes).collect();
        Self {
            issues: (0..device.commands.len()).map(|_| levels()).collect(),
            rows,
            bus_free: [0; 2],
            kept: device.timing.iter().map(|r| r.window as usize).max().unwrap_or(1),
        }
    }

    /// Whether the rows and the bus allow a command at a bank.
    pub(super) fn allows(&self, device: &Device, command: CommandId, bank: u32, clock: Cycle) -> bool {
        clock >= self.bus_free[device.spec(command).bus as usize]
            && self.rows[command.0 as usize].iter().all(|(row, from)| self.row_allows(device, row, from, bank, clock))
    }

    fn row_allows(&self, device: &Device, row: &TimingRow, from: &[CommandId], bank: u32, clock: Cycle) -> bool {
        let level = row.level.0 as usize;
        let here = (bank / device.levels[level].banks) as usize;
        let at = |node: usize| {
            let mut times: Vec<Cycle> =
                from.iter().flat_map(|f| self.issues[f.0 as usize][level][node].iter().copied()).collect();
            times.sort_unstable_by(|a, b| b.cmp(a));
            times.get(row.window as usize - 1).is_none_or(|since| clock >= since + row.cycles)
        };
        if row.sibling {
            let n = device.levels[level].per_parent as usize;
            (here / n * n..here / n * n + n).all(|node| node == here || at(node))
        } else {
            at(here)
        }
    }

    /// Records an issue.
    pub(super) fn issue(&mut self, device: &Device, command: CommandId, bank: u32, clock: Cycle) {
        let spec = device.spec(command);
        self.bus_free[spec.bus as usize] = clock + spec.bus_cycles;
        for (level, nodes) in self.issues[command.0 as usize].iter_mut().enumerate().take(spec.scope.0 as usize + 1) {
            let times = &mut nodes[(bank / device.levels[level].banks) as usize];
            times.insert(0, clock);
            times.truncate(self.kept);
        }
    }
}
