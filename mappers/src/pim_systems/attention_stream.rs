//! Attention of decode on AttAcc's units: the requests of each channel of a stack.
//!
//! A head lies in one channel. Heads come in turns of as many as there are channels, and turns in pairs: the second's scores run while the first's
//! softmax does, and the first's products with the values while the second's softmax does. Within a step, requests to the units and the movements that go
//! beside them stand before one barrier. As AttAcc's public generator of traces lays it out (scale-snu/attacc_simulator, commit c600051, `trace_gen`).

use banksia_hw::dram::{CommandId, Device};
use banksia_hw::pim::queue::{Entry, Feed};
use banksia_input::InputError;

/// Where the units are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnitLevel {
    /// Beside every bank.
    Bank,
    /// Beside every bank group.
    BankGroup,
    /// In the buffer die, one for each pseudo-channel.
    Buffer,
}

impl std::str::FromStr for UnitLevel {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        match text {
            "bank" => Ok(Self::Bank),
            "bank-group" | "bg" => Ok(Self::BankGroup),
            "buffer" => Ok(Self::Buffer),
            _ => Err(InputError::unknown_name("units", "level of the units", text, ["bank", "bank-group", "buffer"])),
        }
    }
}

/// Bytes of a column of one bank, of a row, and banks of a bank group.
const COLUMN: u64 = 32;
const ROW: u64 = 1024;
const COLUMNS: u64 = ROW / COLUMN;
const BANKS: u64 = 4;
/// Pseudo-channels, and bank groups of a pseudo-channel over both stack ids.
const PSEUDO: u64 = 2;
const GROUPS: u64 = 8;
/// Results that a unit keeps before they are moved.
const RESULTS: u64 = 16;
/// The first row of the values.
const VALUE_ROW: u64 = 8192;

/// Attention of one new token in every head of a stack.
#[derive(Debug, Clone)]
pub struct AttentionStream {
    level: UnitLevel,
    channels: u64,
    heads: u64,
    keys: u64,
    head_dim: u64,
    lanes: u64,
    /// Nothing is left out where movements do not divide among steps.
    complete: bool,
    commands: Commands,
}

#[derive(Debug, Clone, Copy)]
struct Commands {
    mac: CommandId,
    load: CommandId,
    to_softmax: CommandId,
    to_units: CommandId,
    softmax: CommandId,
}

/// What a stream is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttentionShape {
    /// Where the units are.
    pub level: UnitLevel,
    /// Channels of a stack.
    pub channels: u32,
    /// Heads of a stack, over all sequences.
    pub heads: u32,
    /// Tokens whose keys and values lie there.
    pub keys: u32,
    /// Numbers of a key.
    pub head_dim: u32,
    /// Bytes of a number.
    pub bytes: u32,
    /// As the public generator: where movements do not divide among steps, the rest of them is left out.
    pub reference: bool,
}

impl AttentionStream {
    /// A stream for a device with AttAcc's commands.
    ///
    /// # Errors
    /// The device lacks one of the commands.
    pub fn new(device: &Device, shape: &AttentionShape) -> Result<Self, InputError> {
        let find = |name: &str| {
            device.command(name).ok_or_else(|| {
                InputError::new(format!("device {}", device.name), format!("has no command `{name}`"))
                    .help("attention on units runs on devices like hbm3-attacc-5200")
            })
        };
        let mac = match shape.level {
            UnitLevel::Bank => "MACAB",
            UnitLevel::BankGroup => "MACSB",
            UnitLevel::Buffer => "MACPB",
        };
        Ok(Self {
            level: shape.level,
            channels: u64::from(shape.channels.max(1)),
            heads: u64::from(shape.heads),
            keys: u64::from(shape.keys),
            head_dim: u64::from(shape.head_dim),
            lanes: COLUMN / u64::from(shape.bytes.clamp(1, 32)),
            complete: !shape.reference,
            commands: Commands {
                mac: find(mac)?,
                load: find("WRGB")?,
                to_softmax: find("MVSB")?,
                to_units: find("MVGB")?,
                softmax: find("SFM")?,
            },
        })
    }

    /// Units side by side that take keys, and those that take parts of a key.
    fn key_ways(&self) -> u64 {
        match self.level {
            UnitLevel::Bank | UnitLevel::BankGroup => PSEUDO * GROUPS,
            UnitLevel::Buffer => PSEUDO,
        }
    }

    fn part_ways(&self) -> u64 {
        if self.level == UnitLevel::Bank { BANKS } else { 1 }
    }

    /// Columns of a key in one bank, and so groups of results of the values.
    fn parts(&self) -> u64 {
        self.head_dim.div_ceil(self.part_ways() * self.lanes)
    }

    /// Keys one after the other.
    fn key_steps(&self) -> u64 {
        self.keys.div_ceil(self.key_ways())
    }

    /// Movements of the query into the units: bank, of each.
    fn loads(&self) -> u64 {
        self.part_ways() * self.parts()
    }

    fn load(&self, i: u64) -> u64 {
        i / self.parts()
    }

    /// Movements of the softmax's results into the units.
    fn moves(&self) -> u64 {
        let columns = self.keys.div_ceil(self.key_ways() * self.lanes);
        if self.level == UnitLevel::Buffer { columns } else { GROUPS * columns }
    }

    fn move_bank(&self, i: u64) -> u64 {
        if self.level == UnitLevel::Buffer { 0 } else { i / (self.moves() / GROUPS) * BANKS }
    }

    /// The banks whose results are moved after some keys, and after a group of the values' results; in the order of the movements.
    fn score_results(&self) -> impl Iterator<Item = u64> + use<> {
        let all = if self.level == UnitLevel::Buffer { 1 } else { GROUPS };
        // Bank groups before stack ids.
        (0..all).map(|i| (i % 2 * 4 + i / 2) * BANKS)
    }

    fn value_results(&self) -> impl Iterator<Item = u64> + use<> {
        let level = self.level;
        let (banks, ids) = match level {
            UnitLevel::Bank => (BANKS, 2),
            UnitLevel::BankGroup => (1, 2),
            UnitLevel::Buffer => (1, 1),
        };
        (0..banks).flat_map(move |bank| (0..ids).map(move |id| id * 4 * BANKS + bank))
    }

    /// The request of the `i`-th column of a head's keys or values.
    fn mac(&self, first_byte: u64, i: u64) -> Entry {
        let first_row = first_byte / ROW;
        let (bank, row) = match self.level {
            UnitLevel::Bank => (0, (first_byte + i * COLUMN) / ROW),
            UnitLevel::BankGroup => (i / COLUMNS % BANKS, first_row + i / COLUMNS / BANKS),
            UnitLevel::Buffer => (i % GROUPS * BANKS + i / GROUPS % BANKS, first_row + i / GROUPS / BANKS / COLUMNS),
        };
        Entry { command: self.commands.mac, bank: bank as u32, row: row as u32 }
    }

    /// Turns, and the channels that have a head in one.
    fn turns(&self) -> u64 {
        self.heads.div_ceil(self.channels)
    }

    fn busy(&self, turn: u64) -> u64 {
        (self.heads - turn * self.channels).min(self.channels)
    }

    /// The first byte of a turn's keys in each bank.
    fn keys_at(&self, turn: u64) -> u64 {
        // The generator keeps 4096 keys' numbers for each head, and takes a number for a byte.
        let most = if self.complete { self.keys.max(4096) * COLUMN / self.lanes } else { 4096 };
        turn * (most * self.head_dim).div_ceil(PSEUDO * GROUPS * BANKS)
    }

    fn values_at(&self, turn: u64) -> u64 {
        self.keys_at(turn) + VALUE_ROW * ROW
    }
}

/// Requests on their way to whom they are for.
struct Writer<'a> {
    stream: &'a AttentionStream,
    only: Option<usize>,
    take: &'a mut dyn FnMut(usize, Entry),
}

impl Writer<'_> {
    fn put(&mut self, channel: u64, entry: Entry) {
        if self.only.is_none_or(|only| only as u64 == channel) {
            (self.take)(channel as usize, entry);
        }
    }

    fn all(&mut self, busy: u64, entry: Entry) {
        match self.only {
            Some(only) if (only as u64) < busy => (self.take)(only, entry),
            Some(_) => {}
            None => (0..busy).for_each(|c| (self.take)(c as usize, entry)),
        }
    }

    fn barrier(&mut self) {
        self.all(self.stream.channels, Entry::barrier());
    }

    /// Columns of keys or values, of each the same in every channel.
    fn macs(&mut self, turn: u64, first_byte: u64, columns: std::ops::Range<u64>) {
        let busy = self.stream.busy(turn);
        for i in columns {
            self.all(busy, self.stream.mac(first_byte, i));
        }
    }

    fn moved(&mut self, turn: u64, command: CommandId, banks: impl Iterator<Item = u64>) {
        let busy = self.stream.busy(turn);
        for bank in banks {
            self.all(busy, Entry { command, bank: bank as u32, row: 0 });
        }
    }

    /// The `step`-th of `steps` shares of some movements, which are dealt over movements first and channels within them.
    fn share(
        &mut self,
        turn: u64,
        (step, steps): (u64, u64),
        movements: u64,
        command: CommandId,
        bank: impl Fn(u64) -> u64,
    ) {
        let busy = self.stream.busy(turn);
        let all = movements * busy;
        let share = if self.stream.complete { all.div_ceil(steps) } else { all / steps };
        for i in (step * share).min(all)..((step + 1) * share).min(all) {
            self.put(i % busy, Entry { command, bank: bank(i / busy) as u32, row: 0 });
        }
    }

    fn loads(&mut self, turn: u64, part: (u64, u64)) {
        let s = self.stream;
        self.share(turn, part, s.loads(), s.commands.load, |i| s.load(i));
    }

    fn moves(&mut self, turn: u64, part: (u64, u64)) {
        let s = self.stream;
        self.share(turn, part, s.moves(), s.commands.to_units, |i| s.move_bank(i));
    }

    /// Scores of a turn: steps of so many keys, with what `beside` adds to each step before its barrier.
    fn scores(&mut self, turn: u64, mut beside: impl FnMut(&mut Self, u64, u64)) {
        let s = self.stream;
        let (keys, parts) = (s.key_steps(), s.parts());
        let steps = keys.div_ceil(RESULTS);
        for step in 0..=steps {
            if step < steps {
                self.macs(turn, s.keys_at(turn), step * RESULTS * parts..((step + 1) * RESULTS).min(keys) * parts);
            }
            if step > 0 {
                self.moved(turn, s.commands.to_softmax, s.score_results());
            }
            beside(self, step, steps);
            if step < steps {
                self.barrier();
            }
        }
    }

    /// Products of a turn with the values.
    fn values(&mut self, turn: u64, mut beside: impl FnMut(&mut Self, u64, u64)) {
        let s = self.stream;
        let (keys, steps) = (s.key_steps(), s.parts());
        for step in 0..=steps {
            if step < steps {
                self.macs(turn, s.values_at(turn), step * keys..(step + 1) * keys);
            }
            if step > 0 {
                self.moved(turn, s.commands.to_softmax, s.value_results());
            }
            beside(self, step, steps);
            if step < steps {
                self.barrier();
            }
        }
    }

    fn softmax(&mut self, turn: u64) {
        // The generator starts it whether or not the last scores are there.
        if self.stream.complete {
            self.barrier();
        }
        self.moved(turn, self.stream.commands.softmax, std::iter::once(0));
    }

    /// Another turn's softmax at the first step of this one's work, and the movement of its results from the middle on.
    fn softmax_beside(&mut self, of: u64, step: u64, steps: u64) {
        if step == 0 {
            self.softmax(of);
        }
        if step < steps && step >= steps / 2 {
            self.moves(of, (step - steps / 2, steps.div_ceil(2)));
        }
    }

    fn pair(&mut self, first: u64) {
        let second = first + 1;
        self.loads(first, (0, 1));
        if first == 0 {
            // A first request, so that the row is open when the query is there.
            self.macs(0, self.stream.keys_at(0), 0..1);
        }
        self.barrier();
        self.scores(first, |w, step, steps| {
            if step < steps {
                w.loads(second, (step, steps));
            }
        });
        self.scores(second, |w, step, steps| w.softmax_beside(first, step, steps));
        self.values(first, |w, step, steps| w.softmax_beside(second, step, steps));
        // The generator reads the first turn's values twice.
        self.values(if self.stream.complete { second } else { first }, |_, _, _| {});
    }

    fn single(&mut self, turn: u64) {
        self.loads(turn, (0, 1));
        self.barrier();
        self.scores(turn, |_, _, _| {});
        self.softmax(turn);
        self.moves(turn, (0, 1));
        self.barrier();
        self.values(turn, |_, _, _| {});
    }
}

impl Feed for AttentionStream {
    fn channels(&self) -> usize {
        self.channels as usize
    }

    fn visit(&self, only: Option<usize>, take: &mut dyn FnMut(usize, Entry)) {
        let mut writer = Writer { stream: self, only, take };
        let turns = self.turns();
        for first in (0..turns.saturating_sub(1)).step_by(2) {
            writer.pair(first);
        }
        if turns % 2 == 1 {
            writer.single(turns - 1);
        }
    }
}
