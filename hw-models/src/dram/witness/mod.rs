//! A judge of commands that knows physics only.
//!
//! The table's [`super::checker`] reads the rows that the engine reads: a row that is missing is missing to both. This judge reads
//! none. From a device it takes what there is (levels, banks, pins and their rate, the clock), what each command is (what it does to
//! which banks, which way its data goes, its latency) and timings by the names that the standards give them (`nWR`, `nRP`, `nRFC`),
//! and holds a stream of commands to these laws:
//!
//! * [`Law::Pins`]: one burst at a time on a channel's (or pseudo-channel's) data pins, whatever ranks and banks the bursts are of,
//!   and a clock in between where the direction or the rank changes.
//! * [`Law::Busy`]: after a refresh nothing enters what it refreshes until it is over, another refresh included.
//! * [`Law::Interval`]: each bank is refreshed once in tREFI whatever the kind of refresh, up to the refreshes that may be postponed.
//! * [`Law::Restore`]: no row is closed before its cells are restored (tRAS, tRTP, write recovery), and no bank is activated,
//!   refreshed or put into self-refresh before it is precharged (tRP); auto-precharge too.
//! * [`Law::Hammer`]: under refresh management no bank is activated more than RAAMMT times without an RFM or a refresh
//!   ([`Witness::managed`]).
//! * [`Law::State`]: rows are opened in closed banks, columns accessed in open ones (after tRCD), and who sleeps is woken first.
//!
//! Commands are judged as they come, in time and memory that do not grow. All times count from a command's last tick on its bus, which is
//! when a device acts on it. The order of requests is [`order::Order`]'s to judge.

mod bank;
mod facts;
mod hammer;
mod law;
pub mod order;
mod pins;
pub mod trial;

use super::Cycle;
use super::controller::{Completion, Issued, Recorder};
use super::device::{CommandId, Device};
use bank::{Bank, Rest};
use facts::{Entry, Facts};
use hammer::Hammer;
pub use law::{Breach, Law};
use order::Order;
use pins::{Burst, Pins};

/// Breaches that are kept in full; all are counted.
const KEPT: usize = 16;

/// Judges commands of one channel in the order of their issue. It is a [`Recorder`], so that a controller can be run under its eyes.
#[derive(Debug, Clone)]
pub struct Witness {
    facts: Facts,
    names: Vec<String>,
    /// Banks of the channel.
    count: u32,
    /// By row buffer, and within one by bank.
    banks: Vec<Bank>,
    pins: Vec<Pins>,
    rests: Vec<Rest>,
    commands: u64,
    last: Cycle,
    breaches: u64,
    kept: Vec<Breach>,
    order: Option<Order>,
    hammer: Option<Hammer>,
}

impl Witness {
    /// A judge of a channel at rest, every bank closed.
    pub fn new(device: &Device) -> Self {
        let facts = Facts::new(device);
        let nodes = |banks: u32| (device.banks / banks.max(1)) as usize;
        Self {
            names: device.commands.iter().map(|c| c.name.clone()).collect(),
            count: device.banks,
            banks: vec![Bank::default(); (device.banks * device.row_buffers) as usize],
            pins: vec![Pins::default(); nodes(facts.pin_banks)],
            rests: vec![Rest::default(); nodes(facts.rest_banks)],
            commands: 0,
            last: 0,
            breaches: 0,
            kept: Vec::new(),
            order: None,
            hammer: None,
            facts,
        }
    }

    /// Judges the order of requests to one transaction too: [`Witness::order`] is told of each before a controller has it.
    #[must_use]
    pub fn keeping_order(mut self, device: &Device) -> Self {
        self.order = device.roles.map(|roles| Order::new(device.spec(roles.read).latency));
        self
    }

    /// Judges refresh management too, for a controller that does it.
    #[must_use]
    pub fn managed(mut self, device: &Device) -> Self {
        self.hammer = Hammer::new(device);
        self
    }

    /// The judge of requests' order, where there is one.
    pub fn order(&mut self) -> Option<&mut Order> {
        self.order.as_mut()
    }

    /// What this device's names do not tell, so that a law goes unjudged; nothing for a device of a known standard.
    pub fn unjudged(&self) -> &[String] {
        &self.facts.unjudged
    }

    /// Commands judged.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// How often a law was broken.
    pub fn breaches(&self) -> u64 {
        self.breaches
    }

    /// The first breaches.
    pub fn kept(&self) -> &[Breach] {
        &self.kept
    }

    fn breach(&mut self, law: Law, clock: Cycle, command: CommandId, bank: u32, reason: String) {
        self.breaches += 1;
        if self.kept.len() < KEPT {
            let command = self.names[command.0 as usize].clone();
            self.kept.push(Breach { law, clock, command, bank, reason });
        }
    }

    /// Judges the next command: when it issued, and the bank or the first of those that it acts on.
    pub fn accept(&mut self, clock: Cycle, command: CommandId, bank: u32) {
        self.commands += 1;
        self.last = clock;
        let Some(entry) = self.facts.commands.get(command.0 as usize).copied() else {
            return self.breach(Law::State, clock, command, bank, "is no command of the device".into());
        };
        if u64::from(bank) + u64::from(entry.reach) > u64::from(self.count) {
            return self.breach(Law::State, clock, command, bank, "is beyond the banks of the channel".into());
        }
        let at = clock + entry.bus;
        if let Some((law, reason)) = self.rest(&entry, at, bank) {
            self.breach(law, clock, command, bank, reason);
        }
        if let Some(burst) = entry.burst {
            let begin = at + burst.lead;
            let burst = Burst {
                begin,
                end: begin + burst.length,
                write: burst.write,
                rank: bank / self.facts.rank_banks,
                stack: bank / self.facts.stack_banks,
            };
            let group = (bank / self.facts.pin_banks) as usize;
            if let Err(reason) = self.pins[group].take(burst, &self.facts) {
                self.breach(Law::Pins, clock, command, bank, reason);
            }
            let rest = &mut self.rests[(bank / self.facts.rest_banks) as usize];
            rest.quiet = rest.quiet.max(burst.end + if burst.write && entry.touches { self.facts.recovery } else { 0 });
        }
        if !entry.touches {
            return;
        }
        let mut first = None;
        for i in 0..entry.count {
            let node = bank + i * entry.apart;
            for bank in node..node + entry.banks {
                for buffer in (0..u8::BITS).filter(|b| entry.row_buffers & (1 << b) != 0) {
                    let at_buffer = (buffer * self.count + bank) as usize;
                    if let Err(broken) = self.banks[at_buffer].take(&entry, at, &self.facts) {
                        first.get_or_insert((bank, broken));
                    }
                }
                if let Some(Err(reason)) = self.hammer.as_mut().map(|h| h.take(command, &entry, bank)) {
                    self.breach(Law::Hammer, clock, command, bank, reason);
                }
            }
        }
        // What a command does to many banks at once it breaks once.
        if let Some((bank, (law, reason))) = first {
            self.breach(law, clock, command, bank, reason);
        }
    }

    /// What sleeps and wakes.
    fn rest(&mut self, entry: &Entry, at: Cycle, bank: u32) -> Option<(Law, String)> {
        let first = (bank / self.facts.rest_banks) as usize;
        let nodes = (entry.reach.div_ceil(self.facts.rest_banks)).max(1) as usize;
        let mut problem = None;
        for rest in self.rests.iter_mut().skip(first).take(nodes) {
            let slept = rest.take(entry, at, &self.facts);
            match slept {
                Ok(None) => {}
                Ok(Some(slept)) => {
                    let banks = first as u32 * self.facts.rest_banks;
                    for bank in banks..banks + self.facts.rest_banks {
                        self.banks[bank as usize].slept(slept);
                    }
                }
                Err(reason) => problem = Some((Law::State, reason)),
            }
        }
        problem
    }

    /// Judges the end of a stream, `end` being its last tick: whether every bank has had its refreshes. `refreshing` says whether
    /// the controller was to refresh at all.
    pub fn finish(&mut self, end: Cycle, refreshing: bool) {
        let Some((command, interval)) = self.facts.interval.filter(|_| refreshing) else { return };
        for bank in 0..self.count {
            let rest = &self.rests[(bank / self.facts.rest_banks) as usize];
            let asleep = rest.self_refresh_since.map_or(0, |since| end.saturating_sub(since));
            let state = self.banks[bank as usize];
            if let Err(reason) = state.refreshed_in(end.saturating_sub(asleep), interval, self.facts.allowance) {
                self.breach(Law::Interval, end, command, bank, reason);
            }
        }
    }

    /// The tick of the last command.
    pub fn last(&self) -> Cycle {
        self.last
    }

    /// Refreshes of a bank, in whole ones: those that refresh half a bank's share count one half.
    pub fn refreshes(&self, bank: u32) -> f64 {
        self.banks.get(bank as usize).map_or(0.0, |b| b.refreshed as f64 / f64::from(law::WHOLE))
    }
}

impl Recorder for Witness {
    const COMMANDS: bool = true;
    const COMPLETIONS: bool = true;
    fn command(&mut self, issued: Issued) {
        self.accept(issued.clock, issued.command, issued.bank);
        if let (Some(order), Some(index)) = (&mut self.order, issued.index)
            && let Some(entry) = self.facts.commands.get(issued.command.0 as usize)
            && let (Some(_), Some(burst)) = (entry.column, entry.burst)
        {
            order.column(issued.clock, burst.write, index);
        }
    }
    fn completion(&mut self, completion: Completion) {
        if let Some(order) = &mut self.order {
            order.completion(&completion);
        }
    }
}
