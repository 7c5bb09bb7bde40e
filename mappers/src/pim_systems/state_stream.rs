//! State updates and attention on Pimba's units: the requests of every pseudo-channel.
//!
//! A state of `rows x columns` is cut into chunks of one column access's numbers by 32: a DRAM row. Rounds of one chunk in every bank: the rows are opened,
//! bank group by bank group, with the registers written meanwhile; the units go over the columns; the rows are closed and results read. A bank goes on with
//! the chunks of a row of chunks, since what belongs to that row is then in its registers already; a row of chunks that no bank has begun goes before those that one
//! has. As Pimba's public generator of traces deals them out (casys-kaist/pimba, commit d9ab7e2, `utils/trace.py`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use banksia_hw::dram::{CommandId, Device};
use banksia_hw::pim::queue::OrderedEntry;
use banksia_input::InputError;

/// A design of the units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Design {
    /// Pimba: one unit for two banks, of 8-bit numbers, that reads one while the other is written.
    Pimba,
    /// The same at 16 bits, a unit beside every bank with a pipeline.
    Pipelined,
    /// 16 bits, and a unit that takes turns at reading and writing.
    TimeMultiplexed,
    /// HBM-PIM's units, which do one step of the update at a time.
    HbmPim,
}

impl std::str::FromStr for Design {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        match text {
            "Pimba" => Ok(Self::Pimba),
            "Pipelined" => Ok(Self::Pipelined),
            "Time-multiplexed" => Ok(Self::TimeMultiplexed),
            "HBM-PIM" => Ok(Self::HbmPim),
            _ => {
                let known = ["Pimba", "Pipelined", "Time-multiplexed", "HBM-PIM"];
                Err(InputError::unknown_name("hw", "design of the units", text, known))
            }
        }
    }
}

impl Design {
    /// Passes over the columns of a row for a state update.
    fn passes(self) -> u32 {
        match self {
            Self::Pimba | Self::Pipelined => 2,
            Self::TimeMultiplexed => 4,
            Self::HbmPim => 8,
        }
    }
}

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateOp {
    /// A state is decayed, added to and multiplied with a query.
    Update,
    /// Scores of a query with keys.
    Score,
    /// Products of scores with values.
    Attend,
}

impl std::str::FromStr for StateOp {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        match text {
            "SU" => Ok(Self::Update),
            "SCORE" => Ok(Self::Score),
            "ATTEND" => Ok(Self::Attend),
            _ => Err(InputError::unknown_name("op", "operator of the units", text, ["SU", "SCORE", "ATTEND"])),
        }
    }
}

/// What a stream is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateShape {
    /// The units.
    pub design: Design,
    /// What they compute.
    pub op: StateOp,
    /// States, or heads over all sequences.
    pub count: u32,
    /// Numbers of a head.
    pub rows: u32,
    /// Numbers of a state, or tokens.
    pub columns: u32,
    /// Bytes of a number.
    pub bytes: u32,
    /// Channels.
    pub channels: u32,
    /// As the public generator: a last round that not every pseudo-channel has is left out.
    pub reference: bool,
}

const COLUMN: u32 = 32;
const COLUMNS: u32 = 32;
const PSEUDO: usize = 2;
const GROUPS: usize = 4;
const BANKS: usize = 4;
/// Commands of a round beside those of the units: its begin, four activations, the end.
const FRAME: usize = 6;

/// The requests of an operator.
#[derive(Debug, Clone)]
pub struct StateStream {
    pseudo: usize,
    /// Register writes of each activation: by round, pseudo-channel and bank group.
    writes: Vec<u8>,
    passes: usize,
    groups: Vec<u32>,
    sync: CommandId,
    activate: Vec<Option<CommandId>>,
    compute: CommandId,
    close: CommandId,
    /// Pseudo-channels that take part in the last round.
    last: usize,
}

impl StateStream {
    /// A stream for a device with Pimba's commands.
    ///
    /// # Errors
    /// The device lacks a command, or there is nothing to do.
    pub fn new(device: &Device, shape: &StateShape) -> Result<Self, InputError> {
        let lacking = |name: &str| {
            InputError::new(format!("device {}", device.name), format!("has no command `{name}`"))
                .help("state updates run on devices like hbm2-pimba")
        };
        let find = |name: &str| device.command(name).ok_or_else(|| lacking(name));
        let bytes = shape.bytes.clamp(1, 2);
        let results = if shape.op == StateOp::Attend { 8 } else { 8 * bytes };
        let passes = COLUMNS * if shape.op == StateOp::Update { shape.design.passes() } else { 2 };
        let pseudo = shape.channels as usize * PSEUDO;
        let (writes, last) = deal(shape, bytes, pseudo)?;
        let activate: Vec<Option<CommandId>> = (0..=20).map(|n| device.command(&format!("ACT4R{n}"))).collect();
        if let Some(n) = writes.iter().find(|n| activate.get(usize::from(**n)).copied().flatten().is_none()) {
            return Err(lacking(&format!("ACT4R{n}")));
        }
        let timing = |name: &str| device.timing(name).unwrap_or(0.0) as u32;
        let groups = writes
            .chunks(GROUPS)
            .map(|round| group_cycles(&timing, round.iter().map(|n| u32::from(*n)).sum(), bytes, passes))
            .collect();
        Ok(Self {
            pseudo,
            writes,
            passes: passes as usize,
            groups,
            sync: find("SYNC")?,
            activate,
            compute: find("COMP")?,
            close: find(&format!("PRER{results}"))?,
            last: if shape.reference { pseudo } else { last },
        }
        .without_ragged_end(shape.reference, last))
    }

    /// The public generator puts the pseudo-channels' lists together up to the end of the shortest.
    fn without_ragged_end(mut self, reference: bool, last: usize) -> Self {
        let round = self.pseudo * GROUPS;
        if reference && last < self.pseudo {
            if self.writes.len() > round {
                self.writes.truncate(self.writes.len() - round);
            } else {
                // One round: the pseudo-channels without a list are not missed.
                self.last = last;
            }
        }
        self
    }

    fn rounds(&self) -> usize {
        self.writes.len() / (self.pseudo * GROUPS)
    }

    fn entry(&self, round: usize, step: usize, pseudo: usize) -> OrderedEntry {
        let first = (round * self.pseudo + pseudo) * GROUPS;
        let node = (pseudo % PSEUDO) as u32;
        let plain = |command| OrderedEntry { command, node, group: 0 };
        match step {
            0 => OrderedEntry { command: self.sync, node, group: self.groups[round * self.pseudo + pseudo] },
            1..=GROUPS => {
                let writes = usize::from(self.writes[first + step - 1]);
                plain(self.activate.get(writes).copied().flatten().unwrap_or(self.sync))
            }
            _ if step < 1 + GROUPS + self.passes => plain(self.compute),
            _ => plain(self.close),
        }
    }

    /// All requests in order, each by its channel.
    pub fn requests(&self) -> impl Iterator<Item = (usize, OrderedEntry)> + '_ {
        let rounds = self.rounds();
        (0..rounds).flat_map(move |round| {
            let pseudo = if round + 1 == rounds { self.last } else { self.pseudo };
            (0..self.passes + FRAME)
                .flat_map(move |step| (0..pseudo).map(move |p| (p / PSEUDO, self.entry(round, step, p))))
        })
    }
}

/// Cycles that a round is taken to last: what must fit before a refresh.
fn group_cycles(timing: &dyn Fn(&str) -> u32, writes: u32, values: u32, passes: u32) -> u32 {
    let column = timing("nBL").max(timing("nCCDL"));
    let registers = 1 + writes.div_ceil(4) * column;
    3 * timing("nRRDS").max(timing("nFAW")).max(registers)
        + timing("nRCDRD").max(timing("nRCDWR")).max(registers)
        + timing("nRP").max(values * 8 * column)
        + passes * timing("nCCDL")
        + timing("nRTPL").max(timing("nWR"))
}

/// Deals the chunks out. Register writes by round, pseudo-channel and bank group, and the pseudo-channels that the last round has.
fn deal(shape: &StateShape, bytes: u32, pseudo: usize) -> Result<(Vec<u8>, usize), InputError> {
    let numbers = COLUMN / bytes;
    let rows = shape.rows.div_ceil(numbers) as usize * shape.count as usize;
    let columns = shape.columns.div_ceil(COLUMNS);
    let chunks = rows * columns as usize;
    if chunks == 0 || pseudo == 0 {
        return Err(InputError::new("operator", "has no numbers, or no channels to be in"));
    }
    // Chunks of each row that are dealt out, and the rows by these.
    let mut taken = vec![0_u32; rows];
    let mut order: BinaryHeap<Reverse<(u32, usize)>> = (0..rows).map(|row| Reverse((0, row))).collect();
    let mut held: Vec<Option<usize>> = vec![None; pseudo * GROUPS * BANKS];
    let mut writes = Vec::new();
    let mut dealt = 0;
    loop {
        for p in 0..pseudo {
            for group in 0..GROUPS {
                let mut sum = 0;
                for bank in 0..BANKS {
                    let held = &mut held[(p * GROUPS + group) * BANKS + bank];
                    let kept = held.filter(|row| taken[*row] < columns);
                    let row = kept.or_else(|| {
                        std::iter::from_fn(|| order.pop())
                            .find(|Reverse((dealt, row))| taken[*row] == *dealt && *dealt < columns)
                            .map(|Reverse((_, row))| row)
                    });
                    *held = row;
                    // A bank without a chunk takes part, and computes what nobody reads.
                    let Some(row) = row else { continue };
                    taken[row] += 1;
                    order.push(Reverse((taken[row], row)));
                    sum += match shape.op {
                        StateOp::Update if kept.is_some() => bytes,
                        StateOp::Update => 3 + bytes,
                        StateOp::Score | StateOp::Attend => 1,
                    };
                }
                writes.push(sum as u8);
            }
            dealt += GROUPS * BANKS;
            if dealt >= chunks {
                // The other pseudo-channels have nothing in this round.
                writes.resize(writes.len() + (pseudo - 1 - p) * GROUPS, shape_idle(shape, bytes));
                return Ok((writes, p + 1));
            }
        }
    }
}

/// Register writes of an activation that is never asked for.
fn shape_idle(shape: &StateShape, bytes: u32) -> u8 {
    (if shape.op == StateOp::Update { 4 * bytes } else { 4 }) as u8
}
