//! The order in which a PIM device's channels take instructions.
//!
//! A channel works through its instructions in the order of the program. One that is ready while an earlier one of its channels is not has no use for a memory that
//! its device shares: it would hold what the earlier one's inputs are made with.

use crate::program::{ChannelSet, Program};

/// Instructions of devices that share a memory, by their sets of channels.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Of each instruction its set; `NONE` for those that wait for no other.
    set_of: Vec<u32>,
    /// Of each set its instructions in order, and how many of them have been let go.
    lists: Vec<(Vec<u32>, usize)>,
    /// Of each set those that have a channel in common with it, itself among them.
    meets: Vec<Vec<u32>>,
    /// Instructions whose inputs are there.
    ready: Vec<bool>,
}

const NONE: u32 = u32::MAX;

impl Order {
    /// Of a program on devices of which `sharing` share a memory.
    pub(super) fn load(&mut self, program: &Program, sharing: &[bool]) {
        // By device: the channels, all of them where there is no set.
        let mut sets: Vec<(u32, Option<ChannelSet>)> = Vec::new();
        self.lists.clear();
        self.set_of.clear();
        for (place, instruction) in program.instructions.iter().enumerate() {
            let shares = sharing.get(instruction.on as usize).copied().unwrap_or(false);
            let Some(channels) = shares.then(|| program.channels_of(place)).flatten() else {
                self.set_of.push(NONE);
                continue;
            };
            let set = (instruction.on, channels);
            let number = sets.iter().position(|own| *own == set).unwrap_or_else(|| {
                sets.push(set);
                self.lists.push((Vec::new(), 0));
                sets.len() - 1
            });
            self.lists[number].0.push(place as u32);
            self.set_of.push(number as u32);
        }
        let meet = |a: &(u32, Option<ChannelSet>), b: &(u32, Option<ChannelSet>)| {
            a.0 == b.0 && a.1.as_ref().zip(b.1.as_ref()).is_none_or(|(a, b)| a.meets(b))
        };
        let of = |a| (0..sets.len() as u32).filter(|b| meet(a, &sets[*b as usize])).collect();
        self.meets = sets.iter().map(of).collect();
        self.ready.clear();
        self.ready.resize(program.instructions.len(), false);
    }

    /// An instruction's inputs are there; whether its channels are at it.
    pub(super) fn is_next(&mut self, instruction: u32) -> bool {
        self.ready[instruction as usize] = true;
        self.heads(instruction)
    }

    /// Whether no earlier instruction of its channels is to come.
    fn heads(&self, instruction: u32) -> bool {
        let set = self.set_of[instruction as usize];
        let first = |set: u32| {
            let (list, gone) = &self.lists[set as usize];
            list.get(*gone)
        };
        set == NONE || self.meets[set as usize].iter().all(|other| first(*other).is_none_or(|f| *f >= instruction))
    }

    /// An instruction has been let go: those that its channels are at now and whose inputs are there.
    pub(super) fn after(&mut self, instruction: u32, mut found: impl FnMut(u32)) {
        let set = self.set_of[instruction as usize];
        if set == NONE {
            return;
        }
        self.lists[set as usize].1 += 1;
        for other in &self.meets[set as usize] {
            let (list, gone) = &self.lists[*other as usize];
            if let Some(next) = list.get(*gone).filter(|next| self.ready[**next as usize] && self.heads(**next)) {
                found(*next);
            }
        }
    }
}
