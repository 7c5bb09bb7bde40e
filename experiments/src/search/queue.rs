//! What the vector unit is sure to do before an instruction.
//!
//! It takes what is ready first. So an instruction waits for another if that cannot be ready later: if all that the other depends on is complete when all that
//! it depends on itself is. Of what is complete when something else is, is known: what that depends on, and what came before it on channels that are all among its own.

use banksia_hw::program::{ChannelSet, Program, Work};

/// Instructions of the vector unit before one that are looked at.
const LOOKED_AT: usize = 64;

/// Instructions of the largest program of which this is found out: 50 MB of bits.
const MOST: usize = 20_000;

/// For each instruction of the vector unit, those that it does before it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    before: Vec<Vec<u32>>,
}

impl Queue {
    pub(super) fn new(program: &Program) -> Self {
        let n = program.instructions.len();
        // What is complete takes as many bits as there are instructions, for each: of a large program nothing is said, and its bound is lower.
        if n > MOST {
            return Self { before: vec![Vec::new(); n] };
        }
        let words = n.div_ceil(64);
        // Of each instruction: what is complete when it is.
        let mut complete: Vec<Vec<u64>> = Vec::with_capacity(n);
        let mut before: Vec<Vec<u32>> = vec![Vec::new(); n];
        let mut vectors: Vec<usize> = Vec::new();
        let mut last: Option<(usize, ChannelSet)> = None;
        for (place, instruction) in program.instructions.iter().enumerate() {
            let mut own = vec![0_u64; words];
            for dependency in program.dependencies_of(place) {
                join(&mut own, complete.get(*dependency as usize));
            }
            if let Work::Vector { .. } = instruction.work {
                let ready = own.clone();
                let surely = |other: &&usize| {
                    // One that waits for SRAM may be passed by one that needs none.
                    let waits = program.instructions[**other].acquire_bytes > 0 && instruction.acquire_bytes == 0;
                    !waits && program.dependencies_of(**other).iter().all(|d| has(&ready, *d as usize))
                };
                for other in vectors.iter().rev().take(LOOKED_AT).filter(surely) {
                    join(&mut own, complete.get(*other));
                    before[place].push(*other as u32);
                }
                vectors.push(place);
            } else if let Some(channels) = program.channels_of(place) {
                // Accesses are for all channels, which is the empty set here: each has those before it behind it.
                let channels = channels.unwrap_or(ChannelSet::EMPTY);
                if let Some((other, _)) = last.as_ref().filter(|(_, others)| others.within(&channels)) {
                    join(&mut own, complete.get(*other));
                }
                last = Some((place, channels));
            }
            if let Some(word) = own.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
            complete.push(own);
        }
        Self { before }
    }

    /// What the vector unit does before an instruction, besides what that depends on.
    pub(super) fn before(&self, instruction: usize) -> &[u32] {
        self.before.get(instruction).map_or(&[], Vec::as_slice)
    }
}

fn join(into: &mut [u64], other: Option<&Vec<u64>>) {
    for (a, b) in into.iter_mut().zip(other.into_iter().flatten()) {
        *a |= b;
    }
}

fn has(set: &[u64], place: usize) -> bool {
    set.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
}
