//! What a refresh costs a block of instructions at least, by where in it it falls due.
//!
//! A refresh that falls due in a block goes out before the next instruction. What it adds depends on what the channels do then: they close rows before it and
//! open them after it, and loads of buffers go on beside it. So a piece of the block, from one load to the next, is run once for each cycle in which a refresh may fall due
//! in it or shortly before it. Of what repeats, row after row, a few repetitions stand for all: every pair of instructions that follow one another in
//! the piece does so in them.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use banksia_hw::dram::Cycle;
use banksia_hw::pim::{BlockAlone, PimMachine, Ran};
use banksia_hw::program::{Block, ChannelSet, PimInstruction, Program};

use super::added::Added;
use super::path::{Dues, Refreshed};

/// An instruction of a block: its name, channels, columns, bank and row.
pub(super) type Command = (String, ChannelSet, u32, u32, u32);

/// Commands without a row between two multiplications of a row that take no longer than a row cycle: a result that is read, a register that is written.
const SHORT: u32 = 2;

/// Loads of buffers by which a block is cut at most.
const MOST_LOADS: usize = 32;

/// Rows that are kept at the beginning and at the end of what repeats.
const KEPT: [usize; 2] = [3, 1];

/// Cycles at which a refresh may fall due that are tried at most in a piece.
const MOST_CYCLES: Cycle = 4096;

/// Cycles before a block of which one stands for those that follow it.
const STRIDE: usize = 8;

/// Cycles by which what repeats may lie otherwise to the clock's edges.
const EDGE: usize = 2;

/// Where a block goes on for longer than reading a result and writing a register without an open row, as it does where it loads buffers. `None` where a refresh may wait
/// until the block is over: ordinary accesses hold it up.
pub(super) fn loads(list: &[Command]) -> Option<Vec<Range<usize>>> {
    if list.iter().any(|i| i.0 == "R MEM" || i.0 == "W MEM") {
        return None;
    }
    // Stretches between two instructions that have a row, and how many commands each is.
    let mut all = Vec::new();
    let (mut start, mut commands) = (0, 0);
    for (place, (_, _, columns, _, row)) in list.iter().enumerate() {
        if *row == 0 {
            commands += columns;
            continue;
        }
        if commands > SHORT {
            all.push(start..place);
        }
        (start, commands) = (place + 1, 0);
    }
    if commands > SHORT {
        all.push(start..list.len());
    }
    Some(all)
}

/// What a refresh adds to a piece: before it, in its load, in the first rows and in the last ones that were kept.
#[derive(Debug, Clone)]
struct OfPiece {
    /// By cycle, from `Interrupted::before` before it on, without what was left out.
    cycles: Vec<u32>,
    /// Cycles until its load is over, and until what was left out.
    loaded: usize,
    kept: usize,
}

/// A run of a piece in which a refresh falls due in a cycle.
#[derive(Debug, Clone, Copy)]
struct Met {
    due: Cycle,
    added: Cycle,
    ran: Ran,
}

/// Finds what refreshes add to blocks.
#[derive(Debug)]
pub(super) struct Interrupted {
    machine: PimMachine,
    still: PimMachine,
    pieces: HashMap<Vec<Command>, Option<Arc<OfPiece>>>,
}

impl Interrupted {
    /// Of a machine that refreshes, and the same without.
    pub(super) fn new(machine: &PimMachine, still: &PimMachine) -> Self {
        Self { machine: machine.clone(), still: still.clone(), pieces: HashMap::new() }
    }

    /// Of a program of one block, `list`, that takes so many seconds by itself; `None` where that is not known.
    ///
    /// # Errors
    /// A piece of it cannot be run, in words.
    pub(super) fn of(
        &mut self,
        program: &Program,
        list: &[Command],
        dues: &Dues,
        seconds: f64,
    ) -> Result<Option<Refreshed>, String> {
        let Some(Block::Instructions(all)) = program.blocks.first().map(|b| &**b) else { return Ok(None) };
        let Some(loads) = loads(list).filter(|l| l.len() <= MOST_LOADS) else { return Ok(None) };
        let Some(refresh) = self.machine.device.refresh else { return Ok(None) };
        let pieces = pieces(&loads, list.len());
        let mut piece = Piece { program: program.clone() };
        let cycle_s = self.machine.device.clock_fs as f64 * 1e-15;
        let whole = piece.done(&self.still, all, 0)?;
        let before = self.before();
        let mut alone: Vec<u32> = Vec::new();
        let mut at = 0;
        for (place, (load, after)) in pieces.iter().enumerate() {
            let next = pieces.get(place + 1).cloned().unwrap_or((0..0, 0..0));
            let last = after.end == list.len();
            let end = if last { whole } else { piece.done(&self.still, all.get(..after.end).unwrap_or(all), 0)? };
            let length = (end.min(whole) as usize).saturating_sub(at);
            let Some(added) = self.piece(&mut piece, all, list, [(load, after), (&next.0, &next.1)])? else {
                // What is not known may cost nothing beside a load and where the piece ends.
                let until = all.get(..load.end).filter(|_| !load.is_empty());
                let loaded = until.map_or(Ok(0), |list| piece.done(&self.still, list, 0))? as usize;
                let loaded = loaded.saturating_sub(at).min(length);
                let waits = (dues.waits_s / cycle_s).ceil() as usize;
                let adds = (dues.adds_s / cycle_s).floor() as u32;
                let body = loaded..length.saturating_sub(waits).max(loaded);
                alone.resize(alone.len() + if place == 0 { before } else { 0 }, 0);
                alone.extend((0..length).map(|p| if body.contains(&p) { adds } else { 0 }));
                at += length;
                continue;
            };
            // Only the first piece can be met by what fell due before it: elsewhere that was in the piece before.
            if place == 0 {
                alone.extend(&added.cycles[..before]);
            }
            let own = &added.cycles[before..];
            let tail = own.len() - added.kept;
            let steady = own[added.loaded.min(added.kept)..added.kept].iter().min().copied().unwrap_or(0);
            let of = |p: usize| match p {
                p if p < added.kept.min(length) => own[p],
                p if p + tail >= length => own[own.len() - (length - p)],
                _ => steady,
            };
            alone.extend((0..length).map(of));
            at += length;
        }
        let edges: Vec<u32> = (0..alone.len())
            .map(|p| alone[p.saturating_sub(EDGE)..(p + EDGE + 1).min(alone.len())].iter().min().copied().unwrap_or(0))
            .collect();
        // The way to the memory comes before; a block that finds the mode set is ahead of one that does not.
        let way_s = seconds - whole as f64 * cycle_s;
        let added = Added::new(before, &edges, refresh.interval);
        Ok(Some(Refreshed::InCycles { added: Arc::new(added), way_s, cycle_s }))
    }

    /// Cycles before a block in which a refresh that falls due can still be felt in it.
    fn before(&self) -> usize {
        let device = &self.machine.device;
        device.timing("nRFC").map_or(0, |n| (n * f64::from(device.ticks_per_clock)) as usize)
    }

    /// What a refresh adds that falls due shortly before a load, in it, or in what comes after it, before the next load.
    fn piece(
        &mut self,
        piece: &mut Piece,
        all: &[PimInstruction],
        list: &[Command],
        [own, next]: [(&Range<usize>, &Range<usize>); 2],
    ) -> Result<Option<Arc<OfPiece>>, String> {
        let Some(kept) = repeats(list, own.1, KEPT) else { return Ok(None) };
        let after = repeats(list, next.1, [1, 0]).unwrap_or_default();
        let places = |parts: &[Range<usize>]| parts.iter().cloned().flatten().collect::<Vec<usize>>();
        let load = places(std::slice::from_ref(own.0));
        let head: Vec<usize> = load.iter().copied().chain(kept.first().cloned().into_iter().flatten()).collect();
        let own: Vec<usize> = load.iter().copied().chain(places(&kept)).collect();
        let both: Vec<usize> = own.iter().copied().chain(next.0.clone()).chain(places(&after)).collect();
        let mut key = relabelled(list, &both);
        // Where the piece ends.
        key.push((String::new(), ChannelSet::EMPTY, load.len() as u32, head.len() as u32, own.len() as u32));
        if let Some(known) = self.pieces.get(&key) {
            return Ok(known.clone());
        }
        let of = |places: &[usize]| places.iter().filter_map(|p| all.get(*p).cloned()).collect::<Vec<PimInstruction>>();
        let added = self.by_cycle(piece, [&of(&load), &of(&head), &of(&own), &of(&both)])?.map(Arc::new);
        self.pieces.insert(key, added.clone());
        Ok(added)
    }

    /// What a refresh adds to `both` by the cycle in which it falls due, until `own`, with which it begins, is over; `None` where that takes too long to find.
    fn by_cycle(
        &self,
        piece: &mut Piece,
        [load, head, own, both]: [&[PimInstruction]; 4],
    ) -> Result<Option<OfPiece>, String> {
        let Some(refresh) = self.machine.device.refresh else { return Ok(None) };
        let mut until = |list: &[PimInstruction]| match list {
            [] => Ok(0),
            _ => piece.done(&self.still, list, 0),
        };
        let loaded = until(load)?;
        let kept = until(head)?.max(loaded);
        let end = until(own)?.max(kept);
        // On either edge of a clock that has two.
        let alone = [piece.done(&self.still, both, 0)?, piece.done(&self.still, both, 1)?.saturating_sub(1)];
        let alone = alone[0].max(alone[1]);
        let before = self.before() as Cycle;
        if end > MOST_CYCLES || alone + 2 * before > refresh.interval {
            return Ok(None);
        }
        let both = piece.alone(&self.machine, both)?;
        // The first falls due after an interval.
        let run = |due: Cycle| {
            let start = refresh.interval + before - due;
            both.run(start).map(|ran| Met { due, added: (ran.done - start).saturating_sub(alone), ran })
        };
        let mut cycles = Vec::with_capacity((before + end) as usize);
        let mut fill = |until: Cycle, added: Cycle| {
            cycles.resize((until as usize).max(cycles.len()), u32::try_from(added).unwrap_or(u32::MAX));
        };
        // One that goes out sooner before the block adds no more.
        for due in (0..before).step_by(STRIDE) {
            fill((due + STRIDE as Cycle).min(before), run(due)?.added);
        }
        let mut from = run(before)?;
        let mut open = vec![run((before + end).saturating_sub(1).max(before))?];
        while let Some(until) = open.pop() {
            let alike = from.ran.refreshes == until.ran.refreshes && from.added == until.added;
            if alike || until.due <= from.due + 1 {
                fill(until.due, from.added);
                from = until;
            } else {
                open.push(until);
                open.push(run(from.due + (until.due - from.due) / 2)?);
            }
        }
        fill(before + end, from.added);
        cycles.truncate((before + end) as usize);
        Ok(Some(OfPiece { cycles, loaded: loaded as usize, kept: kept as usize }))
    }
}

/// Runs lists of instructions of a program's block.
struct Piece {
    program: Program,
}

impl Piece {
    fn alone(&mut self, machine: &PimMachine, list: &[PimInstruction]) -> Result<BlockAlone, String> {
        self.program.blocks = vec![Arc::new(Block::Instructions(list.to_vec()))];
        BlockAlone::new(machine, &self.program, 0)
    }

    fn done(&mut self, machine: &PimMachine, list: &[PimInstruction], start: Cycle) -> Result<Cycle, String> {
        Ok(self.alone(machine, list)?.run(start)?.done)
    }
}

/// Loads, and what comes after each: the first load may be empty.
fn pieces(loads: &[Range<usize>], length: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let mut all = Vec::new();
    let first = loads.first().map_or(length, |l| l.start);
    if first > 0 {
        all.push((0..0, 0..first));
    }
    for (place, load) in loads.iter().enumerate() {
        let end = loads.get(place + 1).map_or(length, |l| l.start);
        all.push((load.clone(), load.end..end));
    }
    all
}

/// What an instruction is to those beside it: its name, channels and columns, and whether it goes on to another row.
type Sign<'a> = (&'a str, &'a ChannelSet, u32, bool);

/// Of a part of a list its beginning and its end, where all that follows one another in it does so in them; all of it where it is short, `None` where what lies between is of its own
/// kind.
fn repeats(list: &[Command], part: &Range<usize>, [first, last]: [usize; 2]) -> Option<Vec<Range<usize>>> {
    let mut row = 0;
    let signs: Vec<Sign<'_>> = list
        .get(part.clone())?
        .iter()
        .map(|(name, channels, columns, _, own)| {
            let moves = *own > 0 && *own != row;
            row = if *own > 0 { *own } else { row };
            (name.as_str(), channels, *columns, moves)
        })
        .collect();
    let moves: Vec<usize> = (0..signs.len()).filter(|i| signs[*i].3).collect();
    if moves.len() <= first + last + 1 {
        return Some(vec![part.clone()]);
    }
    let pairs = |signs: &[Sign<'_>]| -> BTreeSet<(String, String)> {
        signs.windows(2).map(|w| (format!("{:?}", w[0]), format!("{:?}", w[1]))).collect()
    };
    let all = pairs(&signs);
    // After the last row that is kept of the beginning, and before the first that is kept of the end.
    let until = *moves.get(first)?;
    let from = if last == 0 { signs.len() } else { *moves.get(moves.len() - last)? };
    for head in (1..=until).rev() {
        for tail in from.saturating_sub(8).max(head)..=from {
            let kept: Vec<Sign<'_>> = signs[..head].iter().chain(&signs[tail..]).copied().collect();
            if last == 0 || pairs(&kept) == all {
                let (head, tail) = (part.start..part.start + head, part.start + tail..part.end);
                return Some(vec![head, tail]);
            }
        }
        if until - head > 8 {
            break;
        }
    }
    None
}

/// Some instructions of a list, with rows named in the order in which they come.
fn relabelled(list: &[Command], places: &[usize]) -> Vec<Command> {
    let mut names: HashMap<u32, u32> = HashMap::new();
    let own = places.iter().filter_map(|p| list.get(*p));
    own.map(|(name, channels, columns, bank, row)| {
        let next = names.len() as u32 + 1;
        let row = if *row == 0 { 0 } else { *names.entry(*row).or_insert(next) };
        (name.clone(), channels.clone(), *columns, *bank, row)
    })
    .collect()
}
