//! Every timing row of every device of the catalog: the later command is illegal a cycle too early and legal in its cycle, by
//! the engine and by the independent checker alike.
#![allow(clippy::unwrap_used, clippy::panic)]

use banksia_hw::dram::catalog;
use banksia_hw::dram::checker::Checker;
use banksia_hw::dram::device::TimingRow;
use banksia_hw::dram::{Channel, CommandId, Device, Effect, LoggedCommand, NO_ROW, Needs};

const ROW: u32 = 1;
/// So long apart that nothing reaches over.
const APART: u64 = 2_000_000;

struct Probe<'a> {
    device: &'a Device,
    channel: Channel,
    checker: Checker<'a>,
    at: u64,
}

impl Probe<'_> {
    fn node(&self, command: CommandId, bank: u32) -> u32 {
        // A command that acts across bank groups is addressed by its bank in the first of them.
        let (count, apart) = self.device.spread(command);
        let bank = if count > 1 { bank / (count * apart) * (count * apart) + bank % apart } else { bank };
        bank / self.device.levels[self.device.spec(command).scope.0 as usize].banks
    }

    fn logged(&self, command: CommandId, bank: u32, cycle: u64) -> LoggedCommand {
        let spec = self.device.spec(command);
        let row = if spec.needs == Needs::Open || matches!(spec.effect, Effect::Open | Effect::OpenFirst) {
            ROW
        } else {
            NO_ROW
        };
        LoggedCommand { cycle, command, node: self.node(command, bank), row }
    }

    /// Issues a command at the first cycle from `from` on at which both allow it.
    fn issue(&mut self, command: CommandId, bank: u32, from: u64) -> u64 {
        let node = self.node(command, bank);
        let cycle = self.channel.earliest(command, node).max(from);
        let cycle =
            if self.device.ticks_per_clock == 2 && !self.device.spec(command).falling_edge { cycle | 1 } else { cycle };
        let logged = self.logged(command, bank, cycle);
        self.channel.issue(command, node, logged.row, cycle);
        self.checker.accept(logged).unwrap_or_else(|v| panic!("{}: {v}", self.device.name));
        cycle
    }

    /// Brings the banks of a command's scope into the state that it needs, long before.
    fn prepare(&mut self, command: CommandId, bank: u32) {
        let spec = self.device.spec(command).clone();
        let at = self.at;
        self.at += APART;
        if spec.effect == Effect::Wake {
            let sleep =
                self.device.commands.iter().position(|c| c.scope == spec.scope && c.effect == Effect::PowerDown);
            self.issue(CommandId(sleep.unwrap() as u8), bank, at);
            return;
        }
        let opener = match spec.needs {
            Needs::Open => spec.open_with.unwrap(),
            Needs::Opening => self.device.roles.unwrap().activate,
            Needs::Any | Needs::Closed => return,
        };
        let banks = self.device.banks_of(command, self.node(command, bank));
        let step = self.device.levels[self.device.spec(opener).scope.0 as usize].banks as usize;
        for b in banks.step_by(step) {
            let opened = self.issue(opener, b, at);
            if self.device.spec(opener).effect == Effect::OpenFirst && spec.needs == Needs::Open {
                let (second, _) = self.device.roles.unwrap().activate_second.unwrap();
                self.issue(second, b, opened + 1);
            }
        }
        self.at += APART;
    }
}

/// A bank that shares the node of `level` with bank 0 but, where there is another, no node below it; for a sibling row, the
/// node beside.
fn other_bank(device: &Device, row: &TimingRow) -> u32 {
    let level = row.level.0 as usize;
    if row.sibling {
        return device.levels[level].banks;
    }
    device.levels.get(level + 1).map_or(0, |below| if below.per_parent > 1 { below.banks } else { 0 })
}

fn check_row(device: &Device, row: &TimingRow) -> bool {
    if row.sibling && device.levels[row.level.0 as usize].per_parent == 1 {
        return false;
    }
    let mut p = Probe {
        device,
        channel: Channel::new(std::sync::Arc::new(device.clone())),
        checker: Checker::new(device),
        at: APART,
    };
    let mut base = 0;
    let mut last = 0;
    if row.window > 1 {
        // As many as the window counts, on banks of the level's first node.
        let banks = device.levels[row.level.0 as usize].banks;
        let scope = device.levels[device.spec(row.from).scope.0 as usize].banks;
        let nodes = (banks / scope).max(1);
        if nodes <= row.window {
            return false;
        }
        let start = p.at;
        for i in 0..row.window {
            // Spread over the node, so that the banks' own rows matter least.
            let bank = i * (nodes / row.window).max(1) * scope;
            last = p.issue(row.from, bank, start);
            if i == 0 {
                base = last;
            }
        }
    } else {
        p.prepare(row.from, 0);
        base = p.issue(row.from, 0, p.at);
        last = last.max(base);
    }
    let to_bank = if row.window > 1 { device.levels[row.level.0 as usize].banks - 1 } else { other_bank(device, row) };
    let node = p.node(row.to, to_bank);
    let first = p.channel.earliest(row.to, node).max(last);
    let legal = p.checker.first_legal(row.to, node);
    let edge = |t: u64| if device.ticks_per_clock == 2 && !device.spec(row.to).falling_edge { t | 1 } else { t };
    let words = format!("{}: {} then {}", device.name, device.spec(row.from).name, device.spec(row.to).name);
    // The pairing of a falling edge is the checker's own.
    assert!(legal == first || (device.spec(row.to).falling_edge && legal == first + 1), "{words}: {first} and {legal}");
    assert!(legal >= edge(base + row.cycles), "{words}: {legal} is before {base} + {}", row.cycles);
    let mut early = p.checker.clone();
    let reason = early.accept(p.logged(row.to, to_bank, legal - 1)).expect_err(&words).reason;
    let timing = ["not before", "bus", "edge", "paired"].iter().any(|w| reason.contains(w));
    assert!(timing || legal - 1 <= last, "{words}: {reason}");
    if let Err(violation) = p.checker.accept(p.logged(row.to, to_bank, legal)) {
        assert!(violation.reason.contains("bank "), "{words}: only a bank's state may forbid it: {violation}");
    }
    legal == edge(base + row.cycles)
}

#[test]
fn every_row_is_kept_and_tight() {
    for name in catalog::names() {
        let device = catalog::load(name).unwrap();
        let binding = device.timing.iter().filter(|row| check_row(&device, row)).count();
        // The rest are outlasted by another row of the same pair, or have no room in this organisation.
        assert!(binding * 2 > device.timing.len(), "{name}: {binding} of {} rows decide", device.timing.len());
    }
}
